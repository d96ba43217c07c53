"""SPES for Captum: explain every token that a speech-to-text model writes."""

from importlib.metadata import version as _version

from captum_spes.attr import SPES, AudioMaskInput, BubbleNoise, LLMAttribution
from captum_spes.forward import KLDivergenceForward, TokenProbabilityForward
from captum_spes.masks import (
    describe_levels,
    grid_feature_mask,
    slic_feature_mask,
    span_feature_mask,
    window_feature_mask,
)
from captum_spes.speech import (
    CrossAttention,
    EnergyMap,
    EvidenceReport,
    RandomMap,
    Settings,
    SpeechClassificationAttribution,
    SpeechToTextAttribution,
    SpeechToTextAttributionResult,
    Word,
    WordEvidence,
)

__version__ = _version("captum-spes")

__all__ = [
    "SPES",
    "AudioMaskInput",
    "BubbleNoise",
    "CrossAttention",
    "EnergyMap",
    "EvidenceReport",
    "KLDivergenceForward",
    "LLMAttribution",
    "RandomMap",
    "Settings",
    "SpeechClassificationAttribution",
    "SpeechToTextAttribution",
    "SpeechToTextAttributionResult",
    "TokenProbabilityForward",
    "Word",
    "WordEvidence",
    "describe_levels",
    "grid_feature_mask",
    "slic_feature_mask",
    "span_feature_mask",
    "window_feature_mask",
]
