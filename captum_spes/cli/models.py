"""``captum-spes models``."""

from __future__ import annotations

import argparse
from typing import Any

from captum_spes.cli.options import print_text

_YES, _NO, _UNKNOWN = "yes", "-", "?"
_COLUMNS = ("family", "a model", "writes", "text so far", "instruction", "attention", "tried on")


def add_models(commands: Any) -> None:
    models = commands.add_parser(
        "models",
        help="list the families of models that can be explained",
        description="List the families of models that can be explained, by their model_type, and "
        "what each can do: write text of its own; have previous tokens, or the instruction, "
        "removed; show its attention (?: known with a model only). Families that were tried on no "
        "trained weights here were tried on small models with random weights; of families that "
        "were added from outside, nothing is known but what they say.",
    )
    models.set_defaults(run=_models)


def _models(parsed: argparse.Namespace) -> None:
    rows = [_COLUMNS, *family_rows()]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_COLUMNS))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print_text("  ".join(cells).rstrip())


def family_rows() -> list[tuple[str, ...]]:
    """A row for each family, those that were added from outside the package among them."""
    from captum_spes.speech.models import FAMILIES

    return [
        (family, getattr(adapter, "checkpoint", "") or _NO, *_marks(adapter), _tried_on(adapter))
        for family, adapter in FAMILIES.items()
    ]


def _marks(adapter: Any) -> list[str]:
    """Whether a family has each ability; a function that makes adapters does not tell."""
    from captum_spes.speech.models.capabilities import (
        Attends,
        FollowsInstructions,
        Generates,
        ReadsPreviousTokens,
        makes_able,
    )

    asked = (Generates, ReadsPreviousTokens, FollowsInstructions, Attends)
    if not isinstance(adapter, type):
        return [_UNKNOWN] * len(asked)
    return [_YES if makes_able(adapter, capability) else _NO for capability in asked]


def _tried_on(adapter: Any) -> str:
    is_own = str(getattr(adapter, "__module__", "")).startswith("captum_spes.")
    return getattr(adapter, "tried_on", "") or ("random weights" if is_own else _NO)
