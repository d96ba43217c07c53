"""Designs: which features each sample removes, drawn at random from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError, open_share


class MaskDesign(Protocol):
    """Anything that decides which features each sample removes.

    Where examples have feature masks of their own, those with different numbers of features
    draw from copies of the design, so that each gets the masks that it would get alone.
    """

    def sample(self, n_samples: int, n_features: int, generator: torch.Generator) -> Tensor:
        """Draw masks.

        It is called for each level, possibly several times (where levels take turns, as for
        a tolerance). What these calls return, one after the other, are that level's masks.
        Draw with ``generator`` alone, so that results do not depend on how many masks each
        call asks for.

        Args:
            n_samples (int): Number of masks to draw.
            n_features (int): Number of features of the level, numbered in ascending
                order of their labels.
            generator (torch.Generator): CPU generator to draw from.

        Returns:
            *Tensor* of shape ``(n_samples, n_features)``, bool, True = perturbed.
        """
        ...


@dataclass(frozen=True)
class BernoulliDesign:
    r"""Independent masks: every feature is perturbed with the same probability.

    The scheme of SPES (arXiv 2411.01710, section 4.1).

    Args:
        perturb_prob (float, optional): Probability that a feature is perturbed, in (0, 1).
            Default: 0.5

    Raises:
        ArgumentError: ``perturb_prob`` is not strictly between 0 and 1.

    Examples::

        >>> generator = torch.Generator("cpu").manual_seed(0)
        >>> BernoulliDesign(0.5).sample(2, 3, generator).shape
        torch.Size([2, 3])
    """

    perturb_prob: float = 0.5

    def __post_init__(self) -> None:
        open_share("perturb_prob", self.perturb_prob)

    def sample(self, n_samples: int, n_features: int, generator: torch.Generator) -> Tensor:
        """Draw masks; see :class:`MaskDesign`."""
        # torch.rand fills row by row from the generator, so that cutting a level into
        # chunks of any size gives the same masks; bernoulli_ does not promise that.
        numbers = torch.rand(
            n_samples, n_features, generator=generator, dtype=torch.float32, device="cpu"
        )
        return numbers < self.perturb_prob


def resolve_seed(seed: int | None) -> int:
    """Return ``seed``, or one drawn from torch's global generator where it is None."""
    if seed is None:
        return int(torch.randint(0, 2**63 - 1, (), dtype=torch.int64, device="cpu"))
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise ArgumentTypeError(f"seed must be an int or None, got {type(seed).__name__}.")
    if not 0 <= seed < 2**63:
        raise ArgumentError(f"seed must lie in [0, 2**63), got {seed}.")
    return int(seed)


def _level_seeds(seed: int, n_levels: int) -> list[int]:
    """Independent seeds, one per level; the first level gets the seed itself."""
    others = [np.random.SeedSequence((seed, level)) for level in range(1, n_levels)]
    return [seed, *(int(s.generate_state(1, np.uint64)[0] >> np.uint64(1)) for s in others)]


def draw(design: MaskDesign, n_samples: int, n_features: int, generator: torch.Generator) -> Tensor:
    """Draw masks and check their type and shape."""
    if not hasattr(design, "sample"):
        raise ArgumentTypeError(
            "design must be an object with sample(n_samples, n_features, generator), got "
            f"{design!r}."
        )
    masks = design.sample(n_samples, n_features, generator)
    if not isinstance(masks, Tensor) or masks.dtype != torch.bool:
        found = masks.dtype if isinstance(masks, Tensor) else type(masks).__name__
        raise ArgumentTypeError(f"design.sample must return a bool Tensor, got {found}.")
    if masks.shape != (n_samples, n_features):
        raise ArgumentError(
            f"design.sample was asked for {n_samples} masks of {n_features} features and "
            f"returned shape {tuple(masks.shape)}."
        )
    return masks.cpu()


class SeededMasks:
    """Masks of all levels, for examples with the same number of features in each level.

    One generator per level, so that levels get the same masks in whatever order they take
    turns.

    Args:
        design: draws the masks.
        n_features: number of features of each level.
        seed: one seed for all levels.
    """

    def __init__(self, design: MaskDesign, n_features: Sequence[int], seed: int) -> None:
        self._design, self._n_features = design, n_features
        self._generators = [
            torch.Generator("cpu").manual_seed(own) for own in _level_seeds(seed, len(n_features))
        ]
        self.has_perturbed = [
            torch.zeros(count, dtype=torch.bool, device="cpu") for count in n_features
        ]

    def draw(self, level: int, size: int) -> Tensor:
        """Draw ``(size, features)`` masks of a level."""
        return draw(self._design, size, self._n_features[level], self._generators[level])


def examples_of_equal_sizes(n_features: Sequence[Sequence[int]]) -> list[list[int]]:
    """Group examples of a batch that have equally many features in every level: they share their
    masks."""
    examples_of: dict[tuple[int, ...], list[int]] = {}
    for example, sizes in enumerate(n_features):
        examples_of.setdefault(tuple(sizes), []).append(example)
    return list(examples_of.values())
