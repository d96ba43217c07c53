"""What all figures share: how notebooks show them and files keep their text, the axes that a user
gives, colours, legends, and how much one picture holds."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

from captum_spes.errors import ArgumentError, instance_of, several
from captum_spes.plotting.fonts import one_warning, prepare_texts
from captum_spes.text import shortened, visible

# Letters as letters, that are found, copied and edited, where matplotlib would draw outlines (SVG)
# or write Type 3 fonts (PDF, PostScript), which journals turn down.
_TEXT_AS_TEXT: Any = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none"}
# Those of Okabe and Ito, which all kinds of colour vision tell apart, but black, which is for marks
# upon them; and three more, as seven are too few.
_OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_COLOURS = (*_OKABE_ITO, "#999999", "#8c564b", "#f0e442", "#882255")
TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000)
Colour = tuple[float, float, float, float]
Panels = tuple[Figure, list[Axes]]
T = TypeVar("T")


class NotebookFigure(Figure):
    """A figure that notebooks show when it is the value of a cell.

    pyplot's figures would be shown twice there, and kept alive until they are closed.
    """

    def draw(self, renderer: RendererBase) -> None:
        """Draw it, with letters of other fonts where its own lacks them."""
        with one_warning():
            prepare_texts(self, self.axes)
            super().draw(renderer)

    def savefig(self, fname: Any, **kwargs: Any) -> None:
        """Write it as ``Figure.savefig`` does, in PDF, PostScript and SVG with text as text."""
        with rc_context(_TEXT_AS_TEXT):
            super().savefig(fname, **kwargs)

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png", dpi=100)
        return picture.getvalue()


def new_figure(width: float, height: float) -> NotebookFigure:
    """An empty figure, its size in inches."""
    return NotebookFigure(figsize=(width, height), layout="constrained")


def panel(ax: Axes | None, width: float, height: float) -> tuple[Figure, Axes]:
    """The axes that a user gave and their figure, or those of a new figure of this size."""
    if ax is None:
        figure = new_figure(width, height)
        return figure, figure.add_subplot()
    instance_of("ax", ax, Axes, "a matplotlib Axes or None")
    return figure_of(ax), ax


def panels(ax: Any, size: tuple[float, float], rows: int, columns: int, **kwargs: Any) -> Panels:
    """The axes that a user gave, one for each panel, and their figure; or those of a new figure of
    this size in inches, made with ``kwargs`` of ``Figure.subplots``."""
    if ax is None:
        figure = new_figure(*size)
        return figure, list(np.ravel(figure.subplots(rows, columns, squeeze=False, **kwargs)))
    expected = f"a sequence of {rows * columns} matplotlib Axes, one for each panel"
    given = [ax] if isinstance(ax, Axes) else several("ax", ax, expected)
    flat: list[Any] = list(np.ravel(np.array(given, dtype=object)))
    for one in flat:
        instance_of("ax", one, Axes, expected)
    if len(flat) != rows * columns:
        raise ArgumentError(f"ax must be {expected}, got {len(flat)}.")
    return figure_of(flat[0]), flat


def figure_of(axes: Axes) -> Figure:
    """The figure that is saved and shown, also of axes in one of its parts."""
    parent = axes.figure
    return parent if isinstance(parent, Figure) else parent.figure


def inches_wide(axes: Axes) -> float:
    """The width of axes, which a layout may still change a little."""
    return axes.get_window_extent().width / axes.figure.dpi


def finished(figure: Figure, *axes: Axes) -> Figure:
    """A figure whose letters are there: of the user's own, which does not look for them when it is
    drawn, those of the axes that were drawn into."""
    if not isinstance(figure, NotebookFigure):
        prepare_texts(figure, axes, only_axes=True)
    return figure


def colour(index: int) -> Colour:
    """The colour of the method, or curve, of this number; the eleventh has that of the first."""
    return to_rgba(_COLOURS[index % len(_COLOURS)])


def legend_beside(axes: Axes, title: str | None, **kwargs: Any) -> Legend:
    """A legend to the right of axes, where it hides nothing."""
    legend = axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        borderaxespad=0.0,
        frameon=False,
        title=title,
        alignment="left",
        **kwargs,
    )
    as_written(legend.get_texts())
    return legend


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
