"""The table of the benchmark."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from captum_spes.evaluation import Comparison
from captum_spes.metrics import Curve, CurveDifference
from captum_spes.report.tables import markdown_table, with_interval
from captum_spes.text import for_markdown

TABLE_HEADER = [
    "suite", "method", "measure", "removal", "value", "low", "high", "difference",
    "difference_low", "difference_high",
]  # fmt: skip
OWN_TOKEN = "own token"
# Whether the larger value is the better one.
_IS_HIGHER_BETTER = {
    OWN_TOKEN: True,
    "kl": True,
    "deletion": True,
    "kl gain": True,
    "gain": True,
    "size": False,
}
_TITLES = {"kl": "KL", "deletion": "WER", "kl gain": "gain (KL)", "gain": "gain (WER)"}
_COSTS = ("encoder_passes", "decoder_passes", "seconds")

Area = Curve | CurveDifference


def measure_rows(
    comparison: Comparison, version: str, removals: Sequence[str]
) -> list[dict[str, Any]]:
    """Rows as :meth:`Standing.rows` returns them."""
    rows: list[dict[str, Any]] = []
    firsts: dict[tuple[str, str | None], Area | None] = {}
    for method in comparison.methods:
        for measure, removal, area in _areas(comparison, method, removals):
            first = firsts.setdefault((measure, removal), area)
            other = None if method == comparison.methods[0] else first
            values = _values(area, other)
            names = (version, method, measure, removal)
            rows.append(dict(zip(TABLE_HEADER, [*names, *values], strict=True)))
        for name, cost in comparison.cost(method).items():
            values = [None if cost is None else round(cost, 2), *[None] * 5]
            rows.append(
                dict(zip(TABLE_HEADER, [version, method, name, None, *values], strict=True))
            )
    return rows


def standing_table(
    comparison: Comparison,
    suite: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    about: Mapping[str, str],
) -> str:
    """The table as :meth:`Standing.table` returns it."""
    removals, first = list(suite["removals"]), comparison.methods[0]
    cells = {(row["method"], row["measure"], row["removal"]): row for row in rows}
    order = _best_first(comparison.methods, cells, removals[0])
    main = removals[0]
    header = [
        "method",
        f"{OWN_TOKEN}, {main} ↑",
        f"minus {first}",
        *(f"{OWN_TOKEN}, {name} ↑" for name in removals[1:]),
        *(f"{title} ↑" for title in _TITLES.values()),
        "size ↓",
        "encoder passes",
        "decoder passes",
        "seconds",
    ]
    lines = []
    for method in order:
        leading = cells[method, OWN_TOKEN, main]
        lines.append([
            method,
            _with_ends(leading),
            _with_ends(leading, "difference", ".3f"),
            *(_with_ends(cells[method, OWN_TOKEN, name]) for name in removals[1:]),
            *(_with_ends(cells[method, name, main], number_format=_format(name))
              for name in _TITLES),
            _with_ends(cells[method, "size", None], number_format=".1f"),
            *(_number(cells[method, name, None]["value"]) for name in _COSTS),
        ])  # fmt: skip
    parts = [markdown_table(header, lines), "", _told(comparison, suite, first)]
    if len(order) > 1:
        parts += ["", f"All measures, minus those of {for_markdown(first)}, paired:", ""]
        parts.append(_differences(cells, [own for own in order if own != first], removals))
    described = [name for name in order if about.get(name)]
    if described:
        parts += ["", *(f"* {for_markdown(own)}: {for_markdown(about[own])}" for own in described)]
    if comparison.failures:
        parts += ["", "Left out of every row, because a method failed on them:", ""]
        parts += [f"* {', '.join(map(for_markdown, own))}" for own in comparison.failures]
    return "\n".join(parts) + "\n"


def _areas(
    comparison: Comparison, method: str, removals: Sequence[str]
) -> Iterator[tuple[str, str | None, Area | None]]:
    """Every measure with every removal; None where it does not exist."""
    for removal in removals:
        own = comparison.own_token(method, removal)
        yield OWN_TOKEN, removal, None if own is None else own.against_others
        yield "kl", removal, comparison.curve(method, "kl", removal)
        yield "deletion", removal, comparison.curve(method, "deletion", removal)
        yield "kl gain", removal, comparison.gain(method, "kl", removal)
        yield "gain", removal, comparison.gain(method, None, removal)
    yield "size", None, comparison.curve(method, "size")


def _values(area: Area | None, other: Area | None) -> list[float | None]:
    """Value, difference, and their ends."""
    values: list[float | None] = [None] * 6
    if area is not None:
        values[:3] = [area.auc, *area.interval()]
        if other is not None:
            difference, ends = area.difference(other)  # type: ignore[arg-type]
            values[3:] = [difference, *ends]
    return [None if own is None or math.isnan(own) else round(own, 4) for own in values]


def _best_first(
    methods: Sequence[str], cells: Mapping[Any, Mapping[str, Any]], removal: str
) -> list[str]:
    def worth(method: str) -> float:
        value = cells[method, OWN_TOKEN, removal]["value"]
        return -math.inf if value is None else float(value)

    return sorted(methods, key=worth, reverse=True)


def _told(comparison: Comparison, suite: Mapping[str, Any], first: str) -> str:
    """What the numbers are."""
    version, main = suite["version"], suite["removals"][0]
    trial = "A trial, too small to compare anything. " if len(comparison.ids) < 3 else ""
    return (
        f"Suite {version}, {len(comparison.ids)} recordings. {trial}own token: the divergence of "
        "each token (nats) when cells go by its own map, minus the mean of that when they go by "
        "another token's, so that a map that is the same for all tokens has 0. KL, WER: deletion "
        f"by the sentence's map, removed cells becoming {main}; gain: between removing the most "
        "and the least salient cells first. Areas with 95 % bootstrap intervals over recordings; "
        f"minus {for_markdown(first)}: paired. Passes and seconds are means per explanation. The "
        "intervals do not hold the noise of a method's own draws (one seed), and are too narrow "
        "for so few recordings."
    )


def _differences(
    cells: Mapping[Any, Mapping[str, Any]], methods: Sequence[str], removals: Sequence[str]
) -> str:
    lines = []
    for measure, is_higher_better in _IS_HIGHER_BETTER.items():
        arrow = "↑" if is_higher_better else "↓"
        for removal in [None] if measure == "size" else removals:
            title = _TITLES.get(measure, measure)
            name = f"{title}{'' if removal is None else f', {removal}'} {arrow}"
            rows = [cells[method, measure, removal] for method in methods]
            number_format = _format(measure)
            lines.append([name, *(_with_ends(row, "difference", number_format) for row in rows)])
    return markdown_table(["measure", *methods], lines)


def _format(measure: str) -> str:
    """Of percent, and of nats."""
    return {OWN_TOKEN: ".3f", "kl": ".2f", "kl gain": ".2f"}.get(measure, ".1f")


def _with_ends(row: Mapping[str, Any], name: str = "value", number_format: str = ".3f") -> str:
    if row[name] is None:
        return "-"
    names = ("low", "high") if name == "value" else ("difference_low", "difference_high")
    low, high = (row[end] for end in names)
    return with_interval(row[name], None if low is None else (low, high), number_format)


def _number(value: float | None) -> str:
    return "-" if value is None else format(value, ".1f" if value < 10 else ".0f")
