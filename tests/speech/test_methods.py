"""Captum's other methods through the wrapper: one result type, and nothing changed by a run."""

import numpy as np
import pytest
import torch
from captum.attr import (
    FeatureAblation,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    Lime,
    Saliency,
    ShapleyValueSampling,
)

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.errors import ArgumentError
from tests.attr.designs import FixedMasks
from tests.speech.explaining import explain


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
    "feature_ablation": (FeatureAblation, {}),
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
            if len(calls) == 6:
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
