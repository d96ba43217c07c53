"""One adapter per model family behind the protocol of :mod:`.base`."""

from captum_spes.speech.models.base import Attention, SpeechInput, SpeechModel, TargetSequence
from captum_spes.speech.models.registry import FAMILIES, adapt, load_model

__all__ = [
    "FAMILIES",
    "Attention",
    "SpeechInput",
    "SpeechModel",
    "TargetSequence",
    "adapt",
    "load_model",
]
