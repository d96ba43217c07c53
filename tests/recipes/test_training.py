"""Training runs, is seeded, and goes on where it was stopped."""

import ctypes.util
import json
import random

import numpy as np
import pytest
import torch

from captum_spes.demo import MODEL_FOLDER
from captum_spes.errors import ArgumentError
from captum_spes.speech.models import load_model
from recipes.bundled import train as training
from recipes.bundled.model import LANGUAGES
from recipes.bundled.prior import train_prior
from recipes.bundled.synthesize import make_corpus
from recipes.bundled.train import Utterances, batches, collate, prepare, train

needs_espeak = pytest.mark.skipif(
    ctypes.util.find_library("espeak-ng") is None,
    reason="the eSpeak NG library is not installed (apt-get install espeak-ng)",
)


@pytest.fixture
def utterances():
    rng = np.random.default_rng(0)
    lengths = rng.integers(40, 120, 70)
    frames = rng.standard_normal((lengths.sum(), 80)).astype(np.float16)
    starts = np.cumsum([0, *lengths]).tolist()
    return Utterances(frames, starts, [{} for _ in lengths], [[] for _ in lengths])


def test_batches_hold_every_utterance_once(utterances):
    groups = list(batches(utterances, random.Random(0)))
    assert sorted(index for group in groups for index in group) == list(range(70))
    assert groups != list(batches(utterances, random.Random(1)))
    lengths = utterances.lengths()
    middle = [np.median(lengths[group]) for group in groups]
    assert max(middle) - min(middle) > 20  # of 80: batches hold similar lengths


def test_padding_is_zero_and_masked(utterances):
    features, mask = collate(utterances, [3, 5], None)
    for row, index in enumerate((3, 5)):
        spectrogram = torch.from_numpy(utterances.spectrogram(index).astype(np.float32))
        assert torch.equal(features[row, : len(spectrogram)], spectrogram)
        assert mask[row].sum() == len(spectrogram)
        assert not features[row, len(spectrogram) :].any()


def test_augmentation_removes_bands_and_spans_and_leaves_the_corpus_alone(utterances):
    before = utterances.frames.copy()
    features, mask = collate(utterances, range(20), random.Random(0))
    assert np.array_equal(utterances.frames, before)
    plain, _ = collate(utterances, range(20), None)
    changed = features != plain
    assert not features[changed].any()
    share = changed[mask].float().mean()
    assert 0.1 < share < 0.5
    # What is removed is whole bands and whole spans, and there are some of both.
    n_bands = n_spans = 0
    for row in range(20):
        frames = int(mask[row].sum())
        removed = changed[row, :frames]
        bands, spans = removed.all(0), removed.all(1)
        assert torch.equal(removed, bands[None] | spans[:, None])
        n_bands += int(bands.sum())
        n_spans += int(spans.sum())
    assert min(n_bands, n_spans) > 20


@needs_espeak
def test_training_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    corpus = tmp_path / "corpus"
    make_corpus(corpus, {"train": 6, "validation": 3, "test": 3}, 0, 1)
    train(corpus, tmp_path / "whole", epochs=2, seed=0)

    calls = []

    def stopped_in_the_second_epoch(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return dict.fromkeys(LANGUAGES, 0.0)

    with monkeypatch.context() as patch:
        patch.setattr(training, "token_accuracy", stopped_in_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            train(corpus, tmp_path / "stopped", epochs=2, seed=0)
    train(corpus, tmp_path / "stopped", epochs=2, seed=0)

    with pytest.raises(ArgumentError, match="same corpus and --epochs"):
        train(corpus, tmp_path / "stopped", epochs=3, seed=0)

    whole, _ = load_model(tmp_path / "whole")
    stopped, _ = load_model(tmp_path / "stopped")
    for a, b in zip(whole.parameters(), stopped.parameters(), strict=True):
        assert torch.equal(a, b)
    log = (tmp_path / "whole" / "training.log").read_text().splitlines()
    records = [json.loads(line) for line in log]
    assert [record["epoch"] for record in records] == [1, 2]
    assert all(np.isfinite(record["cross_entropy"]) for record in records)
    assert set(records[0]["validation_token_accuracy"]) == set(LANGUAGES)


@needs_espeak
def test_phones_of_frames(tmp_path, tiny_canary):
    make_corpus(tmp_path, {"test": 2}, 0, 1)
    line = json.loads((tmp_path / "test" / "manifest.jsonl").read_text().splitlines()[0])
    inventory = sorted({label for label, _, _ in line["phones"]})
    prepared = prepare(tmp_path / "test", tiny_canary[1], inventory)
    phones = prepared.phones[0]
    assert len(phones) == -(-int(prepared.lengths()[0]) // 4)
    for label, start, end in line["phones"]:
        inside = [p for f, p in enumerate(phones) if start <= f * 0.04 < end]
        assert set(inside) <= {1 + inventory.index(label)}
    assert phones[0] == 0  # silence comes first


@needs_espeak
def test_prior_is_measured(tmp_path):
    make_corpus(tmp_path, {"train": 6, "test": 3}, 0, 1)
    shares = train_prior(tmp_path, epochs=1, seed=0)
    assert set(shares) == set(LANGUAGES)
    assert all(0 <= share <= 100 for share in shares.values())


@needs_espeak
def test_a_trained_encoder_is_taken_and_the_decoder_is_new(tmp_path):
    corpus = tmp_path / "corpus"
    make_corpus(corpus, {"train": 6, "validation": 3}, 0, 1)
    bundled, processor = load_model(MODEL_FOLDER)
    for name, seeds in {"a": (0, 1), "b": (0, 2), "c": (1, 1)}.items():
        train(
            corpus, tmp_path / name, epochs=1, seed=seeds[0], order_seed=seeds[1],
            start=MODEL_FOLDER,
        )  # fmt: skip
    a, b, c = (load_model(tmp_path / name) for name in "abc")
    assert a[1].tokenizer.get_vocab() == processor.tokenizer.get_vocab()

    def distance(one, other, part):
        weights = [
            torch.cat([p.detach().ravel() for p in getattr(model.model, part).parameters()])
            for model in (one, other)
        ]
        return float((weights[0] - weights[1]).norm() / weights[1].norm())

    # One step changes little of what was taken, and a new decoder is another one.
    assert distance(a[0], bundled, "encoder") < 0.05
    assert distance(a[0], bundled, "decoder") > 0.5
    assert distance(a[0], c[0], "decoder") > 0.5
    # The same weights at first, other masks since then.
    assert 0 < distance(a[0], b[0], "decoder") < 0.05
