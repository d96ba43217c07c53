"""Sounds put into recordings, and maps that find them or do not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from captum_spes import SPES, EnergyMap, RandomMap, SpeechToTextAttribution
from captum_spes.alignment import Interval
from captum_spes.demo import load_demo, load_examples
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.metrics import (
    cue_in_audio,
    cue_in_text,
    planted_evidence,
    spelling_cues,
    splice,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*sampling noise")

RATE = 16_000


def tone(seconds, hertz=500, loud=0.2):
    time = np.arange(int(seconds * RATE)) / RATE
    return (loud * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


# Splicing --------------------------------------------------------------------------------


def test_what_is_replaced_is_gone_and_the_rest_is_as_it_was():
    audio, planted = tone(1.0), tone(0.5, 1500)
    made = splice(audio, planted, (0.25, 0.5))
    fade = int(0.005 * RATE)
    assert (made.start, made.end) == (0.25, 0.75)
    assert len(made.samples) == len(audio) - RATE // 4 + len(planted)
    before = slice(0, RATE // 4 - fade)
    np.testing.assert_array_equal(made.samples[before], audio[before])
    np.testing.assert_array_equal(made.samples[RATE * 3 // 4 + fade :], audio[RATE // 2 + fade :])
    inner = slice(RATE // 4 + fade, RATE * 3 // 4 - fade)
    np.testing.assert_allclose(made.samples[inner], planted[fade:-fade], rtol=1e-3, atol=1e-6)
    assert abs(made.samples[RATE // 4]) < 0.01  # faded in


def test_levels_are_those_of_what_was_replaced():
    audio = np.concatenate([tone(0.5, loud=0.4), tone(0.5, loud=0.1)])
    planted = tone(0.3, 1500, loud=0.9)

    def level(made):
        inner = slice(int(made.start * RATE) + 100, int(made.end * RATE) - 100)
        return np.sqrt(2 * np.mean(made.samples[inner] ** 2))

    assert level(splice(audio, planted, (0.1, 0.4))) == pytest.approx(0.4, rel=0.03)
    assert level(splice(audio, planted, (0.6, 0.9))) == pytest.approx(0.1, rel=0.03)
    whole = np.sqrt((0.4**2 + 0.1**2) / 2)
    assert level(splice(audio, planted, (0.5, 0.5))) == pytest.approx(whole, rel=0.03)
    own = splice(audio, planted, (0.6, 0.9), same_level=False)
    assert level(own) == pytest.approx(0.9, rel=0.03)


def test_words_move_with_what_was_spliced_in():
    words = [
        Interval("a", 0.0, 0.2), Interval("b", 0.2, 0.5), Interval("c", 0.45, 0.7),
        Interval("d", 0.7, 1.0),
    ]  # fmt: skip
    made = splice(tone(1.0), tone(0.4, 900), (0.2, 0.5))
    assert made.moved(words, "new") == [
        ("a", 0.0, 0.2), ("new", 0.2, 0.6), ("c", 0.6, 0.8), ("d", 0.8, 1.1),
    ]  # fmt: skip
    # A word that is cut in the middle of its second half ends there.
    assert splice(tone(1.0), tone(0.4), (0.4, 0.5)).moved(words[:2])[1] == ("b", 0.2, 0.4)
    inserted = splice(tone(1.0), tone(0.4), (0.2, 0.2), planted_span=(0.1, 0.2))
    assert inserted.moved(words[:2]) == [("a", 0.0, 0.2), ("b", 0.3, 0.6)]


def test_spans_outside_are_told():
    with pytest.raises(ArgumentError, match="span must lie within"):
        splice(tone(1.0), tone(0.5), (0.5, 1.2))
    with pytest.raises(ArgumentError, match="span must lie within"):
        splice(tone(1.0), tone(0.5), (0.5, 0.2))
    with pytest.raises(ArgumentError, match="planted_span"):
        splice(tone(1.0), tone(0.5), (0.5, 0.6), planted_span=(0.3, 0.3))


# Where a map points ------------------------------------------------------------------------


@pytest.fixture
def result(tiny_whisper, audio):
    model, processor = tiny_whisper
    explainer = SpeechToTextAttribution(RandomMap(model), processor)
    return explainer.attribute(audio, target="the cat", seed=0)


def with_map(result, saliency):
    return replace(result, spectrogram_attr=saliency.expand_as(result.spectrogram_attr))


def ramp(result, first, last):
    """Largest within two times, and rising over the mel bins."""
    times = result.frame_times
    inside = ((times >= first) & (times < last)).float()[:, None]
    bins = torch.linspace(0, 0.5, len(result.mel_frequencies))
    return inside + bins.expand(len(times), -1)


def test_a_map_that_lies_in_the_span_and_one_beside_it(result):
    own = with_map(result, ramp(result, 0.2, 0.4))
    found = planted_evidence(own, [0, 1], (0.2, 0.4))
    assert found.pointing
    assert found.area == 1.0
    assert found.share == pytest.approx(1 / 3, abs=0.02)
    assert found.mass > 0.8
    other = planted_evidence(own, 0, (0.4, 0.6))
    assert not other.pointing
    assert other.area == pytest.approx(0.25, abs=0.02)  # half of the rest is larger, half equal
    wide = planted_evidence(own, 0, (0.25, 0.35), margin=0.05)
    assert wide == planted_evidence(own, 0, (0.2, 0.4))


def test_random_maps_are_at_chance(result):
    found = [planted_evidence(result, token, (0.1, 0.4)) for token in range(7)]
    assert np.mean([one.area for one in found]) == pytest.approx(0.5, abs=0.02)
    assert np.mean([one.mass for one in found]) == pytest.approx(found[0].share, abs=0.02)
    constant = planted_evidence(with_map(result, torch.ones(60, 80)), 0, (0.1, 0.4))
    assert not constant.pointing
    assert np.isnan(constant.area)


def test_what_is_left_out_counts_on_neither_side(result):
    own = with_map(result, ramp(result, 0.2, 0.4))
    found = planted_evidence(own, 0, (0.4, 0.6), without=[(0.2, 0.4)])
    assert found.area == pytest.approx(0.5, abs=1e-6)
    assert found.share == pytest.approx(0.5, abs=0.02)
    with pytest.raises(ArgumentError, match="leave some"):
        planted_evidence(own, 0, (0.2, 0.4), without=[(0.1, 0.5)])
    with pytest.raises(ArgumentError, match="leave some"):
        planted_evidence(own, 0, (0.9, 1.4))
    with pytest.raises(ArgumentError, match="rows of the"):
        planted_evidence(own, 99, (0.2, 0.4))
    with pytest.raises(ArgumentError, match="margin"):
        planted_evidence(own, 0, (0.2, 0.4), margin=-0.1)
    with pytest.raises(ArgumentTypeError, match="an explanation"):
        planted_evidence(own.spectrogram, 0, (0.2, 0.4))


# Cues --------------------------------------------------------------------------------------

WORDS = [Interval("a", 0.0, 0.2), Interval("b", 0.2, 0.4), Interval("c", 0.4, 0.6)]


def test_spoken_words_are_ranked_without_the_word_itself(result):
    own = with_map(result, ramp(result, 0.2, 0.4) + 0.5 * ramp(result, 0.4, 0.6))
    first = cue_in_audio(own, 0, WORDS, cue=2, own=1)
    assert (first.rank, first.n_words, first.area, first.is_first) == (1, 2, 1.0, True)
    last = cue_in_audio(own, 0, WORDS, cue=0, own=1)
    assert (last.rank, last.area, last.is_first) == (2, 0.0, False)
    assert cue_in_audio(own, 0, WORDS, cue=1, own=2).is_first
    flat = cue_in_audio(with_map(result, torch.ones(60, 80)), 0, WORDS, cue=0, own=1)
    assert np.isnan(flat.rank)
    assert not flat.is_first
    with pytest.raises(ArgumentError, match="two words"):
        cue_in_audio(own, 0, WORDS, cue=1, own=1)
    with pytest.raises(ArgumentError, match="one of the 3 words"):
        cue_in_audio(own, 0, WORDS, cue=3, own=1)


def text_of(bundled, attr):
    """An explanation of a text of several words whose rows of previous tokens are given."""
    explainer, clip = bundled
    result = explainer.attribute(clip.path, seed=0)
    columns = result.previous_rows()
    rows = torch.full((len(result.output_tokens), len(columns)), float("nan"))
    for place, row in enumerate(columns):
        score = 9.0 if row is None else attr.get(row, 0.0)  # the prompt is not ranked
        rows[slice(0 if row is None else row + 1, None), place] = score
    return replace(result, token_attr=rows)


@pytest.fixture(scope="module")
def bundled():
    model, processor, examples = load_demo()
    clip = next(e for e in examples if e.name == "test-00205")
    return SpeechToTextAttribution(RandomMap(model), processor), clip


def test_written_words_are_ranked_by_their_best_token(bundled):
    plain = text_of(bundled, {})
    words = [word for word in plain.words if word.word.strip(" .")]
    target = words[4].token_indices[0]
    scores = {words[0].token_indices[-1]: 3.0, words[2].token_indices[0]: 1.0}
    scores[words[5].token_indices[0]] = 8.0  # behind the word
    own = text_of(bundled, scores)
    first = cue_in_text(own, words[4].token_indices, words[0].token_indices)
    assert (first.rank, first.n_words, first.is_first) == (1, 4, True)
    assert cue_in_text(own, target, words[2].token_indices).rank == 2
    assert cue_in_text(own, target, words[1].token_indices).rank == 3.5  # two of 0
    behind = cue_in_text(own, target, words[5].token_indices)
    assert np.isnan(behind.rank)
    assert np.isnan(cue_in_text(plain, target, words[0].token_indices).rank)
    with pytest.raises(ArgumentError, match="token_attr"):
        cue_in_text(replace(own, token_attr=None), target, 0)
    with pytest.raises(ArgumentError, match="one word"):
        cue_in_text(own, target, [words[0].token_indices[0], words[1].token_indices[0]])


class Writing:
    """What a model would write, by which words are silent."""

    def __init__(self, words, texts):
        self.words, self.texts = words, texts

    def __call__(self, sound, *args, **kwargs):
        silent = tuple(
            label
            for label, start, end in self.words
            if abs(sound[int((start + 0.04) * RATE) : int((end - 0.04) * RATE)]).max() < 1e-6
        )
        return type("Transcript", (), {"text": self.texts.get(silent, "We know that he ran.")})()


def test_words_without_which_the_spelling_changes_are_found(tiny_whisper, monkeypatch):
    words = [
        Interval(label, 0.2 * place, 0.2 * place + 0.2)
        for place, label in enumerate(("We", "know", "that", "he", "ran"))
    ]
    explainer = SpeechToTextAttribution(EnergyMap(tiny_whisper[0]), tiny_whisper[1])
    texts = {
        ("he",): "We know that no ran.",
        ("We",): "No, that he ran.",
        ("that",): "We know he ran.",
        ("ran",): "No no no.",
    }
    monkeypatch.setattr(explainer, "transcribe", Writing(words, texts))
    audio = tone(1.0)
    cues = spelling_cues(explainer, audio, words, 1, ["no", "Know"])
    assert [(cue.place, cue.word, cue.spelling) for cue in cues] == [
        (0, "We", "no"), (4, "ran", "no"),
    ]  # fmt: skip
    assert cues[0].text == "No, that he ran."
    assert spelling_cues(explainer, audio, words, 3, ["he", "hee"]) == []
    np.testing.assert_array_equal(audio, tone(1.0))
    with pytest.raises(ArgumentError, match="at least two"):
        spelling_cues(explainer, audio, words, 1, ["know", "KNOW"])
    with pytest.raises(ArgumentError, match="'that' among them"):
        spelling_cues(explainer, audio, words, 2, ["no", "know"])
    with pytest.raises(ArgumentError, match="one of the 5 words"):
        spelling_cues(explainer, audio, words, 5, ["no", "know"])
    unwritten = [*words[:1], Interval("no", 0.2, 0.4), *words[2:]]
    with pytest.raises(ArgumentError, match="does not write 'no'"):
        spelling_cues(explainer, audio, unwritten, 1, ["no", "know"])


def test_a_word_spliced_into_a_bundled_recording_is_found(bundled):
    """End to end: the model writes the planted word, and its map lies there."""
    explainer, clip = bundled
    other = next(e for e in load_examples() if e.name == "test-00303")
    place = next(word for word in clip.words if word.label == "bakery")
    planted = next(word for word in other.words if word.label == "river")
    made = splice(clip.path, other.path, place[1:], planted_span=planted[1:])
    model, processor = explainer.attr_method.forward_func, explainer.adapter.processor
    result = SpeechToTextAttribution(SPES(model), processor).attribute(
        made.samples, n_samples=300, n_token_samples=0, patches_per_second=20, seed=0,
        perturbations_per_eval=8,
    )  # fmt: skip
    rows = [word.token_indices for word in result.words if word.word.strip() == "river"]
    assert len(rows) == 1, result.text
    found = planted_evidence(result, rows[0], (made.start, made.end))
    # Patches of 20 per second reach beyond the word, and the largest value may lie there.
    assert found.area > 0.8
    assert found.mass > 2 * found.share
