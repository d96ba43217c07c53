"""Manifests with any content: utterances that can be worked with, or every wrong line by number."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_spes.corpus import read_manifest
from captum_spes.errors import ArgumentError
from captum_spes.io.audio import Excerpt

NAMES = st.sampled_from(
    ["id", "name", "audio", "file", "audio_filepath", "text", "offset", "duration", "start",
     "translations", "labels", "recording", "supervisions", "channel", "type", "tracks", "sources"]
)  # fmt: skip
SIMPLE = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["a.wav", "hello", "file", "MonoCut", 0.5])
)  # fmt: skip
VALUES = st.recursive(
    SIMPLE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
GOOD = st.fixed_dictionaries({"audio": st.just("a.wav"), "text": st.just("hello")})
LINES = st.dictionaries(NAMES, VALUES, max_size=5) | st.builds(
    lambda good, more: {**more, **good}, GOOD, st.dictionaries(NAMES, VALUES, max_size=3)
)
QUICK = settings(max_examples=200, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("manifests")
    (place / "a.wav").write_bytes(b"RIFF")
    return place


def check(manifest):
    problem, utterances = "", []
    try:
        utterances = read_manifest(manifest)
    except ArgumentError as error:
        problem = str(error)
    if problem:
        assert str(manifest) in problem
        return
    ids = [utterance.id for utterance in utterances]
    assert ids
    assert len(set(ids)) == len(ids)
    for utterance in utterances:
        assert utterance.text.strip()
        if isinstance(utterance.audio, Excerpt):
            assert utterance.audio.start >= 0
        assert utterance.recording_digest()


@QUICK
@given(st.lists(LINES | VALUES, max_size=3), st.booleans())
def test_any_lines(folder, lines, as_list):
    text = json.dumps(lines) if as_list else "\n".join(map(json.dumps, lines))
    (folder / "m.jsonl").write_text(text)
    check(folder / "m.jsonl")


@QUICK
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes(folder, content, is_packed):
    manifest = folder / ("m.jsonl.gz" if is_packed else "m.jsonl")
    manifest.write_bytes(gzip.compress(content) if is_packed else content)
    check(manifest)
    if is_packed:
        manifest.write_bytes(content)
        check(manifest)
