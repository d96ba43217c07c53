"""Explaining a speech-to-text model end to end."""

from captum_spes.speech.attribution import SpeechToTextAttribution
from captum_spes.speech.controls import EnergyMap, RandomMap
from captum_spes.speech.cross_attention import CrossAttention
from captum_spes.speech.result import SpeechToTextAttributionResult, Word

__all__ = [
    "CrossAttention",
    "EnergyMap",
    "RandomMap",
    "SpeechToTextAttribution",
    "SpeechToTextAttributionResult",
    "Word",
]
