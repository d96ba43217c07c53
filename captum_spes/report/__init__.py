"""Explanations for people: text and files."""

from captum_spes.report.files import write_explanation
from captum_spes.report.text import TokenSummary, explanation_text, summarize_tokens

__all__ = ["TokenSummary", "explanation_text", "summarize_tokens", "write_explanation"]
