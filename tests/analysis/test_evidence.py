"""Known answers of the analysis of evidence in the audio."""

import numpy as np
import pytest
import torch
from scipy import stats

from captum_spes.alignment import Alignment, Interval
from captum_spes.analysis import (
    align_results,
    hallucination_check,
    plot_hallucination_check,
    plot_token_evidence,
    roc_auc,
    token_evidence,
    was_matched,
    word_evidence,
)
from captum_spes.errors import ArgumentError
from tests.analysis.planted import bump, noise, planted_result, previous

TOKENS = [" so", " un", "likely", ",", " no", "?", "<|end|>"]


def planted(seed=0):
    """Words rest on a small place of the audio, all else on nothing in it."""
    maps = noise(len(TOKENS), seed)
    for row in (0, 1, 4):
        maps[row] = bump(0.1 * row, 0.1 * row + 0.03, 4, 6, seed)
    tokens = previous(len(TOKENS), list(range(len(TOKENS))))
    result = planted_result(TOKENS[:-1], maps[:-1], tokens[:-1, :-1])
    # The end of sentence belongs to no word.
    return planted_result(TOKENS, maps, tokens, words=result.words)


class TestTokens:
    def test_kinds(self):
        found = token_evidence({"a": planted()}).table
        assert found["kind"].tolist() == [
            "start of a word", "start of a word", "within a word", "punctuation",
            "start of a word", "punctuation", "end of sentence",
        ]  # fmt: skip

    def test_kinds_of_words_that_an_alignment_put_together(self):
        result = planted_result([" it", "'", "s", "."])
        spoken = Alignment((Interval("it's", 0.1, 0.3),))
        aligned = align_results({"a": result}, {"a": spoken}).results
        assert token_evidence(aligned).table["kind"].tolist() == [
            "start of a word", "punctuation", "within a word", "punctuation",
        ]  # fmt: skip
        assert token_evidence({"a": result}).table["kind"].tolist() == (
            token_evidence(aligned).table["kind"].tolist()
        )

    def test_values(self):
        result = planted()
        row = token_evidence({"a": result}).table.iloc[4]
        cells = result.spectrogram_attr[4].double().numpy().ravel()
        assert row["impact"] == pytest.approx(cells.mean())
        assert row["peak_impact"] == pytest.approx(cells.max())
        fourth = ((cells - cells.mean()) ** 4).mean() / cells.var() ** 2 - 3
        assert row["kurtosis"] == pytest.approx(fourth)
        assert row["speech_share"] == pytest.approx(float(result.speech_share()[4]))

    def test_concentrated_maps_have_the_higher_kurtosis(self):
        found = token_evidence({str(seed): planted(seed) for seed in range(4)})
        tests = found.tests.set_index("question")
        marks = tests.loc["kurtosis, start of a word > punctuation, tokens"]
        assert marks["effect_size"] == 1
        assert marks["p"] == pytest.approx(
            stats.mannwhitneyu(np.arange(8, 20), np.arange(8), alternative="greater").pvalue
        )
        assert marks["n"] == 20
        assert tests["utterances"].tolist() == [4] * 6
        by_utterance = tests.loc["kurtosis, start of a word > punctuation, utterances"]
        assert by_utterance["n"] == 4
        assert by_utterance["p"] < 0.001
        medians = found.table.groupby(["utterance", "kind"])["kurtosis"].median().unstack()
        expected = (medians["start of a word"] - medians["punctuation"]).mean()
        assert by_utterance["estimate"] == pytest.approx(expected)

    def test_one_flat_map_does_not_spoil_the_test(self):
        results = {str(seed): planted(seed) for seed in range(4)}
        results["0"].spectrogram_attr[3] = 0.5
        tests = token_evidence(results).tests.set_index("question")
        marks = tests.loc["kurtosis, start of a word > punctuation, tokens"]
        assert marks["n"] == 19
        assert marks["p"] < 0.001

    def test_without_previous_tokens_and_flat_maps(self):
        result = planted_result([" so", "."], torch.ones(2, 100, 16))
        found = token_evidence({"a": result})
        assert found.table["speech_share"].isna().all()
        assert found.table["kurtosis"].isna().all()
        assert found.tests["p"].isna().all()


class TestWords:
    def test_words_are_means_of_tokens_without_punctuation(self):
        result = planted()
        found = word_evidence({"a": result}).table
        assert found["word"].tolist() == ["so", "unlikely", "no"]
        mean = result.spectrogram_attr[1:3].double().mean()
        assert found.loc[1, "impact"] == pytest.approx(float(mean))
        assert found.loc[1, "speech_share"] == pytest.approx(
            float(result.speech_share()[1:3].mean())
        )

    def test_nothing_but_punctuation(self):
        found = word_evidence({"a": planted(), "b": planted_result(["."])})
        assert found.dropped == {"b": "no word"}

    def test_which_were_spoken(self):
        spoken = Alignment((Interval("so", 0.1, 0.2), Interval("now", 0.3, 0.5)))
        aligned = align_results({"a": planted()}, {"a": spoken})
        assert was_matched(word_evidence(aligned.results), aligned.results) == [True, False, False]


class TestHallucinationCheck:
    def words(self):
        """Six utterances: two words with, one without evidence."""
        results = {str(seed): planted(seed) for seed in range(6)}
        for result in results.values():
            result.spectrogram_attr[4] *= 0.001
        return word_evidence(results)

    def test_separated(self):
        words = self.words()
        check = hallucination_check(words, words.table["word"] != "no")
        tests = check.tests.set_index("question")
        impact = tests.loc["impact, said > not said"]
        assert impact["effect_size"] == 1
        assert (impact["auc_low"], impact["auc_high"]) == (1, 1)
        assert (impact["n"], impact["utterances"]) == (18, 6)
        assert impact["p"] < 0.01

    def test_labels_by_chance(self):
        words = self.words()
        labels = np.random.default_rng(1).random(18) < 0.5
        check = hallucination_check(words, labels)
        row = check.tests.iloc[0]
        assert row["auc_low"] < row["effect_size"] < row["auc_high"]
        assert row["auc_low"] < 0.5 < row["auc_high"]

    def test_words_without_a_value_are_left_out(self):
        words = self.words()
        words.table.loc[0, "impact"] = np.nan
        tests = hallucination_check(words, words.table["word"] != "no").tests
        impact = tests.set_index("question").loc["impact, said > not said"]
        assert impact["n"] == 17
        assert (impact["effect_size"], impact["auc_low"], impact["auc_high"]) == (1, 1, 1)

    def test_few_clusters_have_no_interval(self):
        words = self.words()
        clusters = ["ab"[int(name) % 2] for name in words.table["utterance"]]
        check = hallucination_check(words, words.table["word"] != "no", clusters=clusters)
        assert check.tests["auc_low"].isna().all()
        assert check.tests.loc[0, "effect_size"] == 1

    def test_unusable_labels(self):
        words = self.words()
        for labels in ([True] * 18, [False] * 18, [True, False]):
            with pytest.raises(ArgumentError, match="both kinds among them"):
                hallucination_check(words, labels)

    def test_figure(self):
        words = self.words()
        figure = plot_hallucination_check(hallucination_check(words, words.table["word"] != "no"))
        (axes,) = figure.axes
        curve = axes.get_lines()[0]
        assert curve.get_label() == "mean impact: 1.00"
        # All words that were said pass before the first that was not.
        assert 1.0 in curve.get_ydata()[curve.get_xdata() == 0]
        assert axes.get_title() == "12 words said, 6 not"


def test_roc_auc():
    assert roc_auc([2, 3], [0, 1]) == 1
    assert roc_auc([0, 1], [0, 1]) == 0.5
    assert roc_auc([1], [0, 1, 2, 3]) == pytest.approx(1.5 / 4)
    assert np.isnan(roc_auc([], [1]))


def test_figure_of_tokens():
    (axes,) = plot_token_evidence(token_evidence({"a": planted()})).axes
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert labels == [
        "start of a word\n(n = 3)", "within a word\n(n = 1)", "punctuation\n(n = 2)",
        "end of sentence\n(n = 1)",
    ]  # fmt: skip
