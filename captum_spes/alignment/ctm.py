"""Times of words in NIST's CTM files, as Kaldi, NeMo and sclite write and read them."""

from __future__ import annotations

import math
from collections import defaultdict

from captum_spes.alignment.entries import as_seconds, in_time, interval, is_spoken
from captum_spes.alignment.intervals import Alignment, Interval
from captum_spes.errors import ArgumentError
from captum_spes.io.texts import nfc

_COMMENTS = (";;", "#")


def from_ctm(text: str) -> tuple[dict[str, Alignment], list[str]]:
    """Read the alignments of all utterances, and what was left out because it cannot be used."""
    words: dict[str, list[Interval]] = {}
    channels: defaultdict[str, set[str]] = defaultdict(set)
    faults: list[str] = []
    alternative = 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith(_COMMENTS):
            continue
        fields = line.split()
        if len(fields) < 5:
            faults.append(
                f"line {number}: expected name, channel, start, duration and word, got {line!r}"
            )
            continue
        name, mark = nfc(fields[0]), fields[4].upper()
        channels[name].add(fields[1])
        alternative = _alternative(alternative, mark)
        # Without times: a mark of alternatives, or what an aligner could not place.
        if "*" in fields[2:4] or alternative > 1:
            continue
        try:
            word = _word(fields)
        except ArgumentError as error:
            faults.append(f"line {number}: {error}")
            continue
        words.setdefault(name, []).append(word)
    return _alignments(words, channels, faults), faults


def _alternative(current: int, mark: str) -> int:
    """Which of the ways to transcribe what follows the lines are in, from 1; 0 outside of them."""
    if mark == "<ALT_BEGIN>":
        return 1
    if mark == "<ALT>":
        return current + 1
    return 0 if mark == "<ALT_END>" else current


def _word(fields: list[str]) -> Interval:
    start, duration = (as_seconds(field) for field in fields[2:4])
    if not (0 <= start < math.inf and 0 <= duration < math.inf):
        raise ArgumentError(
            f"{fields[4]!r} starts at {fields[2]!r} and lasts {fields[3]!r}: expected seconds, "
            "finite and at least 0"
        )
    return interval(fields[4], start, round(start + duration, 6))


def _alignments(
    words: dict[str, list[Interval]], channels: dict[str, set[str]], faults: list[str]
) -> dict[str, Alignment]:
    found = {}
    for name, its_channels in channels.items():
        if len(its_channels) > 1:
            faults.append(
                f"{name!r} has words on the channels {', '.join(sorted(its_channels))}: give those "
                "of one, or a name to each"
            )
        elif name not in words:
            faults.append(f"{name!r}: no word has a time")
        else:
            found[name] = Alignment(in_time(w for w in words[name] if is_spoken(w.label)))
    return found
