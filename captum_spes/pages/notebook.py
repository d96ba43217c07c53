"""An explanation as a piece of HTML for notebooks, which run no script of it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import NamedTuple

from captum_spes.pages.templates import filled

_MOST_UNITS = 300


class ShownUnit(NamedTuple):
    """A word of a transcript.

    Attributes:
        text: the word.
        about: what pointing at it tells.
        share: opacity of its colour, 0 to 1; None for no colour.
        is_noise: whether its map is mostly noise.
    """

    text: str
    about: str
    share: float | None
    is_noise: bool


def notebook_html(
    units: Sequence[ShownUnit], picture: bytes, alt: str, lines: Sequence[str]
) -> str:
    """Fill the template.

    Args:
        units: of the transcript; the first 300 are shown.
        picture: PNG.
        alt: what the picture shows, for those who do not see it.
        lines: below it.
    """
    return filled(
        "notebook.html",
        units=units[:_MOST_UNITS],
        more=max(0, len(units) - _MOST_UNITS),
        picture=base64.b64encode(picture).decode("ascii"),
        alt=alt,
        lines=lines,
    )
