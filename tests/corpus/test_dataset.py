"""Datasets of Hugging Face's as corpora: the recordings of their rows, read in their turn."""

import pickle

import pytest
import torch

from captum_spes import Settings
from captum_spes.cli import main
from captum_spes.corpus import (
    ExplanationStore,
    ThisProcess,
    Utterance,
    explain_corpus,
    utterances_of,
)
from captum_spes.demo import load_demo, load_examples
from captum_spes.errors import ArgumentError
from captum_spes.io.audio import load_audio
from captum_spes.io.samples import origin_of
from captum_spes.speech import GradientPrior

datasets = pytest.importorskip("datasets", reason="needs Hugging Face's datasets")

SETTINGS = Settings.efficient(
    n_samples=30, n_token_samples=0, patches_per_second=(30,), prior=GradientPrior(2)
)


def rows(is_embedded=False, **columns):
    examples = load_examples()[:2]
    audio = [str(own.path) for own in examples]
    if is_embedded:
        audio = [{"bytes": own.path.read_bytes(), "path": None} for own in examples]
    found = datasets.Dataset.from_dict({"audio": audio, **columns})
    return found.cast_column("audio", datasets.Audio(sampling_rate=16_000))


@pytest.mark.parametrize("is_embedded", [False, True])
def test_its_recordings_are_explained_as_files_are(is_embedded, tmp_path):
    ids, examples = ["one", "two"], load_examples()[:2]
    known = {"model": lambda: load_demo()[:2], "settings": SETTINGS, "workers": ThisProcess()}
    maps = []
    for number, corpus in enumerate(
        [
            [Utterance(id_, own.path, "") for id_, own in zip(ids, examples, strict=True)],
            rows(is_embedded, id=ids, sentence=["text of one", None]),
        ]
    ):
        with ExplanationStore(tmp_path / f"{number}.h5") as store:
            run = explain_corpus(corpus, store, show_progress=False, **known)
            assert run.failures == {}
            assert set(store) == set(ids)
            maps.append([store[id_].spectrogram_attr for id_ in ids])
            origins = [store[id_].parameters.get("audio") for id_ in ids]
    for of_files, of_rows in zip(*maps, strict=True):
        assert torch.equal(of_files, of_rows)
    assert all(bool(origin) is not is_embedded for origin in origins)


def test_ids_texts_and_recordings():
    """What reads an utterance in another process gets its recording alone."""
    named = utterances_of(rows(uid=[7, 8], transcription=["a", None]))
    assert [(own.id, own.text) for own in named] == [("7", "a"), ("8", "")]
    assert [(own.id, own.text) for own in utterances_of(rows())] == [("0", ""), ("1", "")]
    for is_embedded in (False, True):
        for own, example in zip(utterances_of(rows(is_embedded)), load_examples(), strict=False):
            sent = pickle.loads(pickle.dumps(own))
            assert isinstance(sent.audio, dict)
            for one in (own, sent):
                assert (load_audio(one.file, 16_000) == load_audio(example.path, 16_000)).all()
                assert one.recording_digest() == own.recording_digest()
    first, second = utterances_of(rows(is_embedded=True))
    assert first.recording_digest() != second.recording_digest()


def test_a_file_that_has_the_name_of_a_row_is_not_its_recording(tmp_path, monkeypatch):
    """Datasets keep the name of what they hold."""
    monkeypatch.chdir(tmp_path)
    first, second = load_examples()[:2]
    (tmp_path / "clip.wav").write_bytes(second.path.read_bytes())
    assert origin_of({"bytes": first.path.read_bytes(), "path": "clip.wav"}) is None
    assert origin_of({"bytes": None, "path": "clip.wav"})["path"] == str(tmp_path / "clip.wav")


def test_what_cannot_be_a_corpus_is_told(tmp_path):
    with pytest.raises(ArgumentError, match=r"one column of audio, and has none: .* text"):
        utterances_of(datasets.Dataset.from_dict({"text": ["a"]}))
    with pytest.raises(ArgumentError, match="id 'a' twice"):
        utterances_of(rows(id=["a", "a"]))
    with pytest.raises(ArgumentError, match="has the splits train, test: give one"):
        utterances_of(datasets.DatasetDict(train=rows(), test=rows()))
    with pytest.raises(ArgumentError, match="is streamed"):
        utterances_of(rows().to_iterable_dataset())
    with pytest.raises(ArgumentError, match="is a folder, and no saved dataset"):
        explain_corpus(tmp_path, ExplanationStore(tmp_path / "a.h5"), model="no/matter")


def test_a_row_without_a_recording_is_named_and_the_rest_goes_on(tmp_path, capfd):
    """From the command line, of a dataset that was saved."""
    path = str(load_examples()[0].path)
    found = datasets.Dataset.from_dict({"audio": [None, path], "id": ["none", "some"]})
    found.cast_column("audio", datasets.Audio()).save_to_disk(tmp_path / "saved")
    asked = ["corpus", str(tmp_path / "saved"), "--store", str(tmp_path / "maps.h5"), "--quiet"]
    assert main([*asked, "--samples", "30", "--token-samples", "0", "--prior", "2"]) == 1
    output = capfd.readouterr()
    assert "none: " in output.err
    assert "has no recording" in output.err
    assert "1 explained, 0 known, 1 failed" in output.out
