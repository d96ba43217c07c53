"""Spoken words above maps: each at its time, readable, and the explained one marked."""

import io

import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

from captum_spes import Word
from captum_spes.plotting import MapPanel, SpokenWord, spectrogram_figure
from captum_spes.plotting.words import _WordLine
from tests.plotting.test_contrast import contrast_result
from tests.speech.test_result import make

# The sentence of `make` has letters that few systems have a font for.
pytestmark = pytest.mark.filterwarnings("ignore:no font of this system")
WORDS = [Word("so", (0,), 0.02, 0.08), Word("what", (1,), 0.1, 0.2), Word("<|end|>", (2,))]


def draw(figure):
    figure.savefig(io.BytesIO(), format="png")
    return figure


def written(axes):
    """The texts of the words above axes; it has been drawn."""
    return [text for line in axes.findobj(_WordLine) for text in line.findobj(Text)]


def names(axes):
    return {text.get_text() for text in written(axes)}


def bold(axes):
    return {text.get_text() for text in written(axes) if text.get_fontweight() == "bold"}


def long_speech(n_words, seconds, explained=None):
    each, explained = seconds / n_words, n_words // 2 if explained is None else explained
    spoken = [
        SpokenWord(f"word{n}", n * each, (n + 0.9) * each, n == explained) for n in range(n_words)
    ]
    times = torch.linspace(0, seconds, 50)
    return draw(
        spectrogram_figure(
            MapPanel(torch.rand(50, 80), "a title", spoken),
            times,
            torch.linspace(30.0, 7900.0, 80),
            spectrogram=None,
            label="saliency",
        )
    )


class TestWhere:
    def test_each_word_stands_above_the_map_at_its_time(self):
        axes = draw(make(words=WORDS).plot_spectrogram_attr(0)).axes[0]
        middles = {"so": 0.05, "what": 0.15}
        assert names(axes) == set(middles)
        for text in written(axes):
            box = text.get_window_extent()
            middle = axes.transData.inverted().transform((box.x0 + box.width / 2, 0))[0]
            assert middle == pytest.approx(middles[text.get_text()], abs=1e-3)
            assert axes.bbox.y1 < box.y0
            assert box.y1 < axes.title.get_window_extent().y0

    def test_a_word_at_the_end_stays_within_the_width(self):
        word = Word("incomprehensible", (1,), 0.28, 0.29)
        axes = draw(make(words=[word]).plot_spectrogram_attr()).axes[0]
        [text] = written(axes)
        assert text.get_window_extent().x1 <= axes.bbox.x1 + 1

    def test_what_is_zoomed_out_of_the_picture_is_not_written(self):
        figure = make(words=WORDS).plot_spectrogram_attr()
        figure.axes[0].set_xlim(0.1, 0.2)
        assert names(draw(figure).axes[0]) == {"what"}

    @pytest.mark.parametrize("over_spectrogram", [True, False])
    def test_a_layout_leaves_room_for_them(self, over_spectrogram):
        figure = Figure(layout="constrained")
        above, below = figure.subplots(2, 1)
        result = make(words=WORDS)
        for axes in (above, below):
            result.plot_spectrogram_attr(0, over_spectrogram=over_spectrogram, ax=axes)
        draw(figure)
        label = above.xaxis.label.get_window_extent()
        assert all(text.get_window_extent().y1 < label.y0 for text in written(below))

    def test_a_layout_leaves_room_for_them_without_a_title(self):
        figure = draw(make(words=WORDS).plot_spectrogram_attr(0, title=""))
        assert written(figure.axes[0])
        for text in written(figure.axes[0]):
            assert text.get_window_extent().y1 <= figure.bbox.y1


class TestWhich:
    @pytest.mark.parametrize(("token", "marked"), [(0, {"so"}), (1, {"what"}), (2, set())])
    def test_the_explained_word_is_bold(self, token, marked):
        assert bold(draw(make(words=WORDS).plot_spectrogram_attr(token)).axes[0]) == marked
        assert bold(draw(make(words=WORDS).plot_spectrogram_attr(token - 3)).axes[0]) == marked

    def test_of_the_sentence_none_is(self):
        axes = draw(make(words=WORDS).plot_spectrogram_attr()).axes[0]
        assert names(axes) == {"so", "what"}
        assert bold(axes) == set()

    def test_of_a_contrast_its_word_is(self):
        result = contrast_result(words=[Word("drawer", (0,), 0.1, 0.2)])
        assert bold(draw(result.plot_contrast()).axes[0]) == {"drawer"}
        assert names(draw(result.plot_contrast(words=False)).axes[0]) == set()

    @pytest.mark.parametrize("sheet", ["plot_spectrogram_attrs", "plot_words"])
    def test_on_a_sheet_each_map_marks_its_own(self, sheet):
        result = make(words=WORDS[:2])
        first, second, *_ = draw(getattr(result, sheet)(columns=2)).axes
        assert (bold(first), bold(second)) == ({"so"}, {"what"})
        assert names(first) == names(second) == {"so", "what"}
        assert names(draw(getattr(result, sheet)(words=False)).axes[0]) == set()

    @pytest.mark.parametrize("words", [[], [Word("so", (0,)), Word("what", (1,))]])
    def test_without_times_nothing_is_drawn(self, words):
        axes = make(words=words).plot_spectrogram_attr(0).axes[0]
        assert not axes.findobj(_WordLine)

    def test_they_can_be_left_out(self):
        result = make(words=WORDS)
        assert not result.plot_spectrogram_attr(0, words=False).axes[0].findobj(_WordLine)
        for plot in (result.plot_spectrogram_attr, result.plot_spectrogram_attrs):
            with pytest.raises(TypeError, match="words must be True or False"):
                plot(words="so")


class TestLongSpeech:
    @pytest.mark.parametrize(("n_words", "seconds"), [(8, 3), (40, 15), (150, 60), (500, 600)])
    def test_no_word_lies_on_another_and_the_explained_one_is_there(self, n_words, seconds):
        figure = long_speech(n_words, seconds)
        boxes = [text.get_window_extent() for text in written(figure.axes[0])]
        for index, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[index + 1 :])
        assert bold(figure.axes[0]) == {f"word{n_words // 2}"}

    def test_close_words_take_two_rows_and_none_of_few_is_lost(self):
        figure = long_speech(22, 3)
        rows = {round(text.get_window_extent().y0) for text in written(figure.axes[0])}
        assert len(rows) == 2
        assert len(names(figure.axes[0])) > 15

    def test_of_ten_minutes_the_explained_word_alone_is_written(self):
        """A word here and there, of hundreds, would say nothing."""
        assert names(long_speech(500, 600).axes[0]) == {"word250"}

    @pytest.mark.parametrize("explained", [0, 41, 42, 43, 44, 99])
    def test_the_explained_word_is_there_and_its_neighbours_make_way(self, explained):
        assert bold(long_speech(100, 60, explained).axes[0]) == {f"word{explained}"}

    def test_of_a_minute_most_are(self):
        assert len(names(long_speech(100, 60).axes[0])) > 40
