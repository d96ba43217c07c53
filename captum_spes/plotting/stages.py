"""How maps change as a model is taken apart. The figure is returned, never shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_spes.errors import ArgumentError, ArgumentTypeError, instance_of
from captum_spes.plotting.figure import (
    colour,
    finished,
    first_of,
    label,
    legend_beside,
    panel,
)

_MOST_METHODS = 30
_LABELS = {
    "spearman": "rank correlation with the original map",
    "overlap": "overlap of the highest cells with the original map",
    "ssim": "structural similarity to the original map",
}


class StagesLike(Protocol):
    """What is drawn of a :class:`captum_spes.metrics.RandomizedWeights`."""

    @property
    def order(self) -> str: ...
    @property
    def stages(self) -> Sequence[str]: ...
    @property
    def chances(self) -> Mapping[str, float]: ...
    def means(self, measure: str = "spearman") -> Any: ...


def plot_stages(
    found: Mapping[str, StagesLike],
    measure: str = "spearman",
    *,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    r"""
    Draw how far the maps of methods still agree with the original ones while a model's weights are
    permuted stage by stage.

    Args:

        found (mapping of str to RandomizedWeights): Label to what
                    :func:`captum_spes.metrics.randomized_weights` returned, all of the same order
                    and stages; the first 30 are drawn.
        measure (str, optional): "spearman", "overlap" or "ssim".
                    Default: "spearman"
        title (str, optional): Default: None, what was permuted in which order
        ax (matplotlib Axes, optional): What to draw into.
                    Default: None, a new figure

    Returns:
        *matplotlib.figure.Figure*, not shown. The dashed line is the agreement of unrelated maps.

    Raises:
        ArgumentError: there is nothing to draw, stages or orders differ, or the measure is unknown.
        ArgumentTypeError: an argument has the wrong type.

    Examples::

        >>> from captum_spes.metrics import randomized_weights
        >>> energy = SpeechToTextAttribution(EnergyMap(model), processor)
        >>> found = randomized_weights(energy, "speech.flac", target="the cat")
        >>> plot_stages({"energy": found}).savefig("stages.png")
    """
    instance_of("found", found, Mapping, "a dictionary of names to RandomizedWeights")
    if measure not in _LABELS:
        raise ArgumentError(f"measure must be one of {', '.join(_LABELS)}, got {measure!r}.")
    for name, one in found.items():
        if not hasattr(one, "stages"):
            raise ArgumentTypeError(f"found must hold RandomizedWeights for {name!r}, got {one!r}.")
    if not found:
        raise ArgumentError("there is nothing to draw.")
    first = next(iter(found.values()))
    if any((one.order, one.stages) != (first.order, first.stages) for one in found.values()):
        raise ArgumentError("all methods must have been tried with the same stages and order.")
    drawn, note = first_of(list(found.items()), _MOST_METHODS, "methods")
    places = np.arange(len(first.stages))
    figure, axes = panel(ax, 5 + 0.35 * len(places), max(5.0, 1.4 + 0.215 * len(drawn)))
    for index, (name, one) in enumerate(drawn):
        style = ("o-", "o--", "o:")[index // 10]
        axes.plot(places, one.means(measure), style, color=colour(index), label=label(name))
    chance = first.chances[measure]
    if np.isfinite(chance):
        axes.axhline(chance, color="0.5", linestyle="--", linewidth=1, label="chance")
    shown = [label(stage, 28) for stage in first.stages]
    axes.set_xticks(
        places, shown, rotation=40, ha="right", rotation_mode="anchor", parse_math=False
    )
    axes.set_ylabel(_LABELS[measure])
    is_cascade = first.order == "cascading"
    own = "permuted from the output down" if is_cascade else "permuted, each stage alone"
    heading = label(own if title is None else title, 90)
    axes.set_title(f"{heading} ({note})" if note else heading, parse_math=False)
    axes.grid(alpha=0.3)
    legend_beside(axes, None)
    return finished(figure, axes)
