"""The table of docs/results/plausibility.md."""

from .shape import Table, beside, found, number
from .sources import csv_rows

PAGE = "results/plausibility.md"
METHODS = (
    "spes-efficient",
    "saliency",
    "integrated-gradients",
    "cross-attention",
    "energy",
    "random",
)


def methods() -> Table:
    return beside(
        _model("plausibility/methods_english.csv", "bundled"),
        _model("plausibility/methods_whisper.csv", "Whisper"),
    )


def _model(name: str, title: str) -> Table:
    header = [f"{title}: pointing, %", "ROC-AUC", "inside - outside (d)", "order (rho)"]
    table = Table(["method", *header], [])
    source = csv_rows(name)
    for method in METHODS:
        row = found(source, ("method",), (method,))
        others = number(row["pointing, own - others (%)"], 0, signed=True)
        inside, effect = number(row["inside - outside"], 2), number(row["Cohen's d"], 1)
        table.rows.append(
            [
                method,
                f"{number(row['pointing (%)'], 0)} ({others})",
                number(row["ROC-AUC"], 2),
                f"{inside} ({effect})",
                number(row["order (rho)"], 2),
            ]
        )
    return table


TABLES = {"plausibility-methods": methods}
