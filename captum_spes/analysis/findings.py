"""What an analysis finds, and the tests that all analyses share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from captum_spes.errors import ArgumentError, ArgumentTypeError, optional_library
from captum_spes.speech import SpeechToTextAttributionResult
from captum_spes.speech.noise import MOSTLY_NOISE

if TYPE_CHECKING:
    from pandas import DataFrame

# Values whose differences are rounding alone have no spread that could be tested against.
_ROUNDING = 1e-12

Results = Mapping[str, SpeechToTextAttributionResult]


@dataclass(frozen=True, eq=False)
class Findings:
    """What an analysis finds.

    Attributes:
        table: one row per observation (a word, a token), with its ``utterance`` and the
            ``reliability`` of its map, the share of the variance that is not sampling noise (NaN
            where that is not known).
        tests: one row per question: ``test``, ``alternative`` (one or two sides), number of
            observations ``n`` (those without a finite value left out) and of ``utterances``, the
            ``estimate`` with its 95 % interval (``low``, ``high``), ``effect_size`` and which one
            it is (``effect``), ``statistic``, ``p``, and ``p_corrected`` for all questions of the
            table (Benjamini and Hochberg). Where ``n`` counts words or tokens, p treats them as
            independent, which those of one utterance are not: read it together with the row of the
            means of utterances. ``reliability`` is the mean over the maps that the test is made on;
            ``noise`` is "mostly noise" where it is below 0.5, and "unknown" where it is not known.
        dropped: utterances that lack rows, and why.
        keep_noise: whether the tests are made on all rows, also on those that are mostly noise.
    """

    table: DataFrame
    tests: DataFrame
    dropped: Mapping[str, str] = field(default_factory=dict)
    keep_noise: bool = field(default=False, kw_only=True)

    @property
    def tested(self) -> DataFrame:
        """The rows that tests are made on: without those that are mostly noise, or all."""
        return believable(self.table, self.keep_noise)


def believable(rows: DataFrame, keep_noise: bool) -> DataFrame:
    """Rows without those whose maps are known to be mostly noise; all where noise is kept."""
    return rows if keep_noise else rows[~(_reliabilities(rows) < MOSTLY_NOISE)]


def number(reliability: float | None) -> float:
    """A reliability as a table holds it."""
    return float("nan") if reliability is None else reliability


def with_noise(test: Mapping[str, Any], *rows: DataFrame) -> dict[str, Any]:
    """A row of tests that says how much noise is in the rows that it was made on."""
    values = np.concatenate([_reliabilities(one) for one in rows])
    known = values[~np.isnan(values)]
    if not len(values):
        return {**test, "reliability": np.nan, "noise": "no rows left"}
    if not len(known):
        return {**test, "reliability": np.nan, "noise": "unknown"}
    mean = float(known.mean())
    return {**test, "reliability": mean, "noise": "mostly noise" if mean < MOSTLY_NOISE else ""}


def _reliabilities(rows: DataFrame) -> NDArray[np.float64]:
    """Of each row; NaN in tables that do not tell."""
    if "reliability" not in rows:
        return np.full(len(rows), np.nan)
    return np.asarray(rows["reliability"], dtype=float)


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> DataFrame:
    """A DataFrame, or an error that names what to install."""
    pandas = optional_library("pandas", "a table", "analysis")
    frame: DataFrame = pandas.DataFrame(list(rows), columns=columns)
    return frame


def check_results(results: Results) -> None:
    """Refuse what no analysis can read: nothing at all, or several methods mixed."""
    if not isinstance(results, Mapping):
        raise ArgumentTypeError(
            "results must be a dict of explanations by the name of the utterance, as load_results "
            f"returns; got {type(results).__name__}. For one explanation: {{'name': result}}."
        )
    if not results:
        raise ArgumentError("there is no explanation to analyse.")
    kinds = {"methods": "method", "models": "model_id"}
    for kind, name in kinds.items():
        found = sorted({str(getattr(result, name)) for result in results.values()})
        if len(found) > 1:
            raise ArgumentError(
                f"the explanations are of several {kind} ({', '.join(found)}): analyse one at a "
                "time."
            )


def mean_test(
    question: str,
    values: ArrayLike,
    utterances: Sequence[str],
    *,
    alternative: str = "greater",
) -> dict[str, Any]:
    r"""
    Test whether a mean differs from 0 (Student's t, one sample).

    Args:

        question (str): What is asked, for the table.
        values (array of shape (n,)): Differences, or other values that are 0 without an effect. NaN
                    is left out.
        utterances (sequence of str): The utterance that each value comes from.
        alternative (str, optional): "greater", "less" or "two-sided".
                    Default: "greater"

    Returns:
        *dict*: a row of ``Findings.tests``, before correction; ``estimate`` is the mean. The effect
        size is Cohen's d: the mean in standard deviations. With fewer than two values, or equal
        ones, there is no test.

    Examples::

        >>> row = mean_test("above 0?", [1.0, 2.0, 3.0], ["a", "a", "b"])
        >>> row["n"], row["utterances"], row["effect_size"]
        (3, 2, 2.0)
    """
    sample, of = _finite(values, utterances)
    row = test_row(question, "t-test, one sample", alternative, len(sample), len(set(of)))
    if len(sample):
        row["estimate"] = float(sample.mean())
    if len(sample) < 2 or np.ptp(sample) <= _ROUNDING * np.abs(sample).max():
        return row
    result = scipy.stats.ttest_1samp(sample, 0.0, alternative=alternative)
    interval = scipy.stats.ttest_1samp(sample, 0.0).confidence_interval()
    return row | {
        "low": float(interval.low),
        "high": float(interval.high),
        "effect": "Cohen's d",
        "effect_size": float(sample.mean() / sample.std(ddof=1)),
        "statistic": float(result.statistic),
        "p": float(result.pvalue),
    }


def utterance_means(values: ArrayLike, utterances: Sequence[str]) -> tuple[list[float], list[str]]:
    """The mean of each utterance's finite values, and its name."""
    sample, of = _finite(values, utterances)
    names = list(dict.fromkeys(of))
    places = np.array([names.index(name) for name in of], dtype=int)
    sums = np.bincount(places, sample, len(names))
    return list(sums / np.bincount(places, minlength=len(names))), names


def rank_test(
    question: str,
    first: ArrayLike,
    second: ArrayLike,
    utterances: tuple[Sequence[str], Sequence[str]],
    *,
    alternative: str = "greater",
) -> dict[str, Any]:
    r"""
    Test whether values of one group tend to lie above those of another (Mann and Whitney).

    Args:

        question (str): What is asked, for the table.
        first (array of shape (n,)): One group. NaN is left out.
        second (array of shape (m,)): The other.
        utterances (tuple of two sequences of str): For each group, the utterances that its values
                    come from.
        alternative (str, optional): "greater" (the first is), "less" or "two-sided".
                    Default: "greater"

    Returns:
        *dict*: a row of ``Findings.tests``, before correction; ``estimate`` is the difference of
        the medians. The effect size is the probability that a value of the first group lies above
        one of the second (ROC-AUC).

    Examples::

        >>> rank_test("above?", [3.0, 4.0], [1.0, 2.0], (["a", "b"], ["a", "a"]))["effect_size"]
        1.0
    """
    one, of_one = _finite(first, utterances[0])
    other, of_other = _finite(second, utterances[1])
    n_utterances = len({*of_one, *of_other})
    row = test_row(question, "Mann-Whitney", alternative, len(one) + len(other), n_utterances)
    if min(len(one), len(other)) < 2:
        return row
    result = scipy.stats.mannwhitneyu(one, other, alternative=alternative)
    return row | {
        "estimate": float(np.median(one) - np.median(other)),
        "effect": "ROC-AUC",
        "effect_size": roc_auc(one, other),
        "statistic": float(result.statistic),
        "p": float(result.pvalue),
    }


def roc_auc(positives: ArrayLike, negatives: ArrayLike) -> float:
    """The probability that a positive scores higher than a negative, ties counted half."""
    one, other = np.asarray(positives, dtype=float), np.asarray(negatives, dtype=float)
    if not len(one) or not len(other):
        return float("nan")
    return float(scipy.stats.mannwhitneyu(one, other).statistic / (len(one) * len(other)))


def corrected(rows: Sequence[Mapping[str, Any]]) -> DataFrame:
    """Tests as a table, corrected for how many there are (false discovery rate)."""
    tests = table(rows, list(test_row("", "", "", 0, 0)))
    tests["p_corrected"] = np.nan
    known = tests["p"].notna()
    if known.any():
        values = tests.loc[known, "p"].to_numpy(dtype=float)
        tests.loc[known, "p_corrected"] = scipy.stats.false_discovery_control(values)
    tests["correction"] = f"Benjamini-Hochberg, {int(known.sum())} tests"
    return tests


def test_row(question: str, test: str, alternative: str, n: int, utterances: int) -> dict[str, Any]:
    """A row of ``Findings.tests`` without results yet."""
    unknown = dict.fromkeys(("estimate", "low", "high", "effect_size", "statistic", "p"), np.nan)
    return {
        "question": question,
        "test": test,
        "alternative": alternative,
        "n": n,
        "utterances": utterances,
        "effect": "",
        **unknown,
        "reliability": np.nan,
        "noise": "unknown",
    }


def _finite(values: ArrayLike, utterances: Sequence[str]) -> tuple[NDArray[np.float64], list[str]]:
    sample = np.asarray(values, dtype=float)
    known = np.isfinite(sample)
    return sample[known], list(compress(utterances, known))
