"""Tables of docs/results/seeds.md."""

from statistics import fmean

from .shape import MISSING, Table, number
from .sources import Row, csv_rows

PAGE = "results/seeds.md"
GROUPS = {
    "digits": "keyword",
    "commands": "commands",
    "transcription": "transcription",
    "speaker": "speaker",
    "gender": "gender",
}
SAMPLING = ("spes", "lime")
# Gradients have a score for each cell, which is averaged over the units that are reported.
PERTURBED = {"saliency": "cell", "integrated-gradients": "cell"}
METHODS = (
    "spes@200",
    "spes-efficient@200",
    "saliency",
    "integrated-gradients",
    "feature-ablation",
    "lime@25",
    "lime@200",
)


def agreement(units: str) -> Table:
    source = [
        row
        for row in csv_rows("reliability/table.csv")
        if (row["part"], row["input"], row["reported"]) == ("spectrogram", "spectrogram", units)
    ]
    table = Table(["method", "passes", *GROUPS.values()], [])
    for method in METHODS:
        perturbed = PERTURBED.get(method, units)
        rows = [r for r in source if (r["method"], r["perturbed"]) == (method, perturbed)]
        table.rows.append([method, _passes(rows), *(_cell(rows, group) for group in GROUPS)])
    return table


def _passes(rows: list[Row]) -> str:
    passes = sorted(float(row["passes"]) for row in rows)
    ends = dict.fromkeys(number(end, 0) for end in (passes[0], passes[-1]))
    return " to ".join(ends)


def _cell(rows: list[Row], group: str) -> str:
    """Agreement, (ceiling,) agreement without noise: means over the tasks of a group."""
    rows = [row for row in rows if row["group"] == group]
    ceiling = f" ({_mean(rows, 'ceiling')})" if rows[0]["method"].startswith(SAMPLING) else ""
    return f"{_mean(rows, 'agreement')}{ceiling}, {_mean(rows, 'disattenuated')}"


def _mean(rows: list[Row], column: str) -> str:
    """Of the tasks that have one: without noise there is none where the ceiling may be chance."""
    values = [float(row[column]) for row in rows if row[column]]
    return number(round(fmean(values), 6), 2) if values else MISSING


TABLES = {
    "seeds-20ms": lambda: agreement("20ms"),
    "seeds-100ms": lambda: agreement("100ms"),
    "seeds-words": lambda: agreement("word"),
}
