"""The fast path gives what the paper's loop, written down in the plain way, gives."""

from pathlib import Path

import pytest
import torch

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.metrics.perturbation import explained_sequence
from captum_spes.speech.inputs import read_speech
from tests.conftest import module_of
from tests.speech.explaining import QUICK

_FILE = Path(__file__).parents[1] / "benchmarks" / "plain_loop.py"


@pytest.fixture(scope="module")
def plain_loop():
    return module_of(_FILE)


OPTIONS = {
    "as the paper": {},
    "three levels": {"patches_per_second": (20, 60, 120), "n_samples": 61},
    "grid": {"feature_mask": "grid"},
    "cells": {"feature_mask": "cells", "perturb_prob": 0.7, "token_perturb_prob": 0.1},
    "probability": {"score": "probability"},
    "another removed value": {"baselines": 0.3},
    "one by one": {"perturbations_per_eval": 1},
    "large batches": {"perturbations_per_eval": 50},
    "automatic batches": {"perturbations_per_eval": "auto"},
    "a tolerance that is not reached": {
        "tolerance": 1e-3,
        "patches_per_second": (20, 60),
    },
}


@pytest.mark.filterwarnings("ignore:.*sampling noise")
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_equals_the_plain_loop(plain_loop, tiny_model, audio, options):
    model, processor = tiny_model
    explainer = SpeechToTextAttribution(SPES(model), processor)
    settings = {**QUICK, "perturb_prob": 0.5, "token_perturb_prob": 0.4, **options}
    result = explainer.attribute(audio, **settings)

    adapter, sequence = explainer.adapter, explained_sequence(result)
    speech = read_speech(adapter, audio, adapter.sampling_rate)
    score = plain_loop.score_named(settings.get("score", "kl"), sequence)
    draws, token_draws = (
        plain_loop.Draws(settings[f"n_{side}samples"], settings[f"{side}perturb_prob"], 0, 7)
        for side in ("", "token_")
    )
    spectrogram_attr = plain_loop.plain_spectrogram_attr(
        adapter, speech, sequence, list(result.feature_masks), result.removed, draws, score
    )
    token_attr = plain_loop.plain_token_attr(adapter, speech, sequence, token_draws, score)

    scale = spectrogram_attr.abs().max()
    assert (result.spectrogram_attr - spectrogram_attr).abs().max() < 1e-5 * max(1, scale)
    is_previous = sequence.valid_previous_tokens()
    assert torch.allclose(
        result.token_attr[is_previous], token_attr[is_previous], atol=1e-5, rtol=1e-5
    )
