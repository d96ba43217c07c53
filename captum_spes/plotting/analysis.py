"""One figure for each plausibility analysis. They are returned, never shown."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from scipy.special import stdtrit

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.plotting.figure import TICKS_HZ, as_written, axes_in_a_row, first_of, label

if TYPE_CHECKING:
    from pandas import DataFrame

_POSITIONS = ("start", "between", "last")
# The last of the mel bins themselves has no upper end.
_HIGHEST_HZ = 8000.0
_MOST_UNITS = 30
_EVIDENCE_NAMES = {
    "impact": "mean impact",
    "peak_impact": "highest impact",
    "kurtosis": "kurtosis",
    "speech_share": "speech share",
}


class FindingsLike(Protocol):
    """What is drawn of :class:`captum_spes.analysis.Findings`."""

    @property
    def table(self) -> DataFrame: ...
    @property
    def tests(self) -> DataFrame: ...


class BandLike(Protocol):
    """What is drawn of a :class:`captum_spes.maps.Band`."""

    @property
    def name(self) -> str: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


class ProfilesLike(FindingsLike, Protocol):
    """What is drawn of :class:`captum_spes.analysis.Profiles`."""

    @property
    def bands(self) -> Sequence[BandLike]: ...


def plot_time(findings: FindingsLike) -> Figure:
    r"""
    Draw where maps lie in time.

    Args:

        findings (Findings): Of :func:`time_analysis`.

    Returns:
        *matplotlib.figure.Figure*, not shown: frame scores inside and outside words; the ROC-AUC
        of the words; and where maps have their centre, by the middle of the word.

    Examples::

        >>> found = time_analysis({"speech": align_result(result, alignment).result})
        >>> plot_time(found).savefig("time.png")
    """
    words = _rows(findings)
    figure, (left, middle, right) = axes_in_a_row(3)
    _boxes(left, [words["inside"], words["outside"]], ["inside", "outside"])
    left.set_ylabel("mean frame score (normalised)")
    left.set_title("saliency and the word's time")
    middle.hist(words["auc"].astype(float), bins=[i / 20 for i in range(21)], color="tab:blue")
    middle.axvline(0.5, color="black", linestyle="--", linewidth=1, label="chance")
    middle.set(xlabel="ROC-AUC of the frames", ylabel="words", title="inside above outside")
    middle.legend()
    centres = (words["start"] + words["end"]) / 2
    right.scatter(centres, words["centre"], s=10, alpha=0.6)
    limit = float(np.nanmax([centres.max(), words["centre"].max()]))
    right.plot([0, limit], [0, limit], color="black", linestyle="--", linewidth=1)
    right.set(xlabel="middle of the word (s)", ylabel="centre of its map (s)", title="order")
    figure.suptitle(f"{len(words)} words of {words['utterance'].nunique()} utterances")
    return figure


def plot_profiles(
    profiles: ProfilesLike, units: Sequence[str] | None = None, *, by: str = "unit"
) -> Figure:
    r"""
    Draw the mean frequency profiles of words, phones or groups (Figure 7 of the paper).

    Args:

        profiles (Profiles): Of :func:`frequency_profiles` or :func:`compare_profiles`.
        units (sequence of str, optional): What to draw; the first 30 of them.
                    Default: None, the six most frequent
        by (str, optional): The column that holds them: "unit" or "group".
                    Default: "unit"

    Returns:
        *matplotlib.figure.Figure*, not shown: mean over the occurrences with its 95 %
        interval, which takes occurrences for independent.

    Raises:
        ArgumentError: one of ``units`` does not occur.

    Examples::

        >>> aligned = align_results({"speech": result}, {"speech": alignment})
        >>> plot_profiles(frequency_profiles(aligned.results), ["the"]).savefig("the.png")
    """
    rows = _rows(profiles)
    counts = rows[by].value_counts()
    if not len(counts):
        raise ArgumentError(f"there is nothing to draw: no row has a {by}.")
    wanted = list(counts.index[:6]) if units is None else list(units)
    missing = [unit for unit in wanted if unit not in counts]
    if missing:
        raise ArgumentError(f"{', '.join(map(str, missing))} does not occur in {by!r}.")
    bands = [band for band in profiles.bands if not rows[band.name].isna().all()]
    names = [band.name for band in bands]
    # Bands that follow on each other make an axis of frequency; others are named side by side.
    is_axis = all(one.high == other.low for one, other in pairwise(bands))
    places = [(b.low + min(b.high, _HIGHEST_HZ)) / 2 if is_axis else i for i, b in enumerate(bands)]
    figure, (axes,) = axes_in_a_row(1, width=7.0)
    drawn, note = first_of(wanted, _MOST_UNITS, "units")
    axes.set_title(note)
    for unit in drawn:
        values = rows.loc[rows[by] == unit, names].to_numpy(dtype=float)
        mean = values.mean(0)
        name = f"{label(unit)} (n = {len(values)})"
        axes.plot(places, mean, marker="o", markersize=3, label=name)
        if len(values) > 1:
            error = values.std(0, ddof=1) / np.sqrt(len(values))
            # Student's t: half of what lies outside the interval lies above it.
            margin = stdtrit(len(values) - 1, 0.975) * error
            low, high = np.clip(mean - margin, 0, 1), np.clip(mean + margin, 0, 1)
            axes.fill_between(places, low, high, alpha=0.2)
    if is_axis:
        axes.set_xscale("log")
        axes.set_xticks(TICKS_HZ, [str(tick) for tick in TICKS_HZ])
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xticks(places, list(map(label, names)), parse_math=False)
    axes.set(xlabel="frequency (Hz)" if is_axis else "band", ylabel="saliency (normalised)")
    as_written(axes.legend(title="mean and 95 % interval").get_texts())
    return figure


def plot_token_evidence(findings: FindingsLike) -> Figure:
    r"""
    Draw the kurtosis of the maps by kind of token (Figure 10 of the paper).

    Args:

        findings (Findings): Of :func:`token_evidence`.

    Returns:
        *matplotlib.figure.Figure*, not shown.

    Examples::

        >>> plot_token_evidence(token_evidence({"speech": result})).savefig("kurtosis.png")
    """
    tokens = _rows(findings).dropna(subset="kurtosis")
    kinds = list(dict.fromkeys(tokens["kind"]))
    figure, (axes,) = axes_in_a_row(1, width=6.0)
    groups = [tokens.loc[tokens["kind"] == kind, "kurtosis"] for kind in kinds]
    _boxes(axes, groups, [f"{k}\n(n = {len(g)})" for k, g in zip(kinds, groups, strict=True)])
    axes.set_ylabel("kurtosis of the map")
    return figure


def plot_hallucination_check(findings: FindingsLike) -> Figure:
    r"""
    Draw how well each kind of evidence separates words that were said from words that were not.

    Args:

        findings (Findings): Of :func:`hallucination_check`.

    Returns:
        *matplotlib.figure.Figure*, not shown: ROC curves, found words that were said against
        words that were not and pass for said.

    Examples::

        >>> check = hallucination_check(word_evidence({"speech": result}), [True, False])
        >>> plot_hallucination_check(check).savefig("hallucinations.png")
    """
    words = _rows(findings)
    figure, (axes,) = axes_in_a_row(1, width=5.0)
    for question, auc in zip(
        findings.tests["question"], findings.tests["effect_size"], strict=True
    ):
        name = question.partition(",")[0]
        known = words.dropna(subset=name).sort_values(name, ascending=False)
        if known["supported"].nunique() < 2:
            continue
        # One step per value, not per word: equal scores cannot be told apart.
        counts = known.groupby(name, sort=False)["supported"].agg(["sum", "count"]).cumsum()
        found = np.append(0, counts["sum"] / counts["sum"].iloc[-1])
        other = counts["count"] - counts["sum"]
        passed = np.append(0, other / other.iloc[-1])
        axes.plot(passed, found, label=f"{_EVIDENCE_NAMES.get(name, name)}: {auc:.2f}")
    axes.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1)
    axes.set(xlabel="words not said that pass", ylabel="words said that pass", aspect="equal")
    axes.legend(title="ROC-AUC")
    said, total = int(words["supported"].sum()), len(words)
    axes.set_title(f"{said} words said, {total - said} not")
    return figure


def plot_positions(findings: FindingsLike) -> Figure:
    r"""
    Draw the saliency of previous tokens by their position (Figure 11 of the paper).

    Args:

        findings (Findings): Of :func:`position_analysis`.

    Returns:
        *matplotlib.figure.Figure*, not shown: saliencies, and how often each position holds the
        highest one.

    Examples::

        >>> plot_positions(position_analysis({"speech": result})).savefig("positions.png")
    """
    tokens = _rows(findings)
    figure, (left, right) = axes_in_a_row(2)
    _boxes(left, [tokens[name] for name in _POSITIONS], list(_POSITIONS))
    left.set_ylabel("saliency (normalised)")
    shares = [100 * float((tokens["top"] == name).mean()) for name in _POSITIONS]
    right.bar(_POSITIONS, shares, color="tab:blue")
    right.set(ylabel="tokens with the highest there (%)")
    figure.suptitle(f"previous tokens, {len(tokens)} tokens explained")
    return figure


def _rows(findings: FindingsLike) -> DataFrame:
    if not hasattr(findings, "table"):
        raise ArgumentTypeError(f"findings must be those of an analysis, got {findings!r}.")
    if not len(findings.table):
        raise ArgumentError("there is nothing to draw: the table has no rows.")
    return findings.table


def _boxes(axes: Axes, groups: Sequence[Any], names: Sequence[str]) -> None:
    values = [np.asarray(group, dtype=float) for group in groups]
    axes.boxplot(values, showfliers=False, medianprops={"color": "black"})
    axes.set_xticks(range(1, len(names) + 1), names)
