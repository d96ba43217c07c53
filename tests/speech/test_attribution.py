"""The wrapper: what it returns, that it can be repeated, and that the model stays as it was."""

import inspect
import threading
from importlib.metadata import version

import numpy as np
import pytest
import soundfile
import torch
from captum.attr import (
    FeatureAblation,
    FeaturePermutation,
    GradientShap,
    KernelShap,
    LayerActivation,
    Lime,
    ShapleyValueSampling,
)

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.errors import ArgumentError, ArgumentTypeError
from tests.attr.designs import FixedMasks
from tests.speech.explaining import QUICK, explain


class TestResult:
    def test_shapes_and_tokens(self, tiny_model, audio):
        result = explain(tiny_model, audio)
        n_tokens, n_previous = len(result.output_tokens), len(result.previous_tokens)
        assert result.spectrogram_attr.shape == (n_tokens, *result.spectrogram.shape)
        assert result.token_attr.shape == (n_tokens, n_previous)
        assert result.spectrogram_attr.dtype == torch.float32
        assert result.text == "the cat"
        assert "".join(result.output_tokens[:-1]) == " the cat"
        assert [w.word for w in result.words] == ["the", "cat"]
        assert all(w.start is None and w.end is None for w in result.words)
        assert (result.method, result.seed) == ("SPES", 0)
        assert not result.spectrogram_attr.requires_grad

    def test_signature_is_the_contract(self):
        parameters = inspect.signature(SpeechToTextAttribution.attribute).parameters
        expected = {
            "audio": inspect.Parameter.empty, "sampling_rate": 16_000, "target": None,
            "gen_args": None, "n_samples": 20_000, "n_token_samples": 2_000,
            "perturb_prob": 0.5, "token_perturb_prob": 0.4,
            "patches_per_second": (400, 500, 600), "max_seconds": 7.5, "seed": None,
            "show_progress": False,
        }  # fmt: skip
        assert list(parameters)[1 : 1 + len(expected)] == list(expected)
        assert {name: parameters[name].default for name in expected} == expected

    def test_divergences_are_positive_and_the_audio_matters(self, tiny_model, audio):
        result = explain(tiny_model, audio)
        assert (result.spectrogram_attr >= 0).all()
        assert (result.spectrogram_attr.amax((1, 2)) > 1e-3).all()

    def test_cells_not_before_the_token_are_nan_and_no_others(self, tiny_model, audio):
        result = explain(tiny_model, audio)
        n_prompt = len(result.previous_tokens) - len(result.output_tokens) + 1
        for row, values in enumerate(result.token_attr):
            expected = [j >= n_prompt + row for j in range(len(values))]
            assert torch.isnan(values).tolist() == expected

    def test_generated_output_is_explained(self, tiny_model, audio):
        result = explain(tiny_model, audio, target=None, gen_args={"max_new_tokens": 3})
        assert len(result.output_tokens) == 3
        assert result.parameters["target"] == "generated"

    def test_previous_tokens_can_be_left_out(self, tiny_model, audio):
        result = explain(tiny_model, audio, n_token_samples=0)
        assert result.token_attr is None
        with pytest.raises(ArgumentError):
            result.speech_share()
        with pytest.raises(ArgumentError):
            result.plot_token_attr()
        assert result.normalized().token_attr is None

    def test_parameters_tell_what_was_run_and_found(self, tiny_model, audio):
        parameters = explain(tiny_model, audio, patches_per_second=(40, 400)).parameters
        assert parameters["n_samples"] == 60
        assert parameters["patches_per_second"] == [40, 400]
        assert parameters["distinct_levels"] == len(parameters["patches_per_level"]) == 2
        assert parameters["versions"]["torch"] == version("torch")

    def test_patches_and_removed_value_are_kept(self, tiny_model, audio):
        expected = explain(tiny_model, audio, baselines=0.25)
        assert (expected.removed == 0.25).all()
        again = explain(
            tiny_model,
            audio,
            baselines=expected.removed,
            feature_mask=list(expected.feature_masks),
            seed=expected.seed,
        )
        assert torch.equal(again.spectrogram_attr, expected.spectrogram_attr)

    def test_what_the_estimator_does_is_eq_3(self, tiny_model, audio):
        """Two patches, each removed once: the map is the divergence of each removal."""
        network, processor = tiny_model
        explainer = SpeechToTextAttribution(SPES(network), processor)
        speech = explainer.adapter.from_audio(audio)
        mask = torch.zeros(speech.spectrogram.shape, dtype=torch.int64)
        mask[len(mask) // 2 :] = 1
        result = explainer.attribute(
            audio,
            **{**QUICK, "n_samples": 2, "n_token_samples": 0},
            feature_mask=mask,
            design=FixedMasks([[1, 0], [0, 1]]),
        )
        target = explainer.adapter.force(speech, "the cat", {})
        removed = explainer.adapter.removed_value(speech, None).expand(speech.spectrogram.shape)
        with torch.no_grad():
            for label in (0, 1):
                perturbed = torch.where(mask == label, removed, speech.spectrogram)
                batch = torch.stack([speech.spectrogram, perturbed])
                logits = explainer.adapter.logits(explainer.adapter.encode(speech, batch), target)
                p, q = logits.double().log_softmax(-1)
                divergence = (p.exp() * (p - q)).sum(-1)
                found = result.spectrogram_attr[:, mask == label].double()
                assert torch.allclose(found, divergence[:, None].expand_as(found), atol=1e-5)

    def test_each_side_is_perturbed_with_its_own_probability(self, tiny_model, audio):
        network, processor = tiny_model
        explainer = SpeechToTextAttribution(SPES(network), processor)
        unperturbed = explainer.adapter.from_audio(audio).spectrogram
        spectrograms, kept = [], []
        encode, keep_previous_tokens = (
            explainer.adapter.encode,
            explainer.adapter.keep_previous_tokens,
        )

        def spy_encode(speech, batch):
            spectrograms.extend((batch != unperturbed).float().mean((1, 2)).tolist())
            return encode(speech, batch)

        def spy_keep(keep):
            kept.extend(keep.mean(1).tolist())
            return keep_previous_tokens(keep)

        explainer.adapter.encode, explainer.adapter.keep_previous_tokens = spy_encode, spy_keep
        probabilities = {"perturb_prob": 0.2, "token_perturb_prob": 0.6}
        # Long, so that hardly two samples keep the same tokens: equal ones run once.
        arguments = QUICK | {"target": [10] * 15, "n_token_samples": 200}
        explainer.attribute(audio, **arguments, **probabilities)
        # Three passes more see the unperturbed spectrogram.
        assert len(spectrograms) == 60 + 3
        assert sum(spectrograms) / 60 == pytest.approx(0.2, abs=0.06)
        assert np.mean(kept) == pytest.approx(0.4, abs=0.05)


class TestInputs:
    def test_file_array_tensor_and_features_agree(self, tiny_model, audio, tmp_path):
        expected = explain(tiny_model, audio)
        soundfile.write(tmp_path / "a.wav", audio, 16_000, subtype="FLOAT")
        for given in (tmp_path / "a.wav", str(tmp_path / "a.wav"), torch.from_numpy(audio)):
            assert torch.equal(
                explain(tiny_model, given).spectrogram_attr, expected.spectrogram_attr
            )
        network, processor = tiny_model
        explainer = SpeechToTextAttribution(SPES(network), processor)
        features = explainer.adapter.from_audio(audio).features
        for given in (features, features.numpy(), {"input_features": features}):
            result = explainer.attribute(given, **QUICK)
            frames = len(expected.spectrogram)
            # Frames that reach over the end of the audio may count as speech here.
            assert torch.equal(result.spectrogram[:frames], expected.spectrogram)
        features.zero_()
        assert (result.spectrogram != 0).any()

    @pytest.mark.parametrize(("frames", "message"), [(1, "less than 0.1 s"), (900, "at most")])
    def test_features_of_an_unusable_length(self, tiny_speech2text, frames, message):
        model, processor = tiny_speech2text
        explainer = SpeechToTextAttribution(SPES(model), processor)
        with pytest.raises(ArgumentError, match=message):
            explainer.attribute(torch.randn(1, frames, 80), **QUICK)

    def test_stereo_file_at_another_rate(self, tiny_model, tmp_path):
        time = np.arange(24_000) / 48_000
        stereo = np.stack([np.sin(2000 * time), np.sin(5000 * time)], 1) * 0.3
        soundfile.write(tmp_path / "a.wav", stereo, 48_000)
        assert explain(tiny_model, tmp_path / "a.wav").seconds == pytest.approx(0.5)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"sampling_rate": 8_000}, "8000 samples per second and the model takes 16000"),
            ({"n_samples": 0}, "n_samples must be an int of at least 1"),
            ({"n_token_samples": -1}, "n_token_samples must be an int of at least 0"),
            ({"perturb_prob": 0.0}, "strictly between 0 and 1"),
            ({"perturb_prob": 1.5}, "strictly between 0 and 1"),
            ({"token_perturb_prob": 1.0}, "strictly between 0 and 1"),
            ({"perturbations_per_eval": 0}, "perturbations_per_eval must be an int of at least 1"),
            ({"patches_per_second": 0}, "patches_per_second must be positive"),
            ({"max_seconds": -1.0}, "max_seconds must be positive"),
            ({"baselines": "noise"}, "unknown baseline"),
            ({"baselines": torch.zeros(3)}, "do not broadcast"),
            ({"feature_mask": torch.zeros(3, 3).long()}, r"shape \(3, 3\); it must have"),
            ({"feature_mask": (torch.zeros(1), torch.zeros(1))}, "2 tensors for one input"),
            ({"feature_mask": []}, "empty list"),
            ({"target": ""}, "empty text"),
            ({"target": []}, "no token ids"),
            ({"target": "the " * 30}, "at most 24 together"),
            ({"score": "bleu"}, "score must be one of"),
        ],
    )
    def test_bad_argument(self, tiny_model, audio, arguments, message):
        with pytest.raises(ArgumentError, match=message):
            explain(tiny_model, audio, **arguments)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda a: np.append(a, np.nan), "NaN"),
            (lambda a: np.append(a, np.inf), "infinite"),
            (lambda a: a * 32768, "must lie in"),
            (lambda a: a[:100], "less than 0.1 s"),
            (lambda a: np.tile(a, 60), "takes at most"),
            (lambda a: np.stack([a, a]), "one dimension"),
            (lambda a: np.stack([a, a], 1), "one dimension"),
        ],
    )
    def test_bad_audio(self, tiny_model, audio, change, message):
        with pytest.raises(ArgumentError, match=message):
            explain(tiny_model, change(audio))

    def test_missing_file(self, tiny_model):
        with pytest.raises(FileNotFoundError, match="no such audio file"):
            explain(tiny_model, "nope.wav")

    def test_unusable_method(self, tiny_model):
        network, processor = tiny_model
        with pytest.raises(ArgumentTypeError, match="attr_method must be a Captum method"):
            SpeechToTextAttribution(network, processor)
        layer = network.get_encoder()
        for method in (LayerActivation(network, layer), FeaturePermutation(network)):
            name = type(method).__name__
            with pytest.raises(ArgumentTypeError, match=f"{name} is not supported"):
                SpeechToTextAttribution(method, processor)

    def test_future_is_not_implemented(self, tiny_model):
        network, processor = tiny_model
        with pytest.raises(NotImplementedError):
            SpeechToTextAttribution(SPES(network), processor).attribute_future("a.wav")

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize(
        "method", [SPES, FeatureAblation, ShapleyValueSampling, KernelShap, Lime]
    )
    def test_mask_label_below_zero_is_never_perturbed(self, tiny_model, audio, method):
        network, processor = tiny_model
        explainer = SpeechToTextAttribution(method(network), processor)
        seen, encode = [], explainer.adapter.encode

        def spy(speech, batch):
            seen.extend(batch[:, :10])
            return encode(speech, batch)

        explainer.adapter.encode = spy
        shape = explainer.adapter.from_audio(audio).spectrogram.shape
        mask = torch.arange(shape[0] * shape[1]).reshape(shape) // 400
        mask[:10] = -1
        result = explainer.attribute(audio, **QUICK, feature_mask=mask)
        assert all(torch.equal(rows, result.spectrogram[:10]) for rows in seen)
        assert (result.spectrogram_attr[:, :10] == 0).all()
        assert (result.spectrogram_attr[:, 10:] != 0).any()


class TestReproducible:
    @pytest.mark.parametrize("perturbations_per_eval", [1, 7, 64])
    def test_batch_size_changes_nothing(self, tiny_model, audio, perturbations_per_eval):
        expected = explain(tiny_model, audio)
        found = explain(tiny_model, audio, perturbations_per_eval=perturbations_per_eval)
        assert torch.allclose(found.spectrogram_attr, expected.spectrogram_attr, atol=1e-5)
        assert torch.allclose(found.token_attr, expected.token_attr, atol=1e-5, equal_nan=True)

    def test_seed_decides_and_the_result_names_it(self, tiny_model, audio):
        with torch.random.fork_rng():
            drawn = explain(tiny_model, audio, seed=None)
        again = explain(tiny_model, audio, seed=drawn.seed)
        assert torch.equal(drawn.spectrogram_attr, again.spectrogram_attr)
        other = explain(tiny_model, audio, seed=drawn.seed + 1)
        assert not torch.equal(drawn.spectrogram_attr, other.spectrogram_attr)

    def test_seed_governs_sampled_generation(self, tiny_model, audio):
        sampled = {"do_sample": True, "temperature": 2.0}
        before = torch.get_rng_state()
        first, second, third = (
            explain(tiny_model, audio, target=None, gen_args=sampled, seed=seed).output_ids
            for seed in (0, 0, 1)
        )
        assert first == second != third
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("method", [SPES, KernelShap, GradientShap])
    def test_one_explainer_serves_two_threads(self, tiny_model, audio, method):
        network, processor = tiny_model
        network.train()
        explainer = SpeechToTextAttribution(method(network), processor)
        expected = [explainer.attribute(audio, **{**QUICK, "seed": seed}) for seed in (0, 1)]
        before, found = torch.get_rng_state(), [None, None]

        def work(seed):
            found[seed] = explainer.attribute(audio, **{**QUICK, "seed": seed})

        threads = [threading.Thread(target=work, args=(seed,)) for seed in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for a, b in zip(expected, found, strict=True):
            assert torch.equal(a.spectrogram_attr, b.spectrogram_attr)
            assert torch.equal(torch.nan_to_num(a.token_attr), torch.nan_to_num(b.token_attr))
        assert torch.equal(torch.get_rng_state(), before)
        assert network.training

    def test_seeds_agree_more_than_tokens_do(self, tiny_model, audio):
        a, b = (
            explain(
                tiny_model, audio, seed=seed, n_samples=3000, perturbations_per_eval=100
            ).spectrogram_attr.flatten(1)
            for seed in (0, 1)
        )
        both = torch.corrcoef(torch.cat([a, b]))[: len(a), len(a) :]
        same = both.diagonal()
        others = both[~torch.eye(len(a)).bool()]
        assert same.mean() > others.mean() + 0.05
        assert same.min() > 0.5
