"""Bayesian linear regression in which every target has prior variances of its own."""

from __future__ import annotations

import math
from functools import cache, cached_property

import torch
from torch import Tensor

# The noise's share of the variance is chosen from these, on at most this many samples.
_NOISE_SHARES = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.88, 0.94, 0.98)
_SAMPLES_FOR_CHOICE = 500
# From this many samples on, not all shares are tried; the search begins in the middle.
_MANY_SAMPLES, _MIDDLE = 256, 3
# Evidence that a feature does not matter is weak: all keep this share of an even variance.
_EVEN_SHARE = 0.1
# The features of the largest variances make the equations ill-conditioned. This many are solved for
# exactly; starting from them, the solution for all takes a dozen steps.
_LEADING = 96
# Where the steps end: the residual relative to the right-hand sides, and the most steps.
_TOLERANCE, _MOST_STEPS = 3e-5, 300
# Targets solved for together, which bounds memory.
_TARGETS_AT_ONCE = 16
# Symmetric products are computed this many rows at a time, and only half of each.
_ROWS_AT_ONCE = 128


class Regression:
    r"""
    Regression of targets on features with Gaussian priors.

    .. math::
        y_k = X w_k + \varepsilon, \quad w_{pk} \sim N(0, (1 - c_k) v_{pk}), \quad
        \varepsilon \sim N(0, c_k)

    c, the share of the noise, is the one of highest marginal likelihood. In the first fit all
    variances v are 1 and c is common to all targets. How much larger than expected the squared
    weights come out is in ``surprises``, on which the caller bases the variances of each target.

    The first fit factorises a matrix of the n samples or of the p features, whichever are
    fewer: O(n^2 p + n^3) or O(n p^2 + p^3), once for all targets. The second solves by conjugate
    gradients, O(n p) for each target, and chooses the noise on 500 samples.

    Args:
        features (Tensor): float32 or float64 ``(features, samples)``, scaled so that the mean
            squared norm of a sample is about 1. Everything is computed in their precision; in
            float32 the noise, at least a tenth, outweighs rounding.
        targets (Tensor): ``(targets, samples)``, of mean 0 and variance 1.
        whole (Regression, optional): The regression on all samples, where these are only some.
            What depends little on their number is taken from it: the share of the noise under even
            variances, and the relative sizes of the expected squared weights.
            Default: None, both are computed
        kernel (Tensor, optional): Products of the samples' features with each other,
            ``(samples, samples)``, if they are known.
            Default: None

    Attributes:
        even_noise: the share of the noise under even variances.
        kernel: products of the samples' features, or None if there are more samples than features.
        surprises: ``(targets, features)``: squared posterior means of w under even variances,
            divided by their expectation; 1 on average where the prior is right. With ``whole``,
            only up to a common factor.
    """

    def __init__(
        self,
        features: Tensor,
        targets: Tensor,
        whole: Regression | None = None,
        kernel: Tensor | None = None,
    ) -> None:
        self._features, self._targets = features, targets.to(features)
        self._norms = features.square().mean(1)
        # Whichever is smaller is factorised: a matrix of the samples, or one of the features.
        if kernel is None and features.shape[1] <= features.shape[0]:
            kernel = _square(features.T)
        self.kernel = kernel
        if whole is None:
            self.even_noise = _likeliest_noise(self._kernel_of_few, _few(self._targets))
        else:
            self.even_noise = whole.even_noise
        expected = None if whole is None else whole._expected
        self._expected: Tensor
        means, self._expected = self._fit_evenly(expected)
        self.surprises = means.square() / self._expected.clamp(min=1e-12)

    @cached_property
    def _kernel_of_few(self) -> Tensor:
        if self.kernel is None:
            return _square(_few(self._features).T)
        return _few(_few(self.kernel).T)

    def _fit_evenly(self, expected: Tensor | None) -> tuple[Tensor, Tensor]:
        """Posterior means under even variances and the expectation of their squares."""
        variance, noise = 1 - self.even_noise, self.even_noise
        if self.kernel is not None:
            factor = _factor(variance * self.kernel, noise)
            means = variance * torch.cholesky_solve(self._targets.T, factor).T @ self._features.T
            if expected is None:
                forms = _quadratic_forms(torch.cholesky_inverse(factor), self._features)
                expected = variance**2 * forms
            return means, expected
        ratio = variance / noise
        factor = _factor(ratio * _square(self._features).double(), 1.0)
        products = (self._features @ self._targets.T).double()
        means = ratio * torch.cholesky_solve(products, factor).T.to(self._features)
        if expected is None:
            left = torch.cholesky_inverse(factor).diagonal()
            expected = (variance * (1 - left)).to(self._features)
        return means, expected

    def likeliest_noise(self, variances: Tensor) -> Tensor:
        """The share of the noise of each target under variances of its own.

        Args:
            variances (Tensor): See ``weights``.

        Returns:
            *Tensor* of shape ``(targets,)``, float64.
        """
        few, targets = _few(self._features).contiguous(), _few(self._targets)
        shares = []
        for own, target in zip(self._mixed(variances), targets, strict=True):
            even = own.min()
            # About three quarters of the features keep the even variance and need no product.
            raised = (own > even).nonzero()[:, 0]
            excess = few[raised] * (own[raised] - even).sqrt()[:, None]
            kernel = even * self._kernel_of_few + _square(excess.T)
            shares.append(_likeliest_noise(kernel, target[None]))
        return torch.tensor(shares, dtype=torch.float64, device="cpu")

    def weights(self, variances: Tensor, noise: Tensor) -> Tensor:
        """Posterior means of the weights, every target under variances of its own.

        Args:
            variances (Tensor): ``(targets, features)``, relative to even ones: of mean 1 or so.
                They are mixed with even ones, and those below the mean replaced by them.
            noise (Tensor): ``(targets,)``: the share of the noise.

        Returns:
            *Tensor* of shape ``(targets, features)``.
        """
        noise = noise.to(self._features)[:, None]
        prior = (1 - noise) * self._mixed(variances)
        parts = zip(
            *(t.split(_TARGETS_AT_ONCE) for t in (prior, noise, self._targets)), strict=True
        )
        solved = torch.cat([_solved(self._features, *part) for part in parts])
        return prior * (solved @ self._features.T)

    def _mixed(self, variances: Tensor) -> Tensor:
        variances = variances.to(self._features)
        is_raised = variances >= variances.mean(1, keepdim=True)
        mixed = torch.where(is_raised, _EVEN_SHARE + (1 - _EVEN_SHARE) * variances, _EVEN_SHARE)
        return mixed / (mixed @ self._norms).clamp(min=1e-30)[:, None]


def _few(samples: Tensor) -> Tensor:
    """At most ``_SAMPLES_FOR_CHOICE`` samples, evenly spaced, since they come level by level."""
    return samples[..., :: -(-samples.shape[-1] // _SAMPLES_FOR_CHOICE)]


def _square(rows: Tensor) -> Tensor:
    """rows @ rows.T, of which only half is computed."""
    product = rows.new_empty(len(rows), len(rows))
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        stop = start + _ROWS_AT_ONCE
        product[start:stop, :stop] = rows[start:stop] @ rows[:stop].T
        product[:start, start:stop] = product[start:stop, :start].T
    return product


def _quadratic_forms(matrix: Tensor, vectors: Tensor) -> Tensor:
    """x^T matrix x for the rows x of ``vectors``, by half of the symmetric matrix."""
    doubled = 2 * matrix.triu()
    doubled.diagonal().mul_(0.5)
    forms = torch.zeros_like(vectors[:, 0])
    for start in range(0, len(matrix), _ROWS_AT_ONCE):
        stop = start + _ROWS_AT_ONCE
        product = vectors[:, :stop] @ doubled[:stop, start:stop]
        forms += product.mul_(vectors[:, start:stop]).sum(1)
    return forms


def _factor(covariance: Tensor, noise: float) -> Tensor:
    covariance.diagonal().add_(noise)
    factor: Tensor = torch.linalg.cholesky(covariance)
    return factor


def _likeliest_noise(kernel: Tensor, targets: Tensor) -> float:
    """The noise's share of highest marginal likelihood, for all targets together.

    With few samples the likelihood can have two maxima, at little noise and at almost nothing but
    noise, so all shares are tried. With many it has one, which is climbed to.
    """

    @cache
    def loss(index: int) -> float:
        if not 0 <= index < len(_NOISE_SHARES):
            return math.inf
        noise = _NOISE_SHARES[index]
        factor = _factor((1 - noise) * kernel, noise)
        whitened = torch.linalg.solve_triangular(factor, targets.T, upper=False)
        # The scale of each target is integrated out at its best value.
        fit = whitened.double().square().mean(0).clamp(min=1e-300).log().mean()
        return float(fit + 2 * factor.diagonal().double().log().mean())

    if len(kernel) < _MANY_SAMPLES:
        return _NOISE_SHARES[min(range(len(_NOISE_SHARES)), key=loss)]
    best = _MIDDLE
    for step in (1, -1):
        while loss(best + step) < loss(best):
            best += step
    return _NOISE_SHARES[best]


def _solved(features: Tensor, prior: Tensor, noise: Tensor, targets: Tensor) -> Tensor:
    """(X V_k X^T + c_k I)^-1 y_k of all targets k, by preconditioned conjugate gradients."""
    approximation = _LeadingFeatures(features, prior, noise)
    solution, rest = torch.zeros_like(targets), targets.clone()
    least = _TOLERANCE * targets.norm(dim=1)
    tiny = torch.finfo(targets.dtype).tiny
    direction = approximation.solve(rest)
    product = _dot(rest, direction)
    for _ in range(_MOST_STEPS):
        change = (prior * (direction @ features.T)) @ features + noise * direction
        length = product / _dot(direction, change).clamp(min=tiny)
        solution += length * direction
        rest -= length * change
        if bool((rest.norm(dim=1) <= least).all()):
            break
        step = approximation.solve(rest)
        before, product = product, _dot(rest, step)
        direction = step + product / before.clamp(min=tiny) * direction
    return solution


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum(1, keepdim=True)


class _LeadingFeatures:
    """The equations with the features of the largest variances; the others count as noise."""

    def __init__(self, features: Tensor, prior: Tensor, noise: Tensor) -> None:
        share = prior * features.square().sum(1)
        leading = share.topk(min(_LEADING, share.shape[1]), 1).indices
        others = (share.sum(1) - share.gather(1, leading).sum(1)).clamp(min=0)
        self._noise = noise + others[:, None] / features.shape[1]
        # (targets, leading features, samples)
        own = features[leading] * prior.gather(1, leading).sqrt()[:, :, None]
        inner = own @ own.mT
        inner.diagonal(dim1=1, dim2=2).add_(self._noise)
        self._own, self._inverse = own, torch.cholesky_inverse(torch.linalg.cholesky(inner))

    def solve(self, values: Tensor) -> Tensor:
        """By Woodbury's identity, as rows times matrices: with columns it is ten times slower."""
        inner = values[:, None] @ self._own.mT @ self._inverse
        return (values - (inner @ self._own)[:, 0]) / self._noise
