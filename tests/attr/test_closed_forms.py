"""SPES equals what can be worked out by hand."""

import math

import pytest
import torch
from captum.attr import FeatureAblation, Occlusion
from captum.testing.helpers.basic_models import (
    BasicModel,
    BasicModel_MultiLayer,
    BasicModelBoolInput,
)

from captum_spes import SPES, KLDivergenceForward
from tests.attr.designs import AllMasks, FixedMasks

WEIGHTS = torch.tensor([1.0, 2.0, -3.0])
ROW = torch.tensor([[1.0, 2.0, 3.0]])


def linear(x):
    return (x * WEIGHTS).sum(1) + 7


def exact(forward, inputs, n_features, n_levels=1, **kwargs):
    """SPES over all masks, once each."""
    n_samples = n_levels * 2**n_features
    return SPES(forward).attribute(inputs, n_samples=n_samples, design=AllMasks(), **kwargs)


@pytest.mark.parametrize("perturbations_per_eval", [1, 2, 3, 8, 100])
def test_linear_model_gives_half_its_contribution_plus_half_of_all(perturbations_per_eval):
    attr = exact(linear, ROW, 3, perturbations_per_eval=perturbations_per_eval)
    assert attr.tolist() == [[-1.5, 0.0, -6.5]]


def test_baselines_change_the_contributions():
    attr = exact(linear, ROW, 3, baselines=torch.tensor([[0.5, -1.0, 1.0]]))
    assert attr.tolist() == [[0.5, 3.25, -2.75]]


def test_grouped_features_share_a_score():
    attr = exact(linear, ROW, 2, feature_mask=torch.tensor([[0, 0, 1]]))
    assert attr.tolist() == [[0.5, 0.5, -6.5]]


@pytest.mark.parametrize("mask", [[[5, 5, 90]], [[7, 7, -0]]])
def test_labels_need_not_be_contiguous_nor_sorted(mask):
    mask = torch.tensor(mask)
    plain = torch.tensor([[0, 0, 1]]) if mask[0, 2] > 5 else torch.tensor([[1, 1, 0]])
    assert torch.equal(
        exact(linear, ROW, 2, feature_mask=mask), exact(linear, ROW, 2, feature_mask=plain)
    )


@pytest.mark.parametrize(("p", "expected"), [(0.3, (-0.5, 1.6, -7.5)), (0.7, (-2.5, -1.6, -5.5))])
def test_other_probabilities_within_five_standard_errors(p, expected):
    n = 20_000
    attr = SPES(linear).attribute(
        ROW, n_samples=n, perturb_prob=p, seed=1, perturbations_per_eval=500
    )
    contributions = torch.tensor([1.0, 4.0, -9.0])
    others = (contributions.square().sum() - contributions.square()) * (1 - p) * p / p
    error = (others / (n * p)).sqrt() * math.sqrt(p)
    assert ((attr[0] - torch.tensor(expected)).abs() < 5 * error + 1e-3).all()


def test_one_feature_is_exact_at_any_number_of_samples():
    attr = SPES(linear).attribute(ROW, feature_mask=torch.zeros(1, 3), n_samples=9, seed=0)
    assert attr.tolist() == [[-4.0, -4.0, -4.0]]


def test_everything_always_perturbed_gives_the_whole_difference():
    attr = SPES(linear).attribute(ROW, n_samples=2, design=FixedMasks([[1, 1, 1], [1, 1, 1]]))
    assert attr.tolist() == [[-4.0, -4.0, -4.0]]


def test_a_feature_never_perturbed_gets_zero_and_a_warning():
    with pytest.warns(UserWarning, match="1 elements were perturbed by no sample"):
        attr = SPES(linear).attribute(ROW, n_samples=2, design=FixedMasks([[1, 0, 0], [1, 1, 0]]))
    assert attr.tolist() == [[3.0, 5.0, 0.0]]


def test_a_cell_that_another_level_perturbed_is_not_warned_about(recwarn):
    levels = [torch.tensor([[0, 1]]), torch.tensor([[0, 0]])]
    design = FixedMasks([[1, 0], [1, 0]])
    attr = SPES(lambda x: x.sum(1)).attribute(
        torch.ones(1, 2), n_samples=2, feature_mask=levels, design=design
    )
    assert attr.tolist() == [[1.5, 2.0]]
    assert not recwarn.list


def test_constant_model_gives_zero():
    attr = SPES(lambda x: torch.full((len(x),), 3.0)).attribute(ROW, n_samples=50, seed=0)
    assert attr.tolist() == [[0.0, 0.0, 0.0]]


ONES = torch.ones(1, 2)


def test_and_gives_one_at_any_number_of_samples():
    attr = SPES(lambda x: x[:, 0] * x[:, 1]).attribute(ONES, n_samples=20, seed=0)
    assert attr.tolist() == [[1.0, 1.0]]


def test_or_gives_the_probability_of_the_other():
    assert exact(lambda x: x.amax(1), ONES, 2).tolist() == [[0.5, 0.5]]


def test_xor_keeps_its_sign():
    def xor(x):
        return x[:, 0] + x[:, 1] - 2 * x[:, 0] * x[:, 1]

    assert exact(xor, ONES, 2).tolist() == [[-0.5, -0.5]]


def test_a_feature_without_effect_scores_the_probability_of_the_other():
    assert exact(lambda x: x[:, 0], ONES, 2).tolist() == [[1.0, 0.5]]


def test_at_least_one_kept():
    attr = exact(lambda x: 1 - (1 - x).prod(1), torch.ones(1, 5), 5)
    assert torch.allclose(attr, torch.full((1, 5), 0.0625))


def test_pairwise_interactions():
    def pairs(x):
        return x[:, 0] * x[:, 1] + 2 * x[:, 0] * x[:, 2] + 3 * x[:, 1] * x[:, 2]

    assert exact(pairs, torch.ones(1, 3), 3).tolist() == [[5.25, 5.5, 5.75]]


LOG3 = math.log(3)


def kl_of(logits, x):
    return KLDivergenceForward(logits, x)


def test_kl_of_one_feature():
    x = torch.tensor([[LOG3]])
    forward = kl_of(lambda x: torch.stack([x.sum(1), torch.zeros(len(x))], 1), x)
    assert exact(forward, x, 1).item() == pytest.approx(0.1308120, abs=1e-6)


def test_kl_of_two_features():
    x = torch.tensor([[LOG3, LOG3]])
    forward = kl_of(lambda x: torch.stack([x.sum(1), torch.zeros(len(x))], 1), x)
    assert torch.allclose(exact(forward, x, 2), torch.tensor(0.2202623), atol=1e-6)


def test_kl_of_a_feature_without_effect():
    x = torch.tensor([[LOG3, 5.0]])
    forward = kl_of(lambda x: torch.stack([x[:, 0], torch.zeros(len(x))], 1), x)
    assert torch.allclose(exact(forward, x, 2), torch.tensor([[0.1308120, 0.0654060]]), atol=1e-6)


def test_kl_ignores_a_shift_of_all_logits():
    x = torch.tensor([[5.0]])
    attr = exact(kl_of(lambda x: x.expand(-1, 4), x), x, 1)
    assert attr.item() == pytest.approx(0.0, abs=1e-6)


BATCH = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


@pytest.mark.parametrize("perturbations_per_eval", [1, 3, 8])
def test_examples_of_a_batch_do_not_mix(perturbations_per_eval):
    attr = exact(linear, BATCH, 3, perturbations_per_eval=perturbations_per_eval)
    assert attr.tolist() == [[-1.5, 0.0, -6.5], [0.0, 3.0, -11.0]]


def test_value_per_batch_sums_the_examples():
    attr = exact(lambda x: linear(x).sum(), BATCH, 3)
    assert attr.tolist() == [[-1.5, 3.0, -17.5]]


def test_inputs_of_a_tuple_are_perturbed_together():
    def forward(a, b):
        return (a * WEIGHTS).sum(1) + 2 * b.sum(1)

    a, b = exact(forward, (ROW, torch.tensor([[10.0]])), 4)
    assert a.tolist() == [[8.5, 10.0, 3.5]]
    assert b.tolist() == [[18.0]]


def test_one_feature_at_a_time_is_feature_ablation():
    masks = torch.eye(3).bool()
    attr = SPES(linear).attribute(BATCH, n_samples=3, design=FixedMasks(masks))
    assert torch.equal(attr, FeatureAblation(linear).attribute(BATCH))


def test_sliding_windows_are_occlusion():
    x = torch.arange(1.0, 6.0)[None]

    def model(x):
        return (x * x).sum(1)

    windows = torch.tensor([[i <= j < i + 2 for j in range(5)] for i in range(4)])
    attr = SPES(model).attribute(x, n_samples=4, design=FixedMasks(windows))
    expected = Occlusion(model).attribute(x, sliding_window_shapes=(2,))
    assert torch.allclose(attr, expected)


@pytest.mark.parametrize("perturbations_per_eval", [1, 3])
def test_levels_pool_numerators_and_denominators(perturbations_per_eval):
    contributions = torch.tensor([1.0, 4.0, -9.0, 4.0])
    levels = [torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 1, 1, 0]])]
    attr = exact(
        lambda x: (x * contributions).sum(1),
        torch.ones(1, 4),
        2,
        n_levels=2,
        feature_mask=levels,
        perturbations_per_eval=perturbations_per_eval,
    )
    assert attr.tolist() == [[2.5, 0.0, -2.5, 0.0]]


def test_levels_of_unequal_counts_weigh_by_their_samples():
    # Level 0 perturbs the feature in two of two samples, level 1 in one of one.
    levels = [torch.tensor([[0, 1]]), torch.tensor([[0, 0]])]
    design = FixedMasks([[1, 0], [1, 1], [1, 0]])
    attr = SPES(lambda x: x.sum(1)).attribute(
        torch.tensor([[1.0, 10.0]]), n_samples=3, feature_mask=levels, design=design
    )
    assert attr[0, 0].item() == pytest.approx((1 + 11 + 11) / 3)
    assert attr[0, 1].item() == pytest.approx((11 + 11) / 2)


class TestCaptumModels:
    """Values of conformance with Captum's own test models."""

    def test_multi_layer(self):
        model, x = BasicModel_MultiLayer().eval(), torch.tensor([[20.0, 50.0, 30.0]])
        assert exact(model, x, 3, target=0).tolist() == [[237.5, 297.5, 257.5]]
        mask = torch.tensor([[0, 0, 1]])
        assert exact(model, x, 2, target=0, feature_mask=mask).tolist() == [[335.0, 335.0, 255.0]]
        attr = exact(model, x, 2, target=0, feature_mask=mask, baselines=4)
        assert attr.tolist() == [[300.0, 300.0, 228.0]]

    def test_multi_layer_batch(self):
        x = torch.tensor([[2.0, 10.0, 3.0], [20.0, 50.0, 30.0]])
        model = BasicModel_MultiLayer().eval()
        expected = [[29.75, 42.5, 31.5], [237.5, 297.5, 257.5]]
        assert exact(model, x, 3, target=0).tolist() == expected
        attr = exact(lambda x: model(x).sum().item(), x, 3)
        assert attr.tolist() == [[534.5, 680.0, 578.0]]

    def test_integer_inputs(self):
        attr = exact(BasicModel().eval(), torch.tensor([[-3, 1, 2]]), 3, target=0)
        assert attr.tolist() == [[-3.0, -1.5, -1.5]]

    def test_boolean_inputs(self):
        x = torch.tensor([[True, False, True]])
        mask = torch.tensor([[0, 0, 1]])
        attr = exact(BasicModelBoolInput().eval(), x, 2, target=0, feature_mask=mask)
        assert attr.tolist() == [[55.0, 55.0, 55.0]]
