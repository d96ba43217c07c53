"""Praat's TextGrids: tiers of intervals, none of which overlap, and tiers of points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from captum_spes.errors import optional_library

# Praat knows no interval without duration.
LEAST_SECONDS = 0.01


class Span(NamedTuple):
    """A stretch of time."""

    start: float
    end: float


def textgrid_text(
    intervals: Mapping[str, Sequence[tuple[float, float, str]]],
    points: Mapping[str, Sequence[tuple[float, str]]],
    seconds: float,
) -> str:
    """The text of a TextGrid.

    Args:
        intervals: start, end and label of the entries of each tier of intervals; the labels must be
            of one line each.
        points: time and label of those of each tier of points.
        seconds: duration; longer where an entry ends later.
    """
    textgrid = optional_library("praatio.textgrid", "writing TextGrids", "alignment")
    times = [end for tier in intervals.values() for _, end, _ in tier]
    times += [time for tier in points.values() for time, _ in tier]
    end = max([seconds, LEAST_SECONDS, *times])
    grid = textgrid.Textgrid()
    # praatio takes no tier without an entry, unless it is told how long it lasts.
    for name, spans in intervals.items():
        grid.addTier(textgrid.IntervalTier(name, list(spans), minT=0.0, maxT=end))
    for name, places in points.items():
        grid.addTier(textgrid.PointTier(name, list(places), minT=0.0, maxT=end))
    with TemporaryDirectory() as folder:
        file = Path(folder) / "grid"
        grid.save(str(file), "long_textgrid", includeBlankSpaces=True)
        return file.read_text(encoding="utf-8")


def lanes(spans: Sequence[Span]) -> list[list[tuple[int, Span]]]:
    r"""
    Share spans out among as few tiers as it takes for none to overlap within its tier.

    Args:

        spans (sequence of Span): In any order. Those shorter than Praat can show are lengthened,
                    and one that begins as little before the end of another begins there.

    Returns:
        *list*: of each tier, the indices of its spans, and the spans as they fit, in order of
        time.

    Examples::

        >>> from captum_spes.speech.textgrids import Span, lanes
        >>> [[index for index, _ in lane] for lane in lanes([Span(0, 2), Span(2, 3), Span(1, 4)])]
        [[0, 1], [2]]
    """
    found: list[list[tuple[int, Span]]] = []
    for index in sorted(range(len(spans)), key=lambda i: spans[i]):
        start, end = spans[index]
        free = (lane for lane in found if lane[-1][1].end < start + LEAST_SECONDS)
        lane = next(free, None)
        if lane is None:
            lane = []
            found.append(lane)
        else:
            start = max(start, lane[-1][1].end)
        lane.append((index, Span(start, max(end, start + LEAST_SECONDS))))
    return found
