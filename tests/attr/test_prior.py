"""What is known before sampling helps where it is right, and is left out where it is not."""

import pytest
import torch

from captum_spes import SPES
from captum_spes.attr import GaussianProcess, MaskedMean, Prior
from captum_spes.errors import ArgumentError, ArgumentTypeError
from tests.attr.test_gaussian_process import (
    LEVELS,
    PLACES,
    TRUTH,
    X,
    agreement,
    attribute,
    two_divergences,
)

NOISE = torch.randn(2, 1, *TRUTH.shape, generator=torch.Generator().manual_seed(1)).double()


def regression(forward=two_divergences, n_samples=60, **arguments):
    return attribute(forward, estimator=GaussianProcess(), n_samples=n_samples, **arguments)


def known(noise):
    """The truth of both outputs, with noise in each element."""
    return PLACES[None] + noise * PLACES.std() * NOISE.transpose(0, 1)


def agreements(found):
    return torch.tensor(
        [agreement(own, truth) for own, truth in zip(found[0], PLACES, strict=True)]
    )


class TestRight:
    def test_both_together_are_closer_to_the_truth_than_either(self):
        prior = known(noise=1.0)
        together = agreements(regression(prior=prior))
        assert (together > agreements(regression()) + 0.02).all()
        assert (together > agreements(prior) + 0.02).all()

    def test_its_unit_does_not_matter(self):
        prior = known(noise=0.5)
        first, second = (regression(prior=factor * prior) for factor in (1, 1e6))
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-5)

    def test_the_fewer_samples_the_more_it_counts(self):
        prior = known(noise=1.0)
        few, many = (agreement(regression(n_samples=n, prior=prior)[0, 0], prior[0, 0])
                     for n in (24, 400))  # fmt: skip
        assert few > many


class TestMisleading:
    @pytest.mark.parametrize("seed", range(3))
    def test_noise_is_left_out(self, seed):
        noise = torch.randn(1, *PLACES.shape, generator=torch.Generator().manual_seed(seed))
        without, found = regression(n_samples=200), regression(n_samples=200, prior=noise)
        assert (agreements(found) > agreements(without) - 0.03).all()

    def test_the_map_of_the_other_output_is_left_out(self):
        without = agreements(regression(n_samples=200))
        found = agreements(regression(n_samples=200, prior=PLACES.flip(0)[None]))
        assert (found > without - 0.03).all()

    def test_one_that_says_nothing_changes_nothing(self):
        zeros = torch.zeros(1, *PLACES.shape)
        assert torch.equal(regression(prior=zeros), regression())


class TestArguments:
    def test_halves_have_priors_of_their_own(self):
        first, second = known(noise=0.5), PLACES[None] + 0 * NOISE.transpose(0, 1)
        prior = Prior((first + second) / 2, (first, second))
        found, halves = regression(prior=prior, return_halves=True)
        alike, same = regression(prior=prior.maps, return_halves=True)
        assert torch.equal(found, alike)
        assert not any(torch.equal(half, other) for half, other in zip(halves, same, strict=True))

    def test_each_example_has_its_own(self):
        def forward(x):
            return torch.cat([two_divergences(own[None]) for own in x])

        priors = torch.cat([known(noise=0.5), known(noise=0.2)])
        both = regression(forward, inputs=torch.cat([X, X]), prior=priors)
        for example in (0, 1):
            alone = regression(prior=priors[example : example + 1])
            torch.testing.assert_close(both[example : example + 1], alone)

    def test_of_several_inputs(self):
        levels = [(own, own + own.max() + 1) for own in LEVELS]
        inputs = (X, X)

        def forward(first, second):
            return two_divergences(first) + two_divergences(second).flip(1)

        prior = (known(noise=0.5), known(noise=0.5).flip(1))
        found = SPES.efficient(forward).attribute(
            inputs, n_samples=60, seed=0, feature_mask=levels, prior=prior
        )
        assert [own.shape for own in found] == [prior[0].shape, prior[1].shape]
        assert agreement(found[0][0, 0], PLACES[0]) > 0.8
        assert agreement(found[1][0, 1], PLACES[0]) > 0.8

    @pytest.mark.parametrize(
        ("prior", "message"),
        [
            (torch.zeros(1, 3, 16, 16), r"prior has shape \(1, 3, 16, 16\)"),
            (torch.zeros(1, 2, 16, 15), r"prior has shape \(1, 2, 16, 15\)"),
            (torch.full((1, 2, 16, 16), torch.nan), "NaN or infinity"),
            ((torch.zeros(1, 2, 16, 16),) * 2, "one Tensor for each of 1 inputs, got 2"),
        ],
    )
    def test_unusable_ones_are_refused(self, prior, message):
        with pytest.raises(ArgumentError, match=message):
            regression(prior=prior)

    def test_what_is_no_prior_is_refused(self):
        with pytest.raises(ArgumentTypeError, match="attributions or a Prior of them, got str"):
            regression(prior="attention")

    def test_the_mean_makes_no_use_of_one(self):
        with pytest.raises(ArgumentError, match="MaskedMean makes no use of a prior"):
            attribute(two_divergences, estimator=MaskedMean(), prior=PLACES[None])
