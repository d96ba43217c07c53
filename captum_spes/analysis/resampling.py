"""Intervals by drawing recordings again, the same draws for all that is compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# With fewer groups a bootstrap says nothing.
FEWEST_GROUPS = 5


def draws(n_groups: int, n_resamples: int, seed: int) -> Array:
    """``(resamples, groups)``: how often each group is drawn, all of them once in the first row."""
    generator = np.random.default_rng(seed)
    drawn = generator.multinomial(n_groups, np.full(n_groups, 1 / n_groups), n_resamples)
    return np.vstack([np.ones(n_groups), drawn])


def interval(values: Array) -> tuple[float, float, float]:
    """The first of the values, what was measured, and the 95 % interval of the draws behind it;
    NaN where some draws tell nothing."""
    found = values[1:]
    if not len(found) or np.isnan(found).any():
        return float(values[0]), float("nan"), float("nan")
    low, high = np.quantile(found, [0.025, 0.975])
    return float(values[0]), float(low), float(high)


def numbers_of(names: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    """The number of each name's group, and the groups."""
    groups = list(dict.fromkeys(names))
    place = {name: number for number, name in enumerate(groups)}
    return np.array([place[name] for name in names], dtype=np.int64), groups


def tallies(
    values: NDArray[np.bool_] | Array, groups: NDArray[np.int64], kinds: NDArray[np.int64],
    shape: tuple[int, int],
) -> Array:  # fmt: skip
    """``(groups, kinds)``: the sum of values of each kind in each group."""
    places = groups * shape[1] + kinds
    sums = np.bincount(places, np.asarray(values, dtype=float), shape[0] * shape[1])
    return np.asarray(sums.reshape(shape))
