"""Known answers of the analysis of frequency."""

import numpy as np
import pytest
import torch

from captum_spes.alignment import Alignment, Interval
from captum_spes.analysis import compare_profiles, frequency_profiles, plot_profiles
from captum_spes.errors import ArgumentError
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
        assert high["mean"] > 0.9
        assert low["mean"] < -0.9
        # Of 12,870 ways to divide the 16 only the two extreme ones are as far apart.
        assert high["p"] < 0.001
        assert (high["n"], high["utterances"], high["alternative"]) == (16, 8, "two-sided")
        assert high["low"] <= high["mean"] <= high["high"]
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
        assert found.tests["n"].tolist() == [16, 16]

    def test_the_seed_decides(self, results):
        profiles = frequency_profiles(results, bands=BANDS)
        first, same = (compare_profiles(profiles, "so", "no", seed=1).tests for _ in range(2))
        assert first.equals(same)

    def test_too_few(self, results):
        with pytest.raises(ArgumentError, match="'yes' 0 times"):
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
    named = frequency_profiles(results, bands={"low": (0, 1000)})
    with pytest.raises(ArgumentError, match="does not tell where it lies"):
        plot_profiles(named)
