"""A comparison of methods as tables and pictures."""

from __future__ import annotations

import math
from os import PathLike
from pathlib import Path
from typing import Any

from captum_spes.evaluation import Comparison
from captum_spes.io.files import made_folder, write_whole
from captum_spes.metrics import Curve
from captum_spes.plotting import plot_curves
from captum_spes.report.figures import write_figure
from captum_spes.report.tables import markdown_table, with_interval, write_rows
from captum_spes.text import for_markdown

# Whether a larger area is better; of texts it depends on the metric.
_HIGHER_IS_BETTER = {"size": False, "token_size": False, "kl": True, "token_accuracy": False}
_TITLES = {
    "deletion": "deletion",
    "insertion": "insertion",
    "size": "size",
    "token_size": "size, tokens",
    "kl": "KL",
    "token_accuracy": "token accuracy",
}


def comparison_rows(comparison: Comparison) -> list[dict[str, Any]]:
    r"""
    Sum up a comparison, one row per method.

    Args:

        comparison (Comparison): What was measured.

    Returns:
        *list* of dictionaries: ``method``; for every measure its area, the ``_low`` and
        ``_high`` ends of its 95 % bootstrap interval over utterances, and
        ``_difference`` (with ends) from the first method, paired; mean ``encoder_passes``,
        ``decoder_passes`` and ``seconds`` per utterance; and the number of ``utterances``.
        What does not exist is None.

    Examples::

        >>> comparison_rows(comparison)[0]["method"]
        'energy'
    """
    rows: list[dict[str, Any]] = []
    first = {name: comparison.curve(comparison.methods[0], name) for name in _TITLES}
    for method in comparison.methods:
        row: dict[str, Any] = {"method": method}
        for name in _TITLES:
            other = None if method == comparison.methods[0] else first[name]
            row |= _measure_columns(name, comparison.curve(method, name), other)
        cost = comparison.cost(method)
        row |= {name: None if own is None else round(own, 2) for name, own in cost.items()}
        rows.append({**row, "utterances": len(comparison.ids)})
    return rows


def comparison_table(comparison: Comparison) -> str:
    r"""
    Write a comparison as a Markdown table, with what failed below.

    Args:

        comparison (Comparison): What was measured.

    Returns:
        *str*: Markdown, ending in a newline. Arrows tell which direction is better.

    Examples::

        >>> comparison_table(comparison).startswith("| method | deletion ")
        True
    """
    return _markdown(comparison, comparison_rows(comparison))


def write_comparison(comparison: Comparison, folder: str | PathLike[str]) -> list[Path]:
    r"""
    Write ``table.csv``, ``table.md`` and a picture of the curves of every measure.

    Args:

        comparison (Comparison): What was measured.
        folder (str or path): Where to; it is made if need be.

    Returns:
        *list[Path]*: the files.

    Raises:
        OSError: a file cannot be written.

    Examples::

        >>> [path.name for path in write_comparison(comparison, "out")][:3]
        ['table.csv', 'table.md', 'deletion.png']
    """
    target = made_folder(folder)
    rows = comparison_rows(comparison)
    written = [
        write_rows(target / "table.csv", list(rows[0]), [row.values() for row in rows]),
        target / "table.md",
    ]
    write_whole(written[1], _markdown(comparison, rows))
    for name in _TITLES:
        curves = {method: comparison.curve(method, name) for method in comparison.methods}
        drawn = {method: curve for method, curve in curves.items() if curve is not None}
        if drawn:
            written.append(write_figure(target / f"{name}.png", plot_curves(drawn)))
    return written


def _measure_columns(
    name: str, curve: Curve | None, other: Curve | None
) -> dict[str, float | None]:
    columns = ["", "_low", "_high", "_difference", "_difference_low", "_difference_high"]
    values: list[float | None] = [None] * len(columns)
    if curve is not None:
        values[:3] = [curve.auc, *curve.interval()]
        if other is not None:
            difference, interval = curve.difference(other)
            values[3:] = [difference, *interval]
    return {
        name + column: None if value is None or math.isnan(value) else round(value, 3)
        for column, value in zip(columns, values, strict=True)
    }


def _markdown(comparison: Comparison, rows: list[dict[str, Any]]) -> str:
    shown = [name for name in _TITLES if any(row[name] is not None for row in rows)]
    is_bleu = comparison.metric.startswith("bleu")
    better = {**_HIGHER_IS_BETTER, "deletion": not is_bleu}
    better["insertion"] = not better["deletion"]
    heads = [f"{_TITLES[name]} {'↑' if better[name] else '↓'}" for name in shown]
    header = ["method", *heads, "deletion, difference", "encoder passes", "seconds"]
    cells = [
        [
            str(row["method"]),
            *(_cell(row, name) for name in [*shown, "deletion_difference"]),
            _number(row["encoder_passes"], ".0f"),
            _number(row["seconds"], ".1f"),
        ]
        for row in rows
    ]
    rate = "character" if comparison.metric.startswith("cer") else "word"
    unit = "BLEU" if is_bleu else f"{rate} error rate"
    if comparison.metric != "bleu":
        unit += f" ({comparison.metric})"
    unknown = " (without those that were read from a store)" if comparison.n_read else ""
    lines = [
        markdown_table(header, cells),
        "",
        f"{len(comparison.ids)} utterances. Areas with 95 % bootstrap intervals over utterances; "
        f"deletion and insertion by {unit}, KL (nats) and token accuracy of deletion with the "
        f"output forced. The difference is that from {rows[0]['method']}, paired. Maps without a "
        "side of previous tokens are scaled alone, others with it, which their sizes show. Passes "
        f"and seconds are means per explanation{unknown}; gradients go back through the model, "
        "too. "
        "Intervals do not hold the noise of the masks (one seed), and are too narrow for fewer "
        "than about 20 utterances.",
    ]
    if comparison.failures:
        lines += ["", "Left out of every row, because a method failed on them:", ""]
        lines += [
            f"* {', '.join(map(for_markdown, failure[:2]))}: {for_markdown(failure[2])}"
            for failure in comparison.failures
        ]
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any], name: str) -> str:
    if row[name] is None:
        return "-"
    number_format = ".2f" if name == "kl" else ".1f"
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return with_interval(row[name], None if low is None else (low, high), number_format)


def _number(value: float | None, number_format: str) -> str:
    return "-" if value is None else format(value, number_format)
