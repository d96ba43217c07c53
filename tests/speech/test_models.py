"""Adapters: features, removal, prompts, teacher forcing and hooks of each family."""

import threading
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.speech.models import (
    HearsAudio,
    ReadsPreviousTokens,
    adapt,
    can,
    load_model,
    require,
)
from captum_spes.speech.models.compatibility import as_cache


def own_generation(adapter, speech, gen_args):
    """What the model writes without us, behind its prompt."""
    prompt = adapter.prompt_ids(speech, gen_args)
    start = {}
    if type(adapter).__name__ == "CanaryModel":
        start["decoder_input_ids"] = torch.tensor([prompt])
    ids = adapter.model.generate(speech.features, **start, **gen_args)[0].tolist()
    return prompt, ids[len(prompt) :] if ids[: len(prompt)] == prompt else ids


class TestFeatures:
    def test_region_is_the_speech_and_not_the_padding(self, adapter, speech):
        frames = {"WhisperModel": 60, "Speech2TextModel": 58, "CanaryModel": 60}[
            type(adapter).__name__
        ]
        assert speech.spectrogram.shape == (frames, 80)
        assert speech.seconds == pytest.approx(0.6)
        assert speech.frame_times.shape == (frames,)
        assert 0 <= speech.frame_times[0] < speech.frame_times[-1] <= 0.6
        assert torch.allclose(speech.frame_times.diff(), torch.tensor(0.01))

    def test_mel_frequencies_find_the_tone(self, speech):
        later = speech.spectrogram[speech.frame_times > 0.35].mean(0)
        earlier = speech.spectrogram[speech.frame_times < 0.25].mean(0)
        loudest = speech.mel_frequencies[(later - earlier).argmax()]
        assert loudest.item() == pytest.approx(1000, rel=0.05)
        assert (speech.mel_frequencies.diff() > 0).all()

    def test_unperturbed_region_gives_the_models_own_features(self, adapter, speech):
        rebuilt = adapter.model_features(speech, speech.spectrogram[None])
        assert torch.equal(rebuilt, speech.features)

    def test_features_given_instead_of_audio(self, adapter, speech):
        again = adapter.from_features(speech.features)
        # Frames that reach over the end of the audio may count as speech.
        assert abs(len(again.spectrogram) - len(speech.spectrogram)) <= 2
        shorter = min(len(again.spectrogram), len(speech.spectrogram))
        assert torch.equal(again.spectrogram[:shorter], speech.spectrogram[:shorter])
        assert torch.equal(adapter.from_features(speech.features[0]).features, again.features)

    @pytest.mark.parametrize("value", [torch.nan, torch.inf])
    def test_features_that_are_not_finite(self, adapter, speech, value):
        features = speech.features.clone()
        features[0, 0, 0] = value
        with pytest.raises(ArgumentError, match="NaN or infinite"):
            adapter.from_features(features)

    def test_silent_features_are_taken_whole(self, adapter, speech):
        silence = adapter.from_features(torch.full_like(speech.features, -1.5))
        assert silence.spectrogram.numel() == speech.features.numel()

    def test_removed_value(self, adapter, speech):
        default = adapter.removed_value(speech, None)
        if type(adapter).__name__ != "WhisperModel":
            assert default.item() == 0.0
            assert torch.allclose(speech.spectrogram.mean(0), torch.zeros(80), atol=1e-4)
        else:
            assert torch.allclose(default[0], speech.spectrogram.mean(0))
            silence = adapter.removed_value(speech, "silence")
            assert silence.item() == pytest.approx(speech.features.min().item(), abs=1e-6)
        for name in ("mean", "silence"):
            adapter.removed_value(speech, name).expand(speech.spectrogram.shape)
        with pytest.raises(ArgumentError, match="unknown baseline 'noise'"):
            adapter.removed_value(speech, "noise")


class TestTargets:
    def test_generation(self, adapter, speech):
        target = adapter.generate(speech, {})
        prompt, expected = own_generation(adapter, speech, {})
        assert target.ids[: len(prompt)].tolist() == prompt
        positions = range(len(prompt), len(target.ids))
        # A random Whisper writes timestamps, too, which are not explained.
        assert target.explained == tuple(
            p for p in positions if adapter.is_explained(int(target.ids[p]))
        )
        found = target.ids[len(prompt) :].tolist()
        assert found[: len(expected)] == expected

    @pytest.mark.parametrize("gen_args", [{"num_beams": 3}, {"max_new_tokens": 4}])
    def test_generation_arguments(self, adapter, speech, gen_args):
        target = adapter.generate(speech, gen_args)
        prompt, expected = own_generation(adapter, speech, gen_args)
        found = target.ids[len(prompt) :].tolist()
        assert found[: len(expected)] == expected
        if "max_new_tokens" in gen_args:
            assert len(found) == 4
            assert found[-1] != adapter.end_of_sentence  # the model did not write it

    @pytest.mark.parametrize(
        "gen_args",
        [
            {"decoder_start_token_id": 7},
            {"num_return_sequences": 2},
            {"nonsense": 1},
            {"num_beams": 0},
        ],
    )
    def test_unusable_generation_arguments(self, adapter, speech, gen_args):
        with pytest.raises(ArgumentError, match=r"gen_args cannot hold|cannot generate with"):
            adapter.generate(speech, gen_args)

    def test_text(self, adapter, speech):
        target = adapter.force(speech, "the cat", {})
        assert adapter.text(target.explained_ids) == "the cat"
        assert target.ids[-1] == adapter.end_of_sentence
        strings = adapter.token_strings(target.explained_ids)
        assert "".join(strings[:-1]) == " the cat"
        assert adapter.is_text(target.explained_ids) == [True] * (len(strings) - 1) + [False]

    def test_token_ids_with_or_without_prompt_and_end(self, adapter, speech):
        target = adapter.force(speech, "the cat", {})
        output = target.explained_ids
        end = output.new_tensor([adapter.end_of_sentence] * 3)
        padded = torch.cat([output, end])  # as in a batch
        for given in (output, output[:-1], target.ids, output.tolist(), output[None], padded):
            assert torch.equal(adapter.force(speech, given, {}).ids, target.ids)

    def test_previous_tokens_are_those_before_the_row(self, adapter, speech):
        target = adapter.force(speech, "the", {})
        valid = target.valid_previous_tokens()
        n_prompt = target.explained[0]
        assert valid.sum(1).tolist() == [n_prompt + row for row in range(len(target.explained))]

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("", "empty text"),
            ("   ", "empty text"),
            ([], "no token ids"),
            ([10_000], "must lie in"),
            ([-1], "must lie in"),
            ([[1, 2], [3, 4]], "one dimension"),
            ("the cat sat on the mat and then came home again", "at most 24 together"),
        ],
    )
    def test_unusable_target(self, adapter, speech, given, message):
        with pytest.raises(ArgumentError, match=message):
            adapter.force(speech, given, {})

    def test_ids_after_the_end_of_sentence(self, adapter, speech):
        with pytest.raises(ArgumentError, match="go on after the end of sentence"):
            adapter.force(speech, [9, adapter.end_of_sentence, 9], {})

    def test_ids_that_are_no_integers(self, adapter, speech):
        with pytest.raises(ArgumentTypeError, match="must be integers"):
            adapter.force(speech, [0.5, 1.0], {})

    @pytest.mark.parametrize("given", [["ab"], b"ab", None, object()])
    def test_targets_of_another_type(self, adapter, speech, given):
        with pytest.raises(ArgumentTypeError, match="target"):
            adapter.force(speech, given, {})

    def test_text_outside_the_vocabulary(self, tiny_speech2text, audio):
        adapter = adapt(*tiny_speech2text)
        with pytest.raises(ArgumentError, match="cannot be written with the model's vocabulary"):
            adapter.force(adapter.from_audio(audio), "the ж", {})


class TestWhisperPrompts:
    def test_timestamps_are_previous_tokens_and_never_explained(self, tiny_whisper, audio):
        adapter = adapt(*tiny_whisper)
        speech = adapter.from_audio(audio)
        first = adapter.first_timestamp
        target = adapter.force(speech, [first, 65, 66, first + 5], {"return_timestamps": True})
        assert adapter.token_strings(target.explained_ids) == ["b", "c", "<|endoftext|>"]
        previous = adapter.token_strings(target.decoder_ids)
        assert previous == ["<|startoftranscript|>", "<|0.00|>", "b", "c", "<|0.10|>"]

    def test_another_prompt_in_the_ids(self, tiny_whisper, audio):
        adapter = adapt(*tiny_whisper)
        with pytest.raises(ArgumentError, match="prompt tokens that differ"):
            adapter.force(adapter.from_audio(audio), [257, 65, 66], {})

    def test_timestamps_are_generated_in_one_call_with_prompt_and_end(self, tiny_whisper, audio):
        adapter = adapt(*tiny_whisper)
        calls = []
        handle = adapter.model.get_encoder().register_forward_hook(lambda *a: calls.append(1))
        target = adapter.generate(
            adapter.from_audio(audio), {"return_timestamps": True, "max_new_tokens": 5}
        )
        handle.remove()
        assert len(calls) == 1
        assert target.ids[0] == 257
        assert 258 not in target.ids.tolist()

    def test_characters_of_several_tokens_are_spelled_together(self, tiny_whisper, audio):
        adapter = adapt(*tiny_whisper)
        target = adapter.force(adapter.from_audio(audio), "café 漢", {})
        spelled = adapter.spelled(target.explained_ids)
        assert "".join(text for text, _ in spelled) == " café 漢"
        assert [i for _, rows in spelled for i in rows] == list(range(len(target.explained) - 1))
        assert max(len(rows) for _, rows in spelled) == 3

    def test_scripts_without_spaces_get_none(self, tiny_whisper, audio):
        adapter = adapt(*tiny_whisper)
        strings = adapter.token_strings(
            adapter.force(adapter.from_audio(audio), "漢", {}).explained_ids
        )
        assert strings[0] != " "

    def test_frames_are_counted_in_samples(self, tiny_whisper):
        adapter = adapt(*tiny_whisper)
        generator = np.random.default_rng(0)
        for samples, frames in ((17_600, 110), (17_601, 111), (8_800, 55)):
            noise = generator.standard_normal(samples).astype(np.float32)
            assert len(adapter.from_audio(noise).spectrogram) == frames

    def test_speech2text_language_is_a_forced_first_token(self, tiny_speech2text, audio):
        adapter = adapt(*tiny_speech2text)
        target = adapter.force(adapter.from_audio(audio), "the", {"forced_bos_token_id": 7})
        assert target.ids[:2].tolist() == [2, 7]
        assert target.explained[0] == 2


@pytest.fixture
def multilingual(tiny_whisper):
    """The random Whisper with languages and tasks, as Whisper's larger models have them."""
    model, processor = tiny_whisper
    generation = model.generation_config
    generation.is_multilingual = True
    generation.lang_to_id = {"<|en|>": 258, "<|de|>": 259}
    generation.task_to_id = {"transcribe": 260, "translate": 261}
    generation.no_timestamps_token_id = 262
    return adapt(model, processor)


class TestMultilingualWhisper:
    @pytest.mark.parametrize(
        ("gen_args", "prompt"),
        [
            ({"language": "de"}, [257, 259, 260, 262]),
            ({"language": "en", "task": "translate"}, [257, 258, 261, 262]),
            ({"language": "de", "return_timestamps": True}, [257, 259, 260]),
            ({"language": "de", "prompt_ids": torch.tensor([65] * 9)}, None),
        ],
    )
    def test_language_and_task_are_prompt(self, multilingual, audio, gen_args, prompt):
        speech = multilingual.from_audio(audio)
        generated = multilingual.generate(speech, {**gen_args, "max_new_tokens": 3})
        forced = multilingual.force(speech, "the", gen_args)
        prompt = prompt or [65] * 9 + [257, 259, 260, 262]
        for target in (generated, forced):
            assert target.ids[: len(prompt)].tolist() == prompt
            assert target.explained[0] >= len(prompt)
        assert multilingual.text(forced.explained_ids) == "the"

    def test_language_is_detected_without_one(self, multilingual, audio):
        prompt = multilingual.prompt_ids(multilingual.from_audio(audio), {})
        assert prompt[0] == 257
        assert prompt[1] in (258, 259)
        assert prompt[2:] == [262]

    def test_generated_ids_can_be_forced_with_the_same_language_only(self, multilingual, audio):
        speech = multilingual.from_audio(audio)
        ids = multilingual.force(speech, "the", {"language": "de"}).ids
        again = multilingual.force(speech, ids, {"language": "de"})
        assert torch.equal(again.ids, ids)
        with pytest.raises(ArgumentError, match="prompt tokens that differ"):
            multilingual.force(speech, ids, {"language": "en"})


class TestCanary:
    @pytest.fixture
    def canary(self, tiny_canary):
        return adapt(*tiny_canary)

    @pytest.mark.parametrize(
        ("gen_args", "languages"),
        [
            ({}, ["<|en|>", "<|en|>"]),
            ({"target_language": "de"}, ["<|en|>", "<|de|>"]),
            ({"source_language": "es", "target_language": "en"}, ["<|es|>", "<|en|>"]),
            ({"language": "German"}, ["<|de|>", "<|de|>"]),
        ],
    )
    def test_languages_are_prompt(self, canary, audio, gen_args, languages):
        speech = canary.from_audio(audio)
        for target in (canary.generate(speech, gen_args), canary.force(speech, "the", gen_args)):
            previous = canary.token_strings(target.decoder_ids)
            assert previous[:3] == ["<|startoftranscript|>", *languages]
            assert target.explained[0] == 3

    @pytest.mark.parametrize("language", ["Klingon", "fr"])
    def test_language_that_the_model_does_not_know(self, canary, audio, language):
        with pytest.raises(ArgumentError, match=language):
            canary.generate(canary.from_audio(audio), {"target_language": language})

    def test_features_are_the_processors_without_the_masked_frame(self, canary, audio):
        made = canary.feature_extractor(audio, sampling_rate=16_000)
        speech = canary.from_audio(audio)
        valid = made["attention_mask"][0]
        assert not valid.all()
        assert torch.equal(speech.features[0], made["input_features"][0, valid])
        again = canary.from_features(made["input_features"])
        assert torch.equal(again.spectrogram, speech.spectrogram)
        # Leaving the masked frame out changes nothing for the model.
        target = canary.force(speech, "the cat", {})
        with torch.no_grad():
            found = canary.logits(canary.encode(speech, speech.spectrogram[None]), target)[0]
            expected = canary.model(
                made["input_features"],
                attention_mask=made["attention_mask"],
                decoder_input_ids=target.decoder_ids[None],
            ).logits[0]
        positions = [position - 1 for position in target.explained]
        assert torch.allclose(found, expected[positions], atol=1e-4)

    def test_writes_to_the_end_where_the_model_has_no_length_of_its_own(self, canary, audio):
        canary.model.generation_config.max_length = None
        target = canary.generate(canary.from_audio(audio), {})
        assert len(target.ids) > 3 + 20 or int(target.ids[-1]) == canary.end_of_sentence
        target = canary.generate(canary.from_audio(audio), {"max_new_tokens": 4})
        assert len(target.ids) == 3 + 4

    def test_ids_behind_another_prompt(self, canary, audio):
        speech = canary.from_audio(audio)
        ids = canary.force(speech, "the", {"target_language": "de"}).ids
        again = canary.force(speech, ids, {"target_language": "de"})
        assert torch.equal(again.ids, ids)
        with pytest.raises(ArgumentError, match="prompt tokens that differ"):
            canary.force(speech, ids, {})

    def test_longest_recording(self, canary):
        assert canary.max_seconds == 2.0


class TestForwardPasses:
    def test_one_pass_equals_token_by_token_decoding(self, adapter, speech):
        target = adapter.force(speech, "the cat", {})
        with torch.no_grad():
            states = adapter.encode(speech, speech.spectrogram[None])
            found = adapter.logits(states, target)[0]
            for row, position in enumerate(target.explained):
                alone = adapter.model(
                    speech.features, decoder_input_ids=target.ids[None, :position]
                ).logits[0, -1]
                assert torch.allclose(found[row], alone, atol=1e-4)

    def test_shared_keys_and_values_change_nothing(self, adapter, speech):
        """Nor does one pass change them for the next."""
        target = adapter.force(speech, "the cat", {})
        keep = (torch.rand(5, len(target.decoder_ids)) > 0.4).float()
        with torch.no_grad():
            states = adapter.encode(speech, speech.spectrogram[None])
            shared = adapter.prepared(states, target)
            for rows in (keep, keep[:2], keep):
                batch = states.expand(len(rows), *states.shape[1:])
                with adapter.keep_previous_tokens(rows):
                    expected = adapter.decode(batch, target)
                    found = adapter.decode_prepared(batch, target, shared)
                assert torch.allclose(found, expected, atol=1e-5)

    def test_rows_of_a_batch_are_independent(self, adapter, speech):
        target = adapter.force(speech, "the cat", {})
        other = speech.spectrogram.flip(0)
        with torch.no_grad():
            batch = torch.stack([speech.spectrogram, other])
            both = adapter.logits(adapter.encode(speech, batch), target)
            alone = adapter.logits(adapter.encode(speech, other[None]), target)
        assert torch.allclose(both[1], alone[0], atol=1e-4)
        assert not torch.allclose(both[0], both[1], atol=1e-2)

    def test_removed_previous_token_changes_only_what_follows(self, adapter, speech):
        target = adapter.force(speech, "the cat", {})
        keep = torch.ones(1, len(target.decoder_ids))
        removed = target.explained[1]
        keep[0, removed] = 0
        with torch.no_grad():
            states = adapter.encode(speech, speech.spectrogram[None])
            original = adapter.logits(states, target)[0]
            with adapter.keep_previous_tokens(keep):
                changed = adapter.logits(states, target)[0]
            after = adapter.logits(states, target)[0]
        assert torch.equal(after, original)
        valid = target.valid_previous_tokens()[:, removed]
        difference = (changed - original).abs().amax(1)
        assert (difference[~valid] < 1e-5).all()
        assert (difference[valid] > 1e-3).all()

    def test_removing_is_zeroing_the_embedding_before_positions_are_added(
        self, tiny_whisper, audio
    ):
        adapter = adapt(*tiny_whisper)
        speech = adapter.from_audio(audio)
        target = adapter.force(speech, "the cat", {})
        keep = (torch.arange(len(target.decoder_ids)) % 3 > 0).float()[None]
        decoder = adapter.model.get_decoder()
        with torch.no_grad():
            states = adapter.encode(speech, speech.spectrogram[None])
            with adapter.keep_previous_tokens(keep):
                found = adapter.logits(states, target)[0]
            embeddings = decoder.embed_tokens(target.decoder_ids[None]) * keep[..., None]
            hidden = decoder(inputs_embeds=embeddings, encoder_hidden_states=states)
            expected = adapter.model.proj_out(hidden.last_hidden_state)[0]
        positions = [position - 1 for position in target.explained]
        assert torch.allclose(found, expected[positions], atol=1e-5)

    def test_hook_is_removed_after_an_error(self, adapter):
        embedding = adapter.model.get_decoder().get_input_embeddings()
        with suppress(KeyboardInterrupt), adapter.keep_previous_tokens(torch.zeros(1, 3)):
            assert embedding._forward_hooks
            raise KeyboardInterrupt
        assert not embedding._forward_hooks

    def test_the_last_of_two_explanations_restores_the_mode(self, adapter):
        adapter.model.train()
        first, second = adapter.evaluation_mode(), adapter.evaluation_mode()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert not adapter.model.training
        second.__exit__(None, None, None)
        assert all(module.training for module in adapter.model.modules())

    def test_hook_leaves_other_threads_alone(self, adapter):
        embedding = adapter.model.get_decoder().get_input_embeddings()
        ids = torch.tensor([[1, 2, 3]])
        found = []
        with adapter.keep_previous_tokens(torch.zeros(1, 3)):
            thread = threading.Thread(target=lambda: found.append(embedding(ids)))
            thread.start()
            thread.join()
            assert (embedding(ids) == 0).all()
        assert (found[0] != 0).any()

    def test_mode_is_restored(self, adapter):
        adapter.model.train()
        adapter.model.get_decoder().eval()
        modes = [module.training for module in adapter.model.modules()]
        with suppress(RuntimeError), adapter.evaluation_mode():
            assert not any(module.training for module in adapter.model.modules())
            raise RuntimeError
        assert [module.training for module in adapter.model.modules()] == modes

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_scores_are_float32_whatever_the_models_dtype(self, adapter, speech, dtype):
        target = adapter.force(speech, "the cat", {})
        with torch.no_grad():
            exact = adapter.logits(adapter.encode(speech, speech.spectrogram[None]), target)
            adapter.model.to(dtype)
            half = adapter.logits(adapter.encode(speech, speech.spectrogram[None]), target)
        assert half.dtype == torch.float32
        assert torch.corrcoef(torch.stack([exact.flatten(), half.flatten()]))[0, 1] > 0.99


class TestLoading:
    def test_from_a_folder(self, tiny_speech2text, tmp_path):
        model, processor = tiny_speech2text
        model.save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        loaded, loaded_processor = load_model(tmp_path)
        assert not loaded.training
        assert loaded.dtype == torch.float32
        for a, b in zip(model.parameters(), loaded.parameters(), strict=True):
            assert torch.equal(a, b)
        assert adapt(loaded, loaded_processor).model_id == str(tmp_path)

    def test_missing_folder(self, tmp_path):
        with pytest.raises(ArgumentError, match="no such model folder"):
            load_model(tmp_path / "nope")

    def test_folder_without_a_model(self, tmp_path):
        with pytest.raises(ArgumentError, match="cannot load the model"):
            load_model(tmp_path)

    def test_unknown_hub_name(self, monkeypatch):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(ArgumentError, match="cannot load the model 'no-such/model-anywhere'"):
            load_model("no-such/model-anywhere")

    def test_damaged_weights(self, tiny_speech2text, tmp_path):
        model, processor = tiny_speech2text
        model.save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        weights = tmp_path / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
        with pytest.raises(ArgumentError, match="cannot load the model"):
            load_model(tmp_path)

    def test_missing_tokenizer(self, tiny_speech2text, tmp_path):
        tiny_speech2text[0].save_pretrained(tmp_path)
        with pytest.raises(ArgumentError, match="cannot load the model"):
            load_model(tmp_path)

    def test_other_family(self, tmp_path):
        from transformers import BertConfig

        BertConfig().save_pretrained(tmp_path)
        with pytest.raises(ArgumentError, match="family 'bert'; supported: whisper"):
            load_model(tmp_path)

    def test_unusable_device(self, tiny_speech2text, tmp_path):
        model, processor = tiny_speech2text
        model.save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        with pytest.raises(ArgumentError, match="cannot be used"):
            load_model(tmp_path, device="cuda" if not torch.cuda.is_available() else "xla")

    def test_model_of_another_kind(self):
        with pytest.raises(ArgumentTypeError, match="cannot explain a model of type Linear"):
            adapt(torch.nn.Linear(1, 1), None)

    def test_processor_without_its_parts(self, tiny_whisper):
        with pytest.raises(ArgumentTypeError, match="processor has no feature_extractor"):
            adapt(tiny_whisper[0], np)


@pytest.mark.filterwarnings("ignore")
class TestTranscribing:
    @pytest.mark.parametrize("gen_args", [{}, {"num_beams": 3}, {"max_new_tokens": 4}])
    def test_a_batch_of_states_gives_what_each_gives_alone(self, adapter, speech, gen_args):
        removed = adapter.removed_value(speech, None).expand(speech.spectrogram.shape)
        half = torch.where(torch.arange(80) < 40, removed, speech.spectrogram)
        spectrograms = torch.stack([speech.spectrogram, removed, half, speech.spectrogram])
        with torch.no_grad():
            texts = adapter.transcribe(speech, adapter.encode(speech, spectrograms), gen_args)
            alone = [
                adapter.transcribe(speech, adapter.encode(speech, spectrogram[None]), gen_args)[0]
                for spectrogram in spectrograms
            ]
        assert texts == alone
        assert texts[0] == texts[3]
        assert len(set(texts)) > 1  # this random model does hear

    @pytest.mark.parametrize("gen_args", [{}, {"num_beams": 3}])
    def test_intact_states_give_what_the_audio_gives(self, adapter, speech, gen_args):
        written = adapter.text(adapter.generate(speech, gen_args).explained_ids)
        with torch.no_grad():
            states = adapter.encode(speech, speech.spectrogram[None])
        assert adapter.transcribe(speech, states, gen_args) == [written]

    def test_prompt_arguments_reach_the_model(self, tiny_canary, audio):
        adapter = adapt(*tiny_canary)
        speech = adapter.from_audio(audio)
        with torch.no_grad():
            states = adapter.encode(speech, speech.spectrogram[None])
        texts = {
            language: adapter.transcribe(speech, states, {"target_language": language})[0]
            for language in ("en", "de", "es")
        }
        for language, text in texts.items():
            sequence = adapter.generate(speech, {"target_language": language})
            assert text == adapter.text(sequence.explained_ids)

    def test_language_is_that_of_the_intact_speech(self, tiny_whisper, audio, monkeypatch):
        """Each row would otherwise be heard in a language of its own."""
        adapter = adapt(*tiny_whisper)
        speech = adapter.from_audio(audio)
        config = adapter.model.generation_config
        config.is_multilingual, config.lang_to_id = True, {"<|en|>": 300, "<|de|>": 301}
        monkeypatch.setattr(adapter, "prompt_ids", lambda speech, gen_args: [257, 301, 258])
        asked = []
        monkeypatch.setattr(
            adapter, "_sequences", lambda start, gen_args: asked.append(gen_args) or [[257, 258, 5]]
        )
        states = torch.zeros(1, 100, 16)
        adapter.transcribe(speech, states, {"num_beams": 2})
        adapter.transcribe(speech, states, {"language": "en"})
        assert asked == [{"language": "<|de|>", "num_beams": 2}, {"language": "en"}]


def test_what_an_adapter_passes_on_counts_as_its_own(tiny_whisper):
    """By ``__getattr__``, on any version of Python; what is not there at all is named."""

    class Passing:
        def __init__(self, own, without=()):
            self._own, self._without = own, without

        def __getattr__(self, name):
            if name in self._without:
                raise AttributeError(name)
            return getattr(self._own, name)

    own = adapt(*tiny_whisper)
    assert can(Passing(own), HearsAudio)
    require(Passing(own), HearsAudio, "this test")
    assert not can(Passing(own, ("encode",)), HearsAudio)
    with pytest.raises(ArgumentTypeError, match="Passing cannot: it lacks encode, from_audio"):
        require(Passing(own, ("encode", "from_audio")), HearsAudio, "this test")


def test_what_is_prepared_holds_keys_of_the_encoders_states(adapter, speech):
    """Without them every pass would make these again."""
    if not can(adapter, ReadsPreviousTokens):
        return
    states = adapter.encode(speech, speech.spectrogram[None])
    prepared = adapter.prepared(states, adapter.generate(speech, {"max_new_tokens": 3}))
    assert prepared.get_seq_length() == states.shape[1]


@pytest.mark.parametrize("name", ["cache", "past_key_values"])
def test_caches_are_given_by_the_name_that_the_decoder_knows(name):
    """Which is another one since transformers 5.24."""
    forward = {"cache": lambda ids, cache: None, "past_key_values": lambda past_key_values: None}
    assert as_cache(SimpleNamespace(forward=forward[name]), 1) == {name: 1}
