"""What of an explanation is noise, and which places can be believed."""

import pytest
import torch

from captum_spes import SPES, CrossAttention, Settings, SpeechToTextAttribution, Word
from captum_spes.demo import load_demo
from captum_spes.report import explanation_text, summarize_tokens
from captum_spes.speech.noise import (
    MOSTLY_NOISE,
    believable_region,
    needed_samples,
    reliability_of,
    rests_on_audio,
    token_reliabilities,
    word_reliabilities,
)
from captum_spes.speech.regions import has_frequency, strongest_region
from tests.speech.test_result import make

pytestmark = pytest.mark.filterwarnings("ignore:.*sampling noise")


def reliable(tokens, of_words=(0.9, 0.9), **changes):
    """A small result that says how much of its maps is noise."""
    found = {
        "tokens": list(tokens), "words": list(of_words), "previous_tokens": None,
        "sentence": 0.6, "standard_error": [0.1] * len(tokens),
    }  # fmt: skip
    parameters = {
        "reliability": found, "n_samples_evaluated": 100, "n_token_samples_evaluated": None
    }  # fmt: skip
    return make(parameters=parameters, **changes)


class TestReliability:
    def test_of_tokens_and_words_as_the_result_has_it(self):
        result = reliable([0.2, float("nan"), 0.7], [0.4, 0.8])
        assert token_reliabilities(result) == pytest.approx([0.2, None, 0.7])
        assert word_reliabilities(result) == pytest.approx([0.4, 0.8])

    def test_unknown_where_a_method_does_not_say(self):
        result = make()
        assert token_reliabilities(result) == [None] * 3
        assert word_reliabilities(result) == [None] * 2
        assert reliability_of(result, [0, 1]) is None

    def test_of_a_word_is_its_own_and_of_a_phrase_the_mean(self):
        result = reliable([0.2, 0.4, 0.9], [0.7], words=[Word("so what", (0, 1))])
        assert reliability_of(result, [0, 1]) == pytest.approx(0.7)
        assert reliability_of(result, [0, 2]) == pytest.approx(0.55)
        assert reliability_of(result, [1]) == pytest.approx(0.4)


class TestBelievableRegion:
    def test_nothing_is_read_off_noise(self):
        """Just below the limit nothing, at it and where it is unknown the plain reading."""
        result = reliable([MOSTLY_NOISE - 0.01, MOSTLY_NOISE, float("nan")])
        assert believable_region(result, [0]) == (None, None)
        for row in (1, 2):
            plain = strongest_region(result, result.spectrogram_attr[row])
            assert believable_region(result, [row]) == plain
            assert None not in plain

    def test_nothing_for_what_no_removed_audio_moves(self):
        maps = torch.rand(3, 30, 80, generator=torch.Generator().manual_seed(0))
        result = make(spectrogram_attr=maps * torch.tensor([1.0, 0.02, 0.005])[:, None, None])
        assert [rests_on_audio(result, [row]) for row in range(3)] == [True, True, False]
        assert believable_region(result, [2]) == (None, None)
        assert None not in believable_region(result, [1])
        # Gradients vanish where a model is sure: they tell no impact.
        assert rests_on_audio(
            make(spectrogram_attr=result.spectrogram_attr, method="Saliency"), [2]
        )

    def test_the_bundled_model_writes_full_stops_without_listening(self):
        """Really explained: the words rest on audio, the end of the sentence does not."""
        model, processor, examples = load_demo()
        explainer = SpeechToTextAttribution(SPES(model), processor)
        audio = next(e.path for e in examples if e.name == "test-00205")
        settings = Settings.efficient(n_samples=100, n_token_samples=0)
        result = explainer.attribute(audio, settings=settings, seed=0)
        rests = {t: rests_on_audio(result, [i]) for i, t in enumerate(result.output_tokens)}
        assert not rests["<|endoftext|>"]
        assert not rests["."]
        assert all(rests[word] for word in (" Anna", " runs", " bakery", " black", " drawer"))
        times = [summary.time for summary in summarize_tokens(result)]
        assert times[-2:] == [None, None]

    def test_samples_for_less_noise(self):
        """Of independent samples the variance of noise falls as 1 / n: odds grow as n."""
        result = reliable([0.2, 0.4, 0.9])
        assert needed_samples(result, 0.2, 0.5) == 400
        assert needed_samples(result, 0.2, 0.8) == 1600
        assert needed_samples(result, 0.0, 0.5) is None


class TestFrequency:
    def test_patches_of_time_tell_no_band_whatever_the_audio_holds(self):
        """The efficient estimator weighs cells by the audio, which is no finding of the samples."""
        model, processor, examples = load_demo()
        audio = examples[0].path
        attended = SpeechToTextAttribution(CrossAttention(model), processor).attribute(audio)
        n_frames, n_bins = attended.spectrogram.shape
        windows = (torch.arange(n_frames) // 20)[:, None].expand(n_frames, n_bins).clone()
        settings = Settings.efficient(n_samples=60, n_token_samples=0, feature_mask=windows)
        explainer = SpeechToTextAttribution(SPES(model), processor)
        result = explainer.attribute(audio, settings=settings, seed=0)
        assert float((result.spectrogram_attr[0] - result.spectrogram_attr[0, :, :1]).std()) > 0
        for one in (attended, result):
            assert not has_frequency(one)
            found = [strongest_region(one, saliency) for saliency in one.spectrogram_attr]
            assert all(time is not None and band is None for time, band in found)
        assert has_frequency(make())

    def test_rounding_is_no_band(self):
        generator = torch.Generator().manual_seed(0)
        flat = torch.rand(3, 30, 1, generator=generator).expand(3, 30, 80)
        rounded = flat * (1 + 1e-7 * torch.rand(3, 30, 80, generator=generator))
        assert all(
            summary.band is None for summary in summarize_tokens(make(spectrogram_attr=rounded))
        )


class TestTable:
    def test_noise_stands_in_the_place_of_a_time(self):
        lines = explanation_text(reliable([0.2, 0.75, 0.1])).split("\n")
        so, what, end = lines[-6:-3]
        assert so.split()[:5] == ["so", "mostly", "noise", "-", "80%"]
        assert "mostly noise" not in what
        assert what.split()[3] == "25%"
        assert end.split()[1:3] == ["mostly", "noise"]
        assert lines[-2].startswith("mostly noise: 2 of 3 tokens at 100 samples")
        # The typical one of the two has 0.15, and odds grow as samples.
        assert "about 570 for 50% noise" in " ".join(lines[-2:])

    def test_what_rests_on_nothing_needs_no_samples(self):
        maps = torch.rand(3, 30, 80, generator=torch.Generator().manual_seed(0))
        maps *= torch.tensor([1.0, 1.0, 1e-4])[:, None, None]
        text = explanation_text(reliable([0.9, 0.9, 0.1], spectrogram_attr=maps))
        row = next(line for line in text.split("\n") if line.startswith("<|endoftext|>"))
        assert row.split()[1:5] == ["not", "on", "audio", "-"]
        assert "not on audio: 1 of 3 tokens rest on nothing in the audio" in text
        assert "mostly noise" not in text

    def test_no_column_where_nothing_is_known(self):
        assert " noise " not in explanation_text(make())

    def test_summaries(self):
        first, second, _ = summarize_tokens(reliable([0.2, 0.75, float("nan")]))
        assert first.reliability == pytest.approx(0.2)
        assert first.is_mostly_noise
        assert first.time is None
        assert not second.is_mostly_noise
        assert second.time is not None

    def test_a_hundred_letters_are_enough(self):
        """Long tokens are cut, and the columns stay below each other."""
        result = reliable(
            [0.2, 0.75, 0.9],
            output_tokens=[" " + "x" * 40, " what", "<|endoftext|>"],
            probabilities=torch.tensor([0.5, 0.25, 1.0]),
            ranks=torch.tensor([1, 51865, 1]),
            runners_up=["y" * 40, " why", "."],
        )
        lines = explanation_text(result).split("\n")
        start = next(i for i, line in enumerate(lines) if line.startswith("token "))
        assert all(len(line) <= 101 for line in lines[start:])
        end = lines[start].index("noise") + len("noise")
        assert [line[end - 3 : end] for line in lines[start + 1 : start + 4]] == [
            "80%",
            "25%",
            "10%",
        ]
