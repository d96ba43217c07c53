"""The loop over perturbed inputs: draw masks, evaluate, add up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from torch import Tensor

from captum_spes.attr.batch_size import BatchSize, free_memory
from captum_spes.attr.evaluation import Evaluation, check_finite, per_sample, scores_of
from captum_spes.attr.mask_groups import MaskGroup
from captum_spes.attr.perturbation import perturb
from captum_spes.attr.sampling import split_evenly
from captum_spes.attr.segmentation import Segmentation

# Levels take turns in rounds: the first of this many samples, at least two of each level, every
# further one half as many as all before. Few enough to look at the map after each, and no level
# far ahead.
_FIRST_ROUND = 32
_GROWTH = 1.5


class Sampler:
    """Evaluates perturbed inputs and adds their impacts to the estimates.

    Args:
        evaluate (Evaluation): The forward function.
        tensors (tuple[Tensor, ...]): The inputs.
        removed (tuple[Tensor, ...]): What replaces their perturbed features.
        levels (list[Segmentation]): The segmentation levels.
        groups (list[MaskGroup]): Examples that share masks; hold the estimates.
        reference (Tensor): Scores of the unperturbed inputs, ``(examples, outputs)``.
        batch (BatchSize): How many perturbed inputs are evaluated at a time.
        advance (Callable): Told how many samples were added.
    """

    def __init__(
        self,
        evaluate: Evaluation,
        tensors: tuple[Tensor, ...],
        removed: tuple[Tensor, ...],
        levels: list[Segmentation],
        groups: list[MaskGroup],
        reference: Tensor,
        batch: BatchSize,
        advance: Callable[[int], None],
    ) -> None:
        self._evaluate = evaluate
        self._tensors, self._removed = tensors, removed
        self._levels, self._groups = levels, groups
        self._reference = reference
        self._batch = batch
        self._advance = advance
        self.n_samples = 0

    def sample(self, level: int, n_samples: int) -> None:
        """Add ``n_samples`` samples of a level."""
        while n_samples:
            size = min(self._batch.size, n_samples)
            self._add(level, [group.draw(level, size) for group in self._groups])
            n_samples -= size

    def _add(self, level: int, masks: list[Tensor]) -> None:
        size = len(masks[0])
        start = time.perf_counter()
        impacts = None
        try:
            impacts = self._impacts(level, masks)
        except Exception as error:
            if not self._batch.shrinks_after(error, size):
                raise
        if impacts is None:
            # After the except block, as the error holds on to the memory of the failed batch. The
            # same masks again, so that the result does not depend on memory.
            free_memory()
            self._add(level, [mask[: size // 2] for mask in masks])
            self._add(level, [mask[size // 2 :] for mask in masks])
            return
        self._batch.measured(size, time.perf_counter() - start)
        for group, mask in zip(self._groups, masks, strict=True):
            group.estimate.add(level, mask, impacts[:, group.examples])
        self.n_samples += size
        self._advance(size)

    def _impacts(self, level: int, masks: list[Tensor]) -> Tensor:
        size = len(masks[0])
        perturbed = perturb(self._tensors, self._removed, self._levels[level], self._groups, masks)
        values = scores_of(self._evaluate(perturbed, size))
        impacts = self._reference - per_sample(values, size, self._reference)
        check_finite(impacts)
        return impacts


def rounds(n_samples: int, n_levels: int, takes_turns: bool) -> Iterator[list[int]]:
    """Samples of each level, round by round; one round, level after level, without turns."""
    total = n_samples if not takes_turns else min(n_samples, max(_FIRST_ROUND, 2 * n_levels))
    before = [0] * n_levels
    while True:
        now = split_evenly(total, n_levels)
        yield [later - earlier for later, earlier in zip(now, before, strict=True)]
        if total == n_samples:
            return
        before, total = now, min(n_samples, max(total + 1, int(_GROWTH * total)))
