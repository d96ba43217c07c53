"""``captum-spes export``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from captum_spes.cli.explanations import explanations_in
from captum_spes.cli.options import print_text, tell
from captum_spes.errors import ArgumentError
from captum_spes.io.files import made_folder
from captum_spes.io.names import FileNames
from captum_spes.text import visible


class _Format(NamedTuple):
    """A format to write.

    Attributes:
        name: as ``--format`` takes it.
        ending: of its files.
        is_table: whether one file holds all explanations.
        of: what is written where nothing else is asked for.
    """

    name: str
    ending: str
    is_table: bool = False
    of: str = "words"


_FORMATS = (
    _Format("csv", ".csv", is_table=True),
    _Format("parquet", ".parquet", is_table=True),
    _Format("netcdf", ".nc", of="tokens"),
    _Format("textgrid", ".TextGrid"),
)

_Pairs = Iterator[tuple[str, Any]]


def add_export(commands: Any) -> None:
    """Add the command."""
    export = commands.add_parser(
        "export",
        help="write explanations for other tools: CSV, Parquet, netCDF (xarray), TextGrid (Praat)",
        description="Write saved explanations for other tools. CSV and Parquet are tables with a "
        "row for each word or token of all of them; netCDF holds the maps of one explanation with "
        "named axes, for xarray; a TextGrid, for Praat, has what each word of one rests on. "
        "Explanations are read one by one, so a corpus may be of any size.",
    )
    add = export.add_argument
    add(
        "explanations",
        type=Path,
        nargs="+",
        metavar="EXPLANATION",
        help="a saved explanation (.npz), a folder that holds some, as explain --out writes, or "
        "the file (.h5) of captum-spes corpus",
    )
    add(
        "--out",
        type=Path,
        metavar="PATH",
        required=True,
        help="a file that ends in .csv, .parquet or, for one explanation, .nc or .TextGrid; with "
        "--format netcdf or textgrid a folder, which gets a file for each explanation",
    )
    add(
        "--format",
        choices=[one.name for one in _FORMATS],
        help="what to write (default: what the ending of --out says)",
    )
    add(
        "--of",
        choices=("words", "tokens"),
        help="what rows, maps and intervals are of (default: words; tokens for netCDF)",
    )
    add(
        "--alignments",
        type=Path,
        metavar="PATH",
        help="times of the words, as for analyse; without it, those that explanations have",
    )
    add(
        "--language",
        default="en",
        metavar="CODE",
        help="of numbers in the texts that --alignments is matched to (default: %(default)s)",
    )
    export.set_defaults(run=_export)


def _export(parsed: argparse.Namespace) -> int:
    chosen = _format_of(parsed.out, parsed.format)
    of = parsed.of or chosen.of
    pairs: _Pairs = explanations_in(parsed.explanations)
    if parsed.alignments is not None:
        pairs = _aligned(pairs, parsed.alignments, parsed.language)
    if chosen.is_table:
        _write_table(pairs, parsed.out, of)
        return 0
    if parsed.out.suffix.lower() == chosen.ending.lower() and not parsed.out.is_dir():
        return _write_each([_only(pairs, chosen)], lambda name: parsed.out, chosen, of)
    first = next(pairs)  # where there is none, no folder is made
    folder, names = made_folder(parsed.out), FileNames()
    return _write_each(
        chain([first], pairs), lambda name: folder / (names.new(name) + chosen.ending), chosen, of
    )


def _format_of(out: Path, asked: str | None) -> _Format:
    """The format that is asked for, which must not contradict the ending of the file."""
    told = [one for one in _FORMATS if one.ending.lower() == out.suffix.lower()]
    wanted = [one for one in _FORMATS if one.name == asked] or told
    if not wanted:
        endings = ", ".join(one.ending for one in _FORMATS)
        raise ArgumentError(
            f"--out must end in one of {endings}, or --format say what to write; got {out.name!r}."
        )
    (chosen,) = wanted
    if told != wanted and (told or chosen.is_table):
        raise ArgumentError(
            f"--format {asked} is written into {_place(chosen)}, got --out {out.name!r}."
        )
    return chosen


def _place(chosen: _Format) -> str:
    file = f"a file that ends in {chosen.ending}"
    return file if chosen.is_table else f"a folder, or {file}"


def _aligned(pairs: _Pairs, path: Path, language: str) -> _Pairs:
    """Explanations whose words have the times of alignments; those without one are named."""
    from captum_spes.alignment import align_result, read_alignments
    from captum_spes.io.texts import nfc

    known = {nfc(name): alignment for name, alignment in read_alignments(path).items()}
    for name, result in pairs:
        alignment = known.get(nfc(name))
        if alignment is None:
            tell(f"{name}: no alignment")
            yield name, result
        else:
            yield name, align_result(result, alignment, language=language).result


def _write_table(pairs: _Pairs, out: Path, of: str) -> None:
    from captum_spes.report import write_units

    count = 0

    def counted() -> _Pairs:
        nonlocal count
        for pair in pairs:
            count += 1
            yield pair

    rows = write_units(counted(), out, of)
    print_text(f"{rows} rows of {count} explanations, written: {visible(out)}")


def _only(pairs: _Pairs, chosen: _Format) -> tuple[str, Any]:
    """The one explanation that goes into a file of its own."""
    first, *more = islice(pairs, 2)
    if more:
        raise ArgumentError(
            f"a file that ends in {chosen.ending} holds one explanation, and there are several: "
            "give a folder as --out, and --format."
        )
    return first


def _write_each(
    pairs: Iterable[tuple[str, Any]], path_of: Callable[[str], Path], chosen: _Format, of: str
) -> int:
    """Write a file for each explanation; one that cannot be written must not end the run."""
    from captum_spes.report import write_netcdf, write_textgrid

    write = {"netcdf": write_netcdf, "textgrid": write_textgrid}[chosen.name]
    written, failed, untimed = [], 0, 0
    for name, result in pairs:
        path = path_of(name)
        try:
            write(result, path, of)
        except ArgumentError as error:
            tell(f"{name}: {error}")
            failed += 1
            continue
        written.append(path)
        untimed += all(word.start is None for word in result.words)
    if not written:
        raise ArgumentError("no explanation could be written.")
    if untimed and chosen.name == "textgrid":
        tell(
            f"in {untimed} of {len(written)} no word has a time, and the tier of {of} is empty: "
            "--alignments gives times."
        )
    where = written[0] if len(written) == 1 else written[0].parent
    print_text(f"{len(written)} written, {failed} failed: {visible(where)}")
    return 1 if failed else 0
