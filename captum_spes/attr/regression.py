"""Bayesian linear regression in which every target has variances of its own."""

from __future__ import annotations

import torch
from torch import Tensor

# The noise's share of the variance is chosen from these, on at most so many samples.
_NOISE_SHARES = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.88, 0.94, 0.98)
_SAMPLES_FOR_CHOICE = 500
# Evidence that a feature does not matter is weak: all keep this share of an even variance.
_EVEN_SHARE = 0.1


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
        self._single = features.float()
        self._even = features @ features.T
        self._noise, factor = _likeliest(self._even, targets, len(_NOISE_SHARES) // 2)
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
        # Those below the average make do with the even share: three quarters of a token's, which
        # need not be multiplied again.
        kept = (variances >= variances.mean()).nonzero()[:, 0]
        own = torch.zeros_like(variances)
        own[kept] = (1 - _EVEN_SHARE) * variances[kept]
        # In single precision: the noise, at least a tenth, outweighs what that rounds away.
        scaled = self._single[:, kept] * own[kept].sqrt().float()
        kernel = _EVEN_SHARE * self._even + (scaled @ scaled.T).double()
        scale = float(kernel.diagonal().mean())
        kernel /= scale
        targets = self._targets[:, [target]]
        noise, factor = _likeliest(kernel, targets, self._noise)
        solved = torch.cholesky_solve(targets, factor)[:, 0]
        variance = (1 - _NOISE_SHARES[noise]) / scale
        return variance * (_EVEN_SHARE + own) * (self._features.T @ solved)


def _factor(kernel: Tensor, noise: int) -> Tensor:
    covariance = (1 - _NOISE_SHARES[noise]) * kernel
    covariance.diagonal().add_(_NOISE_SHARES[noise])
    return torch.linalg.cholesky(covariance)


def _likeliest(kernel: Tensor, targets: Tensor, start: int) -> tuple[int, Tensor]:
    """The noise of highest marginal likelihood, climbing from a first guess: index and factor."""
    step = -(-len(targets) // _SAMPLES_FOR_CHOICE)
    few, targets = kernel[::step, ::step].float(), targets[::step].float()

    def loss(noise: int) -> float:
        factor = _factor(few, noise)
        whitened = torch.linalg.solve_triangular(factor, targets, upper=False)
        # The scale of each target is integrated out at its best value.
        fit = whitened.double().square().mean(0).clamp(min=1e-300).log().mean()
        return float(fit + 2 * factor.diagonal().double().log().mean())

    best, least = start, loss(start)
    for direction in (-1, 1):
        if direction == 1 and best != start:
            break  # the likelihood has one maximum
        while 0 <= best + direction < len(_NOISE_SHARES):
            further = loss(best + direction)
            if further >= least:
                break
            best, least = best + direction, further
    return best, _factor(kernel, best)
