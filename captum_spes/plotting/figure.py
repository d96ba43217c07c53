"""What all figures share: how notebooks show them, axes in a row, colours, round frequencies."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000)
Colour = tuple[float, float, float, float]


class NotebookFigure(Figure):
    """A figure that notebooks show when it is the value of a cell.

    pyplot's figures would be shown twice there, and kept alive until they are closed.
    """

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
