"""How much of a map is sampling noise, estimated from the samples that made it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, instance_of, open_share, positive_number


def split_half_reliability(first: Tensor, second: Tensor, odds_exponent: float = 1.0) -> Tensor:
    r"""
    Estimate the reliability of the mean of two half maps.

    Let r be the correlation, over elements, between the maps of the two halves. Two maps from as
    many samples as both halves have would correlate by :math:`2r / (1 + r)` (Spearman and Brown):
    twice the samples double the odds :math:`r / (1 - r)`. This is the share of the map's variance
    that is not sampling noise.

    An estimator that shrinks the effects that few samples show gains more than a mean where the
    halves agree little, and less where they agree much. As measured, its odds are twice a power
    of the halves' odds, with the exponent ``odds_exponent``.

    Args:

        first (Tensor): ``(rows, elements)``: the maps of one half of the samples; NaN where an
                    element does not count.
        second (Tensor): The same of the other half.
        odds_exponent (float, optional): The estimator's exponent, see above, in (0, 1].
                    Default: 1, for a mean

    Returns:
        *Tensor* of shape ``(rows,)``, float64, in [0, 1]: 0 where the halves do not agree at
        all, NaN where a map is constant or has fewer than three elements.

    Source: Spearman, "Correlation calculated from faulty data", and Brown, "Some experimental
    results in the correlation of mental abilities", British Journal of Psychology 3 (1910).

    Examples::

        >>> first, second = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[1.0, 3.0, 3.0]])
        >>> round(float(split_half_reliability(first, second)), 2)
        0.86
    """
    for name, half in (("first", first), ("second", second)):
        instance_of(name, half, Tensor, "a Tensor")
        if half.dim() < 2 or half.shape != first.shape:
            raise ArgumentError(
                f"{name} must be (rows, elements) like the other half, got {tuple(half.shape)}."
            )
    odds_exponent = positive_number("odds_exponent", odds_exponent)
    # Row by row: float64 copies of the maps of many outputs would take much memory.
    rows = zip(first, second, strict=True)
    return torch.tensor(
        [_reliability(a, b, odds_exponent) for a, b in rows], dtype=torch.float64, device="cpu"
    )


def check_tolerance(tolerance: float | None) -> None:
    """Raise where ``tolerance`` is neither None nor strictly between 0 and 1."""
    if tolerance is not None:
        open_share("tolerance", tolerance)


def samples_for(
    reliability: float, n_samples: int, wanted: float, odds_exponent: float = 1.0
) -> int | None:
    """How many samples would reach the wanted reliability, given that of ``n_samples``; None if no
    number would."""
    now, then = (math.log2(r / (1 - r)) for r in (reliability, wanted))
    if odds_exponent == 1:
        return round(n_samples * 2 ** (then - now))
    # Every doubling brings the odds nearer to a limit.
    limit = 1 / (1 - odds_exponent)
    if not now < then < limit:
        return None
    doublings = math.log((limit - then) / (limit - now)) / math.log(odds_exponent)
    return round(n_samples * 2**doublings)


def _reliability(first: Tensor, second: Tensor, odds_exponent: float) -> float:
    counts = ~(first.isnan() | second.isnan())
    a, b = (half[counts].double() for half in (first, second))
    if len(a) < 3:
        return math.nan
    a, b = a - a.mean(), b - b.mean()
    scale = float(a.norm() * b.norm())
    if scale == 0:
        return math.nan
    correlation = min(max(float(a @ b) / scale, 0.0), 1.0)
    if correlation == 1:
        return 1.0
    odds: float = 2 * (correlation / (1 - correlation)) ** odds_exponent
    return odds / (1 + odds)
