"""What a prior says beside the regression, and how much the samples bear it out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from captum_spes.attr.prior import PriorMaps
from captum_spes.attr.regression.patches import Patches

# A prior's weight beside the regression is chosen from these: the one with which the effects found
# from one half of the samples best predict the other.
_WEIGHTS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
# It counts this many times as much as what predicts best: what it knows below the size of patches
# does not show in samples, which remove whole patches (benchmarks/few_passes.py).
_BEYOND_SAMPLES = 2.0


class Known:
    """A prior in the terms of the regression.

    Args:
        prior (PriorMaps): The prior.
        patches (Patches): Those of all levels.
        is_never_negative (bool): Whether impacts are.
    """

    def __init__(self, prior: PriorMaps, patches: Patches, is_never_negative: bool) -> None:
        self._prior, self._patches = prior, patches
        self._is_never_negative = is_never_negative
        self._directions = cache(self._direction)

    def beside(self, effects: Tensor, half: int | None = None) -> Tensor:
        """The prior, or that of a half, as large as effects: float64 ``(outputs, elements)``."""
        return self._directions(half).double() * sizes(effects)

    def predicted(self, masks: dict[int, Tensor]) -> Tensor:
        """What it says of samples, in a unit of its own: float64 ``(outputs, samples)``."""
        direction, patches = self._directions(None), self._patches
        of_levels = [
            _centered(patches.sums_of_removed(level, own, direction))
            for level, own in masks.items()
        ]
        return torch.cat(of_levels, 1).double()

    def _direction(self, half: int | None) -> Tensor:
        """In the regression's resolution and in its own, both with the same weight: the one is less
        noisy, the other finer. Of the latter the root, so that single elements do not outweigh all
        others. Float32 ``(outputs, elements)``."""
        own = self._prior.whole if half is None else self._prior.halves[half]
        own = own * self._patches.is_perturbed
        smooth = self._patches.smoothed(own)
        if self._is_never_negative:
            # Removing a cell hardly lowers what is never negative: that is noise, and would make
            # the map less sparse. Sums over patches need it, to cancel.
            own = own.clamp(min=0)
        own = own.sign() * own.abs().sqrt()
        tiny = torch.finfo(own.dtype).tiny
        both = own / sizes(own).clamp(min=tiny) + smooth / sizes(smooth).clamp(min=tiny)
        # A map that is the same everywhere would only tell how much was removed.
        is_perturbed = self._patches.is_perturbed
        mean = both.sum(1, keepdim=True) / is_perturbed.sum().clamp(min=1)
        return (both - mean) * is_perturbed


def weight_beside(parts: Sequence[tuple[Tensor, Tensor, Tensor]]) -> float:
    """How much a prior counts beside effects that were found, for all outputs together.

    Args:
        parts (sequence of tuple): For each half of the samples, of the samples of the other: what
            the half's effects say of them, what the prior says, scaled to these, and the values,
            float64 ``(outputs, samples)`` each.
    """
    if not parts:
        return 1.0
    known, values = (torch.cat([_centered(part[index]) for part in parts], 1) for index in (1, 2))
    scores = [_correlations(*part) for part in parts]
    best = _WEIGHTS[int(torch.stack(scores).mean(0).argmax())]
    return _BEYOND_SAMPLES * best * _trust(known, values)


def _trust(known: Tensor, values: Tensor) -> float:
    """From 0, where a prior predicts the opposite of the values, to 1: how much more of its
    correlation with them is its own than chance's."""
    known, values = (rows / sizes(rows).clamp(min=1e-30) for rows in (known, values))
    correlation = float((known * values).mean())
    # Outputs have their samples in common: how alike they are decides how far chance averages out.
    count = known.shape[1]
    alike = (known @ known.T) * (values @ values.T) / count**2
    chance = math.sqrt(max(0.0, float(alike.mean())) / count)
    if correlation <= 0:
        return 0.0
    return correlation**2 / (correlation**2 + chance**2)


def _correlations(found: Tensor, known: Tensor, values: Tensor) -> Tensor:
    """Of values with predictions in which the prior has each of the weights, mean over outputs."""
    values = _centered(values)
    weights = values.new_tensor(_WEIGHTS)[:, None, None]
    predicted = _centered(found + weights * known)
    scale = (predicted.norm(dim=-1) * values.norm(dim=-1)).clamp(min=1e-30)
    correlations: Tensor = (predicted * values).sum(-1) / scale
    return correlations.mean(1)


def _centered(rows: Tensor) -> Tensor:
    return rows - rows.mean(-1, keepdim=True)


def sizes(rows: Tensor) -> Tensor:
    """Root mean squares of rows, as a column."""
    found: Tensor = rows.square().mean(-1, keepdim=True).sqrt()
    return found
