"""A page of explanations as one text of HTML."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined


def page_html(payload: Mapping[str, Any], title: str) -> str:
    """Fill the page's template.

    Nothing of it is loaded from elsewhere, and its own policy forbids that anything is: the script
    and the style are allowed by their digests, and all that comes from data is data, of which no
    browser makes markup.

    Args:
        payload: what the script shows, in JSON's types.
        title: of the page.
    """
    style, script = _part("page.css"), _part("page.js")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = environment.from_string(_part("page.html"))
    return template.render(
        title=title,
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
def _part(name: str) -> str:
    return files("captum_spes.pages").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """As a content security policy names an element that it allows."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
