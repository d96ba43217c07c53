"""Both orders of removal and the gain between them."""

import numpy as np
import pytest
import torch
from captum.attr import Saliency

from captum_spes import SpeechToTextAttribution
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.metrics import (
    CurveDifference,
    deletion_curve,
    insertion_curve,
    plot_curves,
    symmetric_gain,
)
from captum_spes.metrics.curves import Curve, mean_counts, mean_score
from captum_spes.speech.models import adapt
from tests.metrics.test_perturbation import WORDS, WordPerCell, example
from tests.speech.explaining import QUICK, explain


class Weighed(WordPerCell):
    """Each cell is worth as many words as it is loud."""

    def transcribe(self, speech, states, gen_args):
        return [
            " ".join(
                " ".join([word] * int(cell))
                for word, cell in zip(WORDS, row.flatten(), strict=True)
            )
            for row in states
        ]


def weighed(*scores):
    reference = "one two two three three three four four four four"
    return (torch.tensor([[1.0], [2], [3], [4]]), reference, torch.tensor(scores).reshape(4, 1))


class TestKnownAnswers:
    def test_least_salient_first(self):
        given = [weighed(1.0, 2.0, 3.0, 4.0)]
        assert deletion_curve(Weighed(), given, 0.25).y == (0, 40, 70, 90, 100)
        assert deletion_curve(Weighed(), given, 0.25, order="least").y == (0, 10, 30, 60, 100)

    def test_it_is_insertion_read_backwards(self):
        given = [weighed(2.0, 4.0, 1.0, 3.0)]
        least = deletion_curve(Weighed(), given, 0.25, order="least")
        assert least.y == insertion_curve(Weighed(), given, 0.25).y[::-1]
        least = insertion_curve(Weighed(), given, 0.25, order="least")
        assert least.y == deletion_curve(Weighed(), given, 0.25).y[::-1]

    def test_the_gain_is_the_area_between(self):
        best, worst = ([weighed(*s)] for s in ((1.0, 2.0, 3.0, 4.0), (4.0, 3.0, 2.0, 1.0)))
        gain = symmetric_gain(Weighed(), best, 0.25)
        assert gain.y == (0, 30, 40, 30, 0)
        assert gain.auc == pytest.approx(25)
        assert symmetric_gain(Weighed(), worst, 0.25).auc == pytest.approx(-25)

    def test_a_map_that_tells_nothing_gains_nothing(self):
        assert symmetric_gain(Weighed(), [weighed(1.0, 1.0, 1.0, 1.0)], 0.25).auc == 0

    def test_larger_is_better_also_where_the_score_falls(self):
        best, worst = ([weighed(*s)] for s in ((1.0, 2.0, 3.0, 4.0), (4.0, 3.0, 2.0, 1.0)))
        gains = [
            symmetric_gain(Weighed(), given, 0.25, metric="bleu").auc for given in (best, worst)
        ]
        assert gains[0] > 0 > gains[1]
        assert gains[0] == -gains[1]


class TestRealModels:
    @pytest.mark.parametrize("metric", ["kl", "token_accuracy"])
    def test_reversing_a_map_reverses_the_gain(self, tiny_model, audio, metric):
        adapter, result = adapt(*tiny_model), explain(tiny_model, audio)
        own = result.sentence_attr().spectrogram_attr
        gains = [
            symmetric_gain(adapter, [(audio, None, given)], 0.1, metric=metric).auc
            for given in (own, -own)
        ]
        assert gains[0] == pytest.approx(-gains[1], abs=1e-5)

    def test_both_orders_by_each_tokens_own_map(self, tiny_whisper, audio):
        adapter, given = adapt(*tiny_whisper), [(audio, None, explain(tiny_whisper, audio))]
        gain = symmetric_gain(adapter, given, 0.25, metric="kl", per_token=True, removal="noise")
        for curve, order in ((gain.first, "most"), (gain.second, "least")):
            alone = deletion_curve(
                adapter, given, 0.25, metric="kl", per_token=True, removal="noise", order=order
            )
            assert curve.y == alone.y
        assert gain.first.y != gain.second.y

    def test_explains_once(self, tiny_whisper, audio):
        explainer = SpeechToTextAttribution(Saliency(tiny_whisper[0]), tiny_whisper[1])
        calls, attribute = [], explainer.attribute
        explainer.attribute = lambda *a, **k: calls.append(a) or attribute(*a, **k)
        target = {k: v for k, v in QUICK.items() if k not in ("n_samples", "n_token_samples")}
        symmetric_gain(explainer, [(audio, None)], 0.5, metric="kl", **target)
        assert len(calls) == 1


def curve_of(values, name="deletion", metric="kl", ids=()):
    counts = mean_counts(np.array(values, float))
    return Curve(name, metric, (0, 50, 100), counts, mean_score, ids)


class TestDifferences:
    def test_intervals_are_paired(self):
        generator = np.random.default_rng(0)
        loud = generator.normal(0, 10, (30, 1)) + np.zeros(3)
        first, second = curve_of(loud + 1), curve_of(loud)
        gain = CurveDifference("gain", first, second)
        # Utterances differ much, and what is between the curves of each does not.
        assert gain.interval() == pytest.approx((1, 1))
        assert first.interval().high - first.interval().low > 1
        other = CurveDifference("gain", curve_of(loud + 3), curve_of(2 * loud))
        difference, interval = gain.difference(other)
        assert difference == pytest.approx(gain.auc - other.auc)
        assert interval.low < difference < interval.high
        assert gain.difference(gain) == (0, (0, 0))

    def test_curves_of_other_utterances_are_no_pair(self):
        for other in (curve_of(np.ones((3, 3))), curve_of(np.ones((2, 3)), metric="wer")):
            with pytest.raises(ArgumentError, match="share metric, steps and utterances"):
                CurveDifference("gain", curve_of(np.ones((2, 3))), other)

    def test_plot_names_both_and_the_gain(self):
        least = curve_of(np.zeros((1, 3)), "deletion, least salient first")
        figure = CurveDifference("gain", curve_of(np.ones((1, 3))), least).plot()
        (axes,) = figure.axes
        assert axes.get_title() == "gain: 1.00"
        assert axes.get_xlabel() == "cells removed (%)"
        assert len(axes.lines) == 2
        (axes,) = plot_curves({"one": curve_of(np.ones((1, 3)))}).axes
        assert axes.get_xlabel() == "cells, most salient first (%)"


def test_says_what_is_wrong():
    with pytest.raises(ArgumentError, match="order must be one of most, least"):
        deletion_curve(WordPerCell(), [example(1.0, 2.0, 3.0, 4.0)], order="worst")
    with pytest.raises(ArgumentTypeError, match="takes no order"):
        symmetric_gain(WordPerCell(), [example(1.0, 2.0, 3.0, 4.0)], order="most")
