"""Whether methods differ, and whether measures rank them alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import NDArray

from captum_spes.errors import (
    ArgumentError,
    ArgumentTypeError,
    optional_library,
    real_number,
    several,
    whole_number,
)
from captum_spes.metrics.curves import Curve, CurveDifference, check_paired


def paired_p_value(
    first: Curve | CurveDifference,
    second: Curve | CurveDifference,
    *,
    n_resamples: int = 999,
    seed: int = 0,
) -> float:
    r"""
    Test whether the areas of two methods differ, on the same utterances: a two-sided permutation
    test (``scipy.stats.permutation_test``), in which each utterance's curves change places or not.

    Args:

        first (Curve or CurveDifference): One method's.
        second (Curve or CurveDifference): Another one's, of the same kind, measure, steps and
                    utterances.
        n_resamples (int, optional): Permutations; where there are no more than these, all are
                    taken and the test is exact. The least p-value is about 1 / n_resamples.
                    Default: 999
        seed (int, optional): Of the permutations.
                    Default: 0

    Returns:
        *float*; NaN for a single utterance.

    Raises:
        ArgumentError: the curves differ in metric, steps or utterances.
        ArgumentTypeError: they are of different kinds.

    Examples::

        >>> curve = size_curve([result, result])
        >>> paired_p_value(curve, curve)
        1.0
    """
    n_resamples, seed = whole_number("n_resamples", n_resamples, 1), whole_number("seed", seed, 0)
    if isinstance(first, Curve) and isinstance(second, Curve):
        pooled: Curve | CurveDifference = _pooled(first, second)
    elif isinstance(first, CurveDifference) and isinstance(second, CurveDifference):
        pooled = CurveDifference(
            first.name, _pooled(first.first, second.first), _pooled(first.second, second.second)
        )
    else:
        raise ArgumentTypeError(
            "paired_p_value needs two curves, or two differences of curves, got "
            f"{type(first).__name__} and {type(second).__name__}."
        )
    count = len(first.counts if isinstance(first, Curve) else first.first.counts)
    if count < 2:
        return float("nan")

    def gap(own: NDArray[np.int64], other: NDArray[np.int64]) -> float:
        return pooled.area_of(own) - pooled.area_of(other)

    found = scipy.stats.permutation_test(
        (np.arange(count), np.arange(count, 2 * count)),
        gap,
        permutation_type="samples",
        vectorized=False,
        n_resamples=n_resamples,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def _pooled(first: Curve, second: Curve) -> Curve:
    check_paired(first, second)
    return replace(first, counts=np.concatenate([first.counts, second.counts]), ids=())


def holm(p_values: Sequence[float]) -> list[float]:
    r"""
    Correct the p-values of several tests by Holm's method, so that of all of them together at most
    the stated share is wrong by chance (``statsmodels.stats.multitest``).

    Args:

        p_values (sequence of float): Of the tests; NaN is no test and stays.

    Returns:
        *list[float]*, in the same order, none smaller than given and none above 1.

    Raises:
        ArgumentError: a value is outside of [0, 1].
        ImportError: statsmodels is not installed.

    Examples::

        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    given = [real_number("each p-value", p) for p in several("p_values", p_values, "numbers")]
    if any(not 0 <= p <= 1 for p in given if not np.isnan(p)):
        raise ArgumentError(f"p-values lie in [0, 1], got {given}.")
    multitest = optional_library("statsmodels.stats.multitest", "correcting p-values", "evaluation")
    found = np.array(given, dtype=float)
    is_test = ~np.isnan(found)
    if is_test.any():
        found[is_test] = multitest.multipletests(found[is_test], method="holm")[1]
    return [float(p) for p in found]


@dataclass(frozen=True, eq=False)
class RankAgreement:
    r"""
    How measures rank the same methods.

    Attributes:
        measures: their names.
        methods: their names.
        ranks: ``(measures, methods)``: 1 is the best, and equal ones share the mean of theirs.
        taus: ``(measures, measures)``: Kendall's tau of each two: 1 for the same order, -1 for the
            opposite one; NaN where a measure tells no method from another.
        concordance: Kendall's W of all: 1 where all rank alike, 0 where ranks cancel; NaN for fewer
            than three methods or two measures.
    """

    measures: tuple[str, ...]
    methods: tuple[str, ...]
    ranks: NDArray[np.float64]
    taus: NDArray[np.float64]
    concordance: float


def rank_agreement(scores: Mapping[str, Sequence[float]], methods: Sequence[str]) -> RankAgreement:
    r"""
    Rank methods by several measures, and say how far the ranks agree: Kendall's tau of each two
    measures, and Kendall's W of all.

    Args:

        scores (mapping of str to sequence): Of each measure the methods' scores, the larger the
                    better.
        methods (sequence of str): Their names.

    Returns:
        *RankAgreement*

    Raises:
        ArgumentError: there is no measure, or one has not a finite score for each method.

    Examples::

        >>> scores = {"mean": [3.0, 2.0, 1.0], "silence": [9.0, 5.0, 7.0]}
        >>> found = rank_agreement(scores, ["spes", "energy", "random"])
        >>> found.ranks.tolist(), round(float(found.taus[0, 1]), 2), found.concordance
        ([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]], 0.33, 0.75)
    """
    names = several("methods", methods, "names of methods")
    values = {
        str(measure): np.array(
            [real_number("each score", v) for v in several(measure, own, "scores")]
        )
        for measure, own in scores.items()
    }
    if not values:
        raise ArgumentError("rank_agreement needs at least one measure.")
    for measure, own in values.items():
        if len(own) != len(names) or not np.isfinite(own).all():
            raise ArgumentError(
                f"{measure} needs a finite score for each of {len(names)} methods, got {own}."
            )
    ranks = np.stack([scipy.stats.rankdata(-own) for own in values.values()])
    # Of two constant measures SciPy tells nothing, and warns of nothing.
    taus = np.array([[scipy.stats.kendalltau(a, b).statistic for b in ranks] for a in ranks], float)
    return RankAgreement(tuple(values), tuple(names), ranks, taus, _concordance(ranks))


def _concordance(ranks: NDArray[np.float64]) -> float:
    """Kendall's W, which Friedman's test is made of: chi-squared = measures * (methods - 1) * W."""
    n_measures, n_methods = ranks.shape
    if n_methods < 3 or n_measures < 2 or not (ranks.std(1) > 0).any():
        return float("nan")
    found = scipy.stats.friedmanchisquare(*ranks.T).statistic
    return float(found / (n_measures * (n_methods - 1)))
