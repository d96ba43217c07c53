"""Which examples of a batch share their masks."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from captum_spes.attr.estimation import Estimation, Estimator
from captum_spes.attr.masked_mean import MaskedMean
from captum_spes.attr.sampling import MaskDesign, draw, level_seeds


class MaskGroup:
    """Examples with equally many features in every level: they share their masks.

    Every group draws from its own generators with the same seeds, so that an example gets
    the masks it would get if it were explained alone; one per level, so that levels get the
    same masks in whatever order they take turns.
    """

    def __init__(
        self, estimation: Estimation, estimator: Estimator | None, design: MaskDesign, seed: int
    ) -> None:
        self.examples = estimation.examples
        self.estimate = (MaskedMean if estimator is None else estimator)(estimation)
        levels = estimation.levels
        self._n_features = [level.features_of(self.examples[0]) for level in levels]
        self._design = design
        self._generators = [
            torch.Generator().manual_seed(level_seed)
            for level_seed in level_seeds(seed, len(levels))
        ]

    def draw(self, level: int, size: int) -> Tensor:
        return draw(self._design, size, self._n_features[level], self._generators[level])


def mask_groups(
    estimation: Estimation, estimator: Estimator | None, design: MaskDesign, seed: int
) -> list[MaskGroup]:
    """Group the examples of a batch; groups after the first draw from copies of the design."""
    examples_of: dict[tuple[int, ...], list[int]] = {}
    for example in estimation.examples:
        sizes = tuple(level.features_of(example) for level in estimation.levels)
        examples_of.setdefault(sizes, []).append(example)
    designs = [design, *(copy.deepcopy(design) for _ in range(len(examples_of) - 1))]
    return [
        MaskGroup(replace(estimation, examples=examples), estimator, own_design, seed)
        for examples, own_design in zip(examples_of.values(), designs, strict=True)
    ]
