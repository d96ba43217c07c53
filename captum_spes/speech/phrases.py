"""Where a word or a phrase stands in a text, and what it would be with another in its place."""

from __future__ import annotations

import re
import unicodedata

from captum_spes.errors import ArgumentError
from captum_spes.maps import is_unspaced
from captum_spes.text import shortened

# Of a text that does not hold what was asked for, as much is shown.
_SHOWN = 300


def occurrences(text: str, phrase: str) -> list[tuple[int, int]]:
    """Start and end of each place in a text that holds whole words; case and the width of spaces
    do not matter."""
    pattern = r"\s+".join(map(re.escape, phrase.split()))
    matches = re.finditer(pattern, text, re.IGNORECASE)
    return [m.span() for m in matches if _is_edge(text, m.start()) and _is_edge(text, m.end())]


def occurrence(text: str, phrase: str, number: int) -> tuple[int, int]:
    """The place of one occurrence, counted from 1; raise where there is none."""
    found = occurrences(text, phrase)
    shown = shortened(text.strip(), _SHOWN)
    if not found:
        raise ArgumentError(f"the output does not hold {phrase!r}; it says: {shown!r}.")
    if number > len(found):
        raise ArgumentError(
            f"occurrence must be at most {len(found)}, got {number}: so often the output holds "
            f"{phrase!r}; it says: {shown!r}."
        )
    return found[number - 1]


def in_case_of(found: str, word: str, other: str) -> str:
    """Another word in the case in which a word was found, where that is not as it was asked for."""
    if found == word:
        return other
    if len(found) > 1 and found.isupper():
        return other.upper()
    if found[:1].isupper() and word[:1].islower():
        return other[:1].upper() + other[1:]
    return other.lower() if found.islower() else other


def _is_edge(text: str, place: int) -> bool:
    """Whether a word can start or end between two characters."""
    before, after = text[place - 1 : place] if place else "", text[place : place + 1]
    if not before or not after:
        return True
    if unicodedata.category(after)[0] == "M":  # it belongs to the character before
        return False
    if is_unspaced(before) or is_unspaced(after):
        return True
    return not (_is_of_word(before) and _is_of_word(after))


def _is_of_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNM"
