"""How an input is cut into the features that are perturbed."""

from captum_spes.masks.grid import grid_feature_mask
from captum_spes.masks.levels import LevelSummary, describe_levels
from captum_spes.masks.slic import slic_feature_mask
from captum_spes.masks.spans import span_feature_mask, window_feature_mask

__all__ = [
    "LevelSummary",
    "describe_levels",
    "grid_feature_mask",
    "slic_feature_mask",
    "span_feature_mask",
    "window_feature_mask",
]
