"""Figures of layers: what is read from them, and how alike they are. They are returned, never
shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.plotting.figure import (
    colour,
    figure_of,
    finished,
    label,
    legend_beside,
    panel,
)

if TYPE_CHECKING:
    from pandas import DataFrame

# Cells of a matrix that have room for their numbers, and rows that have room for their names.
_MOST_NUMBERS, _MOST_NAMES = 14, 40
# CKA above which black is read better than white on the colours.
_BRIGHT = 0.5


class ProbeLike(Protocol):
    """What is drawn of a :class:`captum_spes.analysis.PhoneProbe`."""

    @property
    def table(self) -> DataFrame: ...


def plot_probe(probe: ProbeLike, *, ax: Axes | None = None) -> Figure:
    r"""
    Draw from which layers phones can be told.

    Args:

        probe (PhoneProbe): What :func:`phone_probe` returns.
        ax (matplotlib Axes, optional): What to draw into; the legend stands beside it.
                    Default: None, a new figure

    Returns:
        *matplotlib.figure.Figure*, not shown: balanced accuracy by layer with its 95 % interval as
        a band, that of the control task, that of shuffled labels, and chance.

    Examples::

        >>> model, processor, clips = load_demo()
        >>> explainer = SpeechToTextAttribution(SPES(model), processor)
        >>> states = encoder_states(explainer, {clip.name: clip.path for clip in clips})
        >>> times = {clip.name: clip.alignment for clip in clips}
        >>> plot_probe(phone_probe(states, times, folds=2)).savefig("layers.png")
    """
    if not hasattr(getattr(probe, "table", None), "columns"):
        raise ArgumentTypeError(f"probe must be what phone_probe returns, got {probe!r}.")
    rows = probe.table
    figure, axes = panel(ax, 7.0, 3.6)
    places = np.arange(len(rows))
    axes.fill_between(
        places, rows["low"], rows["high"], color=colour(0), alpha=0.2, linewidth=0,
        label="95 % interval",
    )  # fmt: skip
    lines = {
        "accuracy": ("phones", "o", "-"),
        "control": ("control task: words by heart", "s", "--"),
        "shuffled": ("shuffled labels", "^", ":"),
    }
    for number, (column, (name, marker, style)) in enumerate(lines.items()):
        axes.plot(
            places, rows[column], marker=marker, ls=style, color=colour(number), label=name
        )  # fmt: skip
    axes.axhline(float(rows["chance"].iloc[0]), color="black", lw=0.8, ls=":", label="chance")
    _name_ticks(axes, [str(layer) for layer in rows["layer"]], rows=False)
    axes.set_xlabel("layer")
    axes.set_ylabel("balanced accuracy")
    axes.set_ylim(0, 1)
    legend_beside(axes, None)
    return finished(figure, axes)


def plot_layer_similarity(similarity: DataFrame, *, ax: Axes | None = None) -> Figure:
    r"""
    Draw how alike layers are.

    Args:

        similarity (DataFrame): What :func:`layer_similarity` returns.
        ax (matplotlib Axes, optional): What to draw into.
                    Default: None, a new figure

    Returns:
        *matplotlib.figure.Figure*, not shown: a matrix whose first row is the lowest one, on a
        scale from 0 to 1, with numbers where there is room.

    Examples::

        >>> states = encoder_states(explainer, {"speech": "speech.flac"})
        >>> plot_layer_similarity(layer_similarity(states)).savefig("cka.png")
    """
    if not hasattr(similarity, "columns"):
        raise ArgumentTypeError(f"similarity must be a table of layers, got {similarity!r}.")
    values = similarity.to_numpy(dtype=float)
    if not values.size:
        raise ArgumentError("there is nothing to draw: the table has no layers.")
    inches = 2.2 + 0.45 * min(max(values.shape), _MOST_NUMBERS)
    figure, axes = panel(ax, inches + 0.8, inches)
    image = axes.imshow(values, vmin=0, vmax=1, cmap="cividis", origin="lower", aspect="auto")
    figure_of(axes).colorbar(image, ax=axes, label="CKA")
    if max(values.shape) <= _MOST_NUMBERS:
        for (row, column), value in np.ndenumerate(values):
            shade = "black" if value > _BRIGHT else "white"
            axes.text(
                column, row, f"{value:.2f}", ha="center", va="center", color=shade, fontsize="small"
            )
    _name_ticks(axes, [str(name) for name in similarity.columns], rows=False)
    _name_ticks(axes, [str(name) for name in similarity.index], rows=True)
    axes.set_xlabel("layer")
    axes.set_ylabel("layer")
    return finished(figure, axes)


def _name_ticks(axes: Axes, names: list[str], *, rows: bool) -> None:
    """Name layers at an axis, as many as there is room for."""
    step = -(-len(names) // _MOST_NAMES)
    places, shown = range(0, len(names), step), [label(name, 16) for name in names[::step]]
    if rows:
        axes.set_yticks(places, shown, parse_math=False)
    else:
        axes.set_xticks(places, shown, parse_math=False)
        if max(map(len, shown)) > 2:
            for text in axes.get_xticklabels():
                text.set(rotation=45, ha="right", rotation_mode="anchor")
