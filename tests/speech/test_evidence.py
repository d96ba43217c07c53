"""Which words the model heard: removals, verdicts, reports, recordings of any length."""

import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pysubs2
import pytest
import torch
from praatio import textgrid

from captum_spes import SPES, EvidenceReport, SpeechToTextAttribution, WordEvidence
from captum_spes.demo import load_demo
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.forward import KLDivergenceForward
from captum_spes.speech.checking import CheckedWindow, Checker, spoken_words
from captum_spes.speech.measures import MEASURES, word_evidence, word_measures
from captum_spes.speech.models import DecodedSegment
from captum_spes.speech.removals import Removals, measure_removals, removal_masks
from captum_spes.speech.verdicts import choose_rule, shipped_rules

RATE = 16_000
COLUMN = torch.tensor([5])


@pytest.fixture(scope="module")
def demo():
    model, processor, examples = load_demo()
    return SpeechToTextAttribution(SPES(model), processor), examples


@pytest.fixture
def tiny(tiny_whisper):
    model, processor = tiny_whisper
    return SpeechToTextAttribution(SPES(model), processor)


@pytest.fixture(scope="module")
def report():
    """Four words in two segments, one of each verdict, written with punctuation."""
    words = [
        WordEvidence("Ask", 0.0, 0.5, 3.0, 0.9, True, " Ask"),
        WordEvidence("not", 0.5, 1.25, 0.001, 0.125, False, " not,"),
        WordEvidence("=what", 2.0, 2.5, 0.2, 0.5, None, " (=what"),
        WordEvidence("country", 2.5, 3.0, 5.0, 0.8, True, " country)."),
    ]
    rule = shipped_rules()[0]
    return EvidenceReport(words, [(0, 2), (2, 4)], 4.0, 12, "mean", rule, None, "a model")


class TestRemovals:
    def test_the_first_pass_removes_everything(self):
        for passes in (1, 2, 40):
            masks = removal_masks(passes, 50)
            assert masks.shape == (passes, 50)
            assert masks[0].all()

    def test_fewer_passes_are_the_first_of_more(self):
        many = removal_masks(40, 90)
        for passes in (1, 4, 7, 12, 39):
            assert torch.equal(removal_masks(passes, 90), many[:passes])
        assert len(many.unique(dim=0)) == 40

    def test_windows_of_a_third_cover_the_recording(self):
        masks = removal_masks(7, 90)
        assert masks[1:4].sum(1).tolist() == [30, 30, 30]
        assert masks[1:4].sum(0).tolist() == [1] * 90
        assert torch.equal(masks[4:], ~masks[1:4])  # the same windows, kept alone

    @pytest.mark.parametrize("n_frames", [1, 2, 3, 5])
    def test_short_recordings(self, n_frames):
        masks = removal_masks(40, n_frames)
        assert masks.shape == (40, n_frames)
        assert masks[1:4].any(1).all()

    def test_divergences_are_those_of_the_method(self, tiny, audio):
        adapter = tiny.adapter
        speech = adapter.from_audio(audio)
        with torch.no_grad():
            sequence = adapter.force(speech, "the cat", {})
        removed = adapter.removed_value(speech, "mean").expand(speech.spectrogram.shape)
        found = measure_removals(adapter, speech, sequence, removed, 12, 5)

        def logits(spectrograms):
            return adapter.logits(adapter.encode(speech, spectrograms), sequence)

        forward = KLDivergenceForward(logits, speech.spectrogram[None])
        for mask, divergence, loss in zip(
            found.masks, found.divergences, found.losses, strict=True
        ):
            copy = speech.spectrogram.clone()
            copy[mask] = removed[mask]
            with torch.no_grad():
                expected = -forward(copy[None])[0]
                logs = logits(copy[None])[0].log_softmax(-1)
            torch.testing.assert_close(divergence.float(), expected, rtol=1e-3, atol=1e-5)
            own = logs.gather(1, sequence.explained_ids[:, None])[:, 0]
            torch.testing.assert_close(
                (found.log_probabilities - loss).float(), own, rtol=1e-4, atol=1e-4
            )
        assert found.divergences.max() > 0.01  # it is not all zero

    @pytest.mark.parametrize("family", ["tiny_whisper", "tiny_speech2text", "tiny_canary"])
    @pytest.mark.filterwarnings("ignore:.*not calibrated")
    def test_nothing_is_encoded_but_what_is_asked_for(self, request, audio, family):
        """The model's own encoding of the recording is used, not made again."""
        model, processor = request.getfixturevalue(family)
        explainer, counted = SpeechToTextAttribution(SPES(model), processor), []
        handle = model.get_encoder().register_forward_hook(
            lambda module, args, kwargs, output: counted.append(len(output[0])), with_kwargs=True
        )
        try:
            report = explainer.check(audio, passes=12)
        finally:
            handle.remove()
        assert sum(counted) == (1 + 12 if report.words else 1)
        assert report.words or family != "tiny_whisper"

    def test_the_models_own_encoding_gives_the_same(self, demo):
        explainer, (example, *_) = demo
        own = explainer.check(example.path)
        ids = explainer.transcribe(example.path).windows[0].sequence.explained_ids
        again = explainer.check(example.path, target=ids)  # encoded anew
        for one, other in zip(own.words, again.words, strict=True):
            assert one.evidence == pytest.approx(other.evidence, rel=1e-3, abs=1e-4)
            assert one.probability == pytest.approx(other.probability, rel=1e-4)


class TestMeasures:
    def test_in_closed_form(self):
        """Three words of one, two and one tokens, two passes; a token between them is in none."""
        divergences = torch.tensor([[1.0, 2.0, 4.0, 9.0, 0.0], [3.0, 0.0, 2.0, 9.0, 5.0]])
        losses = torch.tensor([[1.0, -1.0, 3.0, 9.0, 0.5], [2.0, 4.0, 0.0, 9.0, -2.0]])
        logs = torch.tensor([-1.0, -2.0, -4.0, -9.0, -0.5])
        masks = torch.ones(2, 4, dtype=torch.bool)
        removals = Removals(masks, divergences.double(), losses.double(), logs.double())
        words = [(0,), (1, 2), (4,)]
        found = dict(zip(MEASURES, word_measures(removals, words).T.tolist(), strict=True))
        surprisals = {
            "confidence": [1.0, 3.0, 0.5],
            "confidence_of_neighbours": [7 / 3, 7.5 / 4, 6.5 / 3],
            "confidence_of_output": [7.5 / 4] * 3,
        }
        nats = {
            "largest_divergence": [3.0, 3.0, 5.0],
            "mean_divergence": [2.0, 2.0, 2.5],
            "least_divergence": [1.0, 1.0, 0.0],
        }
        of_losses = {
            "largest_loss": [2.0, 2.0, 0.5],
            "mean_loss": [1.5, 1.5, -0.75],
            "least_loss": [1.0, 1.0, -2.0],
        }
        expected = {
            **{name: -np.log(np.add(values, 1e-3)) for name, values in surprisals.items()},
            **{name: np.log(np.add(values, 1e-3)) for name, values in nats.items()},
            **{name: np.arcsinh(values) for name, values in of_losses.items()},
        }
        assert list(found) == list(expected)
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, err_msg=name)
        assert word_evidence(removals, words).tolist() == [3.0, 3.0, 5.0]


class TestBrokenModels:
    @pytest.fixture
    def broken(self, tiny):
        """An explainer whose logits are spoilt from a number of passes on."""
        layer = tiny.adapter.output_layer

        def spoil(value, after):
            calls = iter(range(1_000))

            def output_layer(hidden):
                logits = layer(hidden)
                return logits if next(calls) < after else logits.index_fill(-1, COLUMN, value)

            tiny.adapter.output_layer = output_layer
            return tiny

        return spoil

    @pytest.mark.parametrize("after", [0, 5])
    def test_nan_is_told(self, broken, audio, after):
        with pytest.raises(ArgumentError, match="gives NaN"):
            broken(torch.nan, after).check(audio, target="the cat")

    def test_impossible_tokens(self, broken, audio, tmp_path):
        report = broken(-torch.inf, 1).check(audio, target="the cat")
        assert all(np.isfinite(word.evidence) for word in report.words)
        report.save(tmp_path / "a.json")


class TestVerdicts:
    def test_words_that_were_said_are_heard(self, demo):
        explainer, examples = demo
        words = [word for example in examples[:4] for word in explainer.check(example.path).words]
        assert len(words) > 30
        assert np.mean([word.heard is True for word in words]) > 0.8

    def test_a_word_that_was_swapped_is_not_heard(self, demo):
        """One word of each text is one of another recording."""
        explainer, examples = demo
        verdicts, others = [], []
        for number, example in enumerate(examples):
            words = example.text.split()
            strange = [
                w for w in examples[number - 1].text.split() if w not in words and len(w) > 4
            ]
            words[len(words) // 2] = strange[0].strip("?.,")
            found = explainer.check(example.path, target=" ".join(words)).words
            verdicts.append(found[len(words) // 2].heard)
            others += [word.heard for word in found[: len(words) // 2]]
        assert verdicts.count(True) <= 1
        assert verdicts.count(False) >= 3
        assert np.mean([heard is True for heard in others]) > 0.8

    def test_a_text_that_nobody_said_is_not_heard(self, demo):
        explainer, (first, second, *_) = demo
        report = explainer.check(first.path, target=second.text)
        assert report.share_not_heard > 0.4
        assert not any(word.heard for word in report.words if word.probability < 1e-3)

    def test_what_is_cut_off_is_not_heard(self, demo):
        explainer, examples = demo
        before, behind = [], []
        for example in examples:
            half = example.audio[: len(example.audio) // 2]
            found = explainer.check(half, target=example.text).words
            last = sum(word.end < example.seconds / 2 for word in example.words)
            before += [word.heard for word in found[: last - 1]]
            behind += [word.heard for word in found[last + 1 :]]
        assert min(len(before), len(behind)) > 15
        assert np.mean([heard is True for heard in before]) > 0.6
        assert np.mean([heard is True for heard in behind]) < 0.15
        assert np.mean([heard is False for heard in behind]) > 0.6

    def test_times_come_from_the_audio_that_speaks_for_the_words(self, demo):
        explainer, examples = demo
        errors = []
        for example in examples:
            found = explainer.check(example.path, target=example.text, passes=12).words
            assert [w.word for w in found] == [w.label.strip("?,.") for w in example.words]
            errors += [
                abs((w.start + w.end) / 2 - (own.start + own.end) / 2)
                for w, own in zip(found, example.words, strict=True)
            ]
        assert np.median(errors) < 0.15
        assert np.quantile(errors, 0.9) < 0.4

    @pytest.mark.parametrize("passes", [1, 4, 12])
    def test_no_word_is_squeezed_to_nothing(self, demo, passes):
        explainer, examples = demo
        for example in examples:
            words = explainer.check(example.path, passes=passes).words
            least = example.seconds / len(words) / 4
            assert min(word.end - word.start for word in words) > 0.95 * least

    def test_words_lie_within_their_segment(self, demo):
        """As the model tells where its segments begin and end."""
        explainer, (example, *_) = demo
        adapter, seconds = explainer.adapter, example.seconds
        speech = adapter.from_audio(example.audio)
        with torch.no_grad():
            sequence = adapter.force(speech, example.text, {})
        border = example.words[7].end
        first, last = sequence.explained[0], len(sequence.ids)
        words = spoken_words(adapter, sequence, range(len(sequence.explained)))
        cut = sequence.explained[words[8].rows[0]]
        segments = (
            DecodedSegment(0.0, border, first, cut), DecodedSegment(border, seconds, cut, last),
        )  # fmt: skip
        window = CheckedWindow(10.0, speech, sequence, segments)
        rule, misfit = choose_rule(shipped_rules(), adapter, "mean", 1)
        checker = Checker(adapter, 1, "mean", rule, misfit, 4)
        before, behind = checker.segments(window)
        assert [word.word for word in before] == [w.label for w in example.words[:8]]
        assert before[0].start == pytest.approx(10.0)
        assert before[-1].end == pytest.approx(10.0 + border, abs=0.02)
        assert behind[0].start == pytest.approx(10.0 + border, abs=0.02)
        assert behind[-1].end == pytest.approx(10.0 + seconds, abs=0.02)

    def test_punctuation_stays_with_its_word(self, demo):
        explainer, examples = demo
        example = next(e for e in examples if "(" in e.text)
        written = [w.written for w in explainer.check(example.path, target=example.text).words]
        assert written == [f" {word}" for word in example.text.split()]

    def test_times_know_of_pauses(self, demo):
        """One pass leaves an even pace; windows find the words around a pause of 2 s."""
        explainer, examples = demo

        def error(passes):
            found = []
            for example in examples[:4]:
                first = len(example.words) // 2
                place = round(example.words[first].start * RATE)
                pause = np.zeros(2 * RATE, dtype=np.float32)
                audio = np.concatenate([example.audio[:place], pause, example.audio[place:]])
                words = explainer.check(audio, target=example.text, passes=passes).words
                for number, (word, own) in enumerate(zip(words, example.words, strict=True)):
                    middle = (own.start + own.end) / 2 + (2.0 if number >= first else 0.0)
                    found.append(abs((word.start + word.end) / 2 - middle))
            return np.median(found)

        assert error(12) < 0.75 * error(1)

    @pytest.mark.parametrize("passes", [1, 4, 12])
    def test_evidence_grows_with_the_passes(self, demo, passes):
        """The largest of more divergences cannot be smaller."""
        explainer, (example, *_) = demo
        few = explainer.check(example.path, passes=passes)
        many = explainer.check(example.path, passes=40)
        for one, other in zip(few.words, many.words, strict=True):
            assert 0 <= one.evidence <= other.evidence + 1e-5

    @pytest.mark.parametrize("size", [1, 7, 100])
    def test_the_batch_does_not_matter(self, demo, size):
        explainer, (example, *_) = demo
        one = explainer.check(example.path, perturbations_per_eval=4).words
        other = explainer.check(example.path, perturbations_per_eval=size).words
        assert [w.heard for w in one] == [w.heard for w in other]
        for field in ("evidence", "probability", "start", "end"):
            np.testing.assert_allclose(
                [getattr(w, field) for w in one], [getattr(w, field) for w in other],
                rtol=1e-3, atol=1e-4,
            )  # fmt: skip

    @pytest.mark.parametrize("seconds", [1, 2, 3])
    def test_silence(self, demo, seconds):
        """The model writes a sentence, and removing nothing removes nothing."""
        explainer, _ = demo
        report = explainer.check(np.zeros(seconds * RATE, dtype=np.float32))
        assert report.words
        assert not any(word.heard for word in report.words)
        assert max(word.evidence for word in report.words) < 0.01
        assert report.seconds == seconds

    def test_probabilities_are_those_of_an_explanation(self, demo):
        explainer, (example, *_) = demo
        result = explainer.attribute(
            example.path, n_samples=10, n_token_samples=0, patches_per_second=20, seed=0
        )
        spoken = [word for word in result.words if any(map(str.isalnum, word.word))]
        checked = explainer.check(example.path, passes=1).words
        for word, own in zip(checked, spoken, strict=True):
            tokens = result.probabilities[list(own.token_indices)]
            assert word.word == own.word
            assert word.probability == pytest.approx(float(tokens.log().mean().exp()), rel=1e-4)


class TestInputs:
    def test_features_and_ids(self, demo):
        explainer, (example, *_) = demo
        adapter = explainer.adapter
        speech = adapter.from_audio(example.audio)
        report = explainer.check(example.audio)
        of_features = explainer.check(speech.features)
        assert [w.word for w in of_features.words] == [w.word for w in report.words]
        ids = explainer.transcribe(example.audio).windows[0].sequence.explained_ids
        of_ids = explainer.check(example.path, target=ids)
        assert [w.heard for w in of_ids.words] == [w.heard for w in report.words]

    @pytest.mark.parametrize("passes", [0, -1, 41, True, 1.5, "12", None])
    def test_passes(self, tiny, audio, passes):
        with pytest.raises(ArgumentError, match="passes must be"):
            tiny.check(audio, passes=passes)

    def test_other_arguments(self, tiny, audio):
        with pytest.raises(ArgumentTypeError, match="baselines must be the name"):
            tiny.check(audio, baselines=0.0)
        with pytest.raises(ArgumentError, match="baseline 'zero'"):
            tiny.check("no_such_file.wav", baselines="zero")  # told before anything is read
        with pytest.raises(ArgumentError, match="perturbations_per_eval must be"):
            tiny.check(audio, perturbations_per_eval=0)
        with pytest.raises(ArgumentTypeError, match="on_words must be a function"):
            tiny.check(audio, on_words="print")
        with pytest.raises(ArgumentTypeError, match="rules must be a sequence of VerdictRule"):
            tiny.check(audio, rules=["a rule"])
        with pytest.raises(ArgumentError, match="no verdict rule"):
            tiny.check(audio, rules=[])
        with pytest.raises(ArgumentError, match="chunk_seconds has no effect"):
            tiny.check(audio, target="the cat", chunk_seconds=-5)
        with pytest.raises(ArgumentError, match="empty text"):
            tiny.check(audio, target=" ")
        with pytest.raises(FileNotFoundError):
            tiny.check("no such file.wav")

    def test_a_text_for_a_recording_that_is_too_long(self, tiny):
        with pytest.raises(ArgumentError, match="at most 2"):
            tiny.check(np.ones(3 * RATE, dtype=np.float32) * 0.1, target="the cat")

    def test_the_model_is_left_as_it_was(self, tiny, audio):
        def stop(words):
            raise RuntimeError("no more")

        model = tiny.attr_method.forward_func.train()
        state = torch.get_rng_state()
        tiny.check(audio, seed=0)
        with pytest.raises(RuntimeError, match="no more"):
            tiny.check(audio, on_words=stop, seed=0)
        assert model.training
        assert all(module.training for module in model.modules())
        assert torch.equal(torch.get_rng_state(), state)


class TestLongRecordings:
    @pytest.fixture
    def long_audio(self):
        rng = np.random.default_rng(1)
        time = np.arange(int(7.3 * RATE)) / RATE
        tones = np.sin(2 * np.pi * (300 + 250 * time) * time) * (np.sin(9 * time) > -0.3)
        return (0.3 * tones + 0.02 * rng.standard_normal(len(time))).astype(np.float32)

    @pytest.mark.parametrize("family", ["tiny_whisper", "tiny_canary"])
    def test_every_word_of_the_transcript(self, request, long_audio, family):
        model, processor = request.getfixturevalue(family)
        explainer = SpeechToTextAttribution(SPES(model), processor)
        chunks = {} if family == "tiny_whisper" else {"chunk_seconds": 2.0}
        transcript = explainer.transcribe(long_audio, seed=0, **chunks)
        seen = []
        report = explainer.check(long_audio, passes=4, seed=0, on_words=seen.append, **chunks)
        assert len(transcript.windows) > 2
        assert [w.word for w in report.words] == [w.word for w in transcript.words]
        assert report.words  # they are not both empty
        # Words come as windows finish.
        assert len(seen) > 1
        assert [word for words in seen for word in words] == report.words
        assert all(0 <= w.start <= w.end <= report.seconds + 1e-6 for w in report.words)
        for word, of_transcript in zip(report.words, transcript.words, strict=True):
            window = transcript.windows[of_transcript.window]
            assert window.start - 1e-6 <= word.start <= word.end <= window.end + 0.02

    @pytest.mark.parametrize("chunk_seconds", [1.0, 2.0, 3.0, 4.0])
    def test_chunks_overlap_and_words_do_not(self, demo, chunk_seconds, tmp_path):
        """Each chunk is checked by itself; every format takes the times of the whole."""
        explainer, examples = demo
        together = np.concatenate([example.audio for example in examples[:3]])
        report = explainer.check(together, chunk_seconds=chunk_seconds, passes=4)
        transcript = explainer.transcribe(together, chunk_seconds=chunk_seconds)
        assert [w.word for w in report.words] == [w.word for w in transcript.words]
        assert report.seconds == pytest.approx(len(together) / RATE)
        last = 0.0
        for word in report.words:
            assert last - 1e-9 <= word.start <= word.end <= report.seconds + 0.02
            last = word.end
        for name in ("a.json", "a.csv", "a.TextGrid", "a.srt", "a.vtt"):
            report.save(tmp_path / name)
        grid = textgrid.openTextgrid(str(tmp_path / "a.TextGrid"), includeEmptyIntervals=False)
        labels = [entry.label for entry in grid.getTier("words").entries]
        assert labels == [word.word for word in report.words]

    def test_the_text_is_that_of_the_transcript(self, demo):
        explainer, examples = demo
        together = np.concatenate([example.audio for example in examples[:3]])
        for chunks in ({}, {"chunk_seconds": 4.0}):
            report = explainer.check(together, passes=1, **chunks)
            assert report.text == explainer.transcribe(together, **chunks).text


def model_of(family, n_parameters):
    """What a rule is chosen for."""
    parameters = [SimpleNamespace(numel=lambda: n_parameters)]
    config = SimpleNamespace(model_type=family)
    return SimpleNamespace(model=SimpleNamespace(config=config, parameters=lambda: parameters))


class TestRules:
    def test_the_one_that_fits_is_chosen(self):
        rule = replace(shipped_rules()[0], family="whisper", n_parameters=40_000_000)
        rules = [
            replace(rule, baselines=baselines, passes=passes, n_parameters=size)
            for size in (1_500_000_000, 40_000_000)
            for baselines in ("mean", "silence")
            for passes in (1, 12)
        ]
        tiny, large = model_of("whisper", 39_000_000), model_of("whisper", 800_000_000)
        chosen, misfit = choose_rule(rules, tiny, "silence", 12)
        assert (chosen.baselines, chosen.passes, misfit) == ("silence", 12, None)
        assert choose_rule(rules, large, "mean", 12)[0].n_parameters == 1_500_000_000
        chosen, misfit = choose_rule(rules, tiny, "mean", 8)
        assert (chosen.passes, misfit) == (12, "passes 8 instead of 12")
        chosen, misfit = choose_rule(rules, model_of("moonshine", 0), "mean", 1)
        assert chosen.passes == 1
        assert misfit == "models of type 'moonshine' instead of 'whisper'"
        misfit = choose_rule(rules[4:], large, "mean", 12)[1]
        assert misfit == "800 million parameters instead of 40"

    def test_another_family_is_told(self, tiny_speech2text, audio):
        model, processor = tiny_speech2text
        explainer = SpeechToTextAttribution(SPES(model), processor)
        with pytest.warns(UserWarning, match="not calibrated for this check: models of type"):
            report = explainer.check(audio)
        assert "speech_to_text" in report.misfit

    def test_shipped_rules(self):
        rules = shipped_rules()
        assert {rule.family for rule in rules} == {"whisper", "canary"}
        assert len({str(rule.weights) for rule in rules}) == len(rules)
        for family in ("whisper", "canary"):
            own = {(r.baselines, r.passes): r for r in rules if r.family == family}
            assert {passes for _, passes in own} == {1, 4, 12, 40}
            for rule in own.values():
                assert rule.not_heard_below <= rule.heard_from
                assert min(rule.n_words) >= 60
                assert rule.error_rates["accused"] < 0.06
                assert rule.error_rates["missed"] < 0.1
                assert set(rule.missed_by_kind) <= {
                    "cut",
                    "silenced",
                    "cut out",
                    "swapped",
                    "noise",
                }
                for name, weight in rule.weights.items():
                    assert weight >= 0 or name.startswith("least")

    def test_more_evidence_never_speaks_against_a_word(self):
        for rule in shipped_rules():
            measures = np.zeros((5, len(rule.weights)))
            measures[:, list(rule.weights).index("largest_divergence")] = [-6.9, -1, 0, 1, 3]
            scores = rule.scores(measures)
            assert (np.diff(scores) >= 0).all()

    def test_three_verdicts(self):
        rule = shipped_rules()[0]
        weights = dict.fromkeys(rule.weights, 0.0) | {"confidence": 1.0}
        own = replace(rule, weights=weights, bias=1.0, not_heard_below=2.0, heard_from=3.0)
        measures = np.zeros((4, len(weights)))
        measures[:, 0] = [0.9, 1.0, 1.9, 2.0]
        assert own.verdicts(measures) == [False, None, None, True]


class TestFiles:
    def test_json(self, report, tmp_path):
        report.save(tmp_path / "a.json")
        saved = json.loads((tmp_path / "a.json").read_text())
        assert saved["words"][1] == {
            "word": "not", "start": 0.5, "end": 1.25, "evidence": 0.001, "probability": 0.125,
            "heard": False, "written": " not,",
        }  # fmt: skip
        assert saved["share_not_heard"] == 0.25
        assert saved["text"] == "Ask not, (=what country)."
        assert saved["passes"] == 12
        assert saved["rule"]["family"] == report.rule.family

    def test_csv_and_table(self, report, tmp_path):
        report.save(str(tmp_path / "a.csv"))
        with (tmp_path / "a.csv").open() as file:
            rows = list(csv.DictReader(file))
        table = report.table()
        assert list(rows[0]) == table.columns.tolist()
        assert [row["heard"] for row in rows] == ["True", "False", "", "True"]
        assert table["heard"].tolist() == [True, False, None, True]
        assert rows[2]["word"] == "'=what"  # a spreadsheet would run it
        assert table["evidence"].tolist() == [3.0, 0.001, 0.2, 5.0]

    def test_textgrid(self, report, tmp_path):
        report.save(tmp_path / "a.TextGrid")
        grid = textgrid.openTextgrid(str(tmp_path / "a.TextGrid"), includeEmptyIntervals=False)
        assert grid.tierNames == ("words", "evidence", "verdict")
        assert grid.maxTimestamp == 4.0
        assert [e.label for e in grid.getTier("verdict").entries] == [
            "heard", "not heard", "cannot tell", "heard",
        ]  # fmt: skip
        assert grid.getTier("words").entries[3][:2] == (2.5, 3.0)
        assert float(grid.getTier("evidence").entries[0].label) == 3.0

    @pytest.mark.parametrize("kind", ["srt", "vtt"])
    def test_subtitles_mark_doubtful_words(self, report, tmp_path, kind):
        report.save(tmp_path / f"a.{kind}")
        file = pysubs2.load(str(tmp_path / f"a.{kind}"))
        assert [event.plaintext for event in file] == ["Ask [not],", "([=what?] country)."]
        assert [(event.start, event.end) for event in file] == [(0, 1250), (2000, 3000)]

    @pytest.mark.parametrize("kind", ["srt", "vtt"])
    def test_no_word_is_lost_in_subtitles(self, report, tmp_path, kind):
        """Players of some formats read braces, backslashes and markup as commands."""
        texts = ["{foo}", "<b>", "a&b", r"\Nbar", "-->"]
        words = [
            WordEvidence(text, i, i + 1, 1.0, 0.9, True, f" {text}") for i, text in enumerate(texts)
        ]
        odd = replace(report, words=words, segments=[(0, 5)], seconds=5.0)
        odd.save(tmp_path / f"a.{kind}")
        written = (tmp_path / f"a.{kind}").read_text()
        shown = (
            "(foo) <b> a&b /Nbar -->" if kind == "srt" else "(foo) &lt;b&gt; a&amp;b /Nbar --&gt;"
        )
        assert shown in written.splitlines()

    def test_words_without_duration(self, report, tmp_path):
        """All words of a text are in every file, however short."""
        words = [WordEvidence(w, 1.0, 1.0, 0.0, 0.9, False, f" {w}") for w in ("a", "b", "c")]
        short = replace(report, words=words, segments=[(0, 3)], seconds=1.0)
        for name in ("a.TextGrid", "a.srt"):
            short.save(tmp_path / name)
        grid = textgrid.openTextgrid(str(tmp_path / "a.TextGrid"), includeEmptyIntervals=False)
        assert [entry.label for entry in grid.getTier("words").entries] == ["a", "b", "c"]
        (cue,) = pysubs2.load(str(tmp_path / "a.srt"))
        assert cue.end > cue.start

    def test_subtitles_are_short(self, report, tmp_path):
        words = [
            WordEvidence(f"word{i}", 0.2 * i, 0.2 * i + 0.2, 1.0, 0.9, True, f" word{i}")
            for i in range(100)
        ]
        long = replace(report, words=words, segments=[(0, 100)], seconds=20.0)
        long.save(tmp_path / "a.srt")
        file = pysubs2.load(str(tmp_path / "a.srt"))
        assert " ".join(event.plaintext for event in file) == long.text
        for event in file:
            assert len(event.plaintext) <= 84
            assert event.end - event.start <= 7001

    def test_nothing_was_written(self, report, tmp_path):
        empty = replace(report, words=[], segments=[])
        for name in ("a.json", "a.csv", "a.TextGrid", "a.srt", "a.vtt"):
            empty.save(tmp_path / name)
            assert (tmp_path / name).exists()
        assert empty.share_not_heard == 0.0
        assert empty.table().shape == (0, 6)

    def test_names(self, report, tmp_path):
        with pytest.raises(ArgumentError, match=r"must end in one of \.json, .*'a\.docx'"):
            report.save(tmp_path / "a.docx")
        with pytest.raises(FileNotFoundError, match="no such folder"):
            report.save(tmp_path / "no" / "a.json")
        for path in (None, 3, b"a.json", ["a.json"]):
            with pytest.raises(ArgumentTypeError, match="path must be a path"):
                report.save(path)
