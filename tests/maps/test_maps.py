"""Normalisation, aggregation, peaks and words beyond the golden arrays."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_spes.errors import ArgumentError
from captum_spes.maps import (
    group_words,
    join_inner_punctuation,
    paired_min_max,
    sentence_mean,
    span_mean,
    split_unspaced,
    standardize,
    strongest_span,
)


def maps(tokens=4, frames=6, bins=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    spectrogram = torch.randn(tokens, frames, bins, generator=generator)
    previous = torch.randn(tokens, tokens, generator=generator)
    previous[torch.ones(tokens, tokens).triu(1).bool()] = torch.nan
    return spectrogram, previous


def test_standardized_maps_have_mean_zero_and_deviation_one():
    spectrogram, previous = standardize(*maps())
    assert torch.allclose(spectrogram.mean((1, 2)), torch.zeros(4), atol=1e-6)
    assert torch.allclose(spectrogram.flatten(1).std(1), torch.ones(4))
    assert previous[3].std().item() == pytest.approx(1.0)
    assert previous[0, 0] == 0  # a single valid cell


def test_small_differences_on_a_large_mean_survive():
    spectrogram = 100 + 1e-3 * maps()[0].double()
    found = standardize(spectrogram).spectrogram_attr
    assert torch.allclose(found, standardize(maps()[0].double()).spectrogram_attr, atol=1e-6)


def test_min_max_is_joint():
    spectrogram, previous = paired_min_max(*maps())
    for row in range(4):
        both = torch.cat([spectrogram[row].flatten(), previous[row, : row + 1]])
        assert (both.min().item(), both.max().item()) == (0.0, 1.0)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e30, -7.0])
def test_constant_maps_become_zero(value):
    spectrogram = torch.full((2, 3, 3), value)
    found = paired_min_max(*standardize(spectrogram, torch.full((2, 2), value)))
    assert (found.spectrogram_attr == 0).all()
    assert (found.token_attr == 0).all()


def test_without_previous_tokens():
    spectrogram, _ = maps()
    assert paired_min_max(*standardize(spectrogram)).token_attr is None
    assert sentence_mean(spectrogram).token_attr is None
    assert span_mean(spectrogram, None, [[0, 1]]).token_attr is None


def test_inputs_are_not_changed():
    spectrogram, previous = maps()
    copies = spectrogram.clone(), previous.clone()
    paired_min_max(*standardize(spectrogram, previous))
    assert torch.equal(spectrogram, copies[0])
    assert torch.equal(torch.nan_to_num(previous), torch.nan_to_num(copies[1]))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.floats(0.01, 100), st.floats(-100, 100))
def test_normalisation_ignores_scale_and_offset_of_a_map(seed, scale, offset):
    spectrogram, previous = (m.double() for m in maps(seed=seed))
    expected = paired_min_max(*standardize(spectrogram, previous))
    found = paired_min_max(*standardize(spectrogram * scale + offset, previous * scale - offset))
    assert torch.allclose(found.spectrogram_attr, expected.spectrogram_attr, atol=1e-6)
    assert torch.allclose(found.token_attr, expected.token_attr, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize(
    "arguments",
    [
        (torch.zeros(3, 3), None),
        (torch.zeros(0, 3, 3), None),
        (torch.zeros(2, 3, 3), torch.zeros(3, 3)),
        (torch.zeros(2, 3, 3), torch.zeros(2)),
    ],
)
@pytest.mark.parametrize("function", [standardize, paired_min_max])
def test_shapes_that_do_not_fit(function, arguments):
    with pytest.raises(ArgumentError, match="attr must be"):
        function(*arguments)


def test_a_word_is_explained_by_the_tokens_before_it():
    spectrogram, previous = maps()
    found = span_mean(spectrogram, previous, [[2, 3]])
    assert torch.allclose(found.spectrogram_attr[0], spectrogram[2:].mean(0))
    assert torch.isnan(found.token_attr[0]).tolist() == [False, False, False, True]


@pytest.mark.parametrize("spans", [[[]], [[4]], [[-1]]])
def test_spans_out_of_range(spans):
    with pytest.raises(ArgumentError, match="token indices"):
        span_mean(*maps(), spans)


def test_a_column_of_which_one_token_is_not_before_the_span_is_invalid():
    found = span_mean(*maps(), [[2]], [[0], [1, 2], [2, 3], [3]]).token_attr
    _, previous = maps()
    assert torch.allclose(found[0, :2], torch.stack([previous[2, 0], previous[2, 1:3].mean()]))
    assert torch.isnan(found[0, 2:]).all()
    assert span_mean(*maps(), [], [[0, 1]]).token_attr.shape == (0, 1)
    assert span_mean(*maps(), [[0]], []).token_attr.shape == (1, 0)
    with pytest.raises(ArgumentError, match="every one of previous_spans"):
        span_mean(*maps(), [[2]], [[4]])


def test_no_spans_give_no_rows():
    found = span_mean(*maps(), [])
    assert (len(found.spectrogram_attr), len(found.token_attr)) == (0, 0)


class TestPeaks:
    def test_edges(self):
        assert strongest_span([5, 1, 0, 0], [0, 1, 2, 3]) == (0, 0, 0)
        assert strongest_span([0, 0, 1, 5], [0, 1, 2, 3]) == (3, 3, 3)
        assert strongest_span([3], [7]) == (7, 7, 7)

    def test_constant_profile_is_all_of_it(self):
        assert strongest_span([1, 1, 1], [0, 1, 2]) == (0, 0, 2)

    def test_smoothing_ignores_a_single_spike(self):
        profile = torch.zeros(50)
        profile[5], profile[30:36] = 2.0, 1.5
        assert strongest_span(profile, range(50)).peak == 5
        assert 30 <= strongest_span(profile, range(50), smoothing=5).peak <= 35


class TestWords:
    @pytest.mark.parametrize(
        ("tokens", "expected"),
        [
            ([" And", " so"], [("And", [0]), ("so", [1])]),
            (["▁st", "ep", "?"], [("step", [0, 1]), ("?", [2])]),
            (["ĠI", "'m", "Ġhere", "."], [("I'm", [0, 1]), ("here", [2]), (".", [3])]),
            (["▁", "he", "llo"], [("hello", [0, 1, 2])]),
            ([" (", "a", ")."], [("(", [0]), ("a", [1]), (").", [2])]),
            ([" $", "5"], [("$", [0]), ("5", [1])]),
            ([" caf\N{REPLACEMENT CHARACTER}"], [("caf\N{REPLACEMENT CHARACTER}", [0])]),
            ([], []),
            # Scripts without spaces: a word per token, as openai/whisper has them.
            (
                ["今", "天气", "很好", "。"],
                [("今", [0]), ("天气", [1]), ("很好", [2]), ("。", [3])],
            ),
            (["▁今", "天", ",", "走"], [("今", [0]), ("天", [1]), (",", [2]), ("走", [3])]),
            (["お", "はよう", "ございます"], [("お", [0]), ("はよう", [1]), ("ございます", [2])]),
            (["สวัส", "ดี", "ครับ"], [("สวัส", [0]), ("ดี", [1]), ("ครับ", [2])]),
            (["ສະ", "ບາຍ"], [("ສະ", [0]), ("ບາຍ", [1])]),
            (["មាន", "ខ្មែរ"], [("មាន", [0]), ("ខ្មែរ", [1])]),
            (["မြန်", "မာ"], [("မြန်", [0]), ("မာ", [1])]),
            # Mixed scripts, and numbers.
            (
                ["我", "用", " Py", "thon", "写"],
                [("我", [0]), ("用", [1]), ("Python", [2, 3]), ("写", [4])],
            ),
            (["19", "61", "年"], [("1961", [0, 1]), ("年", [2])]),
            (["caf", "é", "店"], [("café", [0, 1]), ("店", [2])]),
            # What combines with the character before.
            (["น", "้", "ำ", "ดี"], [("น้ำ", [0, 1, 2]), ("ดี", [3])]),
            (["ខ", "្", "មែ", "រ"], [("ខ្មែ", [0, 1, 2]), ("រ", [3])]),
            (["か", "\u3099", "く"], [("か\u3099", [0, 1]), ("く", [2])]),
            (["ｶ", "ﾞ"], [("ｶﾞ", [0, 1])]),
            (["天", "\ufe00", "a"], [("天\ufe00", [0, 1]), ("a", [2])]),
            (["ไทย", "\u200b", "ดี"], [("ไทย\u200b", [0, 1]), ("ดี", [2])]),
            # Half a character is a token of its own word, the other half goes with it.
            (
                ["今", "\N{REPLACEMENT CHARACTER}", "\N{REPLACEMENT CHARACTER}", "天"],
                [("今", [0]), ("\N{REPLACEMENT CHARACTER}" * 2, [1, 2]), ("天", [3])],
            ),
            # Korean, Devanagari and Arabic have spaces.
            ([" 안", "녕", "하", "세요", " 네"], [("안녕하세요", [0, 1, 2, 3]), ("네", [4])]),
            ([" हि", "न", "्", "दी"], [("हिन्दी", [0, 1, 2, 3])]),
            ([" مر", "حبا"], [("مرحبا", [0, 1])]),
        ],
    )
    def test_examples(self, tokens, expected):
        assert group_words(tokens) == expected

    @given(
        st.lists(
            st.sampled_from([" a", "b", " c", ".", ",", " ", "'", "-", " de", "天", " 天气", "ำ"]),
            max_size=12,
        )
    )
    def test_every_token_has_one_word_and_no_letter_is_lost(self, tokens):
        words = group_words(tokens)
        assert [i for _, indices in words for i in indices] == list(range(len(tokens)))
        assert "".join(word for word, _ in words) == "".join(tokens).replace(" ", "")

    def test_a_quotation_mark_between_characters_joins_nothing(self):
        tokens = ["说", "'", "好", "'", "吗"]
        words = group_words(tokens)
        assert join_inner_punctuation(words, tokens) == words
        assert [word for word, _ in words] == tokens

    @given(st.text(alphabet="今天aé 1のกำ\u0e49្ម\u3099.", max_size=12))
    def test_parts_are_the_word_again_and_begin_with_no_mark(self, word):
        parts = split_unspaced(word)
        assert "".join(parts) == word
        assert all(parts)
        assert not any(part[0] in "ำ\u0e49្\u3099" for part in parts[1:])
