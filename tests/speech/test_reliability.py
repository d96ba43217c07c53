"""How much of an explanation is noise, stopping when it is little enough, and Ctrl-C."""

import signal
import subprocess
import sys
import time
import warnings
from functools import wraps

import pytest
import torch
from captum.attr import FeatureAblation, Saliency

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.demo import load_demo, load_examples
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.speech import SpeechToTextAttributionResult
from tests.speech.explaining import explain, rank_correlations
from tests.speech.families import make_family


class TestReliability:
    def test_shapes_and_range(self, tiny_model, audio):
        result = explain(tiny_model, audio)
        found = result.reliability()
        n_tokens = len(result.output_tokens)
        assert found.spectrogram.shape == found.standard_error.shape == (n_tokens,)
        assert ((found.spectrogram >= 0) & (found.spectrogram <= 1)).all()
        assert (found.standard_error > 0).all()
        assert 0 <= found.sentence <= 1
        assert (found.n_samples, found.n_token_samples) == (60, 60)

    def test_rises_with_samples_and_tells_the_agreement_of_two_seeds(self, tiny_model, audio):
        few, many = (explain(tiny_model, audio, n_samples=n) for n in (60, 800))
        assert many.reliability().spectrogram.mean() > few.reliability().spectrogram.mean()
        assert many.reliability().standard_error.mean() < few.reliability().standard_error.mean()
        # The expected correlation of two maps of the same reliability is that reliability.
        other = explain(tiny_model, audio, n_samples=800, seed=1)
        agreement = [
            torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]
            for a, b in zip(many.spectrogram_attr, other.spectrogram_attr, strict=True)
        ]
        expected = many.reliability().spectrogram.mean()
        assert torch.stack(agreement).mean() == pytest.approx(float(expected), abs=0.1)

    def test_rows_with_too_few_previous_tokens_are_undefined(self, tiny_model, audio):
        result = explain(tiny_model, audio)
        n_previous = (~result.token_attr.isnan()).sum(1)
        assert torch.equal(result.reliability().previous_tokens.isnan(), n_previous < 3)

    def test_without_previous_tokens(self, tiny_speech2text, audio):
        found = explain(tiny_speech2text, audio, n_token_samples=0).reliability()
        assert found.previous_tokens is None
        assert found.n_token_samples is None

    def test_padding_is_no_agreement(self, tiny_speech2text, audio):
        first = explain(tiny_speech2text, audio)
        mask = torch.arange(first.spectrogram.numel()).reshape(first.spectrogram.shape)
        padded = mask.clone()
        padded[len(mask) // 2 :] = -1
        arguments = {"n_samples": 30, "n_token_samples": 0}
        found = explain(tiny_speech2text, audio, feature_mask=padded, **arguments).reliability()
        whole = explain(tiny_speech2text, audio, feature_mask=mask, **arguments).reliability()
        assert found.spectrogram.mean() == pytest.approx(float(whole.spectrogram.mean()), abs=0.2)
        assert found.sentence < 0.5

    def test_is_saved(self, tiny_speech2text, audio, tmp_path):
        result = explain(tiny_speech2text, audio)
        result.save(tmp_path / "a.npz")
        loaded = SpeechToTextAttributionResult.load(tmp_path / "a.npz").reliability()
        assert torch.equal(loaded.spectrogram, result.reliability().spectrogram)
        assert loaded.sentence == result.reliability().sentence

    @pytest.mark.parametrize("method", [Saliency, FeatureAblation])
    def test_methods_that_do_not_sample_have_none(self, tiny_speech2text, audio, method):
        with pytest.raises(ArgumentError, match="does not say how much"):
            explain(tiny_speech2text, audio, method).reliability()

    def test_a_map_of_noise_is_pointed_out(self, tiny_speech2text, audio):
        with pytest.warns(
            UserWarning, match=r"of the saliency map is sampling noise .* 20 samples"
        ):
            explain(tiny_speech2text, audio, n_samples=20, patches_per_second=2000)

    def test_a_good_map_is_not(self, tiny_speech2text, audio):
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*sampling noise")
            explain(tiny_speech2text, audio, n_samples=400, patches_per_second=10)


class TwoHalves(SPES):
    """Halves of the samples that agree as planted: more for previous tokens than for others."""

    @wraps(SPES.attribute)  # whose arguments are looked at
    def attribute(self, inputs, *args, **kwargs):
        maps, halves = super().attribute(inputs, *args, **kwargs)
        if inputs.dim() == 2:
            falling = torch.arange(inputs.shape[1], 0, -1.0).expand_as(maps)
            noise = torch.where(torch.arange(inputs.shape[1]) == 0, -3.0, 0.0)
            halves = falling, falling + noise
        return maps, halves


class TestInstruction:
    @pytest.fixture
    def speech_llm(self, tmp_path):
        return make_family("qwen2_audio", tmp_path)

    def explain(self, model, audio, method=SPES, instruction="write the speech", **changes):
        few = {"n_samples": 20, "gen_args": {"instruction": instruction}}
        return explain(model, audio, method, **{**few, **changes})

    def test_tells_the_agreement_of_other_seeds(self, speech_llm, audio):
        results = [self.explain(speech_llm, audio, n_token_samples=150, seed=n) for n in range(4)]
        rows = torch.stack([result.instruction_attr for result in results], 1)
        assert rows.shape[2] > 5
        n_seeds = len(results)
        agreement = [torch.corrcoef(of_token) for of_token in rows]
        mean = (torch.stack(agreement).sum() / len(rows) - n_seeds) / (n_seeds * (n_seeds - 1))
        told = torch.stack([result.reliability().instruction for result in results])
        assert told.shape == (n_seeds, len(results[0].output_tokens))
        assert float(told.mean()) == pytest.approx(float(mean), abs=0.05)
        assert results[0].reliability().n_instruction_samples == 150

    def test_rises_with_samples(self, speech_llm, audio):
        few, many = (self.explain(speech_llm, audio, n_token_samples=n) for n in (30, 500))
        assert few.reliability().instruction.mean() < 0.9
        assert many.reliability().instruction.mean() > 0.95

    def test_is_that_of_its_own_halves(self, speech_llm, audio):
        result = self.explain(speech_llm, audio, TwoHalves)
        count = len(result.instruction_tokens)
        rows = torch.arange(count, 0, -1.0)
        r = torch.corrcoef(torch.stack([rows, torch.cat([rows[:1] - 3, rows[1:]])]))[0, 1]
        expected = torch.full((len(result.output_tokens),), float(2 * r / (1 + r)))
        found = result.reliability()
        assert torch.allclose(found.instruction.float(), expected)
        assert count != len(result.previous_tokens)
        assert not torch.allclose(found.previous_tokens[-1].float(), expected[-1])

    def test_of_fewer_than_three_tokens_is_undefined(self, speech_llm, audio):
        result = self.explain(speech_llm, audio, instruction=" speech")
        assert len(result.instruction_tokens) < 3
        assert result.reliability().instruction.isnan().all()

    def test_of_none_is_none(self, speech_llm, tiny_speech2text, audio):
        for found in (
            explain(tiny_speech2text, audio),
            self.explain(speech_llm, audio, n_token_samples=0),
        ):
            assert found.instruction_attr is None
            assert found.reliability().instruction is None
            assert found.reliability().n_instruction_samples is None

    def test_is_saved(self, speech_llm, audio, tmp_path):
        result = self.explain(speech_llm, audio)
        result.save(tmp_path / "a.npz")
        loaded = SpeechToTextAttributionResult.load(tmp_path / "a.npz").reliability()
        assert torch.equal(loaded.instruction, result.reliability().instruction)
        assert loaded.n_instruction_samples == 60


class TestTolerance:
    def test_stops_early(self, tiny_speech2text, audio):
        result = explain(tiny_speech2text, audio, n_samples=20_000, tolerance=0.5)
        found = result.reliability()
        assert found.n_samples < 20_000
        assert found.spectrogram.mean() >= 0.5
        assert result.parameters["n_samples_evaluated"] == found.n_samples
        assert result.parameters["tolerance"] == 0.5

    @pytest.mark.parametrize("tolerance", [0.0, 1.0, 5])
    def test_out_of_range_is_told_before_the_model_runs(self, tiny_speech2text, audio, tolerance):
        for method in (SPES, Saliency):
            with pytest.raises(ArgumentError, match="tolerance must lie"):
                explain(tiny_speech2text, audio, method, tolerance=tolerance)

    def test_of_methods_that_do_not_stop(self, tiny_speech2text, audio):
        for arguments in ({"method": Saliency}, {"perturb_jointly": True}):
            with pytest.raises(ArgumentError, match="tolerance is for SPES"):
                explain(tiny_speech2text, audio, tolerance=0.2, **arguments)

    def test_previous_tokens_get_all_their_samples(self, tiny_speech2text, audio):
        result = explain(tiny_speech2text, audio, n_samples=20_000, tolerance=0.5)
        assert result.reliability().n_token_samples == 60


class TestPrecision:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_a_trained_model_keeps_the_order_of_every_map(self, dtype):
        model, processor, _ = load_demo()
        explainer = SpeechToTextAttribution(SPES(model), processor)
        settings = {"n_samples": 80, "n_token_samples": 0, "patches_per_second": 40, "seed": 0}
        exact, fast = (
            explainer.attribute(load_examples()[0].path, dtype=d, **settings) for d in (None, dtype)
        )
        assert fast.text == exact.text
        assert min(rank_correlations(exact, fast)) > 0.98

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_maps_keep_their_order_and_the_model_its_weights(self, tiny_model, audio, dtype):
        weights = {k: v.clone() for k, v in tiny_model[0].state_dict().items()}
        exact, fast = (explain(tiny_model, audio, n_samples=200, dtype=d) for d in (None, dtype))
        assert fast.spectrogram_attr.dtype == torch.float32
        assert not torch.equal(fast.spectrogram_attr, exact.spectrogram_attr)
        correlations = rank_correlations(exact, fast)
        # Wide random weights magnify rounding; a trained model keeps 0.98, see below.
        assert min(correlations) > 0.9
        assert fast.parameters["dtype"] == str(dtype).split(".")[1]
        for name, value in tiny_model[0].state_dict().items():
            assert value.dtype == weights[name].dtype
            assert torch.equal(value, weights[name])

    def test_a_name_is_no_dtype(self, tiny_speech2text, audio):
        with pytest.raises(ArgumentTypeError, match=r"must be a torch\.dtype"):
            explain(tiny_speech2text, audio, dtype="bfloat16")

    def test_gradient_methods_take_it_too(self, tiny_speech2text, audio):
        result = explain(tiny_speech2text, audio, Saliency, dtype=torch.bfloat16)
        assert result.spectrogram_attr.abs().sum() > 0


class TestBatchSize:
    def test_auto_gives_the_same_maps(self, tiny_model, audio):
        expected, found = (
            explain(tiny_model, audio, perturbations_per_eval=n) for n in (4, "auto")
        )
        assert torch.allclose(
            expected.spectrogram_attr, found.spectrogram_attr, rtol=1e-3, atol=1e-5
        )

    def test_other_methods_take_auto_too(self, tiny_speech2text, audio):
        a, b = (
            explain(tiny_speech2text, audio, FeatureAblation, perturbations_per_eval=n)
            for n in (4, "auto")
        )
        assert torch.equal(a.spectrogram_attr, b.spectrogram_attr)

    def test_a_compiled_encoder_is_used(self, tiny_speech2text, audio):
        expected = explain(tiny_speech2text, audio)
        calls = []

        def backend(graph, inputs):
            calls.append(len(inputs))
            return graph.forward

        model, _ = tiny_speech2text
        model.get_encoder().compile(backend=backend)
        found = explain(tiny_speech2text, audio)
        assert calls
        assert torch.allclose(expected.spectrogram_attr, found.spectrogram_attr, atol=1e-5)


def test_ctrl_c_during_previous_tokens_keeps_the_spectrogram(tiny_speech2text, audio, monkeypatch):
    def interrupted(self, keep):
        raise KeyboardInterrupt

    from captum_spes.speech.models.speech_to_text import Speech2TextModel

    monkeypatch.setattr(Speech2TextModel, "keep_previous_tokens", interrupted)
    with pytest.raises(KeyboardInterrupt):
        explain(tiny_speech2text, audio)
    result = explain(tiny_speech2text, audio, return_partial=True)
    assert result.token_attr is None
    assert result.reliability().n_samples == 60


class ContractOnly(SPES):
    """A subclass with the arguments of the public contract alone."""

    def attribute(  # noqa: PLR0913
        self, inputs, baselines=None, target=None, additional_forward_args=None, feature_mask=None,
        n_samples=20_000, perturbations_per_eval=1, show_progress=False, *, perturb_prob=0.5,
        seed=None, design=None,
    ):  # fmt: skip
        return super().attribute(
            inputs, baselines, target, additional_forward_args, feature_mask, n_samples,
            perturbations_per_eval, show_progress, perturb_prob=perturb_prob, seed=seed,
            design=design,
        )  # fmt: skip


def test_subclass_of_spes(tiny_speech2text, audio):
    result = explain(tiny_speech2text, audio, ContractOnly)
    assert torch.equal(result.spectrogram_attr, explain(tiny_speech2text, audio).spectrogram_attr)
    with pytest.raises(ArgumentError, match="does not say"):
        result.reliability()
    jointly = explain(tiny_speech2text, audio, ContractOnly, perturb_jointly=True)
    assert jointly.token_attr is not None


SLOW_EXPLANATION = """
import signal
import sys
# What runs in the background of a shell inherits that Ctrl-C is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.speech.models import load_model

model, processor = load_model(sys.argv[1])
explainer = SpeechToTextAttribution(SPES(model), processor)
print("ready", flush=True)
result = explainer.attribute(
    sys.argv[2], target="the cat", n_samples=10**7, n_token_samples=20, patches_per_second=40,
    seed=0, return_partial=bool(int(sys.argv[3])),
)
print(result.reliability().n_samples, result.token_attr is not None)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("keep", [False, True])
def test_ctrl_c_returns_control_at_once(model_folder, audio, tmp_path, keep):
    import soundfile

    soundfile.write(tmp_path / "a.wav", audio, 16_000)
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_EXPLANATION, model_folder, tmp_path / "a.wav", str(int(keep))],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - start < 10
    if keep:
        n_samples, has_tokens = out.split()
        assert 0 < int(n_samples) < 10**7
        assert has_tokens == "True"
        assert "interrupted after" in err
    else:
        assert process.returncode != 0
        assert "KeyboardInterrupt" in err
