"""Tables of docs/results/deletion.md."""

from .shape import Table, beside, picked
from .sources import Row, csv_rows

PAGE = "results/deletion.md"

METHODS = (
    "spes-efficient",
    "spes-mean",
    "bubble-noise",
    "feature-wise",
    "lime",
    "integrated-gradients",
    "saliency",
    "cross-attention",
    "energy",
    "random",
)
ABLATIONS = (
    "spes-mean",
    "spes-single-level",
    "spes-grid",
    "spes-fixed-patches",
    "spes-probability",
    "spes-unnormalized",
    "spes-joint",
)
# Titles of the measures, as their better direction goes.
MEASURES = {
    "own token": ("own token ↑", 2),
    "kl": ("KL ↑", 2),
}


def measure(folder: str, name: str, title: str, digits: int, methods: list[str]) -> Table:
    """One measure of a comparison, with its interval, from the file of differences."""
    rows = [row for row in csv_rows(f"{folder}/differences.csv") if row["measure"] == name]
    return picked(_with_interval(rows, digits), methods, {"shown": (title, None)}, by="method")


def _with_interval(rows: list[Row], digits: int) -> list[Row]:
    def shown(row: Row) -> str:
        value, low, high = (float(row[name]) for name in ("area", "low", "high"))
        return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"

    return [{**row, "shown": shown(row)} for row in rows]


def of_table(folder: str, columns: dict[str, tuple[str, int | None]], methods: list[str]) -> Table:
    return picked(csv_rows(f"{folder}/table.csv"), methods, columns, by="method")


def english() -> Table:
    folder, methods = "compare_bundled_en", [*METHODS]
    return beside(
        *(measure(folder, name, *shown, methods) for name, shown in MEASURES.items()),
        of_table(
            folder,
            {
                "deletion with interval": ("deletion, WER ↑", 1),
                "insertion with interval": ("insertion, WER ↓", 1),
                "size": ("size ↓", 1),
                "encoder_passes": ("passes", 0),
                "seconds": ("seconds", 0),
            },
            methods,
        ),
    )


TABLES = {"deletion-bundled": english}
