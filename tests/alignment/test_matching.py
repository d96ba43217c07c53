"""Written words find the spoken ones that they are, and no others."""

import time
import unicodedata
from functools import cache
from itertools import product

import num2words
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

    @pytest.mark.parametrize(
        ("written", "spoken", "pairs"),
        [
            # Tools cut words of scripts without spaces as they like.
            ("今天 天气 很 好", "今天 天气 很 好", [(0, (0,)), (1, (1,)), (2, (2,)), (3, (3,))]),
            ("今天天气很好 ， 我们走", "今天 天气 很 好 我们 走", [(0, (0, 1, 2, 3)), (2, (4, 5))]),
            ("今 天 天 气", "今天 天气", [(0, (0,)), (1, (0,)), (2, (1,)), (3, (1,))]),
            ("今 天天 气", "今天 天气", [(0, (0,)), (1, (0, 1)), (2, (1,))]),
            ("お は よう。", "おはよう", [(0, (0,)), (1, (0,)), (2, (0,))]),
            ("สวัส ดี ครับ", "สวัสดี ครับ", [(0, (0,)), (1, (0,)), (2, (1,))]),
            ("我 用 Python 写", "我 用 python 写", [(0, (0,)), (1, (1,)), (2, (2,)), (3, (3,))]),
            ("用 Python", "用Python", [(0, (0,)), (1, (0,))]),
            # A part of a spoken word of which the rest was not written, or not in one go.
            ("今 日", "今天", []),
            ("今 X 天", "今天", []),
            # Korean has spaces.
            ("안녕 하세요", "안녕하세요", []),
            ("안녕 하세요", "안녕 하세요", [(0, (0,)), (1, (1,))]),
        ],
    )
    def test_scripts_without_spaces(self, written, spoken, pairs):
        assert match_words(written.split(), spoken.split()).pairs == tuple(pairs)

    @pytest.mark.parametrize("word", ["grün", "Å", "が", "각", "ñ", "ệ"])
    def test_forms_of_unicode_do_not_matter(self, word):
        forms = [unicodedata.normalize(form, word) for form in ("NFC", "NFD")]
        for one, other in product(forms, forms):
            assert match_words([one], [other]).pairs == ((0, (0,)),)

    def test_an_odd_number_leaves_the_others(self):
        text = ["in", "9" * 5000, "days", "1.5th"]
        for language in ("en", "de", "vi", "am", "xx"):
            found = match_words([*text, "then"], [*text, "now"], language=language)
            assert found.pairs == tuple((i, (i,)) for i in range(4))

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

    @pytest.mark.parametrize("language", ["German", "", "d", None, "en us", 5])
    def test_what_is_no_code_of_a_language(self, language):
        for word in ("21", "cat"):
            with pytest.raises(ArgumentError, match=f"language {language!r}"):
                spoken_forms(word, language)

    @pytest.mark.parametrize(
        ("word", "language"),
        [
            ("21", "el"),
            ("1961", "zh"),
            # num2words would count in Finnish.
            ("21", "fil"),
            ("9" * 5000, "en"),
            ("9" * 310, "en"),
            ("9" * 400 + ".5", "en"),
            ("1.5th", "en"),
            # Here it goes on for ever.
            ("1234567", "am"),
        ],
    )
    def test_what_cannot_be_written_out_stays_as_it_is(self, word, language):
        begin = time.perf_counter()
        (form,) = spoken_forms(word, language)
        assert "".join(form) == word.replace(".", "")
        assert time.perf_counter() - begin < 5

    @pytest.mark.parametrize(
        ("language", "number"),
        [("vi", "một nghìn"), ("sv", "ett"), ("is", "eitt"), ("pt-BR", "mil"), ("kk", "бір мың")],
    )
    def test_a_year_is_a_number_where_it_cannot_be_a_year(self, language, number):
        assert " ".join(spoken_forms("1961", language)[0]).startswith(number)

    @pytest.mark.parametrize("word", ["1961", "3.5", "21st", "1,000", "0000", "١٩٦١", "１９６１"])
    def test_no_language_ends_an_analysis(self, word):
        for language in num2words.CONVERTER_CLASSES:
            forms = spoken_forms(word, language)
            assert forms
            assert all(forms)

    def test_characters_of_scripts_without_spaces(self):
        assert spoken_forms("“用Python写”。") == [("用", "python", "写")]
        # A vowel sign is not split from its consonant, nor one written below.
        assert spoken_forms("น้ำ") == [("น้ำ",)]
        assert spoken_forms("ខ្មែរ") == [("ខ្មែ", "រ")]
        assert spoken_forms("안녕하세요") == [("안녕하세요",)]

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

    def test_parts_of_a_spoken_word_without_spaces_have_its_time(self):
        result = planted_result(["今", "天", "‘", "天气", "’", "很", "好", "。"])
        spoken = Alignment((Interval("今天", 0.1, 0.5), Interval("天气", 0.5, 0.8)))
        found = align_result(result, spoken)
        assert [(w.word, w.start, w.end) for w in found.result.words if w.start is not None] == [
            ("今", 0.1, 0.5), ("天", 0.1, 0.5), ("天气", 0.5, 0.8),
        ]  # fmt: skip
        assert found.unmatched_written == ("很", "好")
        assert found.unmatched_spoken == ()

    def test_a_number_spans_its_words(self):
        result = planted_result([" 21", " days"])
        spoken = Alignment(
            (Interval("twenty", 0.1, 0.4), Interval("one", 0.4, 0.6), Interval("days", 0.6, 1.0))
        )
        words = align_result(result, spoken).result.words
        assert [(w.start, w.end) for w in words] == [(0.1, 0.6), (0.6, 1.0)]


def one_word():
    return Alignment((Interval("well", 0.0, 0.1),))
