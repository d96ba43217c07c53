"""Which examples of a batch share their masks."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_spes.attr.masked_mean import MaskedMean
from captum_spes.attr.sampling import MaskDesign, draw
from captum_spes.attr.segmentation import Segmentation


class MaskGroup:
    """Examples with equally many features in every level: they share their masks.

    Every group draws from its own generator with the same seed, so that an example gets
    the masks it would get if it were explained alone.
    """

    def __init__(
        self, levels: list[Segmentation], examples: list[int], n_outputs: int, seed: int
    ) -> None:
        self.examples = examples
        self.mean = MaskedMean(levels, examples, n_outputs)
        self._n_features = [level.features_of(examples[0]) for level in levels]
        self._generator = torch.Generator().manual_seed(seed)

    def draw(self, design: MaskDesign, level: int, size: int) -> Tensor:
        return draw(design, size, self._n_features[level], self._generator)


def mask_groups(
    levels: list[Segmentation], batch: int, n_outputs: int, seed: int
) -> list[MaskGroup]:
    examples_of: dict[tuple[int, ...], list[int]] = {}
    for example in range(batch):
        sizes = tuple(level.features_of(example) for level in levels)
        examples_of.setdefault(sizes, []).append(example)
    return [MaskGroup(levels, examples, n_outputs, seed) for examples in examples_of.values()]
