"""Where along an axis a map is strongest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import uniform_filter1d

from captum_spes.errors import ArgumentError, ArgumentTypeError, dimension, whole_number


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
    values = _numbers("maps", maps)
    axis = dimension("axis", axis, values.ndim)
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
    profile, positions = _numbers("profile", profile), _numbers("coordinates", coordinates)
    if profile.ndim != 1 or profile.shape != positions.shape:
        raise ArgumentError(
            f"profile and coordinates must have one shape (n,), got {profile.shape} and "
            f"{positions.shape}."
        )
    values = uniform_filter1d(profile, whole_number("smoothing", smoothing, 1), mode="nearest")
    top = int(values.argmax())
    half = (values[top] + np.median(values)) / 2
    below = np.flatnonzero(values < half)
    start = below[below < top].max(initial=-1) + 1
    end = below[below > top].min(initial=len(values)) - 1
    return Peak(float(positions[start]), float(positions[top]), float(positions[end]))


def _numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        found = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(f"{name} must be an array of numbers: {error}.") from error
    if found.size == 0 or np.isnan(found).any():
        raise ArgumentError(f"{name} must hold numbers, at least one and none of them NaN.")
    return found
