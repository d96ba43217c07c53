"""Reads the result files: each table becomes a list of rows, each row {column: text}."""

import csv
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"

Row = dict[str, str]


def csv_rows(name: str) -> list[Row]:
    """Rows of a CSV file; columns ``x``, ``x_low`` and ``x_high`` also as ``x with interval``."""
    with (RESULTS / name).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for column in [column for column in row if f"{column}_low" in row]:
            mean, low, high = (row[f"{column}{end}"] for end in ("", "_low", "_high"))
            row[f"{column} with interval"] = f"{mean} [{low}, {high}]" if mean and low else mean
    return rows


def markdown_rows(name: str, first: str, which: int = 0) -> list[Row]:
    """Rows of the table in a Markdown file whose first column is headed ``first``.

    ``which`` counts from 0 where several begin alike. A heading that comes again in a table gets a
    number: the second *cannot tell* is ``cannot tell (2)``.
    """
    lines = (RESULTS / name).read_text(encoding="utf-8").splitlines()
    starts = [at for at in table_starts(lines) if cells(lines[at])[0] == first]
    if len(starts) <= which:
        raise ValueError(f"{name} has {len(starts)} tables headed {first!r}, not {which + 1}")
    header, rows = parsed(table_lines(lines, starts[which]))
    seen: dict[str, int] = {}
    for at, title in enumerate(header):
        seen[title] = seen.get(title, 0) + 1
        if seen[title] > 1:
            header[at] = f"{title} ({seen[title]})"
    return [dict(zip(header, row, strict=True)) for row in rows]


def json_file(name: str):
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def json_lines(name: str) -> list:
    lines = (RESULTS / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line]


def table_starts(lines: list[str]) -> list[int]:
    """Where tables begin; what stands between fences is none."""
    fenced, starts = False, []
    for at, line in enumerate(lines):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        follows = lines[at + 1] if at + 1 < len(lines) else ""
        if not fenced and line.startswith("|") and re.fullmatch(r"\|[-: |]+\|", follows):
            starts.append(at)
    return starts


def table_lines(lines: list[str], start: int) -> list[str]:
    end = start
    while end < len(lines) and lines[end].startswith("|"):
        end += 1
    return lines[start:end]


def parsed(lines: list[str]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table's lines."""
    return cells(lines[0]), [cells(line) for line in lines[2:]]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]
