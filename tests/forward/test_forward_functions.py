"""Scores: what they are, that they stay finite, and that every Captum method can use them."""

import math

import pytest
import torch
from captum.attr import (
    FeatureAblation,
    IntegratedGradients,
    KernelShap,
    Lime,
    Saliency,
    ShapleyValueSampling,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_spes import SPES, KLDivergenceForward, TokenProbabilityForward
from captum_spes.errors import ArgumentError, ArgumentTypeError

WEIGHT = torch.randn(5, 3 * 7, generator=torch.Generator().manual_seed(0))
X = torch.randn(1, 5, generator=torch.Generator().manual_seed(1))


def logits(x):
    """(batch, 3 tokens, 7 words)"""
    return (x @ WEIGHT.to(x.dtype)).reshape(len(x), 3, 7)


def divergence(x, y):
    p, q = logits(x.double()).softmax(-1), logits(y.double()).softmax(-1)
    return (p * (p / q).log()).sum(-1)


class TestKLDivergence:
    def test_value(self):
        y = torch.randn(4, 5)
        found = KLDivergenceForward(logits, X)(y)
        assert found.dtype == torch.float32
        assert torch.allclose(-found.double(), divergence(X.expand(4, -1), y), atol=1e-6)

    @pytest.mark.parametrize("moved", [1e-4, 0.5, "shifted"])
    @pytest.mark.parametrize("vocabulary", [8_000, 51_865])
    def test_exact_to_1e_6_with_large_vocabularies(self, vocabulary, moved):
        generator = torch.Generator().manual_seed(0)
        reference, noise = 3 * torch.randn(2, 1, 20, vocabulary, generator=generator)
        perturbed = reference + 20 if moved == "shifted" else reference + moved * noise / 3
        p, q = reference.double().log_softmax(-1), perturbed.double().log_softmax(-1)
        expected = (p.exp() * (p - q)).sum(-1)
        found = KLDivergenceForward(lambda x: x, reference)(perturbed)
        assert (-found.double() - expected).abs().max() < 1e-6

    @pytest.mark.parametrize("moved", [1e-5, 1e-4, 1e-3, 5e-3])
    @pytest.mark.parametrize("vocabulary", [50, 8_000])
    def test_small_divergences_are_exact_to_a_percent(self, vocabulary, moved):
        generator = torch.Generator().manual_seed(0)
        reference, noise = 3 * torch.randn(2, 1, 20, vocabulary, generator=generator)
        perturbed = reference + moved * noise / 3
        p, q = reference.double().log_softmax(-1), perturbed.double().log_softmax(-1)
        expected = (p.exp() * (p - q)).sum(-1)
        assert expected.min() > 1e-14
        assert expected.max() < 1e-4
        found = -KLDivergenceForward(lambda x: x, reference)(perturbed).double()
        assert torch.allclose(found, expected, rtol=0.01, atol=0)

    def test_a_divergence_in_closed_form(self):
        """Of two words with p = 1/2 each, the odds of one change by a factor e^d."""
        change = torch.tensor([1e-4, 1e-3, 1e-2], dtype=torch.float64)
        reference = torch.zeros(1, 2)
        perturbed = torch.stack([change, torch.zeros(3).double()], 1).float()
        expected = (change / 2).cosh().log()
        found = -KLDivergenceForward(lambda x: x, reference)(perturbed).double()
        assert expected[0] < 2e-9
        assert torch.allclose(found, expected, rtol=1e-4, atol=0)

    def test_small_divergences_beside_impossible_and_unlikely_tokens(self):
        reference = torch.tensor([[0.0, 0.0, -torch.inf, -200.0, -1e30]])
        perturbed = reference.repeat(4, 1)
        perturbed[1, 0] = 1e-4
        perturbed[2, 3] = -16.0  # far likelier than before, and nearly impossible still
        perturbed[3, 4] = -12.0
        found = -KLDivergenceForward(lambda x: x, reference)(perturbed).double()
        expected = [
            0.0,
            math.log(math.cosh(5e-5)),
            *(math.log1p(math.exp(-x) / 2) for x in (16, 12)),
        ]
        assert torch.allclose(found, torch.tensor(expected).double(), rtol=1e-3, atol=0)

    def test_small_divergences_of_rows_with_their_own_reference(self):
        generator = torch.Generator().manual_seed(0)
        references = torch.randn(3, 4, 30, generator=generator)
        perturbed = (references + 1e-4 * torch.randn(3, 4, 30, generator=generator)).repeat(2, 1, 1)
        found = KLDivergenceForward(lambda x: x, references)(perturbed)
        for row in range(6):
            own = references[row % 3 : row % 3 + 1]
            alone = KLDivergenceForward(lambda x: x, own)(perturbed[row : row + 1])
            assert torch.allclose(found[row], alone[0], rtol=1e-5, atol=0)

    @pytest.mark.parametrize("far", [30.0, 80.0, 200.0, 1e4, 1e30])
    def test_exact_however_far_the_likeliest_token_moves(self, far):
        generator = torch.Generator().manual_seed(0)
        reference = 3 * torch.randn(1, 20, 1000, generator=generator)
        perturbed = reference.repeat(2, 1, 1)
        likeliest = reference.argmax(-1)
        for token in range(20):
            perturbed[0, token, (likeliest[0, token] + 1) % 1000] += far
            perturbed[1, token, likeliest[0, token]] -= far
        p, q = reference.double().log_softmax(-1), perturbed.double().log_softmax(-1)
        expected = (p.exp() * (p - q)).sum(-1)
        found = KLDivergenceForward(lambda x: x, reference)(perturbed)
        assert torch.allclose(-found.double(), expected, rtol=1e-6, atol=1e-6)

    def test_equal_logits_score_exactly_0_beside_impossible_tokens(self):
        reference = 3 * torch.randn(1, 4, 1001, generator=torch.Generator().manual_seed(0))
        reference[0, 1, 5] = -torch.inf
        perturbed = torch.cat([reference, reference + 1, reference])
        perturbed[1, 2, 7] = -torch.inf
        found = KLDivergenceForward(lambda x: x, reference)(perturbed)
        assert (found[[0, 2]] == 0).all()
        assert torch.isfinite(found).all()

    @pytest.mark.parametrize("batch", [1, 3])
    def test_output_layer_gives_the_same_from_hidden_states(self, batch):
        inputs = torch.randn(batch, 4, 5)
        layer = torch.nn.Linear(6, 11)
        weight = torch.randn(5, 6)
        several = torch.randn(2 * batch, 4, 5)
        whole = KLDivergenceForward(lambda x: layer(x @ weight), inputs)
        split = KLDivergenceForward(lambda x: x @ weight, inputs, output_layer=layer)
        assert torch.allclose(split(several), whole(several), atol=1e-6)
        assert (split(inputs) == 0).all()
        ids = torch.arange(4)
        whole = TokenProbabilityForward(lambda x: layer(x @ weight), ids)
        split = TokenProbabilityForward(lambda x: x @ weight, ids, output_layer=layer)
        assert torch.allclose(split(several), whole(several), atol=1e-6)

    @pytest.mark.parametrize("words", [200_000, 700_000, 3_000_000])
    def test_logits_of_a_batch_never_exist_at_once(self, words):
        seen = []

        def layer(hidden):
            seen.append(len(hidden))
            return hidden @ torch.ones(5, 1).expand(5, words)

        KLDivergenceForward(lambda x: x, X, output_layer=layer)(torch.randn(25, 5))
        assert sum(seen) == 1 + 25
        assert all(rows == 1 or rows * words <= 2**21 for rows in seen)
        # Nor is the layer, whose weight is large, called more often than that asks.
        assert len(seen) == 1 + math.ceil(25 / max(1, 2**21 // words))

    def test_rows_keep_their_reference_over_all_parts(self):
        """Two examples are projected at a time, three have a reference each."""
        torch.manual_seed(0)
        weight = torch.randn(5, 700_000) / 5
        reference, batch = torch.randn(3, 5), torch.randn(9, 5)
        in_parts = KLDivergenceForward(lambda x: x, reference, output_layer=lambda h: h @ weight)
        at_once = KLDivergenceForward(lambda x: x @ weight, reference)
        assert torch.allclose(in_parts(batch), at_once(batch), atol=1e-6)
        each = [KLDivergenceForward(lambda x: x @ weight, row[None]) for row in reference]
        expected = torch.cat([each[i % 3](batch[i : i + 1]) for i in range(9)])
        assert torch.allclose(in_parts(batch), expected, atol=1e-6)

    def test_zero_on_the_reference(self):
        assert (KLDivergenceForward(logits, X)(X) == 0).all()

    def test_zero_on_a_reference_with_suppressed_tokens(self):
        table = torch.randn(1, 40, 500)
        table[..., ::7] = -math.inf
        forward = KLDivergenceForward(lambda x: x, table)
        assert (forward(table) == 0).all()
        assert (forward(table.roll(1, -1)) < -10).all()

    def test_without_a_token_dimension(self):
        forward = KLDivergenceForward(lambda x: logits(x)[:, 0], X)
        assert forward(torch.randn(4, 5)).shape == (4,)

    def test_rows_follow_captums_order(self):
        batch = torch.randn(2, 5)
        forward = KLDivergenceForward(logits, batch)
        assert (forward(batch.repeat(3, 1)).abs() < 1e-6).all()
        assert (forward(batch.repeat_interleave(3, 0)).abs() > 1e-3).any()

    def test_additional_arguments(self):
        forward = KLDivergenceForward(lambda x, scale: logits(x) * scale, X, 2.0)
        assert (forward(X, 2.0) == 0).all()
        assert (forward(X, 1.0) < 0).all()

    def test_half_precision_logits_are_scored_in_float32(self):
        y = torch.randn(2, 5)
        forward = KLDivergenceForward(lambda x: logits(x).half(), X)
        expected = KLDivergenceForward(lambda x: logits(x).half().double(), X)(y)
        assert forward(y).dtype == torch.float32
        assert torch.allclose(forward(y), expected, atol=1e-6)

    @settings(deadline=None, max_examples=200)
    @given(
        st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=6, max_size=6)
    )
    def test_finite_and_not_positive_for_any_finite_logits(self, values):
        table = torch.tensor(values).reshape(2, 3)
        found = KLDivergenceForward(lambda x: x, table[:1])(table[1:])
        assert torch.isfinite(found).all()
        assert (found <= 0).all()

    def test_large_gap_is_exact(self):
        a, b = torch.tensor([[200.0, 0.0]]), torch.tensor([[0.0, 200.0]])
        assert KLDivergenceForward(lambda x: x, a)(b).item() == pytest.approx(-200.0)

    def test_impossible_token_counts_as_the_smallest_float32(self):
        p, q = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, -math.inf]])
        found = KLDivergenceForward(lambda x: x, p)(q).item()
        assert found == pytest.approx(
            -(0.5 * math.log(0.5) + 0.5 * (math.log(0.5) + 103.2789)), rel=1e-5
        )

    def test_nan_is_not_hidden(self):
        forward = KLDivergenceForward(lambda x: x, torch.zeros(1, 3))
        assert torch.isnan(forward(torch.full((1, 3), torch.nan))).all()

    def test_model_in_training_mode_is_pointed_out(self):
        with pytest.warns(UserWarning, match="training mode"):
            KLDivergenceForward(torch.nn.Linear(5, 3).train(), X)

    @pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients")
    def test_differentiating_it_warns(self):
        with pytest.warns(UserWarning, match="gradient of the KL divergence is zero"):
            attr = Saliency(KLDivergenceForward(logits, X)).attribute(X, target=0)
        assert attr.abs().max() < 1e-5

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((lambda x: x[0], X), r"got shape \(5,\)"),
            ((lambda x: x * torch.nan, X), "NaN"),
        ],
    )
    def test_bad_reference(self, arguments, message):
        with pytest.raises(ArgumentError, match=message):
            KLDivergenceForward(*arguments)

    def test_model_output_object_is_named_by_its_type(self):
        with pytest.raises(ArgumentTypeError, match=r"builtins\.dict"):
            KLDivergenceForward(lambda x: {"logits": x}, X)

    def test_rows_that_do_not_match(self):
        forward = KLDivergenceForward(logits, torch.randn(2, 5))
        with pytest.raises(ArgumentError, match="one example at a time"):
            forward(torch.randn(3, 5))


class TestIndexedRows:
    """Methods that split or reorder a batch say which row of the reference they mean."""

    BATCH = torch.randn(2, 5, generator=torch.Generator().manual_seed(2))
    ROWS = (torch.arange(2),)

    def alone(self, method, **arguments):
        maps = []
        for row in self.BATCH:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                forward = KLDivergenceForward(logits, row[None])
                maps.append(method(forward).attribute(row[None], target=1, **arguments))
        return torch.cat(maps)

    def together(self, method, **arguments):
        forward = KLDivergenceForward(logits, self.BATCH, indexed=True)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return method(forward).attribute(
                self.BATCH, target=1, additional_forward_args=self.ROWS, **arguments
            )

    @pytest.mark.parametrize("perturbations_per_eval", [1, 2, 5])
    def test_perturbation_methods(self, perturbations_per_eval):
        for method, arguments in ((SPES, {"seed": 0, "n_samples": 50}), (FeatureAblation, {})):
            arguments |= {"perturbations_per_eval": perturbations_per_eval}
            expected = self.alone(method, **arguments)
            assert torch.allclose(self.together(method, **arguments), expected, atol=1e-5)

    @pytest.mark.filterwarnings("ignore:You are providing multiple inputs")
    def test_kernel_shap_splits_the_batch(self):
        found = self.together(KernelShap, n_samples=400, perturbations_per_eval=2)
        expected = self.alone(KernelShap, n_samples=400, perturbations_per_eval=2)
        assert torch.allclose(found, expected, atol=0.2 * expected.abs().max())
        assert (found.sum(1) - expected.sum(1)).abs().max() < 1e-3

    def test_noise_tunnel_reorders_the_batch(self):
        from captum.attr import NoiseTunnel

        def explain(forward, x, **arguments):
            return NoiseTunnel(SPES(forward)).attribute(
                x, nt_samples=2, stdevs=1e-9, n_samples=50, seed=0, target=1, **arguments
            )

        forward = KLDivergenceForward(logits, self.BATCH, indexed=True)
        found = explain(forward, self.BATCH, additional_forward_args=self.ROWS)
        for row, x in enumerate(self.BATCH):
            alone = explain(KLDivergenceForward(logits, x[None]), x[None])
            assert torch.allclose(found[row], alone[0], atol=1e-4)

    def test_rows_that_do_not_match(self):
        forward = KLDivergenceForward(logits, self.BATCH, indexed=True)
        with pytest.raises(ArgumentError, match="do not match"):
            forward(self.BATCH, torch.arange(3))


class TestTokenProbability:
    def test_value(self):
        tokens = [1, 6, 2]
        found = TokenProbabilityForward(logits, tokens)(X)
        expected = logits(X).softmax(-1)[0, range(3), tokens]
        assert torch.allclose(found[0], expected)
        assert torch.allclose(
            TokenProbabilityForward(logits, tokens, log=True)(X)[0], expected.log()
        )

    def test_tokens_per_example(self):
        batch = torch.randn(2, 5)
        tokens = torch.tensor([[0, 1, 2], [3, 4, 5]])
        found = TokenProbabilityForward(logits, tokens)(batch.repeat(2, 1))
        for row in range(4):
            assert torch.allclose(
                found[row], logits(batch).softmax(-1)[row % 2, range(3), tokens[row % 2]]
            )

    def test_one_token_without_a_token_dimension(self):
        forward = TokenProbabilityForward(lambda x: logits(x)[:, 0], 3)
        assert forward(torch.randn(4, 5)).shape == (4,)

    @pytest.mark.parametrize(
        "tokens", [[1, 2], [[0, 1], [2, 3]], [0, 1, 7], [0, 1, -1], [], [1.7, 2.2, 0.1]]
    )
    def test_tokens_that_do_not_fit(self, tokens):
        with pytest.raises(ArgumentError):
            TokenProbabilityForward(logits, tokens)(X)


METHODS = [SPES, FeatureAblation, ShapleyValueSampling, KernelShap, Lime]


@pytest.mark.parametrize("method", METHODS)
def test_divergence_serves_every_perturbation_method(method):
    sampling = {} if method is FeatureAblation else {"n_samples": 60}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        attr = method(KLDivergenceForward(logits, X)).attribute(
            X, target=1, perturbations_per_eval=3, **sampling
        )
    assert attr.shape == X.shape
    assert torch.isfinite(attr).all()
    if method in (SPES, FeatureAblation):
        assert (attr >= 0).all()
    assert attr.sum() > 0


def test_feature_ablation_by_divergence_is_the_divergence():
    attr = FeatureAblation(KLDivergenceForward(logits, X)).attribute(X, target=2)
    for cell in range(5):
        ablated = X.clone()
        ablated[0, cell] = 0
        assert attr[0, cell].item() == pytest.approx(divergence(X, ablated)[0, 2].item(), abs=1e-5)


@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients")
@pytest.mark.parametrize("method", [Saliency, IntegratedGradients])
def test_log_probability_serves_gradient_methods(method):
    forward = TokenProbabilityForward(logits, [1, 6, 2], log=True)
    attr = method(forward).attribute(X, target=1)
    assert attr.abs().min() > 0
    if method is IntegratedGradients:
        difference = forward(X) - forward(torch.zeros_like(X))
        assert attr.sum().item() == pytest.approx(difference[0, 1].item(), abs=1e-2)


def test_shapley_values_add_up_to_the_divergence_of_everything():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        attr = ShapleyValueSampling(KLDivergenceForward(logits, X)).attribute(X, target=0)
    assert attr.sum().item() == pytest.approx(divergence(X, X * 0)[0, 0].item(), abs=1e-4)
