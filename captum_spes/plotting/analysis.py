"""One figure for each plausibility analysis. They are returned, never shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.plotting.figure import colour, finished, inches_wide, legend_beside, panel, panels

if TYPE_CHECKING:
    from pandas import DataFrame

_POSITIONS = ("start", "between", "last")
# A letter of a tick's label, with its share of the gap to the next label.
_LETTER_INCHES = 0.09
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


def plot_time(findings: FindingsLike, *, ax: Sequence[Axes] | None = None) -> Figure:
    r"""
    Draw where maps lie in time.

    Args:

        findings (Findings): Of :func:`time_analysis`.
        ax (sequence of three matplotlib Axes, optional): What to draw into.
                    Default: None, a new figure

    Returns:
        *matplotlib.figure.Figure*, not shown: frame scores inside and outside words; the ROC-AUC
        of the words; and where maps have their centre, by the middle of the word.

    Examples::

        >>> found = time_analysis({"speech": align_result(result, alignment).result})
        >>> plot_time(found).savefig("time.png")
    """
    words = table_of(findings)
    figure, (left, middle, right) = panels(ax, (12.6, 4.0), 1, 3)
    _boxes(left, [words["inside"], words["outside"]], ["inside", "outside"])
    left.set_xlabel(f"{len(words)} words of {words['utterance'].nunique()} utterances")
    left.set_ylabel("mean frame score (normalised)")
    left.set_title("saliency and the word's time")
    middle.hist(words["auc"].astype(float), bins=[i / 20 for i in range(21)], color=colour(0))
    _chance(middle)
    middle.set(xlabel="ROC-AUC of the frames", ylabel="words", title="inside above outside")
    centres = (words["start"] + words["end"]) / 2
    # Of tens of thousands of points no file keeps each as a shape.
    right.scatter(centres, words["centre"], s=10, alpha=0.6, color=colour(0), rasterized=True)
    limit = float(np.nanmax([centres.max(), words["centre"].max()]))
    right.plot([0, limit], [0, limit], color="black", linestyle="--", linewidth=1)
    right.set(xlabel="middle of the word (s)", ylabel="centre of its map (s)", title="order")
    return finished(figure, left, middle, right)


def _chance(axes: Axes) -> None:
    """A dashed line at one half, with its name along it, where no bar is hidden."""
    axes.axvline(0.5, color="black", linestyle="--", linewidth=1)
    place: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
    axes.annotate("chance", (0.5, 0.98), (-3, 0), rotation=90, ha="right", va="top", **place)


def plot_token_evidence(findings: FindingsLike, *, ax: Axes | None = None) -> Figure:
    r"""
    Draw the kurtosis of the maps by kind of token (Figure 10 of the paper).

    Args:

        findings (Findings): Of :func:`token_evidence`.
        ax (matplotlib Axes, optional): What to draw into.
                    Default: None, a new figure

    Returns:
        *matplotlib.figure.Figure*, not shown: that of ``ax``, or a new one.

    Examples::

        >>> plot_token_evidence(token_evidence({"speech": result})).savefig("kurtosis.png")
    """
    tokens = table_of(findings).dropna(subset="kurtosis")
    kinds = list(dict.fromkeys(tokens["kind"]))
    figure, axes = panel(ax, 6.0, 4.0)
    groups = [tokens.loc[tokens["kind"] == kind, "kurtosis"] for kind in kinds]
    _boxes(axes, groups, [f"{k}\n(n = {len(g)})" for k, g in zip(kinds, groups, strict=True)])
    axes.set_ylabel("kurtosis of the map")
    return finished(figure, axes)


def plot_hallucination_check(findings: FindingsLike, *, ax: Axes | None = None) -> Figure:
    r"""
    Draw how well each kind of evidence separates words that were said from words that were not.

    Args:

        findings (Findings): Of :func:`hallucination_check`.
        ax (matplotlib Axes, optional): What to draw into.
                    Default: None, a new figure

    Returns:
        *matplotlib.figure.Figure*, not shown: ROC curves, found words that were said against
        words that were not and pass for said.

    Examples::

        >>> check = hallucination_check(word_evidence({"speech": result}), [True, False])
        >>> plot_hallucination_check(check).savefig("hallucinations.png")
    """
    words = table_of(findings)
    figure, axes = panel(ax, 6.6, 4.0)
    tests = findings.tests
    for index, (question, auc) in enumerate(
        zip(tests["question"], tests["effect_size"], strict=True)
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
        # Curves can lie on each other: each is thinner than those below it.
        axes.plot(
            passed,
            found,
            color=colour(index),
            linestyle=("-", "--", "-.", ":")[index % 4],
            linewidth=max(1.2, 2.4 - 0.4 * index),
            label=f"{_EVIDENCE_NAMES.get(name, name)}: {auc:.2f}",
        )
    axes.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1)
    axes.set(xlabel="words not said that pass", ylabel="words said that pass", aspect="equal")
    legend_beside(axes, "ROC-AUC")
    said, total = int(words["supported"].sum()), len(words)
    axes.set_title(f"{said} words said, {total - said} not")
    return finished(figure, axes)


def plot_positions(findings: FindingsLike, *, ax: Sequence[Axes] | None = None) -> Figure:
    r"""
    Draw the saliency of previous tokens by their position (Figure 11 of the paper).

    Args:

        findings (Findings): Of :func:`position_analysis`.
        ax (sequence of two matplotlib Axes, optional): What to draw into.
                    Default: None, a new figure

    Returns:
        *matplotlib.figure.Figure*, not shown: saliencies, and how often each position holds the
        highest one.

    Examples::

        >>> plot_positions(position_analysis({"speech": result})).savefig("positions.png")
    """
    tokens = table_of(findings)
    figure, (left, right) = panels(ax, (8.4, 4.0), 1, 2)
    _boxes(left, [tokens[name] for name in _POSITIONS], list(_POSITIONS))
    left.set_ylabel("saliency (normalised)")
    shares = [100 * float((tokens["top"] == name).mean()) for name in _POSITIONS]
    right.bar(_POSITIONS, shares, color=colour(0))
    right.set_ylabel("tokens with the highest there (%)")
    for axes in (left, right):
        axes.set_xlabel("position of the previous token")
    right.set_title(f"{len(tokens)} explained tokens")
    return finished(figure, left, right)


def table_of(findings: FindingsLike) -> DataFrame:
    """The rows of findings, of which there must be some."""
    if not hasattr(findings, "table"):
        raise ArgumentTypeError(f"findings must be those of an analysis, got {findings!r}.")
    if not len(findings.table):
        raise ArgumentError("there is nothing to draw: the table has no rows.")
    return findings.table


def _boxes(axes: Axes, groups: Sequence[Any], names: Sequence[str]) -> None:
    values = [np.asarray(group, dtype=float) for group in groups]
    axes.boxplot(values, showfliers=False, medianprops={"color": "black"})
    axes.set_xticks(range(1, len(names) + 1), names)
    longest = max(len(line) for name in names for line in name.splitlines())
    if longest * _LETTER_INCHES * len(names) > inches_wide(axes):
        axes.tick_params(axis="x", rotation=90)
