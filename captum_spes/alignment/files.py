"""Files of alignments: those that other tools write, and our own."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from captum_spes.alignment.intervals import Alignment, Interval
from captum_spes.errors import ArgumentError, optional_library

# Labels by which aligners say that nobody speaks.
_SILENCES = {"", "<eps>", "<sil>", "sil", "sp", "spn", "<s>", "</s>", "<p:>", "[noise]", "SIL", "+"}
_WORD_TIERS = ("words", "word", "ort", "ort-mau")
_PHONE_TIERS = ("phones", "phone", "phonemes", "mau", "segments")
_SUFFIXES = (".textgrid", ".ctm", ".json", ".jsonl")


def read_alignments(path: str | PathLike[str]) -> dict[str, Alignment]:
    r"""
    Read when words and phones are spoken.

    Args:

        path (str or path): One of

                    - a Praat TextGrid, as the Montreal Forced Aligner writes: a tier of words,
                      and one of phones if there is one, found by name (of several speakers the
                      first);
                    - a CTM file, of any number of utterances: name, channel, start, duration,
                      word, optionally confidence;
                    - JSON with a list ``words`` of objects ``word``, ``start`` and ``end``,
                      optionally ``phones`` within (``phone``, ``start``, ``end``), or of lists
                      [word, start, end] with ``phones`` beside; or what Gentle and WhisperX
                      write;
                    - JSONL, one such object a line with its ``id`` (or ``name``), which a
                      manifest can be;
                    - a folder of such files.

    Returns:
        *dict*: an :class:`Alignment` per utterance, by ``id`` or else the file's name without
        suffix. Silences, and words that a tool could not align, are left out; so is a line of
        JSONL whose ``words`` is null. An empty list says that nobody speaks.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ArgumentError: a file cannot be read, holds no words, or an utterance is there twice.
        ImportError: praatio, which reads TextGrids, is not installed.

    Examples::

        >>> _ = open("speech.ctm", "w").write("speech 1 0.10 0.20 the\nspeech 1 0.30 0.25 cat")
        >>> read_alignments("speech.ctm")["speech"].words[1]
        Interval(label='cat', start=0.3, end=0.55)
    """
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(f"no such alignment: {place}")
    files = [place]
    if place.is_dir():
        files = sorted(file for file in place.rglob("*") if file.suffix.lower() in _SUFFIXES)
        if not files:
            raise ArgumentError(f"{place} holds no alignment ({', '.join(_SUFFIXES)}).")
    alignments: dict[str, Alignment] = {}
    for file in files:
        for name, alignment in _read(file).items():
            if name in alignments:
                raise ArgumentError(f"{file}: the utterance {name!r} has an alignment already.")
            alignments[name] = alignment
    return alignments


def write_alignments(alignments: Mapping[str, Alignment], path: str | PathLike[str]) -> None:
    r"""
    Write alignments as JSONL that :func:`read_alignments` reads.

    Args:

        alignments (mapping of str to Alignment): By utterance.
        path (str or path): The file, by habit ending in ``.jsonl``.

    Raises:
        OSError: the file cannot be written.

    Examples::

        >>> write_alignments({"speech": Alignment((Interval("cat", 0.3, 0.5),))}, "times.jsonl")
        >>> read_alignments("times.jsonl")["speech"].words[0].label
        'cat'
    """
    lines = [
        json.dumps({"id": name, "words": found.words, "phones": found.phones}, ensure_ascii=False)
        for name, found in alignments.items()
    ]
    Path(path).write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _read(file: Path) -> dict[str, Alignment]:
    try:
        suffix = file.suffix.lower()
        if suffix == ".textgrid":
            return {file.stem: _from_textgrid(file)}
        if suffix == ".ctm":
            return _from_ctm(_text(file))
        if suffix == ".json":
            return {file.stem: _from_json(json.loads(_text(file)))}
        if suffix == ".jsonl":
            return _from_lines(_text(file))
    except (ArgumentError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArgumentError(f"{file}: {error or type(error).__name__}") from error
    raise ArgumentError(f"{file}: expected one of {', '.join(_SUFFIXES)}.")


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8-sig")


def _from_textgrid(file: Path) -> Alignment:
    textgrid = optional_library("praatio.textgrid", "reading TextGrids", "alignment")
    try:
        grid = textgrid.openTextgrid(str(file), includeEmptyIntervals=False)
    except Exception as error:  # praatio raises whatever its parsing stumbles over
        raise ArgumentError(f"no TextGrid that can be read: {error!r}") from error
    words = _tier(grid, _WORD_TIERS)
    if words is None:
        raise ArgumentError(
            f"no tier of words ({', '.join(_WORD_TIERS)}); there are: {', '.join(grid.tierNames)}."
        )
    return _alignment(words, _tier(grid, _PHONE_TIERS) or ())


def _tier(grid: Any, names: Iterable[str]) -> list[tuple[str, float, float]] | None:
    for wanted in names:
        for name in grid.tierNames:
            # "speaker - words", as the Montreal Forced Aligner calls tiers of several speakers.
            if name.lower().rpartition(" - ")[2].strip() == wanted:
                return [(e.label, e.start, e.end) for e in grid.getTier(name).entries]
    return None


def _from_ctm(text: str) -> dict[str, Alignment]:
    words = defaultdict(list)
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith((";;", "#")):
            continue
        fields = line.split()
        if len(fields) < 5:
            raise ArgumentError(
                f"line {number}: expected name, channel, start, duration and word, got {line!r}"
            )
        start, duration = float(fields[2]), float(fields[3])
        words[fields[0]].append((fields[4], start, round(start + duration, 6)))
    return {name: _alignment(sorted(spoken, key=_by_time)) for name, spoken in words.items()}


def _from_lines(text: str) -> dict[str, Alignment]:
    alignments = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        fields = json.loads(line)
        if not isinstance(fields, dict):
            raise ArgumentError(f"line {number}: expected an object")
        name = fields.get("id", fields.get("name"))
        if name is None:
            raise ArgumentError(f"line {number} has no id")
        name = str(name)
        if name in alignments:
            raise ArgumentError(f"line {number}: the id {name!r} is there twice")
        if fields.get("words", ...) is not None:
            alignments[name] = _from_json(fields)
    return alignments


def _from_json(fields: Any) -> Alignment:
    if not isinstance(fields, dict) or not any(k in fields for k in ("words", "segments")):
        raise ArgumentError("expected an object with a list of words")
    if "words" in fields:
        entries = fields["words"]
    else:  # WhisperX
        entries = [word for segment in fields["segments"] for word in segment.get("words", ())]
    words, phones = [], [_phone(phone) for phone in fields.get("phones", ())]
    for entry in entries:
        if not isinstance(entry, dict):
            words.append(tuple(entry))
        # A tool that could not align a word leaves its times out.
        elif entry.get("start") is not None and entry.get("end") is not None:
            words.append((entry["word"], entry["start"], entry["end"]))
            phones += _phones_within(entry)
    if entries and not words:
        raise ArgumentError("no word has a time")
    return _alignment(words, phones)


def _phones_within(entry: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    phones, time = [], float(entry["start"])
    for phone in entry.get("phones") or ():
        if "duration" in phone:  # Gentle: durations, and the place in the word after "_"
            end = time + float(phone["duration"])
            phones.append((phone["phone"].partition("_")[0], round(time, 6), round(end, 6)))
            time = end
        else:
            phones.append(_phone(phone))
    return phones


def _phone(entry: Any) -> tuple[str, float, float]:
    if isinstance(entry, dict):
        return entry["phone"], entry["start"], entry["end"]
    label, start, end = entry
    return label, start, end


def _alignment(words: Iterable[Any], phones: Iterable[Any] = ()) -> Alignment:
    return Alignment(tuple(_intervals(words)), tuple(_intervals(phones)))


def _intervals(entries: Iterable[Any]) -> Iterable[Interval]:
    for label, start, end in entries:
        if label not in _SILENCES:
            yield Interval(str(label), float(start), float(end))


def _by_time(entry: tuple[str, float, float]) -> float:
    return entry[1] if math.isfinite(entry[1]) else math.inf
