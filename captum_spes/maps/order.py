"""Which cells of a map come first."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError, several, whole_number


def top_cells(saliency_map: Tensor, counts: Sequence[int]) -> Tensor:
    r"""
    Mark the cells of a map with the highest scores.

    Among equal scores the later cell in time-major order goes first.

    Args:

        saliency_map (Tensor): ``(time, freq)``, finite.
        counts (sequence of int): How many cells to mark.

    Returns:
        *Tensor*: bool ``(counts, time, freq)``.

    Raises:
        ArgumentError: the map is not two-dimensional or not finite, or a count is below 0.

    Examples::

        >>> top_cells(torch.tensor([[0.0, 1.0], [2.0, 3.0]]), [1])
        tensor([[[False, False],
                 [False,  True]]])
    """
    if not isinstance(saliency_map, Tensor):
        raise ArgumentTypeError(
            f"saliency_map must be a Tensor, got {type(saliency_map).__name__}."
        )
    if saliency_map.dim() != 2 or not bool(torch.isfinite(saliency_map).all()):
        raise ArgumentError(
            f"saliency_map must be (time, freq) and finite, got shape {tuple(saliency_map.shape)}."
        )
    wanted = [whole_number("each of counts", n, 0) for n in several("counts", counts, "numbers")]
    flat = saliency_map.reshape(-1)
    ascending = torch.argsort(flat, stable=True)
    rank_from_top = torch.empty_like(ascending)
    rank_from_top[ascending] = torch.arange(len(flat) - 1, -1, -1, device=flat.device)
    masks = rank_from_top[None] < torch.tensor(wanted, device=flat.device)[:, None]
    return masks.reshape(len(wanted), *saliency_map.shape)
