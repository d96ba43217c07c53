"""Whatever a file of alignments, or a text, holds: an answer in order, or an error in words."""

import json
import math
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captum_spes.alignment import match_words, read_alignments, spoken_forms, write_alignments
from captum_spes.errors import ArgumentError
from captum_spes.maps import group_words, join_inner_punctuation
from tests.alignment.test_files import TEXTGRID

pytest.importorskip("num2words")
pytest.importorskip("praatio")

FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
SUFFIXES = [".json", ".jsonl", ".ctm", ".TextGrid"]
LABELS = st.text(max_size=4) | st.sampled_from(["the", "<unk>", " cat", "今天", "a\ud800", ""])
TIMES = (
    st.floats() | st.integers(-1, 3) | st.sampled_from([None, True, "0.5", "x", 10**400, [], {}])
)
SCALARS = st.none() | st.booleans() | TIMES | LABELS
KEYS = st.sampled_from(
    [
        "words", "word_segments", "segments", "chunks", "tiers", "phones", "word", "text", "phone",
        "label", "start", "end", "timestamp", "duration", "entries", "name", "type", "id",
    ]
)  # fmt: skip
# Anything, under the names that the reader looks for.
NESTED = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
# What is nearly right.
PHONES = st.fixed_dictionaries(
    {}, optional={"phone": SCALARS, "duration": TIMES, "start": TIMES, "end": TIMES}
)
WORDS = st.tuples(LABELS, TIMES, TIMES) | st.fixed_dictionaries(
    {},
    optional={
        "word": LABELS, "text": LABELS, "start": TIMES, "end": TIMES,
        "timestamp": st.lists(TIMES, max_size=3), "phones": st.lists(PHONES, max_size=2) | NESTED,
    },
)  # fmt: skip
LISTS = st.lists(WORDS | NESTED, max_size=4) | st.none()
SEGMENTS = st.lists(st.fixed_dictionaries({}, optional={"words": LISTS, "text": SCALARS}))
TIERS = st.dictionaries(
    st.sampled_from(["words", "a - words", "phones", "mau"]),
    st.fixed_dictionaries({"entries": LISTS}, optional={"type": SCALARS, "class": SCALARS}),
)
UTTERANCES = NESTED | st.fixed_dictionaries(
    {},
    optional={
        "id": SCALARS, "words": LISTS, "segments": SEGMENTS | NESTED, "chunks": LISTS,
        "tiers": TIERS | NESTED, "text": SCALARS, "phones": LISTS,
    },
)  # fmt: skip
FIELDS = st.sampled_from(["a", "b", "1", "2", "*", "0.5", "x", "nan", "1e999", "-1", "<ALT>", "so"])
LINES = st.lists(FIELDS, max_size=7).map(" ".join) | st.text(max_size=8)
GRID = TEXTGRID.format(words="words", phones="phones")
SPANS = st.tuples(st.integers(0, len(GRID)), st.integers(0, 40))
JUNK = st.text(alphabet='0123456789 .-="[]:\n<>a', max_size=10) | st.sampled_from(
    ["TextTier", "nan"]
)


def check(content, suffix):
    """Read a file; what comes back is in order and can be written and read again."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # names what was left out
        file = Path(folder) / f"a{suffix}"
        file.write_bytes(content)
        try:
            found = read_alignments(file)
        except ArgumentError as error:
            told = str(error)
            found = {}
        assert found or f"a{suffix}" in told
        for alignment in found.values():
            for intervals in (alignment.words, alignment.phones):
                assert all(math.isfinite(i.start) and math.isfinite(i.end) for i in intervals)
                assert all(0 <= interval.start <= interval.end for interval in intervals)
                assert list(intervals) == sorted(intervals, key=lambda one: one.start)
                assert all(isinstance(i.label, str) and i.label.strip() for i in intervals)
        again = Path(folder) / "again.jsonl"
        write_alignments(found, again)
        if found:
            assert read_alignments(again) == found


@FUZZ
@given(st.binary(max_size=60), st.sampled_from(SUFFIXES))
def test_bytes(content, suffix):
    check(content, suffix)


@FUZZ
@given(
    st.text(max_size=60),
    st.sampled_from(SUFFIXES),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"]),
)
def test_texts(text, suffix, encoding):
    check(text.encode(encoding, "replace"), suffix)


@settings(FUZZ, max_examples=500)
@given(UTTERANCES)
def test_json(fields):
    check(json.dumps(fields).encode(), ".json")


@FUZZ
@given(st.lists(UTTERANCES, max_size=4))
def test_lines_of_json(lines):
    content = "\n".join(map(json.dumps, lines)).encode()
    check(content, ".jsonl")


@settings(FUZZ, max_examples=300)
@given(st.lists(LINES, max_size=6))
def test_ctm(lines):
    check("\n".join(lines).encode("utf-8", "replace"), ".ctm")


@FUZZ
@given(SPANS, JUNK)
def test_textgrids(span, junk):
    start, length = span
    check((GRID[:start] + junk + GRID[start + length :]).encode(), ".TextGrid")


@FUZZ
@given(st.dictionaries(st.sampled_from(SUFFIXES[:3]), st.binary(max_size=20)))
def test_a_bad_file_of_a_folder_spoils_nothing(contents):
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        (Path(folder) / "good.json").write_text('{"words": [["so", 0, 1]]}')
        for suffix, content in contents.items():
            (Path(folder) / f"bad{suffix}").write_bytes(content)
        assert "good" in read_alignments(folder)


CHARACTERS = "ab1'.,-  今天のがกำ\u0e49្ម\u3099안é٣²½\u200b\u200d\ufe00\ufffd\ud800"
TEXTS = st.text(alphabet=CHARACTERS, max_size=6) | st.text(max_size=6)
NUMBERS = st.from_regex(r"[0-9]{1,40}([.,][0-9]{1,9})?(st|th)?", fullmatch=True)


@settings(FUZZ, max_examples=300)
@given(
    st.lists(TEXTS | NUMBERS, max_size=6),
    st.lists(TEXTS | NUMBERS, max_size=6),
    st.sampled_from(["en", "de", "sv", "vi", "am", "zh", "ja", "th", "ar", "xx", "pt-BR"]),
)
def test_matching(written, spoken, language):
    found = match_words(written, spoken, language=language)
    matched = [index for index, _ in found.pairs]
    assert matched == sorted(set(matched))
    is_said = [any(spoken_forms(word, language)[0]) for word in written]
    assert sorted([*matched, *found.written]) == [i for i, said in enumerate(is_said) if said]
    reached = {index for _, indices in found.pairs for index in indices}
    assert reached.isdisjoint(found.spoken)
    assert reached | set(found.spoken) <= set(range(len(spoken)))


@settings(FUZZ, max_examples=300)
@given(st.lists(TEXTS | st.sampled_from(["▁a", "Ġb", " c", " ", "▁"]), max_size=10))
def test_grouping(tokens):
    words = group_words(tokens)
    joined = join_inner_punctuation(words, tokens)
    for of_words in (words, joined):
        assert [i for _, indices in of_words for i in indices] == list(range(len(tokens)))
