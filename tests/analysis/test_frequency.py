"""Known answers of the analysis of frequency."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from captum_spes.alignment import Alignment, Interval
from captum_spes.analysis import Profiles, compare_profiles, frequency_profiles, plot_profiles
from captum_spes.errors import ArgumentError
from captum_spes.maps import Band
from tests.analysis.planted import BINS, bump, noise, planted_result

# Bins of 500 Hz: below and above 4 kHz.
BANDS = [0, 4000, 8000]


def utterance(seed, so_is_high=True):
    """*So* from 0.1 to 0.3 s rests on what lies above 4 kHz, *no* from 0.5 to 0.7 s below."""
    high, low = ((8, 16), (0, 8)) if so_is_high else ((0, 8), (0, 8))
    end = 0.2 if so_is_high else 0.3
    maps = [bump(0.1, end, *high, seed=seed), bump(0.5, 0.7, *low, seed=seed + 100)]
    times = [(0.1, 0.3), (0.5, 0.7)]
    return planted_result([" So", " no"], torch.stack(maps), times=times)


@pytest.fixture
def results():
    return {f"u{seed}": utterance(seed) for seed in range(8)}


class TestProfiles:
    def test_bands_of_words(self, results):
        found = frequency_profiles(results, bands=BANDS)
        so, no = (found.table[found.table["unit"] == unit] for unit in ("so", "no"))
        assert len(so) == len(no) == 8
        assert (so["frames"] == 20).all()
        assert (so["4000-8000 Hz"] > 0.95).all()
        assert (so["0-4000 Hz"] < 0.1).all()
        assert (no["0-4000 Hz"] > 0.95).all()

    def test_only_frames_of_the_unit_count(self, results):
        """/s/ holds the friction, the vowel after it nothing."""
        spoken = (Interval("so", 0.1, 0.3), Interval("no", 0.5, 0.7))
        phones = (Interval("S", 0.1, 0.2), Interval("OW", 0.2, 0.3), Interval("N", 0.5, 0.7))
        alignments = dict.fromkeys(results, Alignment(spoken, phones))
        found = frequency_profiles(results, alignments=alignments, bands=BANDS).table
        assert found["unit"].value_counts().to_dict() == {"S": 8, "OW": 8, "N": 8}
        means = found.groupby("unit")["4000-8000 Hz"].mean()
        assert means["S"] > 0.95
        assert means["OW"] < 0.1
        assert found.loc[found["unit"] == "S", "word"].unique().tolist() == ["So"]

    def test_the_maximum_over_frames(self):
        saliency = noise(1)
        saliency[0, 15, 4] = 1.0
        result = planted_result([" so"], saliency, times=[(0.1, 0.3)])
        row = frequency_profiles({"a": result}, bands="bins").table.iloc[0]
        assert row["2250 Hz"] == 1
        assert row["250 Hz"] < 0.05

    def test_the_mean_over_frames_does_not_rise_with_their_number(self):
        saliency = noise(1, 3)
        result = planted_result([" so"], saliency, times=[(0.1, 0.9)])
        short = planted_result([" so"], saliency, times=[(0.1, 0.15)])
        for over, differ in (("max", True), ("mean", False)):
            long_row, short_row = (
                frequency_profiles({"a": r}, bands=[0, 8000], over_frames=over).table.iloc[0, -1]
                for r in (result, short)
            )
            assert (long_row - short_row > 0.1) == differ
        with pytest.raises(ArgumentError, match="over_frames"):
            frequency_profiles({"a": result}, over_frames="median")

    def test_named_bands(self, results):
        voice = frequency_profiles(results, bands={"low": (0, 1000), "all": (0, 8000)}).table
        assert {"low", "all"} <= set(voice.columns)
        bark = frequency_profiles(results).table
        assert bark["100-200 Hz"].isna().all()  # narrower than the bins

    def test_groups_and_dropped(self, results):
        extra = {**results, "silent": planted_result([" so"])}
        found = frequency_profiles(extra, groups={"u0": "female"}, bands=BANDS)
        assert found.table.groupby("utterance")["group"].first().to_dict()["u0"] == "female"
        assert list(found.dropped) == ["silent"]

    def test_models_with_other_mel_bins(self, results):
        other = planted_result([" so"], mel_frequencies=torch.arange(BINS) * 400.0)
        with pytest.raises(ArgumentError, match="different mel bins"):
            frequency_profiles({**results, "other": other})


class TestComparison:
    def test_words_that_differ(self, results):
        found = compare_profiles(frequency_profiles(results, bands=BANDS), "so", "no")
        tests = found.tests.set_index("question")
        high, low = tests.loc["so - no, 4000-8000 Hz"], tests.loc["so - no, 0-4000 Hz"]
        assert high["estimate"] > 0.9
        assert low["estimate"] < -0.9
        # Of 12,870 ways to divide the 16 only the two extreme ones are as far apart.
        assert high["p"] < 0.001
        assert (high["n"], high["utterances"], high["alternative"]) == (16, 8, "two-sided")
        assert high["low"] <= high["estimate"] <= high["high"]
        assert "2 tests" in high["correction"]

    def test_words_that_do_not(self):
        results = {f"u{seed}": utterance(seed, so_is_high=False) for seed in range(8)}
        found = compare_profiles(frequency_profiles(results, bands=BANDS), "so", "no")
        assert (found.tests["p"] > 0.01).all()

    def test_groups(self, results):
        groups = {name: "ab"[number % 2] for number, name in enumerate(results)}
        profiles = frequency_profiles(results, groups=groups, bands=BANDS)
        found = compare_profiles(profiles, "a", "b", by="group")
        assert (found.tests["p"] > 0.05).all()
        # Words of an utterance count as one.
        assert found.tests["n"].tolist() == [8, 8]
        assert found.tests["utterances"].tolist() == [8, 8]
        by_speaker = {
            name: f"speaker {number // 2 * 2 + number % 2}" for number, name in enumerate(results)
        }
        found = compare_profiles(profiles, "a", "b", by="group", speakers=by_speaker)
        assert found.tests["n"].tolist() == [8, 8]
        # Four means each are too few for an interval, and for a p below 2 of 70.
        assert found.tests["low"].isna().all()
        assert found.tests["test"].str.endswith("70, p at least 0.029").all()

    def test_groups_are_compared_word_by_word(self, results):
        """One group says *so* more often, which alone is no difference."""
        groups, more = {}, {}
        for number, (name, result) in enumerate(results.items()):
            groups[name] = "ab"[number % 2]
            words = result.words if number % 2 else [*result.words, result.words[0]] * 2
            more[name] = replace(result, words=words)
        profiles = frequency_profiles(more, groups=groups, bands=BANDS)
        found = compare_profiles(profiles, "a", "b", by="group")
        assert (found.tests["estimate"].abs() < 0.02).all()
        assert (found.tests["p"] > 0.01).all()

    def test_groups_that_differ_in_one_word(self, results):
        groups = {name: "ab"[number % 2] for number, name in enumerate(results)}
        lower = {
            name: utterance(number, so_is_high=groups[name] == "a")
            for number, name in enumerate(results)
        }
        profiles = frequency_profiles(lower, groups=groups, bands=BANDS)
        tests = compare_profiles(profiles, "a", "b", by="group").tests.set_index("question")
        # Of two words one is apart by 1.
        assert tests.loc["a - b, 4000-8000 Hz", "estimate"] == pytest.approx(0.5, abs=0.05)
        # Of the 70 ways to divide eight utterances two are as far apart.
        assert tests.loc["a - b, 4000-8000 Hz", "p"] == pytest.approx(2 / 70)
        assert " 70," in tests.loc["a - b, 4000-8000 Hz", "test"]

    def test_false_alarms_with_clustered_words(self):
        """Ten words of each of eight utterances that have a level of their own: no difference."""
        generator = np.random.default_rng(0)
        rows = pd.DataFrame({
            "utterance": np.repeat([f"u{i}" for i in range(8)], 10),
            "unit": list("abcdefghij") * 8,
            "group": np.repeat(list("xxxxyyyy"), 10),
        })  # fmt: skip
        band = Band("low", 0, 1000)
        alarms = []
        for _ in range(150):
            level = np.repeat(generator.standard_normal(8), 10)
            table = rows.assign(low=level + generator.standard_normal(80))
            profiles = Profiles(table, table.iloc[:0], {}, (band,))
            found = compare_profiles(profiles, "x", "y", by="group")
            alarms.append(found.tests["p"].iloc[0] < 0.05)
        assert np.mean(alarms) < 0.1

    def test_the_seed_decides(self, results):
        profiles = frequency_profiles(results, bands=BANDS)
        first, same = (compare_profiles(profiles, "so", "no", seed=1).tests for _ in range(2))
        assert first.equals(same)

    def test_names_as_they_are_written(self, results):
        profiles = frequency_profiles(results, bands=BANDS)
        written = compare_profiles(profiles, "So", "No").tests
        assert written.equals(compare_profiles(profiles, "so", "no").tests)
        with pytest.raises(ArgumentError, match="with itself"):
            compare_profiles(profiles, "So", "so")
        with pytest.raises(ArgumentError, match="by must be"):
            compare_profiles(profiles, "so", "no", by="speaker")
        with pytest.raises(ArgumentError, match="no row has a group"):
            plot_profiles(profiles, by="group")

    def test_too_few(self, results):
        with pytest.raises(ArgumentError, match=r"'yes' in 0; .* most frequent are so, no"):
            compare_profiles(frequency_profiles(results), "so", "yes")


def test_figure(results):
    profiles = frequency_profiles(results, bands=BANDS)
    (axes,) = plot_profiles(profiles, ["so", "no"]).axes
    assert [line.get_label() for line in axes.get_lines()] == ["so (n = 8)", "no (n = 8)"]
    so, _ = axes.get_lines()
    assert np.allclose(so.get_xdata(), [2000, 6000])
    assert np.diff(so.get_ydata())[0] > 0.9
    with pytest.raises(ArgumentError, match="yes does not occur"):
        plot_profiles(profiles, ["yes"])
    assert axes.get_xscale() == "log"
    # Regions that overlap stand side by side under their names.
    (voice,) = plot_profiles(frequency_profiles(results, bands="voice")).axes
    assert [text.get_text() for text in voice.get_xticklabels()] == ["F0", "F1", "F2"]
