"""Tables as text and as files: CSV, Markdown, and columns of fixed width."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captum_spes.io.files import write_whole

if TYPE_CHECKING:
    from pandas import DataFrame


def write_frame(path: Path, frame: DataFrame, *, float_format: str | None = None) -> Path:
    """Write a DataFrame as CSV, without its index.

    Args:
        path: the file.
        frame: what is written.
        float_format: of the numbers, "%.4f" for example; None for every digit that they have.

    Returns:
        The path.
    """
    text = frame.to_csv(index=False, float_format=float_format, lineterminator="\n")
    write_whole(path, text)
    return path


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Iterable[Any]]) -> Path:
    """Write rows as CSV; None becomes an empty cell. Returns the path."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_whole(path, text.getvalue())
    return path


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, without a newline at its end."""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    lines.insert(1, "|---" * len(header) + "|")
    return "\n".join(lines)


def fenced_table(frame: DataFrame, number_format: str) -> str:
    """A DataFrame in columns of fixed width, which Markdown shows as they are.

    Args:
        frame: what is shown, without its index.
        number_format: of the numbers, ".2f" for example.
    """
    text = frame.to_string(index=False, float_format=lambda number: format(number, number_format))
    return f"```\n{text}\n```"


def aligned_lines(template: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of columns that stand below each other.

    Args:
        template: of a line, with the width of each column: "{:<18} {:>6}".
        header: the first line.
        rows: the others.
    """
    return [template.format(*cells).rstrip() for cells in (header, *rows)]


def with_interval(value: float, interval: tuple[float, float] | None, number_format: str) -> str:
    """A number with the ends of its interval, "0.52 [0.41, 0.63]"; alone where it has none."""
    if interval is None:
        return format(value, number_format)
    numbers = (format(number, number_format) for number in (value, *interval))
    return "{} [{}, {}]".format(*numbers)
