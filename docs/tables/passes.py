"""One table of docs/results/passes.md; scripts of the benchmarks bootstrap the others."""

from statistics import fmean

from .shape import Table, number
from .sources import json_lines

PAGE = "results/passes.md"
WAYS = {"efficient:60": "SPES, default", "lime:120": "Lime, 120"}


def curves() -> Table:
    """Mean curves of own-token deletion, over the recordings that both ways have."""
    curves: dict[str, dict[str, list[float]]] = {way: {} for way in WAYS}
    for record in json_lines("few_passes_whisper.jsonl"):
        if record["way"] in curves:
            curves[record["way"]][record["id"]] = record["own"]
    recordings = sorted(set.intersection(*map(set, curves.values())))
    table = Table(["removed, %", *(str(percent) for percent in range(10, 101, 10))], [])
    for way, name in WAYS.items():
        # The first step removes nothing.
        steps = zip(*(curves[way][recording][1:] for recording in recordings), strict=True)
        table.rows.append([name, *(number(round(fmean(step), 6), 2) for step in steps)])
    return table


TABLES = {"passes-curves": curves}
