"""Manifests: what is read, and that everything wrong is told with its line."""

import json

import numpy as np
import pytest
import soundfile

from captum_spes.corpus import read_manifest
from captum_spes.errors import ArgumentError


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


def test_empty_missing_and_binary(write, tmp_path):
    with pytest.raises(ArgumentError, match="holds no utterance"):
        read_manifest(write(""))
    with pytest.raises(FileNotFoundError, match="no such manifest"):
        read_manifest(tmp_path / "nothing.jsonl")
    (tmp_path / "audio.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ArgumentError, match="no UTF-8"):
        read_manifest(tmp_path / "audio.jsonl")
