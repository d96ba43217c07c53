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
        y_k = X w_k + \varepsilon, \quad w_{pk} \sim N(0, (1 - c_k) v_{pk}), \quad
        \varepsilon \sim N(0, c_k)

    c, the share of the noise, is that of the highest marginal likelihood. First all
    variances v are 1 and c is common to all targets; that tells by how much each feature
    surprises, on which the caller bases variances for each target.

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
        n_samples, n_features = features.shape
        # Whichever is smaller is factorised: a matrix of the samples, or one of the features.
        self._by_feature = n_features < n_samples
        self._norms = features.square().mean(0)
        self._products = features.T @ targets
        self._inner = features.T @ features if self._by_feature else features @ features.T
        noise = _likeliest_noise(_few(self._single) @ _few(self._single).T, _few(targets))
        variance = 1 - noise
        if self._by_feature:
            factor = _factor(variance / noise * self._inner, 1.0)
            means = variance / noise * torch.cholesky_solve(self._products, factor)
            expected = variance * (1 - torch.cholesky_inverse(factor).diagonal())
        else:
            factor = _factor(variance * self._inner, noise)
            means = variance * (features.T @ torch.cholesky_solve(targets, factor))
            whitened = torch.linalg.solve_triangular(factor, features, upper=False)
            expected = variance**2 * whitened.square().sum(0)
        self.surprises = means.square() / expected.clamp(min=1e-12)[:, None]

    def weights(self, target: int, variances: Tensor) -> Tensor:
        """Posterior means of the weights of one target.

        Args:
            target (int): Its column.
            variances (Tensor): ``(features,)``, relative to even ones: of mean 1 or so. They
                are mixed with even ones, and those below the mean replaced by them.

        Returns:
            *Tensor* of shape ``(features,)``.
        """
        # About three quarters of the features are below the mean and need no further product.
        kept = (variances >= variances.mean()).nonzero()[:, 0]
        mixed = torch.full_like(variances, _EVEN_SHARE)
        mixed[kept] += (1 - _EVEN_SHARE) * variances[kept]
        mixed /= (mixed @ self._norms).clamp(min=1e-300)
        targets = self._targets[:, [target]]
        if self._by_feature:
            few = _few(self._single)
            noise = _likeliest_noise((few * mixed.float()) @ few.T, _few(targets))
            root = ((1 - noise) / noise * mixed).sqrt()
            factor = _factor(root[:, None] * self._inner * root, 1.0)
            products = root * self._products[:, target]
            return root * torch.cholesky_solve(products[:, None], factor)[:, 0]
        even = float(mixed.min())
        # In single precision: the noise, at least a tenth, outweighs what that rounds away.
        scaled = self._single[:, kept] * (mixed[kept] - even).sqrt().float()
        kernel = even * self._inner + (scaled @ scaled.T).double()
        noise = _likeliest_noise(_few(_few(kernel).T).float(), _few(targets))
        solved = torch.cholesky_solve(targets, _factor((1 - noise) * kernel, noise))
        return (1 - noise) * mixed * (self._features.T @ solved)[:, 0]


def _few(samples: Tensor) -> Tensor:
    """Evenly spaced ones: samples come level by level."""
    return samples[:: -(-len(samples) // _SAMPLES_FOR_CHOICE)]


def _factor(covariance: Tensor, noise: float) -> Tensor:
    covariance.diagonal().add_(noise)
    return torch.linalg.cholesky(covariance)


def _likeliest_noise(kernel: Tensor, targets: Tensor) -> float:
    """The share of highest marginal likelihood, of the targets together."""
    targets = targets.to(kernel.dtype)

    def loss(noise: float) -> float:
        factor = _factor((1 - noise) * kernel, noise)
        whitened = torch.linalg.solve_triangular(factor, targets, upper=False)
        # The scale of each target is integrated out at its best value.
        fit = whitened.double().square().mean(0).clamp(min=1e-300).log().mean()
        return float(fit + 2 * factor.diagonal().double().log().mean())

    return min(_NOISE_SHARES, key=loss)
