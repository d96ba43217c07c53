"""Written words find the spoken ones that they are, and no others."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_spes.alignment import Alignment, Interval, align_result, match_words, spoken_forms
from captum_spes.errors import ArgumentError
from tests.analysis.planted import planted_result


def partners(written, spoken, **arguments):
    found = match_words(written.split(), spoken.split(), **arguments)
    assert sorted([w for w, _ in found.pairs] + list(found.written)) == [
        i for i, word in enumerate(written.split()) if any(c.isalnum() for c in word)
    ]
    return {
        written.split()[w]: " ".join(spoken.split()[s] for s in indices)
        for w, indices in found.pairs
    }


class TestMatchWords:
    @pytest.mark.parametrize(
        ("written", "spoken", "pairs"),
        [
            ("And so , my", "and so my", {"And": "and", "so": "so", "my": "my"}),
            ("“It’s true.”", "it's true", {"“It’s": "it's", "true.”": "true"}),
            ("ÉTÉ", "été", {"ÉTÉ": "été"}),
            (
                "ill-disposed man",
                "ill disposed man",
                {"ill-disposed": "ill disposed", "man": "man"},
            ),
            ("21 days", "twenty one days", {"21": "twenty one", "days": "days"}),
            ("the 21st", "the twenty first", {"the": "the", "21st": "twenty first"}),
            ("in 1961", "in nineteen sixty one", {"in": "in", "1961": "nineteen sixty one"}),
            ("105 of", "one hundred five of", {"105": "one hundred five", "of": "of"}),
            ("1,000 of", "one thousand of", {"1,000": "one thousand", "of": "of"}),
            ("21 days", "21 days", {"21": "21", "days": "days"}),
            # Only a part of what one entry of the alignment spans has no time of its own.
            ("twenty one days", "21 days", {"days": "days"}),
            # An error of the model is not matched to what was said in its place.
            ("the cat sits down", "the cat sat down", {"the": "the", "cat": "cat", "down": "down"}),
            # Which of the two was said cannot be told.
            ("the the cat", "the cat", {"cat": "cat"}),
            ("a b", "b a", {}),
            # One best alignment matches the first "and", another does not.
            ("and he came", "and then and now he came", {"he": "he", "came": "came"}),
            # Nothing is matched over a word that was said in between.
            ("21 days", "twenty uh one days", {"days": "days"}),
            ("ill-disposed", "ill very disposed", {}),
            ("half-way there", "half way there", {"half-way": "half way", "there": "there"}),
            ("", "the cat", {}),
        ],
    )
    def test_known_texts(self, written, spoken, pairs):
        assert partners(written, spoken) == pairs

    def test_what_is_unmatched_is_reported(self):
        found = match_words(
            ["the", "cat", "sits", ",", "down"], ["well", "the", "cat", "sat", "down"]
        )
        assert found.written == (2,)
        assert found.spoken == (0, 3)

    def test_numbers_of_another_language(self):
        assert partners("um 21 Uhr", "um einundzwanzig uhr", language="de")["21"] == (
            "einundzwanzig"
        )

    @given(st.lists(st.sampled_from("abcdefgh"), max_size=8))
    def test_a_text_without_repetitions_matches_itself(self, words):
        words = list(dict.fromkeys(words))
        assert match_words(words, words).pairs == tuple((i, (i,)) for i in range(len(words)))

    @settings(max_examples=200)
    @given(*[st.lists(st.sampled_from("abc"), max_size=6)] * 2)
    def test_matches_are_equal_words_in_order(self, written, spoken):
        found = match_words(written, spoken)
        assert all(written[w] == spoken[s] for w, (s,) in found.pairs)
        assert list(found.pairs) == sorted(found.pairs)
        heard = [s for _, (s,) in found.pairs]
        assert heard == sorted(set(heard))
        assert {*heard, *found.spoken} == set(range(len(spoken)))

    @settings(max_examples=300, deadline=None)
    @given(*[st.lists(st.sampled_from("abc"), max_size=4)] * 2)
    def test_matches_are_those_of_every_best_alignment(self, written, spoken):
        best = best_alignments(tuple(written), tuple(spoken))
        sure = set.intersection(*best)
        found = match_words(written, spoken)
        assert {(w, s) for w, (s,) in found.pairs} == sure


def best_alignments(written, spoken):
    """All alignments of the smallest edit distance, as sets of matched places: by trying all."""

    @cache
    def ways(i, j):
        """(cost, matches) of everything that can be done with what is left."""
        if i == len(written) and j == len(spoken):
            return {(0, frozenset())}
        found = set()
        if i < len(written):
            found |= {(cost + 1, matches) for cost, matches in ways(i + 1, j)}
        if j < len(spoken):
            found |= {(cost + 1, matches) for cost, matches in ways(i, j + 1)}
        if i < len(written) and j < len(spoken):
            equal = written[i] == spoken[j]
            found |= {
                (cost + (not equal), matches | {(i, j)} if equal else matches)
                for cost, matches in ways(i + 1, j + 1)
            }
        return found

    smallest = min(cost for cost, _ in ways(0, 0))
    return [set(matches) for cost, matches in ways(0, 0) if cost == smallest]


class TestSpokenForms:
    def test_punctuation_is_not_spoken(self):
        assert spoken_forms("—") == [()]

    def test_a_year_is_a_number_too(self):
        assert spoken_forms("1961")[0][:2] == ("one", "thousand")

    def test_a_decimal(self):
        assert spoken_forms("3.5") == [("three", "point", "five")]

    def test_a_comma_that_may_be_a_point_is_left(self):
        assert spoken_forms("3,5", "de") == [("3", "5")]
        assert spoken_forms("21", "de") == [("einundzwanzig",)]

    def test_unknown_languages(self):
        with pytest.raises(ArgumentError, match="language 'German'"):
            spoken_forms("21", "German")

    def test_missing_library_is_named(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "num2words", None)
        with pytest.raises(ImportError, match=r"captum-spes\[alignment\]"):
            spoken_forms("21")
        assert spoken_forms("cat") == [("cat",)]


class TestAlignResult:
    def test_words_get_times_and_the_maps_stay(self):
        result = planted_result([" the", " cat", "."])
        spoken = Alignment((Interval("the", 0.1, 0.3), Interval("cat", 0.3, 0.9)))
        found = align_result(result, spoken)
        assert [(w.word, w.start, w.end) for w in found.result.words] == [
            ("the", 0.1, 0.3), ("cat", 0.3, 0.9), (".", None, None),
        ]  # fmt: skip
        assert found.result.spectrogram_attr is result.spectrogram_attr
        assert all(word.start is None for word in result.words)
        assert found.unmatched_written == found.unmatched_spoken == ()

    def test_subwords_of_one_spoken_word(self):
        tokens = [" It", "'", "s", " o", "'", "c", "lock", " now", "'", " I", "'"]
        result = planted_result(tokens)
        spoken = Alignment(
            (Interval("it's", 0, 0.2), Interval("o'clock", 0.2, 0.5), Interval("now", 0.5, 0.7))
        )
        found = align_result(result, spoken)
        assert [(w.word, w.token_indices) for w in found.result.words] == [
            ("It's", (0, 1, 2)), ("o'clock", (3, 4, 5, 6)), ("now", (7,)), ("'", (8,)),
            ("I", (9,)), ("'", (10,)),
        ]  # fmt: skip
        assert [w.start for w in found.result.words] == [0, 0.2, 0.5, None, None, None]
        assert found.unmatched_written == ("I",)

    def test_a_quotation_mark_joins_nothing(self):
        result = planted_result([" (", "'", "so", "'", "!", " 90", "'", "s"])
        assert [w.word for w in align_result(result, one_word()).result.words] == [
            "(", "'", "so", "'", "!", "90's",
        ]  # fmt: skip

    def test_numbers_written_in_pieces(self):
        result = planted_result([" 1", ",", "000", " 3", ".", "5", ".", " Yes", ".", "No"])
        assert [w.word for w in align_result(result, one_word()).result.words] == [
            "1,000", "3.5", ".", "Yes", ".", "No",
        ]  # fmt: skip

    def test_times_of_another_alignment_go(self):
        result = planted_result([" the", " cat"], times=[(0.0, 0.1), (0.1, 0.2)])
        found = align_result(result, Alignment((Interval("cat", 0.3, 0.9),)))
        assert [(w.start, w.end) for w in found.result.words] == [(None, None), (0.3, 0.9)]

    def test_a_number_spans_its_words(self):
        result = planted_result([" 21", " days"])
        spoken = Alignment(
            (Interval("twenty", 0.1, 0.4), Interval("one", 0.4, 0.6), Interval("days", 0.6, 1.0))
        )
        words = align_result(result, spoken).result.words
        assert [(w.start, w.end) for w in words] == [(0.1, 0.6), (0.6, 1.0)]


def one_word():
    return Alignment((Interval("well", 0.0, 0.1),))
