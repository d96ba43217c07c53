"""Explaining a speech-to-text model end to end."""

from captum_spes.speech.attribution import SpeechToTextAttribution
from captum_spes.speech.result import SpeechToTextAttributionResult, Word

__all__ = ["SpeechToTextAttribution", "SpeechToTextAttributionResult", "Word"]
