"""A score, an estimator, a design, a method and a model family of one's own: no file of the
package changes."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, PerturbationAttribution, Saliency

from captum_spes import SPES, CrossAttention, Settings, SpeechToTextAttribution
from captum_spes.cli import main
from captum_spes.errors import ArgumentTypeError
from captum_spes.metrics import deletion_curve
from captum_spes.speech import METHODS, Method, SpeechToTextAttributionResult, register
from captum_spes.speech.models import SpeechInput, TargetSequence
from tests.speech.explaining import explain

WORDS = ["<blank>", " low", " high"]
# Early and late, low and high.
QUARTERS = torch.arange(4).reshape(2, 1, 2, 1).expand(2, 50, 2, 4).reshape(100, 8)


class ToyModel(torch.nn.Module):
    """Writes which half of the band is louder, in the first and in the second half of the time.

    No decoder, no previous tokens, no attention, nothing of Hugging Face.
    """

    def forward(self, spectrograms):
        early, late = spectrograms.tensor_split(2, dim=1)
        halves = torch.stack([early.mean(1), late.mean(1)], 1)
        low, high = halves[..., :4].sum(-1), halves[..., 4:].sum(-1)
        return torch.stack([torch.zeros_like(low), low, high], -1)


class ToyAdapter:
    """What an explanation asks of the toy model."""

    model_id, sampling_rate, frame_rate, max_seconds = "toy", 16_000, 100.0, None
    device = torch.device("cpu")

    def __init__(self, model, processor):
        self.model = model

    def from_audio(self, audio):
        frames = torch.from_numpy(audio[: len(audio) // 160 * 160].reshape(-1, 160).copy())
        energies = torch.fft.rfft(frames).abs()[:, 1:81].reshape(len(frames), 8, 10).mean(-1)
        return self.from_features(energies)

    def from_features(self, features):
        times = torch.arange(len(features)) / self.frame_rate
        hertz = torch.arange(8.0) * 1000 + 500
        return SpeechInput(features[None], features, times, hertz, len(features) / self.frame_rate)

    def is_features(self, value):
        return getattr(value, "ndim", 0) == 2 and value.shape[1] == 8

    def removed_value(self, speech, name):
        return torch.zeros(1, 1)

    def encode(self, speech, spectrograms):
        return self.model(spectrograms)

    def evaluation_mode(self):
        return nullcontext()

    def generate(self, speech, gen_args):
        return self._sequence(self.encode(speech, speech.spectrogram[None])[0].argmax(-1))

    def transcribe(self, speech, states, gen_args):
        return [self.text(row.argmax(-1)) for row in states]

    def force(self, speech, target, gen_args):
        ids = [WORDS.index(" " + word) for word in target.split()]
        return self._sequence(torch.tensor(ids))

    def _sequence(self, ids):
        return TargetSequence(ids, explained=tuple(range(len(ids))), previous=())

    def decode(self, states, target):
        return states

    def output_layer(self, hidden):
        return hidden

    def token_strings(self, ids):
        return [WORDS[i] for i in ids]

    def spelled(self, ids):
        return [(WORDS[i], [row]) for row, i in enumerate(ids)]

    def text(self, ids):
        return "".join(self.token_strings(ids)).strip()


@pytest.fixture
def sweep():
    """A second that is low and then high."""
    time = np.arange(16_000) / 16_000
    tone = np.where(time < 0.5, np.sin(2 * np.pi * 1000 * time), np.sin(2 * np.pi * 6000 * time))
    return (0.5 * tone).astype(np.float32)


class TestFamily:
    def explain(self, sweep, method=SPES, **arguments):
        explainer = SpeechToTextAttribution(method(ToyModel()), None, adapter=ToyAdapter)
        arguments = {"n_samples": 400, "feature_mask": QUARTERS, "seed": 0, **arguments}
        return explainer.attribute(sweep, **arguments)

    @pytest.mark.parametrize("method", [SPES, FeatureAblation, Saliency])
    def test_evidence_is_where_the_model_looks(self, sweep, method):
        """The first word rests on the low band of the first half, the second on the high band of
        the second half."""
        result = self.explain(sweep, method)
        assert result.text == "low high"
        assert result.token_attr is None
        assert result.previous_tokens == []
        quarters = result.spectrogram_attr.abs().reshape(2, 2, 50, 2, 4).mean((2, 4))
        assert quarters[0, 0].sum() > 1.3 * quarters[0, 1].sum()
        assert quarters[1, 1].sum() > 1.3 * quarters[1, 0].sum()

    def test_deletion(self, sweep):
        result = self.explain(sweep)
        explainer = SpeechToTextAttribution(SPES(ToyModel()), None, adapter=ToyAdapter)
        curve = deletion_curve(explainer, [(sweep, "low high", result)], step=0.25, metric="kl")
        assert curve.y[0] == 0 < curve.y[-1]
        words = deletion_curve(explainer, [(sweep, "low high", result)], step=0.5)
        assert words.y[0] == 0 < words.y[-1]

    def test_result_is_saved_and_drawn(self, sweep, tmp_path):
        result = self.explain(sweep)
        result.save(tmp_path / "toy.npz")
        loaded = SpeechToTextAttributionResult.load(tmp_path / "toy.npz")
        assert torch.equal(loaded.spectrogram_attr, result.spectrogram_attr)
        result.plot_spectrogram_attrs().savefig(tmp_path / "toy.png")

    def test_an_adapter_that_is_made_already(self, sweep):
        model = ToyModel()
        adapter = ToyAdapter(model, None)
        explainer = SpeechToTextAttribution(SPES(model), None, adapter=adapter)
        assert explainer.attribute(sweep, target="low low", n_samples=20, seed=0).text == "low low"

    def test_what_it_cannot_do_is_named_before_any_pass(self, sweep):
        with pytest.raises(ArgumentTypeError, match=r"CrossAttention needs .*lacks attention"):
            self.explain(sweep, CrossAttention)
        with pytest.raises(ArgumentTypeError, match=r"hear audio .*lacks encode"):
            SpeechToTextAttribution(SPES(ToyModel()), None, adapter=_without(ToyAdapter, "encode"))
        explainer = SpeechToTextAttribution(
            SPES(ToyModel()), None, adapter=_without(ToyAdapter, "generate")
        )
        with pytest.raises(ArgumentTypeError, match=r"without target needs .*lacks generate"):
            explainer.attribute(sweep)

    def test_previous_tokens_that_cannot_be_removed_are_named(self, sweep):
        class Reads(ToyAdapter):
            def _sequence(self, ids):
                return TargetSequence(ids, explained=tuple(range(1, len(ids))))

        explainer = SpeechToTextAttribution(SPES(ToyModel()), None, adapter=Reads)
        with pytest.raises(ArgumentTypeError, match=r"n_token_samples=0.*read previous tokens"):
            explainer.attribute(sweep, target="low high")


def _without(kind, name):
    """An adapter class that lacks a method."""
    members = {k: v for k, v in vars(kind).items() if k != name and k != "__dict__"}
    return type("Lacking", (), members)


class TestPartOfTheTokens:
    """Prompts with placeholders: only some of the ids are previous tokens."""

    def test_placeholders_are_no_previous_tokens(self, tiny_speech2text, audio):
        from captum_spes.speech.models.speech_to_text import Speech2TextModel

        class WithPlaceholder(Speech2TextModel):
            """The start token stands for audio, say, and is never removed."""

            def force(self, speech, target, gen_args):
                found = super().force(speech, target, gen_args)
                last = len(found.ids) - 1
                return TargetSequence(found.ids, found.explained, tuple(range(1, last)), (1,))

        model, processor = tiny_speech2text
        explainer = SpeechToTextAttribution(SPES(model), processor, adapter=WithPlaceholder)
        settings = {"n_samples": 20, "n_token_samples": 60, "patches_per_second": 40, "seed": 0}
        result = explainer.attribute(audio, target="the cat", **settings)
        whole = explain(tiny_speech2text, audio)
        assert result.previous_tokens == whole.previous_tokens[1:]
        assert result.token_attr.shape == (len(result.output_tokens), len(result.previous_tokens))
        assert result.token_attr[0].isnan().all()
        assert (result.token_attr[-1] > 0).all()


class TestScore:
    def test_a_function_is_a_score_everywhere(self, tiny_speech2text, audio):
        calls = []

        def probability(perturbed, reference, token_ids):
            calls.append(len(perturbed))
            ids = token_ids.expand(len(perturbed), -1)[..., None]
            return perturbed.softmax(-1).gather(-1, ids)[..., 0]

        own = explain(tiny_speech2text, audio, score=probability)
        named = explain(tiny_speech2text, audio, score="probability")
        assert calls
        torch.testing.assert_close(own.spectrogram_attr, named.spectrogram_attr)
        torch.testing.assert_close(own.token_attr, named.token_attr, equal_nan=True)
        assert own.settings.score is probability
        model, processor = tiny_speech2text
        explainer = SpeechToTextAttribution(SPES(model), processor)
        curves = [
            deletion_curve(explainer, [(audio, None, own)], step=0.5, metric=metric)
            for metric in (probability, "probability")
        ]
        assert curves[0].y == pytest.approx(curves[1].y, abs=1e-6)
        assert curves[0].metric == "probability"

    def test_gradients_go_through_it(self, tiny_speech2text, audio):
        def log_probability(perturbed, reference, token_ids):
            ids = token_ids.expand(len(perturbed), -1)[..., None]
            return perturbed.log_softmax(-1).gather(-1, ids)[..., 0]

        own = explain(tiny_speech2text, audio, Saliency, score=log_probability)
        named = explain(tiny_speech2text, audio, Saliency)
        torch.testing.assert_close(own.spectrogram_attr, named.spectrogram_attr)

    def test_units_of_its_own(self, tiny_speech2text, audio):
        class Together:
            """One unit: the probability of the whole text."""

            def __call__(self, perturbed, reference, token_ids):
                ids = token_ids.expand(len(perturbed), -1)[..., None]
                return perturbed.log_softmax(-1).gather(-1, ids)[..., 0].sum(-1, keepdim=True)

            def labels(self, tokens):
                return ["".join(tokens)]

        result = explain(tiny_speech2text, audio, score=Together())
        tokens = explain(tiny_speech2text, audio, score="log_probability")
        assert len(result.output_tokens) == 1
        summed = tokens.spectrogram_attr.sum(0, keepdim=True)
        torch.testing.assert_close(result.spectrogram_attr, summed, rtol=1e-4, atol=1e-5)


class TestEstimator:
    def test_it_goes_where_settings_of_methods_go(self, tiny_speech2text, audio):
        class Mean:
            """Eq. 3, written down once more."""

            def estimate(self, features, samples):
                total, count = 0.0, 0.0
                for level, masks, impacts in samples:
                    total = total + features.spread(impacts.T @ masks.double(), level)
                    count = count + features.spread(masks.double().sum(0), level)
                return total / count.clamp(min=1)

        estimator = Mean()
        own = explain(tiny_speech2text, audio, estimator=estimator)
        theirs = explain(tiny_speech2text, audio)
        torch.testing.assert_close(own.spectrogram_attr, theirs.spectrogram_attr)
        assert own.settings.estimator is estimator
        made_with = explain(tiny_speech2text, audio, lambda m: SPES(m, estimator=estimator))
        assert torch.equal(made_with.spectrogram_attr, own.spectrogram_attr)
        assert own.reliability().tokens.shape == (len(own.output_tokens),)


class OwnAblation(PerturbationAttribution):
    """A user's method: one patch at a time, and only what every method of Captum's has."""

    def attribute(self, inputs, baselines=None, target=None, feature_mask=None):
        reference = self.forward_func(inputs)[:, target]
        attributions = torch.zeros_like(inputs)
        for label in feature_mask.unique():
            is_own = feature_mask == label
            perturbed = torch.where(is_own, baselines, inputs)
            attributions[is_own] = reference - self.forward_func(perturbed)[:, target]
        return attributions


class TestMethod:
    def test_a_method_of_no_entry(self, tiny_speech2text, audio):
        own = explain(tiny_speech2text, audio, OwnAblation)
        captum = explain(tiny_speech2text, audio, FeatureAblation)
        torch.testing.assert_close(own.spectrogram_attr, captum.spectrogram_attr)
        torch.testing.assert_close(own.token_attr, captum.token_attr, equal_nan=True)
        assert own.method == "Own Ablation" or own.method == "OwnAblation"

    def test_one_entry_makes_it_known_to_the_command_line(self, model_folder, tmp_path, capsys):
        ablation = METHODS["feature-ablation"]
        register(
            Method("own-ablation", OwnAblation, "mine", METHODS["lime"].runner,
                   ablation.passes, ablation.settings)
        )  # fmt: skip
        try:
            with pytest.raises(SystemExit):
                main(["explain", "--help"])
            assert "own-ablation: mine" in " ".join(capsys.readouterr().out.split())
        finally:
            del METHODS["own-ablation"]


def test_settings_hold_objects_of_ones_own_by_name(tmp_path, tiny_speech2text, audio):
    """A file keeps the name of an estimator that is not the package's, and says so when it would
    run."""

    class Own:
        def estimate(self, features, samples):
            return torch.zeros(samples[0].impacts.shape[1], features.n_elements)

    result = explain(tiny_speech2text, audio, estimator=Own())
    result.save(tmp_path / "own.npz")
    loaded = SpeechToTextAttributionResult.load(tmp_path / "own.npz")
    with pytest.raises(ValueError, match=r"settings.estimator was .*Own, .*give it again"):
        explain(tiny_speech2text, audio, settings=loaded.settings)
    again = loaded.settings.replace(estimator=Settings().estimator)
    assert again.replace(estimator=Own()).n_samples == result.settings.n_samples
