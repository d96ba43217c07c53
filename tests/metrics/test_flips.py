"""Flip rate and coverage: at which share of removed cells a foil overtakes the word."""

import numpy as np
import pytest
import torch

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.demo import load_ctc, load_demo, load_speech_llm, load_transducer
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.forward import Contrast
from captum_spes.io.samples import read_samples
from captum_spes.metrics import FlipExample, deletion_masks, flip_curves

# Where a probability is asked for, of two samples.
pytestmark = pytest.mark.filterwarnings("ignore:.*perturbed by no sample")
SETTINGS = {"n_samples": 60, "n_token_samples": 20, "patches_per_second": 30, "seed": 0}


@pytest.fixture(scope="module")
def demo():
    model, processor, examples = load_demo()
    return SpeechToTextAttribution(SPES(model), processor), examples


@pytest.fixture(scope="module")
def contrast(demo):
    explainer, examples = demo
    return explainer.attribute(examples[0].path, contrast=Contrast("five", "nine"), **SETTINGS)


def test_the_ratio_is_that_of_the_two_words_in_what_is_left(demo, contrast):
    """By explaining what is left of the recording anew, as features."""
    explainer, examples = demo
    found = flip_curves(explainer, [(examples[0].path, contrast)], step=0.5)
    assert found.rate.x == (0, 50, 100)
    speech = explainer.adapter.from_audio(read(examples[0].path))
    is_removed = deletion_masks(contrast.spectrogram_attr[0], (0, 50, 100))
    for ratio, removed in zip(found.log_ratios[0], is_removed, strict=True):
        left = torch.where(removed, contrast.removed, speech.spectrogram)
        facts = explainer.attribute(
            explainer.adapter.model_features(speech, left[None]), target=contrast.text,
            contrast=Contrast("five", "nine"),
            **{**SETTINGS, "n_samples": 2, "n_token_samples": 0},
        ).parameters["contrast"]  # fmt: skip
        expected = np.log(facts["probability"] / facts["foil_probability"])
        assert ratio == pytest.approx(expected, abs=1e-3)


def read(path):
    return read_samples(path, 16_000, 16_000)


def test_rate_points_and_coverage(demo, contrast):
    explainer, examples = demo
    flips = flip_curves(explainer, [(examples[0].path, contrast)] * 2, step=0.1)
    is_over = flips.log_ratios < 0
    assert np.array_equal(is_over[0], is_over[1])
    assert np.allclose(flips.rate.y, 100 * is_over.mean(0))
    assert is_over.any()
    assert not is_over[0, 0]
    assert flips.points[0] == flips.rate.x[is_over[0].argmax()]
    assert flips.coverage.y[0] == 100  # it wrote the word


def test_coverage_is_what_the_model_would_write(demo):
    """By the likeliest tokens that the result itself tells, of what is left of the recording."""
    explainer, examples = demo
    path = examples[0].path
    contrast = explainer.attribute(path, contrast=Contrast("drawer", "door"), **SETTINGS)
    flips = flip_curves(explainer, [(path, contrast)], step=0.25)
    speech = explainer.adapter.from_audio(read(path))
    is_removed = deletion_masks(contrast.spectrogram_attr[0], flips.rate.x)
    for covered, ratio, removed in zip(
        flips.coverage.y, flips.log_ratios[0], is_removed, strict=True
    ):
        left = torch.where(removed, contrast.removed, speech.spectrogram)
        word = "drawer" if ratio >= 0 else "door"
        text = contrast.text.replace("drawer", word)
        found = explainer.attribute(
            explainer.adapter.model_features(speech, left[None]), target=text,
            **{**SETTINGS, "n_samples": 2, "n_token_samples": 0},
        )  # fmt: skip
        (rows,) = (own.token_indices for own in found.words if own.word == word)
        assert covered == 100 * all(found.ranks[list(rows)] == 1)
    assert 0 in flips.coverage.y


def test_a_foil_that_is_written_is_covered(demo):
    """Another word is put where "five" was said: the foil is likelier, and the model writes it."""
    explainer, examples = demo
    said = "Anna runs to the bakery at five o'clock to close her black drawer."
    contrast = explainer.attribute(
        examples[0].path, target=said.replace("five", "nine"),
        contrast=Contrast("nine", "five"), **SETTINGS,
    )  # fmt: skip
    flips = flip_curves(explainer, [(examples[0].path, contrast)], step=0.5)
    assert flips.log_ratios[0, 0] < 0
    assert flips.coverage.y[0] == 100
    assert flips.points[0] == 0


def test_where_nothing_flips(demo, contrast):
    explainer, examples = demo
    last = torch.zeros_like(contrast.spectrogram)
    flips = flip_curves(explainer, [FlipExample(examples[0].path, contrast, last)], step=0.05)
    better = flip_curves(explainer, [(examples[0].path, contrast)], step=0.05)
    assert better.rate.auc > flips.rate.auc
    only_intact = flips.log_ratios[:, :1]
    assert np.isnan(type(flips)(flips.rate, flips.coverage, only_intact).points).all()


def test_batches_change_nothing(demo, contrast):
    explainer, examples = demo
    given = [{"audio": examples[0].path, "contrast": contrast}]
    whole, parts = (flip_curves(explainer, given, step=0.25, batch_size=n) for n in (None, 2))
    assert np.allclose(whole.log_ratios, parts.log_ratios, atol=1e-4)


def test_previous_tokens(demo):
    explainer, examples = demo
    contrast = explainer.attribute(
        examples[0].path, contrast=Contrast("o'clock", "books"), **SETTINGS
    )
    given = [(examples[0].path, contrast)]
    flips = flip_curves(explainer, given, step=0.5, side="tokens")
    audio = flip_curves(explainer, given, step=0.5)
    assert flips.log_ratios[0, 0] == pytest.approx(audio.log_ratios[0, 0], abs=1e-3)
    assert not np.allclose(flips.log_ratios[0, 1:], audio.log_ratios[0, 1:], atol=0.1)
    # The last word before says that a time follows; what stands first does not.
    first, last = torch.zeros(2, len(contrast.previous_tokens))
    first[3], last[-1] = 1, 1
    by_last, by_first = (
        flip_curves(
            explainer, [(examples[0].path, contrast, order)], step=0.1, side="tokens"
        ).log_ratios[0, 1]
        for order in (last, first)
    )
    assert by_last < by_first


@pytest.mark.parametrize("load", [load_ctc, load_transducer, load_speech_llm])
def test_other_kinds_of_models(load):
    model, processor, examples = load()
    explainer = SpeechToTextAttribution(SPES(model), processor)
    contrast = explainer.attribute(examples[0].path, contrast=Contrast("five", "nine"), **SETTINGS)
    flips = flip_curves(explainer, [(examples[0].path, contrast)], step=0.25)
    assert flips.log_ratios[0, 0] > 0
    assert flips.coverage.y[0] == 100


def test_what_is_refused(demo, contrast):
    explainer, examples = demo
    path = examples[0].path
    plain = explainer.attribute(path, **{**SETTINGS, "n_samples": 2, "n_token_samples": 0})
    with pytest.raises(ArgumentError, match="an explanation is no contrast"):
        flip_curves(explainer, [(path, plain)])
    with pytest.raises(ArgumentTypeError, match="contrast must be an explanation, got str"):
        flip_curves(explainer, [(path, "five")])
    with pytest.raises(ArgumentTypeError, match="an example is"):
        flip_curves(explainer, [(path,)])
    with pytest.raises(ArgumentError, match="at least one example"):
        flip_curves(explainer, [])
    with pytest.raises(ArgumentError, match="side must be one of audio, tokens"):
        flip_curves(explainer, [(path, contrast)], side="text")
    with pytest.raises(ArgumentError, match="explains another recording"):
        flip_curves(explainer, [(path, contrast, torch.zeros(3, 3))])
    with pytest.raises(ArgumentError, match="previous tokens before the word, got 3 values"):
        flip_curves(explainer, [(path, contrast, torch.zeros(3))], side="tokens")
