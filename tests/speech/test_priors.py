"""Gradients at perturbed spectrograms: what they are, and that nothing else changes them."""

import pytest
import torch
from captum.attr import InputXGradient

from captum_spes import SPES, Settings, SpeechToTextAttribution
from captum_spes.attr import GaussianProcess
from captum_spes.demo import load_demo, load_speech_llm
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.forward import KL
from captum_spes.speech import METHODS, GradientPrior
from captum_spes.speech.methods import Extent
from tests.speech.explaining import explain

FEW = {"scheme": "efficient", "n_samples": 20, "n_token_samples": 0, "patches_per_second": (20, 40)}


class Recorder:
    """Remembers the prior that it is given."""

    takes_prior = True

    def __init__(self):
        self.prior = None

    def estimate(self, features, samples):
        self.prior = features.prior
        return GaussianProcess(log_impacts=False).estimate(features, samples)


def maps_of(model, audio, prior, **changes):
    """``(whole, halves)`` as an estimator sees them, ``(tokens, elements)``."""
    recorder = Recorder()
    explain(model, audio, **{**FEW, "estimator": recorder, "prior": prior, **changes})
    return recorder.prior


def undivided(perturbed, reference, token_ids):
    """The divergence, not known to be one."""
    return KL()(perturbed, reference, token_ids)


def prior_of(explainer, audio, prior):
    recorder = Recorder()
    settings = Settings.efficient(
        n_samples=24, n_token_samples=0, patches_per_second=(60,), estimator=recorder, prior=prior
    )
    explainer.attribute(audio, settings=settings, seed=0)
    return recorder.prior.whole


def agreement(maps, others):
    """Mean correlation of tokens' maps."""
    pairs = zip(maps, others, strict=True)
    return float(torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in pairs]).mean())


@pytest.fixture(scope="module")
def spoken():
    model, processor, examples = load_demo()
    return SpeechToTextAttribution(SPES(model), processor), examples[0].audio


def share_of_difference(first, second):
    return float((first - second).norm() / second.norm())


class TestGradients:
    @pytest.mark.filterwarnings("ignore:.*perturbed by no sample")
    def test_where_nothing_is_removed_they_are_the_input_times_its_gradient(
        self, tiny_whisper, audio
    ):
        found = maps_of(
            tiny_whisper, audio, GradientPrior(2, 100, with_padding=True), score="log_probability",
            baselines=0.0, perturb_prob=1e-12,
        )  # fmt: skip
        captum = explain(tiny_whisper, audio, InputXGradient, baselines=0.0, n_token_samples=0)
        expected = captum.spectrogram_attr.flatten(1)
        torch.testing.assert_close(found.whole, expected, rtol=1e-3, atol=1e-6)

    def test_groups_divide_the_same_gradients_differently(self, tiny_whisper, audio):
        each, groups = (maps_of(tiny_whisper, audio, GradientPrior(4, n)) for n in (100, 2))
        assert share_of_difference(groups.whole.sum(0), each.whole.sum(0)) < 1e-4
        assert share_of_difference(groups.whole, each.whole) > 0.01

    def test_tokens_that_share_a_pass_through_the_decoder_are_told_apart(self, tiny_whisper, audio):
        target = "the cat sat on the"  # more tokens than passes
        each, shared = (
            maps_of(tiny_whisper, audio, GradientPrior(2, n), target=target) for n in (100, 16)
        )
        assert len(shared.whole) > 16
        assert share_of_difference(shared.whole.sum(0), each.whole.sum(0)) < 1e-4

    def test_halves_are_of_every_second_mask(self, tiny_whisper, audio):
        found = maps_of(tiny_whisper, audio, GradientPrior(5))
        first, second = found.halves
        torch.testing.assert_close((3 * first + 2 * second) / 5, found.whole)
        assert second.any()
        assert share_of_difference(first, second) > 0.1

    @pytest.mark.parametrize("size", [1, 3, 16])
    def test_batches_change_nothing(self, tiny_whisper, audio, size):
        usual = maps_of(tiny_whisper, audio, GradientPrior(5))
        found = maps_of(tiny_whisper, audio, GradientPrior(5), perturbations_per_eval=size)
        for own, expected in zip(
            (found.whole, *found.halves), (usual.whole, *usual.halves), strict=True
        ):
            assert share_of_difference(own, expected) < 1e-4

    def test_gradients_of_divergences_are_divided_by_their_root(self, tiny_whisper, audio):
        scaled, plain = (
            maps_of(tiny_whisper, audio, GradientPrior(2, 100), score=score)
            for score in ("kl", undivided)
        )
        # A half is one mask here, at which each token has a divergence of its own.
        roots = [
            (plain.halves[half] * scaled.halves[half]).sum(1) / scaled.halves[half].square().sum(1)
            for half in (0, 1)
        ]
        for half, root in enumerate(roots):
            expected = scaled.halves[half] * root[:, None]
            assert share_of_difference(expected, plain.halves[half]) < 1e-3
        assert float((roots[0] / roots[1]).log().abs().max()) > 0.05

    def test_who_a_gradient_belongs_to_is_told_by_the_states(self, spoken):
        explainer, audio = spoken
        each, groups = (prior_of(explainer, audio, GradientPrior(4, n)) for n in (100, 2))
        even = groups.mean(0, keepdim=True).expand_as(groups)
        assert agreement(groups, each) > agreement(even, each) + 0.1

    def test_attention_tells_tokens_of_a_language_model_apart(self):
        model, processor, examples = load_speech_llm()
        explainer, audio = SpeechToTextAttribution(SPES(model), processor), examples[0].audio
        each, groups = (prior_of(explainer, audio, GradientPrior(2, n)) for n in (100, 2))
        even = groups.mean(0, keepdim=True).expand_as(groups)
        assert agreement(groups, each) > agreement(even, each) + 0.1

    def test_a_seed_decides(self, tiny_whisper, audio):
        first, same, other = (
            maps_of(tiny_whisper, audio, GradientPrior(4), seed=seed).whole for seed in (1, 1, 2)
        )
        assert torch.equal(first, same)
        assert share_of_difference(first, other) > 0.1

    def test_more_samples_bring_more_masks(self):
        assert [GradientPrior().masks_for(n) for n in (10, 60, 240)] == [20, 20, 40]
        assert GradientPrior(4).masks_for(1_000) == 4

    @pytest.mark.parametrize(("with_padding", "positions"), [(False, {55, 100}), (True, {100})])
    def test_padding_is_left_out(self, tiny_whisper, audio, with_padding, positions):
        seen = set()
        handle = tiny_whisper[0].get_encoder().layers[0].register_forward_hook(
            lambda module, args, output: seen.add(args[0].shape[1])
        )  # fmt: skip
        try:
            explain(tiny_whisper, audio, **FEW, prior=GradientPrior(3, with_padding=with_padding))
        finally:
            handle.remove()
        assert seen == positions  # 0.6 s and half a second, of 2 s; samples hear all

    def test_cells_that_are_never_perturbed_have_none(self, tiny_whisper, audio):
        usual = explain(tiny_whisper, audio)
        mask = torch.arange(usual.spectrogram.numel()).reshape(usual.spectrogram.shape) // 64
        mask[:4] = -1
        found = maps_of(tiny_whisper, audio, GradientPrior(4), feature_mask=mask)
        explained = explain(
            tiny_whisper, audio, **{**FEW, "feature_mask": mask, "prior": GradientPrior(4)}
        )
        assert found.whole.shape[1] == mask.numel()
        # What they would be replaced by is never seen.
        removed = usual.removed.expand_as(usual.spectrogram).clone()
        first = maps_of(
            tiny_whisper, audio, GradientPrior(4), feature_mask=mask, baselines=removed.clone()
        )
        removed[:4] += 1
        second = maps_of(
            tiny_whisper, audio, GradientPrior(4), feature_mask=mask, baselines=removed
        )
        n_padding = mask[:4].numel()
        assert torch.equal(first.whole[:, n_padding:], second.whole[:, n_padding:])
        assert not explained.spectrogram_attr[:, :4].any()


class TestModels:
    def test_every_family(self, tiny_model, audio):
        result = explain(tiny_model, audio, **FEW)
        assert torch.isfinite(result.spectrogram_attr).all()
        assert result.settings.prior == GradientPrior()

    def test_the_model_comes_back_as_it_was(self, tiny_whisper, audio):
        network, _ = tiny_whisper
        network.train()
        before = {
            name: (value.detach().clone(), value.requires_grad)
            for name, value in network.named_parameters()
        }
        try:
            with torch.no_grad():
                explain(tiny_whisper, audio, **FEW)
            assert network.training
        finally:
            network.eval()
        for name, parameter in network.named_parameters():
            value, requires_grad = before[name]
            assert parameter.grad is None, name
            assert parameter.requires_grad == requires_grad, name
            assert torch.equal(parameter, value), name

    def test_callers_settings_change_nothing(self, tiny_whisper, audio):
        usual = explain(tiny_whisper, audio, **FEW)
        with torch.inference_mode():
            inside = explain(tiny_whisper, audio, **FEW)
        assert torch.equal(inside.spectrogram_attr, usual.spectrogram_attr)

    def test_one_that_cannot_be_differentiated_is_explained_from_samples(self, tiny_whisper, audio):
        explainer = SpeechToTextAttribution(SPES(tiny_whisper[0]), tiny_whisper[1])
        encode = explainer.adapter.encode
        explainer.adapter.encode = torch.no_grad()(encode)
        explainer.adapter.encode_shortened = torch.no_grad()(encode)
        options = {**FEW, "target": "the cat", "seed": 0}
        with pytest.warns(UserWarning, match="cannot be differentiated.*prior=None says so"):
            found = explainer.attribute(audio, **options)
        expected = explain(tiny_whisper, audio, **FEW, prior=None)
        assert torch.equal(found.spectrogram_attr, expected.spectrogram_attr)

    def test_without_memory_it_takes_smaller_batches_and_then_none(self, tiny_whisper, audio):
        usual = explain(tiny_whisper, audio, **FEW)
        for most, is_used in ((1, True), (0, False)):
            explainer = SpeechToTextAttribution(SPES(tiny_whisper[0]), tiny_whisper[1])
            adapter = explainer.adapter
            adapter.encode_shortened = Limited(adapter.encode_shortened, most)
            options = {**FEW, "target": "the cat", "seed": 0}
            if is_used:
                found = explainer.attribute(audio, **options)
                torch.testing.assert_close(
                    found.spectrogram_attr, usual.spectrogram_attr, rtol=1e-3, atol=1e-5
                )
            else:
                with pytest.warns(UserWarning, match="not enough memory to differentiate"):
                    explainer.attribute(audio, **options)


class Limited:
    """Runs out of memory where more than so many inputs are differentiated at a time."""

    def __init__(self, encode, most):
        self._encode, self._most = encode, most

    def __call__(self, speech, spectrograms):
        if spectrograms.requires_grad and len(spectrograms) > self._most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return self._encode(speech, spectrograms)


class TestSettings:
    def test_the_efficient_scheme_has_one_where_the_estimator_takes_it(self):
        assert Settings.efficient().prior == GradientPrior()
        assert Settings.efficient(estimator=Settings.paper().estimator).prior is None
        assert Settings.efficient().replace(estimator=Settings.paper().estimator).prior is None
        assert Settings.paper().prior is None

    def test_it_is_saved_with_the_settings(self):
        settings = Settings.efficient(prior=GradientPrior(n_masks=3, n_groups=2))
        assert Settings.from_dict(settings.to_dict()) == settings
        older = settings.to_dict()
        del older["prior"]
        assert Settings.from_dict(older).prior is None

    def test_an_estimator_that_makes_no_use_of_it_is_refused(self):
        with pytest.raises(ArgumentError, match="MaskedMean makes no use of a prior"):
            Settings.paper(prior=GradientPrior())

    def test_what_is_no_prior_is_refused(self):
        with pytest.raises(ArgumentTypeError, match="prior must be an object with of"):
            Settings.efficient(prior="attention")

    @pytest.mark.parametrize("numbers", [(1, 4), (8, 0)])
    def test_numbers_must_be_large_enough(self, numbers):
        with pytest.raises(ArgumentError, match="must be an int of at least"):
            GradientPrior(*numbers)

    def test_its_passes_are_foreseen(self):
        extent = Extent(tokens=10, patches=100, cells=1_000, previous=9)
        settings = Settings.efficient(n_samples=60, n_token_samples=0)
        passes = [
            METHODS["spes"].passes(own, extent).spectrogram
            for own in (settings, settings.replace(prior=None))
        ]
        assert passes == [61 + 20 * (1 + 12), 61]
