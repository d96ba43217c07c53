"""Alignments that MFA, Kaldi, Gentle, transcribers and we ourselves write are read."""

import json
import os
import unicodedata

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
POINTS = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "TextTier"
        name = "words"
        xmin = 0
        xmax = 1
        points: size = 1
        points [1]:
            number = 0.5
            mark = "the"
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
MFA = {"start": 0, "end": 1, "tiers": {
    "anna - words": {"type": "interval", "entries": [
        [0.0, 0.1, ""], [0.1, 0.3, "the"], [0.3, 0.62, "cat"], [0.62, 1.0, "<eps>"]]},
    "anna - phones": {"type": "interval", "entries": [
        [0.0, 0.1, "sil"], [0.1, 0.2, "DH"], [0.2, 0.3, "AH"], [0.3, 0.62, "K"]]},
}}  # fmt: skip
PRAATIO = {"xmin": 0, "xmax": 1, "tiers": [
    {"class": "TextTier", "name": "words", "entries": [[0.2, "click"]]},
    {"class": "IntervalTier", "name": "word", "entries": [[0.1, 0.3, "the"], [0.3, 0.62, "cat"]]},
]}  # fmt: skip
PIPELINE = {"text": " the cat", "chunks": [
    {"text": " the", "timestamp": [0.1, 0.3]}, {"text": " cat", "timestamp": [0.3, 0.62]},
    {"text": " sat", "timestamp": [0.9, None]}]}  # fmt: skip
WHISPER = {"text": " The cat.", "language": "en", "segments": [
    {"id": 0, "start": 0.1, "end": 0.62, "text": " the cat", "words": [
        {"word": " the", "start": 0.1, "end": 0.3, "probability": 0.9},
        {"word": " cat", "start": 0.3, "end": 0.62, "probability": 0.8}]},
    {"id": 1, "start": 0.7, "end": 0.9, "text": " ", "words": []}]}  # fmt: skip
TIMESTAMPED = {"text": "the cat", "segments": [{"text": "the cat", "words": [
    {"text": "the", "start": 0.1, "end": 0.3, "confidence": 0.9},
    {"text": "cat", "start": 0.3, "end": 0.62, "confidence": 0.8}]}]}  # fmt: skip
OPENAI = {"text": "the cat", "segments": [{"text": "the cat", "start": 0.1, "end": 0.62}],
          "words": [{"word": "the", "start": 0.1, "end": 0.3},
                    {"word": "cat", "start": 0.3, "end": 0.62}]}  # fmt: skip


def written(folder, name, content):
    """A file of a folder: a text, bytes, or what becomes JSON."""
    file = folder / name
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


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
        [
            (OURS, PHONES),
            (BUNDLED, PHONES),
            (GENTLE, PHONES),
            (WHISPERX, ()),
            (MFA, PHONES),
            (PRAATIO, ()),
            (PIPELINE, ()),
            (WHISPER, ()),
            (TIMESTAMPED, ()),
            (OPENAI, ()),
        ],
        ids=[
            "ours",
            "bundled",
            "gentle",
            "whisperx",
            "mfa",
            "praatio",
            "pipeline",
            "whisper",
            "whisper-timestamped",
            "openai",
        ],
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
            ("a.json", '{"words": [["a", NaN, 0.2]]}', "finite"),
            ("a.json", '{"words": [["a", 0.1]]}', "a.json: "),
            ("a.ctm", "a 1 0.5\n", "line 1: expected name, channel"),
            ("a.ctm", "a 1 x 0.5 so\n", "a.ctm: line 1: 'so' starts at 'x'"),
            ("a.jsonl", '{"words": [["a", 0, 1]]}', "line 1 has no id"),
            ("a.jsonl", '{"id": "a", "words": [["a", 0, 1]]}\n' * 2, "line 2: the id 'a'"),
            ("a.TextGrid", "nothing", "no TextGrid that can be read"),
            ("a.TextGrid", POINTS, r"no tier of words .* with intervals; there are: words"),
            ("a.txt", "", "expected one of"),
            ("a.json", "", "a.json: no JSON"),
            ("a.json", "[" * 100_000, "nested too deeply"),
            ("a.json", '{"words": [["a", 0, ' + "9" * 400 + "]]}", "a.json: word 1: 'a' from 0 to"),
            ("a.json", '{"words": [["a", 0, ' + "9" * 5000 + "]]}", "a.json: no JSON"),
            ("a.json", b"\xff\xfe\xff", "a.json is no text"),
            ("a.json", '{"words": [[null, 0, 1]]}', "expected a text as its label, got None"),
            ("a.json", '{"words": [["a", true, 2]]}', "'a' from True to 2"),
            ("a.json", '{"words": {"a": 1}}', "expected a list of words"),
            ("a.json", '{"words": null}', "expected an object with a list of words"),
            ("a.json", '{"tiers": 5}', "expected 'tiers' to be an object"),
            ("a.json", '{"tiers": {"words": 5}}', "expected a tier to be an object"),
            ("a.json", '{"tiers": {"tones": {"entries": []}}}', "no tier of words"),
            ("a.ctm", "", "a.ctm: it holds no alignment"),
            ("a.ctm", ";; nothing\n", "a.ctm: it holds no alignment"),
            ("a.ctm", "a 1 0.1 1e999 so\n", "line 1: 'so' starts at '0.1' and lasts '1e999'"),
            ("a.ctm", "a 1 0.1 -1 so\n", "finite and at least 0"),
            ("a.ctm", "a 1 * * so\n", "'a': no word has a time"),
            ("a.ctm", "a 1 0 1 so\na 2 1 1 no\n", "'a' has words on the channels 1, 2"),
            ("a.jsonl", "", "a.jsonl: it holds no alignment"),
            ("a.jsonl", '{"id": "a", "words": null}', "a.jsonl: it holds no alignment"),
            ("a.jsonl", '{"id": ["a"], "words": []}', "line 1: expected its id to be a text"),
        ],
    )
    def test_the_error_names_file_and_fault(self, tmp_path, name, content, message):
        file = written(tmp_path, name, content)
        with pytest.raises(ArgumentError, match=message):
            read_alignments(file)

    @pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.ctm", "a.TextGrid"])
    def test_pipes_are_not_waited_for(self, tmp_path, name):
        os.mkfifo(tmp_path / name)
        with pytest.raises(ArgumentError, match="no regular file"):
            read_alignments(tmp_path / name)
        written(tmp_path, "b.json", OURS)
        with pytest.warns(UserWarning, match=f"left out .*{name} is no regular file"):
            assert set(read_alignments(tmp_path)) == {"b"}

    def test_nothing_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no such alignment"):
            read_alignments(tmp_path / "a.json")
        with pytest.raises(ArgumentError, match="holds no alignment"):
            read_alignments(tmp_path)


class TestWhoSaysThatNobodySpeaks:
    """Words that are missing are not words that were not said."""

    ADVICE = (
        r"a\.json: .*--word_timestamps True.*only an empty list of words says that nobody speaks"
    )

    @pytest.mark.parametrize(
        "fields",
        [
            {"text": "the cat"},
            {"text": "the cat", "segments": []},
            {"text": "the cat", "chunks": []},
            {
                "text": "the cat",
                "segments": [{"id": 0, "start": 0.0, "end": 3.0, "text": "the cat"}],
            },
            {"segments": [{"start": 0.0, "end": 3.0}]},
            {"segments": [{"text": "the cat", "words": None}]},
            # WhisperX could not align the segment.
            {"segments": [{"text": "the", "words": [["the", 0, 1]]}, {"text": "cat", "words": []}]},
            {"words": [], "segments": [{"text": "the cat"}]},
            {"chunks": [{"text": " the cat sat.", "timestamp": [0.0, 3.0]}]},
            {"chunks": [{"text": "今天天气很好我们走", "timestamp": [0.0, 3.0]}]},
        ],
    )
    def test_no_transcript_without_times_of_words(self, tmp_path, fields):
        with pytest.raises(ArgumentError, match=self.ADVICE):
            read_alignments(written(tmp_path, "a.json", fields))

    @pytest.mark.parametrize(
        "fields",
        [
            {"words": []},
            {"segments": [{"words": []}]},
            {"text": "", "segments": []},
            {"text": "", "segments": [{"text": " ", "words": []}]},
            {"text": "", "chunks": []},
            {"tiers": {"words": {"type": "interval", "entries": []}}},
            {"words": [["<sil>", 0.0, 1.0]]},
        ],
    )
    def test_an_empty_list_does(self, tmp_path, fields):
        file = written(tmp_path, "a.json", fields)
        assert read_alignments(file) == {"a": Alignment(())}

    def test_other_utterances_of_a_folder_are_read(self, tmp_path):
        written(tmp_path, "a.json", OURS)
        written(tmp_path, "b.json", {"text": "so", "segments": [{"text": "so"}]})
        with pytest.warns(UserWarning, match=r"left out .*b\.json: segment 1 has no words"):
            assert set(read_alignments(tmp_path)) == {"a"}

    def test_other_lines_of_a_manifest_are_read(self, tmp_path):
        lines = [{"id": "a", **OURS}, {"id": "b", "text": "so"}]
        file = written(tmp_path, "m.jsonl", "\n".join(map(json.dumps, lines)))
        with pytest.warns(UserWarning, match=r"left out line 2 \('b'\): expected"):
            assert set(read_alignments(file)) == {"a"}

    def test_tokens_of_scripts_without_spaces_are_words(self, tmp_path):
        tokens = ["今天", "天", "气"]
        chunks = [{"text": t, "timestamp": [i, i + 1]} for i, t in enumerate(tokens)]
        found = read_alignments(written(tmp_path, "a.json", {"chunks": chunks}))
        assert [word.label for word in found["a"].words] == tokens


class TestFaultsOfSingleWords:
    def test_words_that_go_back_in_time_are_sorted(self, tmp_path):
        fields = {
            "segments": [
                {
                    "words": [
                        {"word": "yes", "start": 1.0, "end": 1.6},
                        {"word": "no", "start": 0.9, "end": 1.2},
                    ]
                }
            ]
        }
        found = read_alignments(written(tmp_path, "a.json", fields))  # fmt: skip
        assert found["a"].words == (Interval("no", 0.9, 1.2), Interval("yes", 1.0, 1.6))

    @pytest.mark.parametrize(
        ("entry", "named"),
        [
            (["so", 0.9, 0.7], "'so' from 0.9 to 0.7"),
            (["so", -1, 0.7], "'so' from -1 to 0.7"),
            (["so", 0.5, "x"], "'so' from 0.5 to 'x'"),
            (["so", 0.5, 10**400], "'so' from 0.5 to 1000"),
            (["so", [], 0.7], r"'so' from \[\] to 0.7"),
            ([None, 0.5, 0.7], "a text as its label, got None"),
            ([["so"], 0.5, 0.7], r"a text as its label, got \['so'\]"),
            ({"start": 0.5, "end": 0.7}, "a text as its label, got None"),
            (["so", 0.5], r"expected \[word, start, end\]"),
            (None, r"expected \[word, start, end\]"),
        ],
    )
    def test_the_word_is_left_out_and_named(self, tmp_path, entry, named):
        file = written(tmp_path, "a.json", {"words": [["the", 0.1, 0.3], entry]})
        with pytest.warns(UserWarning, match=rf"a\.json: left out word 2: .*{named}"):
            assert read_alignments(file) == {"a": Alignment(THE_CAT[:1])}

    def test_lines_of_a_ctm(self, tmp_path):
        file = written(tmp_path, "a.ctm", "a 1 0.1 0.2 the\na 1 x 0.2 so\na 1 0.5\nb 1 - 0.2 so\n")
        with pytest.warns(UserWarning, match=r"line 2: 'so' starts at 'x'.*; line 3: .*; line 4: "):
            assert read_alignments(file) == {"a": Alignment(THE_CAT[:1])}

    def test_a_wrong_phone_spoils_no_word(self, tmp_path):
        fields = {**BUNDLED, "phones": [["DH", 0.1, 0.2], ["AH", 0.3, 0.2], ["K", 0.3, 0.62]]}
        with pytest.warns(UserWarning, match="left out phone 2: 'AH' from 0.3 to 0.2"):
            found = read_alignments(written(tmp_path, "a.json", fields))
        assert found == {"a": Alignment(THE_CAT, (PHONES[0], PHONES[2]))}

    def test_half_a_character_can_be_written_again(self, tmp_path):
        found = read_alignments(written(tmp_path, "a.json", '{"words": [["a\\ud800", 0, 1]]}'))
        assert found["a"].words[0].label == "a?"  # as every report can write it
        write_alignments(found, tmp_path / "b.jsonl")
        assert read_alignments(tmp_path / "b.jsonl") == found
        write_alignments({"caf\udce9": found["a"]}, tmp_path / "b.jsonl")
        assert list(read_alignments(tmp_path / "b.jsonl")) == ["caf\udce9"]


class TestFolders:
    def test_one_bad_file_does_not_end_the_others(self, tmp_path):
        bad = {
            "b.json": "{",
            "c.ctm": "",
            "d.TextGrid": "x",
            "e.jsonl": "[1]",
            "f.json": b"\xff\xff",
        }
        written(tmp_path, "a.json", OURS)
        for name, content in bad.items():
            written(tmp_path, name, content)
        (tmp_path / "g.json").mkdir()
        with pytest.warns(UserWarning, match="left out") as told:
            assert set(read_alignments(tmp_path)) == {"a"}
        assert sorted(str(one.message).split(str(tmp_path))[1][1:].split(":")[0].split()[0]
                      for one in told) == sorted(bad)  # fmt: skip

    def test_none_that_can_be_read(self, tmp_path):
        for number in range(7):
            written(tmp_path, f"{number}.json", "{")
        with pytest.raises(ArgumentError, match=r"0\.json: no JSON .*; .*4\.json.*; and 2 more"):
            read_alignments(tmp_path)


class TestCharactersAndForms:
    @pytest.mark.parametrize(
        "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
    )
    @pytest.mark.parametrize("bom", [True, False])
    def test_encodings(self, tmp_path, encoding, bom):
        mark = "\ufeff" if bom and encoding.startswith("utf-16-") else ""
        files = {
            "a.ctm": "a 1 0.1 0.2 the\na 1 0.3 0.32 cat\n",
            "b.json": json.dumps(BUNDLED),
            "c.jsonl": json.dumps({"id": "c", **BUNDLED}),
        }
        for name, content in files.items():
            written(tmp_path, name, (mark + content).encode(encoding))
        found = read_alignments(tmp_path)
        assert {name: one.words for name, one in found.items()} == dict.fromkeys("abc", THE_CAT)

    @pytest.mark.parametrize("form", ["NFC", "NFD"])
    def test_names_and_words_are_composed(self, tmp_path, form):
        def of(text):
            return unicodedata.normalize(form, text)

        file = written(tmp_path, of("Zürich") + ".json", {"words": [[of("grün"), 0, 1]]})
        assert read_alignments(file) == {"Zürich": Alignment((Interval("grün", 0, 1),))}
        file = written(tmp_path, "all.ctm", of("Zürich 1 0 1 grün\n"))
        assert read_alignments(file) == {"Zürich": Alignment((Interval("grün", 0, 1),))}
        file = written(tmp_path, "all.jsonl", {"id": of("Zürich"), "words": [[of("grün"), 0, 1]]})
        assert read_alignments(file) == {"Zürich": Alignment((Interval("grün", 0, 1),))}


class TestCtm:
    def test_alternatives_take_the_first(self, tmp_path):
        lines = [
            "a 1 0.1 0.2 the", "a 1 * * <ALT_BEGIN>", "a 1 0.3 0.32 cat", "a 1 * * <ALT>",
            "a 1 0.3 0.1 cut", "a 1 0.4 0.1 it", "a 1 * * <ALT_END>", "a 1 0.8 0.1 sat",
        ]  # fmt: skip
        found = read_alignments(written(tmp_path, "a.ctm", "\n".join(lines)))
        assert found == {"a": Alignment((*THE_CAT, Interval("sat", 0.8, 0.9)))}

    def test_an_utterance_of_two_channels_is_named(self, tmp_path):
        lines = "a 1 0.1 0.2 the\na 2 0.1 0.2 so\nb 1 0.1 0.2 the\n"
        file = written(tmp_path, "a.ctm", lines)
        with pytest.warns(UserWarning, match="left out 'a' has words on the channels 1, 2"):
            assert read_alignments(file) == {"b": Alignment(THE_CAT[:1])}


@pytest.mark.parametrize(
    "label",
    [
        "", " ", "\t", "sil", "SIL", "<SIL>", "sp", "spn", "<unk>", "<UNK>", "<eps>", "[laughter]",
        "[BLANK_AUDIO]", "[noise]", "{breath}", "(noise)", "(loud laughter)", "(Applause).",
        "*coughs*", "♪", "!SIL", "...", "+", "++breath++",
    ],
)  # fmt: skip
def test_what_is_no_speech_is_no_word(tmp_path, label):
    words = [["the", 0.1, 0.3], [label, 0.3, 0.4], ["cat", 0.3, 0.62]]
    assert read_alignments(written(tmp_path, "a.json", {"words": words}))["a"].words == THE_CAT
    if label.split() == [label]:
        lines = f"a 1 0.1 0.2 the\na 1 0.3 0.1 {label}\na 1 0.3 0.32 cat\n"
        assert read_alignments(written(tmp_path, "a.ctm", lines))["a"].words == THE_CAT


@pytest.mark.parametrize("label", ["a", "(hello)", "(Clapton)", "laughter", "&", "silent", "好", 7])
def test_what_is_speech_is_a_word(tmp_path, label):
    file = written(tmp_path, "a.json", {"words": [[label, 0.1, 0.3]]})
    assert read_alignments(file) == {"a": Alignment((Interval(str(label), 0.1, 0.3),))}


def test_phones_of_sampa_are_no_brackets(tmp_path):
    sampa = ["{", "}", "?", "@", "{}"]
    phones = [[label, number, number + 1] for number, label in enumerate([*sampa, "<p:>", "sil"])]
    file = written(tmp_path, "a.json", {"words": [["a", 0, 7]], "phones": phones})
    assert [phone.label for phone in read_alignments(file)["a"].phones] == sampa
