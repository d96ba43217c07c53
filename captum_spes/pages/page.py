"""A page of explanations as one text of HTML."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from captum_spes.pages.templates import filled, part

# In their order: each needs only those before it.
_SCRIPTS = (
    "planes.js", "drawing.js", "sound.js", "choosing.js", "showing.js", "playing.js", "page.js",
)  # fmt: skip


def page_html(payload: Mapping[str, Any], title: str, heading: str) -> str:
    """Fill the page's template.

    Nothing of it is loaded from elsewhere, and its own policy forbids that anything is: the script
    and the style are allowed by their digests, and all that comes from data is data, of which no
    browser makes markup.

    Args:
        payload: what the script shows, in JSON's types.
        title: of the page, where browsers name it.
        heading: above all else.
    """
    style, script = part("page.css"), _script()
    return filled(
        "page.html",
        title=title,
        heading=heading,
        style=style,
        script=script,
        style_digest=_digest(style),
        script_digest=_digest(script),
        payload=_as_data(payload),
    )


def _as_data(payload: Mapping[str, Any]) -> str:
    """JSON that ends no element of a page, whatever its texts hold."""
    text = json.dumps(payload, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _script() -> str:
    """All parts in one function, so that no name of theirs is the page's."""
    parts = "\n".join(map(part, _SCRIPTS))
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _digest(text: str) -> str:
    """As a content security policy names an element that it allows."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
