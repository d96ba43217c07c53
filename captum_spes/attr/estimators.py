"""Estimators: what turns the masks and impacts of the samples into attributions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import torch
from torch import Tensor

from captum_spes.attr.prior import PriorMaps
from captum_spes.attr.segmentation import Segmentation
from captum_spes.errors import ArgumentError, ArgumentTypeError

# Even and odd samples: how far their attributions agree tells how much of them is noise.
HALVES = (0, 1)
# At most this many elements are handled at a time, so that a long spectrogram with many tokens
# needs no second array of full size.
_ELEMENTS_PER_GATHER = 4_000_000


@dataclass(frozen=True, eq=False)
class Features:
    """One example of the batch, cut into features.

    Attributes:
        levels: the segmentation levels.
        example: which example of the batch.
        tensors: all inputs, ``(batch, *features)`` each.
        baselines: what replaces perturbed elements, broadcastable to the inputs.
        prior: attributions that are known before sampling, if any.
    """

    levels: Sequence[Segmentation]
    example: int
    tensors: tuple[Tensor, ...]
    baselines: tuple[Tensor, ...]
    prior: PriorMaps | None = None

    @cached_property
    def columns(self) -> list[Tensor]:
        """For each level, int64 ``(elements,)``: the feature of every element, the elements of all
        inputs one after the other; ``n_features`` for elements that are never perturbed."""
        return [
            torch.cat([self._own(column).reshape(-1).cpu() for column in level.columns])
            for level in self.levels
        ]

    @property
    def n_features(self) -> list[int]:
        """Number of features of each level."""
        return [level.features_of(self.example) for level in self.levels]

    @property
    def n_elements(self) -> int:
        """Number of elements of all inputs together."""
        return sum(tensor[0].numel() for tensor in self.tensors)

    @cached_property
    def is_perturbed(self) -> Tensor:
        """bool ``(elements,)``: which elements belong to a feature of some level."""
        found = torch.zeros(self.n_elements, dtype=torch.bool, device="cpu")
        for column, count in zip(self.columns, self.n_features, strict=True):
            found |= column < count
        return found

    @cached_property
    def change(self) -> Tensor:
        """float64 ``(elements,)``: the input minus its baseline, 0 for what is never perturbed."""
        pairs = zip(self.tensors, self.baselines, strict=True)
        own = [_exact(self._own(tensor)) - _exact(self._own(removed)) for tensor, removed in pairs]
        flat = [change.reshape(-1) for change in own]
        return torch.cat(flat).where(self.is_perturbed, 0.0)

    def spread(self, values: Tensor, level: int) -> Tensor:
        """Give each element its feature's value at a level, ``(..., elements)``; 0 elsewhere."""
        return torch.nn.functional.pad(values, (0, 1))[..., self.columns[level]]

    def _own(self, tensor: Tensor) -> Tensor:
        """The row of this example, or what all examples share: a number or a single row."""
        if tensor.dim() == 0:
            return tensor
        return tensor[self.example if len(tensor) > 1 else 0]


class Samples(NamedTuple):
    """Samples of one level: what each perturbed, and its impact.

    Attributes:
        level: index of the segmentation level.
        masks: bool ``(samples, features)``, True = perturbed.
        impacts: float64 ``(samples, outputs)``: the score of the input minus that of the sample.
    """

    level: int
    masks: Tensor
    impacts: Tensor


@runtime_checkable
class Estimator(Protocol):
    r"""
    Anything that turns samples into attributions: an object with a method ``estimate``.

    It is given to :class:`captum_spes.SPES` as ``SPES(model, estimator=...)``. Optional
    attributes:

    - ``max_samples`` (int): the most samples that it can take; more are refused.
    - ``start(examples, n_outputs)``: returns a :class:`RunningEstimate`, for an estimator that
      adds samples up as they come instead of reading all of them at the end.
    - ``unseen`` (str): what the warning says of elements that no sample perturbed.
    - ``takes_prior`` (bool): whether it makes use of ``features.prior``; otherwise a prior is
      refused.
    - ``odds_exponent`` (float): see :func:`captum_spes.attr.split_half_reliability`.

    Examples::

        >>> class Median:
        ...     def estimate(self, features, samples):
        ...         '''The median impact of the samples that perturbed a feature.'''
        ...         values = []
        ...         for level, masks, impacts in samples:
        ...             rows = [impacts[mask].nanmedian(0).values for mask in masks.T]
        ...             values.append(features.spread(torch.stack(rows, -1), level))
        ...         return torch.stack(values).nanmean(0)
        >>> model = torch.nn.Linear(4, 2)
        >>> spes = SPES(model, estimator=Median())
        >>> spes.attribute(torch.ones(1, 4), target=0, n_samples=50, seed=0).shape
        torch.Size([1, 4])
    """

    def estimate(self, features: Features, samples: Sequence[Samples]) -> Tensor:
        """Return the attributions of one example.

        Args:
            features (Features): The example and its features.
            samples (sequence of Samples): One entry per level that was sampled.

        Returns:
            *Tensor* of shape ``(outputs, elements)``, elements of all inputs one after the
            other.
        """
        ...


class RunningEstimate(Protocol):
    """An estimate that grows with every sample, for examples that share their masks."""

    def add(self, level: int, masks: Tensor, impacts: Tensor) -> None:
        """Add samples: bool ``(samples, features)``, float64 ``(samples, examples, outputs)``."""
        ...

    def attributions(self, half: int | None = None) -> list[Tensor]:
        """Return ``(outputs, elements)`` for each example, from all samples or from one half."""
        ...


def running_estimate(
    estimator: Estimator, examples: Sequence[Features], n_outputs: int
) -> RunningEstimate:
    """Begin the estimate of examples that share their masks."""
    start = getattr(estimator, "start", None)
    if start is None:
        return _KeptSamples(estimator, examples, n_outputs)
    return cast(RunningEstimate, start(examples, n_outputs))


def check_estimator(estimator: object, n_samples: int) -> None:
    """Raise where ``estimator`` is none, or cannot take ``n_samples`` samples."""
    # Looked up as it is called: from Python 3.12 on isinstance does not see __getattr__.
    if not callable(getattr(estimator, "estimate", None)) or isinstance(estimator, type):
        raise ArgumentTypeError(
            "estimator must be an object with a method estimate(features, samples), such as "
            f"MaskedMean() or GaussianProcess(), got {estimator!r}."
        )
    most = getattr(estimator, "max_samples", None)
    if most is not None and n_samples > most:
        raise ArgumentError(
            f"{type(estimator).__name__} takes at most {most} samples, got n_samples={n_samples}: "
            "give fewer, for example 1,000, or use the paper's MaskedMean, which has no limit."
        )


def first_of_half(half: int, level: int, n_before: int = 0) -> int:
    """Among the next samples of a level, the index of the first that belongs to a half.

    Levels begin with different halves in turn, so that many levels of few samples fill both.
    """
    return (half + level + n_before) % 2


class _KeptSamples:
    """Keeps masks and impacts until attributions are asked for."""

    def __init__(self, estimator: Estimator, examples: Sequence[Features], n_outputs: int) -> None:
        self._estimator, self._examples, self._n_outputs = estimator, examples, n_outputs
        self._masks: list[list[Tensor]] = [[] for _ in examples[0].levels]
        self._impacts: list[list[Tensor]] = [[] for _ in examples[0].levels]

    def add(self, level: int, masks: Tensor, impacts: Tensor) -> None:
        self._masks[level].append(masks)
        self._impacts[level].append(impacts)

    def attributions(self, half: int | None = None) -> list[Tensor]:
        return [
            self._of_example(features, self._samples(position, half))
            for position, features in enumerate(self._examples)
        ]

    def _samples(self, position: int, half: int | None) -> list[Samples]:
        """The samples of every level that has features and samples."""
        found = []
        for level, masks in enumerate(self._masks):
            first = 0 if half is None else first_of_half(half, level)
            own = slice(first, None, 1 if half is None else 2)
            chosen = torch.cat(masks)[own] if masks else torch.empty(0)
            if chosen.numel():
                impacts = torch.cat(self._impacts[level])[own, position]
                found.append(Samples(level, chosen, impacts))
        return found

    def _of_example(self, features: Features, samples: list[Samples]) -> Tensor:
        expected = (self._n_outputs, features.n_elements)
        if not samples:
            return _zeros(*expected)
        # Samples are on the CPU, whatever torch.set_default_device says.
        with torch.device("cpu"):
            found: Any = self._estimator.estimate(features, samples)
        if not isinstance(found, Tensor) or tuple(found.shape) != expected:
            got = getattr(found, "shape", type(found).__name__)
            raise ArgumentError(
                f"{type(self._estimator).__name__}.estimate must return a Tensor of shape "
                f"(outputs, elements) = {expected}, got {got}."
            )
        return found


class _Means(ABC):
    """Base of estimators that need only sums over samples: memory grows with features alone."""

    unseen = "have a score of 0"

    def estimate(self, features: Features, samples: Sequence[Samples]) -> Tensor:
        """Return ``(outputs, elements)``; see :class:`Estimator`."""
        if not samples:
            raise ArgumentError(f"{type(self).__name__} needs at least one sample, got none.")
        sums = self.start([features], samples[0].impacts.shape[1])
        for level, masks, impacts in samples:
            sums.add(level, masks, impacts[:, None])
        return sums.attributions()[0]

    def start(self, examples: Sequence[Features], n_outputs: int) -> RunningEstimate:
        """Begin sums over samples; see :class:`Estimator`."""
        return _RunningSums(self, examples, n_outputs)

    @abstractmethod
    def combined(self, removed: Tensor, n_removed: Tensor, kept: Tensor, n_kept: Tensor) -> Tensor:
        """Return attributions, ``(rows, elements)``, from the summed impacts and the numbers of
        the samples that removed an element and of those that kept it."""


@dataclass(frozen=True)
class MaskedMean(_Means):
    r"""
    The mean impact of the samples that perturb a feature (arXiv 2411.01710, Eq. 3).

    Sums of all levels are added before dividing. For a linear model in which feature j
    contributes :math:`d_j` it tends to :math:`(1-p)\,d_j + p\sum_k d_k`: the order is that of
    the contributions, but the values are shifted, and a feature without effect does not get 0
    (see :class:`MaskedDifference`).

    Examples::

        >>> model = lambda x: x @ torch.tensor([1.0, 2.0, 0.0, -1.0])
        >>> spes = SPES(model, estimator=MaskedMean())
        >>> attr = spes.attribute(torch.ones(1, 4), n_samples=20_000, seed=0)  # (1.5, 2, 1, 0.5)
        >>> bool((attr - torch.tensor([1.5, 2.0, 1.0, 0.5])).abs().max() < 0.05)
        True
    """

    def combined(self, removed: Tensor, n_removed: Tensor, kept: Tensor, n_kept: Tensor) -> Tensor:
        """Return the mean impact of the samples that removed an element."""
        return removed / n_removed.clamp(min=1)


@dataclass(frozen=True)
class MaskedDifference(_Means):
    r"""
    The mean impact of the samples that removed a feature, minus that of those that kept it.

    A feature without effect gets 0, up to sampling noise, and signs are those of
    FeatureAblation. For a linear model in which feature j contributes
    :math:`d_j = w_j (x_j - b_j)` the expectation is :math:`d_j` itself; in general it is the
    expected effect of removing the feature when every other feature is removed with probability
    p, at p = 0.5 the Banzhaf value of the game in which the removed features are the players.

    Use it for Captum's pictures (``visualize_image_attr``) and ``captum.metrics.infidelity``,
    which expect such attributions. It costs the same passes as :class:`MaskedMean`; the impacts
    of all other features are noise to it, as they are to the mean.

    Source: Wang and Jia, "Data Banzhaf", https://arxiv.org/abs/2205.15466, on the estimator;
    Banzhaf, "Weighted voting doesn't work", Rutgers Law Review 19 (1965).

    Examples::

        >>> model = lambda x: x @ torch.tensor([1.0, 2.0, 0.0, -1.0])
        >>> spes = SPES(model, estimator=MaskedDifference())
        >>> attr = spes.attribute(torch.ones(1, 4), n_samples=20_000, seed=0)
        >>> bool((attr - torch.tensor([1.0, 2.0, 0.0, -1.0])).abs().max() < 0.1)
        True
    """

    def combined(self, removed: Tensor, n_removed: Tensor, kept: Tensor, n_kept: Tensor) -> Tensor:
        """Return the difference of the two means; 0 where one of them has no sample."""
        difference = removed / n_removed.clamp(min=1) - kept / n_kept.clamp(min=1)
        return difference.where((n_removed > 0) & (n_kept > 0), 0.0)


class _RunningSums:
    """Sums of impacts per feature, even and odd samples separately.

    On the CPU in float64: twenty thousand float32 terms lose digits, and not every device has
    float64.
    """

    def __init__(self, estimator: _Means, examples: Sequence[Features], n_outputs: int) -> None:
        self._estimator, self._examples, self._n_outputs = estimator, examples, n_outputs
        rows, sizes = len(examples) * n_outputs, examples[0].n_features
        # One more column, of zeros, for elements that are never perturbed.
        self._removed = [[_zeros(rows, n + 1) for n in sizes] for _ in HALVES]
        self._n_removed = [[_zeros(n + 1) for n in sizes] for _ in HALVES]
        self._all = [[_zeros(rows) for _ in sizes] for _ in HALVES]
        self._n_all = [[0 for _ in sizes] for _ in HALVES]

    def add(self, level: int, masks: Tensor, impacts: Tensor) -> None:
        perturbed = masks.to(torch.float64)
        rows = impacts.reshape(len(masks), -1)
        n_before = self._n_all[0][level] + self._n_all[1][level]
        for half in HALVES:
            own = slice(first_of_half(half, level, n_before), None, 2)
            self._removed[half][level][:, :-1] += rows[own].T @ perturbed[own]
            self._n_removed[half][level][:-1] += perturbed[own].sum(0)
            self._all[half][level] += rows[own].sum(0)
            self._n_all[half][level] += len(rows[own])

    def attributions(self, half: int | None = None) -> list[Tensor]:
        halves = HALVES if half is None else (half,)
        n = self._n_outputs
        return [
            self._of_example(features, slice(position * n, (position + 1) * n), halves)
            for position, features in enumerate(self._examples)
        ]

    def _of_example(self, features: Features, rows: slice, halves: tuple[int, ...]) -> Tensor:
        columns, sizes = features.columns, features.n_features
        n_removed, n_kept = _zeros(features.n_elements), _zeros(features.n_elements)
        removed_of, all_of = [], []
        for level, column in enumerate(columns):
            removed_of.append(_total([self._removed[half][level][rows] for half in halves]))
            all_of.append(_total([self._all[half][level][rows] for half in halves]))
            count = _total([self._n_removed[half][level] for half in halves])
            n_samples = sum(self._n_all[half][level] for half in halves)
            n_removed += count[column]
            n_kept += (n_samples - count)[column] * (column < sizes[level])
        out = _zeros(self._n_outputs, features.n_elements)
        step = max(1, _ELEMENTS_PER_GATHER // max(1, features.n_elements))
        for start in range(0, self._n_outputs, step):
            few = slice(start, start + step)
            removed, kept = torch.zeros_like(out[few]), torch.zeros_like(out[few])
            for column, size, sums, total in zip(columns, sizes, removed_of, all_of, strict=True):
                own = sums[few].index_select(1, column)
                removed += own
                kept += (total[few, None] - own) * (column < size)
            out[few] = self._estimator.combined(removed, n_removed, kept, n_kept)
        return out


def _zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.float64, device="cpu")


def _total(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else tensors[0] + tensors[1]


def _exact(values: Tensor) -> Tensor:
    return values.cpu().double()
