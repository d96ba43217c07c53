"""Which methods differ, by which measure and with which removal, as tables."""

from __future__ import annotations

import math
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from captum_spes.evaluation import Comparison
from captum_spes.evaluation.comparison import AS_EXPLAINED
from captum_spes.io.files import made_folder, write_whole
from captum_spes.metrics import (
    Curve,
    CurveDifference,
    RankAgreement,
    holm,
    paired_p_value,
    rank_agreement,
)
from captum_spes.metrics.gain import rises
from captum_spes.report.tables import markdown_table, with_interval, write_rows
from captum_spes.text import for_markdown

_HEADER = [
    "removal", "measure", "method", "area", "low", "high", "rank", "difference",
    "difference_low", "difference_high", "p", "p_holm",
]  # fmt: skip


def difference_rows(comparison: Comparison, n_resamples: int = 1_000) -> list[dict[str, Any]]:
    r"""
    Compare every method with the first one, by every measure and with every removal.

    Args:

        comparison (Comparison): What was measured.
        n_resamples (int, optional): Corpora that are drawn for each interval.
                    Default: 1000

    Returns:
        *list* of dictionaries, one for each ``removal``, ``measure`` and ``method``: its ``area``
        with the ends of its 95 % bootstrap interval (``low``, ``high``); its ``rank``, 1 being the
        best; and but for the first method its ``difference`` from the first with ends, paired, the
        ``p`` of a paired permutation test, and ``p_holm``: corrected by Holm's method for the
        number of methods. The numbers of measures and of removals are not corrected for. What does
        not exist is None.

    Raises:
        ImportError: statsmodels is not installed.

    Examples::

        >>> [row["measure"] for row in difference_rows(comparison)]
        ['deletion', 'insertion', 'gain', 'kl', 'token_accuracy']
    """
    return [row for measured in _measured(comparison) for row in measured.rows(n_resamples)]


def difference_ranks(comparison: Comparison) -> RankAgreement | None:
    r"""
    How far all measures, with all removals, rank the methods alike.

    Args:

        comparison (Comparison): What was measured.

    Returns:
        *RankAgreement*, whose measures are named "measure, removal"; None for a single method.

    Examples::

        >>> difference_ranks(comparison) is None  # there is one method only
        True
    """
    if len(comparison.methods) < 2:
        return None
    scores = {f"{own.measure}, {own.removal}": own.scores for own in _measured(comparison)}
    return rank_agreement(scores, comparison.methods)


def write_differences(
    comparison: Comparison, folder: str | PathLike[str], n_resamples: int = 1_000
) -> list[Path]:
    r"""
    Write ``differences.csv``, all of :func:`difference_rows`, and ``differences.md``, to read.

    Args:

        comparison (Comparison): What was measured.
        folder (str or path): Where to; it is made if need be.
        n_resamples (int, optional): As for :func:`difference_rows`.
                    Default: 1000

    Returns:
        *list[Path]*: the files.

    Raises:
        ImportError: statsmodels is not installed.
        OSError: a file cannot be written.

    Examples::

        >>> [path.name for path in write_differences(comparison, "out")]
        ['differences.csv', 'differences.md']
    """
    target = made_folder(folder)
    rows = difference_rows(comparison, n_resamples)
    table = [[row[name] for name in _HEADER] for row in rows]
    written = [write_rows(target / "differences.csv", _HEADER, table), target / "differences.md"]
    write_whole(written[1], _markdown(comparison, rows))
    return written


class _Measured(NamedTuple):
    """What one measure, with one removal, says of all methods.

    Attributes:
        removal: what removed cells became.
        measure: its name.
        areas: of the methods, in their order.
        is_higher_better: whether the larger area is the better one.
        methods: their names.
    """

    removal: str
    measure: str
    areas: list[Curve | CurveDifference]
    is_higher_better: bool
    methods: list[str]

    @property
    def scores(self) -> list[float]:
        """Of the methods, the larger the better; what rounding makes differ is the same."""
        sign = 1 if self.is_higher_better else -1
        return [round(sign * own.auc, 9) for own in self.areas]

    def rows(self, n_resamples: int) -> list[dict[str, Any]]:
        """One for each method."""
        first, others = self.areas[0], self.areas[1:]
        p_values = [paired_p_value(own, first) for own in others]
        corrected = holm(p_values) if others else []
        ranks = rank_agreement({self.measure: self.scores}, self.methods).ranks[0]
        rows = []
        for index, (method, own) in enumerate(zip(self.methods, self.areas, strict=True)):
            values: list[float | None] = [
                own.auc,
                *own.interval(n_resamples=n_resamples),
                float(ranks[index]),
            ]
            if index == 0:
                values += [None] * 5
            else:
                difference, ends = own.difference(first, n_resamples=n_resamples)  # type: ignore[arg-type]
                values += [difference, *ends, p_values[index - 1], corrected[index - 1]]
            found = dict(zip(_HEADER[3:], map(_rounded, values), strict=True))
            rows.append(
                {"removal": self.removal, "measure": self.measure, "method": method, **found}
            )
        return rows


def _measured(comparison: Comparison) -> Iterator[_Measured]:
    """All that every method was measured by, and does not stay the same whatever is removed."""
    methods = list(comparison.methods)
    is_error = rises(comparison.metric)
    for removal in comparison.removals if comparison.ids else ():
        found: dict[str, tuple[list[Any], bool]] = {
            "deletion": ([comparison.curve(m, "deletion", removal) for m in methods], is_error),
            "insertion": (
                [comparison.curve(m, "insertion", removal) for m in methods], not is_error
            ),
            "gain": ([comparison.gain(m, None, removal) for m in methods], True),
            "kl": ([comparison.curve(m, "kl", removal) for m in methods], True),
            "kl gain": ([comparison.gain(m, "kl", removal) for m in methods], True),
            "token_accuracy": (
                [comparison.curve(m, "token_accuracy", removal) for m in methods], False
            ),
        }  # fmt: skip
        own = [comparison.own_token(m, removal) for m in methods]
        found["own map"] = [None if one is None else one.own for one in own], True
        found["own token"] = (
            [None if one is None else one.against_others for one in own], True
        )  # fmt: skip
        for measure, (areas, is_higher_better) in found.items():
            if all(area is not None and math.isfinite(area.auc) for area in areas):
                yield _Measured(removal, measure, areas, is_higher_better, methods)


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 4)


# To read ----------------------------------------------------------------------------------


def _markdown(comparison: Comparison, rows: list[dict[str, Any]]) -> str:
    first = for_markdown(comparison.methods[0])
    lines = [
        f"{len(comparison.ids)} utterances. Deletion, insertion and gain by {comparison.metric}; "
        "kl (nats) and token accuracy of deletion with the output forced. The gain is the area "
        "between removing the most and the least salient cells first (arXiv 2401.06654), the "
        "larger the better. own map: the divergence of each token when cells go by its own map; "
        "own token: minus the mean of that when they go by another token's.",
    ]
    ranks = difference_ranks(comparison)
    if ranks is not None:
        lines += ["", "Ranks of the methods, 1 being the best:", "", *_rank_lines(ranks)]
    header = ["removal", "measure", "method", "area", f"minus {first}", "p", "p, Holm"]
    lines += [
        "",
        f"Areas, and differences from {first}, with 95 % bootstrap intervals over utterances. p: a "
        "paired permutation test; p, Holm: corrected for the number of methods that are compared "
        "with the first one, and for nothing else: of so many measures and removals some are below "
        "0.05 by chance.",
        "",
        markdown_table(header, [_cells(row) for row in rows]),
    ]
    if AS_EXPLAINED in comparison.removals:
        lines += [
            "",
            f"“{AS_EXPLAINED}”: removed cells become what each explanation put there, so that a "
            "method is judged with what it was made with.",
        ]
    return "\n".join(lines) + "\n"


def _rank_lines(found: RankAgreement) -> list[str]:
    cells = [
        [name, *(f"{rank:g}" for rank in own)]
        for name, own in zip(found.measures, found.ranks, strict=True)
    ]
    pairs = found.taus[np.triu_indices(len(found.measures), 1)]
    known = pairs[np.isfinite(pairs)]
    lines = [markdown_table(["measure, removal", *found.methods], cells), ""]
    if not len(known):
        return [*lines, "Their agreement cannot be told from so few methods or measures."]
    told = (
        f"Kendall's tau of two measures: mean {known.mean():.2f}, from {known.min():.2f} to "
        f"{known.max():.2f}"
    )
    if math.isfinite(found.concordance):
        told += f"; Kendall's W of all {len(found.measures)}: {found.concordance:.2f}"
    return [*lines, f"{told} (1: all rank alike)."]


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["removal"],
        row["measure"],
        row["method"],
        _with_ends(row, "area", "low", "high"),
        _with_ends(row, "difference", "difference_low", "difference_high"),
        *("-" if row[name] is None else format(row[name], ".3f") for name in ("p", "p_holm")),
    ]


def _with_ends(row: dict[str, Any], name: str, low: str, high: str) -> str:
    if row[name] is None:
        return "-"
    ends = None if row[low] is None else (row[low], row[high])
    return with_interval(row[name], ends, ".2f")
