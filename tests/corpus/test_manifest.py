"""Manifests: what is read, and that everything wrong is told with its line."""

import gzip
import json

import numpy as np
import pytest
import soundfile

from captum_spes.corpus import Utterance, read_manifest
from captum_spes.errors import ArgumentError
from captum_spes.io.audio import load_audio

RATE = 16_000


@pytest.fixture
def write(tmp_path):
    soundfile.write(tmp_path / "a.flac", np.zeros(160), 16_000)
    soundfile.write(tmp_path / "b.flac", np.zeros(160), 16_000)

    def write(*lines):
        manifest = tmp_path / "manifest.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        manifest.write_text("\n".join(texts), encoding="utf-8")
        return manifest

    return write


def test_reads_utterances_in_order(write, tmp_path):
    manifest = write(
        {"id": "one", "audio": "a.flac", "text": "the cat", "translations": {"de": "die Katze"}},
        "",
        {"audio": "b.flac", "text": "a dog", "speaker": 7},
    )
    first, second = read_manifest(manifest)
    assert (first.id, first.audio, first.text) == ("one", tmp_path / "a.flac", "the cat")
    assert second.id == "b"
    assert first.reference(None) == "the cat"
    assert first.reference("de") == "die Katze"


def test_knows_the_names_that_others_use(write):
    manifest = write(
        {"name": "one", "file": "a.flac", "text": "the cat"},
        {"audio_filepath": "b.flac", "text": "a dog", "duration": 1.0},
    )
    assert [utterance.id for utterance in read_manifest(manifest)] == ["one", "b"]


def test_separators_of_lines_inside_a_text(write):
    line = json.dumps({"audio": "a.flac", "text": "the\u2028cat"}, ensure_ascii=False)
    assert [u.text for u in read_manifest(write(line + "\r"))] == ["the\u2028cat"]


def test_reads_real_manifests(speech_clips):
    from captum_spes.demo import MANIFEST

    assert len(read_manifest(MANIFEST, "es")) == 8
    path = next(iter(speech_clips.values()))["path"].parent / "manifest.jsonl"
    assert len(read_manifest(path)) == len(speech_clips)


GOOD = {"id": "good", "audio": "a.flac", "text": "the cat"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", "line 2: no JSON"),
        ("[1]", "line 2: expected an object, got list"),
        ({"audio": "a.flac"}, "line 2: no field 'text'"),
        ({"text": "x"}, "line 2: no field 'audio'"),
        ({"audio": "a.flac", "text": " "}, "line 2: 'text' must be a text that is not empty"),
        ({"audio": "a.flac", "text": 3}, "line 2: 'text' must be a text"),
        ({"audio": "missing.flac", "text": "x"}, "line 2: no such audio file: .*missing.flac"),
        ({"id": "good", "audio": "b.flac", "text": "x"}, "line 2: id 'good' is that of line 1"),
        ({"id": "", "audio": "b.flac", "text": "x"}, "line 2: 'id' must be a text"),
        ({"audio": "b.flac", "text": "x", "translations": "y"}, "line 2: translations must be"),
    ],
)
def test_tells_the_line(write, line, message):
    with pytest.raises(ArgumentError, match=message):
        read_manifest(write(GOOD, line))


def test_tells_several_lines_at_once(write):
    lines = [{"audio": f"{n}.flac", "text": "x"} for n in range(9)]
    with pytest.raises(ArgumentError, match=r"line 2: .*; line 6: .*; and 4 more"):
        read_manifest(write(GOOD, *lines))


@pytest.mark.parametrize("translations", [{}, {"de": ""}, {"es": "x"}])
def test_a_translation_must_be_there_if_it_is_the_reference(write, translations):
    with pytest.raises(ArgumentError, match=r"line 1: .*'de'"):
        read_manifest(write({**GOOD, "translations": translations}), "de")


class TestParts:
    """Lines about a part of a recording, as NeMo and Lhotse write them."""

    @pytest.fixture
    def speech(self, tmp_path):
        samples = np.linspace(-0.5, 0.5, 2 * RATE).astype("float32")
        file = tmp_path / "long.flac"
        soundfile.write(file, np.stack([samples, -samples / 2], 1), RATE)
        return file, samples

    def test_offset_and_duration_are_honoured(self, write, speech):
        _, samples = speech
        manifest = write(
            {"audio_filepath": "long.flac", "offset": 0.5, "duration": 0.25, "text": "the"},
            {"audio_filepath": "long.flac", "offset": 0.75, "duration": None, "text": "cat"},
            {"audio_filepath": "long.flac", "duration": 0.5, "offset": 0, "text": "sat"},
            {"audio_filepath": "long.flac", "offset": 0, "text": "whole", "id": "all"},
        )
        utterances = read_manifest(manifest)
        assert [u.id for u in utterances] == ["long-0.5", "long-0.75", "long", "all"]
        mean = samples / 4
        for utterance, (first, last) in zip(
            utterances, [(0.5, 0.75), (0.75, 2), (0, 0.5), (0, 2)], strict=True
        ):
            audio = load_audio(utterance.audio, RATE)
            assert np.allclose(audio, mean[int(first * RATE) : int(last * RATE)], atol=1e-4)

    def test_parts_of_one_recording_are_told_apart(self, write, speech):
        same = {"audio": "long.flac", "text": "the", "duration": 0.2}
        utterances = read_manifest(write(*({**same, "offset": n / 4} for n in range(4))))
        assert len({u.recording_digest() for u in utterances}) == 4

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"offset": -1}, "start must be at least 0 s"),
            ({"offset": "0.5"}, "start must be a number"),
            ({"offset": float("nan")}, "start must be at least 0"),
            ({"duration": 0}, "duration must be above 0 s"),
            ({"duration": True}, "duration must be a number"),
        ],
    )
    def test_times_that_are_none(self, write, speech, change, message):
        line = {"audio": "long.flac", "text": "the", **change}
        with pytest.raises(ArgumentError, match=f"line 1: {message}"):
            read_manifest(write(line))

    def test_cuts_of_lhotse(self, speech, tmp_path):
        lhotse = pytest.importorskip("lhotse")
        file, samples = speech
        recording = lhotse.Recording.from_file(file)
        supervisions = [
            lhotse.SupervisionSegment("s1", recording.id, 0.5, 0.3, channel=1, text="sat"),
            lhotse.SupervisionSegment("s0", recording.id, 0.1, 0.3, channel=1, text="the cat"),
        ]
        whole = recording.to_cut()
        cuts = [
            lhotse.MonoCut("one", 0.25, 1.0, 1, supervisions, recording=recording),
            lhotse.MonoCut("two", 0.0, 2.0, 0, supervisions[:1], recording=recording),
        ]
        for name in ("cuts.jsonl", "cuts.jsonl.gz"):
            lhotse.CutSet.from_cuts(cuts).to_file(tmp_path / name)
            first, second = read_manifest(tmp_path / name)
            assert (first.id, first.text) == ("one", "the cat sat")
            part = -samples[RATE // 4 : 5 * RATE // 4] / 2
            assert np.allclose(load_audio(first.audio, RATE), part, atol=1e-4)
            assert np.allclose(load_audio(second.audio, RATE), samples, atol=1e-4)
        for other in (lhotse.RecordingSet.from_recordings([recording]),
                      lhotse.SupervisionSet.from_segments(supervisions),
                      lhotse.CutSet.from_cuts([whole.pad(3.0)]),
                      lhotse.CutSet.from_cuts([whole.resample(8000)])):  # fmt: skip
            other.to_file(tmp_path / "other.jsonl")
            with pytest.raises(ArgumentError, match=r"line 1: .*(cuts|MonoCuts|transforms)"):
                read_manifest(tmp_path / "other.jsonl")


def test_lists_and_compressed_files(write, tmp_path):
    manifest = write(GOOD, {"audio": "b.flac", "text": "a dog"})
    expected = read_manifest(manifest)
    packed = tmp_path / "manifest.jsonl.gz"
    packed.write_bytes(gzip.compress(manifest.read_bytes()))
    assert read_manifest(packed) == expected
    as_list = tmp_path / "list.json"
    as_list.write_text(json.dumps([GOOD, {"audio": "b.flac", "text": "a dog"}], indent=1))
    assert read_manifest(as_list) == expected
    packed.write_bytes(packed.read_bytes()[:20])
    with pytest.raises(ArgumentError, match="cannot be decompressed"):
        read_manifest(packed)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_encodings_that_alignments_can_have_too(write, encoding):
    manifest = write({"id": "Zürich", "audio": "a.flac", "text": "ein Käse"})
    manifest.write_bytes(manifest.read_text(encoding="utf-8").encode(encoding))
    assert read_manifest(manifest)[0].text == "ein Käse"


def test_files_relative_to_the_working_directory(write, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    manifest = tmp_path / "elsewhere" / "m.jsonl"
    write(GOOD).rename(manifest)
    monkeypatch.chdir(tmp_path)
    assert read_manifest(manifest)[0].audio.resolve() == tmp_path / "a.flac"


def test_odd_lines_are_told(write):
    for line, message in (
        ("[" * 100_000, "nested too deep"),
        ({"audio": "a\0.flac", "text": "x"}, "no such audio file"),
        ({"audio": "a" * 5000, "text": "x"}, "cannot be the name of a file"),
        ({"type": "MonoCut", "id": "x"}, "MonoCuts"),
    ):
        with pytest.raises(ArgumentError, match=message):
            read_manifest(write(GOOD, line))


def test_empty_missing_and_binary(write, tmp_path):
    with pytest.raises(ArgumentError, match="holds no utterance"):
        read_manifest(write(""))
    with pytest.raises(FileNotFoundError, match="no such manifest"):
        read_manifest(tmp_path / "nothing.jsonl")
    (tmp_path / "audio.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ArgumentError, match="no UTF-8"):
        read_manifest(tmp_path / "audio.jsonl")


def test_a_path_can_be_a_text(tmp_path):
    path = tmp_path / "a.flac"
    path.write_bytes(b"a")
    (text, own) = (Utterance("a", given, "a") for given in (str(path), path))
    assert text == own
    assert text.recording_digest() == own.recording_digest()
