"""Recordings of any length: windows as the model decodes them, explained one by one."""

import random
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import WhisperForConditionalGeneration

from captum_spes import SPES, Settings, SpeechToTextAttribution
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.speech.models import SpeechInput, TargetSequence
from captum_spes.speech.models.whisper import WhisperModel
from captum_spes.speech.models.whisper_windows import mean_log_probability, split
from captum_spes.speech.timing import token_times
from captum_spes.speech.transcript import Segment, Transcript, TranscriptWord

RATE = 16_000
QUICK = Settings.paper(n_samples=24, n_token_samples=24, patches_per_second=40)


@pytest.fixture
def long_audio():
    """7.3 s, in which no two seconds are alike."""
    rng = np.random.default_rng(1)
    time = np.arange(int(7.3 * RATE)) / RATE
    tones = np.sin(2 * np.pi * (300 + 250 * time) * time) * (np.sin(9 * time) > -0.3)
    return (0.3 * tones + 0.02 * rng.standard_normal(len(time))).astype(np.float32)


def explainer_of(model):
    network, processor = model
    return SpeechToTextAttribution(SPES(network), processor)


def count_passes(network):
    """Counts the examples that the encoder encodes."""
    counted = []
    handle = network.get_encoder().register_forward_hook(
        lambda module, args, kwargs, output: counted.append(len(output[0])), with_kwargs=True
    )
    return counted, handle


# Whisper's decoding, beside that of transformers ----------------------------------------


class OfFeatures(WhisperModel):
    """Takes windows out of one long spectrogram, as transformers does; the samples of the audio are
    their own numbers."""

    long_features: torch.Tensor

    def from_audio(self, audio):
        hop = self.feature_extractor.hop_length
        first, n_frames = int(audio[0]) // hop, -(-len(audio) // hop)
        cut = self.long_features[:, first : first + n_frames]
        features = torch.nn.functional.pad(cut, (0, self._n_frames - cut.shape[1]))[None]
        times = torch.arange(n_frames) / self.frame_rate
        return SpeechInput(features, cut.T.contiguous(), times, torch.ones(80), n_frames / 100)


class TestWhisperLongForm:
    @pytest.fixture
    def features(self):
        torch.manual_seed(0)
        return torch.randn(80, 730)

    @pytest.fixture
    def adapter(self, tiny_whisper, features):
        network, processor = tiny_whisper
        network.generation_config.prev_sot_token_id = 255
        # As in all that is published; of smaller ones transformers adds one token to each window.
        network.generation_config.max_length = network.config.max_target_positions
        adapter = OfFeatures(network, processor)
        adapter.long_features = features
        return adapter

    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize(
        "gen_args",
        [
            {},
            {"condition_on_prev_tokens": True},
            {"prompt_ids": torch.tensor([255, 65, 66])},
            {"prompt_ids": torch.tensor([255, 65, 66]), "condition_on_prev_tokens": True},
            {
                "prompt_ids": torch.tensor([255, 65, 66]),
                "condition_on_prev_tokens": True,
                "prompt_condition_type": "all-segments",
            },
            {"num_beams": 2},
            {"logprob_threshold": -3.0, "no_speech_threshold": 0.002},
            {"logprob_threshold": -3.0, "temperature": (0.0,)},
            {"num_beams": 2, "logprob_threshold": -1.5, "no_speech_threshold": 0.002},
        ],
        ids=str,
    )
    def test_it_writes_what_transformers_writes(self, adapter, features, gen_args, seed):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            for parameter in adapter.model.parameters():
                torch.nn.init.normal_(parameter, std=0.4)
        expected = adapter.model.generate(
            features[None],
            return_timestamps=True,
            return_segments=True,
            **{"temperature": 0.0, **gen_args},
        )["segments"][0]
        audio = np.arange(features.shape[1] * 160, dtype=np.float64)
        found = list(adapter.decode_windows(audio, gen_args))
        written = [
            window.sequence.ids[segment.first : segment.last].tolist()
            for window in found
            for segment in window.segments
        ]
        # Transformers keeps the second of two times at a window's end.
        wanted = [s["tokens"].tolist() for s in expected]
        wanted = [ids[:-1] if len(ids) > 1 and min(ids[-2:]) >= 259 else ids for ids in wanted]
        assert written == wanted
        starts = [w.start / RATE + s.start for w in found for s in w.segments]
        # Times behind the end of the recording are the end for us.
        assert starts == pytest.approx([min(7.3, float(s["start"])) for s in expected], abs=1e-6)

    def test_a_bad_output_is_tried_again_at_the_next_temperature(self, adapter, features):
        tried = []
        generate = WhisperForConditionalGeneration.generate

        def counted(model, *args, **kwargs):
            tried.append(kwargs["temperature"])
            return generate(model, *args, **kwargs)

        audio = np.arange(200 * 160, dtype=np.float64)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(WhisperForConditionalGeneration, "generate", counted)
            list(adapter.decode_windows(audio, {"temperature": (0.0, 0.2, 0.4),
                                                "logprob_threshold": 0.0}))  # fmt: skip
            assert tried[:3] == [0.0, 0.2, 0.4]
            tried.clear()
            list(adapter.decode_windows(audio, {"temperature": (0.0, 0.2, 0.4),
                                                "logprob_threshold": -1e9}))  # fmt: skip
            assert set(tried) == {0.0}
            tried.clear()
            list(adapter.decode_windows(audio, {"temperature": (0.0, 0.2),
                                                "compression_ratio_threshold": 0.01}))  # fmt: skip
            assert tried[:2] == [0.0, 0.2]

    @pytest.mark.parametrize(("temperature", "is_told"), [(0.2, True), (0.6, False)])
    def test_what_was_written_at_a_high_temperature_is_no_prompt(
        self, adapter, temperature, is_told
    ):
        prompts = []
        generate = WhisperForConditionalGeneration.generate

        def noted(model, *args, **kwargs):
            prompts.append(kwargs.get("prompt_ids"))
            return generate(model, *args, **kwargs)

        audio = np.arange(600 * 160, dtype=np.float64)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(WhisperForConditionalGeneration, "generate", noted)
            gen_args = {"temperature": (temperature,), "condition_on_prev_tokens": True}
            windows = list(adapter.decode_windows(audio, gen_args))
        assert len(windows) > 1
        assert prompts[0] is None
        assert [prompt is not None for prompt in prompts[1:]] == [is_told] * (len(windows) - 1)

    def test_the_probability_of_an_output_is_that_at_temperature_1(self):
        logits = torch.randn(3, 1, 7)
        ids = [4, 0, 6]
        expected = logits[:, 0].log_softmax(-1)[range(3), ids].mean()
        for temperature in (0.0, 0.4, 1.0):
            scores = list(logits / (temperature or 1.0))
            found = mean_log_probability(scores, ids, temperature)
            assert found == pytest.approx(float(expected), abs=1e-6)


class TestSplitting:
    def test_words_added_behind_the_times_are_words(self):
        added = 100 + 1501
        segments, used = split([100, added, added, 120, 120, added, 150], 100, 2.0)
        assert [(s.first, s.last) for s in segments] == [(0, 4), (4, 7)]
        assert used is None

    def test_pairs_of_times_end_segments(self):
        first = 100
        ids = [100, 1, 2, 120, 120, 3, 150, 150, 4, 5]
        segments, used = split(ids, first, 2.0)
        assert [(s.first, s.last) for s in segments] == [(0, 4), (4, 7)]
        assert [s.start for s in segments] == pytest.approx([0, 0.4])
        assert [s.end for s in segments] == pytest.approx([0.4, 1.0])
        assert used == pytest.approx(1.0)

    def test_a_single_time_at_the_end_means_that_nobody_speaks_after_it(self):
        segments, used = split([100, 1, 2, 120, 120, 3, 150], 100, 2.0)
        assert [(s.first, s.last) for s in segments] == [(0, 4), (4, 7)]
        assert used is None

    def test_without_pairs_all_is_one_segment(self):
        assert split([100, 1, 2, 150], 100, 2.0)[0][0].end == pytest.approx(1.0)
        assert split([100, 1, 2], 100, 1.5)[0][0].end == 1.5
        assert split([], 100, 1.5) == ([], None)

    def test_windows_go_on_whatever_is_written(self):
        rng = random.Random(0)
        for _ in range(2000):
            ids = [rng.choice([1, 2, 3, *range(100, 110)]) for _ in range(rng.randrange(12))]
            segments, used = split(ids, 100, 2.0)
            assert used is None or used > 0
            spans = [(s.first, s.last) for s in segments]
            assert all(a < b for a, b in spans)
            assert all(a[1] == b[0] for a, b in pairwise(spans))


# Chunks ---------------------------------------------------------------------------------


class Hears:
    """A model that takes 6 s and writes a token for every half second of its audio, whose samples
    say which one; at the edges, where it hears half of it, it writes something else."""

    model_id, sampling_rate, frame_rate, max_seconds = "hears", 100, 10.0, 6.0
    device = torch.device("cpu")

    def __init__(self, unsure_edges=True):
        self.unsure_edges, self.heard = unsure_edges, []

    def from_audio(self, audio):
        self.heard.append(len(audio) / self.sampling_rate)
        features = torch.from_numpy(np.asarray(audio, np.float32))[None]
        n = len(audio) // 10
        return SpeechInput(features, torch.zeros(n, 1), torch.arange(n) / 10, torch.ones(1), n / 10)

    def generate(self, speech, gen_args):
        ids, counts = np.unique(speech.features.numpy().round(), return_counts=True)
        written = [int(i) if c == 50 or not self.unsure_edges else 900 for i, c in
                   zip(ids, counts, strict=True)]  # fmt: skip
        sequence = [0, *written, 1]
        return TargetSequence(torch.tensor(sequence), tuple(range(1, len(sequence))))

    def spelled(self, ids):
        return [(f" w{int(i)}", [n]) for n, i in enumerate(ids) if int(i) > 1]

    def text(self, ids):
        return "".join(text for text, _ in self.spelled(ids)).strip()

    def evaluation_mode(self):
        from contextlib import nullcontext

        return nullcontext()

    def __getattr__(self, name):
        if name in ("decode_windows", "alignment", "remembered_states"):
            raise AttributeError(name)
        return lambda *args, **kwargs: None


class TestChunks:
    def transcribed(self, adapter, seconds, **arguments):
        audio = 2.0 + np.repeat(np.arange(round(seconds * 2)), 50)[: round(seconds * 100)]
        audio = audio.astype(np.float32)
        explainer = SpeechToTextAttribution(SPES(lambda x: x), None, adapter=adapter)
        with pytest.MonkeyPatch.context() as patch:  # the numbers are no amplitudes
            patch.setattr("captum_spes.io.audio._MOST_AMPLITUDE", np.inf)
            return explainer.transcribe(audio, 100, **arguments)

    @pytest.mark.parametrize("seconds", [5.5, 6.0, 6.25, 7.0, 20.0, 23.37, 60.0])
    def test_every_word_is_there_once(self, seconds):
        transcript = self.transcribed(Hears(), seconds)
        whole = [f"w{i}" for i in range(2, 2 + int(seconds * 2))]
        words = [word.word for word in transcript.words if word.word != "w900"]
        assert words == whole
        # Only what is cut by the recording's own end is unsure.
        assert len(transcript.words) - len(words) <= 1

    def test_windows_overlap_and_cover_all(self):
        transcript = self.transcribed(Hears(), 20.0)
        windows = transcript.windows
        assert windows[0].start == 0
        assert windows[-1].end == 20.0
        for before, after in pairwise(windows):
            assert before.end - after.start >= 2 * 1.0 - 0.01  # a sixth of 6 s on either side
            assert before.end - before.start <= 6.0
        ends = [s.end for s in transcript.segments[:-1]]
        assert ends == pytest.approx([s.start for s in transcript.segments[1:]])

    def test_each_word_belongs_to_the_window_that_it_was_written_from(self):
        transcript = self.transcribed(Hears(), 20.0)
        for word in transcript.words:
            window = transcript.windows[word.window]
            (row,) = word.token_indices
            assert row in window.kept
            assert f"w{int(window.sequence.explained_ids[row])}" == word.word
            time = (int(word.word[1:]) - 2) / 2
            assert window.start <= time < window.end
            # Of the 2 s that two windows share, each gives what is farther from its border.
            assert window.start == 0 or time > window.start + 0.5
            assert window.end == 20.0 or time < window.end - 0.5

    def test_without_common_words_nothing_is_lost(self):
        class Deaf(Hears):
            def generate(self, speech, gen_args):
                ids = torch.tensor([0, 10 + len(self.heard), 1])
                return TargetSequence(ids, (1, 2))

        transcript = self.transcribed(Deaf(), 20.0)
        assert [w.word for w in transcript.words] == [
            f"w{11 + i}" for i in range(len(transcript.windows))
        ]

    def test_their_length_can_be_chosen(self):
        transcript = self.transcribed(Hears(), 20.0, chunk_seconds=3.0)
        assert {round(w.end - w.start, 2) for w in transcript.windows} == {3.0}
        assert [w.word for w in transcript.words] == [f"w{i}" for i in range(2, 42)]
        for wrong in (0.05, 7.0, float("nan"), True, "3"):
            with pytest.raises((ArgumentError, ArgumentTypeError), match="chunk_seconds"):
                self.transcribed(Hears(), 20.0, chunk_seconds=wrong)


# Every family ---------------------------------------------------------------------------


class TestEveryFamily:
    def test_a_short_recording_is_written_as_attribute_writes_it(self, tiny_model, audio):
        explainer = explainer_of(tiny_model)
        transcript = explainer.transcribe(audio, seed=0)
        result = explainer.attribute(audio, settings=QUICK, seed=0)
        assert transcript.text == result.text
        (window,) = transcript.windows
        assert (window.start, window.end) == (0.0, 0.6)
        assert window.kept == tuple(range(len(result.output_tokens)))
        (again,) = explainer.attribute_parts(audio, settings=QUICK, seed=0)
        assert torch.equal(again.spectrogram_attr, result.spectrogram_attr)
        assert torch.equal(again.frame_times, result.frame_times)

    def test_a_part_is_the_window_cut_out_by_hand(self, tiny_model, long_audio):
        explainer = explainer_of(tiny_model)
        results = explainer.attribute_parts(long_audio, settings=QUICK, seed=3)
        assert len(results) > 1
        for result in results:
            window = result.parameters["window"]
            first, last = (round(window[name] * RATE) for name in ("start", "end"))
            by_hand = explainer.attribute(
                long_audio[first:last], settings=result.settings, seed=result.seed
            )
            assert torch.equal(by_hand.spectrogram_attr, result.spectrogram_attr)
            assert torch.equal(by_hand.token_attr.nan_to_num(9), result.token_attr.nan_to_num(9))
            assert by_hand.output_tokens == result.output_tokens
            assert by_hand.previous_tokens == result.previous_tokens
            shift = result.frame_times - by_hand.frame_times
            assert torch.allclose(shift, torch.full_like(shift, window["start"]), atol=1e-5)

    def test_words_lie_in_their_windows_and_in_order(self, tiny_model, long_audio):
        transcript = explainer_of(tiny_model).transcribe(long_audio)
        assert transcript.seconds == pytest.approx(7.3)
        for word in transcript.words:
            window = transcript.windows[word.window]
            assert window.start <= word.start <= word.end <= window.end + 1e-6
        starts = [window.start for window in transcript.windows]
        assert starts == sorted(starts)
        for segment in transcript.segments:
            assert 0 <= segment.start <= segment.end <= 7.3 + 1e-6

    def test_only_windows_with_what_is_asked_for_cost_samples(self, tiny_model, long_audio):
        network, _ = tiny_model
        explainer = explainer_of(tiny_model)
        transcript = explainer.transcribe(long_audio)
        window = transcript.windows[-1]
        counted, handle = count_passes(network)
        results = explainer.attribute_parts(
            long_audio, at=(window.end - 0.4, window.end), transcript=transcript,
            settings=QUICK, seed=0,
        )  # fmt: skip
        handle.remove()
        assert len(results) <= 2
        assert sum(counted) <= len(results) * (QUICK.n_samples + 4)

    def test_results_arrive_one_by_one_and_are_kept_when_it_stops(self, tiny_model, long_audio):
        explainer = explainer_of(tiny_model)
        arrived = []

        def stop_at_the_second(result):
            arrived.append(result)
            if len(arrived) == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            explainer.attribute_parts(
                long_audio, settings=QUICK, seed=0, on_result=stop_at_the_second
            )
        assert len(arrived) == 2
        arrived.clear()
        kept = explainer.attribute_parts(
            long_audio, settings=QUICK, seed=0, on_result=stop_at_the_second, return_partial=True
        )
        assert len(kept) == 2

    def test_saved_and_loaded_it_runs_again(self, tiny_model, long_audio, tmp_path):
        explainer = explainer_of(tiny_model)
        result = explainer.attribute_parts(long_audio, settings=QUICK, seed=3)[-1]
        result.save(tmp_path / "part.npz")
        loaded = type(result).load(tmp_path / "part.npz")
        assert loaded.parameters["window"] == result.parameters["window"]
        first, last = (round(loaded.parameters["window"][n] * RATE) for n in ("start", "end"))
        again = explainer.attribute(
            long_audio[first:last], settings=loaded.settings, seed=loaded.seed
        )
        assert torch.equal(again.spectrogram_attr, result.spectrogram_attr)

    def test_a_transcript_of_another_recording_is_told(self, tiny_model, long_audio, audio):
        explainer = explainer_of(tiny_model)
        transcript = explainer.transcribe(audio)
        with pytest.raises(ArgumentError, match=r"of another recording: it lasts 0\.60 s"):
            explainer.attribute_parts(long_audio, transcript=transcript, settings=QUICK)

    @pytest.mark.parametrize("asked", [{"words": []}, {"at": []}, {"words": (), "at": 1.0}])
    def test_nothing_asked_for_is_told(self, tiny_whisper, audio, asked):
        with pytest.raises(ArgumentError, match="is empty: leave it out"):
            explainer_of(tiny_whisper).attribute_parts(audio, settings=QUICK, **asked)

    def test_a_callback_is_checked_before_the_model_runs(self, tiny_whisper, audio):
        counted, handle = count_passes(tiny_whisper[0])
        with pytest.raises(ArgumentTypeError, match="on_result must be a function"):
            explainer_of(tiny_whisper).attribute_parts(audio, settings=QUICK, on_result="save")
        handle.remove()
        assert not counted

    def test_silence_is_explained_and_nothing_in_it_matters(self, tiny_model):
        for samples in (np.zeros(RATE, np.float32), np.zeros(RATE, np.int16)):
            result = explainer_of(tiny_model).attribute(samples, settings=QUICK, seed=0)
            assert result.spectrogram_attr.abs().max() < 1e-6
            assert torch.isfinite(result.spectrogram_attr).all()

    def test_too_much_at_once_names_the_way(self, tiny_model, long_audio):
        with pytest.raises(
            ArgumentError, match=r"lasts 7\.3 s .*window by window \(attribute_parts"
        ):
            explainer_of(tiny_model).attribute(long_audio, settings=QUICK)


class TestAsking:
    @pytest.fixture
    def explainer(self):
        class Writes(Hears):
            texts = (" Budget,", " the", " new", " 'BUDGET'", " is", " réel", ".")

            def spelled(self, ids):
                return [(self.texts[int(i) % 7], [n]) for n, i in enumerate(ids) if int(i) > 1]

        adapter = Writes()
        return SimpleNamespace(transcript=TestChunks().transcribed(adapter, 14.0), adapter=adapter)

    def test_words_are_found_whatever_their_case_and_punctuation(self, explainer):
        found = explainer.transcript.find("budget")
        assert {occurrence[0].word for occurrence in found} == {"Budget,", "'BUDGET'"}
        assert len(found) == 8
        assert len(explainer.transcript.find("The NEW budget")) == 3
        assert explainer.transcript.find("re\N{COMBINING ACUTE ACCENT}el")

    @pytest.mark.parametrize(
        ("written", "phrase", "found"),
        [
            (["今", "天", "天气", "很", "好"], "今天", [["今", "天"]]),
            (["今", "天", "天气", "很", "好"], "天气很", [["天气", "很"]]),
            (["我们", "走"], "们", [["我们"]]),
            (["们们", "走"], "们", [["们们"]]),
            (["สวัสดี", "ครับ"], "สวัสดีครับ", [["สวัสดี", "ครับ"]]),
            (["用", "Python", "写"], "python写", [["Python", "写"]]),
            (["it", "s", "fine"], "it's", [["it", "s"]]),
            (["it's"], "it\N{RIGHT SINGLE QUOTATION MARK}s", [["it's"]]),
            (["twenty", "one"], "Twenty-one", [["twenty", "one"]]),
            (["twenty-one"], "twenty one", [["twenty-one"]]),
            (["3.5"], "3,5", [["3.5"]]),
            (["the", "the", "the"], "the the", [["the", "the"], ["the", "the"]]),
            (["don't"], "don", None),
            (["don't"], "t", None),
            (["the", "rapist"], "therapist", None),
        ],
    )
    def test_words_are_found_however_the_model_divided_them(self, written, phrase, found):
        words = tuple(TranscriptWord(word, i, i + 1, 0, (i,)) for i, word in enumerate(written))
        transcript = Transcript("", (Segment(0, len(written), "", words),), (), len(written))
        if found is None:
            with pytest.raises(ArgumentError, match="does not hold"):
                transcript.find(phrase)
            return
        assert [[word.word for word in own] for own in transcript.find(phrase)] == found

    @pytest.mark.parametrize("phrase", [None, 5, b"budget", ["budget"]])
    def test_what_is_no_text_is_not_looked_for(self, explainer, phrase):
        with pytest.raises(ArgumentTypeError, match="must be a text"):
            explainer.transcript.find(phrase)
        with pytest.raises(ArgumentTypeError, match="must be a number"):
            explainer.transcript.between(0, "3")

    def test_what_is_not_there_is_told_with_what_is_near(self, explainer):
        with pytest.raises(ArgumentError, match="does not hold 'buget'; it holds budget"):
            explainer.transcript.find("buget")
        with pytest.raises(ArgumentError, match="no word to find"):
            explainer.transcript.find(" ?! ")
        with pytest.raises(ArgumentError, match=r"from 20 to 21 s; the recording lasts 14\.0 s"):
            explainer.transcript.between(20, 21)

    @pytest.mark.parametrize("at", ["12:34", (5, 2), (-1, 2), float("nan"), (1, 2, 3, "x"), None])
    def test_times_that_are_none(self, tiny_whisper, audio, at):
        words = None if at is not None else [5]
        with pytest.raises((ArgumentError, ArgumentTypeError), match=r"at must|words must"):
            explainer_of(tiny_whisper).attribute_parts(audio, words=words, at=at, settings=QUICK)


# Times of tokens ------------------------------------------------------------------------


class TestTokenTimes:
    def test_a_diagonal_is_found_in_noise(self):
        torch.manual_seed(0)
        spans = [(0, 10), (10, 14), (14, 40), (40, 43), (43, 60)]
        weights = 0.3 * torch.rand(4, 5, 60)
        for token, (first, last) in enumerate(spans):
            weights[:, token, first:last] += 1
        times = token_times(weights, 6.0)
        assert np.abs(times - np.array(spans) / 10).max() <= 0.2

    def test_a_loud_head_does_not_drown_the_others(self):
        torch.manual_seed(0)
        weights = 1e-3 * torch.rand(4, 3, 30)
        for token in range(3):
            weights[:3, token, 10 * token : 10 * token + 10] += 1e-2
        weights[3] = 50 * torch.rand(3, 30)
        assert np.abs(token_times(weights, 3.0)[:, 0] - [0, 1, 2]).max() <= 0.2

    def test_times_are_in_order_and_cover_the_speech(self):
        torch.manual_seed(0)
        for tokens, positions in ((1, 1), (1, 9), (5, 3), (7, 7), (20, 100)):
            times = token_times(torch.rand(2, tokens, positions), 3.0)
            assert times.shape == (tokens, 2)
            assert (times[:, 0] <= times[:, 1]).all()
            assert (times[1:, 0] == times[:-1, 1]).all()
            assert times[0, 0] == 0
            assert times[-1, 1] == pytest.approx(3.0)
