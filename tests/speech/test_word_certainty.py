"""How sure the model was of words, as the result tells it and as the printed table does."""

import math

import pytest
import torch

from captum_spes import (
    SPES,
    EnergyMap,
    SpeechToTextAttribution,
    SpeechToTextAttributionResult,
    Word,
)
from captum_spes.errors import ArgumentError
from captum_spes.report import explanation_text, summarize_tokens
from tests.speech.test_result import make

TOKENS = [" The", " st", "ep", ".", "<|end|>"]
CERTAINTY = {
    "probabilities": torch.tensor([0.5, 0.25, 0.5, 0.125, 1.0]),
    "ranks": torch.tensor([1, 3, 3, 2, 1]),
    "runners_up": [" A", " sl", "op", "!", "."],
}


def certain(**changes):
    given = {
        "output_tokens": TOKENS,
        "output_ids": list(range(5)),
        "words": [Word("The", (0,)), Word("step", (1, 2)), Word(".", (3,))],
        "spectrogram_attr": torch.rand(5, 30, 80, generator=torch.Generator().manual_seed(0)),
        "token_attr": torch.rand(5, 4, generator=torch.Generator().manual_seed(0)),
        "parameters": {"target": "given"},
        **CERTAINTY,
    }
    return make(**{**given, **changes})


class TestWordCertainty:
    def test_the_product_and_the_least_sure_token(self):
        probabilities, ranks, runners_up = certain().word_certainty()
        assert probabilities.tolist() == [0.5, 0.125, 0.125]
        assert ranks.tolist() == [1, 3, 2]
        assert runners_up == [" A", " sl", "!"]

    def test_of_two_tokens_of_one_rank_the_less_likely_is_the_place(self):
        swapped = certain(probabilities=torch.tensor([0.5, 0.5, 0.25, 0.125, 1.0]))
        assert swapped.word_certainty().runners_up[1] == " stop"

    def test_the_runner_up_has_the_beginning_of_the_word(self):
        worse = certain(ranks=torch.tensor([1, 1, 3, 2, 1]))
        assert worse.word_certainty().ranks[1] == 3
        assert worse.word_certainty().runners_up[1] == " stop"

    def test_the_worst_rank_decides_not_the_lowest_probability(self):
        """What is named beside a rank above 1 is what the model would have written."""
        found = certain(ranks=torch.tensor([1, 1, 2, 1, 1])).word_certainty()
        assert (found.ranks[1], found.runners_up[1]) == (2, " stop")

    def test_without_words(self):
        probabilities, ranks, runners_up = certain(words=[]).word_certainty()
        assert probabilities.shape == ranks.shape == (0,)
        assert runners_up == []

    @pytest.mark.parametrize("name", ["probabilities", "ranks", "runners_up"])
    def test_files_of_earlier_versions_lack_some_of_it(self, name, tmp_path):
        certain(**{name: None}).save(tmp_path / "a.npz")
        result = SpeechToTextAttributionResult.load(tmp_path / "a.npz")
        assert result.certainty is None
        with pytest.raises(ArgumentError, match="how sure the model was"):
            result.word_certainty()
        assert "prob" not in explanation_text(result)

    def test_is_the_same_from_a_file(self, tmp_path):
        certain().save(tmp_path / "a.npz")
        found = SpeechToTextAttributionResult.load(tmp_path / "a.npz").word_certainty()
        assert found.probabilities.tolist() == certain().word_certainty().probabilities.tolist()
        assert found.runners_up == certain().word_certainty().runners_up

    def test_of_a_model(self, tiny_whisper, audio):
        """Against the model's own forward pass: the words' probabilities and that of the end
        multiply to that of the text."""
        model, processor = tiny_whisper
        result = explained(tiny_whisper, audio)
        features = processor.feature_extractor(audio, sampling_rate=16_000, return_tensors="pt")
        ids = torch.tensor(result.parameters["sequence"]["ids"])
        with torch.no_grad():
            logits = model(features.input_features, decoder_input_ids=ids[None, :-1]).logits[0]
        logits = logits.log_softmax(-1)[-len(result.output_ids) :]
        steps = logits.gather(1, torch.tensor(result.output_ids)[:, None])[:, 0]
        found = result.word_certainty()
        for i, word in enumerate(result.words):
            rows = list(word.token_indices)
            assert float(found.probabilities[i].log()) == pytest.approx(
                float(steps[rows].sum()), abs=0.01
            )
            better = (logits[rows] > steps[rows, None]).sum(1)
            assert int(found.ranks[i]) == 1 + int(better.max())


def explained(model_and_processor, audio, method=None, **given):
    model, processor = model_and_processor
    explainer = SpeechToTextAttribution((method or SPES)(model), processor)
    settings = {"n_samples": 20, "n_token_samples": 20, "patches_per_second": 30, "seed": 0}
    return explainer.attribute(audio, **{"target": "the cat", **settings, **given})


def told(result):
    return " ".join(explanation_text(result).split("speech: mean")[0].split())


class TestTable:
    def test_each_token_has_its_probability_rank_and_runner_up(self):
        lines = explanation_text(certain()).split("\n")
        first = next(i for i, line in enumerate(lines) if line.startswith("token "))
        assert lines[first].split()[6:10] == ["prob", "rank", "runner-up", "strongest"]
        rows = [line.split() for line in lines[first + 1 : first + 6]]
        assert [row[4:7] for row in rows] == [
            ["0.50", "1", "A"],
            ["0.25", "3", "sl"],
            ["0.50", "3", "op"],
            ["0.12", "2", "!"],
            ["1.00", "1", "."],
        ]

    def test_words_of_several_tokens_have_lines_of_their_own(self):
        words = explanation_text(certain()).split("word of several tokens")[1].split("\n")
        assert [line.split() for line in words] == [
            ["prob", "rank", "runner-up"],
            ["step", "0.12", "3", "sl"],
        ]
        assert "step" in explanation_text(certain(), [2])
        assert "word of several tokens" not in explanation_text(certain(), [0, 3])

    def test_lines_are_narrow(self):
        """Below the line of the settings, whatever the tokens are."""
        long = certain(
            output_tokens=[" The", " " + "x" * 90, "ep", ".", "<|end|>"],
            runners_up=["y" * 90] * 5,
            words=[Word("x" * 90, (1, 2))],
        )
        for result in (certain(), long):
            assert max(map(len, explanation_text(result).split("\n")[2:])) <= 100

    def test_summaries_hold_them(self):
        summary = summarize_tokens(certain())[1]
        assert (summary.probability, summary.rank, summary.runner_up) == (0.25, 3, " sl")

    def test_a_score_with_units_of_its_own_has_none(self):
        one = {"spectrogram_attr": torch.ones(1, 30, 80), "token_attr": None}
        result = certain(output_tokens=["all of it"], words=[], **one)
        assert summarize_tokens(result)[0].rank is None
        assert "prob, rank" not in explanation_text(result)
        assert "3 of 5 tokens are not its first choice" in told(result)

    def test_without_previous_tokens(self, tiny_whisper, audio):
        text = explanation_text(explained(tiny_whisper, audio, n_token_samples=0))
        assert "runner-up" in text
        assert "strongest previous token" not in text


class TestGivenTarget:
    def test_what_the_model_gives_it(self):
        text = told(certain())
        total = math.log(0.5 * 0.25 * 0.5 * 0.125)
        assert f"a log-probability of {total / 5:.2f} per token, {total:.2f} in all" in text
        assert "the target was given, not written by the model" in text
        assert (
            "3 of 5 tokens are not its first choice: step (rank 3, likeliest sl), . (rank 2,"
            in text
        )
        assert "The (" not in text

    def test_a_token_that_spells_no_word(self):
        text = told(certain(ranks=torch.tensor([1, 1, 1, 1, 7])))
        assert text.endswith(
            "1 of 5 tokens are not its first choice: <|end|> (rank 7, likeliest .)"
        )

    def test_all_are_its_first_choice(self):
        assert told(certain(ranks=torch.ones(5).long())).endswith("each token is its first choice")

    def test_what_underflows_is_a_bound(self):
        text = told(certain(probabilities=torch.tensor([0.5, 0.25, 0.5, 0.125, 0.0])))
        assert "log-probability of at most -18." in text
        assert "inf" not in text

    def test_many_are_cut(self):
        n = 40
        tokens = [f" w{i}" for i in range(n)]
        text = told(
            certain(
                output_tokens=tokens,
                output_ids=list(range(n)),
                words=[Word(token.strip(), (i,)) for i, token in enumerate(tokens)],
                spectrogram_attr=torch.ones(n, 30, 80),
                token_attr=torch.ones(n, 4),
                probabilities=torch.full((n,), 0.1),
                ranks=torch.full((n,), 2),
                runners_up=["a"] * n,
            )
        )
        assert text.endswith("w11 (rank 2, likeliest a) and 28 more")

    def test_of_what_the_model_wrote_nothing_is_told(self):
        assert "given" not in explanation_text(certain(parameters={"target": "generated"}))
        assert "given" not in explanation_text(certain(parameters={}))

    def test_a_control_asks_the_model_nothing(self, tiny_whisper, audio):
        text = explanation_text(explained(tiny_whisper, audio, EnergyMap, n_token_samples=0))
        assert "the target was given, not written by the model\n" in text
        assert "log-probability" not in text

    def test_of_a_model(self, tiny_whisper, audio):
        result = explained(tiny_whisper, audio)
        mean = float(result.probabilities.double().log().mean())
        assert f"log-probability of {mean:.2f} per token" in told(result)
        unlikely = int((result.ranks > 1).sum())
        assert f"{unlikely} of {len(result.ranks)} tokens are not its first choice: the" in told(
            result
        )
