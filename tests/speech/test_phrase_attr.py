"""Maps of words and phrases: which rows they are the mean of, and what their columns are."""

import pytest
import torch
from matplotlib.figure import Figure

from captum_spes import SPES, SpeechToTextAttribution, Word
from captum_spes.demo import load_speech_llm
from captum_spes.errors import ArgumentError, ArgumentTypeError
from tests.speech.test_result import make

TOKENS = [" The", " st", "ep", ",", " the", " step", "<|end|>"]
WORDS = [
    Word("The", (0,)), Word("step", (1, 2)), Word(",", (3,)), Word("the", (4,)), Word("step", (5,)),
]  # fmt: skip
FED = ["<|start|>", "<|0.00|>", *TOKENS[:-1]]


@pytest.fixture
def result():
    """Two words twice, one of which two tokens spell once."""
    generator = torch.Generator().manual_seed(0)
    previous = torch.rand(7, 8, generator=generator)
    previous[torch.ones(7, 8).triu(2).bool()] = torch.nan
    return make(
        output_tokens=TOKENS,
        previous_tokens=list(FED),
        spectrogram_attr=torch.rand(7, 30, 80, generator=generator),
        token_attr=previous,
        words=WORDS,
        output_ids=list(range(7)),
        previous_ids=list(range(8)),
    )


class TestRows:
    def test_all_words(self, result):
        found = result.phrase_attr()
        assert found.phrases == ["The", "step", ",", "the", "step"]
        assert found.token_indices == [(0,), (1, 2), (3,), (4,), (5,)]
        assert torch.equal(found.spectrogram_attr, result.word_attr().spectrogram_attr)

    def test_every_occurrence_of_a_word_whatever_its_case(self, result):
        found = result.phrase_attr(["STEP!", "the"])
        assert found.phrases == ["STEP!", "STEP!", "the", "the"]
        assert found.token_indices == [(1, 2), (5,), (0,), (4,)]
        maps = result.normalized().spectrogram_attr
        assert torch.allclose(found.spectrogram_attr[0], (maps[1] + maps[2]) / 2)
        assert torch.equal(found.spectrogram_attr[1], maps[5])

    def test_a_phrase_holds_the_punctuation_inside_it(self, result):
        found = result.phrase_attr("step the step")
        assert found.token_indices == [(1, 2, 3, 4, 5)]
        maps = result.normalized().spectrogram_attr
        assert torch.allclose(found.spectrogram_attr[0], maps[1:6].mean(0))

    def test_raw_maps(self, result):
        found = result.phrase_attr("the", normalized=False)
        assert torch.equal(found.spectrogram_attr, result.spectrogram_attr[[0, 4]])

    def test_words_of_a_script_without_spaces(self):
        words = [Word("我们", (0,)), Word("用", (1,))]
        assert make(words=words).phrase_attr("我们用").token_indices == [(0, 1)]


class TestColumns:
    def test_words_are_means_and_the_prompt_stays(self, result):
        found = result.phrase_attr("the")
        assert found.previous == ["<|start|>", "<|0.00|>", "The", "step", ",", "the", "step"]
        row = result.normalized().token_attr[4]
        expected = [row[0], row[1], row[2], (row[3] + row[4]) / 2, row[5]]
        assert torch.allclose(found.token_attr[1, :5], torch.stack(expected))
        assert torch.isnan(found.token_attr[1, 5:]).all()

    def test_a_column_inside_the_phrase_is_not_before_it(self, result):
        found = result.phrase_attr("step the step")
        assert torch.isnan(found.token_attr[0]).tolist() == [False] * 3 + [True] * 4

    def test_tokens(self, result):
        found = result.phrase_attr("step", previous="tokens")
        assert found.previous == FED
        rows = result.normalized().token_attr[1:3]
        assert torch.allclose(found.token_attr[0], rows.mean(0), equal_nan=True)
        assert torch.isnan(found.token_attr[0]).tolist() == [False] * 3 + [True] * 5

    def test_a_token_between_that_was_not_explained_stays_alone(self, result):
        """A timestamp in the middle of the output, as Whisper writes them."""
        ids = list(range(10))
        result.previous_tokens.insert(6, "<|0.30|>")
        result.previous_ids.append(8)
        result.parameters["sequence"] = {
            "ids": ids, "explained": [2, 3, 4, 5, 7, 8, 9], "previous": None, "instruction": [],
        }  # fmt: skip
        wide = torch.cat([result.token_attr[:, :6], torch.zeros(7, 1), result.token_attr[:, 6:]], 1)
        wide[:4, 6] = torch.nan
        shown = make(**{**vars(result), "token_attr": wide})
        assert shown.previous_rows() == [None, None, 0, 1, 2, 3, None, 4, 5]
        found = shown.phrase_attr("the", normalized=False)
        assert found.previous[4:] == [",", "<|0.30|>", "the", "step"]
        assert found.token_attr[1, 5] == 0

    def test_none_were_explained(self, result):
        found = make(**{**vars(result), "token_attr": None}).phrase_attr("the")
        assert found.token_attr is None
        assert found.spectrogram_attr.shape == (2, 30, 80)

    @pytest.mark.parametrize("model", ["tiny_whisper", "tiny_canary"])
    def test_of_an_explanation(self, request, audio, model):
        """The previous tokens of a real sequence are those that its output tokens are."""
        model, processor = request.getfixturevalue(model)
        explainer = SpeechToTextAttribution(SPES(model), processor)
        result = explainer.attribute(
            audio, target="the cat", n_samples=20, n_token_samples=20, patches_per_second=30, seed=0
        )
        rows = [row for row in result.previous_rows() if row is not None]
        assert rows == list(range(len(result.output_tokens) - 1))
        n_prompt = len(result.previous_tokens) - len(rows)
        assert result.previous_tokens[n_prompt:] == result.output_tokens[:-1]
        found = result.phrase_attr("cat")
        assert found.previous[-2:] == ["the", "cat"]
        assert torch.isnan(found.token_attr[0]).nonzero().tolist() == [[len(found.previous) - 1]]

    def test_of_a_speech_llm(self):
        """Its previous tokens are the text so far alone."""
        model, processor, examples = load_speech_llm()
        result = SpeechToTextAttribution(SPES(model), processor).attribute(
            examples[0].path, n_samples=10, n_token_samples=10, patches_per_second=20, seed=0
        )
        written = [word.word for word in result.words]
        assert result.phrase_attr().previous == written


class TestRefusals:
    def test_a_phrase_that_is_not_there(self, result):
        with pytest.raises(ArgumentError, match="does not hold 'steps'; it holds step"):
            result.phrase_attr(["the", "steps"])
        with pytest.raises(ArgumentError, match=r"not hold 'qqq'; it holds the, step\."):
            result.phrase_attr("qqq")

    @pytest.mark.parametrize("words", ["?!", "", []])
    def test_nothing_to_find(self, result, words):
        with pytest.raises(ArgumentError, match="word"):
            result.phrase_attr(words)

    @pytest.mark.parametrize("words", [5, b"the", [None], {"the": 1}])
    def test_no_texts(self, result, words):
        with pytest.raises(ArgumentTypeError, match="words"):
            result.phrase_attr(words)

    @pytest.mark.parametrize("previous", ["word", None, True])
    def test_other_columns(self, result, previous):
        with pytest.raises(ArgumentError, match="previous must be 'words' or 'tokens'"):
            result.phrase_attr("the", previous)

    def test_an_output_without_words(self):
        """A score with units of its own has none."""
        bare = make(words=[])
        assert bare.phrase_attr().spectrogram_attr.shape == (0, 30, 80)
        assert bare.phrase_attr().token_attr.shape == (0, 4)
        with pytest.raises(ArgumentError, match="it holds no word"):
            bare.phrase_attr("so")


class TestFigure:
    def test_by_words(self, result):
        figure = result.plot_token_attr(by="words")
        assert isinstance(figure, Figure)
        axes = figure.axes[0]
        assert [label.get_text() for label in axes.get_yticklabels()] == [w.word for w in WORDS]
        assert [
            label.get_text() for label in axes.get_xticklabels()
        ] == result.phrase_attr().previous
        assert axes.get_ylabel() == "explained word"
        drawn = axes.images[0].get_array().filled(torch.nan)
        assert torch.allclose(
            torch.as_tensor(drawn), result.phrase_attr().token_attr, equal_nan=True
        )

    def test_refusals(self, result):
        with pytest.raises(ArgumentError, match="by must be"):
            result.plot_token_attr(by="word")
        with pytest.raises(ArgumentError, match="no words"):
            make(words=[]).plot_token_attr(by="words")
