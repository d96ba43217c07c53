"""Makes a table for a page out of rows of a result file: what to show, its names, its digits."""

import re
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal
from typing import NamedTuple

from .sources import Row

NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
EITHER = re.compile(r"\{([^{}/]*)/([^{}/]*)\}")
MISSING = "-"
# A cell that no file gives: what the page has stays, and is not compared.
TYPED = None


class Table(NamedTuple):
    header: list[str]
    rows: list[list[str | None]]


Label = str | tuple[str, ...]


def picked(
    source: Sequence[Row],
    rows: Mapping[Label, Label] | Sequence[Label],
    columns: Mapping[str, tuple[str, int | None]],
    *,
    by: Label,
    head: Label | None = None,
) -> Table:
    """The named rows and columns of a result file, renamed and rounded.

    Args:
        source: Rows of a file (:mod:`.sources`).
        rows: The rows to show, in their order: {label in the file: label on the page}, or a
            sequence where both are the same. A label of several columns is a tuple.
        columns: {name in the file: (title on the page, digits after the point)}; digits None
            leaves the text as it is.
        by: The column, or the columns, of the file in which ``rows`` are looked up.
        head: Title of the column, or columns, of labels on the page. Default: as in the file.

    Raises:
        ValueError: If the file lacks a row or a column, or has a row twice.
    """
    names = dict(rows) if isinstance(rows, Mapping) else {label: label for label in rows}
    table = Table([*as_tuple(by if head is None else head)], [])
    table.header.extend(title for title, _ in columns.values())
    for label, shown in names.items():
        row = found(source, as_tuple(by), as_tuple(label))
        values = [rounded(value_of(row, column), digits) for column, (_, digits) in columns.items()]
        table.rows.append([*as_tuple(shown), *values])
    return table


def found(source: Sequence[Row], by: tuple[str, ...], label: tuple[str, ...]) -> Row:
    """The one row with these labels."""
    hits = [row for row in source if tuple(value_of(row, column) for column in by) == label]
    if len(hits) != 1:
        raise ValueError(f"the file has {len(hits)} rows with {by} = {label}; expected one")
    return hits[0]


def value_of(row: Row, column: str) -> str:
    if column not in row:
        raise ValueError(f"the file has no column {column!r}; it has {', '.join(row)}")
    return row[column]


def beside(*tables: Table) -> Table:
    """Tables with a column of labels each, side by side; a row that one lacks is ``-`` there."""
    labels = list(dict.fromkeys(row[0] for table in tables for row in table.rows))
    result = Table([tables[0].header[0]], [[label] for label in labels])
    for table in tables:
        result.header.extend(table.header[1:])
        values = {row[0]: row[1:] for row in table.rows}
        empty = [MISSING] * (len(table.header) - 1)
        for row in result.rows:
            row.extend(values.get(row[0], empty))
    return result


def rounded(text: str, digits: int | None) -> str:
    """Each number of a cell rounded, what stands between them as it is; ``-`` for an empty cell."""
    if not text.strip():
        return MISSING
    if digits is None or text == MISSING:
        return text
    mean, bracket, interval = text.partition("[")
    shown = NUMBER.sub(lambda match: number(match[0], digits), mean)
    # The sign of a bound that rounds to zero says on which side of it the interval ends.
    return shown + bracket + NUMBER.sub(lambda m: number(m[0], digits, zero_sign=True), interval)


def number(
    value: str | float, digits: int, *, signed: bool = False, zero_sign: bool = False
) -> str:
    """A number with so many digits after the point.

    A file's number that ends in a 5 there was itself rounded, and does not tell which way to go on:
    0.135 becomes ``{0.14/0.13}``, of which a page may have either (:func:`agrees`).

    ``signed`` writes a + before what is above zero; ``zero_sign`` keeps the sign of what rounds to
    zero.
    """
    shown = []
    for rounding in (ROUND_HALF_UP, ROUND_HALF_DOWN):
        exact = Decimal(str(value)).quantize(Decimal(1).scaleb(-digits), rounding)
        if exact == 0 and not zero_sign:
            exact = abs(exact)
        shown.append(f"{exact:+f}" if signed and exact > 0 else f"{exact:f}")
    up, down = shown
    return up if up == down else f"{{{up}/{down}}}"


def agrees(shown: str, made: str) -> bool:
    """Does a page's cell say what a specification gives?"""
    parts = EITHER.split(made)
    # What stands between ties, and of each tie its two numbers.
    pattern = "".join(
        re.escape(between) + (f"(?:{re.escape(up)}|{re.escape(down)})" if up else "")
        for between, up, down in zip(
            parts[::3], [*parts[1::3], ""], [*parts[2::3], ""], strict=True
        )
    )
    return re.fullmatch(pattern, shown) is not None


def decided(made: str) -> str:
    """A cell as it is written where the page has nothing that agrees: ties go away from zero."""
    return EITHER.sub(r"\1", made)


def as_tuple(label: Label) -> tuple[str, ...]:
    return (label,) if isinstance(label, str) else label
