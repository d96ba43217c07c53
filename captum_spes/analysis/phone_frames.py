"""Which phone is spoken in each frame, and where in its word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from captum_spes.alignment import Alignment, Interval
from captum_spes.alignment.intervals import alignments_of
from captum_spes.analysis.findings import table
from captum_spes.analysis.representations import EncoderStates
from captum_spes.errors import ArgumentError

if TYPE_CHECKING:
    from pandas import DataFrame

_COLUMNS = (
    "utterance", "group", "frame", "time", "phone", "loudness", "segment", "word", "place",
)  # fmt: skip


@dataclass(frozen=True)
class SpokenFrames:
    """Frames in which a phone is spoken.

    Attributes:
        frames: one row each: ``utterance``, ``group``, ``frame`` (its number), ``time``, ``phone``,
            ``loudness``, ``segment`` (the number of the phone in its utterance), ``word``, and
            ``place`` (of the phone in its word).
        dropped: utterances without any, and why.
    """

    frames: DataFrame
    dropped: Mapping[str, str]


def spoken_frames(
    states: Mapping[str, EncoderStates],
    alignments: Mapping[str, Alignment],
    groups: Mapping[str, str] | None,
    classes: Mapping[str, str] | None,
) -> SpokenFrames:
    """Find them; with ``classes`` those of phones that have one, which is told instead."""
    known = alignments_of(states, alignments)
    rows, dropped = [], {}
    for name, own in states.items():
        if name not in known or not known[name].phones:
            dropped[name] = "no times of phones"
            continue
        if groups is not None and name not in groups:
            raise ArgumentError(f"groups lack the utterance {name!r}.")
        group = name if groups is None else str(groups[name])
        found = [
            {"utterance": name, "group": group, "loudness": own.loudness[row["frame"]], **row}
            for row in _of_utterance(own.times, known[name], classes)
        ]
        if not found:
            dropped[name] = "no frame in a phone that is asked for"
        rows += found
    return SpokenFrames(table(rows, _COLUMNS), dropped)


def _of_utterance(
    times: NDArray[np.float64], alignment: Alignment, classes: Mapping[str, str] | None
) -> list[dict[str, Any]]:
    """A row for each frame whose middle lies in a phone that is asked for."""
    rows = []
    places = _places(alignment)
    for segment, phone in enumerate(alignment.phones):
        label = phone.label if classes is None else classes.get(phone.label)
        if label is None:
            continue
        word, place = places[segment]
        for frame in np.flatnonzero((times >= phone.start) & (times < phone.end)):
            rows.append({
                "frame": int(frame), "time": float(times[frame]), "phone": str(label),
                "segment": segment, "word": word, "place": place,
            })  # fmt: skip
    return rows


def _places(alignment: Alignment) -> list[tuple[str, str]]:
    """Of each phone its word and its place there; outside words "" and the phone itself."""

    def middle(phone: Interval) -> float:
        return (phone.start + phone.end) / 2

    found, counted = [], dict[int, int]()
    for phone in alignment.phones:
        inside = [
            number
            for number, word in enumerate(alignment.words)
            if word.start <= middle(phone) < word.end
        ]
        if not inside:
            found.append(("", phone.label))
            continue
        counted[inside[0]] = counted.get(inside[0], -1) + 1
        found.append((alignment.words[inside[0]].label.casefold(), str(counted[inside[0]])))
    return found


def frequent_phones(spoken: SpokenFrames, fewest: int) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Which frames are of phones that are frequent enough, and the other phones."""
    of_phones = spoken.frames.groupby("phone", sort=True)
    counts, n_groups = of_phones.size(), of_phones["group"].nunique()
    frequent = counts.index[(counts >= fewest) & (n_groups > 1)]
    rare = {str(phone): int(n) for phone, n in counts.items() if phone not in frequent}
    return spoken.frames["phone"].isin(frequent).to_numpy(), rare
