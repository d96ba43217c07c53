"""SPES in Captum's own tools: pictures, infidelity, sensitivity, NoiseTunnel."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, visualization
from captum.attr import NoiseTunnel as CaptumNoiseTunnel
from captum.metrics import infidelity, infidelity_perturb_func_decorator, sensitivity_max

from captum_spes import SPES
from captum_spes.attr import MaskedDifference, NoiseTunnel
from tests.attr.designs import AllMasks

FREQUENCY, TIME = torch.arange(8)[:, None], torch.arange(12)
IS_TONE = (FREQUENCY // 2 == 2).expand(8, 12)
IS_BURST = (FREQUENCY < 4) & (TIME >= 8)
PATCHES = (FREQUENCY // 2 * 6 + TIME // 2)[None, None]
QUARTERS = (FREQUENCY // 4 * 2 + TIME // 6)[None, None]
SPECTROGRAM = torch.full((8, 12), 0.2).where(~IS_TONE, 1.0).where(~IS_BURST, 0.8)[None, None]

WEIGHTS = torch.tensor([1.0, 2.0, 0.0, -1.0])
ONES = torch.ones(1, 4)
EVERY_MASK = {"n_samples": 16, "perturbations_per_eval": 16}


def detector(x):
    """Whether a tone is there, against which a burst speaks; deaf to the rest."""
    evidence = 0.8 * x[:, 0, IS_TONE].mean(-1) - 0.4 * x[:, 0, IS_BURST].mean(-1)
    return torch.stack([evidence, -evidence], 1).softmax(1)


def linear(x):
    return x @ WEIGHTS


def ablated(target=0):
    return FeatureAblation(detector).attribute(SPECTROGRAM, target=target, feature_mask=PATCHES)


def sampled(estimator=None, target=0):
    samples = {"n_samples": 6000, "perturbations_per_eval": 1000, "seed": 0}
    method = SPES(detector, estimator=estimator)
    return method.attribute(SPECTROGRAM, target=target, feature_mask=PATCHES, **samples)


def drawn(attributions, method, sign):
    """What Captum draws, as numbers."""
    figure, axis = visualization.visualize_image_attr(
        attributions[0].permute(1, 2, 0).numpy(),
        SPECTROGRAM[0].expand(3, -1, -1).permute(1, 2, 0).numpy(),
        method=method,
        sign=sign,
        use_pyplot=False,
    )
    assert figure is not None
    return np.asarray(axis.images[-1].get_array(), dtype=float)


each_picture = pytest.mark.parametrize(
    ("method", "sign", "white_to_full"),
    [
        ("heat_map", "all", 1),
        ("heat_map", "positive", 1),
        ("heat_map", "negative", 1),
        ("heat_map", "absolute_value", 1),
        ("blended_heat_map", "all", 1),
        ("blended_heat_map", "positive", 1),
        ("blended_heat_map", "absolute_value", 1),
        ("masked_image", "positive", 255),
        ("masked_image", "absolute_value", 255),
    ],
)


class TestPictures:
    @each_picture
    def test_difference_is_drawn_as_ablation(self, method, sign, white_to_full):
        theirs = drawn(ablated(), method, sign) / white_to_full
        ours = drawn(sampled(MaskedDifference()), method, sign) / white_to_full
        assert theirs.max() - theirs.min() > 0.9
        assert np.abs(ours - theirs).max() < 0.25

    def test_mean_has_no_white(self):
        """What the difference is for: deaf places and the burst are drawn like evidence."""
        assert drawn(ablated(), "heat_map", "all").min() < -0.2
        assert drawn(sampled(), "heat_map", "all").min() > 0.2

    def test_difference_can_be_drawn_where_the_mean_cannot(self):
        """All is negative for the class that the input speaks against."""
        with pytest.raises(AssertionError, match="scale factor = 0"):
            drawn(sampled(target=1), "heat_map", "positive")
        picture = drawn(sampled(MaskedDifference(), target=1), "heat_map", "positive")
        assert np.array_equal(picture > 0.5, IS_BURST.numpy())


@infidelity_perturb_func_decorator(multiply_by_inputs=True)
def remove_half(inputs):
    return inputs * (torch.rand(inputs.shape) < 0.5)


@pytest.fixture
def _seeded():
    """Captum's metrics and NoiseTunnel draw from the global generator."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def infidelity_of(attributions, forward=linear):
    torch.manual_seed(0)
    return float(infidelity(forward, remove_half, ONES, attributions, n_perturb_samples=500))


@pytest.mark.usefixtures("_seeded")
class TestInfidelity:
    def test_order(self):
        """Ablation and the difference are exact for a linear model, the mean is not."""
        mean = SPES(linear).attribute(ONES, design=AllMasks(), **EVERY_MASK)
        exact = SPES(linear, estimator=MaskedDifference()).attribute(
            ONES, design=AllMasks(), **EVERY_MASK
        )
        assert infidelity_of(FeatureAblation(linear).attribute(ONES)) < 1e-10
        assert infidelity_of(exact) < 1e-10
        assert infidelity_of(mean) > 1

    def test_sampled_difference_is_far_better_than_the_mean(self):
        many = {"n_samples": 20_000, "perturbations_per_eval": 1000, "seed": 0}
        difference = SPES(linear, estimator=MaskedDifference()).attribute(ONES, **many)
        assert infidelity_of(difference) < 1e-3
        assert infidelity_of(difference) < infidelity_of(SPES(linear).attribute(ONES, **many)) / 1e3

    def test_difference_is_better_than_ablation_where_features_interact(self):
        """Ablation removes one feature from the full input; the difference, from all others."""

        def product(x):
            return x[:, 0] * x[:, 1] + 2 * x[:, 2] * x[:, 3]

        difference = SPES(product, estimator=MaskedDifference()).attribute(
            ONES, design=AllMasks(), **EVERY_MASK
        )
        ablation = FeatureAblation(product).attribute(ONES)
        assert infidelity_of(difference, product) < 0.7 * infidelity_of(ablation, product)


@pytest.mark.usefixtures("_seeded")
class TestSensitivity:
    @pytest.mark.parametrize("estimator", [None, MaskedDifference()])
    def test_seed_makes_it_repeatable(self, estimator):
        first, again = (sensitivity_of(estimator, seed=0) for _ in range(2))
        assert first == again

    def test_seed_leaves_the_model_alone(self):
        """Without a seed sampling noise is added to what the model does."""
        torch.manual_seed(0)
        ablation = float(sensitivity_max(FeatureAblation(linear).attribute, ONES))
        assert sensitivity_of(MaskedDifference(), seed=0) == pytest.approx(ablation, rel=0.2)
        assert sensitivity_of(MaskedDifference(), seed=None) > 3 * ablation

    def test_levels_and_batches(self):
        levels = [torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 1, 2, 2]])]
        found = sensitivity_max(
            SPES(linear, estimator=MaskedDifference()).attribute,
            ONES.repeat(2, 1),
            feature_mask=levels,
            n_samples=200,
            seed=0,
        )
        assert found.shape == (2,)
        assert bool((found < 0.1).all())


def sensitivity_of(estimator, seed):
    torch.manual_seed(0)
    method = SPES(linear, estimator=estimator)
    samples = {"n_samples": 500, "perturbations_per_eval": 500, "seed": seed}
    return float(sensitivity_max(method.attribute, ONES, **samples))


@pytest.mark.usefixtures("_seeded")
class TestNoiseTunnel:
    samples = {"target": 0, "n_samples": 400, "perturbations_per_eval": 200, "seed": 0}  # noqa: RUF012

    @pytest.mark.parametrize("kind", [CaptumNoiseTunnel, NoiseTunnel])
    def test_one_feature_mask(self, kind):
        smooth = kind(SPES(detector)).attribute(
            SPECTROGRAM, nt_samples=3, stdevs=0.0, feature_mask=PATCHES, **self.samples
        )
        plain = SPES(detector).attribute(SPECTROGRAM, feature_mask=PATCHES, **self.samples)
        torch.testing.assert_close(smooth, plain)

    def test_masks_that_differ_by_example(self):
        """Every copy of an example gets the masks of that example."""
        inputs = torch.cat([SPECTROGRAM, SPECTROGRAM.flip(-1)])
        levels = [torch.cat([PATCHES, PATCHES.flip(-1)]), torch.cat([QUARTERS, PATCHES])]
        smooth = NoiseTunnel(SPES(detector)).attribute(
            inputs, nt_samples=3, stdevs=0.0, feature_mask=levels, **self.samples
        )
        plain = SPES(detector).attribute(inputs, feature_mask=levels, **self.samples)
        torch.testing.assert_close(smooth, plain)

    @pytest.mark.parametrize("nt_samples_batch_size", [None, 2])
    def test_levels_are_smoothed_over_the_noise(self, nt_samples_batch_size):
        """The mean of SPES in levels of the noisy inputs, two examples at once."""
        inputs = torch.cat([SPECTROGRAM, SPECTROGRAM.flip(-1)])
        plain = SPES(detector, estimator=MaskedDifference())
        levels = {"feature_mask": [PATCHES, QUARTERS]}
        smooth = NoiseTunnel(plain).attribute(
            inputs,
            **levels,
            nt_samples=3,
            nt_samples_batch_size=nt_samples_batch_size,
            stdevs=0.1,
            **self.samples,
        )
        torch.manual_seed(0)
        parts = [3] if nt_samples_batch_size is None else [2, 1]
        noisy = [_noisy(inputs, n) for n in parts]
        maps = [
            plain.attribute(own.flatten(0, 1), **levels, **self.samples).unflatten(0, own.shape[:2])
            for own in noisy
        ]
        torch.testing.assert_close(smooth, torch.cat(maps, 1).mean(1))
        assert not torch.allclose(smooth, plain.attribute(inputs, **levels, **self.samples))


def _noisy(inputs, n):
    """``n`` noisy copies of each example, as NoiseTunnel draws them: ``(batch, n, ...)``."""
    copies = inputs.repeat_interleave(n, 0)
    noise = torch.normal(0, torch.tensor(0.1).repeat(copies.shape))
    return (copies + noise).unflatten(0, (len(inputs), n))


def teardown_module():
    plt.close("all")
