"""How much of a map is noise of the sampling, from the samples that made it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captum_spes.errors import open_share


def split_half_reliability(first: Tensor, second: Tensor, odds_exponent: float = 1.0) -> Tensor:
    r"""
    Estimate the reliability of the mean of two half maps.

    The correlation r of the maps of two halves of the samples, over elements, is that of two
    maps of half the samples; :math:`2r / (1 + r)` (Spearman and Brown) is that of two
    maps of all of them: twice the samples double the odds :math:`r / (1 - r)`. It is the share of
    the map's variance that is no sampling noise.

    An estimator that shrinks what few samples say gains more than a mean where halves say little
    and less where they say much. Its odds are, as measured, twice a power of those of the halves;
    it names the exponent.

    Args:

        first (Tensor): ``(rows, elements)``: the maps of one half of the samples; NaN where an
                    element does not count.
        second (Tensor): The same of the other half.
        odds_exponent (float, optional): That power of the odds is doubled, in (0, 1].
                    Default: 1, that of a mean

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
    # Row by row: maps of many outputs are large, and float64 copies of all at once larger.
    rows = zip(first, second, strict=True)
    return torch.tensor(
        [_reliability(a, b, odds_exponent) for a, b in rows], dtype=torch.float64, device="cpu"
    )


def check_tolerance(tolerance: float | None) -> None:
    """Raise where ``tolerance`` is no share."""
    if tolerance is not None:
        open_share("tolerance", tolerance)


def samples_for(
    reliability: float, n_samples: int, wanted: float, odds_exponent: float = 1.0
) -> int | None:
    """How many samples give maps of the wanted reliability, if ``n_samples`` gave this one; None
    where no number would."""
    now, then = (math.log2(r / (1 - r)) for r in (reliability, wanted))
    if odds_exponent == 1:
        return round(n_samples * 2 ** (then - now))
    # Every doubling brings the odds nearer to those that a doubling leaves as they are.
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
