"""The figure of frequency profiles. It is returned, never shown."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray
from scipy.special import stdtrit

from captum_spes.errors import ArgumentError
from captum_spes.plotting.analysis import FindingsLike, table_of
from captum_spes.plotting.figure import (
    TICKS_HZ,
    Colour,
    colour,
    finished,
    first_of,
    inches_wide,
    label,
    legend_beside,
    panel,
)

# The last of the mel bins themselves has no upper end.
_HIGHEST_HZ = 8000.0
# As many colours are told apart.
_MOST_UNITS = 10
# Of fewer occurrences an interval spans most of the picture and tells nothing; more intervals than
# these hide each other.
_FEWEST_OCCURRENCES, _MOST_INTERVALS = 4, 4
# Inches of axes that have room for a label at every octave.
_WIDE = 3.4
_MARKERS = "osD^vPX"


class BandLike(Protocol):
    """What is drawn of a :class:`captum_spes.maps.Band`."""

    @property
    def name(self) -> str: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


class ProfilesLike(FindingsLike, Protocol):
    """What is drawn of :class:`captum_spes.analysis.Profiles`."""

    @property
    def bands(self) -> Sequence[BandLike]: ...


def plot_profiles(
    profiles: ProfilesLike,
    units: Sequence[str] | None = None,
    *,
    by: str = "unit",
    ax: Axes | None = None,
) -> Figure:
    r"""
    Draw the mean frequency profiles of words, phones or groups (Figure 7 of the paper).

    Args:

        profiles (Profiles): Of :func:`frequency_profiles` or :func:`compare_profiles`.
        units (sequence of str, optional): What to draw; the first ten of them.
                    Default: None, the six most frequent
        by (str, optional): The column that holds them: "unit" or "group".
                    Default: "unit"
        ax (matplotlib Axes, optional): What to draw into; the legend stands beside it.
                    Default: None, a new figure

    Returns:
        *matplotlib.figure.Figure*, not shown: that of ``ax``, or a new one. Means over the
        occurrences, dashed where there are fewer than four. Of up to four units those with four
        occurrences or more have a 95 % interval, which takes occurrences for independent.

    Raises:
        ArgumentError: one of ``units`` does not occur.

    Examples::

        >>> aligned = align_results({"speech": result}, {"speech": alignment})
        >>> plot_profiles(frequency_profiles(aligned.results), ["the"]).savefig("the.png")
    """
    rows = table_of(profiles)
    counts = rows[by].value_counts()
    if not len(counts):
        raise ArgumentError(f"there is nothing to draw: no row has a {by}.")
    wanted = list(counts.index[:6]) if units is None else list(units)
    missing = [unit for unit in wanted if unit not in counts]
    if missing:
        raise ArgumentError(f"{', '.join(map(str, missing))} does not occur in {by!r}.")
    bands = [band for band in profiles.bands if not rows[band.name].isna().all()]
    drawn, note = first_of(wanted, _MOST_UNITS, "units")
    figure, axes = panel(ax, 7.0, 4.0)
    axes.set_title(note)
    places = _label_bands(axes, bands)
    names = [band.name for band in bands]
    for index, unit in enumerate(drawn):
        values = rows.loc[rows[by] == unit, names].to_numpy(dtype=float)
        has_interval = len(drawn) <= _MOST_INTERVALS and len(values) >= _FEWEST_OCCURRENCES
        _draw_unit(axes, places, values, f"{label(unit)} (n = {len(values)})", index)
        if has_interval:
            _draw_interval(axes, places, values, colour(index))
    axes.set_ylabel("saliency (normalised)")
    has_rare = any(counts[unit] < _FEWEST_OCCURRENCES for unit in drawn)
    legend_beside(axes, _legend_title(bool(axes.collections), has_rare))
    return finished(figure, axes)


def _legend_title(has_intervals: bool, has_rare: bool) -> str:
    title = "mean and 95 % interval" if has_intervals else "mean"
    return f"{title}\ndashed: n below {_FEWEST_OCCURRENCES}" if has_rare else title


def _label_bands(axes: Axes, bands: Sequence[BandLike]) -> list[float]:
    """Bands that follow on each other make an axis of frequency; others are named side by side."""
    if all(one.high == other.low for one, other in pairwise(bands)):
        axes.set_xscale("log")
        ticks = TICKS_HZ if inches_wide(axes) > _WIDE else TICKS_HZ[::2]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("frequency (Hz)")
        return [(band.low + min(band.high, _HIGHEST_HZ)) / 2 for band in bands]
    places = [float(place) for place in range(len(bands))]
    axes.set_xticks(places, [label(band.name) for band in bands], parse_math=False)
    axes.set_xlabel("band")
    return places


def _draw_unit(
    axes: Axes, places: Sequence[float], values: NDArray[np.float64], name: str, index: int
) -> None:
    is_rare = len(values) < _FEWEST_OCCURRENCES
    axes.plot(
        places,
        values.mean(0),
        color=colour(index),
        linestyle="--" if is_rare else "-",
        linewidth=1.0 if is_rare else 1.8,
        marker=_MARKERS[index % len(_MARKERS)],
        markersize=4,
        # Marks tell lines apart in print without colour; as many as can be seen.
        markevery=max(1, len(places) // 24),
        label=name,
    )


def _draw_interval(
    axes: Axes, places: Sequence[float], values: NDArray[np.float64], shade: Colour
) -> None:
    error = values.std(0, ddof=1) / np.sqrt(len(values))
    # Student's t: half of what lies outside the interval lies above it.
    margin = stdtrit(len(values) - 1, 0.975) * error
    mean = values.mean(0)
    low, high = np.clip(mean - margin, 0, 1), np.clip(mean + margin, 0, 1)
    axes.fill_between(places, low, high, color=shade, alpha=0.15, linewidth=0)
