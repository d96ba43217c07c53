"""Known answers of the analysis of time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from captum_spes.analysis import mean_test, plot_time, time_analysis
from captum_spes.analysis.findings import utterance_means
from captum_spes.errors import ArgumentError, ArgumentTypeError
from tests.analysis.planted import FRAMES, bump, noise, planted_result

TOKENS = [" one", " two", " three", " four", "."]
OWN = (
    "inside - outside, own word > others",
    "pointing, own word > others",
    "ROC-AUC, own word > others",
)
TIMES = [(0.1, 0.2), (0.3, 0.4), (0.5, 0.6), (0.7, 0.8), None]


def planted(shift=0.0, seed=0, times=TIMES):
    maps = [bump(start + shift, end + shift, seed=seed) for start, end in TIMES[:-1]]
    return planted_result(TOKENS, torch.stack([*maps, noise(1, seed)[0]]), times=times)


def of(findings, question):
    return findings.tests.set_index("question").loc[question]


class TestPlantedMaps:
    def test_maps_at_their_words(self):
        found = time_analysis({"a": planted(), "b": planted(seed=1)})
        assert found.table["word"].tolist() == ["one", "two", "three", "four"] * 2
        assert found.table["hit"].all()
        assert (found.table["auc"] == 1).all()
        assert np.allclose(found.table["chance"].astype(float), 0.1)
        assert (found.table["inside"] > found.table["outside"] + 0.9).all()
        middles = (found.table["start"] + found.table["end"]) / 2
        assert np.allclose(found.table["centre"].astype(float), middles, atol=0.01)
        words = of(found, "inside > outside, words")
        assert (words["n"], words["utterances"], words["alternative"]) == (8, 2, "greater")
        assert words["p"] < 1e-9
        assert words["effect_size"] > 10
        assert of(found, "inside > outside, utterances")["n"] == 2
        pointing = of(found, "pointing, own word > others")
        assert pointing["effect_size"] == 1
        assert pointing["estimate"] == pytest.approx(1 - 1 / 4)
        # Of the 24 * 24 ways to give the words away one is as good.
        for question in OWN:
            assert of(found, question)["p"] == pytest.approx(1 / 576, abs=0.002)
        assert of(found, "centres follow the words (rho > 0)")["effect_size"] == pytest.approx(1)

    def test_maps_beside_their_words(self):
        found = time_analysis({"a": planted(shift=0.12), "b": planted(shift=0.12, seed=1)})
        assert not found.table["hit"].any()
        assert of(found, "inside > outside, words")["p"] > 0.99
        assert of(found, "pointing, own word > others")["p"] > 0.99
        # The order is right all the same.
        assert of(found, "centres follow the words (rho > 0)")["effect_size"] == pytest.approx(1)

    def test_a_map_of_loudness_is_told_from_a_map_of_words(self):
        """Every word's map is high wherever anybody speaks."""
        loud = torch.stack([bump(start, end) for start, end in TIMES[:-1]]).sum(0)
        maps = torch.stack([loud + noise(1, seed)[0] for seed in range(5)])
        results = {
            str(seed): planted_result(TOKENS, maps + noise(5, seed + 9), times=TIMES)
            for seed in range(8)
        }
        found = time_analysis(results)
        assert of(found, "inside > outside, utterances")["p"] < 1e-6
        assert of(found, "ROC-AUC of frames > 0.5, utterances")["p"] < 1e-6
        for question in OWN:
            assert of(found, question)["p"] > 0.01

    def test_maps_in_reverse_order(self):
        reverse = [*TIMES[:-1][::-1], None]
        found = time_analysis({"a": planted(times=reverse), "b": planted(seed=1, times=reverse)})
        assert of(found, "centres follow the words (rho > 0)")["effect_size"] == pytest.approx(-1)

    def test_noise_is_at_chance(self):
        results = {
            str(seed): planted_result(TOKENS, noise(5, seed), times=TIMES)
            for seed in range(200, 400)
        }
        found = time_analysis(results)
        assert found.table["auc"].mean() == pytest.approx(0.5, abs=0.015)
        assert found.table["hit"].mean() == pytest.approx(0.1, abs=0.03)
        assert (found.tests["p"] > 0.001).all()

    def test_a_frame_counts_with_its_highest_bin(self):
        """A narrow band within the word outweighs a broad faint one outside."""
        saliency = bump(0.1, 0.2, low=3, high=4)
        saliency[50:60] += 0.3
        found = time_analysis({"a": planted_result([" one"], saliency[None], times=[(0.1, 0.2)])})
        assert found.table.loc[0, "hit"]


class TestWhatIsLeftOut:
    def test_words_without_times_and_utterances_without_words(self):
        found = time_analysis({"a": planted(), "b": planted_result([" one"])})
        assert found.table["utterance"].unique().tolist() == ["a"]
        assert found.dropped == {"b": "no word with a time"}

    def test_words_beyond_the_recording(self):
        times = [(0.1, 0.2), (0.3, 0.4), (0.5, 0.6), (1.5, 1.6), None]
        found = time_analysis({"a": planted(times=times)})
        assert found.table["word"].tolist() == ["one", "two", "three"]
        assert found.dropped["a"].startswith("1 of 4 words")

    def test_a_word_that_fills_the_recording_has_no_outside(self):
        result = planted_result([" one"], times=[(0.0, FRAMES / 100)])
        found = time_analysis({"a": result, "b": planted()})
        assert found.dropped == {"a": "1 of 1 words have no frame inside, or none outside"}

    def test_no_times_at_all(self):
        with pytest.raises(ArgumentError, match="call align_results first"):
            time_analysis({"a": planted_result([" one"])})
        with pytest.raises(ArgumentTypeError, match=r"dict of explanations .* got list"):
            time_analysis([planted_result([" one"])])

    def test_one_word_has_no_test(self):
        found = time_analysis({"a": planted_result([" one"], times=[(0.1, 0.2)])})
        assert len(found.table) == 1
        assert found.tests["n"].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
        assert found.tests["p"].isna().all()

    def test_nothing_or_mixed_methods(self):
        with pytest.raises(ArgumentError, match="no explanation"):
            time_analysis({})
        with pytest.raises(ArgumentError, match=r"several methods \(SPES, Saliency\)"):
            time_analysis({"a": planted(), "b": planted_result([" a"], method="Saliency")})
        with pytest.raises(ArgumentError, match=r"several models \(other, planted\)"):
            time_analysis({"a": planted(), "b": planted_result([" a"], model_id="other")})


class TestTests:
    def test_t_test(self):
        """Student's t of 1, 2, 3 is 2 * sqrt(3); p from tables."""
        row = mean_test("", [1.0, 2.0, 3.0], ["a"] * 3)
        assert row["statistic"] == pytest.approx(2 * 3**0.5)
        assert row["p"] == pytest.approx(0.0370899, abs=1e-6)
        assert row["effect_size"] == pytest.approx(2)
        assert (row["low"], row["high"]) == pytest.approx((-0.4841, 4.4841), abs=1e-4)
        two_sided = mean_test("", [1.0, 2.0, 3.0], ["a"] * 3, alternative="two-sided")
        assert two_sided["p"] == pytest.approx(2 * row["p"])
        with_gap = mean_test("", [1.0, np.nan, 2.0, 3.0], ["a", "b", "a", "a"])
        assert with_gap == row

    def test_equal_values_have_no_test(self):
        row = mean_test("", [0.3, 0.1 + 0.2, 0.3], ["a", "b", "c"])
        assert row["estimate"] == pytest.approx(0.3)
        assert np.isnan(row["p"])

    def test_false_alarms_of_clustered_words_are_as_rare_as_p_says(self):
        """Words of an utterance share their luck; the test over utterances knows."""
        generator = np.random.default_rng(0)
        names = np.repeat([f"u{i}" for i in range(8)], 10)
        alarms = []
        for _ in range(400):
            values = np.repeat(generator.standard_normal(8), 10) + generator.standard_normal(80)
            alarms.append(mean_test("", *utterance_means(values, names.tolist()))["p"] < 0.05)
        assert np.mean(alarms) == pytest.approx(0.05, abs=0.03)

    def test_correction_is_that_of_benjamini_and_hochberg(self):
        found = time_analysis({str(s): planted(seed=s, shift=0.05) for s in range(3)})
        p = found.tests["p"].to_numpy(dtype=float)
        order = np.argsort(p)[::-1]
        expected = np.empty(len(p))
        smallest = 1.0
        for rank, index in zip(range(len(p), 0, -1), order, strict=True):
            smallest = min(smallest, p[index] * len(p) / rank)
            expected[index] = smallest
        assert np.allclose(found.tests["p_corrected"].to_numpy(dtype=float), expected)
        assert found.tests["correction"].iloc[0] == "Benjamini-Hochberg, 8 tests"

    def test_missing_pandas_is_named(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "pandas", None)
        with pytest.raises(ImportError, match=r"captum-spes\[analysis\]"):
            time_analysis({"a": planted()})


def test_figure():
    figure = plot_time(time_analysis({"a": planted()}))
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "4 words of 1 utterances", "ROC-AUC of the frames", "middle of the word (s)",
    ]  # fmt: skip
    found = time_analysis({"a": planted()})
    with pytest.raises(ArgumentError, match="nothing to draw"):
        plot_time(replace(found, table=found.table.iloc[:0]))
