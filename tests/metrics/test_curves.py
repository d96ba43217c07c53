"""Areas, and how sure a corpus makes them."""

import math

import numpy as np
import pytest

from captum_spes.errors import ArgumentError
from captum_spes.metrics import auc, plot_curves
from captum_spes.metrics.curves import Curve, mean_counts, mean_score
from captum_spes.metrics.perturbation import text_curve

STEPS = tuple(range(0, 101, 5))


def test_official_values(golden):
    expected = golden("deletion_auc.json")
    metrics = {"wer": "wer", "wer_max": "wer_capped", "sacrebleu": "bleu"}
    checked = 0
    for key, values in expected["results"].items():
        scorer, lower, upper = key.split("|")
        kept = [
            index
            for index, frames in enumerate(expected["n_frames"])
            if (lower == "None" or int(lower) < frames)
            and (upper == "None" or frames <= int(upper))
        ]
        references = [expected["refs"][i] for i in kept]
        scores = []
        for hypotheses in expected["hyps_file_step_sentence"]:
            texts = [[step[i] for step in hypotheses] for i in kept]
            curve = text_curve("deletion", metrics[scorer], STEPS, references, texts)
            scores.append(curve.y)
        assert np.allclose(scores, values["scores_per_file"], atol=1e-9)
        assert auc(STEPS, np.mean(scores, 0)) == pytest.approx(values["auc_over_100"], abs=1e-9)
        checked += 1
    assert checked >= 6


def test_area_of_a_triangle_in_percent_and_as_share():
    assert auc([0, 50, 100], [0, 50, 100]) == 50
    assert auc([0, 0.5, 1], [0, 50, 100]) == 50
    assert auc([0, 50], [100, 100]) == 50


@pytest.mark.parametrize("arguments", [([0, 1], [1]), ([0], [1]), ([0, 1], None)])
def test_area_needs_two_steps(arguments):
    with pytest.raises(ArgumentError, match="same length"):
        auc(*arguments)


def curve_of(values, **kwargs):
    counts = mean_counts(np.array(values, float))
    return Curve("deletion", "kl", (0, 100), counts, mean_score, **kwargs)


def test_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(100):
        values = rng.normal(50, 10, size=(40, 1)).repeat(2, 1)
        low, high = curve_of(values).interval(0.9, n_resamples=300, seed=trial)
        covered += low <= 50 <= high
    assert 80 <= covered <= 97


def test_interval_is_seeded_and_inside_the_range():
    curve = curve_of([[0, 0], [10, 10], [20, 20]])
    assert curve.interval(seed=1) == curve.interval(seed=1)
    assert curve.interval(seed=1, n_resamples=50) != curve.interval(seed=2, n_resamples=50)
    assert 0 <= curve.interval().low <= curve.auc == 10 <= curve.interval().high <= 20


def test_of_one_utterance_no_spread_is_known():
    curve = curve_of([[3, 5]])
    assert all(math.isnan(end) for end in curve.interval())
    assert all(math.isnan(end) for end in curve.difference(curve)[1])


def test_difference_is_paired():
    # Utterances differ much, the methods always by 1.
    base = np.array([[0.0, 0.0], [50.0, 50.0], [100.0, 100.0]])
    difference, interval = curve_of(base + 1).difference(curve_of(base))
    assert difference == 1
    assert interval == pytest.approx((1, 1))


def test_only_curves_of_the_same_utterances_are_compared():
    first, second = curve_of([[1, 1]], ids=("a",)), curve_of([[1, 1]], ids=("b",))
    with pytest.raises(ArgumentError, match="share metric, steps and utterances"):
        first.difference(second)


def test_corpus_error_rate_weighs_words_and_not_utterances():
    curve = text_curve(
        "deletion", "wer_capped", (0, 100), ["a", "b c d"], [["a", "x"], ["b c d", "b c d"]]
    )
    assert curve.y == (0, 25)


def test_each_step_is_capped_and_not_the_area():
    texts = [["x y z", "a"]]
    assert text_curve("deletion", "wer_capped", (0, 100), ["a"], texts).y == (100, 0)
    assert text_curve("deletion", "wer", (0, 100), ["a"], texts).y == (300, 0)


def test_references_without_words():
    with pytest.raises(ArgumentError, match="hold no word"):
        text_curve("deletion", "wer", (0, 100), [" "], [["a", "b"]])


def test_picture_names_curves_with_their_areas():
    figure = plot_curves({"SPES": curve_of([[0, 10]]), "energy": curve_of([[0, 20]])})
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["SPES 5.0", "energy 10.0"]
    assert figure.axes[0].get_ylabel() == "KL divergence (nats)"
    with pytest.raises(ArgumentError, match="no curve"):
        plot_curves({})


def test_counts_must_fit_the_steps():
    with pytest.raises(ArgumentError, match="needs counts"):
        Curve("size", "cells", (0, 1, 2), np.zeros((1, 2, 2)), mean_score)
