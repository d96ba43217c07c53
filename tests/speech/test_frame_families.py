"""Adapters of CTC models and transducers: one test module, a new family is one line."""

import itertools
import json
from contextlib import suppress

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, IntegratedGradients, KernelShap, Lime, Saliency
from safetensors.torch import load_file, save_file
from transformers import Wav2Vec2PhonemeCTCTokenizer, Wav2Vec2Processor

from captum_spes import SPES, BubbleNoise, SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.cli.options import audio_encoder
from captum_spes.demo import load_examples
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.forward import CTC, KL, OverFrames, TokenProbability
from captum_spes.maps import group_words
from captum_spes.metrics import deletion_curve
from captum_spes.speech.cross_attention import CrossAttention
from captum_spes.speech.models import ReadsPreviousTokens, WritesInFrames, adapt, can, load_model
from captum_spes.speech.models.ctc import best_alignment, collapsed
from captum_spes.speech.models.transducer import best_way
from captum_spes.speech.models.waveform import Transform
from captum_spes.speech.removals import measure_removals
from tests.speech.frame_families import CTC_FAMILIES, OF_SAMPLES, TRANSDUCERS, make_frame_family

QUICK = {
    "n_samples": 40,
    "n_token_samples": 30,
    "patches_per_second": 40,
    "target": "the cat",
    "seed": 0,
}


@pytest.fixture(scope="module", params=[*CTC_FAMILIES, *TRANSDUCERS])
def family(request, tmp_path_factory):
    """Model and processor of each family in turn."""
    return make_frame_family(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module", params=CTC_FAMILIES)
def ctc(request, tmp_path_factory):
    """The adapter of each CTC model in turn."""
    return adapt(*make_frame_family(request.param, tmp_path_factory.mktemp(request.param)))


@pytest.fixture(scope="module", params=TRANSDUCERS)
def transducer(request, tmp_path_factory):
    """The adapter of each transducer in turn."""
    return adapt(*make_frame_family(request.param, tmp_path_factory.mktemp(request.param)))


@pytest.fixture(scope="module")
def adapter(family):
    return adapt(*family)


@pytest.fixture
def speech(adapter, audio):
    return adapter.from_audio(audio)


@pytest.fixture(scope="module")
def hearing(tmp_path_factory):
    """An adapter of a model that reads samples."""
    return adapt(*make_frame_family("wav2vec2", tmp_path_factory.mktemp("wav2vec2")))


@pytest.fixture(params=["speech", "noise", "short"])
def samples(request):
    if request.param == "speech":
        return load_examples()[0].audio.astype(np.float32)
    count = 9_613 if request.param == "noise" else 700
    return (0.1 * np.random.default_rng(0).standard_normal(count)).astype(np.float32)


def states_of(adapter, speech):
    with torch.no_grad():
        return adapter.encode(speech, speech.spectrogram[None])


class TestTheModelsOwn:
    def test_scores_of_ctc(self, ctc, audio):
        speech = ctc.from_audio(audio)
        with torch.no_grad():
            own = ctc.model(**{ctc.input_name: speech.features}).logits
            found = ctc.output_layer(ctc.emissions(states_of(ctc, speech)))
        assert torch.allclose(found, own, atol=1e-4)
        assert found.std(-1).min() > 0.05

    def test_scores_of_transducers(self, transducer, audio):
        speech = transducer.from_audio(audio)
        target = transducer.force(speech, "the cat", {})
        with torch.no_grad():
            found = transducer.output_layer(
                transducer.decode(states_of(transducer, speech), target)
            )[0]
            for place, run in enumerate(target.frames):
                own = transducer.model(
                    input_features=speech.features,
                    decoder_input_ids=target.ids[None, : place + 1],
                    encoder_outputs=None,
                )
                joint = transducer.model.joint(
                    encoder_hidden_states=own.pooler_output[:, run[0]],
                    decoder_hidden_states=transducer.model.decoder(target.ids[None, : place + 1])[
                        :, -1
                    ],
                )[0, : transducer.model.config.vocab_size]
                assert torch.allclose(found[place], joint, atol=1e-4)

    def test_what_ctc_writes(self, ctc, audio):
        speech = ctc.from_audio(audio)
        target = ctc.generate(speech, {})
        with torch.no_grad():
            path = ctc.model(**{ctc.input_name: speech.features}).logits[0].argmax(-1).tolist()
        assert target.ids.tolist() == collapsed(path, ctc.blank)
        for token, run in zip(target.ids.tolist(), target.frames, strict=True):
            assert {path[frame] for frame in run} == {token}

    @pytest.mark.filterwarnings("ignore:Using the model-agnostic default")
    def test_what_transducers_write(self, transducer, audio):
        """Token by token, each at the model's own time; in batches, too."""
        speech = transducer.from_audio(audio)
        target = transducer.generate(speech, {})
        own = transducer.model.generate(input_features=speech.features)
        ids, spent = own.sequences[0], own.durations[0]
        frames = (spent.cumsum(0) - spent).tolist()
        expected = [
            (int(token), frame)
            for token, frame in list(zip(ids, frames, strict=True))[1:]
            if token not in (transducer.blank, transducer.model.config.pad_token_id)
        ]
        found = list(zip(target.explained_ids.tolist(), target.frames, strict=True))
        assert found == [(token, (frame,)) for token, frame in expected]
        states = states_of(transducer, speech)
        texts = transducer.transcribe(speech, torch.cat([states, states * 0.3, states]), {})
        assert texts[0] == texts[2] == transducer.text(target.explained_ids)

    def test_transcribing_from_states(self, ctc, audio):
        speech = ctc.from_audio(audio)
        states = states_of(ctc, speech)
        texts = ctc.transcribe(speech, torch.cat([states, -states, states]), {})
        assert texts[0] == texts[2] == ctc.text(ctc.generate(speech, {}).explained_ids)

    def test_nothing_is_asked(self, adapter, speech):
        for call in (adapter.generate, lambda s, g: adapter.force(s, "the cat", g)):
            with pytest.raises(ArgumentError, match="is asked nothing: it knows no gen_args"):
                call(speech, {"num_beams": 4})


class TestTargets:
    def test_a_text_and_what_it_is_spelled_with(self, adapter, speech):
        target = adapter.force(speech, "the cat", {})
        assert adapter.text(target.explained_ids) == "the cat"
        assert len(target.frames) == len(target.explained)
        firsts = [run[0] for run in target.frames]
        assert firsts == sorted(firsts)
        assert adapter.alignment(speech, target).shape[1] == len(target.explained)

    def test_repeated_letters(self, tmp_path, audio):
        adapter = adapt(*make_frame_family("wav2vec2", tmp_path))
        target = adapter.force(adapter.from_audio(audio), "hello", {})
        assert adapter.text(target.explained_ids) == "hello"
        second, third = target.frames[2:4]
        assert third[0] > second[-1] + 1  # a blank between them

    def test_the_case_of_the_vocabulary(self, tmp_path, audio):
        adapter = adapt(*make_frame_family("wav2vec2", tmp_path))
        speech = adapter.from_audio(audio)
        assert adapter.text(adapter.force(speech, "The CAT", {}).explained_ids) == "the cat"
        with pytest.raises(ArgumentError, match="cannot be written with the model's vocabulary"):
            adapter.force(speech, "cat 7", {})

    def test_apostrophes_and_scripts_without_spaces(self, tmp_path, audio):
        adapter = adapt(*make_frame_family("wav2vec2", tmp_path))
        pieces = adapter.spelled(adapter.force(adapter.from_audio(audio), "it's a", {}).ids)
        assert group_words([text for text, _ in pieces]) == [("it's", [0, 1, 2]), ("a", [3, 4])]
        assert [rows for _, rows in pieces] == [[0], [1, 2], [3], [4], [5]]

    def test_phones(self, tmp_path, audio):
        model, processor = make_frame_family("wav2vec2", tmp_path)
        names = ["<pad>", "<s>", "</s>", "<unk>", "|", "h", "ə", "l", "oʊ"]
        vocabulary = tmp_path / "phones.json"
        vocabulary.write_text(json.dumps({name: place for place, name in enumerate(names)}))
        phones = Wav2Vec2PhonemeCTCTokenizer(str(vocabulary), do_phonemize=False)
        own = Wav2Vec2Processor(processor.feature_extractor, phones)
        explainer = SpeechToTextAttribution(SPES(model), own)
        result = explainer.attribute(audio, **{**QUICK, "target": "h ə l l oʊ"})
        assert result.text == "h ə l l oʊ"
        assert [word.word for word in result.words] == ["h", "ə", "l", "l", "oʊ"]

    def test_ids(self, adapter, speech):
        ids = adapter.force(speech, "the cat", {}).explained_ids
        assert torch.equal(adapter.force(speech, ids, {}).explained_ids, ids)
        with pytest.raises(ArgumentError, match="target ids hold the blank"):
            adapter.force(speech, [*ids.tolist(), adapter.blank], {})

    def test_more_than_fits(self, tmp_path, audio):
        adapter = adapt(*make_frame_family("parakeet_ctc", tmp_path))
        with pytest.raises(ArgumentError, match="cannot be written in them"):
            adapter.force(adapter.from_audio(audio), "the cat " * 40, {})

    def test_viterbi_of_ctc_is_the_best_of_all_paths(self):
        generator = torch.Generator().manual_seed(0)
        for ids in ([1, 2], [1, 1], [3], [2, 2, 1]):
            scores = torch.randn(6, 4, generator=generator).log_softmax(-1)
            paths = [p for p in itertools.product(range(4), repeat=6) if collapsed(p, 0) == ids]
            best = max(paths, key=lambda p: sum(float(scores[t, k]) for t, k in enumerate(p)))
            assert best_alignment(scores, ids, 0) == list(best)

    @pytest.mark.parametrize("durations", [(0, 1), (0, 1, 2), (1, 3), (2, 0)])
    def test_viterbi_of_transducers_is_the_best_of_all_ways(self, durations):
        rng = np.random.default_rng(0)
        for n_tokens in (1, 2, 3):
            stays = rng.standard_normal((4, n_tokens + 1, len(durations)))
            writes = rng.standard_normal((4, n_tokens, len(durations)))
            stays[:, :, [d == 0 for d in durations]] = -np.inf
            ways = list(all_ways(stays, writes, durations))
            _, frames = max(ways, key=lambda way: way[0], default=(None, None))
            assert best_way(stays, writes, durations) == frames


def all_ways(stays, writes, durations, state=0, token=0, score=0.0, frames=()):
    """Every way through the states with all tokens written, by trying."""
    n_states, n_tokens = writes.shape[:2]
    if state == n_states:
        if token == n_tokens:
            yield score, list(frames)
        return
    for place, duration in enumerate(durations):
        to = min(state + duration, n_states)
        if duration:
            own = score + stays[state, token, place]
            yield from all_ways(stays, writes, durations, to, token, own, frames)
        if token < n_tokens:
            own = score + writes[state, token, place]
            yield from all_ways(stays, writes, durations, to, token + 1, own, (*frames, state))


class TestScores:
    def test_ctc_is_that_of_torch(self, ctc, audio):
        speech = ctc.from_audio(audio)
        target = ctc.force(speech, "a cat", {})
        with torch.no_grad():
            logits = ctc.output_layer(ctc.emissions(states_of(ctc, speech)))
        expected = torch.nn.functional.ctc_loss(
            logits.log_softmax(-1).transpose(0, 1), target.ids[None],
            torch.tensor([logits.shape[1]]), torch.tensor([len(target.ids)]), blank=ctc.blank,
            reduction="sum",
        )  # fmt: skip
        found = CTC(ctc.blank)(logits, logits[0], target.ids)
        assert found.item() == pytest.approx(-expected.item(), rel=1e-5)

    def test_ctc_is_the_sum_over_all_paths(self):
        logits = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(0))
        scores = logits[0].double().log_softmax(-1)
        paths = [p for p in itertools.product(range(3), repeat=5) if collapsed(p, 0) == [1, 2]]
        total = sum(np.exp(sum(float(scores[t, k]) for t, k in enumerate(path))) for path in paths)
        assert CTC(0)(logits, logits[0], torch.tensor([1, 2])).item() == pytest.approx(
            np.log(total), rel=1e-5
        )
        with pytest.raises(ArgumentError, match="knows no blank"):
            CTC()(logits, logits[0], torch.tensor([1]))

    def test_a_peak_that_moves_costs_the_divergence_and_not_the_output(self):
        before, after = torch.zeros(1, 6, 3), torch.zeros(1, 6, 3)
        for logits, frame in ((before, 2), (after, 3)):
            logits[..., 0] = 8.0
            logits[0, frame] = torch.tensor([0.0, 8.0, 0.0])
        ids = torch.tensor([1])
        of_output = [CTC(0)(logits, before[0], ids).item() for logits in (before, after)]
        assert of_output[0] == pytest.approx(of_output[1], abs=1e-5)
        assert KL()(after[:, 2:3], before[0, 2:3], ids).item() < -5

    @pytest.mark.parametrize("score", [KL(), TokenProbability(), TokenProbability(log=True)])
    def test_tokens_are_means_over_their_frames(self, score):
        generator = torch.Generator().manual_seed(0)
        logits, reference = torch.randn(3, 4, 5, generator=generator), torch.randn(1, 4, 5)
        ids, tokens = torch.tensor([1, 1, 3, 3]), (0, 0, 1, 1)
        alone = score(logits, reference[0], ids)
        found = OverFrames(score, tokens)(logits, reference[0], ids)
        assert torch.allclose(found, alone.unflatten(1, (2, 2)).mean(2))
        forward = OverFrames(score, tokens).forward(lambda x: x, reference, ids)
        assert torch.allclose(forward(logits), found, atol=1e-6)


class TestRows:
    def test_batches(self, adapter, speech):
        target = adapter.force(speech, "the cat", {})
        batch = torch.stack([speech.spectrogram, speech.spectrogram.flip(0), speech.spectrogram])
        with torch.no_grad():
            together = adapter.logits(adapter.encode(speech, batch), target)
            alone = adapter.logits(adapter.encode(speech, batch[1:2]), target)
        assert torch.allclose(together[1], alone[0], atol=1e-4)
        assert torch.allclose(together[0], together[2], atol=1e-5)
        assert not torch.allclose(together[0], together[1], atol=1e-3)

    def test_a_removed_token_changes_only_what_follows(self, transducer, audio):
        speech = transducer.from_audio(audio)
        target = transducer.force(speech, "the cat", {})
        states, keep = states_of(transducer, speech), torch.ones(1, len(target.decoder_ids))
        removed = target.previous_positions[0]
        keep[0, removed] = 0
        with torch.no_grad():
            original = transducer.logits(states, target)[0]
            with transducer.keep_previous_tokens(keep):
                changed = transducer.logits(states, target)[0]
            assert torch.equal(transducer.logits(states, target)[0], original)
        follows = target.valid_previous_tokens()[:, 0]
        difference = (changed - original).abs().amax(1)
        assert (difference[~follows] == 0).all()
        assert (difference[follows] > 1e-3).all()
        assert transducer.text(target.previous_ids) in "the cat"
        assert not (target.previous_ids == transducer.blank).any()


class TestNoTrace:
    def test_after_use_and_errors(self, adapter, speech):
        model = adapter.model
        model.train()
        before = state_of(model)
        with adapter.evaluation_mode():
            target = adapter.generate(speech, {})
            adapter.alignment(speech, target)
        with suppress(Exception):
            adapter.encode(speech, speech.spectrogram[None, :, :-1])
        if can(adapter, ReadsPreviousTokens):
            keep = torch.zeros(1, len(target.decoder_ids))
            with suppress(KeyboardInterrupt), adapter.keep_previous_tokens(keep):
                raise KeyboardInterrupt
        assert state_of(model) == before
        model.eval()


def state_of(model):
    hooks = [(name, len(m._forward_hooks), len(m._forward_pre_hooks))
             for name, m in model.named_modules()]  # fmt: skip
    modes = [module.training for module in model.modules()]
    sums = [float(parameter.detach().double().sum()) for parameter in model.parameters()]
    return hooks, modes, sums, sorted(vars(model))


class TestExplanations:
    def explain(self, family, audio, method=SPES, **changes):
        model, processor = family
        explainer = SpeechToTextAttribution(method(model), processor)
        return explainer.attribute(audio, **{**QUICK, **changes})

    @pytest.mark.parametrize("scheme", ["paper", "efficient"])
    def test_spes_and_its_file(self, family, adapter, audio, tmp_path, scheme):
        result = self.explain(family, audio, scheme=scheme)
        count = len(result.output_tokens)
        assert result.spectrogram_attr.shape == (count, *result.spectrogram.shape)
        assert torch.isfinite(result.spectrogram_attr).all()
        assert [word.word for word in result.words] == ["the", "cat"]
        assert ((result.probabilities > 0) & (result.probabilities <= 1)).all()
        if can(adapter, ReadsPreviousTokens):
            assert result.token_attr.shape == (count, len(result.previous_tokens))
        else:
            assert result.token_attr is None
            assert result.previous_tokens == []
            assert result.parameters["n_samples_evaluated"] == 40
        result.save(tmp_path / "result.npz")
        again = SpeechToTextAttributionResult.load(tmp_path / "result.npz")
        assert torch.equal(again.spectrogram_attr, result.spectrogram_attr)
        assert again.parameters["sequence"] == result.parameters["sequence"]

    def test_how_sure_it_was(self, ctc, audio):
        """Of a run of frames where the token is likeliest."""
        speech = ctc.from_audio(audio)
        target = ctc.force(speech, "a cat", {})
        with torch.no_grad():
            states = ctc.emissions(states_of(ctc, speech))
            probabilities = ctc.output_layer(states)[0].softmax(-1)
        explainer = SpeechToTextAttribution(SPES(ctc.model), ctc.processor)
        result = explainer.attribute(audio, **{**QUICK, "target": "a cat"})
        expected = [
            probabilities[list(run), token].max()
            for run, token in zip(target.frames, target.ids.tolist(), strict=True)
        ]
        assert torch.allclose(result.probabilities, torch.stack(expected), atol=1e-5)

    def test_removals_are_means_over_frames(self, ctc, audio):
        speech = ctc.from_audio(audio)
        target = ctc.force(speech, "a cat", {})
        removed = ctc.removed_value(speech, "mean")
        with ctc.evaluation_mode():
            found = measure_removals(ctc, speech, target, removed, 3)
        mask = found.masks[1]
        copy = torch.where(mask[:, None], removed, speech.spectrogram)
        with torch.no_grad():
            whole, less = (
                ctc.output_layer(ctc.emissions(ctc.encode(speech, own[None])))[0].log_softmax(-1)
                for own in (speech.spectrogram, copy)
            )
        for row, (run, token) in enumerate(zip(target.frames, target.ids.tolist(), strict=True)):
            frames = list(run)
            loss = (whole - less)[frames, token].mean().item()
            assert found.losses[1, row].item() == pytest.approx(loss, abs=1e-4)

    def test_own_output_is_all_right(self, ctc, audio):
        explainer = SpeechToTextAttribution(SPES(ctc.model), ctc.processor)
        result = explainer.attribute(audio, **{**QUICK, "target": None})
        example = {"audio": audio, "reference": "the cat", "attribution": result}
        assert deletion_curve(explainer, [example], step=0.5, metric="token_accuracy").y[0] == 100

    def test_own_output(self, family, audio):
        model, processor = family
        explainer = SpeechToTextAttribution(SPES(model), processor)
        result = explainer.attribute(audio, **{**QUICK, "target": None})
        assert result.parameters["target"] == "generated"
        assert (result.ranks[: len(result.output_tokens)] == 1).all()

    def test_batch_sizes_do_not_matter(self, family, audio):
        maps = [
            self.explain(family, audio, perturbations_per_eval=size).spectrogram_attr
            for size in (1, 8)
        ]
        assert torch.allclose(*maps, atol=1e-5)

    @pytest.mark.parametrize("method", [BubbleNoise, FeatureAblation, Lime, KernelShap])
    def test_perturbation_methods(self, family, audio, method):
        result = self.explain(family, audio, method)
        assert torch.isfinite(result.spectrogram_attr).all()
        assert method is Lime or result.spectrogram_attr.abs().sum() > 0

    @pytest.mark.parametrize("method", [Saliency, IntegratedGradients])
    def test_gradient_methods(self, family, audio, method):
        arguments = {"n_steps": 3} if method is IntegratedGradients else {}
        result = self.explain(family, audio, method, method_args=arguments)
        assert torch.isfinite(result.spectrogram_attr).all()
        assert (result.spectrogram_attr.abs().amax((1, 2)) > 0).all()

    def test_the_whole_output(self, ctc, audio):
        """One map, of the probability of all paths."""
        explainer = SpeechToTextAttribution(FeatureAblation(ctc.model), ctc.processor)
        result = explainer.attribute(audio, **{**QUICK, "target": "a cat"}, score="ctc")
        assert result.output_tokens == ["a cat"]
        assert len(result.spectrogram_attr) == 1
        speech = ctc.from_audio(audio)
        target = ctc.force(speech, "a cat", {})
        mask = result.feature_masks[0]
        cell = mask == mask.unique()[1]
        without = torch.where(cell, result.removed, result.spectrogram)
        with torch.no_grad():
            before, after = (
                CTC(ctc.blank)(ctc.output_layer(ctc.encode(speech, own[None])), None, target.ids)
                for own in (speech.spectrogram, without)
            )
        expected = (before - after).item()
        assert result.spectrogram_attr[0][cell][0].item() == pytest.approx(expected, abs=1e-4)
        gradients = SpeechToTextAttribution(Saliency(ctc.model), ctc.processor)
        assert gradients.attribute(audio, **QUICK, score="ctc").spectrogram_attr.abs().sum() > 0

    def test_what_makes_no_sense_is_told(self, ctc, transducer, audio):
        of_attention = SpeechToTextAttribution(CrossAttention(ctc.model), ctc.processor)
        with pytest.raises(ArgumentTypeError, match="tell where it attends"):
            of_attention.attribute(audio, target="a cat")
        jointly = SpeechToTextAttribution(SPES(ctc.model), ctc.processor)
        with pytest.raises(ArgumentError, match="reads no previous tokens"):
            jointly.attribute(audio, **QUICK, perturb_jointly=True)
        other = SpeechToTextAttribution(SPES(transducer.model), transducer.processor)
        with pytest.raises(ArgumentTypeError, match=r"write in each frame \(CTC\)"):
            other.attribute(audio, **QUICK, score="ctc")

    def test_deletion_and_check(self, family, adapter, audio):
        model, processor = family
        explainer = SpeechToTextAttribution(SPES(model), processor)
        result = self.explain(family, audio)
        example = {"audio": audio, "reference": "the cat", "attribution": result}
        assert len(deletion_curve(explainer, [example], step=0.5).x) == 3
        graded = deletion_curve(explainer, [example], step=0.5, metric="kl", per_token=True)
        assert graded.y[-1] > graded.y[0] == pytest.approx(0, abs=1e-6)
        if can(adapter, WritesInFrames):
            whole = deletion_curve(explainer, [example], step=0.5, metric="ctc")
            assert whole.y[0] == pytest.approx(0, abs=1e-4)
        with pytest.warns(UserWarning, match="was not calibrated for this check"):
            report = explainer.check(audio, target="the cat", passes=4)
        assert [word.word for word in report.words] == ["the", "cat"]
        assert all(np.isfinite(word.evidence) for word in report.words)

    @pytest.mark.parametrize("name", ["wav2vec2", "wav2vec2_bert", "parakeet_ctc", "parakeet_tdt"])
    def test_from_a_folder(self, name, tmp_path, audio):
        family = make_frame_family(name, tmp_path)
        for part in family:
            part.save_pretrained(tmp_path)
        loaded = load_model(tmp_path)
        assert type(loaded[0]) is type(family[0])
        # Published checkpoints leave out what is used in training only.
        weights = load_file(tmp_path / "model.safetensors")
        kept = {key: own for key, own in weights.items() if not key.endswith("masked_spec_embed")}
        save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
        loaded = load_model(tmp_path)
        assert torch.allclose(
            self.explain(loaded, audio).spectrogram_attr,
            self.explain(family, audio).spectrogram_attr,
            atol=1e-5,
        )


class TestWrapped:
    """Models as users have them."""

    NAMES = ("wav2vec2", "parakeet_ctc", "parakeet_tdt")

    def map_of(self, model, processor, audio):
        explainer = SpeechToTextAttribution(SPES(model), processor)
        return explainer.attribute(audio, **QUICK).spectrogram_attr

    # The compiler tells of what it leaves out in transformers.
    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("name", NAMES)
    def test_compiled(self, request, name, tmp_path, audio):
        """Whole, and the part that hears, as --compile does it."""
        request.addfinalizer(torch.compiler.reset)
        model, processor = make_frame_family(name, tmp_path)
        plain = self.map_of(model, processor, audio)
        compiled = torch.compile(model, backend="eager")
        assert torch.allclose(self.map_of(compiled, processor, audio), plain, atol=1e-5)
        audio_encoder(model).compile(backend="eager")
        assert torch.allclose(self.map_of(model, processor, audio), plain, atol=1e-5)

    @pytest.mark.parametrize("name", NAMES)
    def test_half_precision(self, name, tmp_path, audio):
        model, processor = make_frame_family(name, tmp_path)
        plain = self.map_of(model, processor, audio)
        halved = self.map_of(model.to(torch.bfloat16), processor, audio)
        assert torch.isfinite(halved).all()
        both = torch.stack([plain.flatten(), halved.flatten()])
        assert torch.corrcoef(both)[0, 1] > 0.9

    # peft asks transformers for a name that it will lose.
    @pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
    def test_with_an_adapter(self, tmp_path, audio):
        from peft import LoraConfig, get_peft_model

        model, processor = make_frame_family("wav2vec2", tmp_path)
        plain = self.map_of(model, processor, audio)
        lora = {"target_modules": ["q_proj", "v_proj"], "init_lora_weights": False}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            tuned = get_peft_model(model, LoraConfig(**lora, lora_alpha=200))
        found = self.map_of(tuned, processor, audio)
        assert torch.isfinite(found).all()
        assert not torch.allclose(found, plain, atol=1e-4)


class TestWaveform:
    """The way from samples to a picture and back."""

    def heard(self, adapter, speech, spectrogram):
        """Samples for a picture, without the normalisation."""
        made = adapter.model_features(speech, spectrogram[None])[0]
        own = speech.samples.numpy()
        return made * np.sqrt(own.var() + 1e-7) + own.mean()

    def test_nothing_removed(self, hearing, samples):
        """By way of the transform alone, too."""
        speech = hearing.from_audio(samples)
        assert torch.equal(
            hearing.model_features(speech, speech.spectrogram[None]),
            hearing.normalised(speech.samples[None], speech),
        )
        coefficients = speech.magnitudes * speech.phases
        back = hearing.transform.backward(coefficients[None], len(samples))[0]
        assert torch.allclose(back + speech.samples.mean(), speech.samples, atol=1e-6)

    def test_samples_far_from_what_was_removed_stay(self, hearing, samples):
        speech = hearing.from_audio(samples)
        frame = int(speech.spectrogram.mean(1).argmax())
        changed = speech.spectrogram.clone()
        changed[frame] = hearing.removed_value(speech, "silence")
        moved = (self.heard(hearing, speech, changed) - speech.samples).abs()
        middle, half = frame * hearing.transform.hop, len(hearing.transform.window) // 2
        within = torch.zeros(len(samples), dtype=torch.bool)
        within[max(0, middle - half) : middle + half + 1] = True
        assert moved[~within].numel() == 0 or moved[~within].max() < 1e-6
        assert moved[within].max() > 1e-3

    @pytest.mark.parametrize("name", ["mean", "silence"])
    def test_energy_is_removed_where_asked_and_nowhere_else(self, hearing, name):
        """Of noise a band in the middle of a stretch."""
        rng = np.random.default_rng(0)
        samples = (0.1 * rng.standard_normal(32_000)).astype(np.float32)
        samples[8_000:24_000] *= 10  # so that the mean is not the value of any cell
        speech = hearing.from_audio(samples)
        changed = speech.spectrogram.clone()
        frames, bins = slice(80, 120), slice(30, 50)
        changed[frames, bins] = hearing.removed_value(speech, name).expand_as(changed)[frames, bins]
        found = self.heard(hearing, speech, changed) - speech.samples.mean()
        again = hearing.transform.forward(found).abs()
        owner = hearing.transform.owner
        inside = (owner >= 33) & (owner < 47)
        outside = (owner < 27) | (owner >= 53)
        gone = again[85:115, inside].mean() / speech.magnitudes[85:115, inside].mean()
        wanted = speech.magnitudes[:, inside].mean() / speech.magnitudes[85:115, inside].mean()
        assert gone == pytest.approx(0.0 if name == "silence" else wanted.item(), abs=0.08)
        kept = again[85:115, outside] / speech.magnitudes[85:115, outside]
        assert kept.median() == pytest.approx(1, abs=0.01)
        far = torch.cat([again[:75], again[126:]]) - torch.cat(
            [speech.magnitudes[:75], speech.magnitudes[126:]]
        )
        assert far.abs().max() < 1e-3

    def test_the_mean_is_that_of_each_frequency(self, hearing, samples):
        """And not one loudness for all that a mel bin owns."""
        speech = hearing.from_audio(samples)
        picture = hearing.removed_value(speech, "mean").expand_as(speech.spectrogram)
        change = (speech.magnitudes.mean(0) - speech.magnitudes) * speech.phases
        expected = speech.samples + hearing.transform.backward(change[None], len(samples))[0]
        assert torch.allclose(self.heard(hearing, speech, picture), expected, atol=1e-5)

    def test_no_click(self, hearing):
        """A tone that is removed for a while fades out and in."""
        time = np.arange(32_000) / 16_000
        speech = hearing.from_audio((0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32))
        changed = speech.spectrogram.clone()
        changed[80:120] = hearing.removed_value(speech, "silence")
        found = self.heard(hearing, speech, changed)
        steps = speech.samples.diff().abs().max()
        assert found.diff().abs().max() < 1.05 * steps
        assert found[14_000:18_000].abs().max() < 1e-3

    def test_an_offset_of_the_recording_is_no_sound(self, hearing, samples):
        plain, shifted = hearing.from_audio(samples), hearing.from_audio(samples + 0.5)
        silent = [
            hearing.model_features(own, hearing.removed_value(own, "silence").expand(1, *shape))
            for own, shape in (
                (plain, plain.spectrogram.shape),
                (shifted, shifted.spectrogram.shape),
            )
        ]
        inner = slice(400, -400)  # beyond the ends there is none
        assert torch.allclose(silent[0][:, inner], silent[1][:, inner], atol=0.02)

    def test_batches(self, hearing, samples):
        speech = hearing.from_audio(samples)
        silent = hearing.removed_value(speech, "silence").expand_as(speech.spectrogram)
        batch = torch.stack([speech.spectrogram, silent, speech.spectrogram])
        together = hearing.model_features(speech, batch)
        assert torch.equal(together[0], together[2])
        assert torch.allclose(together[1], hearing.model_features(speech, batch[1:2])[0], atol=1e-6)

    @pytest.mark.parametrize("rate", [8_000, 16_000, 22_050])
    def test_every_bin_has_an_owner_and_every_owner_a_bin(self, rate):
        owner = Transform.of(rate).owner
        assert sorted(set(owner.tolist())) == list(range(80))
        assert (owner.diff() >= 0).all()

    def test_gradients_follow_loudness(self, hearing, samples):
        speech = hearing.from_audio(samples)
        picture = speech.spectrogram.clone().requires_grad_()
        hearing.model_features(speech, picture[None]).square().sum().backward()
        assert torch.isfinite(picture.grad).all()
        assert picture.grad.abs().sum() > 0

    @pytest.mark.parametrize("name", OF_SAMPLES)
    def test_the_extractors_normalisation(self, name, tmp_path, audio):
        adapter = adapt(*make_frame_family(name, tmp_path))
        speech = adapter.from_audio(audio)
        made = adapter.feature_extractor(audio, sampling_rate=16_000, return_tensors="pt")
        rebuilt = adapter.model_features(speech, speech.spectrogram[None])
        assert torch.allclose(made["input_values"], rebuilt, atol=1e-5)

    def test_bad_input(self, hearing, audio):
        with pytest.raises(ArgumentError, match="needs more than 512"):
            hearing.from_audio(audio[:400])
        with pytest.raises(ArgumentError, match="unknown baseline 'noise'"):
            hearing.removed_value(hearing.from_audio(audio), "noise")
