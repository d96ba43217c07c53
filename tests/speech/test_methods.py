"""Captum's other methods through the wrapper: one result type, and nothing changed by a run."""

from functools import partial

import numpy as np
import pytest
import torch
from captum.attr import (
    LRP,
    Deconvolution,
    DeepLift,
    FeatureAblation,
    GradientShap,
    GuidedBackprop,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    Lime,
    Occlusion,
    Saliency,
    ShapleyValueSampling,
)

from captum_spes import (
    SPES,
    BubbleNoise,
    CrossAttention,
    EnergyMap,
    RandomMap,
    Settings,
    SpeechToTextAttribution,
)
from captum_spes.attr.captum_compat import compute_gradients
from captum_spes.demo import load_demo, load_examples
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.masks.scales import PAPER_PATCHES_PER_SECOND
from captum_spes.metrics import deletion_curve, size_curve
from captum_spes.metrics.hearing import explained_sequence
from captum_spes.speech import named_methods, running
from captum_spes.speech.cross_attention import attention_rollout
from captum_spes.speech.evaluations import SharedGradients
from captum_spes.speech.forecast import forecast
from captum_spes.speech.inputs import read_speech
from captum_spes.speech.methods import runner_of
from captum_spes.speech.models.attention import attention_reader
from captum_spes.speech.running import attribute_side
from captum_spes.speech.sides import Run, Side
from tests.attr.designs import FixedMasks
from tests.speech.explaining import QUICK, explain


def state_of(model):
    return {
        "modes": [m.training for m in model.modules()],
        "hooks": [
            len(h)
            for m in model.modules()
            for h in (m._forward_hooks, m._forward_pre_hooks, m._backward_hooks)
        ],
        "dtypes": [p.dtype for p in model.parameters()],
        "gradients": [(p.requires_grad, p.grad is None) for p in model.parameters()],
        "values": [float(p.detach().double().sum()) for p in model.parameters()],
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "threads": torch.get_num_threads(),
    }


METHODS = {
    "spes": (SPES, {}),
    "bubble_noise": (BubbleNoise, {}),
    "feature_ablation": (FeatureAblation, {}),
    "occlusion": (Occlusion, {}),
    "shapley": (ShapleyValueSampling, {}),
    "kernel_shap": (KernelShap, {}),
    "lime": (Lime, {}),
    "saliency": (Saliency, {}),
    "input_x_gradient": (InputXGradient, {}),
    "integrated_gradients": (IntegratedGradients, {"method_args": {"n_steps": 8}}),
    "gradient_shap": (GradientShap, {}),
}


@pytest.mark.filterwarnings("ignore")
class TestMethods:
    @pytest.mark.parametrize("name", METHODS)
    def test_same_result_type_and_shapes(self, tiny_model, audio, name):
        method, arguments = METHODS[name]
        result = explain(tiny_model, audio, method, **arguments)
        spes = explain(tiny_model, audio)
        assert result.output_tokens == spes.output_tokens
        assert result.spectrogram_attr.shape == spes.spectrogram_attr.shape
        assert torch.isfinite(result.spectrogram_attr).all()
        assert torch.equal(torch.isnan(result.token_attr), torch.isnan(spes.token_attr))
        varies = result.spectrogram_attr.flatten(1).std(1) > 0
        # Lime's Lasso leaves nothing of divergences as small as some of this random model.
        assert varies.any() if method is Lime else varies.all()
        assert result.method == method.get_name()
        assert (result.normalized().spectrogram_attr >= 0).all()

    @pytest.mark.parametrize("name", METHODS)
    def test_seeded_and_nothing_global_is_changed(self, tiny_model, audio, name):
        method, arguments = METHODS[name]
        tiny_model[0].train()  # dropout is 0.1 in Speech2Text
        before = state_of(tiny_model[0])
        first = explain(tiny_model, audio, method, **arguments)
        assert state_of(tiny_model[0]) == before
        second = explain(tiny_model, audio, method, **arguments)
        assert torch.equal(first.spectrogram_attr, second.spectrogram_attr)

    @pytest.mark.parametrize("name", METHODS)
    @pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
    def test_nothing_is_changed_after_an_error(self, tiny_model, audio, name, error, monkeypatch):
        method, arguments = METHODS[name]
        network = tiny_model[0]
        before = state_of(network)
        projection = network.get_output_embeddings()
        forward, calls = projection.forward, []

        def interrupted(*args):
            calls.append(1)
            if len(calls) == 4:
                raise error
            return forward(*args)

        monkeypatch.setattr(projection, "forward", interrupted)
        with pytest.raises(error):
            explain(tiny_model, audio, method, **arguments)
        monkeypatch.undo()
        assert state_of(network) == before

    def test_feature_ablation_is_spes_that_removes_one_patch_at_a_time(self, tiny_model, audio):
        ablation = explain(tiny_model, audio, FeatureAblation)
        n_patches = ablation.parameters["patches_per_level"][0]
        spes = explain(
            tiny_model, audio, n_samples=n_patches, design=FixedMasks(torch.eye(n_patches))
        )
        assert torch.allclose(ablation.spectrogram_attr, spes.spectrogram_attr, atol=1e-5)

    @pytest.mark.parametrize("name", ["saliency", "integrated_gradients", "gradient_shap"])
    @pytest.mark.parametrize("n_together", [None, 0, 2])
    def test_gradients_share_their_forward_passes_between_tokens(
        self, tiny_model, audio, name, n_together, monkeypatch
    ):
        """All tokens but the first, or as many as memory allows: the maps are those of passes for
        each token, which a gradient function of the user's own asks for."""
        method, arguments = METHODS[name]

        def by_token(model):
            made = method(model)
            made.gradient_func = lambda *args, **kwargs: compute_gradients(*args, **kwargs)
            return made

        expected, count_by_token = self._counted(tiny_model, audio, by_token, arguments)
        n_tokens = len(expected.output_tokens)
        each = count_by_token // n_tokens
        n_groups = 1 if n_together is None else -(-(n_tokens - 1) // max(1, n_together))
        if n_together is not None:
            most_bytes = n_together * each * expected.spectrogram.nbytes
            shared = partial(SharedGradients, most_bytes=most_bytes)
            monkeypatch.setattr(running, "SharedGradients", shared)
        found, count = self._counted(tiny_model, audio, method, arguments)
        assert torch.equal(found.spectrogram_attr, expected.spectrogram_attr)
        assert n_tokens > 3
        assert count == (1 + n_groups) * each

    @pytest.mark.parametrize("is_shared", [True, False])
    def test_a_method_that_differs_from_token_to_token_shares_nothing(
        self, tiny_model, audio, is_shared
    ):
        """Each token is differentiated where the method asks for it."""

        class Moving(Saliency):
            def attribute(self, inputs, target=None):
                self.count = getattr(self, "count", 0) + 1
                return super().attribute(inputs * (1 + self.count / 10), target=target)

        def method(model):
            made = Moving(model)
            if not is_shared:
                made.gradient_func = lambda *args, **kwargs: compute_gradients(*args, **kwargs)
            return made

        found = explain(tiny_model, audio, method, n_token_samples=0)
        network, processor = tiny_model
        explainer = SpeechToTextAttribution(Saliency(network), processor)
        for number, (token_map, plain) in enumerate(
            zip(found.spectrogram_attr, self._plain(explainer, audio), strict=True), 1
        ):
            assert torch.allclose(token_map, plain(1 + number / 10), atol=1e-6), number

    def _plain(self, explainer, audio):
        """For each token its gradient at the scaled input."""
        adapter = explainer.adapter
        speech = adapter.from_audio(audio)
        target = adapter.force(speech, "the cat", {})

        def gradient(token, scale):
            x = (speech.spectrogram[None] * scale).requires_grad_()
            scores = adapter.logits(adapter.encode(speech, x), target).log_softmax(-1)
            chosen = scores[0, token, target.explained_ids[token]]
            return torch.autograd.grad(chosen, x)[0][0].abs()

        return [partial(gradient, token) for token in range(len(target.explained_ids))]

    def _counted(self, tiny_model, audio, method, arguments):
        """An explanation, and how many inputs were encoded besides the recording itself."""
        calls = []
        handle = (
            tiny_model[0]
            .get_encoder()
            .register_forward_hook(
                lambda module, args, output: calls.append(len(output[0]) * output[0].requires_grad)
            )
        )
        found = explain(tiny_model, audio, method, n_token_samples=0, **arguments)
        handle.remove()
        return found, sum(calls)

    def test_surrogates_share_their_evaluations_between_tokens(self, tiny_model, audio):
        calls = []
        handle = (
            tiny_model[0]
            .get_encoder()
            .register_forward_hook(lambda module, args, output: calls.append(len(output[0])))
        )
        explain(tiny_model, audio, KernelShap, n_samples=20, n_token_samples=0)
        handle.remove()
        # Beside the samples: the prompt, the reference, KernelShap's original input.
        assert 20 <= sum(calls) <= 20 + 3, calls

    def test_surrogate_equals_captum_called_directly(self, tiny_model, audio):
        from captum_spes import KLDivergenceForward

        result = explain(tiny_model, audio, Lime, n_token_samples=0)
        network, processor = tiny_model
        explainer = SpeechToTextAttribution(Lime(network), processor)
        speech = explainer.adapter.from_audio(audio)
        target = explainer.adapter.force(speech, "the cat", {})
        x = speech.spectrogram[None]

        def logits(x):
            return explainer.adapter.logits(explainer.adapter.encode(speech, x), target)

        from captum_spes import slic_feature_mask

        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            expected = Lime(KLDivergenceForward(logits, x)).attribute(
                x,
                baselines=explainer.adapter.removed_value(speech, None).expand(x.shape[1:])[None],
                target=1,
                feature_mask=slic_feature_mask(x[0], patches_per_second=40)[0][None],
                n_samples=60,
            )
        assert torch.allclose(result.spectrogram_attr[1], expected[0], atol=1e-5)

    def test_integrated_gradients_are_complete(self, tiny_model, audio):
        result = explain(tiny_model, audio, IntegratedGradients, method_args={"n_steps": 60})
        network, processor = tiny_model
        explainer = SpeechToTextAttribution(SPES(network), processor)
        speech = explainer.adapter.from_audio(audio)
        target = explainer.adapter.force(speech, "the cat", {})
        removed = explainer.adapter.removed_value(speech, None).expand(speech.spectrogram.shape)
        with torch.no_grad():
            batch = torch.stack([speech.spectrogram, removed])
            logits = explainer.adapter.logits(explainer.adapter.encode(speech, batch), target)
            values = logits.log_softmax(-1).gather(
                2, target.explained_ids.expand(2, -1)[..., None]
            )[..., 0]
        assert torch.allclose(
            result.spectrogram_attr.sum((1, 2)), values[0] - values[1], atol=0.1, rtol=0.1
        )

    def test_scores_differ(self, tiny_model, audio):
        maps = {
            score: explain(tiny_model, audio, score=score).spectrogram_attr
            for score in ("kl", "probability", "log_probability")
        }
        assert torch.equal(maps["kl"], explain(tiny_model, audio).spectrogram_attr)
        assert maps["probability"].abs().max() <= 1
        assert not torch.allclose(maps["probability"], maps["log_probability"])

    def test_gradient_of_the_divergence_is_refused(self, tiny_model, audio):
        with pytest.raises(ArgumentError, match="no gradient at the unperturbed input"):
            explain(tiny_model, audio, Saliency, score="kl")

    def test_progress_names_both_sides(self, tiny_model, audio, capsys):
        for method in (SPES, Saliency):
            explain(tiny_model, audio, method, show_progress=True)
            shown = capsys.readouterr().err
            name = method.get_name()
            assert f"{name} (spectrogram) attribution: 100%" in shown
            assert f"{name} (previous tokens) attribution: 100%" in shown


def rollout(model):
    return CrossAttention(model, "rollout")


@pytest.mark.filterwarnings("ignore")
class TestMethodsThatLookAtTheWholeUtterance:
    @pytest.mark.parametrize("method", [CrossAttention, rollout, EnergyMap, RandomMap])
    def test_same_result_type_and_nothing_is_changed(self, tiny_model, audio, method):
        tiny_model[0].train()
        before = state_of(tiny_model[0])
        result, spes = explain(tiny_model, audio, method), explain(tiny_model, audio)
        assert state_of(tiny_model[0]) == before
        assert result.output_tokens == spes.output_tokens
        assert result.spectrogram_attr.shape == spes.spectrogram_attr.shape
        assert (result.spectrogram_attr.flatten(1).std(1) > 0).all()
        if method is not EnergyMap:
            assert torch.equal(torch.isnan(result.token_attr), torch.isnan(spes.token_attr))
        again = explain(tiny_model, audio, method)
        assert torch.equal(result.spectrogram_attr, again.spectrogram_attr)
        assert explain(tiny_model, audio, method, n_token_samples=0).token_attr is None

    def test_energy_is_the_spectrogram_and_costs_no_pass(self, tiny_model, audio):
        calls = []
        handle = tiny_model[0].get_decoder().register_forward_hook(lambda *_: calls.append(1))
        explain(tiny_model, audio, EnergyMap)
        handle.remove()
        if tiny_model[0].config.model_type != "whisper":  # which asks the model for its prompt
            assert not calls
        result = explain(tiny_model, audio, EnergyMap)
        for saliency_map in result.spectrogram_attr:
            assert torch.equal(saliency_map, result.spectrogram)
        assert result.token_attr is None

    def test_random_maps_depend_on_the_seed_alone(self, tiny_whisper, audio):
        maps = [explain(tiny_whisper, audio, RandomMap, seed=s).spectrogram_attr for s in (0, 1)]
        assert not torch.equal(*maps)
        assert not torch.equal(maps[0][0], maps[0][1])
        assert 0 <= maps[0].min() <= maps[0].max() <= 1

    def test_attention_is_that_of_the_model(self, tiny_whisper, audio):
        network, processor = tiny_whisper
        result = explain(tiny_whisper, audio, CrossAttention)
        adapter = SpeechToTextAttribution(SPES(network), processor).adapter
        speech = adapter.from_audio(audio)
        target = adapter.force(speech, "the cat", {})
        network.set_attn_implementation("eager")
        with torch.no_grad():
            output = network(
                speech.features, decoder_input_ids=target.decoder_ids[None], output_attentions=True
            )
        cross = output.cross_attentions[0][0].mean(0)  # one layer; heads averaged
        # Two frames to an encoder position; the first token is written from position 1.
        first = target.explained[0] - 1
        expected = cross[first].repeat_interleave(2)[: len(result.spectrogram)]
        assert torch.allclose(result.spectrogram_attr[0], expected[:, None].expand(-1, 80))
        before = output.decoder_attentions[0][0].mean(0)[first, : first + 1]
        assert torch.allclose(result.token_attr[0, : first + 1], before)

    def test_rollout_follows_the_layers_backwards(self):
        first, second = (
            torch.tensor([[1.0, 0.0], [1.0, 0.0]]),
            torch.tensor([[0.0, 1.0], [0.0, 1.0]]),
        )
        # Half of each layer is its own input; the second layer reads what the first wrote.
        expected = (second + torch.eye(2)) / 2 @ ((first + torch.eye(2)) / 2)
        found = attention_rollout(torch.stack([first, second]))
        assert torch.allclose(found, expected)
        assert found[0].tolist() == [0.75, 0.25]

    def test_rollout_mixes_positions_and_keeps_the_sum(self, tiny_model, audio):
        adapter = SpeechToTextAttribution(SPES(tiny_model[0]), tiny_model[1]).adapter
        speech = adapter.from_audio(audio)
        with adapter.evaluation_mode():
            sequence = adapter.force(speech, "the cat", {})
            attention = adapter.attention(speech, sequence)
            encoder = adapter.encoder_attention(speech)
        for weights in (encoder, attention.cross, attention.decoder):
            assert torch.allclose(weights.sum(-1), torch.ones(weights.shape[:-1]), atol=1e-4)
        plain, mixed = (explain(tiny_model, audio, m) for m in (CrossAttention, rollout))
        assert not torch.allclose(plain.spectrogram_attr, mixed.spectrogram_attr)
        assert torch.equal(torch.nan_to_num(plain.token_attr), torch.nan_to_num(mixed.token_attr))

    def test_other_threads_notice_nothing(self, tiny_model, audio):
        """Attention is read with slow kernels; the user's model keeps its own meanwhile."""
        network = tiny_model[0]
        configs = [m.config for m in network.modules() if hasattr(m, "config")]
        before = [config._attn_implementation for config in configs]
        seen = []
        handle = network.get_encoder().register_forward_hook(
            lambda *_: seen.append([config._attn_implementation for config in configs])
        )
        for method in (CrossAttention, rollout):
            explain(tiny_model, audio, method)
        handle.remove()
        assert seen
        assert all(implementations == before for implementations in seen)

    def test_weights_are_shared_and_not_copied(self, tiny_model):
        reader = attention_reader(tiny_model[0])
        pairs = zip(tiny_model[0].parameters(), reader.parameters(), strict=True)
        assert all(own is copied for own, copied in pairs)

    def test_take_no_arguments_of_their_own(self, tiny_model, audio):
        with pytest.raises(ArgumentError, match="takes no method_args"):
            explain(tiny_model, audio, EnergyMap, method_args={"n_steps": 3})

    def test_unknown_aggregation(self, tiny_whisper):
        with pytest.raises(ArgumentError, match="aggregation must be one of"):
            CrossAttention(tiny_whisper[0], "max")

    @pytest.mark.parametrize("method", [CrossAttention, EnergyMap, RandomMap])
    def test_without_the_wrapper_they_say_how(self, tiny_whisper, method):
        with pytest.raises(NotImplementedError, match="SpeechToTextAttribution"):
            method(tiny_whisper[0]).attribute(torch.zeros(1, 4, 4))


@pytest.mark.filterwarnings("ignore")
class TestAblations:
    def test_cells_are_a_mask_with_a_label_for_every_cell(self, tiny_model, audio):
        result = explain(tiny_model, audio, feature_mask="cells")
        cells = torch.arange(result.spectrogram.numel()).reshape(result.spectrogram.shape)
        given = explain(tiny_model, audio, feature_mask=cells)
        assert torch.equal(result.spectrogram_attr, given.spectrogram_attr)
        assert result.parameters["patches_per_level"] == [result.spectrogram.numel()]

    def test_grid_has_rectangles(self, tiny_model, audio):
        result = explain(tiny_model, audio, feature_mask="grid")
        for label in torch.unique(result.feature_masks[0]):
            rows, columns = torch.nonzero(result.feature_masks[0] == label).T
            assert len(rows) == len(set(rows.tolist())) * len(set(columns.tolist()))
        assert result.parameters["feature_mask"] == "grid"

    def test_slic_is_the_default(self, tiny_model, audio):
        default, named = explain(tiny_model, audio), explain(tiny_model, audio, feature_mask="slic")
        assert torch.equal(default.spectrogram_attr, named.spectrogram_attr)

    def test_unknown_patches(self, tiny_model, audio):
        with pytest.raises(ArgumentError, match="'slic', 'grid', 'cells' or Tensors"):
            explain(tiny_model, audio, feature_mask="words")


@pytest.mark.filterwarnings("ignore")
class TestJointPerturbation:
    def test_both_maps_come_from_the_same_samples(self, tiny_model, audio):
        passes = []
        encoder = tiny_model[0].get_encoder()
        handle = encoder.register_forward_hook(lambda m, a, output: passes.append(len(output[0])))
        result = explain(tiny_model, audio, n_samples=30, n_token_samples=500, perturb_jointly=True)
        handle.remove()
        # Beside the samples: prompt, reference, original input, token side.
        assert 30 < sum(passes) <= 34
        assert result.spectrogram_attr.shape[1:] == result.spectrogram.shape
        assert torch.equal(
            torch.isnan(result.token_attr), torch.isnan(explain(tiny_model, audio).token_attr)
        )
        assert result.parameters["perturb_jointly"] is True

    def test_is_eq_3_over_joint_masks(self, tiny_whisper, audio):
        """Against the definition, with masks recorded from the inputs of the model."""
        network, processor = tiny_whisper
        explainer = SpeechToTextAttribution(SPES(network), processor)
        adapter = explainer.adapter
        seen, keeps, logits = [], [], []
        encode, keep_previous, score = (
            adapter.encode, adapter.keep_previous_tokens, adapter.output_layer,
        )  # fmt: skip
        adapter.encode = lambda speech, x: seen.append(x.detach().clone()) or encode(speech, x)
        adapter.keep_previous_tokens = lambda keep: keeps.append(keep) or keep_previous(keep)
        adapter.output_layer = lambda hidden: logits.append(score(hidden)) or logits[-1]
        result = explainer.attribute(
            audio, target="the cat", n_samples=40, n_token_samples=1, patches_per_second=40,
            perturb_jointly=True, seed=0,
        )  # fmt: skip
        # The first two are the reference and the original input, both unperturbed.
        masks = torch.cat(seen)[-40:] != result.spectrogram
        token_masks = torch.cat(keeps)[-40:] == 0
        reference = logits[0].log_softmax(-1)
        perturbed = torch.cat(logits)[-40:].log_softmax(-1)
        impact = (reference.exp() * (reference - perturbed)).sum(-1).double()
        expected = torch.einsum("nk,ntf->ktf", impact, masks.double()) / masks.sum(0)
        changed = masks.any(0)  # cells that equal the removed value show no mask
        assert torch.allclose(
            result.spectrogram_attr[:, changed].double(), expected[:, changed], atol=1e-4
        )
        tokens = torch.einsum("nk,nj->kj", impact, token_masks.double()) / token_masks.sum(0)
        valid = ~torch.isnan(result.token_attr)
        assert torch.allclose(result.token_attr[valid].double(), tokens[valid], atol=1e-4)

    def test_batches_do_not_matter(self, tiny_model, audio):
        one, several = (
            explain(tiny_model, audio, perturb_jointly=True, perturbations_per_eval=n)
            for n in (1, 7)
        )
        assert torch.allclose(one.spectrogram_attr, several.spectrogram_attr, atol=1e-5)
        assert torch.allclose(
            torch.nan_to_num(one.token_attr), torch.nan_to_num(several.token_attr), atol=1e-5
        )

    def test_probabilities_are_those_of_each_side(self, tiny_whisper, audio):
        network, processor = tiny_whisper
        explainer = SpeechToTextAttribution(SPES(network), processor)
        keeps = []
        keep_previous = explainer.adapter.keep_previous_tokens
        explainer.adapter.keep_previous_tokens = lambda keep: (
            keeps.append(keep) or keep_previous(keep)
        )
        explainer.attribute(
            audio, target="the cat", n_samples=200, n_token_samples=1, patches_per_second=40,
            perturb_jointly=True, seed=0, perturb_prob=0.9, token_perturb_prob=0.1,
        )  # fmt: skip
        assert 0.05 < (torch.cat(keeps) == 0).float().mean() < 0.15

    def test_is_for_spes_alone(self, tiny_model, audio):
        with pytest.raises(ArgumentError, match="perturb_jointly=True is for SPES"):
            explain(tiny_model, audio, FeatureAblation, perturb_jointly=True)


class TestEfficientScheme:
    def test_patches_and_regression(self, tiny_model, audio):
        model, processor = tiny_model
        settings = Settings.efficient(n_samples=60, n_token_samples=60)
        explainer = SpeechToTextAttribution(SPES(model), processor)
        result = explainer.attribute(audio, target="the cat", settings=settings, seed=0)
        assert len(result.feature_masks) == 16
        assert result.parameters["patches_per_second"][0] == 60
        assert result.parameters["scheme"] == "efficient"
        assert torch.isfinite(result.spectrogram_attr).all()
        assert result.reliability().n_samples == QUICK["n_samples"]
        paper = explain(tiny_model, audio)
        assert torch.equal(torch.nan_to_num(result.token_attr), torch.nan_to_num(paper.token_attr))

    def test_patches_can_be_given(self, tiny_speech2text, audio):
        paper = PAPER_PATCHES_PER_SECOND  # however it is written down
        for patches in ((20, 60), paper, (400, 500, 600), [400, 500, 600]):
            result = explain(
                tiny_speech2text, audio, scheme="efficient", patches_per_second=patches
            )
            assert result.parameters["patches_per_second"] == list(patches)
            assert len(result.feature_masks) == len(patches)

    @pytest.mark.parametrize("score", ["probability", "log_probability"])
    def test_scores_that_can_rise(self, tiny_speech2text, audio, score):
        result = explain(tiny_speech2text, audio, scheme="efficient", score=score)
        assert torch.isfinite(result.spectrogram_attr).all()

    def test_finds_more_of_what_matters_from_equally_many_samples(self):
        """A trained model: what its map names first is missed more, and the map is smaller."""
        model, processor, _ = load_demo()
        explainer = SpeechToTextAttribution(SPES(model), processor)
        example = load_examples()[0]
        deletion, size = {}, {}
        for scheme in ("paper", "efficient"):
            result = explainer.attribute(
                example.path, n_samples=200, n_token_samples=0, scheme=scheme, seed=0,
                perturbations_per_eval=16,
            )  # fmt: skip
            examples = [(example.path, example.text, result)]
            deletion[scheme] = deletion_curve(explainer, examples, 0.1, metric="kl").auc
            size[scheme] = size_curve(result).auc
        assert deletion["efficient"] > 1.2 * deletion["paper"]
        assert size["efficient"] < size["paper"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"scheme": "fast"}, r"scheme must be one of \('paper', 'efficient'\), got 'fast'"),
            ({"scheme": "efficient", "n_samples": 20_000}, "at most 10000 samples"),
            ({"scheme": "efficient", "perturb_jointly": True}, "perturbed separately"),
            ({"scheme": "efficient", "method": Saliency}, "is for SPES"),
        ],
    )
    def test_refused_before_the_model_runs(self, tiny_speech2text, audio, arguments, message):
        with pytest.raises(ArgumentError, match=message):
            explain(tiny_speech2text, audio, **arguments)


class TestMethodsWithRulesForLayers:
    """DeepLift and its kin keep the model itself and put hooks on its layers."""

    @pytest.mark.filterwarnings("ignore:Setting")
    @pytest.mark.parametrize("method", [DeepLift, Deconvolution, GuidedBackprop])
    def test_model_comes_back_as_it_was(self, tiny_speech2text, audio, method):
        model, _ = tiny_speech2text
        before = traces(model)
        result = explain(tiny_speech2text, audio, method)
        assert torch.isfinite(result.spectrogram_attr).all()
        gradient = explain(tiny_speech2text, audio, Saliency, method_args={"abs": False})
        assert not torch.allclose(result.spectrogram_attr, gradient.spectrogram_attr)
        assert traces(model) == before

    def test_what_the_model_does_not_allow_is_told(self, tiny_whisper, tiny_speech2text, audio):
        before = traces(tiny_speech2text[0])
        with pytest.raises(ArgumentTypeError, match="LRP cannot explain this model: Module of"):
            explain(tiny_speech2text, audio, LRP)
        assert traces(tiny_speech2text[0]) == before
        for method in (DeepLift, Deconvolution):  # Whisper's activations are no ReLU
            with pytest.raises(ArgumentTypeError, match="the model has none"):
                explain(tiny_whisper, audio, method)

    def test_lrp_on_a_model_of_layers_with_rules(self):
        """Of one linear layer relevance is input times weight."""
        model = torch.nn.Sequential(torch.nn.Linear(6, 3, bias=False)).eval()
        inputs = torch.rand(1, 6)
        side = Side(
            "toy", inputs, torch.zeros_like(inputs), [torch.zeros(1, 6, dtype=torch.int64)],
            lambda x: model(x)[:, None], 1, 0.5, frame_rate=1.0,
        )  # fmt: skip
        run = Run(torch.tensor([1]), Logit(), 0, inputs.device, lambda logits: logits)
        method = LRP(model)
        found = attribute_side(method, runner_of(method), side, run).maps
        expected = (inputs * model[0].weight[1]).detach()
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


class Logit:
    """The logit of the explained token."""

    def __call__(self, perturbed, reference, token_ids):
        return perturbed[..., token_ids[0]]


def traces(model):
    """Attributes and hooks of all layers."""
    return [
        (sorted(vars(m)), len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
        for m in model.modules()
    ]


class TestUsersObjects:
    def test_lime_does_not_keep_what_it_fitted(self, tiny_speech2text, audio):
        model, processor = tiny_speech2text
        lime = Lime(model)
        before = {name: id(value) for name, value in vars(lime).items()}
        surrogate = dict(vars(lime.interpretable_model))
        SpeechToTextAttribution(lime, processor).attribute(audio, **QUICK)
        assert {name: id(value) for name, value in vars(lime).items()} == before
        assert dict(vars(lime.interpretable_model)) == surrogate

    @pytest.mark.parametrize("method", [Lime, KernelShap])
    def test_every_sample_costs_one_pass_for_all_tokens(self, tiny_speech2text, audio, method):
        model, _ = tiny_speech2text
        seen = []
        handle = model.get_encoder().register_forward_pre_hook(lambda m, a: seen.append(len(a[0])))
        result = explain(tiny_speech2text, audio, method, n_token_samples=0)
        handle.remove()
        assert len(result.output_tokens) > 1
        # Beside the samples: the reference, the intact input, and how sure the model was.
        assert QUICK["n_samples"] <= sum(seen) <= QUICK["n_samples"] + 4


class TestGradientsWithoutPadding:
    """``gradients_with_padding=False``: the model on a window that ends behind the speech."""

    @staticmethod
    def positions(tiny_whisper, audio, method, **changes):
        """How many positions the encoder's layers were given."""
        seen = set()
        handle = tiny_whisper[0].get_encoder().layers[0].register_forward_hook(
            lambda module, args, output: seen.add(args[0].shape[1])
        )  # fmt: skip
        try:
            result = explain(tiny_whisper, audio, method, n_token_samples=0, **changes)
        finally:
            handle.remove()
        return result, seen

    def test_the_encoder_is_given_the_speech_and_half_a_second(self, tiny_whisper, audio):
        whole, seen = self.positions(tiny_whisper, audio, InputXGradient)
        assert seen == {100}
        short, seen = self.positions(
            tiny_whisper, audio, InputXGradient, gradients_with_padding=False
        )
        assert seen == {55, 100}  # 0.6 s and half a second, of 2 s; what is written hears all
        assert short.output_ids == whole.output_ids
        assert not torch.equal(short.spectrogram_attr, whole.spectrogram_attr)
        assert short.settings.gradients_with_padding is False
        again = explain(tiny_whisper, audio, InputXGradient, settings=short.settings)
        assert torch.equal(again.spectrogram_attr, short.spectrogram_attr)

    def test_the_gradients_are_those_of_the_model_on_that_window(self, tiny_whisper, audio):
        explainer = SpeechToTextAttribution(InputXGradient(tiny_whisper[0]), tiny_whisper[1])
        result = explainer.attribute(
            audio, n_token_samples=0, gradients_with_padding=False, seed=0, baselines=0.0
        )
        adapter = explainer.adapter
        speech = read_speech(adapter, audio, 16_000)
        inputs = speech.spectrogram[None].clone().requires_grad_()
        with adapter.evaluation_mode(), torch.enable_grad():
            sequence = explained_sequence(result)
            states = adapter.encode_shortened(speech, inputs)
            logits = adapter.output_layer(adapter.decode(states, sequence))
            of_token = logits.log_softmax(-1)[0, 1, sequence.explained_ids[1]]
            (gradient,) = torch.autograd.grad(of_token, inputs)
        torch.testing.assert_close(result.spectrogram_attr[1], (gradient * inputs)[0].detach())

    @pytest.mark.filterwarnings("ignore:Setting backward hooks")
    @pytest.mark.parametrize("method", [FeatureAblation, GuidedBackprop])
    def test_what_does_not_differentiate_or_has_rules_for_layers_hears_all(
        self, make_tiny_whisper, audio, method
    ):
        model = make_tiny_whisper()
        for layer in model[0].get_encoder().layers:
            layer.activation_fn = torch.nn.ReLU()  # for which GuidedBackprop has a rule
        _, seen = self.positions(
            model, audio, method, gradients_with_padding=False, feature_mask="grid", n_patches=3
        )
        assert seen == {100}

    def test_a_model_without_such_windows_is_differentiated_as_it_is(self, tiny_speech2text, audio):
        whole, short = (
            explain(
                tiny_speech2text, audio, Saliency, n_token_samples=0, gradients_with_padding=padding
            )
            for padding in (True, False)
        )
        assert torch.equal(whole.spectrogram_attr, short.spectrogram_attr)

    def test_it_is_forecast_to_cost_less(self, tiny_whisper, audio):
        adapter = SpeechToTextAttribution(SPES(tiny_whisper[0]), tiny_whisper[1]).adapter
        (method,) = named_methods(["integrated-gradients"])
        settings = Settings.paper(n_token_samples=0)
        whole, short = (
            forecast(adapter, audio, [(method, own)], scored=0).spectrograms
            for own in (settings, settings.replace(gradients_with_padding=False))
        )
        assert short == pytest.approx(0.55 * whole, rel=0.02)
