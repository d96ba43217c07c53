"""Explanations in the formats of other tools: tables, arrays with named axes, TextGrids."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import IO, Any

from captum_spes.errors import ArgumentError, optional_library
from captum_spes.io.files import whole_file, write_whole
from captum_spes.report.units import COLUMNS, Results, rows_of
from captum_spes.speech import SpeechToTextAttributionResult
from captum_spes.speech.textgrids import Span, lanes, textgrid_text
from captum_spes.text import for_csv, visible

# So many are written at once: few enough for any memory, many enough for Parquet's row groups.
_ROWS = 10_000


def write_units(results: Results, path: str | PathLike[str], of: str = "words") -> int:
    r"""
    Write the rows of :func:`unit_table` as CSV or Parquet, so many as a store may hold.

    Explanations are read one by one, and the file appears complete or not at all.

    Args:

        results (dict or iterable of pairs): As for :func:`unit_table`.
        path (str or path): The file, whose ending says the format:

                    - ``.csv``: UTF-8; an empty cell where nothing is known. A text that a
                      spreadsheet would run as a formula, as one that begins with ``=``, ``+``,
                      ``-`` or ``@``, has an apostrophe before it, and control characters are
                      escapes;
                    - ``.parquet``: with the types of the columns, and all texts as they are.
        of (str, optional): "words" or "tokens".
                    Default: "words"

    Returns:
        *int*: how many rows were written.

    Raises:
        ArgumentError: the file has another ending, or ``of`` is neither.
        ImportError: pyarrow, which writes Parquet, is not installed.
        OSError: the file cannot be written.

    Examples::

        >>> write_units({"speech": result}, "words.csv")
        2
        >>> write_units({"speech": result}, "tokens.parquet", of="tokens")
        9
    """
    file = Path(path)
    write = _TABLES.get(file.suffix.lower())
    if write is None:
        raise ArgumentError(f"path must end in {' or '.join(_TABLES)}, got {file.name!r}.")
    rows = rows_of(results, of)
    _check_parent(file)
    with whole_file(file) as opened:
        return write(opened, rows)


def _write_csv(file: IO[bytes], rows: Iterator[dict[str, Any]]) -> int:
    file.write(_csv_lines([dict(zip(COLUMNS, COLUMNS, strict=True))]))
    count = 0
    while batch := list(islice(rows, _ROWS)):
        file.write(_csv_lines(batch))
        count += len(batch)
    return count


def _csv_lines(rows: Sequence[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([for_csv(row[name]) for name in COLUMNS] for row in rows)
    return text.getvalue().encode()


def _write_parquet(file: IO[bytes], rows: Iterator[dict[str, Any]]) -> int:
    pyarrow = optional_library("pyarrow", "writing Parquet", "export")
    parquet = optional_library("pyarrow.parquet", "writing Parquet", "export")
    schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in COLUMNS.items()])
    count = 0
    with parquet.ParquetWriter(file, schema) as writer:
        while batch := list(islice(rows, _ROWS)):
            writer.write_table(pyarrow.Table.from_pylist(batch, schema=schema))
            count += len(batch)
    return count


_TABLES: dict[str, Callable[[IO[bytes], Iterator[dict[str, Any]]], int]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}


def write_netcdf(
    result: SpeechToTextAttributionResult, path: str | PathLike[str], of: str = "tokens"
) -> None:
    r"""
    Write the maps of an explanation with named axes, as netCDF.

    It is what :meth:`SpeechToTextAttributionResult.to_xarray` returns, in netCDF's version 3, which
    R, MATLAB and Julia read, too. It is not compressed: 10 s of 30 tokens take 10 MB.

    Args:

        result (SpeechToTextAttributionResult): The explanation.
        path (str or path): The file, by habit ending in ``.nc``; it appears complete or not at all.
        of (str, optional): "tokens" or "words".
                    Default: "tokens"

    Raises:
        ArgumentError: ``of`` is neither, or the output has no words.
        ImportError: xarray is not installed.
        OSError: the file cannot be written.

    Examples::

        >>> write_netcdf(result, "explanation.nc")
        >>> import xarray
        >>> with xarray.open_dataset("explanation.nc") as maps:
        ...     maps["spectrogram_attr"].dims
        ('token', 'time', 'frequency')
    """
    content = result.to_xarray(of).to_netcdf(engine="scipy")
    _check_parent(Path(path))
    with whole_file(Path(path)) as file:
        file.write(content)


def write_textgrid(
    result: SpeechToTextAttributionResult, path: str | PathLike[str], of: str = "words"
) -> None:
    r"""
    Write what each word rests on as a TextGrid, for Praat.

    The tiers, whose numbers are those of :func:`unit_table`:

    * ``words`` (or ``tokens``): each at the time at which it is spoken, where that is known;
      ``impact``, ``reliability``, ``probability`` and ``rests on audio``: of the word above, empty
      where it is not known. Where words overlap those of another set of tiers, ``words 2``,
      ``impact 2`` and so on, hold what has no place in the first.
    * ``salient``: where the word's map is strongest, labelled with the word and its band in Hz.
      These places overlap often: ``salient 2`` and so on hold what has no place in the first.
    * ``peaks``: points at the strongest time of each word's map, with the strongest frequency.

    What is mostly noise, or rests on nothing in the audio, has no salient place. Intervals last
    10 ms at least.

    Args:

        result (SpeechToTextAttributionResult): The explanation. Whose words have no times gets
                    them from :func:`captum_spes.alignment.align_result`.
        path (str or path): The file, by habit ending in ``.TextGrid``; it appears complete or not
                    at all.
        of (str, optional): "words" or "tokens"; of tokens those have times that spell a word by
                    themselves.
                    Default: "words"

    Raises:
        ArgumentError: ``of`` is neither.
        ImportError: praatio is not installed.
        OSError: the file cannot be written.

    Examples::

        >>> from captum_spes.alignment import align_result
        >>> write_textgrid(align_result(result, alignment).result, "speech.TextGrid")
        >>> [word.label for word in read_alignments("speech.TextGrid")["speech"].words]
        ['the', 'cat']
    """
    rows = list(rows_of([("", result)], of))
    intervals = {**_spoken_tiers(rows, of), **_salient_tiers(rows)}
    begin = result.parameters.get("window", {}).get("start", 0.0)
    text = textgrid_text(intervals, {"peaks": _peaks(rows)}, begin + result.seconds)
    _check_parent(Path(path))
    write_whole(Path(path), text)


_Row = dict[str, Any]
_Tiers = dict[str, list[tuple[float, float, str]]]


def _spoken_tiers(rows: Sequence[_Row], of: str) -> _Tiers:
    """Words at their times, and tiers below them with what is known of each."""
    labels: dict[str, Callable[[_Row], str]] = {
        of: lambda row: visible(row["text"]),
        "impact": lambda row: _number(row["impact"], ".4g"),
        "reliability": lambda row: _number(row["reliability"], ".2f"),
        "probability": lambda row: _number(row["probability"], ".3g"),
        "rests on audio": lambda row: "yes" if row["rests_on_audio"] else "no",
    }
    spoken = [row for row in rows if row["start"] is not None]
    places = lanes([Span(row["start"], row["end"]) for row in spoken])
    return {
        _numbered(name, number): [(*span, label(spoken[index])) for index, span in lane]
        for number, lane in enumerate(places or [[]], 1)
        for name, label in labels.items()
    }


def _salient_tiers(rows: Sequence[_Row]) -> _Tiers:
    """The strongest stretch of time of each word, with its band."""
    salient = [row for row in rows if row["salient_start"] is not None]
    places = lanes(
        [Span(_shown(row["salient_start"]), _shown(row["salient_end"])) for row in salient]
    )
    return {
        _numbered("salient", number): [(*span, _with_band(salient[index])) for index, span in lane]
        for number, lane in enumerate(places or [[]], 1)
    }


def _peaks(rows: Sequence[_Row]) -> list[tuple[float, str]]:
    """The strongest moment of each word; Praat knows one point at a time."""
    found: dict[float, list[str]] = {}
    for row in rows:
        if row["salient_peak"] is not None:
            strongest = row["strongest"]
            label = visible(row["text"]) + ("" if strongest is None else f" {strongest:.0f} Hz")
            found.setdefault(_shown(row["salient_peak"]), []).append(label)
    return [(time, ", ".join(labels)) for time, labels in sorted(found.items())]


def _shown(time: float) -> float:
    """Frames have times in single precision, whose last digits mean nothing."""
    return round(time, 6)


def _with_band(row: _Row) -> str:
    band = "" if row["lowest"] is None else f" {row['lowest']:.0f}-{row['highest']:.0f} Hz"
    return visible(row["text"]) + band


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name} {number}"


def _number(value: float | None, number_format: str) -> str:
    return "" if value is None else format(value, number_format)


def _check_parent(file: Path) -> None:
    if not file.parent.is_dir():
        raise FileNotFoundError(f"no such folder to write into: {file.parent}")
