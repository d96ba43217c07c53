"""Onsets of maps against boundaries of phones: planted ones are found, others are chance."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from captum_spes.alignment import Alignment, Interval
from captum_spes.analysis import phone_boundary_agreement
from captum_spes.errors import ArgumentError, ArgumentTypeError
from tests.analysis.planted import BINS, FRAMES, noise, planted_result

WORDS = (Interval("la", 0.1, 0.9),)
# Boundaries at 0.1, 0.3, 0.45, 0.7 and 0.9 s.
EDGES = (0.1, 0.3, 0.45, 0.7, 0.9)
SPOKEN = Alignment(
    WORDS,
    tuple(Interval("a", *ends) for ends in pairwise(EDGES)),
)


def map_with(onsets, frames=4, seed=1):
    """Salient for some frames of 10 ms from each onset on, over a little noise."""
    saliency = noise(1, seed)[0]
    for onset in onsets:
        start = round(onset * 100)
        saliency[start : start + frames, 3] += 1
    return saliency


def found_in(*maps, alignment=SPOKEN, **options):
    maps = torch.stack([torch.as_tensor(own) for own in maps])
    result = planted_result(["▁la", "la"][: len(maps)], maps)
    options = {"tolerance": 0.02, "top": 0.2, **options}
    findings = phone_boundary_agreement({"one": result}, {"one": alignment}, **options)
    return findings.table.iloc[0]


class TestCounts:
    def test_onsets_at_boundaries_are_hits(self):
        row = found_in(map_with(EDGES))
        assert (row["boundaries"], row["onsets"], row["hits"], row["outside"]) == (5, 5, 5, 0)
        assert (row["precision"], row["recall"], row["f1"]) == (1, 1, 1)

    def test_by_hand(self):
        """Of four onsets two are near one of the five boundaries."""
        row = found_in(map_with((0.12, 0.2, 0.46, 0.6), frames=5))
        assert (row["onsets"], row["hits"]) == (4, 2)
        assert row["precision"] == pytest.approx(2 / 4)
        assert row["recall"] == pytest.approx(2 / 5)
        assert row["f1"] == pytest.approx(2 / 4.5)

    def test_the_tolerance_is_part_of_what_is_tolerated(self):
        for distance, hits in ((0.02, 5), (0.03, 0), (-0.02, 5), (-0.03, 0)):
            # Without the outer ones, which may lie outside of the speech.
            row = found_in(map_with([edge + distance for edge in EDGES]))
            inner = row["hits"]
            assert inner == hits, distance
        assert found_in(map_with([edge + 0.03 for edge in EDGES[:-1]]), tolerance=0.03)["hits"] == 4

    def test_each_has_one_partner(self):
        near = Alignment(WORDS, (Interval("a", 0.3, 0.595), Interval("b", 0.605, 0.7)))
        row = found_in(map_with((0.6,), frames=20), alignment=near)
        assert (row["boundaries"], row["onsets"], row["hits"]) == (4, 1, 1)
        row = found_in(map_with((0.29, 0.31), frames=1), alignment=near, top=0.02)
        assert (row["onsets"], row["hits"]) == (2, 1)

    def test_boundaries_that_two_phones_share_count_once(self):
        gap = Alignment(WORDS, (Interval("a", 0.1, 0.3), Interval("b", 0.3004, 0.9)))
        assert found_in(map_with(EDGES), alignment=gap)["boundaries"] == 3

    def test_onsets_beside_the_speech_do_not_count(self):
        row = found_in(map_with((0.02, 0.1, 0.45, 0.95), frames=5))
        assert (row["onsets"], row["outside"], row["precision"]) == (2, 2, 1)

    def test_what_is_salient_from_the_start_has_no_onset(self):
        row = found_in(map_with((0.0, 0.45), frames=10))
        assert (row["onsets"], row["outside"]) == (1, 0)

    def test_a_frame_is_as_salient_as_its_highest_bin(self):
        one = map_with((0.3, 0.7), frames=10)
        other = torch.zeros(FRAMES, BINS)
        other[30:40] = other[70:80] = 0.5  # each bin lower, their mean higher
        other[10:20, 0] = other[50:60, 5] = 1
        assert found_in(one)["precision"] == 1
        assert found_in(other)["hits"] == 1  # of 0.1 and 0.5


class TestChance:
    def test_is_the_mean_over_all_shifts(self):
        """One onset; five windows of five frames, of which first and last share one where the
        speech, 84 frames with the tolerance at both ends, begins again; and itself is no chance."""
        row = found_in(map_with((0.3,), frames=20))
        assert row["hits"] == 1
        assert row["chance_precision"] == pytest.approx(23 / 83, abs=1e-3)
        assert row["chance_recall"] == pytest.approx(23 / 83 / 5, abs=1e-3)
        assert row["chance_f1"] == pytest.approx(23 / 83 / 3, abs=1e-3)

    def test_any_map_with_many_onsets_has_a_high_one(self):
        row = found_in(map_with(np.arange(0.1, 0.9, 0.05), frames=1), tolerance=0.02)
        assert row["recall"] > 0.75
        assert row["chance_recall"] > 0.75

    def test_lying_in_speech_counts_for_nothing(self):
        """Onsets at random places in the speech are chance, though none lies beside it."""
        generator = np.random.default_rng(0)
        results, spoken = {}, {}
        for name in map(str, range(60)):
            onsets = generator.choice(np.arange(0.08, 0.92, 0.01), 4, replace=False)
            results[name] = planted_result(["▁la"], map_with(onsets, seed=int(name))[None])
            spoken[name] = SPOKEN
        found = phone_boundary_agreement(results, spoken).tests
        assert found["question"].tolist() == [
            "precision > chance", "recall > chance", "F1 > chance"
        ]  # fmt: skip
        assert found["estimate"].abs().max() < 0.06
        assert (found["p"] > 0.01).all()
        assert (found["utterances"] == 60).all()

    def test_planted_onsets_are_above_it(self):
        results = {str(n): planted_result(["▁la"], map_with(EDGES)[None]) for n in range(4)}
        results["4"] = planted_result(["▁la"], map_with(EDGES[1:])[None])
        found = phone_boundary_agreement(results, dict.fromkeys(results, SPOKEN)).tests
        assert (found["estimate"] > 0.5).all()
        assert (found["p_corrected"] < 0.01).all()


class TestTokens:
    def test_onsets_of_all_tokens_are_taken_together(self):
        maps = map_with((0.1, 0.3), frames=10), map_with((0.3, 0.7), frames=10)
        row = found_in(*maps, tokens=True)
        assert (row["onsets"], row["hits"]) == (3, 3)

    def test_a_map_that_is_the_same_for_all_has_those_of_its_sentence(self):
        one, both = (found_in(map_with(EDGES), map_with(EDGES), tokens=t) for t in (False, True))
        assert one.drop("reliability").equals(both.drop("reliability"))

    def test_tokens_whose_maps_are_noise_are_left_out(self):
        result = noisy((0.9, 0.2))
        spoken = {"one": SPOKEN}
        found = [
            phone_boundary_agreement({"one": result}, spoken, tokens=True, keep_noise=keep)
            for keep in (False, True)
        ]
        assert [own.table["onsets"][0] for own in found] == [1, 2]
        assert found[0].table["reliability"][0] == pytest.approx(0.9)


def noisy(of_tokens=(0.9, 0.9)):
    """An explanation whose file says how reliable it is; each of two tokens has one onset."""
    maps = torch.stack([map_with((edge,), frames=20) for edge in (0.3, 0.7)])
    found = {
        "tokens": list(of_tokens), "words": [0.9], "sentence": 0.3, "standard_error": [0.0, 0.0],
        "previous_tokens": None,
    }  # fmt: skip
    counts = {"n_samples_evaluated": 50, "n_token_samples_evaluated": 50}
    return planted_result(["▁la", "la"], maps, parameters={"reliability": found, **counts})


class TestLeftOut:
    def test_noise_is_in_the_table_and_not_in_the_tests(self):
        found = phone_boundary_agreement({"one": noisy()}, {"one": SPOKEN})
        assert found.table["reliability"].tolist() == [0.3]
        assert (found.tests["n"] == 0).all()

    def test_utterances_without_phones_or_onsets_are_told(self):
        flat = torch.ones(1, FRAMES, BINS)
        results = {
            "one": planted_result(["▁la"], map_with(EDGES)[None]),
            "flat": planted_result(["▁la"], flat),
            "words": planted_result(["▁la"]),
            "unknown": planted_result(["▁la"]),
        }
        spoken = {"one": SPOKEN, "flat": SPOKEN, "words": Alignment(WORDS)}
        found = phone_boundary_agreement(results, spoken)
        assert found.table["utterance"].tolist() == ["one"]
        assert found.dropped == {
            "flat": "no onset within the speech",
            "words": "no times of phones",
            "unknown": "no times of phones",
        }
        del results["one"]
        with pytest.raises(ArgumentError, match="flat: no onset within the speech"):
            phone_boundary_agreement(results, spoken)

    @pytest.mark.parametrize(
        ("options", "told"),
        [({"top": 1.0}, "top"), ({"tolerance": 0}, "tolerance"), ({"tolerance": -1}, "tolerance")],
    )
    def test_arguments_out_of_range(self, options, told):
        with pytest.raises(ArgumentError, match=told):
            found_in(map_with(EDGES), **options)

    def test_arguments_of_other_kinds(self):
        with pytest.raises(ArgumentTypeError, match="tokens must be True or False"):
            found_in(map_with(EDGES), tokens="all")
        with pytest.raises(ArgumentTypeError, match="dict of explanations"):
            phone_boundary_agreement([], {})
