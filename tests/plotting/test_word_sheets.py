"""Sheets of the maps of words, and maps that are not to be read: grey, and said to be."""

import io

import numpy as np
import pytest
import torch

from captum_spes import Word
from captum_spes.errors import ArgumentError
from captum_spes.report import explanation_text
from tests.plotting.test_texts_and_limits import drawn, many
from tests.speech.test_result import make

NOISE, NOT_ON_AUDIO = " (mostly noise)", " (not on audio)"


def with_reliability(**shares):
    """Three tokens and two words, all maps reliable but for the shares given."""
    found = {
        "tokens": [0.9] * 3, "words": [0.9] * 2, "sentence": 0.9, "previous_tokens": None,
        "instruction": None, "standard_error": [0.1] * 3,
    }  # fmt: skip
    counts = {"n_samples_evaluated": 5, "n_token_samples_evaluated": 5}
    return make(parameters={**counts, "reliability": {**found, **shares}})


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def colours(axes):
    """Of the map, from its lowest to its highest value."""
    return axes.images[-1].get_cmap()(np.linspace(0, 1, 11))[:, :3]


def is_grey(axes):
    return bool(np.allclose(np.ptp(colours(axes), axis=1), 0))


class TestWords:
    def test_each_word_has_its_mean_map(self):
        result = make(words=[Word("sowhat", (0, 1)), Word("!", (2,))])
        figure = result.plot_words(columns=2)
        assert titles(figure) == ["sowhat", "!"]
        for axes, expected in zip(figure.axes, result.word_attr().spectrogram_attr, strict=False):
            assert np.allclose(axes.images[-1].get_array(), expected.T, atol=1e-6)
            assert axes.images[-1].get_clim() == (0, 1)

    def test_many_words_take_several_sheets(self):
        result = many(90)
        words = [Word(f"w{n}", (n,)) for n in range(90)]
        result = make(**{**vars(result), "words": words})
        assert (result.n_word_sheets, result.n_sheets) == (3, 3)
        last = result.plot_words(sheet=2)
        assert titles(last) == [f"w{n}" for n in range(80, 90)]
        assert "words 81 to 90 of 90" in drawn(last)
        expected = result.word_attr().spectrogram_attr[89]
        assert np.allclose(last.axes[9].images[-1].get_array(), expected.T, atol=1e-6)
        with pytest.raises(ArgumentError, match="sheet must be below 3: there are 90 words, 40 on"):
            result.plot_words(sheet=3)

    def test_wrong_arguments(self):
        with pytest.raises(ArgumentError, match="the output has no words"):
            make(words=[]).plot_words()
        with pytest.raises(ArgumentError, match="columns must be"):
            make().plot_words(columns=0)
        with pytest.raises(TypeError, match="words must be True or False"):
            make().plot_words(words=1)
        assert make(words=[]).n_word_sheets == 0


class TestNoise:
    def test_on_sheets_those_maps_alone_are_grey_and_say_so(self):
        result = with_reliability(tokens=[0.9, 0.3, 0.6], words=[0.49, 0.5])
        tokens, words = result.plot_spectrogram_attrs(), result.plot_words()
        assert titles(tokens) == ["␣so", f"␣what{NOISE}", "<|endoftext|>"]
        assert [is_grey(axes) for axes in tokens.axes[:3]] == [False, True, False]
        assert titles(words) == [f"so{NOISE}", "what"]
        assert [is_grey(axes) for axes in words.axes[:2]] == [True, False]

    def test_what_rests_on_nothing_in_the_audio_is_grey_and_says_that(self):
        """Noise or not, as in tables: more samples would not help."""
        result = with_reliability(tokens=[0.9, 0.9, 0.3], words=[0.9, 0.9])
        result.spectrogram_attr[1:] /= 1000
        tokens, words = result.plot_spectrogram_attrs(), result.plot_words()
        assert titles(tokens) == ["␣so", f"␣what{NOT_ON_AUDIO}", f"<|endoftext|>{NOT_ON_AUDIO}"]
        assert [is_grey(axes) for axes in tokens.axes[:3]] == [False, True, True]
        assert titles(words) == ["so", f"what{NOT_ON_AUDIO}"]
        assert result.plot_spectrogram_attr().axes[0].get_title() == result.text
        assert explanation_text(result).count("not on audio -") == 2

    @pytest.mark.parametrize("over_spectrogram", [True, False])
    def test_of_one_token_and_of_the_sentence(self, over_spectrogram):
        asked = {"over_spectrogram": over_spectrogram}
        result = with_reliability(tokens=[0.9, 0.3, 0.9])
        for token, noise in ((0, False), (1, True), (-2, True), (None, False)):
            axes = result.plot_spectrogram_attr(token, **asked).axes[0]
            assert (axes.get_title().endswith(NOISE), is_grey(axes)) == (noise, noise)
        sentence = with_reliability(sentence=0.2).plot_spectrogram_attr(title="mine", **asked)
        assert sentence.axes[0].get_title() == f"mine{NOISE}"
        assert is_grey(sentence.axes[0])

    def test_grey_on_the_spectrogram_is_not_the_spectrogram(self):
        """A map of noise stands on white: a grey spectrogram below would be read as part of it."""
        noise, *_ = with_reliability(tokens=[0.1] * 3).plot_spectrogram_attrs().axes
        assert not noise.images[0].get_array().any()
        sound, *_ = with_reliability().plot_spectrogram_attrs().axes
        assert sound.images[0].get_array().max() > 0.3

    @pytest.mark.parametrize("share", [float("nan"), 0.5, 1.0])
    def test_what_is_not_known_to_be_noise_is_coloured(self, share):
        result = with_reliability(tokens=[share] * 3, words=[share] * 2, sentence=share)
        figures = [result.plot_spectrogram_attrs(), result.plot_words()]
        figures += [result.plot_spectrogram_attr(), make().plot_spectrogram_attrs()]
        for figure in figures:
            assert not any(NOISE in title for title in titles(figure))
            assert not is_grey(figure.axes[0])

    def test_in_print_without_colour_more_is_darker_or_lighter_all_along(self):
        """Luminance rises, or falls, with the value; alone, over a spectrogram, and of noise."""
        weights = np.array([0.299, 0.587, 0.114])
        for result in (with_reliability(), with_reliability(tokens=[0.1] * 3)):
            for over in (True, False):
                axes = result.plot_spectrogram_attr(0, over_spectrogram=over).axes[0]
                steps = np.diff(colours(axes) @ weights)
                assert (steps > 0).all() or (steps < 0).all()


def test_no_sheet_grows_with_the_speech():
    """500 words in ten minutes."""
    words = [Word(f"w{n}", (n,), n * 1.2, n * 1.2 + 1) for n in range(500)]
    result = many(500, frames=10)
    result = make(**{**vars(result), "words": words, "frame_times": torch.arange(10) * 60.0})
    figure = result.plot_words(sheet=12)
    figure.savefig(io.BytesIO(), format="png", dpi=20)
    assert max(figure.get_size_inches()) < 25
    wide = result.plot_spectrogram_attr(title="long " * 200)
    wide.savefig(io.BytesIO(), format="png", dpi=20)
    assert max(wide.get_size_inches()) <= 14
    title = wide.axes[0].title.get_window_extent()
    assert title.width < wide.bbox.width
