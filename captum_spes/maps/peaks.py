"""Where along an axis a map is strongest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import uniform_filter1d


class Peak(NamedTuple):
    """The strongest stretch of an axis, in the unit of its coordinates."""

    start: float
    peak: float
    end: float


# Differences of this share of the largest value are rounding.
_ROUNDING = 1e-6


def is_constant(maps: ArrayLike, axis: int) -> bool:
    r"""
    Whether maps say nothing along an axis: all values that differ only there are equal.

    Args:

        maps (array): Of any shape.
        axis (int): The axis, negative from the end.

    Returns:
        *bool*

    Examples::

        >>> is_constant([[1.0, 1.0], [2.0, 2.0]], 1), is_constant([[1.0, 1.0], [2.0, 2.0]], 0)
        (True, False)
    """
    values = np.asarray(maps)
    return bool(np.ptp(values, axis=axis).max() <= _ROUNDING * np.abs(values).max())


def strongest_span(profile: ArrayLike, coordinates: ArrayLike, smoothing: int = 1) -> Peak:
    r"""
    Find the stretch around the maximum of a profile that stays above half its height.

    Half height is measured from the median, which is what an axis without any pattern
    would show.

    Args:

        profile (array of shape (n,)): A map averaged over the other axis.
        coordinates (array of shape (n,)): Position of each entry, in seconds or Hz.
        smoothing (int, optional): Width in entries of the moving average taken first.
                    Default: 1

    Returns:
        *Peak*: start, maximum and end of the stretch, in the unit of ``coordinates``.

    Examples::

        >>> strongest_span([0, 0, 2, 4, 2, 0, 0], [0, 1, 2, 3, 4, 5, 6])
        Peak(start=2.0, peak=3.0, end=4.0)
    """
    values = uniform_filter1d(np.asarray(profile, dtype=float), smoothing, mode="nearest")
    positions = np.asarray(coordinates, dtype=float)
    top = int(values.argmax())
    half = (values[top] + np.median(values)) / 2
    below = np.flatnonzero(values < half)
    start = below[below < top].max(initial=-1) + 1
    end = below[below > top].min(initial=len(values)) - 1
    return Peak(float(positions[start]), float(positions[top]), float(positions[end]))
