"""Regression on the masks: closer to the truth than the masked mean, from the same samples."""

import pytest
import torch

from captum_spes import SPES
from captum_spes.attr import GaussianProcess
from captum_spes.errors import ArgumentError
from tests.attr.designs import FixedMasks

# 16 x 16 elements; what removing one adds to the logarithm of the impact is smooth.
SIDE = 16
GRID = torch.linspace(-1, 1, SIDE, dtype=torch.float64)
TRUTH = torch.exp(-4 * ((GRID[:, None] - 0.4) ** 2 + (GRID[None, :] + 0.3) ** 2)) / 12
X = torch.ones(1, SIDE, SIDE, dtype=torch.float64)
ROWS, COLUMNS = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")


def squares(side):
    return (ROWS // side) * SIDE + COLUMNS // side


LEVELS = [squares(side) for side in (8, 4, 3, 2)]


def divergence(x):
    """Minus an impact that each removed element multiplies."""
    removed = (x - X).abs()
    return -torch.expm1((removed * TRUTH).sum((-1, -2)))


# Two outputs, each with its evidence in a place of its own.
PLACES = torch.stack([TRUTH, TRUTH.flip(0, 1)])
PATTERN = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def two_divergences(x):
    removed = (x - X).abs()
    # What parts do together is noise to a sum over parts.
    together = 0.7 * torch.sin(20 * (removed * PATTERN).sum((-1, -2)))
    impacts = torch.exp((removed[:, None] * PLACES).sum((-1, -2)) + together[:, None])
    return -impacts * (removed.amax((-1, -2)) > 0)[:, None]


def attribute(forward=divergence, inputs=X, estimator=None, **arguments):
    arguments = {
        "n_samples": 120, "perturbations_per_eval": 30, "seed": 0, "feature_mask": LEVELS,
        **arguments,
    }  # fmt: skip
    return SPES(forward).attribute(inputs, estimator=estimator, **arguments)


def agreement(attr, truth=TRUTH):
    return float(torch.corrcoef(torch.stack([attr.flatten(), truth.flatten()]))[0, 1])


class TestEstimate:
    def test_is_closer_to_the_truth_than_the_mean(self):
        found = torch.tensor(
            [
                [agreement(attribute(seed=seed, estimator=e)) for e in (None, GaussianProcess())]
                for seed in range(5)
            ]
        )
        assert (found[:, 1] > found[:, 0]).all()
        assert found[:, 1].mean() > found[:, 0].mean() + 0.05
        assert found[:, 1].mean() > 0.8

    def test_sums_without_logarithms(self):
        def linear(x):
            return (x * TRUTH).sum((-1, -2))

        found = attribute(linear, estimator=GaussianProcess(log_impacts=False))
        assert agreement(found) > 0.9

    def test_with_many_samples_is_the_expectation_of_the_mean(self):
        """Of a sum: (1 - p) times what the feature adds, plus p times what all add."""
        added = torch.zeros(SIDE, SIDE, dtype=torch.float64)
        for label in squares(4).unique():
            is_feature = squares(4) == label
            added[is_feature] = TRUTH[is_feature].sum()
        expected = 0.7 * added + 0.3 * TRUTH.sum()
        found = attribute(
            lambda x: (x * TRUTH).sum((-1, -2)), feature_mask=squares(4), n_samples=2000,
            perturb_prob=0.3, estimator=GaussianProcess(log_impacts=False),
        )  # fmt: skip
        assert (found[0] - expected).abs().max() < 0.05 * (expected.max() - expected.min())

    def test_impact_is_in_the_units_of_the_mean(self):
        # The mean of all impacts is what removing an element without effect is worth.
        found = attribute(estimator=GaussianProcess(), n_samples=600)
        mean = attribute(n_samples=600)
        assert found.mean() == pytest.approx(float(mean.mean()), rel=0.1)
        assert found.min() == pytest.approx(float(mean.min()), rel=0.2)

    def test_an_element_that_is_not_changed_does_not_matter(self):
        same = torch.zeros(SIDE, SIDE).bool()
        same[5] = True
        baseline = torch.where(same, X, 0.0)
        found = attribute(baselines=baseline, estimator=GaussianProcess())
        average = found[0, 5]
        assert (average == average[0]).all()
        assert (found[0, ~same] != average[0]).all()

    def test_exponent_0_ignores_how_much_an_element_is_changed(self):
        inputs = X.clone()
        inputs[0, :, ::2] = 0.25

        def constant_change(x):  # what matters is whether it was removed, not how far
            return -torch.expm1(((x == 0) * TRUTH).sum((-1, -2)))

        blind, sighted = (
            attribute(
                constant_change, inputs, estimator=GaussianProcess(change_exponent=a), n_samples=300
            )
            for a in (0.0, 1.0)
        )
        assert agreement(blind) > agreement(sighted)

    def test_one_level_is_enough(self):
        found = attribute(estimator=GaussianProcess(), feature_mask=LEVELS[1])
        assert agreement(found) > 0.8
        assert len(found.unique()) == 16

    def test_without_impact_everything_is_0(self):
        found = attribute(lambda x: 0 * x.sum((-1, -2)), estimator=GaussianProcess())
        assert (found == 0).all()

    def test_impact_that_does_not_depend_on_the_mask_is_constant(self):
        def any_change(x):
            return -1.0 * (x != X).any(-1).any(-1)

        found = attribute(any_change, estimator=GaussianProcess(), feature_mask=squares(1))
        assert torch.allclose(found, torch.ones_like(found))


class TestOwnPlaces:
    """An output that rests on one place is quiet elsewhere."""

    @staticmethod
    def noise(attr, place):
        """Deviation of what lies away from the place, as a share of the peak's height."""
        away = attr[place < place.max() / 20]
        return float(away.std() / (attr.max() - away.mean()))

    def found(self, estimator, n_samples):
        maps = [
            attribute(two_divergences, estimator=estimator, seed=seed, n_samples=n_samples)[0]
            for seed in range(5)
        ]
        pairs = [pair for of_seed in maps for pair in zip(of_seed, PLACES, strict=True)]
        noises = torch.tensor([self.noise(*pair) for pair in pairs])
        return noises, torch.tensor([agreement(*pair) for pair in pairs])

    @pytest.mark.parametrize(("n_samples", "most"), [(120, 0.13), (240, 0.075), (400, 0.07)])
    def test_is_quiet_elsewhere(self, n_samples, most):
        # With one variance for all elements: 0.16, 0.10 and 0.09.
        noises, agreements = self.found(GaussianProcess(), n_samples)
        assert noises.mean() < most
        assert agreements.mean() > 0.8

    def test_a_large_patch_does_not_drown_small_ones(self):
        # A patch of 192 elements without effect beside single ones, of which some matter.
        uneven = torch.where(ROWS < 12, 0, 1 + (ROWS - 12) * SIDE + COLUMNS)
        truth = torch.where((ROWS >= 12) & (COLUMNS >= 3) & (COLUMNS < 6), 0.5, 0.0).double()

        def score(x):
            removed = (x - X).abs()
            together = 0.7 * torch.sin(20 * (removed * PATTERN).sum((-1, -2)))
            impacts = torch.exp((removed * truth).sum((-1, -2)) + together)
            return -impacts * (removed.amax((-1, -2)) > 0)

        maps = [
            attribute(score, feature_mask=[uneven], estimator=GaussianProcess(), seed=seed,
                      n_samples=100)
            for seed in range(5)
        ]  # fmt: skip
        agreements = [agreement(found[0, 12:], truth[12:]) for found in maps]
        # With the sum over a patch in place of its mean: 0.64.
        assert sum(agreements) / 5 > 0.69

    def test_more_samples_than_the_noise_is_chosen_on(self):
        maps = attribute(two_divergences, estimator=GaussianProcess(), n_samples=1300)[0]
        assert all(agreement(m, place) > 0.85 for m, place in zip(maps, PLACES, strict=True))

    @pytest.mark.parametrize("constant", [0.0, 0.1, 0.3, 1.0])
    def test_outputs_that_do_not_vary_leave_the_others_alone(self, constant):
        def with_constants(x):
            scores = two_divergences(x)
            others = torch.full_like(scores, -constant) * (scores != 0)
            return torch.cat([scores[:, :1], others, others], 1)

        # Of four patches none is removed now and then, and then nothing is constant.
        arguments = {
            "estimator": GaussianProcess(), "n_samples": 240, "feature_mask": LEVELS[1:],
        }  # fmt: skip
        alone = attribute(lambda x: two_divergences(x)[:, :1], **arguments)[0, 0]
        found = attribute(with_constants, **arguments)[0]
        assert torch.allclose(found[0], alone)
        assert torch.allclose(found[1:], torch.full_like(found[1:], constant))

    def test_rounding_is_no_evidence(self):
        """An output whose impacts are what rounding leaves gets a constant map."""
        noise = torch.Generator().manual_seed(1)

        def with_rounding(x):
            rounding = 1e-12 * torch.rand(len(x), 1, generator=noise, dtype=torch.float64)
            return torch.cat([two_divergences(x), -rounding], 1)

        found = attribute(with_rounding, estimator=GaussianProcess())[0]
        alone = attribute(two_divergences, estimator=GaussianProcess())[0]
        assert torch.allclose(found[:2], alone, rtol=1e-3)
        assert (found[2] == found[2, 0, 0]).all()
        smaller = GaussianProcess(least_impact=1e-15)
        assert len(attribute(with_rounding, estimator=smaller)[0, 2].unique()) > 1


class TestShapes:
    def test_several_outputs_are_what_each_is_alone(self):
        def both(x):
            return torch.stack([divergence(x), 2 * divergence(x)], 1)

        found = attribute(both, estimator=GaussianProcess())
        alone = attribute(estimator=GaussianProcess())
        assert found.shape == (1, 2, SIDE, SIDE)
        assert torch.allclose(found[:, 0], alone)
        assert torch.allclose(found[:, 1], 2 * alone)

    def test_examples_are_what_each_is_alone(self):
        inputs = torch.cat([X, 2 * X])
        masks = [torch.stack([level, squares(4)]) for level in LEVELS]

        def score(x):
            return -torch.expm1((inputs.repeat(len(x) // 2, 1, 1) - x).mul(TRUTH).sum((-1, -2)))

        found = attribute(score, inputs, estimator=GaussianProcess(), feature_mask=masks)
        for example in (0, 1):
            own = inputs[example : example + 1]
            alone = attribute(
                lambda x, own=own: -torch.expm1(((own - x) * TRUTH).sum((-1, -2))),
                own,
                estimator=GaussianProcess(),
                feature_mask=[mask[example : example + 1] for mask in masks],
            )
            assert torch.allclose(found[example], alone[0])

    def test_tuples_of_inputs(self):
        left, right = X[..., :6].clone(), X[..., 6:].clone()
        masks = [(level[None, :, :6], level[None, :, 6:]) for level in LEVELS]
        found = attribute(
            lambda a, b: divergence(torch.cat([a, b], -1)),
            (left, right),
            estimator=GaussianProcess(),
            feature_mask=masks,
        )
        assert torch.allclose(torch.cat(found, -1), attribute(estimator=GaussianProcess()))

    def test_padding_gets_0(self):
        masks = [torch.where(COLUMNS < 4, -1, level) for level in LEVELS]
        found = attribute(estimator=GaussianProcess(), feature_mask=masks)
        assert (found[..., :4] == 0).all()
        assert (found[..., 4:] != 0).all()

    def test_a_forward_with_one_value_per_batch(self):
        found = attribute(
            lambda x: float(divergence(x)), estimator=GaussianProcess(), perturbations_per_eval=1
        )
        assert torch.allclose(found, attribute(estimator=GaussianProcess()).to(found.dtype))


class TestSampling:
    @pytest.mark.parametrize("size", [1, 7, 120, "auto"])
    def test_batches_change_nothing(self, size):
        found = attribute(estimator=GaussianProcess(), perturbations_per_eval=size)
        assert torch.allclose(found, attribute(estimator=GaussianProcess()), rtol=1e-8)

    def test_halves_are_of_every_second_sample(self):
        whole, halves = attribute(estimator=GaussianProcess(), return_halves=True)
        assert all(agreement(half) > 0.6 for half in halves)
        assert not torch.allclose(halves[0], halves[1])
        assert not torch.allclose(halves[0], whole)

    @pytest.mark.parametrize("estimator", [None, GaussianProcess()])
    @pytest.mark.filterwarnings("ignore:.*perturbed by no sample")
    def test_levels_of_one_sample_fill_both_halves(self, estimator):
        halves = attribute(estimator=estimator, n_samples=len(LEVELS), return_halves=True)[1]
        assert all((half != 0).any() for half in halves)

    def test_tolerance(self):
        calls = []

        def counted(x):
            calls.append(len(x))
            return divergence(x)

        attribute(counted, estimator=GaussianProcess(), n_samples=2000, tolerance=0.2)
        assert sum(calls) < 1000

    def test_elements_that_no_sample_perturbed_are_told(self):
        mask = torch.zeros(20, 4).bool()
        mask[:, 0] = torch.arange(20) % 2 == 0
        with pytest.warns(UserWarning, match="192 elements were perturbed by no sample"):
            attribute(
                estimator=GaussianProcess(), feature_mask=squares(8), design=FixedMasks(mask),
                n_samples=20,
            )  # fmt: skip

    @pytest.mark.filterwarnings("ignore:.*perturbed by no sample")
    def test_one_sample_of_each_level(self):
        found = attribute(estimator=GaussianProcess(), n_samples=len(LEVELS))
        assert len(found.unique()) > 1

    def test_a_single_sample(self):
        with pytest.warns(UserWarning, match="have scores inferred from their surroundings"):
            found = attribute(estimator=GaussianProcess(), n_samples=1)
        assert torch.isfinite(found).all()

    def test_masks_that_tell_no_feature_from_another(self):
        class EachAndItsComplement:
            def sample(self, n_samples, n_features, generator):
                first = torch.arange(n_features) < n_features // (4 if n_features == 4 else 2)
                return torch.stack([first, ~first])[:n_samples]

        def same_for_both(x):
            share = (x != X).double().mean((-1, -2))
            return -(share > 0).double() * (1 + (share - 0.5).abs())

        found = attribute(
            same_for_both, feature_mask=[squares(8), squares(4)], n_samples=4,
            design=EachAndItsComplement(), estimator=GaussianProcess(),
        )  # fmt: skip
        assert torch.isfinite(found).all()
        assert torch.allclose(found, found.mean())

    def test_an_example_without_features_gets_0(self):
        mask = torch.stack([squares(4), torch.full_like(squares(4), -1)])
        found = attribute(
            lambda x: -torch.expm1(((torch.cat([X, X]).repeat(len(x) // 2, 1, 1) - x) * TRUTH)
                                   .sum((-1, -2))),
            torch.cat([X, X]), estimator=GaussianProcess(), feature_mask=mask,
        )  # fmt: skip
        assert (found[0] != 0).all()
        assert (found[1] == 0).all()

    def test_a_level_without_features_is_left_out(self):
        nothing = torch.full((2, SIDE, SIDE), -1)
        nothing[1] = squares(4)
        masks = [torch.stack([squares(4), squares(4)]), nothing]
        found = attribute(
            lambda x: -torch.expm1(((torch.cat([X, X]).repeat(len(x) // 2, 1, 1) - x) * TRUTH)
                                   .sum((-1, -2))),
            torch.cat([X, X]), estimator=GaussianProcess(), feature_mask=masks,
        )  # fmt: skip
        assert torch.isfinite(found).all()
        assert len(found[0].unique()) == 16

    def test_a_level_that_changes_nothing_is_left_out(self):
        top = torch.where(ROWS < 4, squares(2), -1)
        masks = [squares(8), top, squares(1)]
        baseline = torch.where(ROWS < 4, X, 0.0)
        found = attribute(baselines=baseline, feature_mask=masks, estimator=GaussianProcess())
        assert agreement(found[0, 4:], TRUTH[4:]) > 0.5

    def test_autocast_around_it_changes_nothing(self):
        arguments = {"forward": two_divergences, "estimator": GaussianProcess()}
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = attribute(**arguments)
        assert torch.equal(found, attribute(**arguments))

    def test_integer_inputs_do_not_wrap_around(self):
        inputs = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)

        def score(x):
            return -torch.expm1(((x == 10) * TRUTH).sum((-1, -2)))

        found = attribute(score, inputs, baselines=10, estimator=GaussianProcess())
        expected = attribute(score, inputs.double(), baselines=10, estimator=GaussianProcess())
        assert torch.allclose(found.double(), expected)


class TestBadInput:
    def test_infinite_padding_is_no_input(self):
        inputs = X.clone()
        inputs[0, 0] = -torch.inf
        masks = [torch.where(ROWS == 0, -1, level) for level in LEVELS]
        found = attribute(
            lambda x: divergence(x.clamp(min=-1e3).where(ROWS > 0, X)),
            inputs, estimator=GaussianProcess(), feature_mask=masks,
        )  # fmt: skip
        assert torch.isfinite(found).all()

    def test_infinite_inputs_are_told_before_a_sample_is_spent(self):
        calls = []
        inputs = X.clone()
        inputs[0, 3, 3] = -torch.inf
        with pytest.raises(ArgumentError, match="finite"):
            attribute(lambda x: calls.append(1) or x.sum((-1, -2)) * 0, inputs,
                      estimator=GaussianProcess())  # fmt: skip
        assert len(calls) == 1

    def test_impacts_that_help(self):
        with pytest.raises(ArgumentError, match="log_impacts=False"):
            attribute(lambda x: -divergence(x), estimator=GaussianProcess())

    def test_infinite_inputs(self):
        inputs = X.clone()
        inputs[0, 0, 0] = -torch.inf
        with pytest.raises(ArgumentError, match="finite"):
            attribute(lambda x: -1.0 * (x == 0).sum((-1, -2)), inputs, estimator=GaussianProcess())

    def test_more_samples_than_it_takes(self):
        with pytest.raises(ArgumentError, match="at most 10000 samples"):
            attribute(estimator=GaussianProcess(), n_samples=20_000)

    @pytest.mark.parametrize("exponent", [-0.1, float("inf"), float("nan")])
    def test_exponent_out_of_range(self, exponent):
        with pytest.raises(ArgumentError, match="change_exponent"):
            GaussianProcess(change_exponent=exponent)

    @pytest.mark.parametrize("least", [0.0, -1.0, float("inf"), float("nan")])
    def test_least_impact_out_of_range(self, least):
        with pytest.raises(ArgumentError, match="least_impact"):
            GaussianProcess(least_impact=least)
