"""Figures of how layers mix what they read: small multiples of targets by sources. They are
returned, never shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError, texts
from captum_spes.plotting.figure import finished, first_of, label, panels

_NAMES = {"zeroing": "value zeroing", "attention": "attention", "norms": "attention norms"}
# Layers that one picture holds, and rows or columns of a panel that have room for their names.
_MOST_LAYERS, _MOST_NAMES = 12, 30
_INCHES = 3.4


class MixingLike(Protocol):
    """What is drawn of a :class:`captum_spes.analysis.ContextMixing`."""

    part: str
    targets: tuple[str, ...]
    sources: tuple[str, ...]
    frame_groups: Tensor | None
    frame_times: Tensor

    def shares(self, measure: str = "zeroing") -> Tensor: ...
    def time_map(self, measure: str = "zeroing", layer: int | None = None) -> Tensor: ...
    def token_map(self, measure: str = "zeroing", layer: int | None = None) -> Tensor: ...


def plot_context_mixing(
    mixing: MixingLike,
    measures: Sequence[str] = ("attention", "zeroing"),
    *,
    ax: Any = None,
) -> Figure:
    r"""
    Draw what each layer takes from where for each target.

    Args:

        mixing (ContextMixing): What :func:`captum_spes.analysis.context_mixing` returns.
        measures (sequence of str, optional): One column of panels each: "attention", "zeroing",
                    "norms".
                    Default: attention beside value zeroing
        ax (sequence of matplotlib Axes, optional): What to draw into, one for each panel, row by
                    row.
                    Default: None, a new figure

    Returns:
        *matplotlib.figure.Figure*, not shown: a row of panels for each layer, the first on top, at
        most 12. In a panel each target is a row that sums to 1, colours from white to the
        largest share of the panel, whose number the title tells.

    Raises:
        ArgumentError: a measure is unknown or none is given, or ``ax`` does not fit.
        ArgumentTypeError: ``mixing`` is something else.

    Examples::

        >>> mixing = context_mixing(explainer, "speech.flac", target="the cat")
        >>> plot_context_mixing(mixing).savefig("mixing.png")
    """
    if not callable(getattr(mixing, "shares", None)):
        raise ArgumentTypeError(f"mixing must be what context_mixing returns, got {mixing!r}.")
    chosen = texts("measures", measures)
    if not chosen or not set(chosen) <= set(_NAMES):
        raise ArgumentError(f"measures must be of {tuple(_NAMES)}, at least one, got {chosen}.")
    layers, note = first_of(range(len(mixing.shares(chosen[0]))), _MOST_LAYERS, "layers")
    rows, columns = len(layers), len(chosen)
    height = 0.9 + 0.16 * min(len(mixing.targets), _MOST_NAMES)
    size = (_INCHES * columns + 1.2, height * rows + 0.5)
    figure, axes = panels(ax, size, rows, columns, sharex=True, sharey=True)
    grid = np.array(axes, dtype=object).reshape(rows, columns)
    for layer in layers:
        for column, measure in enumerate(chosen):
            own = grid[layer, column]
            values = _draw(own, mixing, measure, layer)
            largest = np.nanmax(values) if np.isfinite(values).any() else 0.0
            own.set_title(
                f"layer {layer + 1}: {_NAMES[measure]}, up to {largest:.2f}", fontsize="small"
            )
            # Axes of the user's own need not share theirs.
            is_last, is_first = layer == rows - 1, column == 0
            _name_axes(own, mixing, is_last or ax is not None, is_first or ax is not None)
    if note and ax is None:
        figure.suptitle(note, fontsize="small")
    return finished(figure, *axes)


def _draw(axes: Axes, mixing: MixingLike, measure: str, layer: int) -> np.ndarray[Any, Any]:
    if mixing.frame_groups is None:
        values = mixing.token_map(measure, layer).numpy()
        extent = (-0.5, len(mixing.sources) - 0.5, len(mixing.targets) - 0.5, -0.5)
    else:
        values = mixing.time_map(measure, layer).numpy()
        times = mixing.frame_times.numpy()
        half = (times[-1] - times[0]) / max(1, len(times) - 1) / 2
        extent = (times[0] - half, times[-1] + half, len(mixing.targets) - 0.5, -0.5)
    axes.imshow(values, cmap="Blues", vmin=0, aspect="auto", extent=extent, interpolation="nearest")
    return values


def _name_axes(axes: Axes, mixing: MixingLike, is_last: bool, is_first: bool) -> None:
    """Names at the outer panels alone."""
    if is_first:
        step = -(-len(mixing.targets) // _MOST_NAMES)
        names = [label(name.strip() or name, 14) for name in mixing.targets[::step]]
        axes.set_yticks(
            range(0, len(mixing.targets), step), names, parse_math=False, fontsize="x-small"
        )
        if mixing.part == "encoder":
            axes.set_ylabel("time of the target in s", fontsize="small")
    if not is_last:
        return
    if mixing.frame_groups is not None:
        axes.set_xlabel("time in s")
        return
    step = -(-len(mixing.sources) // _MOST_NAMES)
    names = [label(name.strip() or name, 14) for name in mixing.sources[::step]]
    axes.set_xticks(
        range(0, len(mixing.sources), step), names, parse_math=False, fontsize="x-small",
        rotation=90,
    )  # fmt: skip
    axes.set_xlabel("previous token")
