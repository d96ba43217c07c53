"""How a written word is spoken: what is compared when words are matched."""

from __future__ import annotations

import re
import unicodedata

from captum_spes.errors import ArgumentError, optional_library

_APOSTROPHES = "'’ʼ"
# Languages that write three and a half as 3.5.
_POINT_LANGUAGES = ("en", "zh", "ja", "ko", "th", "he")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(st|nd|rd|th)?")


def spoken_forms(word: str, language: str = "en") -> list[tuple[str, ...]]:
    r"""
    The ways to spell a written word in letters alone, one piece per spoken word.

    Case, punctuation and apostrophes are dropped, words joined by hyphens are split, and
    numbers are written out, those of four digits also as a year.

    Args:

        word (str): A word, with or without punctuation.
        language (str, optional): Language of the numbers, a code that num2words knows.
                    Default: "en"

    Returns:
        *list* of tuples of str, the likeliest first; one empty tuple for what is not spoken.

    Raises:
        ArgumentError: num2words does not know the language, or how to say the number.
        ImportError: the word holds a number, and num2words is not installed.

    Examples::

        >>> spoken_forms("It's")
        [('its',)]
        >>> spoken_forms("1961")[-1]
        ('nineteen', 'sixty', 'one')
    """
    number = _NUMBER.fullmatch(word.strip('.,;:!?"“”«»()[]'))
    if number is None:
        return [_pieces(word)]
    if language.startswith(_POINT_LANGUAGES):
        digits = number.group().replace(",", "")
    else:  # 3,5 or 3.500: which of the two divides thousands is not known for sure
        digits = number.group()
        if "," in digits or "." in digits:
            return [_pieces(word)]
    if number.group(1):
        return _both_ways(_written_out(digits.removesuffix(number.group(1)), "ordinal", language))
    forms = _both_ways(_written_out(digits, "cardinal", language))
    if len(digits) == 4 and digits.isdigit():
        forms += _both_ways(_written_out(digits, "year", language))
    return forms


def _pieces(word: str) -> tuple[str, ...]:
    for apostrophe in _APOSTROPHES:
        word = word.replace(apostrophe, "")
    letters = "".join(
        character if unicodedata.category(character)[0] in "LMN" else " " for character in word
    )
    return tuple(unicodedata.normalize("NFC", letters).casefold().split())


def _both_ways(text: str) -> list[tuple[str, ...]]:
    """A hundred and five, a hundred five."""
    pieces = _pieces(text)
    short = tuple(piece for piece in pieces if piece != "and")
    return [pieces] if short == pieces else [pieces, short]


def _written_out(digits: str, kind: str, language: str) -> str:
    num2words = optional_library("num2words", "matching numbers", "alignment").num2words
    value = float(digits) if "." in digits else int(digits)
    try:
        return str(num2words(value, to=kind, lang=language))
    except (NotImplementedError, OverflowError) as error:
        raise ArgumentError(
            f"the number {digits} cannot be written out in the language {language!r}: give a code "
            f"that num2words knows, such as 'en' or 'de' ({error})."
        ) from error
