"""How many patches segmentation levels have, and how many levels differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, instance_of, several


@dataclass(frozen=True)
class LevelSummary:
    """Patches of each segmentation level, and how many levels differ.

    Attributes:
        n_patches: number of patches of each level.
        n_distinct: number of levels that are not the same partition as an earlier one.
    """

    n_patches: tuple[int, ...]
    n_distinct: int

    def __str__(self) -> str:
        levels = len(self.n_patches)
        patches = ", ".join(str(n) for n in self.n_patches)
        return f"{levels} levels of {patches} patches, {self.n_distinct} distinct"


def describe_levels(feature_masks: Sequence[Tensor]) -> LevelSummary:
    r"""
    Count the patches of segmentation levels and the levels that differ.

    The paper's three scales coincide for most clips (see :func:`slic_feature_mask`); this
    says how many scales a clip really has.

    Args:

        feature_masks (sequence of Tensor): One mask per level, all of one shape, as
                    :func:`slic_feature_mask` and :func:`grid_feature_mask` return them.

    Returns:
        *LevelSummary* with ``n_patches`` and ``n_distinct``.

    Raises:
        ArgumentError: there is no level, or the shapes differ.

    Examples::

        >>> masks = grid_feature_mask(torch.zeros(8, 8), n_patches=(4, 4, 16))
        >>> print(describe_levels(masks))
        3 levels of 4, 4, 16 patches, 2 distinct
    """
    masks = several("feature_masks", feature_masks, "a sequence of Tensors")
    for mask in masks:
        instance_of("each of feature_masks", mask, Tensor, "a Tensor")
    masks = [mask.cpu() for mask in masks]
    if not masks or any(mask.shape != masks[0].shape for mask in masks):
        raise ArgumentError("give at least one level, and levels of one shape.")
    canonical = [_in_order_of_appearance(mask) for mask in masks]
    distinct: list[Tensor] = []
    for mask in canonical:
        if not any(torch.equal(mask, other) for other in distinct):
            distinct.append(mask)
    return LevelSummary(
        n_patches=tuple(len(torch.unique(mask[mask >= 0])) for mask in masks),
        n_distinct=len(distinct),
    )


def _in_order_of_appearance(mask: Tensor) -> Tensor:
    """Relabel so that equal partitions are equal tensors whatever their labels were."""
    flat = mask.reshape(-1)
    _, inverse = torch.unique(flat, return_inverse=True)
    first = torch.full((int(inverse.max()) + 1,), len(flat), device=flat.device)
    first.scatter_reduce_(0, inverse, torch.arange(len(flat), device=flat.device), reduce="amin")
    return torch.argsort(torch.argsort(first))[inverse].reshape(mask.shape)
