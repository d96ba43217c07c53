"""Which tokens spell a word."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from captum_spes.errors import ArgumentError, ArgumentTypeError, instance_of, several, texts

# How tokenizers mark the start of a word: sentencepiece, byte-level BPE, plain text.
_WORD_STARTS = ("▁", "Ġ", " ", "\N{IDEOGRAPHIC SPACE}")
# Punctuation that holds a word, or a number, together.
_INSIDE_WORDS = "'\N{RIGHT SINGLE QUOTATION MARK}\N{MODIFIER LETTER APOSTROPHE}"
_INSIDE_NUMBERS = ".,"
# Scripts without spaces between words, by how Unicode names their characters.
_UNSPACED = (
    "CJK ", "IDEOGRAPHIC ", "HIRAGANA ", "KATAKANA", "HALFWIDTH KATAKANA", "BOPOMOFO ", "THAI ",
    "LAO ", "KHMER ", "MYANMAR ",
)  # fmt: skip
# Letters by category that are written onto the one before: vowels AM of Thai and Lao, voiced kana.
_MARK_LETTERS = "\N{THAI CHARACTER SARA AM}\N{LAO VOWEL SIGN AM}\uff9e\uff9f"
# Signs that put the letter behind them below the one before.
_STACKING = "\N{KHMER SIGN COENG}\N{MYANMAR SIGN VIRAMA}\N{ZERO WIDTH JOINER}"


def group_words(tokens: Sequence[str]) -> list[tuple[str, list[int]]]:
    r"""
    Group subword tokens into the words that they spell.

    A token that starts with a space (or the tokenizer's mark for it) starts a word. A
    token of punctuation alone is a word of its own, and what follows it starts another,
    as in the paper's analyses, so that "step" and "?" can be told apart. In scripts without
    spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) every token is a word,
    and what combines with the character before belongs to it.

    Args:

        tokens (sequence of str): Tokens of one output, without special tokens.

    Returns:
        *list* of ``(word, token indices)`` in order. A token of spaces alone belongs to
        the word that follows.

    Examples::

        >>> group_words([" next", " st", "ep", "?"])
        [('next', [0]), ('step', [1, 2]), ('?', [3])]
        >>> group_words(["我们", "用", "Py", "thon"])
        [('我们', [0]), ('用', [1]), ('Python', [2, 3])]
    """
    tokens = texts("tokens", tokens)
    words: list[tuple[str, list[int]]] = []
    is_open = False
    for index, token in enumerate(tokens):
        text = _without_marks(token)
        if _is_punctuation(text):
            words.append((text, [index]))
            is_open = False
            continue
        before = words[-1][0] if is_open else ""
        is_new = token.startswith(_WORD_STARTS) or _is_divided(before, text)
        if not is_open or (before and is_new):
            words.append((text, [index]))
        else:
            words[-1] = (words[-1][0] + text, [*words[-1][1], index])
        is_open = True
    return words


def join_inner_punctuation(
    words: Sequence[tuple[str, Sequence[int]]], tokens: Sequence[str]
) -> list[tuple[str, list[int]]]:
    r"""
    Join the words that an apostrophe, or the point inside a number, divides.

    :func:`group_words` makes three words of *it's* where the apostrophe is a token of its own, as
    in the paper; they are spoken as one.

    Args:

        words (sequence of (str, sequence of int)): Words and their token indices, in order.
        tokens (sequence of str): The tokens.

    Returns:
        *list* of ``(word, token indices)`` in order. What was joined already stays as it is.

    Examples::

        >>> tokens = [" it", "'", "s", " 3", ".", "5", "."]
        >>> join_inner_punctuation(group_words(tokens), tokens)
        [("it's", [0, 1, 2]), ('3.5', [3, 4, 5]), ('.', [6])]
    """
    tokens = texts("tokens", tokens)
    for entry in several("words", words, "a sequence of (word, token indices)"):
        if not isinstance(entry, tuple) or len(entry) != 2:
            raise ArgumentTypeError(f"words must hold (word, token indices), got {entry!r}.")
        word, indices = entry
        instance_of("each word of words", word, str, "a text")
        if any(not 0 <= index < len(tokens) for index in indices):
            raise ArgumentError(f"words must have indices of the {len(tokens)} tokens.")
    joined: list[tuple[str, list[int]]] = []
    left = [(word, list(indices)) for word, indices in words]
    while left:
        word, indices = left.pop(0)
        while len(left) > 1 and _is_inside(word, left[0], left[1], tokens):
            for part, more in (left.pop(0), left.pop(0)):
                word, indices = word + part, indices + more
        joined.append((word, indices))
    return joined


def begins_word(token: str) -> bool:
    r"""
    Whether a token begins a word where it stands, or ends the one before it: it starts with the
    tokenizer's mark for a space, with punctuation, or with a character of a script without spaces.
    An apostrophe does not (*'s*).

    Args:

        token (str): As the tokenizer shows it.

    Returns:
        *bool*

    Examples::

        >>> [begins_word(token) for token in ("▁next", "step", ",", "'s", "我")]
        [True, False, True, False, True]
    """
    instance_of("token", token, str, "a text")
    if token.startswith((*_WORD_STARTS, "\n", "\t")):
        return True
    first = token[:1]
    if not first or first in _INSIDE_WORDS:
        return False
    return _is_punctuation(first) or (is_unspaced(first) and not _is_mark(first))


def split_unspaced(word: str) -> list[str]:
    r"""
    Split a word between the characters of scripts without spaces; others stay together.

    Args:

        word (str): Without spaces.

    Returns:
        *list[str]*: in order; joined they are the word.

    Examples::

        >>> split_unspaced("用Python写")
        ['用', 'Python', '写']
    """
    instance_of("word", word, str, "a text")
    parts: list[str] = []
    for character in word:
        if parts and not _is_divided(parts[-1], character):
            parts[-1] += character
        else:
            parts.append(character)
    return parts


def _is_divided(before: str, after: str) -> bool:
    """Whether two pieces of text that no space divides are two words all the same."""
    if not before or not after or _is_mark(after[0]) or before[-1] in _STACKING:
        return False
    base = next((character for character in reversed(before) if not _is_mark(character)), "")
    return is_unspaced(base) or is_unspaced(after[0])


def is_unspaced(character: str) -> bool:
    """Whether a character is of a script without spaces between words."""
    instance_of("character", character, str, "a text of one character")
    if len(character) > 1:
        raise ArgumentError(f"character must be a single one, got {character!r}.")
    return bool(character) and unicodedata.name(character, "").startswith(_UNSPACED)


def _is_mark(character: str) -> bool:
    """What has no place of its own: accents, vowel signs, joiners, breaks of no width."""
    category = unicodedata.category(character)
    return category[0] == "M" or category == "Cf" or character in _MARK_LETTERS


def _is_inside(
    before: str,
    mark: tuple[str, list[int]],
    after: tuple[str, list[int]],
    tokens: Sequence[str],
) -> bool:
    if any(tokens[indices[0]].startswith(_WORD_STARTS) for _, indices in (mark, after)):
        return False
    left, right = before[-1:], after[0][:1]
    if mark[0] in _INSIDE_WORDS:
        return all(side.isalnum() and not is_unspaced(side) for side in (left, right))
    return mark[0] in _INSIDE_NUMBERS and left.isdigit() and right.isdigit()


def _without_marks(token: str) -> str:
    for mark in _WORD_STARTS:
        token = token.replace(mark, "")
    return token.strip()


def _is_punctuation(text: str) -> bool:
    return bool(text) and all(
        unicodedata.category(character)[0] in "PS" and character != "\N{REPLACEMENT CHARACTER}"
        for character in text
    )
