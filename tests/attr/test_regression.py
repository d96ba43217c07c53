"""The regression behind GaussianProcess, against formulas written down in the plain way."""

import pytest
import torch

from captum_spes.attr.regression.linear import Regression

SHARES = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.88, 0.94, 0.98)


def problem(n_samples, n_features, noise=0.5, seed=0):
    """Features of rows of squared norm 1 on average; the first three matter to the first target,
    the last three to the second. Samples first, as in textbooks."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    features = normal(n_samples, n_features)
    features /= features.square().sum(1).mean().sqrt()
    true = torch.zeros(n_features, 2, dtype=torch.float64)
    true[:3, 0] = true[-3:, 1] = 1
    signal = features @ true
    targets = signal / signal.std(0) * (1 - noise) ** 0.5 + noise**0.5 * normal(n_samples, 2)
    targets = targets - targets.mean(0)
    return features, targets / targets.square().mean(0).sqrt()


def negative_log_likelihood(kernel, targets, noise):
    """Of targets of unknown scale, up to constants, per sample."""
    covariance = (1 - noise) * kernel + noise * torch.eye(len(kernel), dtype=torch.float64)
    solved = torch.linalg.solve(covariance, targets)
    fit = (targets * solved).sum(0).log().mean()
    return float(fit + torch.logdet(covariance) / len(kernel))


def regression(features, targets, **arguments):
    return Regression(features.T.contiguous(), targets.T.contiguous(), **arguments)


def weights(found, variances):
    """``(features, targets)``, of all targets with the same variances."""
    variances = variances.expand(2, -1)
    return found.weights(variances, found.likeliest_noise(variances)).T


def plain_posterior(features, targets, variances, noise):
    """Means and covariance of the weights, from the normal equations."""
    precision = features.T @ features / noise + torch.diag(1 / ((1 - noise) * variances))
    covariance = torch.linalg.inv(precision)
    return covariance @ features.T @ targets / noise, covariance


def chosen(features, targets, variances):
    kernel = (features * variances) @ features.T
    return min(SHARES, key=lambda noise: negative_log_likelihood(kernel, targets, noise))


# More features than samples, and fewer: two ways to the same numbers.
@pytest.mark.parametrize(("n_samples", "n_features"), [(60, 150), (150, 60), (40, 40), (2, 5)])
@pytest.mark.parametrize("noise", [0.15, 0.5, 0.9])
class TestAgainstNormalEquations:
    def test_surprises(self, n_samples, n_features, noise):
        features, targets = problem(n_samples, n_features, noise)
        even = torch.ones(n_features, dtype=torch.float64)
        share = chosen(features, targets, even)
        means, covariance = plain_posterior(features, targets, even, share)
        # Before the data is seen, posterior means have the variance that the data takes away.
        expected = (1 - share) - covariance.diagonal()
        found = regression(features, targets).surprises.T
        assert torch.allclose(found, means.square() / expected[:, None], rtol=1e-7)
        single = regression(features.float(), targets.float()).surprises.T.double()
        assert torch.allclose(single, found, rtol=2e-3, atol=1e-3 * float(found.max()))

    def test_weights(self, n_samples, n_features, noise):
        features, targets = problem(n_samples, n_features, noise)
        generator = torch.Generator().manual_seed(1)
        variances = torch.rand(n_features, generator=generator, dtype=torch.float64) ** 4 * 5
        # A tenth is even; what is below the mean has no more than that.
        mixed = 0.1 + 0.9 * variances * (variances >= variances.mean())
        mixed /= (mixed * features.square()).sum(1).mean()
        for target in (0, 1):
            own = targets[:, [target]]
            share = chosen(features, own, mixed)
            expected = plain_posterior(features, own, mixed, share)[0][:, 0]
            for dtype in (torch.float64, torch.float32):
                found = regression(features.to(dtype), targets.to(dtype))
                deviation = weights(found, variances.to(dtype))[:, target] - expected
                assert deviation.abs().max() < 3e-4 * expected.abs().max()

    def test_a_part_is_fitted_with_what_the_whole_tells(self, n_samples, n_features, noise):
        features, targets = problem(n_samples, n_features, noise)
        whole = regression(features, targets)
        part = regression(features[::2], targets[::2], whole=whole)
        assert part.even_noise == whole.even_noise
        means, _ = plain_posterior(
            features[::2], targets[::2], torch.ones_like(features[0]), whole.even_noise
        )
        ratio = part.surprises / means.T.square()
        assert torch.allclose(ratio[0], ratio[1], rtol=1e-6)
        kernel = features[::2] @ features[::2].T
        given = regression(features[::2], targets[::2], whole=whole, kernel=kernel)
        assert torch.allclose(given.surprises, part.surprises, rtol=1e-6)


def test_noise_is_found():
    """A problem without noise fits its samples, one of noise alone is shrunk to nothing."""
    for n_samples, n_features in ((300, 40), (300, 400)):
        even = torch.ones(n_features, dtype=torch.float64)
        sizes = []
        for noise in (0.1, 0.99):
            features, targets = problem(n_samples, n_features, noise)
            own = weights(regression(features, targets), even)[:, 0]
            sizes.append(float((features @ own).std()))
        assert sizes[0] > 0.7
        assert sizes[1] < 0.3


def test_noise_is_chosen_on_samples_of_all_levels():
    """Of more samples than it is chosen on, evenly spaced ones: the first 500 have no noise."""
    features, targets = problem(1500, 40, noise=0.98)
    clear, answers = problem(500, 40, noise=0.02, seed=1)
    mixed_features = torch.cat([clear, features])
    mixed_targets = torch.cat([answers, targets])
    mixed_targets = mixed_targets / mixed_targets.square().mean(0).sqrt()
    found = weights(regression(mixed_features, mixed_targets), torch.ones(40).double())
    even = torch.ones(40, dtype=torch.float64)
    every_fourth = (mixed_features[::4], mixed_targets[::4])
    share = chosen(*every_fourth, even)
    assert share != chosen(clear, answers, even)
    means = plain_posterior(mixed_features, mixed_targets, even, share)[0]
    assert torch.allclose(found[:, 0], means[:, 0], rtol=1e-3, atol=1e-4)


def test_features_that_matter_surprise():
    features, targets = problem(200, 100, noise=0.2)
    surprises = regression(features, targets).surprises.T
    assert surprises[:3, 0].min() > 5 > 1.5 > surprises[3:, 0].mean()
    assert surprises[-3:, 1].min() > 5


def test_surprises_of_noise_are_1_on_average():
    generator = torch.Generator().manual_seed(2)
    features, _ = problem(200, 100)
    # Drawn from the prior: the expectation holds exactly.
    weights = torch.randn(100, 400, generator=generator, dtype=torch.float64) * 0.5**0.5
    noise = torch.randn(200, 400, generator=generator, dtype=torch.float64) * 0.5**0.5
    surprises = regression(features, features @ weights + noise).surprises
    assert float(surprises.mean()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("n_features", [700, 200])
def test_many_samples_of_many_features(n_features):
    """More features than are solved for exactly, some of far larger variances, in float32."""
    features, targets = problem(600, n_features, noise=0.5)
    generator = torch.Generator().manual_seed(3)
    variances = torch.rand(n_features, generator=generator, dtype=torch.float64) ** 8 * 9
    mixed = 0.1 + 0.9 * variances * (variances >= variances.mean())
    mixed /= (mixed * features.square()).sum(1).mean()
    shares = torch.tensor([0.25, 0.55], dtype=torch.float64)
    found = regression(features.float(), targets.float())
    found = found.weights(variances.float().expand(2, -1), shares).T
    for target, share in enumerate(shares.tolist()):
        own = targets[:, [target]]
        expected = plain_posterior(features, own, mixed, share)[0][:, 0]
        assert (found[:, target] - expected).abs().max() < 1e-3 * expected.abs().max()
