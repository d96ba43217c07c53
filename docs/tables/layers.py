"""The table of docs/results/layers.md."""

from .shape import Table, number, rounded
from .sources import json_file

PAGE = "results/layers.md"
MATCHED = {"loudness": "salient less others, as loud", "loudness and phone": "the same phone, too"}


def probes() -> Table:
    measured = json_file("layers_bundled.json")
    salient = {
        (row["layer"], row["matched_for"]): row
        for row in measured["salient"]["spes-efficient, sentence"]
    }
    table = Table(["layer", "accuracy", "control task", *MATCHED.values()], [])
    for probe in measured["probe"]:
        layer = probe["layer"]
        known = [number(probe[name], 2) for name in ("accuracy", "control")]
        table.rows.append([layer, *known, *(_gain(salient[layer, name]) for name in MATCHED)])
    return table


def _gain(row) -> str:
    interval = rounded(f"[{row['low']}, {row['high']}]", 2)
    return f"{number(row['difference'], 2, signed=True)} {interval}"


TABLES = {"layers-probes": probes}
