"""Figures of measures over steps. They are returned, never shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_spes.errors import ArgumentError, ArgumentTypeError, instance_of
from captum_spes.plotting.figure import colour, finished, first_of, label, legend_beside, panel

# As many styles of lines are told apart.
_MOST_CURVES = 30
_LABELS = {
    "wer": "word error rate (%)",
    "wer_capped": "word error rate (%), at most 100",
    "cer": "character error rate (%)",
    "cer_capped": "character error rate (%), at most 100",
    "bleu": "BLEU",
    "kl": "KL divergence (nats)",
    "token_accuracy": "tokens ranked first (%)",
    "word_log_probability": "log-probability of the word (nats)",
    "cells": "cells at or above the threshold (%)",
}


class CurveLike(Protocol):
    """What is drawn of a :class:`captum_spes.metrics.Curve`."""

    @property
    def name(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def x(self) -> Sequence[float]: ...
    @property
    def y(self) -> Sequence[float]: ...
    @property
    def auc(self) -> float: ...


def plot_curves(
    curves: Mapping[str, CurveLike], *, title: str | None = None, ax: Axes | None = None
) -> Figure:
    r"""
    Draw curves of one measure into one picture.

    Args:

        curves (mapping of str to Curve): Label to curve; the first 30 are drawn, and the title says
                    so.
        title (str, optional): Default: None, the measure's name
        ax (matplotlib Axes, optional): What to draw into.
                    Default: None, a new figure

    Returns:
        *matplotlib.figure.Figure*, not shown: that of ``ax``, or a new one.

    Raises:
        ArgumentError: there is no curve.

    Examples::

        >>> plot_curves({"SPES": size_curve(result)}).savefig("size.png")
    """
    instance_of("curves", curves, Mapping, "a dictionary of names to curves")
    for name, curve in curves.items():
        if not hasattr(curve, "auc"):
            raise ArgumentTypeError(f"curves must hold a Curve for {name!r}, got {curve!r}.")
    if not curves:
        raise ArgumentError("there is no curve to draw.")
    first = next(iter(curves.values()))
    # Ten colours, then the same ten dashed and dotted.
    drawn, note = first_of(list(curves.items()), _MOST_CURVES, "curves")
    # Beside the picture each has a line of the legend.
    figure, axes = panel(ax, 7, max(4.5, 1.4 + 0.215 * len(drawn)))
    for index, (name, curve) in enumerate(drawn):
        style = ("-", "--", ":")[index // 10]
        shown = f"{label(name)} {curve.auc:.1f}"
        axes.plot(curve.x, curve.y, style, color=colour(index), label=shown)
    is_share = max(first.x) > 1
    has_others = any("least salient first" in curve.name for _, curve in drawn)
    cells = "cells removed (%)" if has_others else "cells, most salient first (%)"
    axes.set_xlabel(cells if is_share else "threshold")
    axes.set_ylabel(_LABELS.get(first.metric, first.metric))
    shown = label(first.name if title is None else title, 90)
    axes.set_title(f"{shown} ({note})" if note else shown, parse_math=False)
    axes.margins(x=0)
    axes.grid(alpha=0.3)
    legend_beside(axes, "area")
    return finished(figure, axes)
