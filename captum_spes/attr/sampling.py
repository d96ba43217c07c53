"""Seeded random choices of the features that a perturbation removes."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError


class MaskDesign(Protocol):
    """Anything that decides which features each perturbed input lacks.

    With masks per example, examples with different numbers of features draw from copies of
    the design, so that each gets the masks that it would get alone.
    """

    def sample(self, n_samples: int, n_features: int, generator: torch.Generator) -> Tensor:
        """Draw masks.

        It is called level by level and may be called several times for one level (where
        levels take turns, as for a tolerance, in rounds); the
        concatenation of what those calls return is that level's set of masks. Drawing
        with ``generator`` alone keeps results independent of how the calls are cut.

        Args:
            n_samples (int): Number of masks to draw.
            n_features (int): Number of features of the level, numbered in ascending
                order of their labels.
            generator (torch.Generator): CPU generator to draw from.

        Returns:
            *Tensor* of shape ``(n_samples, n_features)``, bool, True = perturbed.
        """
        ...


class BernoulliDesign:
    r"""Independent masks: every feature is perturbed with the same probability.

    The scheme of SPES (arXiv 2411.01710, section 4.1).

    Args:
        perturb_prob (float): Probability that a feature is perturbed, in (0, 1).

    Raises:
        ArgumentError: ``perturb_prob`` is not strictly between 0 and 1.

    Examples::

        >>> generator = torch.Generator().manual_seed(0)
        >>> BernoulliDesign(0.5).sample(2, 3, generator).shape
        torch.Size([2, 3])
    """

    def __init__(self, perturb_prob: float) -> None:
        if not 0 < perturb_prob < 1:
            raise ArgumentError(
                f"perturb_prob must lie strictly between 0 and 1, got {perturb_prob}."
            )
        self.perturb_prob = perturb_prob

    def sample(self, n_samples: int, n_features: int, generator: torch.Generator) -> Tensor:
        # torch.rand fills row by row from the generator, so that cutting a level into
        # chunks of any size gives the same masks; bernoulli_ does not promise that.
        return torch.rand(n_samples, n_features, generator=generator) < self.perturb_prob


def resolve_seed(seed: int | None) -> int:
    """Return ``seed``, or one drawn from torch's global generator where it is None."""
    if seed is None:
        return int(torch.randint(0, 2**63 - 1, (), dtype=torch.int64))
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise ArgumentTypeError(f"seed must be an int or None, got {type(seed).__name__}.")
    if not 0 <= seed < 2**63:
        raise ArgumentError(f"seed must lie in [0, 2**63), got {seed}.")
    return int(seed)


def level_seeds(seed: int, n_levels: int) -> list[int]:
    """Independent seeds of the levels; the first level has the seed itself."""
    others = [np.random.SeedSequence((seed, level)) for level in range(1, n_levels)]
    return [seed, *(int(s.generate_state(1, np.uint64)[0] >> np.uint64(1)) for s in others)]


def split_evenly(n_samples: int, n_parts: int) -> list[int]:
    """Split ``n_samples`` exactly into ``n_parts``; the remainder goes to the first ones."""
    share, remainder = divmod(n_samples, n_parts)
    return [share + (part < remainder) for part in range(n_parts)]


def chunk_sizes(n_samples: int, chunk_size: int) -> Iterator[int]:
    """Yield sizes of at most ``chunk_size`` that add up to ``n_samples``."""
    for start in range(0, n_samples, chunk_size):
        yield min(chunk_size, n_samples - start)


def draw(design: MaskDesign, n_samples: int, n_features: int, generator: torch.Generator) -> Tensor:
    """Call ``design`` and check that it keeps its contract."""
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
