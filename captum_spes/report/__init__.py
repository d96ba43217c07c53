"""Explanations and comparisons for people: text, tables and files."""

from typing import Any
from warnings import warn

from captum_spes.report.analysis import write_analysis
from captum_spes.report.comparison import comparison_rows, comparison_table, write_comparison
from captum_spes.report.differences import (
    difference_ranks,
    difference_rows,
    write_differences,
)
from captum_spes.report.exports import write_netcdf, write_textgrid, write_units
from captum_spes.report.files import write_explanation
from captum_spes.report.stability import write_stability
from captum_spes.report.text import TokenSummary, explanation_text, summarize_tokens
from captum_spes.report.units import unit_table
from captum_spes.stability import plot_cost, plot_stability

__all__ = [
    "TokenSummary",
    "comparison_rows",
    "comparison_table",
    "difference_ranks",
    "difference_rows",
    "explanation_text",
    "plot_cost",
    "plot_stability",
    "summarize_tokens",
    "unit_table",
    "write_analysis",
    "write_comparison",
    "write_differences",
    "write_explanation",
    "write_netcdf",
    "write_stability",
    "write_textgrid",
    "write_units",
]

# As captum_spes.reliability does: what they show is agreement across training seeds.
_FORMER = {"plot_reliability": "plot_stability", "write_reliability": "write_stability"}


def __getattr__(name: str) -> Any:
    if name not in _FORMER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    new = _FORMER[name]
    warn(f"{__name__}.{name} is {new} now.", DeprecationWarning, stacklevel=2)
    return globals()[new]
