"""Tests of differences, their correction, and how far measures rank alike."""

import math

import numpy as np
import pytest
from scipy.stats import wilcoxon

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.metrics import (
    CurveDifference,
    holm,
    paired_p_value,
    rank_agreement,
)
from captum_spes.metrics.curves import Curve, mean_counts, mean_score
from captum_spes.metrics.measured_curve import text_curve


def curve(values, metric="kl"):
    """A curve whose area is that of each utterance."""
    counts = mean_counts(np.array(values, float)[:, None].repeat(3, 1))
    return Curve("deletion", metric, (0, 50, 100), counts, mean_score)


class TestPValue:
    def test_exact_where_all_permutations_can_be_had(self):
        # All six utterances differ in one direction: 2 of 2 ** 6 permutations are as extreme.
        first, second = curve([2, 3, 4, 5, 6, 7]), curve([1, 1, 1, 1, 1, 1])
        assert paired_p_value(first, second) == pytest.approx(2 / 64)
        assert paired_p_value(second, first) == pytest.approx(2 / 64)
        assert paired_p_value(first, first) == 1

    def test_it_is_paired(self):
        """Utterances that differ much among each other hide nothing."""
        loud = np.linspace(0, 100, 30)
        small = np.random.default_rng(0).uniform(0.5, 1, 30)
        assert paired_p_value(curve(loud + small), curve(loud)) <= 0.002

    def test_chance_is_below_a_share_as_often_as_that(self):
        generator = np.random.default_rng(1)
        found = [
            paired_p_value(
                curve(generator.normal(size=8)), curve(generator.normal(size=8)), n_resamples=300
            )
            for _ in range(60)
        ]
        assert 0.02 < np.mean(np.array(found) < 0.2) < 0.4

    def test_it_agrees_with_a_known_test_where_that_applies(self):
        generator = np.random.default_rng(2)
        first = generator.normal(0.5, 1, 40)
        own = paired_p_value(curve(first), curve(np.zeros(40)), n_resamples=4_000)
        assert own == pytest.approx(wilcoxon(first).pvalue, abs=0.02)

    def test_of_corpora_scores_and_of_differences(self):
        references = ["one two three four"] * 8
        good = [[reference] * 2 for reference in references]
        bad = [[reference, "one"] for reference in references]
        first, second = (
            text_curve("deletion", "wer", (0, 100), references, texts) for texts in (bad, good)
        )
        assert paired_p_value(first, second, n_resamples=999) == pytest.approx(2 / 2**8)
        gains = [CurveDifference("gain", own, second) for own in (first, second)]
        assert paired_p_value(*gains) == pytest.approx(2 / 2**8)
        # What is subtracted changes places, too.
        same = [CurveDifference("gain", own, own) for own in (first, second)]
        assert paired_p_value(*same) == 1

    def test_seeded(self):
        generator = np.random.default_rng(3)
        pair = [curve(generator.normal(size=30)) for _ in range(2)]
        assert paired_p_value(*pair, seed=1) == paired_p_value(*pair, seed=1)
        assert len({paired_p_value(*pair, seed=seed) for seed in range(5)}) > 1

    def test_what_cannot_be_tested(self):
        assert math.isnan(paired_p_value(curve([1]), curve([2])))
        with pytest.raises(ArgumentError, match="share metric, steps and utterances"):
            paired_p_value(curve([1, 2]), curve([1, 2], "wer"))
        with pytest.raises(ArgumentTypeError, match="two curves, or two differences"):
            paired_p_value(curve([1, 2]), CurveDifference("gain", curve([1, 2]), curve([1, 2])))


class TestHolm:
    def test_known_values(self):
        pytest.importorskip("statsmodels", reason="statsmodels is not installed")
        # 4 * 0.01, 3 * 0.02, then never less than one before, and at most 1.
        found = holm([0.04, 0.01, 0.9, 0.02])
        assert found == pytest.approx([0.08, 0.04, 0.9, 0.06])
        assert holm([0.7, 0.6]) == [1, 1]
        assert holm([]) == []

    def test_what_was_not_tested_stays_and_does_not_count(self):
        pytest.importorskip("statsmodels", reason="statsmodels is not installed")
        found = holm([0.01, float("nan"), 0.04])
        assert found[0] == pytest.approx(0.02)
        assert math.isnan(found[1])
        assert math.isnan(holm([float("nan")])[0])

    def test_bad_input(self, monkeypatch):
        with pytest.raises(ArgumentError, match=r"p-values lie in \[0, 1\]"):
            holm([1.5])
        monkeypatch.setitem(__import__("sys").modules, "statsmodels.stats.multitest", None)
        with pytest.raises(ImportError, match=r"pip install 'captum-spes\[evaluation\]'"):
            holm([0.5])


class TestRanks:
    def test_all_alike(self):
        found = rank_agreement({"a": [3, 2, 1], "b": [9, 8, -1], "c": [0.3, 0.2, 0.1]}, list("xyz"))
        assert found.concordance == pytest.approx(1)
        assert np.allclose(found.taus, 1)
        assert found.ranks.tolist() == [[1, 2, 3]] * 3

    def test_opposite_orders_cancel(self):
        found = rank_agreement({"a": [3, 2, 1], "b": [1, 2, 3]}, list("xyz"))
        assert found.concordance == pytest.approx(0)
        assert found.taus[0, 1] == -1

    def test_equal_methods_share_a_rank(self):
        found = rank_agreement({"a": [1, 2, 2], "b": [1, 3, 2]}, list("xyz"))
        assert found.ranks[0].tolist() == [3, 1.5, 1.5]
        assert 0.5 < found.taus[0, 1] < 1

    def test_what_cannot_be_told(self):
        two = rank_agreement({"a": [1, 2], "b": [2, 1]}, list("xy"))
        assert math.isnan(two.concordance)
        flat = rank_agreement({"a": [1, 1, 1], "b": [1, 2, 3]}, list("xyz"))
        assert math.isnan(flat.taus[0, 1])

    def test_bad_input(self):
        with pytest.raises(ArgumentError, match="at least one measure"):
            rank_agreement({}, list("xyz"))
        for own in ([1, 2], [1, 2, float("nan")]):
            with pytest.raises(ArgumentError, match="a needs a finite score for each of 3"):
                rank_agreement({"a": own}, list("xyz"))
