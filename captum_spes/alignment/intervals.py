"""When words and phones are spoken."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from captum_spes.errors import ArgumentError, instance_of, real_number, several
from captum_spes.io.texts import nfc


class Interval(NamedTuple):
    """A word or a phone, and when it is spoken.

    Attributes:
        label: the word as in the text, without punctuation, or the phone's name.
        start: seconds.
        end: seconds.
    """

    label: str
    start: float
    end: float


@dataclass(frozen=True)
class Alignment:
    """When the words of an utterance are spoken, and its phones if they are known.

    Attributes:
        words: in order of time, silences left out.
        phones: likewise; empty where they are not known.

    Raises:
        ArgumentError: an interval has no finite times, ends before it starts, or starts before
            the one before it.
    """

    words: tuple[Interval, ...]
    phones: tuple[Interval, ...] = ()

    def __post_init__(self) -> None:
        for kind, intervals in (("word", self.words), ("phone", self.phones)):
            last = 0.0
            for interval in several(f"{kind}s", intervals, "a sequence of Interval"):
                fields = several(f"each of {kind}s", interval, "(label, start, end)")
                if len(fields) != 3:
                    raise ArgumentError(f"each of {kind}s must be (label, start, end).")
                label, start, end = fields
                instance_of(f"the label of each of {kind}s", label, str, "a text")
                start, end = (real_number(f"a time of {kind}s", time) for time in (start, end))
                if not (math.isfinite(start) and math.isfinite(end) and last <= start <= end):
                    raise ArgumentError(
                        f"{kind} {label!r} from {start} to {end} s does not follow {last} s; "
                        "intervals need finite times, at least 0, in ascending order."
                    )
                last = start

    def phones_of(self, word: Interval) -> tuple[Interval, ...]:
        """The phones whose middle lies within a word."""
        return tuple(p for p in self.phones if word.start <= (p.start + p.end) / 2 < word.end)


def alignments_of(
    names: Iterable[str], alignments: Mapping[str, Alignment]
) -> dict[str, Alignment]:
    """The alignments of utterances, by their names as given; those without one are left out.

    Names are compared in Unicode's composed form: macOS decomposes those of files.
    """
    known = {nfc(name): alignment for name, alignment in alignments.items()}
    return {name: known[nfc(name)] for name in names if nfc(name) in known}
