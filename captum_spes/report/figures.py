"""Figures as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from captum_spes.io.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_figure(path: Path, figure: Figure, *, dpi: int = 120) -> Path:
    """Write a figure as PNG, which appears complete or not at all. Returns the path."""
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=dpi)
    return path
