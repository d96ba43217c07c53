"""Words and phones as files hold them, checked and made intervals."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from reprlib import repr as shortened
from typing import Any

from captum_spes.alignment.intervals import Alignment, Interval
from captum_spes.errors import ArgumentError
from captum_spes.io.texts import nfc

_WORD_NAMES, _PHONE_NAMES = ("word", "text", "label"), ("phone", "text", "label")

# What is not speech. Labels of silence and of unknown words, in any case:
_SILENCES = {
    "", "sil", "sp", "spn", "nsn", "unk", "+", "-", "–", "—", "*", "♪", "♫",
    "!sil", "!null", "!enter", "!exit",
}  # fmt: skip
# marks of tools, whatever they hold: <unk>, [laughter], {breath}, ++cough++;
_MARKS = {"<>", "[]", "{}", "++", "【】"}
_PHONE_MARKS = {"<>", "[]"}  # SAMPA writes vowels as { and }
# and in brackets that may also hold what is said, the names of noises: (loud laughter), *coughs*.
_ASIDES = {"()", "**", "♪♪", "♫♫"}
_NOISES = {
    "noise", "noises", "laugh", "laughs", "laughter", "laughing", "chuckles", "chuckling",
    "giggles", "giggling", "cough", "coughs", "coughing", "sneeze", "sneezes", "sneezing",
    "sniff", "sniffs", "sniffing", "breath", "breaths", "breathes", "breathing", "inhale",
    "inhales", "inhaling", "exhale", "exhales", "exhaling", "sigh", "sighs", "sighing", "gasp",
    "gasps", "gasping", "groans", "groaning", "yawns", "yawning", "hums", "humming", "whistles",
    "whistling", "crying", "sobbing", "screams", "screaming", "music", "applause", "applauding",
    "clapping", "cheering", "cheers", "beep", "click", "clicks", "static", "throat", "silence",
    "sil", "pause", "blank", "unk", "unknown", "inaudible", "unintelligible", "indistinct",
    "crosstalk",
}  # fmt: skip


def is_spoken(label: str) -> bool:
    """Whether the label of a word is a spoken one: no blank, mark of silence, or noise."""
    shown = label.strip().casefold()
    shown = "" if shown in _SILENCES else shown.rstrip(" .,;:!?…")
    ends = shown[:1] + shown[-1:]
    if shown in _SILENCES or ends in _MARKS:
        return False
    if ends not in _ASIDES:
        return True
    words = re.findall(r"[^\W_]+", shown)
    return bool(words) and _NOISES.isdisjoint(words)


def alignment_of(words: Iterable[Any], phones: Iterable[Any] = ()) -> tuple[Alignment, list[str]]:
    """Check what a file says of an utterance.

    Args:
        words: triples of label, start and end, or objects of these; in any order. Those without
            times are left out: tools write them so where they could not align a word.
        phones: likewise.

    Returns:
        The alignment, and what was left out of it because it cannot be used.

    Raises:
        ArgumentError: there are words, and none has a time that can be used.
    """
    entries = list(words)
    found, faults = _intervals(entries, "word", _WORD_NAMES)
    if entries and not found:
        raise ArgumentError("; ".join(faults[:3]) or "no word has a time")
    phone_intervals, phone_faults = _intervals(phones, "phone", _PHONE_NAMES)
    spoken = (word for word in found if is_spoken(word.label))
    sounds = (phone for phone in phone_intervals if _is_sound(phone.label))
    return Alignment(in_time(spoken), in_time(sounds)), faults + phone_faults


def interval(label: Any, start: Any, end: Any) -> Interval:
    """Make an interval, or raise an ArgumentError that says what is wrong with it."""
    if isinstance(label, bool) or not isinstance(label, str | int | float):
        raise ArgumentError(f"expected a text as its label, got {shortened(label)}")
    # Halves of characters, which JSON can hold, could not be written into any file.
    text = nfc(str(label).encode("utf-8", "replace").decode("utf-8")).strip()
    times = as_seconds(start), as_seconds(end)
    if not (math.isfinite(times[0]) and math.isfinite(times[1]) and 0 <= times[0] <= times[1]):
        raise ArgumentError(
            f"{text!r} from {shortened(start)} to {shortened(end)}: expected finite times in "
            "seconds, at least 0, and no end before the start"
        )
    return Interval(text, *times)


def as_seconds(value: Any) -> float:
    """A time as a number; NaN for what is none."""
    if isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def in_time(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """In the order of their starts; tools go back in time by a little where words overlap."""
    return tuple(sorted(intervals, key=lambda interval: interval.start))


def _intervals(
    entries: Iterable[Any], kind: str, names: tuple[str, ...]
) -> tuple[list[Interval], list[str]]:
    found, faults = [], []
    for number, entry in enumerate(entries, 1):
        try:
            label, start, end = _triple(entry, kind, names)
            if start is not None and end is not None:
                found.append(interval(label, start, end))
        except ArgumentError as error:
            faults.append(f"{kind} {number}: {error}")
    return found, faults


def _triple(entry: Any, kind: str, names: tuple[str, ...]) -> tuple[Any, Any, Any]:
    if isinstance(entry, dict):
        label = next((entry[name] for name in names if entry.get(name) is not None), None)
        pair = entry.get("timestamp")  # Hugging Face
        if isinstance(pair, list | tuple) and len(pair) == 2:
            return label, *pair
        return label, entry.get("start"), entry.get("end")
    if isinstance(entry, list | tuple) and len(entry) == 3:
        label, start, end = entry
        return label, start, end
    raise ArgumentError(
        f"expected [{kind}, start, end] or an object with {kind}, start and end, got "
        f"{shortened(entry)}"
    )


def _is_sound(label: str) -> bool:
    return label.casefold() not in _SILENCES and label[:1] + label[-1:] not in _PHONE_MARKS
