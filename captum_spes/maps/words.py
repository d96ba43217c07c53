"""Which tokens spell a word."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

# How tokenizers mark the start of a word: sentencepiece, byte-level BPE, plain text.
_WORD_STARTS = ("▁", "Ġ", " ")
# Punctuation that holds a word, or a number, together.
_INSIDE_WORDS = "'\N{RIGHT SINGLE QUOTATION MARK}\N{MODIFIER LETTER APOSTROPHE}"
_INSIDE_NUMBERS = ".,"


def group_words(tokens: Sequence[str]) -> list[tuple[str, list[int]]]:
    r"""
    Group subword tokens into the words that they spell.

    A token that starts with a space (or the tokenizer's mark for it) starts a word. A
    token of punctuation alone is a word of its own, and what follows it starts another,
    as in the paper's analyses, so that "step" and "?" can be told apart.

    Args:

        tokens (sequence of str): Tokens of one output, without special tokens.

    Returns:
        *list* of ``(word, token indices)`` in order. A token of spaces alone belongs to
        the word that follows.

    Examples::

        >>> group_words([" next", " st", "ep", "?"])
        [('next', [0]), ('step', [1, 2]), ('?', [3])]
    """
    words: list[tuple[str, list[int]]] = []
    is_open = False
    for index, token in enumerate(tokens):
        text = _without_marks(token)
        if _is_punctuation(text):
            words.append((text, [index]))
            is_open = False
            continue
        if not is_open or (token.startswith(_WORD_STARTS) and words[-1][0]):
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
    joined: list[tuple[str, list[int]]] = []
    left = [(word, list(indices)) for word, indices in words]
    while left:
        word, indices = left.pop(0)
        while len(left) > 1 and _is_inside(word, left[0], left[1], tokens):
            for part, more in (left.pop(0), left.pop(0)):
                word, indices = word + part, indices + more
        joined.append((word, indices))
    return joined


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
        return left.isalnum() and right.isalnum()
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
