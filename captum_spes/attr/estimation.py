"""What turns masks and impacts into attributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from captum_spes.attr.segmentation import Segmentation
from captum_spes.errors import ArgumentError

# Even and odd samples: how far their attributions agree tells how much of them is noise.
HALVES = (0, 1)


@dataclass(frozen=True)
class Estimation:
    """What is to be estimated.

    Attributes:
        levels: the segmentation levels.
        examples: examples of the batch that share their masks.
        n_outputs: values that the forward function returns per example.
        tensors: the inputs, ``(batch, *features)`` each.
        removed: what replaces perturbed features, broadcastable to the inputs.
    """

    levels: list[Segmentation]
    examples: list[int]
    n_outputs: int
    tensors: tuple[Tensor, ...]
    removed: tuple[Tensor, ...]


class Estimate(Protocol):
    """Attributions in the making."""

    n_never_perturbed: int
    # What becomes of elements that no sample perturbed, for a warning.
    unseen: str

    def add(self, level: int, masks: Tensor, impacts: Tensor) -> None:
        """Add samples of one level.

        Args:
            level (int): Index of the level.
            masks (Tensor): bool ``(samples, features)``, True = perturbed.
            impacts (Tensor): float64 ``(samples, examples, outputs)``.
        """
        ...

    def write(self, attributions: tuple[Tensor, ...], halves: tuple[int, ...] = HALVES) -> None:
        """Write the attributions of the examples, by all samples or by one half of them.

        Also counts in ``n_never_perturbed`` the elements that belong to a feature and that no
        sample has perturbed.

        Args:
            attributions (tuple[Tensor, ...]): One per input, of shape
                ``(batch, outputs, *features)``; rows of the examples are filled.
            halves (tuple[int, ...]): Which halves of the samples count.
        """
        ...


class Estimator(Protocol):
    """Anything that begins an estimate: :class:`captum_spes.attr.GaussianProcess`."""

    @property
    def max_samples(self) -> int | None:
        """The most samples that it can take in."""
        ...

    def __call__(self, estimation: Estimation) -> Estimate:
        """Begin the estimate of examples that share their masks."""
        ...


def first_of_half(half: int, level: int, n_before: int = 0) -> int:
    """Index of the first of further samples of a level that belongs to a half.

    Levels begin with different halves, so that many levels of few samples fill both.
    """
    return (half + level + n_before) % 2


def check_estimator(estimator: Estimator | None, n_samples: int) -> None:
    """Raise where an estimator cannot take in as many samples."""
    most = None if estimator is None else estimator.max_samples
    if most is not None and n_samples > most:
        raise ArgumentError(
            f"{type(estimator).__name__} takes at most {most} samples, got n_samples={n_samples}: "
            "give fewer, 1,000 for example, or take the paper's mean for so many."
        )
