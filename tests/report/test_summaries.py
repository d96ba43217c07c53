"""What the table of an explanation says: no band or time where a map has none, and text as text."""

import pytest
import torch
from captum.attr import Saliency

from captum_spes import SPES, CrossAttention, SpeechToTextAttribution, Word
from captum_spes.analysis import frequency_profiles, time_analysis
from captum_spes.errors import ArgumentError
from captum_spes.report import explanation_text, summarize_tokens
from tests.speech.test_result import make


def over_time():
    return torch.rand(3, 30, 1, generator=torch.Generator().manual_seed(0)).expand(3, 30, 80)


def over_frequency():
    return torch.rand(3, 1, 80, generator=torch.Generator().manual_seed(0)).expand(3, 30, 80)


def rows(result):
    lines = explanation_text(result).split("\n")
    return [line.split() for line in lines[-len(result.output_tokens) :]]


class TestConstantMaps:
    def test_no_band_of_a_map_over_time(self):
        result = make(spectrogram_attr=over_time())
        assert all(s.band is None and s.time is not None for s in summarize_tokens(result))
        assert all(row[2] == "-" and "-" in row[1][1:] for row in rows(result))

    def test_no_time_of_a_map_over_frequency(self):
        result = make(spectrogram_attr=over_frequency())
        assert all(s.time is None and s.band is not None for s in summarize_tokens(result))
        assert all(row[1] == "-" and "-" in row[2][1:] for row in rows(result))

    def test_neither_of_a_map_without_any_pattern(self):
        for value in (0.0, 3.0):
            (first, *_) = summarize_tokens(make(spectrogram_attr=torch.full((3, 30, 80), value)))
            assert first.time is None
            assert first.band is None

    def test_both_of_others(self):
        assert all(s.time is not None and s.band is not None for s in summarize_tokens(make()))

    def test_cross_attention(self, tiny_whisper, audio):
        model, processor = tiny_whisper
        model.set_attn_implementation("eager")
        explainer = SpeechToTextAttribution(CrossAttention(model), processor)
        result = explainer.attribute(audio, target="ab", n_token_samples=0)
        assert all(summary.band is None for summary in summarize_tokens(result))

    def test_only_methods_that_sample_tell_samples(self, tiny_whisper, audio):
        model, processor = tiny_whisper
        model.set_attn_implementation("eager")
        given = {"target": "ab", "n_samples": 30, "n_token_samples": 9, "patches_per_second": 10}
        lines = {
            method: explanation_text(
                SpeechToTextAttribution(method(model), processor).attribute(audio, seed=0, **given)
            )
            for method in (SPES, CrossAttention, Saliency)
        }
        assert "30 samples, seed 0" in lines[SPES]
        assert "mean impact of removed audio" in lines[SPES]
        for method in (CrossAttention, Saliency):
            assert "samples" not in lines[method].splitlines()[1]
            assert "mean attribution of the audio" in lines[method]

    def test_analyses_leave_them_out(self):
        words = [Word("so", (0,), 0.02, 0.1), Word("what", (1,), 0.1, 0.25)]
        flat = make(spectrogram_attr=over_time(), words=words)
        profiles = frequency_profiles({"flat": flat, "full": make(words=words)})
        assert set(profiles.table["utterance"]) == {"full"}
        assert profiles.dropped == {"flat": "its maps say nothing of frequency"}
        steady = make(spectrogram_attr=over_frequency(), words=words)
        found = time_analysis({"steady": steady, "full": make(words=words)}, n_resamples=9)
        assert found.dropped == {"steady": "its maps are constant over time"}
        with pytest.raises(ArgumentError, match="no time to analyse"):
            time_analysis({"steady": steady})


def test_tokens_and_names_keep_the_table_a_table():
    result = make(
        output_tokens=[" a\nb", "\x1b[2J", " " + "x" * 300],
        text="a\nb\x1b[2J",
        model_id="caf\udce9\x1b[31m",
    )
    text = explanation_text(result)
    assert "\x1b" not in text
    assert "caf\\xe9\\x1b[31m" in text
    assert text.split("\n")[0] == "a\\nb\\x1b[2J"
    lines = text.split("\n")
    assert len(lines) == len(explanation_text(make()).split("\n"))
    assert max(map(len, lines)) < 200
