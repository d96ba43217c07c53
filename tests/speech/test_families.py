"""Adapters of every family with a spectrogram: one test module, a new family is one line."""

from contextlib import suppress

import numpy as np
import pytest
import torch
from captum.attr import (
    FeatureAblation,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    Lime,
    Saliency,
)

from captum_spes import SPES, BubbleNoise, SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.metrics import deletion_curve
from captum_spes.report import summarize_tokens, write_explanation
from captum_spes.speech.cross_attention import CrossAttention
from captum_spes.speech.models import AttendsInEncoder, adapt, can, load_model
from captum_spes.speech.models.waveform import WaveformFeatures
from tests.speech.families import ENCODER_DECODERS, SPEECH_LLMS, make_family

FAMILIES = [*SPEECH_LLMS, *ENCODER_DECODERS]

INSTRUCTION = "the cat speech"
QUICK = {
    "n_samples": 16,
    "n_token_samples": 12,
    "patches_per_second": 20,
    "target": "the cat",
    "seed": 0,
}

# Large enough to be heard of.
LORA = {"target_modules": ["q_proj", "v_proj"], "init_lora_weights": False, "lora_alpha": 400}


def lora_of_transformers():
    """Options of an adapter that transformers itself adds: for that a new transformers can want a
    PEFT that is not out yet."""
    from peft import LoraConfig
    from transformers.integrations.peft import MIN_PEFT_VERSION
    from transformers.utils.peft_utils import check_peft_version

    try:
        check_peft_version(min_version=MIN_PEFT_VERSION)
    except ValueError as error:
        pytest.skip(f"transformers cannot add adapters here: {error}")
    return LoraConfig(**LORA)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    """Model and processor of each family in turn."""
    return make_family(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def adapter(family):
    return adapt(*family)


@pytest.fixture(scope="module")
def is_llm(adapter):
    return hasattr(adapter, "language_model")


@pytest.fixture
def speech(adapter, audio):
    return adapter.from_audio(audio)


@pytest.fixture
def states(adapter, speech):
    with torch.no_grad():
        return adapter.encode(speech, speech.spectrogram[None])


@pytest.fixture(scope="module", params=list(SPEECH_LLMS))
def llm(request, tmp_path_factory):
    """The adapter of each speech LLM in turn."""
    return adapt(*make_family(request.param, tmp_path_factory.mktemp(request.param)))


def own_inputs(adapter, speech, ids):
    """What the model is given without us."""
    if hasattr(adapter, "language_model"):
        front_end = adapter.front_end_inputs(speech.features, len(speech.spectrogram))
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **front_end}
    start = adapter.heard(speech.features)
    name = "input_values" if reads_samples(adapter) else "input_features"
    return {name: start.pop("inputs"), **start, "decoder_input_ids": ids}


def reads_samples(adapter):
    return isinstance(adapter, WaveformFeatures)


class TestTheModelsOwn:
    def test_features_are_the_processors(self, adapter, speech, is_llm, audio):
        if reads_samples(adapter):
            made = adapter.feature_extractor(audio, sampling_rate=16_000, return_tensors="pt")
            assert torch.equal(made["input_values"], speech.features)
            rebuilt = adapter.model_features(speech, speech.spectrogram[None])
            count = rebuilt.shape[1]
            assert torch.allclose(rebuilt, speech.features[:, :count], atol=1e-6)
            return
        made = (
            adapter.features(audio)[adapter.features_name]
            if is_llm
            else adapter.feature_extractor(audio, sampling_rate=16_000, return_tensors="pt")[
                "input_features"
            ][:, : speech.features.shape[1]]
        )
        assert torch.equal(made, speech.features)
        rebuilt = adapter.model_features(speech, speech.spectrogram[None])
        assert torch.equal(rebuilt, speech.features)

    def test_the_picture_lies_right(self, speech):
        """The tone of 1,000 Hz in the second half is where times and frequencies say."""
        later = speech.spectrogram[speech.frame_times > 0.35].mean(0)
        earlier = speech.spectrogram[speech.frame_times < 0.25].mean(0)
        loudest = speech.mel_frequencies[(later - earlier).argmax()]
        assert loudest.item() == pytest.approx(1000, rel=0.06)
        assert speech.seconds == pytest.approx(0.6)
        assert 0.5 < speech.frame_times[-1] <= 0.6

    def test_scores(self, adapter, speech, states):
        target = adapter.force(speech, "the cat", {})
        with torch.no_grad():
            found = adapter.logits(states, target)[0]
            ids = target.ids[None, :-1]
            own = adapter.model(**own_inputs(adapter, speech, ids)).logits[0]
        positions = [position - 1 for position in target.explained]
        assert torch.allclose(found, own[positions].float(), atol=1e-4)

    @pytest.mark.parametrize(
        "gen_args", [{"max_new_tokens": 6}, {"num_beams": 3, "max_new_tokens": 6}]
    )
    def test_generation(self, adapter, speech, gen_args):
        target = adapter.generate(speech, gen_args)
        prompt = adapter.prompt_ids(speech, {})
        assert target.ids[: len(prompt)].tolist() == prompt
        inputs = own_inputs(adapter, speech, torch.tensor([prompt]))
        with torch.no_grad():
            own = adapter.model.generate(**inputs, **gen_args)[0].tolist()
        written = target.ids[len(prompt) :].tolist()
        assert own[len(prompt) :][: len(written)] == written
        assert len(written) == 6 or written[-1] == adapter.end_of_sentence

    def test_transcribing_from_states(self, adapter, speech, states):
        gen_args = {"max_new_tokens": 6}
        target = adapter.generate(speech, gen_args)
        others = torch.cat([states, states * 0.5, states])
        texts = adapter.transcribe(speech, others, gen_args)
        assert texts[0] == texts[2] == adapter.text(target.explained_ids)

    def test_features_instead_of_audio(self, adapter, speech):
        if reads_samples(adapter):
            pytest.skip("samples are audio")
        again = adapter.from_features(speech.features)
        shorter = min(len(again.spectrogram), len(speech.spectrogram))
        assert shorter >= len(speech.spectrogram) - 2
        assert torch.equal(again.spectrogram[:shorter], speech.spectrogram[:shorter])
        assert adapter.is_features(speech.features)
        with pytest.raises(ArgumentError, match="features must be"):
            adapter.from_features(speech.features[..., :7, :7])


class TestBatches:
    def test_rows_are_independent(self, adapter, speech):
        target = adapter.force(speech, "the cat", {})
        batch = torch.stack([speech.spectrogram, speech.spectrogram.flip(0), speech.spectrogram])
        with torch.no_grad():
            together = adapter.logits(adapter.encode(speech, batch), target)
            alone = adapter.logits(adapter.encode(speech, batch[1:2]), target)
        assert torch.allclose(together[1], alone[0], atol=1e-4)
        assert torch.allclose(together[0], together[2], atol=1e-5)
        assert not torch.allclose(together[0], together[1], atol=1e-2)

    def test_shared_beginnings_change_nothing(self, adapter, speech, states):
        """Nor does one pass change them for the next."""
        target = adapter.force(speech, "the cat", {})
        keep = torch.ones(5, len(target.decoder_ids))
        keep[:, list(target.previous_positions)] = (
            torch.rand(5, len(target.previous_positions)) > 0.4
        ).float()
        with torch.no_grad():
            shared = adapter.prepared(states, target)
            for rows in (keep, keep[:2], keep):
                batch = states.expand(len(rows), *states.shape[1:])
                with adapter.keep_previous_tokens(rows):
                    expected = adapter.decode(batch, target)
                    found = adapter.decode_prepared(batch, target, shared)
                assert torch.allclose(found, expected, atol=1e-5)


class TestPreviousTokens:
    def test_a_removed_one_changes_only_what_follows(self, adapter, speech, states):
        target = adapter.force(speech, "the cat", {})
        keep = torch.ones(1, len(target.decoder_ids))
        removed = target.explained[1]
        keep[0, removed] = 0
        with torch.no_grad():
            original = adapter.logits(states, target)[0]
            with adapter.keep_previous_tokens(keep):
                changed = adapter.logits(states, target)[0]
            after = adapter.logits(states, target)[0]
        assert torch.equal(after, original)
        column = target.previous_positions.index(removed)
        valid = target.valid_previous_tokens()[:, column]
        difference = (changed - original).abs().amax(1)
        assert (difference[~valid] < 1e-5).all()
        assert (difference[valid] > 1e-3).all()

    def test_of_a_speech_llm(self, llm, audio):
        """The text so far; neither placeholders nor the marks of the chat."""
        target = llm.force(llm.from_audio(audio), "the cat", {})
        assert llm.text(target.previous_ids) == "the cat"
        assert not (target.previous_ids == llm.audio_id).any()
        assert target.n_before == tuple(range(len(target.explained)))

    def test_the_instruction(self, llm, audio):
        speech = llm.from_audio(audio)
        target = llm.force(speech, "the cat", {"instruction": INSTRUCTION})
        tokens = llm.token_strings(target.ids[list(target.instruction)])
        assert "".join(tokens).strip() == INSTRUCTION
        assert max(target.instruction) < target.explained[0]
        assert not set(target.instruction) & set(target.previous_positions)
        written = llm.generate(speech, {"instruction": INSTRUCTION, "max_new_tokens": 4})
        assert written.instruction == target.instruction

    def test_removing_zeroes_exactly_these_embeddings(self, llm, audio):
        speech = llm.from_audio(audio)
        target = llm.force(speech, "the cat", {"instruction": INSTRUCTION})
        seen = []
        handle = llm.language_model.register_forward_pre_hook(
            lambda module, args, kwargs: seen.append(kwargs["inputs_embeds"]), with_kwargs=True
        )
        removed = [target.instruction[1], target.previous_positions[0]]
        keep = torch.ones(1, len(target.decoder_ids))
        keep[0, removed] = 0
        with torch.no_grad():
            states = llm.encode(speech, speech.spectrogram[None])
            seen.clear()
            llm.decode(states, target)
            with llm.keep_previous_tokens(keep):
                llm.decode(states, target)
        handle.remove()
        whole, zeroed = (embeddings[0] for embeddings in seen)
        is_audio = target.decoder_ids == llm.audio_id
        assert torch.equal(whole[is_audio], states[0])
        assert (zeroed[removed] == 0).all()
        kept = keep[0].bool()
        assert torch.equal(zeroed[kept], whole[kept])

    def test_words_that_stand_in_the_chat_too(self, llm, audio):
        """The role of whoever asks is no instruction."""
        speech = llm.from_audio(audio)
        target = llm.force(speech, "the cat", {"instruction": "user"})
        places, ids = list(target.instruction), target.ids.tolist()
        assert "".join(llm.token_strings(target.ids[places])).strip() == "user"
        # Qwen3-ASR is asked before whoever asks is named; Voxtral names nobody.
        is_first = llm.model.config.model_type in ("qwen3_asr", "voxtral")
        assert is_first or ids.index(ids[places[0]]) < places[0]

    def test_an_instruction_that_is_none(self, llm, audio):
        speech = llm.from_audio(audio)
        with pytest.raises(ArgumentTypeError, match="instruction must be a text"):
            llm.force(speech, "the cat", {"instruction": 7})
        with pytest.raises(ArgumentError, match="instruction is an empty text"):
            llm.force(speech, "the cat", {"instruction": " "})

    def test_what_decides_the_prompt_of_other_families(self, adapter, speech, is_llm):
        """With a given target nothing else would tell that it means nothing."""
        wrong = "tgt_lang" if is_llm else "instruction"
        with pytest.raises(ArgumentError, match=f"cannot hold '{wrong}'"):
            adapter.force(speech, "the cat", {wrong: "x"})


class TestLengths:
    """Recordings of several chunks, very short ones, odd numbers of frames; features of them."""

    @pytest.mark.parametrize("seconds", [0.3, 1.237, 3.1])
    def test_features_and_audio_agree(self, adapter, seconds):
        if adapter.max_seconds is not None and seconds > adapter.max_seconds:
            pytest.skip("longer than the model takes")
        noise = 0.1 * np.random.default_rng(0).standard_normal(round(seconds * 16_000))
        speech = adapter.from_audio(noise.astype(np.float32))
        assert abs(speech.frame_times[-1] - seconds) < 0.04
        again = speech
        if not reads_samples(adapter):
            again = adapter.from_features(speech.features)
            assert abs(len(again.spectrogram) - len(speech.spectrogram)) <= 2
        with torch.no_grad():
            for own in (speech, again):
                target = adapter.force(own, "the cat", {})
                states = adapter.encode(own, own.spectrogram[None])
                assert torch.isfinite(adapter.logits(states, target)).all()

    def test_silence_between_chunks(self, tmp_path):
        adapter = adapt(*make_family("audioflamingo3", tmp_path))
        noise = 0.1 * np.random.default_rng(0).standard_normal(3 * 16_000).astype(np.float32)
        noise[32_000:] = 0  # the second chunk
        speech = adapter.from_audio(noise)
        again = adapter.from_features(speech.features)
        with torch.no_grad():
            adapter.encode(again, again.spectrogram[None])
        noise[:32_000] *= 0.01
        noise[32_000:] = 0.1
        speech = adapter.from_audio(noise)
        silence = adapter.removed_value(speech, "silence")
        assert silence.shape == (len(speech.spectrogram), 1)
        assert silence[0] < silence[-1]

    def test_voxtral_beyond_a_chunk(self, tmp_path):
        adapter = adapt(*make_family("voxtral", tmp_path))
        noise = 0.1 * np.random.default_rng(0).standard_normal(45 * 16_000).astype(np.float32)
        speech = adapter.from_audio(noise)
        assert speech.features.shape == (2, 128, 3000)
        assert len(speech.spectrogram) == 4500
        with torch.no_grad():
            assert adapter.encode(speech, speech.spectrogram[None]).shape[1] == 750


class TestEnds:
    def test_several_ends(self, tmp_path, audio):
        model, processor = make_family("qwen2_audio", tmp_path)
        model.generation_config.eos_token_id = [258, 257]
        adapter = adapt(model, processor)
        speech = adapter.from_audio(audio)
        ids = [*adapter.text_ids("the cat"), 257]
        target = adapter.force(speech, ids, {})
        assert target.explained_ids.tolist() == ids
        assert adapter.text(target.explained_ids) == "the cat"
        assert adapter.force(speech, "the cat", {}).ids[-1] == 258

    def test_penalties_see_the_same_prompt(self, llm, audio):
        speech = llm.from_audio(audio)
        gen_args = {"max_new_tokens": 6, "repetition_penalty": 3.0}
        with torch.no_grad():
            states = llm.encode(speech, speech.spectrogram[None])
            written = llm.transcribe(speech, states, gen_args)
        assert written == [llm.text(llm.generate(speech, gen_args).explained_ids)]


class TestQwen3ASR:
    """It writes a language and a marker before the text, which are no output."""

    @pytest.fixture
    def qwen(self, tmp_path, monkeypatch):
        model, processor = make_family("qwen3_asr", tmp_path)
        adapter = adapt(model, processor)
        header = adapter.text_ids("language English<asr_text>")

        def generate(**arguments):
            """A model that writes as the trained ones do."""
            written = torch.tensor([[*header, *adapter.text_ids("the cat"), 258]])
            written = written[:, : arguments["max_new_tokens"]]
            return torch.cat([arguments["input_ids"], written], 1)

        monkeypatch.setattr(model, "generate", generate)
        return adapter, header

    def test_the_language_is_read_and_not_explained(self, qwen, audio):
        adapter, _ = qwen
        speech = adapter.from_audio(audio)
        target = adapter.generate(speech, {"max_new_tokens": 60})
        assert adapter.text(target.explained_ids) == "the cat"
        assert adapter.text(target.previous_ids) == "language Englishthe cat"
        with torch.no_grad():
            states = adapter.encode(speech, speech.spectrogram[None])
            assert adapter.transcribe(speech, states, {"max_new_tokens": 60}) == ["the cat"]

    def test_a_given_text_stands_behind_the_language(self, qwen, audio):
        adapter, _ = qwen
        speech = adapter.from_audio(audio)
        written = adapter.generate(speech, {"max_new_tokens": 60})
        assert torch.equal(adapter.force(speech, "the cat", {}).ids, written.ids)
        assert adapter.force(speech, "the cat", {}).explained == written.explained
        # Ids that were written are taken as they are, with the prompt and without it.
        prompt = adapter.prompt_ids(speech, {})
        for ids in (written.ids, written.ids[len(prompt) :], written.explained_ids):
            assert torch.equal(adapter.force(speech, ids, {}).ids, written.ids)
        named = adapter.force(speech, "the cat", {"language": "English"})
        assert adapter.text(named.explained_ids) == "the cat"


class TestNoTrace:
    def test_weights_modes_hooks_and_settings_stay(self, adapter, speech):
        model = adapter.model
        model.train()
        before = state_of(model)
        with adapter.evaluation_mode():
            target = adapter.generate(speech, {"max_new_tokens": 3})
            adapter.attention(speech, target)
            with torch.no_grad():
                states = adapter.encode(speech, speech.spectrogram[None])
            adapter.prepared(states, target)
        assert state_of(model) == before
        model.eval()

    def test_after_an_error(self, adapter, speech, states):
        before = state_of(adapter.model)
        target = adapter.force(speech, "the cat", {})
        wrong = speech.spectrogram[None, :, :-1]
        with suppress(Exception):
            adapter.encode(speech, wrong)
        keep = torch.zeros(1, len(target.decoder_ids))
        with suppress(KeyboardInterrupt), adapter.keep_previous_tokens(keep):
            raise KeyboardInterrupt
        assert state_of(adapter.model) == before
        with torch.no_grad():
            assert torch.isfinite(adapter.logits(states, target)).all()


def state_of(model):
    hooks = [
        (name, len(module._forward_hooks), len(module._forward_pre_hooks))
        for name, module in model.named_modules()
    ]
    modes = [module.training for module in model.modules()]
    kinds = [getattr(m.config, "_attn_implementation", None) for m in model.modules()
             if hasattr(m, "config")]  # fmt: skip
    sums = [float(parameter.detach().double().sum()) for parameter in model.parameters()]
    own = sorted(vars(model))
    return hooks, modes, kinds, sums, own, model.generation_config.to_dict()


class TestExplanations:
    def explain(self, family, audio, method=SPES, **changes):
        model, processor = family
        explainer = SpeechToTextAttribution(method(model), processor)
        return explainer.attribute(audio, **{**QUICK, **changes})

    def test_spes_and_its_file(self, family, audio, is_llm, tmp_path):
        gen_args = {"instruction": INSTRUCTION} if is_llm else {}
        result = self.explain(family, audio, gen_args=gen_args)
        count = len(result.output_tokens)
        assert result.spectrogram_attr.shape == (count, *result.spectrogram.shape)
        assert torch.isfinite(result.spectrogram_attr).all()
        assert (result.spectrogram_attr.amax((1, 2)) > 0).all()
        assert result.token_attr.shape == (count, len(result.previous_tokens))
        shares = result.side_shares()
        assert torch.allclose(shares.sum(1), torch.ones(count))
        if is_llm:
            assert "".join(result.instruction_tokens).strip() == INSTRUCTION
            assert result.instruction_attr.shape == (count, len(result.instruction_tokens))
            assert (result.instruction_attr.amax(1) > 0).all()
            # Each token rests on the instruction in its own way.
            assert not torch.allclose(result.instruction_attr[0], result.instruction_attr[-1])
            assert result.parameters["n_instruction_samples_evaluated"] == QUICK["n_token_samples"]
            assert torch.isnan(result.token_attr[0]).all()
            assert (shares[:, 2] > 0).all()
            assert result.speech_share()[0] == 1
        else:
            assert result.instruction_attr is None
        result.save(tmp_path / "result.npz")
        again = SpeechToTextAttributionResult.load(tmp_path / "result.npz")
        assert again.instruction_tokens == result.instruction_tokens
        for name in ("spectrogram_attr", "token_attr", "instruction_attr"):
            saved, own = getattr(again, name), getattr(result, name)
            assert (saved is None and own is None) or torch.equal(
                torch.nan_to_num(saved), torch.nan_to_num(own)
            )

    def test_the_instruction_is_scored_as_it_is(self, llm, audio):
        """What is known of earlier samples is that of the token it was known of."""
        model, processor = llm.model, llm.processor
        gen_args = {"instruction": INSTRUCTION}
        explainer = SpeechToTextAttribution(FeatureAblation(model), processor)
        result = explainer.attribute(audio, gen_args=gen_args, **QUICK)
        speech = llm.from_audio(audio)
        target = llm.force(speech, "the cat", gen_args)
        for column, place in enumerate(target.instruction[:2]):
            keep = torch.ones(1, len(target.decoder_ids))
            keep[0, place] = 0
            with torch.no_grad():
                states = llm.encode(speech, speech.spectrogram[None])
                whole = llm.logits(states, target)[0].log_softmax(-1)
                with llm.keep_previous_tokens(keep):
                    less = llm.logits(states, target)[0].log_softmax(-1)
            expected = (whole.exp() * (whole - less)).sum(-1)
            assert torch.allclose(result.instruction_attr[:, column], expected, atol=1e-4)

    def test_a_written_explanation(self, llm, audio, tmp_path):
        explainer = SpeechToTextAttribution(SPES(llm.model), llm.processor)
        gen_args = {"instruction": INSTRUCTION}
        result = explainer.attribute(audio, gen_args=gen_args, **QUICK)
        names = [path.name for path in write_explanation(result, tmp_path)]
        assert names[-2:] == ["previous_tokens.png", "instruction.png"]
        first, second = summarize_tokens(result)[:2]
        assert first.previous_token is None
        assert second.previous_token is not None

    def test_batch_sizes_do_not_matter(self, family, audio):
        maps = [
            self.explain(family, audio, perturbations_per_eval=size).spectrogram_attr
            for size in (1, 6)
        ]
        assert torch.allclose(*maps, atol=1e-5)

    @pytest.mark.parametrize("method", [BubbleNoise, FeatureAblation, Lime, KernelShap])
    def test_perturbation_methods(self, family, audio, method):
        result = self.explain(family, audio, method)
        assert torch.isfinite(result.spectrogram_attr).all()
        # The Lasso of Captum's Lime leaves small effects at 0.
        assert method is Lime or result.spectrogram_attr.abs().sum() > 0

    @pytest.mark.parametrize("method", [Saliency, InputXGradient, IntegratedGradients])
    def test_gradient_methods(self, family, audio, method):
        arguments = {"n_steps": 3} if method is IntegratedGradients else {}
        result = self.explain(family, audio, method, method_args=arguments)
        assert torch.isfinite(result.spectrogram_attr).all()
        assert (result.spectrogram_attr.abs().amax((1, 2)) > 0).all()

    def test_attention(self, family, adapter, speech, audio):
        result = self.explain(family, audio, CrossAttention)
        assert result.spectrogram_attr.shape[1:] == result.spectrogram.shape
        assert torch.isfinite(result.spectrogram_attr).all()
        rollout = lambda network: CrossAttention(network, "rollout")  # noqa: E731
        if can(adapter, AttendsInEncoder):
            self.explain(family, audio, rollout)
        else:
            with pytest.raises(ArgumentTypeError, match="tell where its encoder attends"):
                self.explain(family, audio, rollout)
        weights = adapter.cross_attention(speech, adapter.force(speech, "the cat", {}))
        assert weights.shape[2] == len(result.output_tokens)
        assert (weights >= 0).all()
        assert (weights.sum(-1) <= 1 + 1e-4).all()

    def test_deletion_and_check(self, family, audio):
        model, processor = family
        explainer = SpeechToTextAttribution(SPES(model), processor)
        result = self.explain(family, audio)
        curve = deletion_curve(
            explainer, [{"audio": audio, "reference": "the cat", "attribution": result}], step=0.5
        )
        assert len(curve.x) == 3
        with pytest.warns(UserWarning, match="was not calibrated for this check"):
            report = explainer.check(audio, target="the cat", passes=4)
        assert [word.word for word in report.words] == ["the", "cat"]
        assert all(np.isfinite(word.evidence) for word in report.words)

    def test_other_precision_and_attention(self, family, audio):
        model, _ = family
        whole = self.explain(family, audio)
        halved = self.explain(family, audio, dtype=torch.bfloat16)
        assert torch.isfinite(halved.spectrogram_attr).all()
        own = model.config._attn_implementation
        try:
            model.set_attn_implementation("eager")
            eager = self.explain(family, audio)
        finally:
            model.set_attn_implementation(own)
        assert torch.allclose(eager.spectrogram_attr, whole.spectrogram_attr, atol=1e-4)


class TestWrapped:
    """Models as users have them: from folders, with adapters, compiled, quantised."""

    @pytest.fixture
    def qwen(self, tmp_path):
        return make_family("qwen2_audio", tmp_path)

    def map_of(self, model, processor, audio):
        explainer = SpeechToTextAttribution(SPES(model), processor)
        return explainer.attribute(audio, **QUICK).spectrogram_attr

    @pytest.mark.parametrize(
        "name", ["qwen2_audio", "qwen3_asr", "audioflamingo3", "glmasr", "cohere_asr"]
    )
    def test_from_a_folder(self, name, tmp_path, audio):
        model, processor = make_family(name, tmp_path)
        model.save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        loaded = load_model(tmp_path)
        assert type(loaded[0]) is type(model)
        assert torch.allclose(
            self.map_of(*loaded, audio), self.map_of(model, processor, audio), atol=1e-5
        )

    def test_checkpoints_with_other_tasks(self, tmp_path):
        """Those of SeamlessM4T also hold the parts that speak and read."""
        from captum_spes.speech.models.loading import _of_used_parts

        report = {"missing_keys": [], "unexpected_keys": ["vocoder.a", "t2u_model.b", "new.c"]}
        assert _of_used_parts(report, "seamless_m4t")["unexpected_keys"] == ["new.c"]
        assert _of_used_parts(report, "whisper")["unexpected_keys"] == report["unexpected_keys"]

    # peft asks transformers for a name that it will lose.
    @pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
    def test_a_folder_that_holds_only_an_adapter(self, qwen, tmp_path, audio):
        from peft import LoraConfig, get_peft_model

        model, processor = qwen
        base = tmp_path / "base"
        model.save_pretrained(base)
        processor.save_pretrained(base)
        plain = self.map_of(model, processor, audio)
        model, _ = load_model(base)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            tuned = get_peft_model(model, LoraConfig(**LORA))
        tuned.base_model.model.name_or_path = str(base)
        tuned.peft_config["default"].base_model_name_or_path = str(base)
        tuned.save_pretrained(tmp_path / "adapter")
        loaded = load_model(tmp_path / "adapter")
        found = self.map_of(*loaded, audio)
        assert torch.allclose(found, self.map_of(tuned, processor, audio), atol=1e-5)
        assert not torch.allclose(found, plain, atol=1e-3)

    def test_granites_adapter_is_on_and_comes_back_as_it_was(self, tmp_path, audio):
        """Its own generate switches the adapter off where it is given no features."""
        lora = lora_of_transformers()
        model, processor = make_family("granite_speech", tmp_path)
        plain = self.map_of(model, processor, audio)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model.add_adapter(lora)
        on = self.map_of(model, processor, audio)
        assert not torch.allclose(on, plain, rtol=0.1, atol=0)
        model.disable_adapters()
        assert torch.equal(self.map_of(model, processor, audio), on)
        layers = [own for own in model.modules() if hasattr(own, "disable_adapters")
                  and hasattr(own, "lora_A")]  # fmt: skip
        assert layers
        assert all(own.disable_adapters for own in layers)
        adapter = adapt(model, processor)
        speech = adapter.from_audio(audio)
        with adapter.evaluation_mode(), torch.no_grad():
            states = adapter.encode(speech, speech.spectrogram[None])
            written = adapter.generate(speech, {"max_new_tokens": 5})
            texts = adapter.transcribe(speech, states, {"max_new_tokens": 5})
            assert texts == [adapter.text(written.explained_ids)]
            assert not any(own.disable_adapters for own in layers)
        assert all(own.disable_adapters for own in layers)

    def test_two_explanations_at_once_with_granites_adapter(self, tmp_path):
        lora = lora_of_transformers()
        model, processor = make_family("granite_speech", tmp_path)
        model.add_adapter(lora)
        model.disable_adapters()
        adapter = adapt(model, processor)
        layers = [own for own in model.modules() if hasattr(own, "lora_A")]
        first, second = adapter.evaluation_mode(), adapter.evaluation_mode()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert not any(own.disable_adapters for own in layers)
        second.__exit__(None, None, None)
        assert all(own.disable_adapters for own in layers)

    @pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
    def test_wrapped_by_peft(self, tmp_path, audio):
        """Their generate is not called by its own name everywhere."""
        from peft import LoraConfig, get_peft_model

        for name in ("granite_speech", "seamless_m4t"):
            model, processor = make_family(name, tmp_path)
            adapter = adapt(get_peft_model(model, LoraConfig(**LORA)), processor)
            speech = adapter.from_audio(audio)
            with torch.no_grad(), adapter.evaluation_mode():
                states = adapter.encode(speech, speech.spectrogram[None])
                written = adapter.generate(speech, {"max_new_tokens": 4})
                texts = adapter.transcribe(speech, states, {"max_new_tokens": 4})
            assert texts == [adapter.text(written.explained_ids)]

    def test_compiled(self, qwen, audio):
        model, processor = qwen
        compiled = torch.compile(model, backend="eager")
        assert torch.equal(
            self.map_of(compiled, processor, audio), self.map_of(model, processor, audio)
        )

    # torch will soon quantise elsewhere.
    @pytest.mark.filterwarnings("ignore")
    def test_half_precision_and_eight_bits(self, qwen, audio):
        model, processor = qwen
        whole = self.map_of(model, processor, audio).flatten()
        kept = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, torch.qint8)
        for changed in (kept, model.to(torch.bfloat16)):
            found = self.map_of(changed, processor, audio).flatten()
            assert torch.isfinite(found).all()
            assert torch.corrcoef(torch.stack([whole, found]))[0, 1] > 0.9
