"""LLMAttribution: Captum's wrapper for language models with SPES in it."""

import io
from contextlib import redirect_stderr
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import torch
from captum.attr import FeatureAblation, ImageMaskInput, KernelShap, Saliency, ShapleyValues
from captum.attr import LLMAttribution as CaptumLLMAttribution

from captum_spes import SPES, LLMAttribution
from captum_spes.attr import MaskedDifference
from captum_spes.errors import ArgumentError, ArgumentTypeError
from tests.attr.designs import AllMasks, FixedMasks
from tests.captum.language_models import (
    TARGET,
    BagOfWords,
    template_prompt,
    tiny_gpt2,
    tiny_llama,
    token_prompt,
    word_tokenizer,
)

each_prompt = pytest.mark.parametrize("prompt", [template_prompt, token_prompt])


def explain(method, prompt=template_prompt, attr_target="log_prob", target=TARGET, **kwargs):
    wrapped = LLMAttribution(method, word_tokenizer(), attr_target)
    return wrapped.attribute(prompt(), target=target, **kwargs)


def explain_difference(seed, **kwargs):
    method = SPES(tiny_gpt2(), estimator=MaskedDifference())
    return explain(method, **{"n_samples": 100, "seed": seed, **kwargs})


class TestAgainstFeatureAblation:
    """What SPES says where it must say the same."""

    @pytest.mark.parametrize("attr_target", ["log_prob", "prob"])
    @pytest.mark.parametrize("make", [tiny_gpt2, tiny_llama])
    @each_prompt
    def test_samples_that_remove_one_feature_each(self, make, prompt, attr_target):
        model, n_features = make(), prompt().n_itp_features
        ablated = explain(FeatureAblation(model), prompt, attr_target)
        one_each = FixedMasks(torch.eye(n_features))
        found = explain(SPES(model), prompt, attr_target, design=one_each, n_samples=n_features)
        assert found.token_attr.shape == (3, n_features)
        close = {"rtol": 1e-4, "atol": 5e-6}
        torch.testing.assert_close(found.token_attr, ablated.token_attr, **close)
        torch.testing.assert_close(found.seq_attr, ablated.seq_attr, **close)
        assert float(ablated.token_attr.abs().amin(0).max()) > 1e-3  # not equal for being 0
        assert found.input_tokens == ablated.input_tokens
        assert found.output_tokens == ablated.output_tokens == TARGET.split()

    @each_prompt
    def test_nearly_additive_model(self, prompt):
        """Signs and order are those of ablation, for the sequence and for each token."""
        ablated = explain(FeatureAblation(BagOfWords()), prompt)
        method = SPES(BagOfWords(), estimator=MaskedDifference())
        found = explain(method, prompt, n_samples=1000, seed=0)
        assert torch.equal(found.seq_attr.argsort(), ablated.seq_attr.argsort())
        torch.testing.assert_close(found.token_attr, ablated.token_attr, rtol=0, atol=0.02)
        clear = ablated.token_attr.abs() > 0.03
        assert torch.equal(found.token_attr.sign()[clear], ablated.token_attr.sign()[clear])

    def test_mean_has_the_order_and_not_the_zero(self):
        """Why the difference is there: what the other features did is in the mean, too."""
        ablated = explain(FeatureAblation(BagOfWords())).seq_attr
        every = {"design": AllMasks(), "n_samples": 16}
        mean = explain(SPES(BagOfWords()), **every).seq_attr
        assert torch.equal(mean.argsort(), ablated.argsort())
        assert not torch.equal(mean.sign(), ablated.sign())


class TestResult:
    def test_tokens_add_up_to_the_sequence(self):
        """The log probability of the target is the sum of its tokens'."""
        found = explain_difference(seed=0)
        torch.testing.assert_close(found.token_attr.sum(0), found.seq_attr, rtol=1e-4, atol=1e-5)

    def test_seed_decides(self):
        first, again, other = (explain_difference(seed).token_attr for seed in (0, 0, 1))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_generated_target(self):
        found = explain_difference(
            seed=0, target=None, gen_args={"max_new_tokens": 2, "do_sample": False}
        )
        assert found.token_attr.shape == (2, 4)
        assert len(found.output_tokens) == 2

    def test_token_by_token_is_the_same(self):
        one_pass = explain_difference(seed=0, n_samples=20)
        by_token = explain_difference(seed=0, n_samples=20, forward_in_tokens=True)
        torch.testing.assert_close(by_token.token_attr, one_pass.token_attr, rtol=1e-3, atol=1e-5)

    def test_feature_masks_in_levels(self):
        pairs, halves = torch.tensor([[0, 0, 1, 2]]), torch.tensor([[0, 0, 1, 1]])
        found = explain_difference(seed=0, feature_mask=[pairs, halves]).seq_attr
        assert found[0] == found[1]
        assert found[2] != found[3]

    def test_arguments_of_spes_reach_it(self):
        """A tolerance that is always met ends after the first round."""
        calls = []

        class Counted(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.inner, self.device = tiny_gpt2(), torch.device("cpu")

            def forward(self, **inputs):
                calls.append(inputs)
                return self.inner(**inputs)

        explain(SPES(Counted()), n_samples=50, seed=0)
        assert len(calls) == 1 + 50
        calls.clear()
        explain(SPES(Counted()), n_samples=500, seed=0, tolerance=0.999)
        assert len(calls) < 500

    def test_progress(self):
        shown = io.StringIO()
        with redirect_stderr(shown):
            explain_difference(seed=0, n_samples=10, show_progress=True)
        assert "SPES attribution" in shown.getvalue()
        assert "10/10" in shown.getvalue() or "100%" in shown.getvalue()

    def test_plots(self):
        matplotlib = pytest.importorskip("matplotlib")
        matplotlib.use("Agg")
        found = explain_difference(seed=0)
        for plot in (found.plot_seq_attr, found.plot_token_attr):
            figure, _ = plot()
            matplotlib.pyplot.close(figure)

    def test_segments_of_a_picture(self):
        """Of a picture whose left half the model looks at, and whose right half it does not."""
        found = LLMAttribution(
            SPES(_SeesBrightness(), estimator=MaskedDifference()), word_tokenizer()
        ).attribute(_picture(), target="golf", design=AllMasks(), n_samples=4)
        seen, unseen = found.token_attr[0]
        assert float(seen) > 0.1
        assert float(unseen) == 0.0


class _SeesBrightness(torch.nn.Module):
    """The brighter the left half, the likelier "golf"."""

    def __init__(self):
        super().__init__()
        self.device = torch.device("cpu")

    def forward(self, input_ids, attention_mask, pixels):
        logits = torch.zeros(*input_ids.shape, 19)
        logits[..., word_tokenizer().convert_tokens_to_ids("golf")] = pixels[:, :, :2].mean()
        return SimpleNamespace(logits=logits)


def _picture():
    def processed(image):
        pixels = torch.from_numpy(np.array(image)).float().mean(-1)[None] / 255
        return {"input_ids": torch.tensor([[1]]), "pixels": pixels}

    image = PIL.Image.fromarray(np.full((4, 4, 3), 200, np.uint8))
    halves = torch.tensor([[0, 0, 1, 1]] * 4)
    return ImageMaskInput(image, halves, baseline=(0, 0, 0), processor_fn=processed)


class TestOtherMethods:
    """They work as in Captum's own wrapper."""

    @pytest.mark.parametrize("method", [FeatureAblation, ShapleyValues])
    def test_equal_to_captums_wrapper(self, method):
        model = tiny_gpt2()
        theirs = CaptumLLMAttribution(method(model), word_tokenizer()).attribute(
            template_prompt(), target=TARGET, forward_in_tokens=False
        )
        ours = explain(method(model))
        assert torch.equal(ours.token_attr, theirs.token_attr)
        assert torch.equal(ours.seq_attr, theirs.seq_attr)

    def test_surrogate_explains_the_whole_target_only(self):
        pytest.importorskip("sklearn")
        found = explain(KernelShap(tiny_gpt2()), n_samples=10)
        assert found.seq_attr.shape == (4,)
        assert found.token_attr is None


class TestErrors:
    """One line that says what to do."""

    @pytest.mark.parametrize(
        ("kwargs", "message"),
        [
            ({"perturbations_per_eval": 8}, "one prompt at a time; got 8"),
            ({"perturbations_per_eval": "auto"}, "one prompt at a time; got 'auto'"),
            ({"use_cached_outputs": True}, "use_cached_outputs must be False"),
            ({"return_halves": True}, "return_halves must be False"),
            ({"num_trials": 3}, "raise n_samples instead"),
        ],
    )
    def test_unusable_arguments(self, kwargs, message):
        with pytest.raises(ArgumentError, match=message) as error:
            explain_difference(seed=0, **kwargs)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Saliency(tiny_gpt2()), "FeatureAblation, .*SPES; got .*Saliency"),
            (lambda: SPES, "FeatureAblation, .*SPES; got SPES"),
            (lambda: SPES(lambda ids: ids), "the language model itself"),
        ],
    )
    def test_unusable_methods(self, make, message):
        with pytest.raises(ArgumentTypeError, match=message):
            LLMAttribution(make(), word_tokenizer())

    def test_trials_without_a_seed_are_averaged(self):
        assert explain_difference(seed=None, num_trials=2, n_samples=20).seq_attr.shape == (4,)
