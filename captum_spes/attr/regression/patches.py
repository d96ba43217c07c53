"""Patches of several segmentations of the same elements, and what they have in common."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

# Effects are sums over patches of at most this many levels: the coarsest, the finest, some between.
_SCALES = 5


class Patches:
    """The patches of all levels; effects are sums over the patches of some levels, the scales.

    Everything is a sum over elements of a patch, so that the cost grows with elements times
    levels, not with pairs of patches.

    Args:
        columns (list[Tensor]): Of each level, the patch of every element; one past the last for
            none, int64 ``(elements,)``.
        n_patches (list[int]): Number of patches of each level.
        weights (Tensor): How much an element counts, ``(elements,)``, 0 or more.

    Attributes:
        scales: levels from the coarsest to the finest, evenly spaced in their order.
        is_perturbed: whether an element belongs to a patch of any level.
    """

    def __init__(self, columns: list[Tensor], n_patches: list[int], weights: Tensor) -> None:
        self._columns, self._n_patches = columns, n_patches
        self.weights = weights
        self.is_perturbed = torch.zeros_like(weights, dtype=torch.bool)
        for column, count in zip(columns, n_patches, strict=True):
            self.is_perturbed |= column < count
        levels = [level for level, count in enumerate(n_patches) if count]
        by_size = sorted(levels, key=lambda level: n_patches[level])
        count = min(_SCALES, len(by_size))
        steps = torch.linspace(0, len(by_size) - 1, count, device="cpu").tolist()
        self.scales = [by_size[round(step)] for step in steps]
        self._elements = {scale: self._by_patch(scale) for scale in self.scales}

    def _by_patch(self, scale: int) -> tuple[Tensor, Tensor, Tensor]:
        """Elements patch after patch, where the elements of each patch begin, their weights."""
        column = self._columns[scale]
        sizes = torch.bincount(column, minlength=self._n_patches[scale] + 1)[:-1]
        order = column.argsort(stable=True)[: int(sizes.sum())]
        return order, sizes.cumsum(0) - sizes, self.weights[order].float()

    def of_scales(self, scales: list[int]) -> Patches:
        """The same with some of the scales."""
        patches = copy.copy(self)
        patches.scales = scales
        return patches

    @property
    def sizes(self) -> list[int]:
        """How many patches each scale has."""
        return [self._n_patches[scale] for scale in self.scales]

    @property
    def elements_per_finest(self) -> float:
        """Elements of a patch of the finest level, on average."""
        return float(self.is_perturbed.sum()) / max(1, *self._n_patches)

    def removed(self, level: int, masks: Tensor) -> Tensor:
        """Weight that masks of a level remove from the patches of all scales.

        Args:
            level (int): The level.
            masks (Tensor): ``(samples, patches)``, what of each patch is removed.

        Returns:
            *Tensor* of shape ``(patches of all scales, samples)``, float32.
        """
        table = pad(masks.float().T, (0, 0, 0, 1)).contiguous()
        parts = []
        for scale in self.scales:
            order, starts, weights = self._elements[scale]
            columns = self._columns[level][order]
            parts.append(
                embedding_bag(columns, table, starts, mode="sum", per_sample_weights=weights)
            )
        return torch.cat(parts)

    def spread(self, values: Tensor) -> Tensor:
        """Sums over the scales: ``(outputs, patches of all scales)`` to ``(outputs, elements)``."""
        total = values.new_zeros(len(self.weights), len(values))
        for scale, own in zip(self.scales, values.T.split(self.sizes), strict=True):
            total += pad(own, (0, 0, 0, 1)).index_select(0, self._columns[scale])
        return total.T

    def smoothed(self, values: Tensor) -> Tensor:
        """Sums over patches spread over their elements by weight, ``(outputs, elements)``: the mean
        of all scales."""
        table, sums = values.T.contiguous(), []
        for scale, totals in zip(self.scales, self.totals, strict=True):
            order, starts, _ = self._elements[scale]
            own = embedding_bag(order, table, starts, mode="sum")
            sums.append(own / totals.to(own).clamp(min=1e-30)[:, None])
        return self.spread(torch.cat(sums).T) * self.weights.to(values) / len(self.scales)

    def sums_of_removed(self, level: int, masks: Tensor, values: Tensor) -> Tensor:
        """Sums over the elements that masks of a level remove: ``(outputs, elements)`` to
        ``(outputs, samples)``."""
        sums = values.new_zeros(self._n_patches[level] + 1, len(values))
        sums.index_add_(0, self._columns[level], values.T.contiguous())
        return sums[:-1].T @ masks.to(values).T

    def average(self, values: Tensor) -> Tensor:
        """Means over patches: ``(outputs, elements)`` to ``(outputs, patches of all scales)``."""
        table = values.T.contiguous()
        means = []
        for scale in self.scales:
            order, starts, _ = self._elements[scale]
            means.append(embedding_bag(order, table, starts, mode="mean"))
        return torch.cat(means).T

    @property
    def totals(self) -> list[Tensor]:
        """Weight of every patch, scale by scale."""
        totals = []
        for scale in self.scales:
            order, starts, weights = self._elements[scale]
            ones = weights.new_ones(len(self.weights), 1)
            own = embedding_bag(order, ones, starts, mode="sum", per_sample_weights=weights)
            totals.append(own[:, 0])
        return totals
