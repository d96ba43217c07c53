"""Which examples of a batch share their masks."""

from __future__ import annotations

import copy

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
        self,
        levels: list[Segmentation],
        examples: list[int],
        n_outputs: int,
        design: MaskDesign,
        seed: int,
    ) -> None:
        self.examples = examples
        self.mean = MaskedMean(levels, examples, n_outputs)
        self._n_features = [level.features_of(examples[0]) for level in levels]
        self._design = design
        self._generator = torch.Generator().manual_seed(seed)

    def draw(self, level: int, size: int) -> Tensor:
        return draw(self._design, size, self._n_features[level], self._generator)


def mask_groups(
    levels: list[Segmentation], batch: int, n_outputs: int, design: MaskDesign, seed: int
) -> list[MaskGroup]:
    """Group the examples of a batch; groups after the first draw from copies of the design."""
    examples_of: dict[tuple[int, ...], list[int]] = {}
    for example in range(batch):
        sizes = tuple(level.features_of(example) for level in levels)
        examples_of.setdefault(sizes, []).append(example)
    designs = [design, *(copy.deepcopy(design) for _ in range(len(examples_of) - 1))]
    return [
        MaskGroup(levels, examples, n_outputs, own_design, seed)
        for examples, own_design in zip(examples_of.values(), designs, strict=True)
    ]
