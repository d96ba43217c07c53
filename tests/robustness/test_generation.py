"""Arguments of generate, on the call or on the model, work or are refused before it runs."""

import copy
import pickle

import numpy as np
import pytest
import torch
from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    MaxLengthCriteria,
    StoppingCriteriaList,
    TextStreamer,
)

from captum_spes import SPES, Settings, SpeechToTextAttribution
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.speech.models import adapt
from tests.conftest import BEFORE_TRANSFORMERS_5

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def counted(adapter):
    """How often the encoder ran."""
    calls = []
    adapter.model.get_encoder().register_forward_hook(lambda *args: calls.append(1))
    return calls


RETURNED = {
    "return_dict_in_generate": True,
    "output_scores": True,
    "output_logits": True,
    "output_attentions": True,
    "output_hidden_states": True,
    "use_cache": False,
    "synced_gpus": False,
    "logits_processor": LogitsProcessorList(),
}


def skip_whisper_of_4(adapter):
    if BEFORE_TRANSFORMERS_5 and adapter.model.config.model_type == "whisper":
        pytest.skip("Whisper of transformers 4 cannot generate so")


class TestWhatIsReturned:
    @pytest.mark.parametrize("name", RETURNED)
    @pytest.mark.parametrize("beams", [1, 2])
    def test_changes_nothing(self, adapter, speech, name, beams):
        if name == "output_attentions":
            skip_whisper_of_4(adapter)
        own = {"num_beams": beams}
        expected = adapter.generate(speech, own)
        found = adapter.generate(speech, {**own, name: RETURNED[name]})
        assert torch.equal(found.ids, expected.ids)
        with torch.no_grad():
            states = adapter.encode(speech, speech.spectrogram[None])
        texts = adapter.transcribe(speech, states, {**own, name: RETURNED[name]})
        assert texts == adapter.transcribe(speech, states, own)

    def test_segments_of_whisper(self, tiny_whisper, audio):
        adapter = adapt(*tiny_whisper)
        speech = adapter.from_audio(audio)
        expected = adapter.generate(speech, {}).ids
        for name in ("return_segments", "condition_on_prev_tokens"):
            assert torch.equal(adapter.generate(speech, {name: True}).ids, expected)

    def test_streamers_and_criteria(self, adapter, speech, capsys):
        expected = adapter.generate(speech, {})
        streamer = TextStreamer(adapter.tokenizer)
        assert torch.equal(adapter.generate(speech, {"streamer": streamer}).ids, expected.ids)
        assert capsys.readouterr().out
        short = StoppingCriteriaList([MaxLengthCriteria(len(expected.ids) - 2)])
        found = adapter.generate(speech, {"stopping_criteria": short})
        assert found.ids.tolist() == expected.ids.tolist()[: len(found.ids)]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("return_dict", False),
            ("num_return_sequences", 2),
            ("generation_config", GenerationConfig(max_length=5)),
            ("decoder_input_ids", torch.tensor([[1]])),
            ("decoder_inputs_embeds", torch.zeros(1, 1, 16)),
            ("decoder_start_token_id", 3),
            ("inputs", torch.zeros(1)),
            ("input_features", torch.zeros(1)),
            ("encoder_outputs", None),
            ("custom_generate", "someone/code"),
            ("trust_remote_code", True),
        ],
    )
    def test_is_refused(self, adapter, speech, counted, name, value):
        for act in (adapter.generate, lambda *a: adapter.force(speech, "the cat", a[1])):
            with pytest.raises(ArgumentError, match=f"gen_args cannot hold '{name}'"):
                act(speech, {name: value})
        assert not counted

    @pytest.mark.parametrize("name", ["num_beams", "max_new_tokens", "max_length"])
    @pytest.mark.parametrize("value", [0, -1, 2.5, "3", True, [2]])
    def test_counts(self, adapter, speech, counted, name, value):
        with pytest.raises(ArgumentError, match=f"this {name}: it must be an int of at least 1"):
            adapter.generate(speech, {name: value})
        assert not counted

    @pytest.mark.parametrize(
        "gen_args",
        [
            {"top_k": "x", "do_sample": True},
            {"language": 5},
            {"nonsense": 1},
            {"streamer": 5},
            {"stopping_criteria": 5},
            {"bad_words_ids": 5},
            {"assistant_model": "x"},
            {"cache_implementation": "x"},
        ],
    )
    def test_whatever_generate_raises_is_one_error(self, adapter, speech, gen_args):
        with pytest.raises((ArgumentError, ArgumentTypeError)):
            adapter.generate(speech, gen_args)


class TestPrompts:
    @pytest.fixture
    def prompted(self, tiny_whisper, audio):
        adapter = adapt(*tiny_whisper)
        return adapter, adapter.from_audio(audio)

    def test_any_form_of_ids(self, prompted):
        adapter, speech = prompted
        expected = [65, 66, 67]
        forms = [
            expected, tuple(expected), np.array(expected), torch.tensor(expected),
            np.array(expected, dtype=np.uint8), torch.tensor([expected]),
        ]  # fmt: skip
        for form in forms:
            target = adapter.force(speech, "the", {"prompt_ids": form})
            assert target.ids.tolist()[:5] == [*expected, 257, 258]
            made = adapter.generate(speech, {"prompt_ids": form, "max_new_tokens": 3})
            assert made.ids.tolist()[:5] == [*expected, 257, 258]

    def test_none(self, prompted):
        adapter, speech = prompted
        for none in (None, [], torch.tensor([], dtype=torch.int64)):
            target = adapter.force(speech, "the", {"prompt_ids": none})
            assert target.ids.tolist()[:2] == [257, 258]

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("a text", r"got a text: processor\.get_prompt_ids"),
            ([0.5], "must be integers"),
            ([True], "must be integers"),
            ([-1], "must lie in"),
            ([10**6], "must lie in"),
            ([[1], [2]], "one dimension"),
            (5, "one dimension"),
            ({"a": 1}, "must be token ids"),
        ],
    )
    def test_anything_else(self, prompted, given, message):
        adapter, speech = prompted
        with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
            adapter.generate(speech, {"prompt_ids": given})


class TestSettingsOfTheModel:
    @pytest.mark.parametrize(
        ("where", "name", "value"),
        [
            ("config", "output_hidden_states", True),
            ("config", "use_cache", False),
            ("generation_config", "return_dict_in_generate", True),
            ("generation_config", "output_scores", True),
            ("generation_config", "output_hidden_states", True),
        ],
    )
    def test_change_nothing(self, tiny_model, audio, where, name, value):
        model, processor = tiny_model

        def explained():
            explainer = SpeechToTextAttribution(SPES(model), processor)
            return explainer.attribute(
                audio, gen_args={"num_beams": 2, "max_new_tokens": 4}, n_samples=20,
                n_token_samples=20, patches_per_second=40, seed=0,
            )  # fmt: skip

        expected = explained()
        for part in (model, model.get_encoder(), model.get_decoder()):
            if getattr(part, where, None) is not None:
                setattr(getattr(part, where), name, value)
        found = explained()
        assert found.output_ids == expected.output_ids
        assert torch.allclose(found.spectrogram_attr, expected.spectrogram_attr, atol=1e-6)
        assert getattr(getattr(model, where), name) == value

    def test_several_sequences(self, adapter, speech):
        """Of which the first is explained."""
        skip_whisper_of_4(adapter)
        config = adapter.model.generation_config
        config.num_beams = 2
        expected = adapter.generate(speech, {}).ids
        config.num_return_sequences = 2
        assert torch.equal(adapter.generate(speech, {}).ids, expected)
        with torch.no_grad():
            states = adapter.encode(speech, speech.spectrogram[None])
        assert len(adapter.transcribe(speech, states, {})) == 1

    def test_without_names_of_outputs(self, adapter, speech, counted):
        """Generation needs them, forward passes do not."""
        target = adapter.force(speech, "the cat", {})
        with torch.no_grad():
            expected = adapter.decode(adapter.encode(speech, speech.spectrogram[None]), target)
            for part in (adapter.model, adapter.model.get_encoder(), adapter.model.get_decoder()):
                part.config.return_dict = False
            found = adapter.decode(adapter.encode(speech, speech.spectrogram[None]), target)
        assert torch.equal(found, expected)
        counted.clear()
        with pytest.raises(ArgumentError, match=r"model\.config\.return_dict is False"):
            adapter.generate(speech, {})
        assert not counted


# Copies ----------------------------------------------------------------------------------


class TestCopies:
    @pytest.mark.parametrize(
        "copied", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))]
    )
    def test_explainer_settings_and_result(self, tiny_model, audio, copied):
        model, processor = tiny_model
        explainer = SpeechToTextAttribution(SPES(model), processor)
        settings = Settings.efficient(n_samples=20, n_token_samples=20, patches_per_second=(40, 60))
        result = explainer.attribute(audio, target="the cat", settings=settings, seed=0)
        again = copied(explainer).attribute(
            audio, target="the cat", settings=copied(settings), seed=0
        )
        assert copied(settings) == settings
        for one in (again, copied(result)):
            assert torch.equal(one.spectrogram_attr, result.spectrogram_attr)
            assert one.output_tokens == result.output_tokens
            assert one.settings == result.settings


# Torch's global settings -----------------------------------------------------------------


def deterministic():
    return _set(torch.use_deterministic_algorithms, True, False)


def threads():
    return _set(torch.set_num_threads, 2, torch.get_num_threads())


class _set:  # noqa: N801
    def __init__(self, function, inside, after):
        self.function, self.inside, self.after = function, inside, after

    def __enter__(self):
        self.function(self.inside)

    def __exit__(self, *args):
        self.function(self.after)


AMBIENT = {
    "deterministic": deterministic,
    "no gradients": torch.no_grad,
    "gradients": torch.enable_grad,
    "inference": torch.inference_mode,
    "anomaly": torch.autograd.detect_anomaly,
    "threads": threads,
    "float64": lambda: _set(torch.set_default_dtype, torch.float64, torch.float32),
    "bfloat16": lambda: _set(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "autocast": lambda: torch.autocast("cpu"),
    "meta": lambda: torch.device("meta"),
}


@pytest.fixture(scope="module")
def plain():
    """Explanations of a model's own text and of a given one, made once for each family."""
    made = {}

    def plain(family, explainer, audio, given):
        if family not in made:
            made[family] = (
                explainer.attribute(audio, gen_args={"max_new_tokens": 4}, **given),
                explainer.attribute(audio, target="the cat", **given),
            )
        return made[family]

    return plain


@pytest.mark.parametrize("name", AMBIENT)
def test_surroundings_change_nothing(tiny_model, audio, plain, name):
    """Neither the transcription nor the maps."""
    model, processor = tiny_model
    explainer = SpeechToTextAttribution(SPES(model), processor)
    given = {"n_samples": 10, "n_token_samples": 10, "patches_per_second": 40, "seed": 0}
    expected, alone = plain(type(model).__name__, explainer, audio, given)
    with AMBIENT[name]():
        found = explainer.attribute(audio, gen_args={"max_new_tokens": 4}, **given)
        fresh = SpeechToTextAttribution(SPES(model), processor)
        forced = fresh.attribute(audio, target="the cat", **given)
    assert found.output_ids == expected.output_ids
    assert torch.allclose(found.spectrogram_attr, expected.spectrogram_attr, atol=1e-6)
    assert torch.allclose(found.token_attr, expected.token_attr, atol=1e-6, equal_nan=True)
    assert torch.allclose(forced.spectrogram_attr, alone.spectrogram_attr, atol=1e-6)
