"""Tables as text and as files: CSV, Markdown, and columns of fixed width."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captum_spes.io.files import write_whole
from captum_spes.text import for_csv, for_markdown, shortened, visible

if TYPE_CHECKING:
    from pandas import DataFrame

# Letters in a column of fixed width; the CSV has all.
_WIDEST = 60
# A number with or without an interval; "-" stands for none.
_NUMBER = re.compile(r"-|[-+]?\d[\d.,]*( \[[-+]?\d[\d.,]*, [-+]?\d[\d.,]*\])?")


def write_frame(path: Path, frame: DataFrame, *, float_format: str | None = None) -> Path:
    """Write a DataFrame as CSV, without its index.

    Args:
        path: the file.
        frame: what is written.
        float_format: of the numbers, "%.4f" for example; None for every digit that they have.

    Returns:
        The path.
    """
    text = _mapped(frame, for_csv).to_csv(
        index=False, float_format=float_format, lineterminator="\n"
    )
    write_whole(path, text)
    return path


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Iterable[Any]]) -> Path:
    """Write rows as CSV; None becomes an empty cell. Returns the path."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([for_csv(cell) for cell in row] for row in (header, *rows))
    write_whole(path, text.getvalue())
    return path


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of plain texts, without a newline at its end."""
    lines = [f"| {' | '.join(map(_for_cell, cells))} |" for cells in (header, *rows)]
    lines.insert(1, "|---" * len(header) + "|")
    return "\n".join(lines)


def _for_cell(text: str) -> str:
    """Numbers stay as they are, so that they can be read in a terminal, too: in a cell they are no
    list and no link."""
    return text if _NUMBER.fullmatch(text) else for_markdown(text)


def fenced_table(frame: DataFrame, number_format: str) -> str:
    """A DataFrame in columns of fixed width, which Markdown shows as they are.

    Args:
        frame: what is shown, without its index.
        number_format: of the numbers, ".2f" for example.
    """
    shown = _mapped(frame, lambda cell: shortened(visible(cell), _WIDEST))
    text = shown.to_string(index=False, float_format=lambda number: format(number, number_format))
    # Longer than any row of backticks inside, which would end it.
    fence = "`" * max([3, *(len(found) + 1 for found in re.findall("`+", text))])
    return f"{fence}\n{text}\n{fence}"


def _mapped(frame: DataFrame, function: Callable[[Any], Any]) -> DataFrame:
    """The same table with other texts; numbers stay."""
    mapped = frame.map(lambda cell: function(cell) if isinstance(cell, str) else cell)
    mapped.columns = [function(str(name)) for name in frame.columns]
    return mapped


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
