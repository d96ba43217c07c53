"""Spoken words above the time axis of a map, each at its time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.collections import LineCollection
from matplotlib.text import Text
from matplotlib.transforms import Bbox, IdentityTransform

from captum_spes.plotting.figure import inches_wide, label
from captum_spes.plotting.fonts import prepare_text

# Points: above the axes, of a bar, between bar and letters, and from row to row in letters.
_GAP, _BAR, _ABOVE_BAR, _ROW = 2.0, 1.6, 1.5, 1.25
_MOST_ROWS = 2
# The mean width of a letter, and of a gap between words, as shares of the size of letters.
_LETTER, _BETWEEN = 0.6, 0.6
# Where words would take more than so many times the room that there is, none but the explained one
# is written.
_MOST_CROWDED = 3.0
_LONGEST = 18
_PLAIN, _EXPLAINED = "0.45", "black"

# Numbers of words, with the pixels at which they start and end.
Ends = dict[int, tuple[float, float]]


class SpokenWord(NamedTuple):
    """A word, when it is spoken in seconds, and whether it is the one that is explained."""

    text: str
    start: float
    end: float
    is_explained: bool = False


def write_words(axes: Axes, words: Sequence[SpokenWord], size: float) -> float:
    """Write words above axes whose horizontal one is time, in letters of ``size`` points.

    The explained word is bold and is always written. Each word has a bar from its start to its end;
    where words are too close for their letters, some have the bar alone, and in long recordings all
    others.

    Returns:
        The points above the axes that they take, for the title to leave free.
    """
    if not words:
        return 0.0
    line = _WordLine(words, size, _rows(axes, words, size))
    axes.add_artist(line)
    line.set_clip_on(False)
    return line.height


def _rows(axes: Axes, words: Sequence[SpokenWord], size: float) -> int:
    """One where all words would fit into it side by side, else two."""
    # Words are not spread evenly in time.
    return 1 if _points(words, size) < 0.75 * 72 * inches_wide(axes) else _MOST_ROWS


def _points(words: Iterable[SpokenWord], size: float) -> float:
    """The width of all words side by side, about."""
    return sum(size * (_LETTER * min(len(word.text), _LONGEST) + _BETWEEN) for word in words)


class _WordLine(Artist):
    """Finds the places of its words when it is drawn, as only then the width of the axes is known,
    which layouts and the user change."""

    def __init__(self, words: Sequence[SpokenWord], size: float, rows: int) -> None:
        super().__init__()
        self.words = list(words)
        self.size, self.rows = size, rows
        self.height = _GAP + _BAR + _ABOVE_BAR + _ROW * size * rows
        self._texts: dict[int, Text] = {}

    def get_children(self) -> list[Artist]:
        return list(self._texts.values())

    def get_window_extent(self, renderer: RendererBase | None = None) -> Bbox:
        """The strip above the axes."""
        assert self.axes is not None
        left, _, right, top = self.axes.bbox.extents
        return Bbox([[left, top], [right, top + self.height * self._pixels_per_point()]])

    def draw(self, renderer: RendererBase) -> None:
        if not self.get_visible():
            return
        assert self.axes is not None
        ends = self._ends()
        self._draw_bars(renderer, ends)
        shown = list(self._places(renderer, ends))
        point, top = self._pixels_per_point(), self.axes.bbox.y1
        for index, row, middle in shown:
            text = self._texts[index]
            points = _GAP + _BAR + _ABOVE_BAR + _ROW * self.size * row
            text.set_position((middle, top + points * point))
            text.draw(renderer)
        self._texts = {index: self._texts[index] for index, *_ in shown}
        self.stale = False

    def _draw_bars(self, renderer: RendererBase, ends: Ends) -> None:
        assert self.axes is not None
        point = self._pixels_per_point()
        height = self.axes.bbox.y1 + (_GAP + _BAR / 2) * point
        bars = LineCollection(
            [
                [(start, height), (max(start + point, end - point), height)]
                # A point less parts words that follow on each other.
                for start, end in ends.values()
            ],
            colors=[_EXPLAINED if self.words[index].is_explained else "0.75" for index in ends],
            linewidths=_BAR,
            transform=IdentityTransform(),
        )
        bars.set_figure(self.axes.figure)
        bars.draw(renderer)

    def _places(self, renderer: RendererBase, ends: Ends) -> Iterator[tuple[int, int, float]]:
        """Which words are written, in which row, and their middles in pixels; in the order of time,
        the explained ones first."""
        assert self.axes is not None
        left, _, right, _ = self.axes.bbox.extents
        between = _BETWEEN * self.size * self._pixels_per_point()
        taken: list[list[tuple[float, float]]] = [[] for _ in range(self.rows)]
        explained = [index for index in ends if self.words[index].is_explained]
        others = [index for index in ends if not self.words[index].is_explained]
        for index in explained if self._is_crowded(ends) else explained + others:
            middle = sum(ends[index]) / 2
            if all(_overlaps(row, middle, middle) for row in taken):
                continue  # the letters need not be measured
            half = self._text(index).get_window_extent(renderer).width / 2
            middle = max(left + half, min(middle, right - half))
            space = half + between / 2
            for number, row in enumerate(taken):
                if not _overlaps(row, middle - space, middle + space):
                    row.append((middle - space, middle + space))
                    yield index, number, middle
                    break

    def _is_crowded(self, ends: Ends) -> bool:
        """Whether so few of the words have room that they would say nothing."""
        assert self.axes is not None
        needed = _points((self.words[index] for index in ends), self.size)
        points = self.axes.bbox.width / self._pixels_per_point()
        return needed > _MOST_CROWDED * self.rows * points

    def _text(self, index: int) -> Text:
        if index not in self._texts:
            assert self.axes is not None
            word = self.words[index]
            text = Text(
                text=label(word.text, _LONGEST),
                color=_EXPLAINED if word.is_explained else _PLAIN,
                fontweight="bold" if word.is_explained else "normal",
                fontsize=self.size,
                horizontalalignment="center",
                verticalalignment="bottom",
                parse_math=False,
                transform=IdentityTransform(),
            )
            text.set_figure(self.axes.figure)
            prepare_text(text)
            self._texts[index] = text
        return self._texts[index]

    def _ends(self) -> Ends:
        """Where the words that are seen start and end, in pixels."""
        assert self.axes is not None
        low, high = sorted(self.axes.get_xlim())
        seen = [i for i, word in enumerate(self.words) if word.end > low and word.start < high]
        times = [(self.words[i].start, self.words[i].end) for i in seen]
        points = [(min(max(time, low), high), 0.0) for pair in times for time in pair]
        if not points:
            return {}
        pixels = self.axes.transData.transform(points)[:, 0].reshape(-1, 2)
        return {i: (float(start), float(end)) for i, (start, end) in zip(seen, pixels, strict=True)}

    def _pixels_per_point(self) -> float:
        assert self.axes is not None
        return float(self.axes.figure.dpi) / 72


def _overlaps(taken: Sequence[tuple[float, float]], left: float, right: float) -> bool:
    return any(start < right and left < end for start, end in taken)
