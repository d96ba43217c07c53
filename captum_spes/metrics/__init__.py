"""Measures of explanations."""

from captum_spes.metrics.deletion import deletion_masks
from captum_spes.metrics.text import corpus_score

__all__ = ["corpus_score", "deletion_masks"]
