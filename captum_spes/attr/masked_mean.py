"""Eq. 3 in patch space: sums over samples that grow with patches, not with cells."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captum_spes.attr.segmentation import Segmentation

# Rows of this many cells are gathered at a time, so that assembling a long spectrogram
# for many tokens needs no second array of that size.
_CELLS_PER_GATHER = 4_000_000


class MaskedMean:
    """Running mean, per feature, of the impact of the samples that perturb the feature.

    Numerators and denominators of all levels are summed before dividing (arXiv
    2411.01710, Eq. 3). They are kept on the CPU in float64: twenty thousand float32
    terms lose digits, and not every device has float64.

    Args:
        levels (list[Segmentation]): The segmentation levels.
        examples (list[int]): Examples that share their masks.
        n_outputs (int): Values that the forward function returns per example.
    """

    def __init__(self, levels: list[Segmentation], examples: list[int], n_outputs: int) -> None:
        self._levels = levels
        self._examples = examples
        self._n_outputs = n_outputs
        rows = len(examples) * n_outputs
        sizes = [level.features_of(examples[0]) for level in levels]
        # One column more than there are features: elements that are never perturbed read it.
        self._numerators = [torch.zeros(rows, n + 1, dtype=torch.float64) for n in sizes]
        self._counts = [torch.zeros(n + 1, dtype=torch.float64) for n in sizes]
        self.n_never_perturbed = 0

    def add(self, level: int, masks: Tensor, impacts: Tensor) -> None:
        """Add samples of one level.

        Args:
            level (int): Index of the level.
            masks (Tensor): bool ``(samples, features)``, True = perturbed.
            impacts (Tensor): float64 ``(samples, examples, outputs)``.
        """
        perturbed = masks.to(torch.float64)
        rows = impacts.reshape(len(masks), -1)
        self._numerators[level][:, :-1] += rows.T @ perturbed
        self._counts[level][:-1] += perturbed.sum(0)

    def write(self, attributions: tuple[Tensor, ...]) -> None:
        """Write the means of this group's examples.

        Also counts in ``n_never_perturbed`` the elements that belong to a feature and that no
        sample has perturbed.

        Args:
            attributions (tuple[Tensor, ...]): One per input, of shape
                ``(batch, outputs, *features)``; rows of this group's examples are filled.
        """
        shared = all(level.is_shared for level in self._levels)
        for i, attribution in enumerate(attributions):
            if shared:
                self._write_rows(i, 0, slice(None), attribution.flatten(0, 1))
                continue
            for position, example in enumerate(self._examples):
                start = position * self._n_outputs
                rows = slice(start, start + self._n_outputs)
                self._write_rows(i, example, rows, attribution[example])

    def _write_rows(self, input_index: int, example: int, rows: slice, out: Tensor) -> None:
        columns = [
            level.columns[input_index][0 if level.is_shared else example].reshape(-1).cpu()
            for level in self._levels
        ]
        counts = torch.zeros(columns[0].shape, dtype=torch.float64)
        is_feature = torch.zeros(columns[0].shape, dtype=torch.bool)
        for count, c in zip(self._counts, columns, strict=True):
            counts += count[c]
            is_feature |= c < len(count) - 1
        self.n_never_perturbed += int(((counts == 0) & is_feature).sum())
        # Where nothing was counted the numerator is 0 as well: 0 / 1 gives the defined 0.
        divisor = counts.clamp(min=1)
        numerators = [numerator[rows] for numerator in self._numerators]
        out = out.view(len(out), math.prod(out.shape[1:]))
        step = max(1, _CELLS_PER_GATHER // max(1, out.shape[1]))
        for start in range(0, len(out), step):
            gathered = torch.zeros(len(out[start : start + step]), out.shape[1]).double()
            for numerator, c in zip(numerators, columns, strict=True):
                gathered += numerator[start : start + step].index_select(1, c)
            out[start : start + step] = (gathered / divisor).to(out.dtype)
