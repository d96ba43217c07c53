"""Tables of docs/results/passes.md; scripts of the benchmarks bootstrap the others."""

import json
from statistics import fmean

from .shape import MISSING, TYPED, Table, number
from .sources import RESULTS

PAGE = "results/passes.md"
WAYS = {
    "efficient:40": "SPES, default",
    "efficient-four:60": "SPES, 60 samples, 4 groups",
    "lime:120": "Lime, 120 samples",
    "integrated-gradients-short:50": "Integrated Gradients, 50 steps, no padding",
    "integrated-gradients-short:20": "Integrated Gradients, 20 steps, no padding",
    "random:": "random",
}
COLUMNS = (
    "passes", "own tokens: divergence ↑", "probability lost, % ↑", "likeliest other token, %",
    "sentence: divergence ↑", "WER ↑", "pointing, % ↑", "size ↓",
)  # fmt: skip
# What is drawn of each token's own map: title, field, factor, digits.
CURVES = (
    ("divergence", "own", 1, 2),
    ("probability lost, %", "lost", 100, 0),
    ("likeliest other token, %", "other", 100, 0),
)


def _records(way: str) -> list[dict]:
    """Of a way, one for each recording."""
    lines = (RESULTS / "few_passes_whisper_words.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["way"] == way]


def _area(records: list[dict], field: str) -> float:
    """Mean area under curves of equal steps."""
    areas = [fmean([*map(fmean, zip(r[field], r[field][1:], strict=False))]) for r in records]
    return fmean(areas)


def whisper() -> Table:
    """What each way is worth on Whisper; the error rate needs the model's own normaliser."""
    table = Table(["way", *COLUMNS], [])
    for way, name in WAYS.items():
        records = _records(way)
        passes = [r["seconds"] / r["pass"] for r in records if r["seconds"] is not None]
        table.rows.append([
            name,
            number(fmean(passes), 0) if passes else MISSING,
            number(_area(records, "own"), 2),
            number(100 * _area(records, "lost"), 1),
            number(100 * _area(records, "other"), 1),
            number(_area(records, "kl"), 2),
            TYPED,
            number(100 * fmean(fmean(r["pointing"]) for r in records), 1),
            number(fmean(r["size"] for r in records), 1),
        ])  # fmt: skip
    return table


def curves() -> Table:
    """Mean curves over what is removed by each token's own map."""
    table = Table(["removed, %", *(str(percent) for percent in range(10, 101, 10))], [])
    for title, field, factor, digits in CURVES:
        for way, name in (("efficient:40", f"{title}: SPES"), ("lime:120", "Lime")):
            # The first step removes nothing.
            steps = zip(*(record[field][1:] for record in _records(way)), strict=True)
            means = [factor * fmean(step) for step in steps]
            table.rows.append([name, *(number(round(mean, 6), digits) for mean in means)])
    return table


TABLES = {"passes-whisper": whisper, "passes-curves": curves}
