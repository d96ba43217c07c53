"""What all figures share: how notebooks show them, their letters, axes in a row, colours, and how
much one picture holds."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.text import Text

from captum_spes.plotting.fonts import prepare_texts
from captum_spes.text import shortened, visible

TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000)
Colour = tuple[float, float, float, float]
T = TypeVar("T")


class NotebookFigure(Figure):
    """A figure that notebooks show when it is the value of a cell.

    pyplot's figures would be shown twice there, and kept alive until they are closed.
    """

    def draw(self, renderer: RendererBase) -> None:
        """Draw it, with letters of other fonts where its own lacks them.

        LaTeX, which matplotlib can be set to, is another program, and would read texts as code.
        """
        for text in self.findobj(Text):
            text.set_usetex(False)
        prepare_texts(self)
        super().draw(renderer)

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png", dpi=100)
        return picture.getvalue()


def new_figure(width: float, height: float) -> NotebookFigure:
    """An empty figure, its size in inches."""
    return NotebookFigure(figsize=(width, height), layout="constrained")


def axes_in_a_row(columns: int, width: float = 4.2) -> tuple[NotebookFigure, list[Axes]]:
    """A figure with axes side by side, each ``width`` inches wide."""
    figure = new_figure(width * columns, 4.0)
    return figure, list(np.atleast_1d(figure.subplots(1, columns)))


def colour(index: int) -> Colour:
    """The colour of the method, or curve, of this number; the eleventh has that of the first."""
    red, green, blue, opacity = colormaps["tab10"](index % 10)
    return red, green, blue, opacity


def as_written(texts: Iterable[Text]) -> None:
    """Show texts that are the user's as they are: two dollar signs make no formula."""
    for text in texts:
        text.set_parse_math(False)
        text.set_usetex(False)


def label(text: object, length: int = 40) -> str:
    """A text that is the user's, on one line and of a length that leaves room for the picture."""
    shown = shortened(visible(text), length)
    # What begins with an underscore is left out of legends.
    return f" {shown}" if shown.startswith("_") else shown


def first_of(items: Sequence[T], most: int, noun: str) -> tuple[Sequence[T], str]:
    """As many items as a picture can hold, and a line that says so where it leaves some out."""
    if len(items) <= most:
        return items, ""
    return items[:most], f"the first {most} of {len(items)} {noun}"
