"""Figures of previous tokens and of instructions. They are returned, never shown."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from captum_spes.errors import instance_of
from captum_spes.plotting.figure import finished, panel
from captum_spes.plotting.figure import label as label_of
from captum_spes.plotting.fonts import written
from captum_spes.plotting.spectrograms import MAP_COLOURS, array

# Names along one axis, and inches from name to name in axes that are given.
_MOST_NAMES = 60
_NAME_INCHES = 0.17


def token_figure(
    matrix: Tensor,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    label: str,
    of_rows: str = "explained token",
    of_columns: str = "previous token",
    ax: Axes | None = None,
) -> Figure:
    """Draw explained tokens against previous tokens, or others; invalid cells stay empty.

    Of many tokens every second, third ... is named, with its number, and all are drawn.
    """
    most_columns, most_rows = most_names(ax)
    places, names, note = named(columns, most_columns)
    row_places, row_names, row_note = named(rows, most_rows)
    width = 2.6 + 0.32 * len(names) + room(row_names)
    height = 1.8 + 0.26 * len(row_names) + room(names)
    figure, axes = panel(ax, width, height)
    image = axes.imshow(np.ma.masked_invalid(array(matrix)), cmap=MAP_COLOURS, aspect="auto")
    axes.set_facecolor("0.92")
    axes.set_xticks(places, names, rotation=90, parse_math=False)
    axes.set_xlabel(f"{of_columns}{note}")
    axes.set_yticks(row_places, row_names, parse_math=False)
    axes.set_ylabel(f"{of_rows}{row_note}")
    bar = axes.figure.colorbar(image, ax=axes, label=label)
    return finished(figure, axes, bar.ax)


def most_names(ax: Axes | None) -> tuple[int, int]:
    """How many names have room below axes, and beside them; a new figure grows with its names."""
    if ax is None:
        return _MOST_NAMES, _MOST_NAMES
    instance_of("ax", ax, Axes, "a matplotlib Axes or None")
    box, dpi = ax.get_window_extent(), ax.figure.dpi
    width, height = (
        int(min(_MOST_NAMES, max(2, pixels / dpi // _NAME_INCHES)))
        for pixels in (box.width, box.height)
    )
    return width, height


def named(tokens: Sequence[str], most: int = _MOST_NAMES) -> tuple[list[int], list[str], str]:
    """Places and names of the tokens that are named, and what the axis says of it."""
    step = math.ceil(len(tokens) / most)
    places = list(range(0, len(tokens), step))
    if step == 1:
        return places, [label_of(token, 24) for token in tokens], ""
    names = [f"{place + 1}: {label_of(tokens[place], 20)}" for place in places]
    return places, names, f"\n(one in {step} of {len(tokens)} is named)"


def room(names: Sequence[str]) -> float:
    """Inches that long names need beyond those of usual tokens."""
    return 0.08 * max(0, max(len(written(name)) for name in names) - 12)
