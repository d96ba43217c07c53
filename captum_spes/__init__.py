"""SPES for Captum: explain every token that a speech-to-text model writes."""

from importlib.metadata import version as _version

from captum_spes.attr import SPES
from captum_spes.forward import KLDivergenceForward, TokenProbabilityForward
from captum_spes.masks import describe_levels, grid_feature_mask, slic_feature_mask
from captum_spes.speech import (
    SpeechToTextAttribution,
    SpeechToTextAttributionResult,
    Word,
)

__version__ = _version("captum-spes")

__all__ = [
    "SPES",
    "KLDivergenceForward",
    "SpeechToTextAttribution",
    "SpeechToTextAttributionResult",
    "TokenProbabilityForward",
    "Word",
    "describe_levels",
    "grid_feature_mask",
    "slic_feature_mask",
]
