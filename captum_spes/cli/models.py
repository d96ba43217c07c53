"""``captum-spes models``."""

from __future__ import annotations

import argparse
from typing import Any

from captum_spes.cli.options import print_text

_YES, _NO = "yes", "-"
_COLUMNS = ("family", "a model", "writes", "text so far", "instruction", "attention", "tried on")


def add_models(commands: Any) -> None:
    models = commands.add_parser(
        "models",
        help="list the families of models that can be explained",
        description="List the families of models that can be explained, by their model_type, and "
        "what each can do: write text of its own; have previous tokens, or the instruction, "
        "removed; show its attention. Families that were tried on no trained weights here were "
        "tried on small models with random weights.",
    )
    models.set_defaults(run=_models)


def _models(parsed: argparse.Namespace) -> None:
    rows = [_COLUMNS, *family_rows()]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_COLUMNS))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print_text("  ".join(cells).rstrip())


def family_rows() -> list[tuple[str, ...]]:
    """A row for each family that a hub name or a folder can be of."""
    from captum_spes.speech.models import FAMILIES

    rows = []
    for family, adapter in FAMILIES.items():
        checkpoint = getattr(adapter, "checkpoint", "")
        if not checkpoint:
            continue
        can = [hasattr(adapter, name) for name in ("generate", "keep_previous_tokens")]
        can += [hasattr(adapter, "instruction_places"), hasattr(adapter, "attention")]
        tried_on = getattr(adapter, "tried_on", "")
        marks = [_YES if is_able else _NO for is_able in can]
        rows.append((family, checkpoint, *marks, tried_on or "random weights"))
    return rows
