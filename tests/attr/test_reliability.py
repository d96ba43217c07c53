"""How much of a map is noise: known answers, stopping, and what is left after Ctrl-C."""

import warnings

import pytest
import torch

from captum_spes import SPES
from captum_spes.attr import split_half_reliability
from captum_spes.errors import ArgumentError

N_FEATURES = 400
GENERATOR = torch.Generator().manual_seed(0)
WEIGHT = torch.randn(N_FEATURES, generator=GENERATOR, dtype=torch.float64)
X = torch.ones(1, N_FEATURES, dtype=torch.float64)


def linear(x):
    return x @ WEIGHT


def attribute(forward=linear, **arguments):
    arguments = {"n_samples": 2000, "perturbations_per_eval": 50, "seed": 0, **arguments}
    return SPES(forward).attribute(X, **arguments)


class TestSplitHalfReliability:
    def test_equal_halves_are_all_signal(self):
        half = torch.randn(3, 50, generator=GENERATOR)
        assert torch.allclose(split_half_reliability(half, 2 * half + 1), torch.ones(3).double())

    def test_known_mixture_of_signal_and_noise(self):
        # Halves of variance 1 (signal) + 1 (noise): the noise of their mean is 0.5 of 1.5.
        signal, a, b = torch.randn(3, 1, 200_000, generator=GENERATOR)
        found = split_half_reliability(signal + a, signal + b)
        assert found.item() == pytest.approx(1 / 1.5, abs=0.01)

    @pytest.mark.parametrize("odds", [0.25, 1.0, 4.0])
    def test_exponent_of_the_odds(self, odds):
        """Halves of signal variance `odds` and noise variance 1 have these odds."""
        signal, a, b = torch.randn(3, 1, 200_000, generator=GENERATOR)
        halves = odds**0.5 * signal + a, odds**0.5 * signal + b
        for exponent in (1.0, 0.74):
            expected = 2 * odds**exponent
            found = split_half_reliability(*halves, odds_exponent=exponent).item()
            assert found == pytest.approx(expected / (1 + expected), abs=0.01)

    def test_equal_halves_are_all_signal_whatever_the_exponent(self):
        half = torch.randn(1, 50, generator=GENERATOR)
        assert split_half_reliability(half, half, odds_exponent=0.5).item() == pytest.approx(1)

    def test_independent_halves_are_noise(self):
        a, b = torch.randn(2, 1, 200_000, generator=GENERATOR)
        assert split_half_reliability(a, b).item() < 0.02

    def test_opposite_halves_are_no_negative_signal(self):
        half = torch.randn(1, 50, generator=GENERATOR)
        assert split_half_reliability(half, -half).item() == 0.0

    def test_nan_elements_do_not_count(self):
        half = torch.randn(1, 50, generator=GENERATOR)
        longer = torch.cat([half, torch.full((1, 5), torch.nan)], 1)
        other = half + torch.randn(1, 50, generator=GENERATOR)
        longer_other = torch.cat([other, torch.randn(1, 5, generator=GENERATOR)], 1)
        assert torch.allclose(
            split_half_reliability(longer, longer_other), split_half_reliability(half, other)
        )

    @pytest.mark.parametrize("half", [torch.ones(1, 9), torch.tensor([[1.0, 2.0]])])
    def test_undefined_is_nan(self, half):
        assert split_half_reliability(half, half).isnan().all()


class TestHalves:
    def test_average_to_the_whole(self):
        # With a level of one feature per half of the samples the counts are equal.
        whole, (first, second) = attribute(n_samples=20_000, return_halves=True)
        assert torch.allclose((first + second) / 2, whole, atol=0.02 * float(whole.std()))

    def test_do_not_depend_on_batches(self):
        expected = attribute(return_halves=True)[1]
        found = attribute(return_halves=True, perturbations_per_eval=7)[1]
        for a, b in zip(expected, found, strict=True):
            assert torch.allclose(a, b, rtol=1e-12)

    def test_tell_the_correlation_with_the_truth(self):
        # Reliability is the squared correlation with the map of infinitely many samples,
        # which of a linear model is an affine function of its weights.
        whole, halves = attribute(return_halves=True)
        squared = torch.corrcoef(torch.stack([whole[0], WEIGHT]))[0, 1] ** 2
        assert split_half_reliability(*halves).item() == pytest.approx(squared.item(), abs=0.05)

    def test_of_tuples_and_several_outputs(self):
        inputs = torch.ones(2, 3), torch.ones(2, 4)
        attr, halves = SPES(lambda a, b: torch.cat([a, b], 1)).attribute(
            inputs, n_samples=40, seed=0, return_halves=True
        )
        assert [a.shape for a in attr] == [(2, 7, 3), (2, 7, 4)]
        assert [[a.shape for a in half] for half in halves] == 2 * [[a.shape for a in attr]]


class Counted:
    def __init__(self, stop_after=None):
        self.samples, self.stop_after = -1, stop_after  # the first is the unperturbed input

    def __call__(self, x):
        self.samples += len(x)
        if self.stop_after is not None and self.samples > self.stop_after:
            raise KeyboardInterrupt
        return linear(x)


class TestTolerance:
    @pytest.mark.parametrize("tolerance", [0.5, 0.2, 0.1])
    def test_stops_when_the_map_is_as_precise_as_asked(self, tolerance):
        forward = Counted()
        found = attribute(forward, n_samples=50_000, tolerance=tolerance)
        squared = torch.corrcoef(torch.stack([found[0], WEIGHT]))[0, 1] ** 2
        assert forward.samples < 50_000
        # Asked at the end of rounds, so that the map may be more precise than asked for.
        assert 1 - 1.3 * tolerance < squared < 1 - 0.4 * tolerance

    def test_many_levels_are_looked_at_early(self):
        masks = [torch.arange(N_FEATURES) // (2 + i) for i in range(16)]
        forward = Counted()
        attribute(forward, feature_mask=masks, n_samples=500, tolerance=0.9)
        assert forward.samples < 200

    def test_constant_outputs_have_no_noise(self):
        calls = Counted()

        def both(x):
            return torch.stack([calls(x), torch.zeros(len(x), dtype=x.dtype)], 1)

        attribute(both, n_samples=50_000, tolerance=0.2)
        assert calls.samples < 50_000

    def test_n_samples_is_the_most(self):
        forward = Counted()
        attribute(forward, n_samples=333, tolerance=0.001)
        assert forward.samples == 333

    def test_masks_are_those_without_a_tolerance(self):
        masks = [torch.arange(N_FEATURES) // 2, torch.arange(N_FEATURES) // 8]
        expected = attribute(feature_mask=masks)
        found = attribute(feature_mask=masks, tolerance=1e-6)
        assert torch.allclose(found, expected, rtol=1e-10)

    def test_does_not_depend_on_batches(self):
        assert torch.allclose(
            attribute(tolerance=0.2), attribute(tolerance=0.2, perturbations_per_eval=1)
        )

    def test_padding_is_no_agreement(self):
        # 100 noisy elements among 300 that are never perturbed.
        mask = torch.where(torch.arange(N_FEATURES) < 100, torch.arange(N_FEATURES), -1)
        forward = Counted()
        noise = torch.Generator().manual_seed(1)

        def score(x):
            return 0 * forward(x) + torch.randn(len(x), generator=noise, dtype=torch.float64)

        attribute(score, feature_mask=mask, n_samples=500, tolerance=0.3)
        assert forward.samples == 500

    @pytest.mark.parametrize("tolerance", [0.0, 1.0, -0.1, float("nan")])
    def test_out_of_range(self, tolerance):
        with pytest.raises(ArgumentError, match="tolerance"):
            attribute(tolerance=tolerance)


class TestInterrupt:
    def test_is_raised(self):
        with pytest.raises(KeyboardInterrupt):
            attribute(Counted(stop_after=500))

    def test_returns_the_samples_so_far(self):
        with pytest.warns(UserWarning, match="interrupted after 500 of 2000 samples"):
            found = attribute(Counted(stop_after=500), return_partial=True)
        assert torch.allclose(found, attribute(n_samples=500), rtol=1e-12)

    def test_levels_take_turns(self):
        masks = [torch.arange(N_FEATURES) // 2, torch.arange(N_FEATURES) // 8]
        with pytest.warns(UserWarning, match="interrupted"):
            found = attribute(Counted(stop_after=500), feature_mask=masks, return_partial=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for mask in masks:
                alone = attribute(n_samples=150, feature_mask=mask)
                assert not torch.allclose(found, alone)
        # Pairs within one coarse patch differ only if the fine level had samples.
        assert (found[0, 0::8] != found[0, 2::8]).any()

    def test_before_the_first_sample_is_raised(self):
        with pytest.raises(KeyboardInterrupt):
            attribute(Counted(stop_after=0), return_partial=True)
