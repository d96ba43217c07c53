"""Eq. 3 in patch space: sums over samples that grow with patches, not with cells."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captum_spes.attr.estimation import HALVES, Estimation, first_of_half

# Rows of this many cells are gathered at a time, so that assembling a long spectrogram
# for many tokens needs no second array of that size.
_CELLS_PER_GATHER = 4_000_000


class MaskedMean:
    """Running mean, per feature, of the impact of the samples that perturb the feature.

    Numerators and denominators of all levels are summed before dividing (arXiv
    2411.01710, Eq. 3). They are kept on the CPU in float64: twenty thousand float32
    terms lose digits, and not every device has float64. Even and odd samples are summed
    apart: how far the two halves agree tells how much of the mean is noise.

    Args:
        estimation (Estimation): What is to be estimated.
    """

    unseen = "have a score of 0"

    def __init__(self, estimation: Estimation) -> None:
        self._levels = estimation.levels
        self._examples = estimation.examples
        self._n_outputs = estimation.n_outputs
        rows = len(self._examples) * self._n_outputs
        sizes = [level.features_of(self._examples[0]) for level in self._levels]
        # One column more than there are features: elements that are never perturbed read it.
        self._numerators = [
            [torch.zeros(rows, n + 1, dtype=torch.float64) for n in sizes] for _ in HALVES
        ]
        self._counts = [[torch.zeros(n + 1, dtype=torch.float64) for n in sizes] for _ in HALVES]
        self._n_samples = [0] * len(self._levels)
        self.n_never_perturbed = 0

    def add(self, level: int, masks: Tensor, impacts: Tensor) -> None:
        perturbed = masks.to(torch.float64)
        rows = impacts.reshape(len(masks), -1)
        for half in HALVES:
            own = slice(first_of_half(half, level, self._n_samples[level]), None, 2)
            self._numerators[half][level][:, :-1] += rows[own].T @ perturbed[own]
            self._counts[half][level][:-1] += perturbed[own].sum(0)
        self._n_samples[level] += len(masks)

    def write(self, attributions: tuple[Tensor, ...], halves: tuple[int, ...] = HALVES) -> None:
        shared = all(level.is_shared for level in self._levels)
        self.n_never_perturbed = 0
        for i, attribution in enumerate(attributions):
            if shared:
                self._write_rows(i, 0, slice(None), attribution.flatten(0, 1), halves)
                continue
            for position, example in enumerate(self._examples):
                start = position * self._n_outputs
                rows = slice(start, start + self._n_outputs)
                self._write_rows(i, example, rows, attribution[example], halves)

    def _write_rows(
        self, input_index: int, example: int, rows: slice, out: Tensor, halves: tuple[int, ...]
    ) -> None:
        columns = [
            level.columns[input_index][0 if level.is_shared else example].reshape(-1).cpu()
            for level in self._levels
        ]
        counts = torch.zeros(columns[0].shape, dtype=torch.float64)
        is_feature = torch.zeros(columns[0].shape, dtype=torch.bool)
        for level, c in enumerate(columns):
            count = _total([self._counts[half][level] for half in halves])
            counts += count[c]
            is_feature |= c < len(count) - 1
        self.n_never_perturbed += int(((counts == 0) & is_feature).sum())
        # Where nothing was counted the numerator is 0 as well: 0 / 1 gives the defined 0.
        divisor = counts.clamp(min=1)
        numerators = [
            _total([self._numerators[half][level][rows] for half in halves])
            for level in range(len(columns))
        ]
        out = out.view(len(out), math.prod(out.shape[1:]))
        step = max(1, _CELLS_PER_GATHER // max(1, out.shape[1]))
        for start in range(0, len(out), step):
            gathered = torch.zeros(len(out[start : start + step]), out.shape[1]).double()
            for numerator, c in zip(numerators, columns, strict=True):
                gathered += numerator[start : start + step].index_select(1, c)
            out[start : start + step] = (gathered / divisor).to(out.dtype)


def _total(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else tensors[0] + tensors[1]
