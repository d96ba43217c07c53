"""Files of evidence reports: JSON, CSV, TextGrids and subtitles."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from captum_spes.errors import ArgumentError, optional_library
from captum_spes.io.files import write_whole
from captum_spes.io.provenance import versions
from captum_spes.speech.textgrids import LEAST_SECONDS, textgrid_text
from captum_spes.text import for_csv, visible

if TYPE_CHECKING:
    from captum_spes.speech.evidence import EvidenceReport, WordEvidence

_FORMAT = "captum_spes evidence, version 1"
# Of tables: attributes of a word.
COLUMNS = ("word", "start", "end", "evidence", "probability", "heard")
# What is read in one glance.
_LETTERS_PER_SUBTITLE = 84
_SECONDS_PER_SUBTITLE = 7.0


def write_report(report: EvidenceReport, path: Path) -> None:
    """Write a report in the format that the name's ending tells; see ``EvidenceReport.save``."""
    as_text = FORMATS.get(path.suffix.lower())
    if as_text is None:
        raise ArgumentError(f"the name must end in one of {', '.join(FORMATS)}, got {path.name!r}.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no such folder to save into: {path.parent}")
    write_whole(path, as_text(report))


def as_json(report: EvidenceReport) -> str:
    """Everything that a report holds."""
    names = ("seconds", "passes", "baselines", "misfit", "share_not_heard", "text", "segments")
    saved = {
        "format": _FORMAT,
        "model": report.model_id,
        **{name: getattr(report, name) for name in names},
        "words": [asdict(word) for word in report.words],
        "rule": asdict(report.rule),
        "versions": versions(),
    }
    return json.dumps(saved, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(report: EvidenceReport) -> str:
    """One row per word; an empty cell where nobody can tell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for word in report.words:
        writer.writerow(for_csv(getattr(word, name)) for name in COLUMNS)
    return text.getvalue()


def as_textgrid(report: EvidenceReport) -> str:
    """Three tiers with an interval per word."""
    tiers: dict[str, Callable[[WordEvidence], str]] = {
        "words": lambda word: visible(word.word),
        "evidence": lambda word: f"{word.evidence:.3f}",
        "verdict": lambda word: word.verdict,
    }
    places = _places(report.words)
    intervals = {
        name: [
            (start, end, label(word))
            for (start, end), word in zip(places, report.words, strict=True)
        ]
        for name, label in tiers.items()
    }
    return textgrid_text(intervals, {}, report.seconds)


def as_subtitles(report: EvidenceReport, kind: str) -> str:
    """Subtitles as "srt" or "vtt", with marks at the words that were not heard."""
    pysubs2 = optional_library("pysubs2", "writing subtitles", "check")
    file = pysubs2.SSAFile()
    for words in _cues(report):
        start, end = words[0].start, max(words[-1].end, words[0].start + LEAST_SECONDS)
        event = pysubs2.SSAEvent(start=pysubs2.make_time(s=start), end=pysubs2.make_time(s=end))
        event.plaintext = _for_subtitles("".join(map(_marked, words)).strip(), kind)
        file.append(event)
    return str(file.to_string(kind))


FORMATS: dict[str, Callable[[EvidenceReport], str]] = {
    ".json": as_json,
    ".csv": as_csv,
    ".textgrid": as_textgrid,
    ".srt": lambda report: as_subtitles(report, "srt"),
    ".vtt": lambda report: as_subtitles(report, "vtt"),
}


def _cues(report: EvidenceReport) -> Iterator[list[WordEvidence]]:
    """The words of each subtitle: of a segment, as many as are read at once."""
    for first, last in report.segments:
        cue: list[WordEvidence] = []
        for word in report.words[first:last]:
            letters = sum(len(other.written) for other in [*cue, word])
            seconds = word.end - (cue[0].start if cue else word.start)
            if cue and (letters > _LETTERS_PER_SUBTITLE or seconds > _SECONDS_PER_SUBTITLE):
                yield cue
                cue = []
            cue.append(word)
        if cue:
            yield cue


def _places(words: list[WordEvidence]) -> list[tuple[float, float]]:
    """Start and end of each word, none without duration and none before the end of another."""
    places, earliest = [], 0.0
    for word in words:
        start = max(word.start, earliest)
        earliest = max(word.end, start + LEAST_SECONDS)
        places.append((start, earliest))
    return places


def _for_subtitles(text: str, kind: str) -> str:
    """A text that players show as it is; braces and backslashes would be commands to some."""
    shown = visible(text).translate(str.maketrans("{}\\", "()/"))
    return html.escape(shown, quote=False) if kind == "vtt" else shown


def _marked(word: WordEvidence) -> str:
    """A word as it was written, in brackets where it was not, or perhaps not, heard."""
    if word.heard:
        return word.written
    sign = "" if word.heard is False else "?"
    return word.written.replace(word.word, f"[{word.word}{sign}]", 1)
