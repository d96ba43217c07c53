"""Figures of agreement across training seeds. They are returned, never shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from captum_spes.errors import several
from captum_spes.plotting.figure import (
    Colour,
    as_written,
    colour,
    finished,
    first_of,
    label,
    legend_beside,
    panels,
)

# Boxes and gaps in a row of a picture.
_WIDEST = 50
# What one picture holds.
_MOST_BOXES = 300
_MOST_PANELS = 8
_MOST_NAMES = 30
_INPUTS = ("waveform", "spectrogram", "encoder")


class ConditionLike(Protocol):
    """What is read of a :class:`captum_spes.stability.Condition`."""

    @property
    def input(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def perturbed(self) -> str: ...
    @property
    def reported(self) -> str: ...


class AgreementLike(Protocol):
    """What is read of a :class:`captum_spes.metrics.Agreement`."""

    @property
    def chance(self) -> float: ...
    @property
    def mean(self) -> float: ...
    def interval(self) -> tuple[float, float]: ...


class ConditionAgreementLike(Protocol):
    """What is drawn of a :class:`captum_spes.stability.ConditionAgreement`."""

    @property
    def condition(self) -> ConditionLike: ...
    @property
    def between(self) -> AgreementLike: ...
    @property
    def of_utterances(self) -> NDArray[np.float64]: ...
    @property
    def self_agreement(self) -> NDArray[np.float64]: ...
    @property
    def is_random(self) -> bool: ...
    @property
    def passes(self) -> float: ...
    @property
    def n_units(self) -> float: ...


# Units, perturbed and reported, to the conditions whose boxes stand together.
_Groups = dict[str, list[ConditionAgreementLike]]


def agreement_figure(
    found: Sequence[ConditionAgreementLike],
    title: str,
    *,
    acceptable: float,
    ax: Sequence[Axes] | None = None,
) -> Figure:
    """Draw the agreement of conditions as boxes over utterances.

    Args:
        found: conditions of one task.
        title: of every row, before its input.
        acceptable: agreement that a dotted line marks.
        ax: what to draw into, one for each row.

    Returns:
        A figure, not shown, with a row per input. A box spans the quartiles over utterances; the
        dashed line is chance, the diamond the agreement of one model with itself.
    """
    found, note = first_of(several("found", found, "conditions"), _MOST_BOXES, "conditions")
    methods = list(dict.fromkeys(one.condition.method for one in found))
    colours = {name: colour(number) for number, name in enumerate(methods)}
    rows = [
        (name, groups)
        for name in _inputs(found)
        for groups in _wrapped(_grouped([one for one in found if one.condition.input == name]))
    ]
    widest = max(_width(groups) for _, groups in rows)
    size = max(7.0, 1.5 + 0.24 * widest), 0.7 + 2.6 * len(rows)
    figure, row_axes = panels(ax, size, len(rows), 1)
    for axes, (name, groups) in zip(row_axes, rows, strict=True):
        _draw_groups(axes, groups, colours)
        axes.axhline(acceptable, color="gray", lw=0.8, ls=":")
        axes.set_ylabel("inter-seed agreement")
        axes.set_title(f"{label(title)}, {name}", loc="left", parse_math=False)
    row_axes[0].set_title(note, loc="right", fontsize="medium")
    _explain_boxes(row_axes[-1], methods, colours, acceptable)
    return finished(figure, *row_axes)


def _explain_boxes(
    lowest: Axes, methods: Sequence[str], colours: dict[str, Colour], acceptable: float
) -> None:
    """A legend below the lowest row."""
    handles: list[Any] = [Patch(color=colours[name], label=name) for name in methods[:_MOST_NAMES]]
    if len(methods) > _MOST_NAMES:
        handles.append(Patch(color="none", label=f"{len(methods) - _MOST_NAMES} more methods"))
    handles += [
        Line2D([], [], color="black", linestyle="--", label="chance"),
        Line2D([], [], color="black", marker="D", mfc="white", linestyle="", label="ceiling"),
        Line2D([], [], color="gray", linewidth=0.8, linestyle=":", label=f"{acceptable}"),
    ]
    legend = lowest.legend(
        handles=handles,
        loc="upper center",
        # Below the two lines of the labels of ticks, whatever the height of the row.
        bbox_to_anchor=(0.5, -0.5 / (lowest.get_window_extent().height / lowest.figure.dpi)),
        ncols=min(len(handles), 5),
    )
    as_written(legend.get_texts())


def cost_figure(
    found: Sequence[ConditionAgreementLike], title: str, *, ax: Sequence[Axes] | None = None
) -> Figure:
    """Draw the agreement of conditions by the number of forward passes that it costs.

    Args:
        found: conditions of one task, some methods with several numbers of samples.
        title: of every panel, before its input and unit.
        ax: what to draw into, one for each panel.

    Returns:
        A figure, not shown, with a panel per input and unit: agreement with its 95 % interval,
        dashed the agreement of each model with itself, dotted chance.
    """
    found = several("found", found, "conditions")
    names = list(dict.fromkeys(_method(one) for one in found))[:_MOST_NAMES]
    of_panels: dict[tuple[str, str], list[ConditionAgreementLike]] = {}
    for one in found:
        of_panels.setdefault((one.condition.input, one.condition.reported), []).append(one)
    drawn, note = first_of(list(of_panels.items()), _MOST_PANELS, "inputs and units")
    figure, row = panels(ax, (3.4 + 4 * len(drawn), 3.6), 1, len(drawn), sharey=True)
    for axes, ((stage, unit), of_panel) in zip(row, drawn, strict=True):
        for number, name in enumerate(names):
            _draw_cost(axes, of_panel, name, colour(number))
        axes.axhline(of_panel[0].between.chance, color="black", ls=":", label="chance")
        axes.set_xscale("log")
        axes.set_xlabel("forward passes")
        axes.set_ylim(0, 1.03)
        shown = f"{label(title)}, {stage}, {unit}"
        axes.set_title(shown, loc="left", fontsize="medium", parse_math=False)
    row[0].set_ylabel("agreement")
    if note:
        row[0].set_xlabel(f"forward passes\n{note}")
    lines = zip(*row[0].get_legend_handles_labels(), strict=True)
    handles = {name: handle for handle, name in lines}
    legend_beside(row[-1], None, handles=handles.values(), labels=handles.keys(), fontsize="small")
    return finished(figure, *row)


def _method(found: ConditionAgreementLike) -> str:
    """The name that stands before the number of samples: "lime" of "lime@25"."""
    return found.condition.method.partition("@")[0]


def _inputs(found: Sequence[ConditionAgreementLike]) -> list[str]:
    """From the waveform up through the model, then those of a user's own model."""
    own = list(dict.fromkeys(one.condition.input for one in found))
    return [name for name in _INPUTS if name in own] + [name for name in own if name not in _INPUTS]


def _grouped(found: Sequence[ConditionAgreementLike]) -> _Groups:
    """Boxes that stand together: the same units, the coarsest reported ones last."""
    order = sorted(found, key=lambda one: -one.n_units)
    groups: _Groups = {}
    for reported in dict.fromkeys(one.condition.reported for one in order):
        for one in found:
            if one.condition.reported == reported:
                name = f"{one.condition.perturbed}\n→ {reported}"
                groups.setdefault(name, []).append(one)
    return groups


def _width(groups: _Groups) -> int:
    """Boxes and the gaps between groups."""
    return sum(len(group) + 1 for group in groups.values())


def _wrapped(groups: _Groups) -> list[_Groups]:
    """Rows of about the same width."""
    n_rows = math.ceil(_width(groups) / _WIDEST)
    rows: list[_Groups] = [{}]
    for name, group in groups.items():
        if len(rows) < n_rows and _width(rows[-1]) >= _width(groups) / n_rows:
            rows.append({})
        rows[-1][name] = group
    return rows


def _draw_groups(axes: Axes, groups: _Groups, colours: dict[str, Colour]) -> None:
    place, ticks = 0.0, []
    for group in groups.values():
        first = place
        for one in group:
            _draw_box(axes, place, one, colours[one.condition.method])
            place += 1
        ticks.append((first + place - 1) / 2)
        place += 1
    axes.set_xticks(ticks, list(groups))
    axes.set_xlim(-1, place - 1)
    axes.set_ylim(-0.03, 1.05)


def _draw_box(axes: Axes, place: float, found: ConditionAgreementLike, shade: Colour) -> None:
    known = found.of_utterances[np.isfinite(found.of_utterances)]
    box = axes.boxplot(known, positions=[place], widths=0.8, patch_artist=True, showfliers=False)
    box["boxes"][0].set_facecolor(shade)
    # A box without height is its median, which then tells the method.
    is_flat = known.size == 0 or np.ptp(np.quantile(known, [0.25, 0.75])) == 0
    box["medians"][0].set(color=shade if is_flat else "black", linewidth=4 if is_flat else 1)
    chance = found.between.chance
    axes.plot([place - 0.5, place + 0.5], [chance, chance], "--", color="black", lw=1.2)
    ceiling = _ceiling(found)
    if np.isfinite(ceiling):
        axes.plot(place, ceiling, "D", color="black", ms=4, mfc="white")


def _draw_cost(
    axes: Axes, found: Sequence[ConditionAgreementLike], name: str, shade: Colour
) -> None:
    """One method: each way to perturb is a line over its numbers of samples."""
    of_method = [one for one in found if _method(one) == name]
    for perturbed in dict.fromkeys(one.condition.perturbed for one in of_method):
        line = sorted(
            (one for one in of_method if one.condition.perturbed == perturbed),
            key=lambda one: one.passes,
        )
        passes = [one.passes for one in line]
        means = [one.between.mean for one in line]
        intervals = np.array([one.between.interval() for one in line])
        errors = np.abs(intervals.T - means)
        shown = name if perturbed == "cell" else f"{name}, {perturbed}"
        axes.errorbar(passes, means, errors, color=shade, marker="o", ms=4, capsize=2, label=shown)
        if line[0].is_random:
            ceilings = [_ceiling(one) for one in line]
            axes.plot(passes, ceilings, "--", color=shade, marker="D", ms=3, mfc="white",
                      label=f"{shown}, ceiling")  # fmt: skip


def _ceiling(found: ConditionAgreementLike) -> float:
    """Mean agreement of one model with itself; NaN where nothing tells it."""
    known = found.self_agreement[np.isfinite(found.self_agreement)]
    return float(known.mean()) if known.size else float("nan")
