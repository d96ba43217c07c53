"""Figures as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from captum_spes.errors import ArgumentError, shown
from captum_spes.io.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# PDF and SVG hold text as text, which is found, copied and edited.
FIGURE_FORMATS = ("png", "pdf", "svg")


def figure_format_of(value: object) -> str:
    """One of ``FIGURE_FORMATS``."""
    if not isinstance(value, str) or value not in FIGURE_FORMATS:
        raise ArgumentError(f"figure_format must be {_listed()}, got {shown(value)}.")
    return value


def write_figure(path: Path, figure: Figure, *, dpi: int = 120) -> Path:
    """Write a figure in the format that the path ends with, which appears complete or not at all.
    Returns the path."""
    with whole_file(path) as file:
        figure.savefig(file, format=path.suffix.removeprefix("."), dpi=dpi)
    return path


def _listed() -> str:
    *first, last = (repr(name) for name in FIGURE_FORMATS)
    return f"{', '.join(first)} or {last}"
