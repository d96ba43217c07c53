"""How compact a map is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError, instance_of, real_number, several
from captum_spes.maps import Maps
from captum_spes.maps.normalize import check_maps
from captum_spes.metrics.curves import Curve, mean_counts, mean_score
from captum_spes.speech import SpeechToTextAttributionResult

_SIDES = ("spectrogram", "previous tokens")


def size_curve(
    results: SpeechToTextAttributionResult
    | Maps
    | Sequence[SpeechToTextAttributionResult]
    | Sequence[Maps],
    step: float = 0.05,
    *,
    side: str = "spectrogram",
) -> Curve:
    r"""
    Measure which share of a map's cells scores at least 0, 0.05, ..., 1
    (arXiv 2411.01710, section 5). Lower is more compact.

    All cells of all tokens of an utterance count together, and the shares are averaged over
    utterances.

    Args:

        results (SpeechToTextAttributionResult, Maps, or sequence of either): Explanations,
                    which are normalised first, or maps that lie in [0, 1] already.
        step (float, optional): Distance between thresholds, in (0, 1]; it must divide 1.
                    Default: 0.05
        side (str, optional): "spectrogram" or "previous tokens" (those before the explained
                    token).
                    Default: "spectrogram"

    Returns:
        *Curve*: x are thresholds, y percent of the cells; its ``auc`` is the paper's size.

    Raises:
        ArgumentError: there is no result, or one has no map of the side asked for.

    Examples::

        >>> size = size_curve(result).auc
    """
    if not isinstance(side, str) or side not in _SIDES:
        raise ArgumentError(f"side must be one of {_SIDES}, got {side!r}.")
    kinds = (SpeechToTextAttributionResult, Maps)
    given = [results] if isinstance(results, kinds) else several("results", results, "explanations")
    if not given:
        raise ArgumentError("size_curve needs at least one explanation.")
    for one in given:
        instance_of("each of results", one, kinds, "a SpeechToTextAttributionResult or Maps")
        if isinstance(one, Maps):
            check_maps(*one)
    thresholds = steps_of(step)
    shares = np.stack([size_shares(_normalized(r), thresholds, side) for r in given])
    return Curve(f"size, {side}", "cells", tuple(thresholds), mean_counts(shares), mean_score)


def size_shares(maps: Maps, thresholds: Sequence[float], side: str) -> NDArray[np.float64]:
    """Percent of one utterance's cells at or above each threshold."""
    values = maps.spectrogram_attr if side == "spectrogram" else maps.token_attr
    if values is None:
        raise ArgumentError("the explanation has no map of previous tokens.")
    cells = values[~torch.isnan(values)]
    return np.array([100 * _share(cells, threshold) for threshold in thresholds])


def steps_of(step: float, full: float = 1.0) -> list[float]:
    """0, step, ..., full; multiples, since sums of 0.05 drift."""
    step = real_number("step", step)
    if not 0 < step <= 1 or abs(round(1 / step) - 1 / step) > 1e-9:
        raise ArgumentError(f"step must divide 1 into equal parts, got {step}.")
    count = round(1 / step)
    return [round(full * i / count, 10) for i in range(count + 1)]


def _share(cells: Tensor, threshold: float) -> float:
    # The threshold in the precision of the map: 0.3 as a double is above 0.3 as a float.
    return float(
        (cells >= torch.tensor(threshold, dtype=cells.dtype, device=cells.device)).double().mean()
    )


def _normalized(result: SpeechToTextAttributionResult | Maps) -> Maps:
    return result if isinstance(result, Maps) else result.normalized()
