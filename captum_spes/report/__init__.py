"""Explanations and comparisons for people: text, tables and files."""

from captum_spes.report.analysis import write_analysis
from captum_spes.report.comparison import comparison_rows, comparison_table, write_comparison
from captum_spes.report.files import write_explanation
from captum_spes.report.stability import plot_cost, plot_stability, write_stability
from captum_spes.report.text import TokenSummary, explanation_text, summarize_tokens

__all__ = [
    "TokenSummary",
    "comparison_rows",
    "comparison_table",
    "explanation_text",
    "plot_cost",
    "plot_stability",
    "summarize_tokens",
    "write_analysis",
    "write_comparison",
    "write_explanation",
    "write_stability",
]
