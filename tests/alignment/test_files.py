"""Alignments that MFA, Kaldi, Gentle, WhisperX and we ourselves write are read."""

import json

import pytest

from captum_spes.alignment import Alignment, Interval, read_alignments, write_alignments
from captum_spes.errors import ArgumentError

THE_CAT = (Interval("the", 0.1, 0.3), Interval("cat", 0.3, 0.62))
PHONES = (Interval("DH", 0.1, 0.2), Interval("AH", 0.2, 0.3), Interval("K", 0.3, 0.62))
TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "{words}"
        xmin = 0
        xmax = 1
        intervals: size = 4
        intervals [1]:
            xmin = 0
            xmax = 0.1
            text = ""
        intervals [2]:
            xmin = 0.1
            xmax = 0.3
            text = "the"
        intervals [3]:
            xmin = 0.3
            xmax = 0.62
            text = "cat"
        intervals [4]:
            xmin = 0.62
            xmax = 1
            text = "<eps>"
    item [2]:
        class = "IntervalTier"
        name = "{phones}"
        xmin = 0
        xmax = 1
        intervals: size = 5
        intervals [1]:
            xmin = 0
            xmax = 0.1
            text = "sil"
        intervals [2]:
            xmin = 0.1
            xmax = 0.2
            text = "DH"
        intervals [3]:
            xmin = 0.2
            xmax = 0.3
            text = "AH"
        intervals [4]:
            xmin = 0.3
            xmax = 0.62
            text = "K"
        intervals [5]:
            xmin = 0.62
            xmax = 1
            text = ""
"""
OURS = {"words": [
    {"word": "the", "start": 0.1, "end": 0.3, "phones": [
        {"phone": "DH", "start": 0.1, "end": 0.2}, {"phone": "AH", "start": 0.2, "end": 0.3}]},
    {"word": "cat", "start": 0.3, "end": 0.62, "phones": [
        {"phone": "K", "start": 0.3, "end": 0.62}]},
]}  # fmt: skip
BUNDLED = {
    "words": [["the", 0.1, 0.3], ["cat", 0.3, 0.62]],
    "phones": [["DH", 0.1, 0.2], ["AH", 0.2, 0.3], ["K", 0.3, 0.62]],
}
GENTLE = {"transcript": "The cat.", "words": [
    {"alignedWord": "the", "case": "success", "word": "the", "start": 0.1, "end": 0.3,
     "phones": [{"duration": 0.1, "phone": "DH_B"}, {"duration": 0.1, "phone": "AH_E"}]},
    {"case": "not-found-in-audio", "word": "big"},
    {"alignedWord": "cat", "case": "success", "word": "cat", "start": 0.3, "end": 0.62,
     "phones": [{"duration": 0.32, "phone": "K_S"}]},
]}  # fmt: skip
WHISPERX = {"segments": [
    {"start": 0.1, "end": 0.3, "words": [{"word": "the", "start": 0.1, "end": 0.3, "score": 0.9}]},
    {"start": 0.3, "end": 0.7, "words": [
        {"word": "cat", "start": 0.3, "end": 0.62, "score": 0.8}, {"word": "2"},
        {"word": "3", "start": None, "end": None}]},
]}  # fmt: skip


class TestReading:
    @pytest.mark.parametrize(
        ("words", "phones"),
        [("words", "phones"), ("anna - words", "anna - phones"), ("ORT", "MAU")],
    )
    def test_textgrid(self, tmp_path, words, phones):
        (tmp_path / "a.TextGrid").write_text(TEXTGRID.format(words=words, phones=phones))
        assert read_alignments(tmp_path / "a.TextGrid") == {"a": Alignment(THE_CAT, PHONES)}

    def test_textgrid_without_words(self, tmp_path):
        (tmp_path / "a.TextGrid").write_text(TEXTGRID.format(words="text", phones="tones"))
        with pytest.raises(ArgumentError, match=r"a\.TextGrid: no tier of words .* text, tones"):
            read_alignments(tmp_path / "a.TextGrid")

    @pytest.mark.parametrize(
        ("fields", "phones"),
        [(OURS, PHONES), (BUNDLED, PHONES), (GENTLE, PHONES), (WHISPERX, ())],
        ids=["ours", "bundled", "gentle", "whisperx"],
    )
    def test_json(self, tmp_path, fields, phones):
        (tmp_path / "a.json").write_text(json.dumps(fields))
        assert read_alignments(tmp_path / "a.json") == {"a": Alignment(THE_CAT, phones)}

    def test_ctm_of_several_utterances(self, tmp_path):
        (tmp_path / "all.ctm").write_text(
            ";; a comment\na 1 0.30 0.32 cat 0.97\na 1 0.10 0.20 the 1.00\n\nb A 0.0 0.5 so\n"
        )
        found = read_alignments(tmp_path / "all.ctm")
        assert found == {"a": Alignment(THE_CAT), "b": Alignment((Interval("so", 0.0, 0.5),))}

    def test_a_manifest(self, tmp_path):
        lines = [{"id": "a", **OURS}, {"id": "b", "words": None}, {"name": "c", **BUNDLED}]
        (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
        assert list(read_alignments(tmp_path / "m.jsonl")) == ["a", "c"]

    def test_nobody_speaks_and_names_that_are_numbers(self, tmp_path):
        (tmp_path / "m.jsonl").write_text('{"id": 7, "words": []}')
        assert read_alignments(tmp_path / "m.jsonl") == {"7": Alignment(())}

    def test_phones_beside_the_words_as_objects(self, tmp_path):
        fields = {**BUNDLED, "phones": [{"phone": p, "start": s, "end": e} for p, s, e in PHONES]}
        (tmp_path / "a.json").write_text(json.dumps(fields))
        assert read_alignments(tmp_path / "a.json") == {"a": Alignment(THE_CAT, PHONES)}

    def test_a_folder(self, tmp_path):
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "a.json").write_text(json.dumps(OURS))
        (tmp_path / "b.ctm").write_text("b 1 0 1 so\n")
        (tmp_path / "readme.txt").write_text("nothing")
        assert set(read_alignments(tmp_path)) == {"a", "b"}
        (tmp_path / "a.ctm").write_text("a 1 0 1 so\n")
        with pytest.raises(ArgumentError, match="'a' has an alignment already"):
            read_alignments(tmp_path)

    def test_what_was_written_comes_back(self, tmp_path):
        alignments = {"a": Alignment(THE_CAT, PHONES), "ä": Alignment(THE_CAT)}
        write_alignments(alignments, tmp_path / "times.jsonl")
        assert read_alignments(tmp_path / "times.jsonl") == alignments

    def test_the_shared_manifest(self, speech_clips):
        clip = speech_clips["so-022440139"]
        alignment = read_alignments(clip["path"].parent / "manifest.jsonl")["so-022440139"]
        assert " ".join(word.label for word in alignment.words) == clip["text"]
        assert {p.label for p in alignment.phones_of(alignment.words[0])} == {"P", "AA"}


class TestBadInput:
    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("a.json", "{", "a.json: "),
            ("a.json", "[]", "list of words"),
            ("a.json", '{"words": [{"word": "a"}]}', "no word has a time"),
            ("a.json", '{"segments": ["x"]}', "a.json: "),
            ("a.jsonl", "[1]", "line 1: expected an object"),
            ("a.json", '{"words": [["a", 0.5, 0.2]]}', "'a' from 0.5 to 0.2"),
            ("a.json", '{"words": [["a", 0.5, 0.7], ["b", 0.1, 0.2]]}', "does not follow"),
            ("a.json", '{"words": [["a", NaN, 0.2]]}', "finite"),
            ("a.json", '{"words": [["a", 0.1]]}', "a.json: "),
            ("a.ctm", "a 1 0.5\n", "line 1: expected name, channel"),
            ("a.ctm", "a 1 x 0.5 so\n", "a.ctm: could not convert"),
            ("a.jsonl", '{"words": [["a", 0, 1]]}', "line 1 has no id"),
            ("a.jsonl", '{"id": "a", "words": [["a", 0, 1]]}\n' * 2, "line 2: the id 'a'"),
            ("a.TextGrid", "nothing", "no TextGrid that can be read"),
            ("a.txt", "", "expected one of"),
        ],
    )
    def test_the_error_names_file_and_fault(self, tmp_path, name, content, message):
        (tmp_path / name).write_text(content)
        with pytest.raises(ArgumentError, match=message):
            read_alignments(tmp_path / name)

    def test_nothing_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no such alignment"):
            read_alignments(tmp_path / "a.json")
        with pytest.raises(ArgumentError, match="holds no alignment"):
            read_alignments(tmp_path)
