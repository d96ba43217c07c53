"""Explaining a speech-to-text model end to end."""

from captum_spes.speech.alternatives import Alternative
from captum_spes.speech.attention_heads import ChosenHeads, HeadsByEntropy
from captum_spes.speech.attribution import SpeechToTextAttribution
from captum_spes.speech.classification import SpeechClassificationAttribution
from captum_spes.speech.controls import EnergyMap, RandomMap
from captum_spes.speech.cross_attention import CrossAttention
from captum_spes.speech.evidence import EvidenceReport, WordEvidence
from captum_spes.speech.games import SpeechGame
from captum_spes.speech.methods import METHODS, Method, named_methods, register
from captum_spes.speech.priors import GradientPrior
from captum_spes.speech.result import SpeechToTextAttributionResult, Word
from captum_spes.speech.settings import Settings
from captum_spes.speech.transcript_errors import TranscriptError
from captum_spes.speech.utterance_methods import SpeechAttribution
from captum_spes.speech.verdicts import VerdictRule, read_rules, shipped_rules, write_rules

__all__ = [
    "METHODS",
    "Alternative",
    "ChosenHeads",
    "CrossAttention",
    "EnergyMap",
    "EvidenceReport",
    "GradientPrior",
    "HeadsByEntropy",
    "Method",
    "RandomMap",
    "Settings",
    "SpeechAttribution",
    "SpeechClassificationAttribution",
    "SpeechGame",
    "SpeechToTextAttribution",
    "SpeechToTextAttributionResult",
    "TranscriptError",
    "VerdictRule",
    "Word",
    "WordEvidence",
    "named_methods",
    "read_rules",
    "register",
    "shipped_rules",
    "write_rules",
]
