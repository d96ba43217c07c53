"""Estimators: closed forms of the difference of means, and estimators of one's own."""

import itertools
import math

import pytest
import torch
from captum.attr import FeatureAblation

from captum_spes import SPES, BubbleNoise, KLDivergenceForward
from captum_spes.attr import (
    Estimator,
    Features,
    GaussianProcess,
    MaskedDifference,
    MaskedMean,
    Samples,
)
from captum_spes.errors import ArgumentError, ArgumentTypeError
from tests.attr.designs import AllMasks, FixedMasks

WEIGHTS = torch.tensor([1.0, 2.0, 0.0, -1.0], dtype=torch.float64)
ONES = torch.ones(1, 4, dtype=torch.float64)


def linear(x):
    return x @ WEIGHTS


def exact(forward, x, estimator=None, **arguments):
    """With every mask once: no noise at p = 0.5."""
    n = arguments.get("feature_mask", x)
    count = x[0].numel() if n is x else int(n.max()) + 1
    return SPES(forward, estimator=estimator or MaskedDifference()).attribute(
        x, design=AllMasks(), n_samples=2**count, **arguments
    )


class TestMaskedDifference:
    def test_linear_model_gives_coefficient_times_change(self):
        baselines = torch.tensor([[0.5, -1.0, 3.0, 0.0]], dtype=torch.float64)
        found = exact(linear, ONES, baselines=baselines)
        assert torch.allclose(found, WEIGHTS * (ONES - baselines), atol=1e-12)
        assert torch.allclose(exact(linear, ONES), FeatureAblation(linear).attribute(ONES))

    def test_mean_of_the_same_samples_does_not(self):
        found = exact(linear, ONES, MaskedMean())
        assert torch.allclose(found, torch.tensor([[1.5, 2.0, 1.0, 0.5]]).double(), atol=1e-12)

    def test_it_is_the_banzhaf_value(self):
        """Of a game with interactions: the mean over all coalitions of what a player adds."""

        def game(x):
            return x[:, 0] * x[:, 1] + 2 * x[:, 1] * x[:, 2] * x[:, 3] - x[:, 3]

        found = exact(game, ONES)[0]
        for player in range(4):
            others = [i for i in range(4) if i != player]
            added = []
            for subset in itertools.product([0.0, 1.0], repeat=3):
                x = torch.zeros(2, 4, dtype=torch.float64)
                x[:, others] = torch.tensor(subset, dtype=torch.float64)
                x[1, player] = 1
                without, with_player = game(x)
                added.append(float(with_player - without))
            assert math.isclose(found[player], sum(added) / len(added), abs_tol=1e-12)

    def test_expectation_at_any_probability(self):
        """Linear: the coefficient, whatever p; within five standard errors."""
        for p in (0.2, 0.8):
            found = SPES(linear, estimator=MaskedDifference()).attribute(
                ONES, n_samples=20_000, perturb_prob=p, seed=0
            )
            others = (WEIGHTS.square().sum() - WEIGHTS.square()) * p * (1 - p)
            error = (others / 20_000 / (p * (1 - p))).sqrt()
            assert ((found[0] - WEIGHTS).abs() < 5 * error + 1e-9).all()

    def test_levels_are_pooled(self):
        """Means over the samples of both levels, in which features have other neighbours."""
        coarse, fine = torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 1, 2, 3]])
        masks = [torch.tensor([[1, 0], [0, 1]]), torch.tensor([[1, 0, 0, 0], [0, 0, 0, 1]])]

        class Both:
            def sample(self, n_samples, n_features, generator):
                return masks[0 if n_features == 2 else 1].bool()

        found = SPES(linear, estimator=MaskedDifference()).attribute(
            ONES, feature_mask=[coarse, fine], n_samples=4, design=Both(), perturbations_per_eval=2
        )
        # Impacts 3, -1 by halves; 1, -1 by single elements.
        removed = torch.tensor([(3 + 1) / 2, 3 / 1, -1 / 1, (-1 - 1) / 2])
        kept = torch.tensor([(-1 - 1) / 2, (-1 + 1 - 1) / 3, (3 + 1 - 1) / 3, (3 + 1) / 2])
        assert torch.allclose(found[0], (removed - kept).double())

    def test_what_was_never_removed_or_never_kept_is_0(self):
        design = FixedMasks([[1, 1, 0, 0], [1, 0, 0, 0]])
        found = SPES(linear, estimator=MaskedDifference())
        with pytest.warns(UserWarning, match="2 elements were perturbed by no sample"):
            attributions = found.attribute(ONES, n_samples=2, design=design)
        assert attributions.tolist() == [[0.0, 2.0, 0.0, 0.0]]

    def test_padding_is_0(self):
        mask = torch.tensor([[0, 1, -1, 2]])
        found = exact(linear, ONES, feature_mask=mask)
        assert torch.allclose(found, torch.tensor([[1.0, 2.0, 0.0, -1.0]]).double())
        inputs = torch.full((1, 4), 5.0, dtype=torch.float64)
        assert exact(linear, inputs, feature_mask=mask)[0, 2] == 0


class Recorded:
    """Keeps what it is given, and averages."""

    def __init__(self):
        self.features, self.samples = [], []

    def estimate(self, features, samples):
        self.features.append(features)
        self.samples.append(samples)
        return torch.zeros(samples[0].impacts.shape[1], features.n_elements)


class TestOwnEstimators:
    def test_what_it_is_given(self):
        """Features of all inputs together, level by level, and all samples of each level."""
        own = Recorded()
        assert isinstance(own, Estimator)
        x = torch.arange(6.0).reshape(2, 3), torch.ones(2, 2)
        levels = [
            (torch.tensor([[0, 0, 1]]), torch.tensor([[1, -1]])),
            (torch.tensor([[4, 5, 6]]), torch.tensor([[7, 8]])),
        ]

        def forward(a, b):
            return torch.stack([a.sum(1), b.sum(1), a[:, 0]], 1)

        SPES(forward, estimator=own).attribute(
            x, baselines=(1.0, 0.0), feature_mask=levels, n_samples=7, seed=0
        )
        assert len(own.features) == len(own.samples) == 2
        for example, (features, samples) in enumerate(zip(own.features, own.samples, strict=True)):
            assert isinstance(features, Features)
            assert [column.tolist() for column in features.columns] == [[0, 0, 1, 1, 2],
                                                                       [0, 1, 2, 3, 4]]  # fmt: skip
            assert features.n_features == [2, 5]
            expected = torch.cat([x[0][example] - 1.0, x[1][example]]).double()
            assert torch.equal(features.change, expected)
            assert [type(own) for own in samples] == [Samples, Samples]
            assert [own.masks.shape for own in samples] == [(4, 2), (3, 5)]
            assert [own.impacts.shape for own in samples] == [(4, 3), (3, 3)]
            level, masks, impacts = samples[1]
            removed = torch.where(masks[0], torch.tensor([1.0, 1, 1, 0, 0]),
                                  torch.cat([x[0][example], x[1][example]]))  # fmt: skip
            before, after = (forward(v[None, :3], v[None, 3:]) for v in
                             (torch.cat([x[0][example], x[1][example]]), removed))  # fmt: skip
            assert level == 1
            assert torch.allclose(impacts[0], (before - after)[0].double())

    def test_running_sums_are_what_is_read_at_the_end(self):
        forward = KLDivergenceForward(torch.nn.Linear(6, 3).eval(), torch.ones(1, 6))
        for estimator in (MaskedMean(), MaskedDifference()):

            class AtTheEnd:
                own = estimator

                def estimate(self, features, samples):
                    return self.own.estimate(features, samples)

            arguments = {"n_samples": 41, "seed": 0, "perturbations_per_eval": 4}
            running = SPES(forward, estimator=estimator).attribute(torch.ones(1, 6), **arguments)
            at_end = SPES(forward, estimator=AtTheEnd()).attribute(torch.ones(1, 6), **arguments)
            assert torch.allclose(running, at_end, atol=1e-7)

    def test_the_one_of_the_call_wins(self):
        spes = SPES(linear, estimator=MaskedDifference())
        arguments = {"design": AllMasks(), "n_samples": 16}
        mean = spes.attribute(ONES, estimator=MaskedMean(), **arguments)
        assert torch.allclose(mean, exact(linear, ONES, MaskedMean()))

    def test_efficient(self):
        x = torch.randn(1, 20, generator=torch.Generator().manual_seed(0))
        forward = KLDivergenceForward(torch.nn.Linear(20, 5).eval(), x)
        spes = SPES.efficient(forward, change_exponent=0.25)
        assert spes.estimator == GaussianProcess(change_exponent=0.25)
        found = spes.attribute(x, n_samples=60, seed=0)
        expected = SPES(forward).attribute(x, n_samples=60, seed=0, estimator=spes.estimator)
        assert torch.equal(found, expected)

    @pytest.mark.parametrize("estimator", [5, MaskedMean, "mean", object()])
    def test_no_estimator(self, estimator):
        with pytest.raises(ArgumentTypeError, match="a method estimate"):
            SPES(linear, estimator=estimator)

    def test_wrong_shape(self):
        class Wrong:
            def estimate(self, features, samples):
                return torch.zeros(features.n_elements)

        with pytest.raises(ArgumentError, match=r"\(outputs, elements\) = \(1, 4\), got .*4"):
            SPES(linear, estimator=Wrong()).attribute(ONES, n_samples=20, seed=0)

    def test_most_samples(self):
        class Few(Recorded):
            max_samples = 10

        with pytest.raises(ArgumentError, match="Few takes at most 10 samples"):
            SPES(linear, estimator=Few()).attribute(ONES, n_samples=11, seed=0)


class TestBubbleNoiseOnTheSameLoop:
    """What SPES can while it samples."""

    X = torch.rand(1, 30, 8, generator=torch.Generator().manual_seed(0))

    @staticmethod
    def forward(x):
        return x[:, 10:14].sum((1, 2))

    def attribute(self, **arguments):
        arguments = {"bubbles_per_second": 20.0, "height": 6, "seed": 0, **arguments}
        return BubbleNoise(self.forward).attribute(self.X, **arguments)

    def test_halves_are_those_of_every_second_sample(self):
        whole, halves = self.attribute(n_samples=40, return_halves=True)
        assert torch.equal(whole, self.attribute(n_samples=40))
        assert not torch.equal(*halves)
        # The sums of the halves are those of all; so is every mean between those of the halves.
        low, high = torch.minimum(*halves), torch.maximum(*halves)
        assert ((whole >= low - 1e-6) & (whole <= high + 1e-6)).all()

    def test_batch_size_that_is_found(self):
        found = self.attribute(n_samples=70, perturbations_per_eval="auto")
        assert torch.allclose(found, self.attribute(n_samples=70), atol=1e-6)

    def test_stops_when_little_is_noise(self):
        calls = []

        def counted(x):
            calls.append(len(x))
            return self.forward(x)

        BubbleNoise(counted).attribute(
            self.X, n_samples=5_000, tolerance=0.5, seed=0, bubbles_per_second=20.0, height=6
        )
        assert 32 < sum(calls) < 2_000

    def test_partial(self):
        calls = []

        def interrupted(x):
            calls.append(len(x))
            if len(calls) == 12:
                raise KeyboardInterrupt
            return self.forward(x)

        arguments = {"bubbles_per_second": 20.0, "height": 6, "seed": 0, "return_partial": True}
        with pytest.warns(UserWarning, match="interrupted after 10 of 50 samples"):
            found = BubbleNoise(interrupted).attribute(self.X, n_samples=50, **arguments)
        assert torch.allclose(found, self.attribute(n_samples=10))


def test_an_estimator_that_passes_on_what_another_one_has():
    """By ``__getattr__``, which ``isinstance`` does not see on Python 3.12 and later."""

    class Passing:
        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return getattr(MaskedDifference(), name)

    assert torch.equal(exact(linear, ONES, Passing()), exact(linear, ONES))
