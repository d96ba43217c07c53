"""Files of alignments: those that other tools write, and our own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

from captum_spes.alignment.ctm import from_ctm
from captum_spes.alignment.entries import alignment_of
from captum_spes.alignment.intervals import Alignment
from captum_spes.alignment.tiers import from_textgrid
from captum_spes.alignment.transcripts import from_json
from captum_spes.errors import ArgumentError, instance_of, warn_caller
from captum_spes.io.files import check_regular
from captum_spes.io.texts import nfc, parse_json, read_text

_SUFFIXES = (".textgrid", ".ctm", ".json", ".jsonl")
# A list of everything that is wrong would bury the first.
_SHOWN_FAULTS = 5


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
                    - JSON with a list ``words`` of objects ``word`` (or ``text``), ``start`` and
                      ``end``, optionally ``phones`` within (``phone``, ``start``, ``end``), or of
                      lists [word, start, end] with ``phones`` beside; or what Gentle, the
                      Montreal Forced Aligner, WhisperX, whisper-timestamped, ``whisper
                      --word_timestamps True`` and Hugging Face's pipeline with
                      ``return_timestamps="word"`` write;
                    - JSONL, one such object a line with its ``id`` (or ``name``), which a
                      manifest can be;
                    - a folder of such files.

    Returns:
        *dict*: an :class:`Alignment` per utterance, in order of time, by ``id`` or else the file's
        name without suffix (in Unicode's composed form, NFC). Words that a tool could not align
        are left out; so is a line of JSONL whose ``words`` is null. An empty list says that nobody
        speaks. What is no speech is left out, too: blanks, ``sil``, ``sp``, ``spn``, ``nsn`` and
        ``unk``, all that stands in <>, [] or {}, and noises in parentheses or asterisks, such as
        (laughter).

        A warning names what cannot be used and was left out: a word without a label or with
        times that cannot be, an utterance (a line, a file of a folder) that cannot be read, that
        has segments without the times of their words, or whose CTM lines are of several channels.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ArgumentError: no alignment can be read (the error says why), or an utterance is there
            twice.
        ImportError: praatio, which reads TextGrids, is not installed.

    Examples::

        >>> _ = open("speech.ctm", "w").write("speech 1 0.10 0.20 the\nspeech 1 0.30 0.25 cat")
        >>> read_alignments("speech.ctm")["speech"].words[1]
        Interval(label='cat', start=0.3, end=0.55)
    """
    instance_of("path", path, (str, PathLike), "a path")
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(f"no such alignment: {place}")
    alignments: dict[str, Alignment] = {}
    unread: list[str] = []
    for file in _files(place):
        try:
            found = _read(file)
        except ArgumentError as error:  # others may be right
            unread.append(str(error))
            continue
        for name, alignment in found.items():
            if name in alignments:
                raise ArgumentError(f"{file}: the utterance {name!r} has an alignment already.")
            alignments[name] = alignment
    if not alignments:
        raise ArgumentError(_few(unread))
    for problem in unread:
        warn_caller(f"left out {problem}")
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
    instance_of("path", path, (str, PathLike), "a path")
    instance_of("alignments", alignments, Mapping, "a dictionary of names to Alignment")
    for name, found in alignments.items():
        instance_of("each name of alignments", name, str, "a text")
        instance_of(f"alignments of {name!r}", found, Alignment, "an Alignment")
    lines = [
        json.dumps({"id": name, "words": found.words, "phones": found.phones}, ensure_ascii=False)
        for name, found in alignments.items()
    ]
    # Halves of characters, as odd names of files hold them, become escapes of JSON.
    content = "".join(line + "\n" for line in lines).encode("utf-8", "backslashreplace")
    Path(path).write_bytes(content)


def _files(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    found = sorted(file for file in place.rglob("*") if file.suffix.lower() in _SUFFIXES)
    files = [file for file in found if not file.is_dir()]
    if not files:
        raise ArgumentError(f"{place} holds no alignment ({', '.join(_SUFFIXES)}).")
    return files


def _read(file: Path) -> dict[str, Alignment]:
    """The alignments of one file; a warning tells what was left out of it."""
    suffix = file.suffix.lower()
    if suffix not in _SUFFIXES:
        raise ArgumentError(f"{file}: expected one of {', '.join(_SUFFIXES)}.")
    if suffix == ".textgrid":  # praatio opens these itself
        if not file.exists():
            raise ArgumentError(f"{file} is a broken link.")
        check_regular(file, "an alignment")
    text = "" if suffix == ".textgrid" else read_text(file, "an alignment")
    try:
        if suffix == ".ctm":
            found, faults = from_ctm(text)
        elif suffix == ".jsonl":
            found, faults = _from_lines(text)
        else:
            is_grid = suffix == ".textgrid"
            entries = from_textgrid(file) if is_grid else from_json(parse_json(text))
            alignment, faults = alignment_of(*entries)
            found = {nfc(file.stem): alignment}
    except ArgumentError as error:
        raise ArgumentError(f"{file}: {error}") from error
    if not found:
        raise ArgumentError(f"{file}: {_few(faults) or 'it holds no alignment'}")
    if faults:
        warn_caller(f"{file}: left out {_few(faults)}")
    return found


def _from_lines(text: str) -> tuple[dict[str, Alignment], list[str]]:
    found: dict[str, Alignment] = {}
    faults: list[str] = []
    # Not splitlines: JSON may hold other separators of lines inside its texts.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"line {number}"
        try:
            fields = parse_json(line)
            name = _name(fields)
            if name is None:
                faults.append(f"{where} has no id")
                continue
            where += f" ({name!r})"
            if fields.get("words", ...) is None:
                continue
            alignment, own_faults = alignment_of(*from_json(fields))
        except ArgumentError as error:
            faults.append(f"{where}: {error}")
            continue
        if name in found:
            raise ArgumentError(f"line {number}: the id {name!r} is there twice")
        found[name] = alignment
        faults += [f"{where}: {fault}" for fault in own_faults]
    return found, faults


def _name(fields: Any) -> str | None:
    if not isinstance(fields, dict):
        raise ArgumentError("expected an object")
    name = next((fields[key] for key in ("id", "name") if fields.get(key) is not None), None)
    if name is None:
        return None
    if isinstance(name, bool) or not isinstance(name, str | int | float):
        raise ArgumentError(f"expected its id to be a text, got {shortened(name)}")
    return nfc(str(name))


def _few(faults: Sequence[str]) -> str:
    more = len(faults) - _SHOWN_FAULTS
    return "; ".join(faults[:_SHOWN_FAULTS]) + (f"; and {more} more" if more > 0 else "")
