"""Analyses leave out what is mostly noise, say so, and mark tests that are made on noise."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from captum_spes import Word
from captum_spes.alignment import Alignment, Interval
from captum_spes.analysis import (
    compare_profiles,
    dependence,
    frequency_profiles,
    hallucination_check,
    intermediate_explanations,
    mean_test,
    position_analysis,
    time_analysis,
    token_evidence,
    word_evidence,
)
from captum_spes.errors import ArgumentError
from captum_spes.report import write_analysis
from tests.analysis.planted import BINS, FRAMES, bump, planted_result, previous

TOKENS = (" so", " no", " go", " we")
SPANS = [(0.1, 0.2), (0.3, 0.4), (0.5, 0.6), (0.7, 0.8)]
ALIGNED = Alignment(
    tuple(Interval(t.strip(), *span) for t, span in zip(TOKENS, SPANS, strict=True))
)


def explained(reliabilities, seed=0, **changes):
    """Words that rest on their time, with the reliability that is given for each."""
    maps = torch.stack([bump(*span, seed=seed) for span in SPANS])
    found = {
        "tokens": reliabilities, "words": reliabilities, "previous_tokens": reliabilities,
        "sentence": 0.5, "standard_error": [0.1] * 4,
    }  # fmt: skip
    parameters = {
        "reliability": found, "n_samples_evaluated": 50, "n_token_samples_evaluated": 50
    }  # fmt: skip
    rows = {"token_attr": previous(4, [0, 1, 2, 2]), "times": SPANS, "parameters": parameters}
    return planted_result(list(TOKENS), maps, **{**rows, **changes})


def two(reliabilities, **changes):
    return {name: explained(reliabilities, seed, **changes) for seed, name in enumerate("ab")}


MIXED, NOISE = [0.9, 0.2, 0.7, 0.4], [0.3, 0.2, 0.4, 0.1]
ANALYSES = [
    pytest.param(lambda r, **kept: token_evidence(r, **kept), id="tokens"),
    pytest.param(lambda r, **kept: time_analysis(r, n_resamples=99, **kept), id="time"),
]


@pytest.mark.parametrize("analyse", ANALYSES)
class TestEachAnalysis:
    def test_noise_stays_in_the_table_and_out_of_the_tests(self, analyse):
        found = analyse(two(MIXED))
        assert found.table["reliability"].tolist() == pytest.approx(MIXED * 2)
        assert found.tested["reliability"].tolist() == pytest.approx([0.9, 0.7] * 2)
        assert found.tests["n"].max() == 4
        assert found.tests["reliability"].dropna().tolist() == pytest.approx(
            [0.8] * len(found.tests)
        )
        assert not (found.tests["noise"] == "mostly noise").any()

    def test_noise_that_is_kept_is_marked(self, analyse):
        found = analyse(two(NOISE), keep_noise=True)
        assert len(found.tested) == len(found.table) == 8
        assert found.tests["n"].max() == 8
        assert (found.tests["noise"] == "mostly noise").all()
        assert found.tests["reliability"].tolist() == pytest.approx([0.25] * len(found.tests))

    def test_nothing_but_noise_leaves_no_test(self, analyse):
        found = analyse(two(NOISE))
        assert len(found.table) == 8
        assert (found.tests["n"] == 0).all()
        assert found.tests["p"].isna().all()
        assert (found.tests["noise"] == "no rows left").all()

    def test_unknown_noise_is_unknown_and_leaves_nothing_out(self, analyse):
        found = analyse(two(NOISE, parameters={}))
        assert found.table["reliability"].isna().all()
        assert len(found.tested) == 8
        assert (found.tests["noise"] == "unknown").all()


def test_words_that_are_noise_do_not_decide_a_test():
    """Maps of noise at random places spoil what the other words show, unless they are left out."""
    results = {}
    for seed in range(6):
        good = explained([0.9, 0.9, 0.1, 0.1], seed)
        maps = good.spectrogram_attr.clone()
        maps[2:] = torch.stack([bump(*SPANS[0], seed=9), bump(*SPANS[1], seed=9)])
        results[f"u{seed}"] = replace(good, spectrogram_attr=maps)
    for keep_noise, hits in ((False, 1.0), (True, 0.5)):
        found = time_analysis(results, n_resamples=99, keep_noise=keep_noise)
        assert found.tested["hit"].mean() == hits


class TestPreviousTokens:
    def test_rows_of_previous_tokens_have_their_own_noise(self):
        found = position_analysis(two([0.1, 0.1, 0.9, 0.2]))
        assert found.table["reliability"].tolist() == pytest.approx([0.9, 0.2] * 2)
        assert (found.tests.query("question.str.endswith('tokens')")["n"] == 2).all()
        kept = position_analysis(two([0.1, 0.1, 0.9, 0.2]), keep_noise=True)
        assert kept.tests["n"].max() == 4
        assert set(kept.tests["noise"]) == {""}  # 0.55 in the mean

    def test_lists_and_single_tokens(self):
        results = {str(seed): explained([0.9, 0.9, 0.9, 0.2], seed) for seed in range(6)}
        positions = position_analysis(results)
        tokens = intermediate_explanations(positions, min_share=0)["token"].tolist()
        assert tokens == ["go"]
        with_noise = position_analysis(results, keep_noise=True)
        assert "we" in intermediate_explanations(with_noise, min_share=0)["token"].tolist()
        counts = [
            dependence(results, "we", "so", keep_noise=keep).tests["n"].tolist()
            for keep in (False, True)
        ]
        assert counts == [[0, 0], [6, 6]]


class TestFrequency:
    def test_comparisons_leave_noise_out_and_say_so(self):
        results = two(MIXED) | {"c": explained([0.9, 0.9, 0.9, 0.9], 2)}
        profiles = frequency_profiles(results, bands=[0, 4000, 8000])
        found = compare_profiles(profiles, "so", "go")
        assert (found.tests["noise"] == "").all()
        assert found.tests["reliability"].iloc[0] == pytest.approx((4 * 0.8 + 1.8) / 6)
        with pytest.raises(ArgumentError, match="without 4 words that are mostly noise"):
            compare_profiles(profiles, "so", "no")
        kept = frequency_profiles(results, bands=[0, 4000, 8000], keep_noise=True)
        tests = compare_profiles(kept, "no", "we").tests
        assert (tests["noise"] == "mostly noise").all() == (tests["reliability"] < 0.5).all()
        assert (tests["n"] == 6).all()

    def test_maps_without_frequency_are_refused(self):
        flat = torch.stack([bump(*span).mean(1, keepdim=True).expand(-1, BINS) for span in SPANS])
        of_time = (torch.arange(FRAMES)[:, None] // 10).expand(1, FRAMES, BINS).clone()
        results = {
            "attention": replace(explained(MIXED), spectrogram_attr=flat),
            "patches of time": explained(MIXED, feature_masks=of_time),
        }
        with pytest.raises(ArgumentError, match="no frequency to analyse"):
            frequency_profiles(results)
        found = frequency_profiles({**results, "c": explained(MIXED)})
        assert set(found.table["utterance"]) == {"c"}
        assert found.dropped == dict.fromkeys(results, "its maps say nothing of frequency")


def test_what_was_not_said_is_not_left_out():
    """Its maps are noise because it was not said."""
    words = word_evidence(two(NOISE))
    check = hallucination_check(words, [True, True, False, False] * 2)
    assert (check.tests["n"] == 8).all()
    assert len(check.tested) == 8
    noise = dict(
        zip(check.tests["question"].str.split(",").str[0], check.tests["noise"], strict=True)
    )
    assert noise == {
        "impact": "", "speech_share": "", "peak_impact": "mostly noise", "kurtosis": "mostly noise"
    }  # fmt: skip


def test_a_test_of_bare_numbers_does_not_know():
    assert mean_test("above 0?", [1.0, 2.0], ["a", "b"])["noise"] == "unknown"


class TestSummary:
    def summary(self, folder, results, **more):
        write_analysis(results, folder, **more)
        return (folder / "summary.md").read_text()

    def test_noise_is_told_first(self, tmp_path):
        told = self.summary(tmp_path, two(MIXED))
        assert "4 of 8 words are mostly noise (reliability below 0.5)" in told
        assert told.index("mostly noise") < told.index("## Kurtosis")
        assert "Mostly noise, and left out of tests and figure: 4 of 8 rows." in told
        tests = pd.read_csv(tmp_path / "token_evidence_tests.csv")
        assert {"reliability", "noise"} <= set(tests)
        assert "reliability" in pd.read_csv(tmp_path / "word_evidence.csv")

    def test_kept_noise_is_marked_in_print(self, tmp_path):
        told = self.summary(tmp_path, two(NOISE), keep_noise=True)
        (header, row, *_) = told.split("```")[1].strip().split("\n")
        assert header.split()[-1] == "noise"
        assert row.endswith("mostly noise")
        assert "left out of" not in told

    def test_every_section_knows_what_is_kept(self, tmp_path):
        spoken = dict.fromkeys("ab", ALIGNED)
        self.summary(tmp_path / "out", two(NOISE), alignments=spoken, compare=[("so", "no")])
        self.summary(
            tmp_path / "in", two(NOISE), alignments=spoken, compare=[("so", "no")], keep_noise=True
        )
        for name in ("word_times", "previous_tokens", "token_evidence"):
            left, kept = (
                pd.read_csv(tmp_path / folder / f"{name}_tests.csv") for folder in ("out", "in")
            )
            assert (left["n"] == 0).all()
            assert kept["n"].max() > 0
            assert (kept["noise"] == "mostly noise").all()
        assert not (tmp_path / "out" / "so_and_no_tests.csv").exists()
        assert (tmp_path / "in" / "so_and_no_tests.csv").exists()

    def test_maps_without_frequency_get_one_line(self, tmp_path):
        flat = torch.stack([bump(*span).mean(1, keepdim=True).expand(-1, BINS) for span in SPANS])
        results = {n: replace(r, spectrogram_attr=flat) for n, r in two([0.9] * 4).items()}
        told = self.summary(
            tmp_path, results, alignments=dict.fromkeys("ab", ALIGNED), compare=[("so", "no")]
        )
        assert told.count("these maps say nothing of frequency") == 1
        assert not list(tmp_path.glob("*profiles*"))
        assert "## Maps and the time of their words" in told

    def test_unknown_noise_is_told(self, tmp_path):
        told = self.summary(tmp_path, two(NOISE, parameters={}))
        assert "noise is not known" in told
        assert told.split("```")[1].strip().split("\n")[1].endswith("unknown")

    def test_no_column_where_tests_are_sound(self, tmp_path):
        told = self.summary(tmp_path, two([0.9] * 4))
        assert "0 of 8 words are mostly noise" in told
        evidence = told.split("## Kurtosis")[1].split("```")[1]
        assert "start of a word" in evidence


def test_words_of_several_tokens_have_a_reliability_of_their_own():
    joined = [Word("sono", (0, 1), *SPANS[0]), Word("go", (2,)), Word("we", (3,))]
    result = replace(explained(MIXED), words=joined)
    result.parameters["reliability"]["words"] = [0.1, 0.7, 0.4]
    assert word_evidence({"a": result}).table["reliability"].tolist() == pytest.approx(
        [0.1, 0.7, 0.4]
    )
    assert time_analysis({"a": result}, n_resamples=9).table["reliability"].tolist() == (
        pytest.approx([0.1])
    )
