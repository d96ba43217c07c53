"""The templates, in which whatever comes from data is text and never markup."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined


def filled(name: str, **values: Any) -> str:
    """A template of this folder with its values."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(part(name)).render(values)


@cache
def part(name: str) -> str:
    """The text of a file of this folder."""
    return files("captum_spes.pages").joinpath(name).read_text(encoding="utf-8")
