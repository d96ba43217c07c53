"""Finds tables in pages, compares them with what the result files say, and writes them anew."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from . import (
    cluster,
    contrast,
    deletion,
    heard_words,
    kinds_of_models,
    layers,
    listening,
    passes,
    plausibility,
    seeds,
)
from .shape import MISSING, TYPED, Table, agrees, decided
from .sources import parsed, table_lines, table_starts

MODULES = (
    deletion,
    contrast,
    kinds_of_models,
    layers,
    listening,
    passes,
    heard_words,
    seeds,
    plausibility,
    cluster,
)
# Names are in small letters: tables of docs/conditions.md, which its benchmark writes whole, have
# titles in their markers.
MARKER = re.compile(r"<!-- table: ([a-z0-9-]+) -->")
# Of each page, relative to docs: the names of its tables and what makes them.
REGISTRY: dict[str, dict[str, Callable[[], Table]]] = {
    module.PAGE: module.TABLES for module in MODULES
}


class Found(NamedTuple):
    """A table in a page."""

    name: str | None
    start: int
    lines: list[str]


def tables_of(lines: list[str]) -> list[Found]:
    """All tables of a page; the name is None where the line above is no marker."""
    result = []
    for start in table_starts(lines):
        marker = MARKER.fullmatch(lines[start - 1]) if start else None
        result.append(Found(marker and marker[1], start, table_lines(lines, start)))
    return result


def differences(docs: Path) -> list[str]:
    """What differs between pages and result files, a line for each: page, table, row, cell."""
    pages = {page.relative_to(docs).as_posix(): page for page in docs.rglob("*.md")}
    gone = sorted(set(REGISTRY) - set(pages))
    result = [f"docs/{page}: tables are specified, but there is no such page" for page in gone]
    for name, page in sorted(pages.items()):
        lines = page.read_text(encoding="utf-8").splitlines()
        result.extend(f"docs/{name}, {line}" for line in _of_page(lines, REGISTRY.get(name, {})))
    return result


def _of_page(lines: list[str], specs: dict[str, Callable[[], Table]]) -> Iterator[str]:
    tables = tables_of(lines)
    names = [table.name for table in tables if table.name]
    for marker in filter(None, map(MARKER.fullmatch, lines)):
        if marker[1] not in names:
            yield f"table {marker[1]}: no table stands directly below its marker"
    for name in sorted(set(names)):
        if names.count(name) > 1:
            yield f"table {name}: {names.count(name)} tables have this marker"
        if name not in specs:
            yield f"table {name}: docs/tables has no specification for this marker on this page"
    for name in specs:
        if name not in names:
            yield f"table {name}: it has a specification, but no marker on this page"
    for table in tables:
        if table.name in specs:
            made, shown = _made(specs[table.name]), Table(*parsed(table.lines))
            wrong = [made] if isinstance(made, str) else _of_table(shown, made)
            yield from (f"table {table.name}, {line}" for line in wrong)


def _made(spec: Callable[[], Table]) -> Table | str:
    """The table, or why the result files do not give it."""
    try:
        return spec()
    except (OSError, KeyError, ValueError) as error:
        return f"cannot be made: {type(error).__name__}: {error}"


def _of_table(page: Table, made: Table) -> Iterator[str]:
    if page.header != made.header:
        yield f"header: the page has {page.header}, its specification {made.header}"
        return
    if len(page.rows) != len(made.rows):
        yield f"the page has {len(page.rows)} rows, its specification {len(made.rows)}"
    for at, (shown, right) in enumerate(zip(page.rows, made.rows, strict=False), 1):
        if len(shown) != len(right):
            yield f"row {at}: the page has {len(shown)} cells, its specification {len(right)}"
            continue
        for title, cell, value in zip(page.header, shown, right, strict=True):
            if value is not TYPED and not agrees(cell, value):
                # A label that is the same as in the row above is left out in some tables.
                yield (
                    f"row {at} ({right[0] or right[1]}), column {title!r}: "
                    f"the page says {cell!r}, the file {decided(value)!r}"
                )


def rewrite(docs: Path) -> list[str]:
    """Writes each table that has a marker and can be made; returns the pages that changed."""
    changed = []
    for name, specs in REGISTRY.items():
        page = docs / name
        if not page.exists():
            continue
        text = page.read_text(encoding="utf-8")
        lines = text.splitlines()
        # From the last on, so that places of those before stay right.
        for table in reversed(tables_of(lines)):
            made = _made(specs[table.name]) if table.name in specs else None
            if isinstance(made, Table):
                whole = written(made, Table(*parsed(table.lines)))
                lines[table.start : table.start + len(table.lines)] = whole
        new = "\n".join(lines) + "\n"
        if new != text:
            page.write_text(new, encoding="utf-8")
            changed.append(f"docs/{name}")
    return changed


def written(table: Table, page: Table) -> list[str]:
    """A table's lines in Markdown.

    Cells that agree with the files stay as they are, and so do those that no file gives. A row is
    found again by its label, and else by its place where the page has as many.
    """
    rows = [table.header]
    for at, row in enumerate(table.rows):
        old = _row_before(page, at, row, len(table.rows))
        rows.append([_cell(made, was) for made, was in zip(row, old, strict=True)])
    # An empty cell is one space wide.
    lines = ["".join(f"| {cell} " if cell else "| " for cell in row) + "|" for row in rows]
    return [lines[0], "|" + "---|" * len(table.header), *lines[1:]]


def _row_before(page: Table, at: int, row: list[str | None], count: int) -> list[str]:
    fitting = [old for old in page.rows if len(old) == len(row)]
    same = [old for old in fitting if old[0] == row[0]]
    if len(same) == 1:
        return same[0]
    return fitting[at] if len(fitting) == count else [MISSING] * len(row)


def _cell(made: str | None, was: str) -> str:
    return was if made is TYPED or agrees(was, made) else decided(made)
