"""Measures of explanations."""

from captum_spes.metrics.deletion import deletion_masks

__all__ = ["deletion_masks"]
