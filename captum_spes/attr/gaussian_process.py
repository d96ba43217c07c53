"""GaussianProcess: attributions by Bayesian regression, which needs fewer samples than a mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from captum_spes.attr.estimators import Features, RunningEstimate, Samples, first_of_half
from captum_spes.attr.regression.masks import MaskRegression
from captum_spes.attr.regression.patches import Patches
from captum_spes.errors import ArgumentError, real_number

# Divergences can come out negative by this much, by rounding.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class GaussianProcess:
    r"""
    Estimates by Bayesian regression on the masks what each element adds to the impact.

    The masked mean of the paper (Eq. 3) looks at one feature at a time; what the other
    perturbed features did is noise to it. Here the logarithm of the impact is the sum of what
    all perturbed elements add,

    .. math::
        \ln r_i = \mu + \sum_c (1 - M_{ic})\, |x_c - b_c|^a f_c + \varepsilon_i

    The logarithm is there because impacts of parts multiply rather than add (and because
    impacts have a heavy tail, which their logarithms do not); the factor before f, because an
    element that hardly changes when it is replaced by its baseline b can hardly matter. f is a
    Gaussian process whose prior makes elements of one patch alike, for the patches of up to five
    levels from the coarsest to the finest. So every sample, whatever its level, informs all
    elements, and one of which no sample says anything gets the value of its surroundings.

    It is fitted twice. In the first fit every element may matter as much as any other. An output
    has its evidence where the squared effects come out larger than expected: a word, for example,
    at one time and in some bands. The second fit allows each output large effects there and small
    ones elsewhere, so that its map is flat where nothing matters. The noise's share of
    the variance is the one of highest marginal likelihood, in the first fit for all outputs
    together, in the second for each output; maps of half the samples are fitted with the share
    found from all of them.

    The attribution of an element is the expected impact of removing a patch of the finest level
    made of elements like it: the mean impact times one plus (1 - p) times the change of its
    logarithm. It can be less than the mean impact.

    A prior (argument ``prior`` of ``SPES.attribute``) is added to what the regression finds, scaled
    to its size. How much depends on how well effects found from one half of the samples, the prior
    included, predict the other half; one that predicts no better than chance gets next to none.

    Args:

        log_impacts (bool, optional): Whether to take logarithms, for impacts that are never
                    negative, such as divergences. If False, effects add up to the impact itself.
                    Default: True
        change_exponent (float, optional): a above; 0 ignores how much an element is changed.
                    At least 0.
                    Default: 0.5
        least_impact (float, optional): Smaller impacts are raised to this before logarithms are
                    taken; in the unit of the impacts (nats for divergences), larger than 0. The
                    default is what rounding float32 logits of size 75 can amount to.
                    Default: 1e-11

    The second fit is based on one step of evidence maximisation: Tipping, "Sparse Bayesian
    learning and the relevance vector machine", Journal of Machine Learning Research 1 (2001),
    Eq. 16.

    Examples::

        >>> x = torch.randn(1, 30)
        >>> forward = KLDivergenceForward(torch.nn.Linear(30, 5), x)
        >>> attr = SPES(forward).attribute(x, estimator=GaussianProcess(), n_samples=100, seed=0)
    """

    log_impacts: bool = True
    change_exponent: float = 0.5
    least_impact: float = 1e-11

    takes_prior: ClassVar[bool] = True
    # Memory grows with samples times patches.
    max_samples: ClassVar[int] = 10_000
    unseen: ClassVar[str] = "have scores inferred from their surroundings"
    # Fitted on four of the bundled clips; on the other four the reliability of tokens' maps came
    # out 0.015 too high on average, instead of 0.033 (benchmarks/split_half.py).
    odds_exponent: ClassVar[float] = 0.74

    def __post_init__(self) -> None:
        if not 0 <= real_number("change_exponent", self.change_exponent) < math.inf:
            raise ArgumentError(f"change_exponent must be at least 0, got {self.change_exponent}.")
        if not 0 < real_number("least_impact", self.least_impact) < math.inf:
            raise ArgumentError(f"least_impact must be larger than 0, got {self.least_impact}.")

    def estimate(self, features: Features, samples: Sequence[Samples]) -> Tensor:
        """Return ``(outputs, elements)``; see :class:`captum_spes.attr.Estimator`."""
        if not samples:
            raise ArgumentError("GaussianProcess needs at least one sample, got none.")
        running = self.start([features], samples[0].impacts.shape[1])
        for level, masks, impacts in samples:
            running.add(level, masks, impacts[:, None])
        return running.attributions()[0]

    def start(self, examples: Sequence[Features], n_outputs: int) -> RunningEstimate:
        """Keep samples until attributions are asked for; see
        :class:`captum_spes.attr.Estimator`."""
        return _KeptSamples(self, examples, n_outputs)


class _KeptSamples:
    """Keeps masks and impacts until a map is asked for; one regression then serves the map of all
    samples and those of both halves."""

    def __init__(
        self, settings: GaussianProcess, examples: Sequence[Features], n_outputs: int
    ) -> None:
        self._settings, self._n_outputs = settings, n_outputs
        # Made now, so that unusable inputs raise before any sample is evaluated.
        self._patches = [_patches(own, settings.change_exponent) for own in examples]
        self._priors = [own.prior for own in examples]
        self._masks: list[list[Tensor]] = [[] for _ in examples[0].levels]
        self._impacts: list[list[Tensor]] = [[] for _ in examples[0].levels]
        self._regressions: list[MaskRegression] | None = None

    def add(self, level: int, masks: Tensor, impacts: Tensor) -> None:
        if self._settings.log_impacts and bool((impacts < -_ROUNDING).any()):
            raise ArgumentError(
                "GaussianProcess takes logarithms of impacts, but one is negative: forward_func "
                "returned more for a perturbed input than for the unperturbed one. Use "
                "KLDivergenceForward, or GaussianProcess(log_impacts=False)."
            )
        self._masks[level].append(masks)
        self._impacts[level].append(impacts.reshape(len(masks), -1))
        self._regressions = None

    def attributions(self, half: int | None = None) -> list[Tensor]:
        if self._regressions is None:
            self._regressions = self._begin()
        return [regression.maps(half) for regression in self._regressions]

    def _sampled(self) -> list[int]:
        return [level for level, masks in enumerate(self._masks) if masks]

    def _half(self, half: int) -> Tensor:
        """Which samples belong to the half, bool ``(samples,)``."""
        parts = []
        for level in self._sampled():
            n_samples = sum(map(len, self._masks[level]))
            is_of_half = torch.zeros(n_samples, dtype=torch.bool, device="cpu")
            is_of_half[first_of_half(half, level) :: 2] = True
            parts.append(is_of_half)
        return torch.cat(parts)

    def _begin(self) -> list[MaskRegression]:
        masks = {level: torch.cat(self._masks[level]) for level in self._sampled()}
        impacts = torch.cat([torch.cat(self._impacts[level]) for level in masks])
        halves = (self._half(0), self._half(1))
        least = self._settings.least_impact if self._settings.log_impacts else None
        of_examples = impacts.split(self._n_outputs, 1)
        return [
            MaskRegression(patches, masks, own, halves, least, prior)
            for patches, own, prior in zip(self._patches, of_examples, self._priors, strict=True)
        ]


def _patches(features: Features, exponent: float) -> Patches:
    if not bool(torch.isfinite(features.change).all()):
        raise ArgumentError(
            "GaussianProcess needs finite inputs and baselines; use the default estimator, or "
            "replace infinite values and give GaussianProcess(change_exponent=0)."
        )
    weights = (features.change.abs() ** exponent) * features.is_perturbed
    return Patches(features.columns, features.n_features, weights)
