"""Bayesian linear regression in which every target has variances of its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# The noise's share of the variance is chosen from these, on at most so many samples.
_NOISE_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.68, 0.76, 0.82, 0.88, 0.92, 0.95, 0.97, 0.99)
_SAMPLES_FOR_CHOICE = 1000
# Evidence that a feature does not matter is weak: it keeps this share of an even variance.
_EVEN_SHARE = 0.1
# Features beyond the first that hold this share of the variance make do with that.
_KEPT = 0.8


class Regression:
    r"""
    Regression of targets on features with Gaussian priors.

    .. math::
        y_k = X w_k + \varepsilon, \quad w_{pk} \sim N(0, (1 - c) v_{pk}), \quad
        \varepsilon \sim N(0, c)

    First with even variances, v = 1, for all targets together; that tells by how much each
    feature surprises, on which the caller bases variances for each target.

    Args:
        features (Tensor): float64 ``(samples, features)``, scaled so that the mean of their
            rows' squared norms is 1.
        targets (Tensor): float64 ``(samples, targets)``, of mean 0 and variance 1.

    Attributes:
        surprises: ``(features, targets)``: squared posterior means of w under even variances,
            divided by their expectation; 1 on average where the prior is right.
    """

    def __init__(self, features: Tensor, targets: Tensor) -> None:
        self._features, self._targets = features, targets
        self._norms = features.square().sum(0)
        self._even = features @ features.T
        self._noise = _noise_share(self._even, targets, len(_NOISE_SHARES) // 2)
        factor = _factor(self._even, self._noise)
        variance = 1 - _NOISE_SHARES[self._noise]
        means = variance * (features.T @ torch.cholesky_solve(targets, factor))
        whitened = torch.linalg.solve_triangular(factor, features, upper=False)
        expected = variance**2 * whitened.square().sum(0)
        self.surprises = means.square() / expected.clamp(min=1e-12)[:, None]

    def weights(self, target: int, variances: Tensor) -> Tensor:
        """Posterior means of the weights of one target.

        Args:
            target (int): Its column.
            variances (Tensor): ``(features,)``, their sizes relative to each other.

        Returns:
            *Tensor* of shape ``(features,)``.
        """
        mass = variances * self._norms
        order = mass.argsort(descending=True)
        n_kept = int((mass[order].cumsum(0) < _KEPT * mass.sum()).sum()) + 1
        kept = order[:n_kept]
        own = torch.zeros_like(variances)
        own[kept] = (1 - _EVEN_SHARE) * variances[kept]
        features = self._features[:, kept]
        kernel = _EVEN_SHARE * self._even + (features * own[kept]) @ features.T
        scale = float(kernel.diagonal().mean())
        kernel /= scale
        targets = self._targets[:, [target]]
        noise = _noise_share(kernel, targets, self._noise)
        solved = torch.cholesky_solve(targets, _factor(kernel, noise))[:, 0]
        variance = (1 - _NOISE_SHARES[noise]) / scale
        return variance * (_EVEN_SHARE + own) * (self._features.T @ solved)


def _factor(kernel: Tensor, noise: int) -> Tensor:
    covariance = (1 - _NOISE_SHARES[noise]) * kernel
    covariance.diagonal().add_(_NOISE_SHARES[noise])
    return torch.linalg.cholesky(covariance)


def _noise_share(kernel: Tensor, targets: Tensor, start: int) -> int:
    """Index of the share of highest marginal likelihood, climbing from a first guess."""
    step = -(-len(targets) // _SAMPLES_FOR_CHOICE)
    kernel, targets = kernel[::step, ::step], targets[::step]
    losses: dict[int, float] = {}

    def loss(noise: int) -> float:
        if not 0 <= noise < len(_NOISE_SHARES):
            return math.inf
        if noise not in losses:
            factor = _factor(kernel, noise)
            whitened = torch.linalg.solve_triangular(factor, targets, upper=False)
            # The scale of each target is integrated out at its best value.
            fit = whitened.square().mean(0).clamp(min=1e-300).log().mean()
            losses[noise] = float(fit + 2 * factor.diagonal().log().mean())
        return losses[noise]

    best = start
    for direction in (-1, 1):
        while loss(best + direction) < loss(best):
            best += direction
    return best
