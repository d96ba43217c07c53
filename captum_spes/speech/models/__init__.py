"""What methods ask of a model, and the adapters of the model families."""

from captum_spes.speech.models.capabilities import (
    CAPABILITIES,
    AlignsTokens,
    Attends,
    AttendsInEncoder,
    Attention,
    DecodedSegment,
    DecodedWindow,
    DecodesLongForm,
    Generates,
    HearsAudio,
    ReadsPreviousTokens,
    RemembersStates,
    ScoresTokens,
    SpeechInput,
    SpeechModel,
    TargetSequence,
    Transcribes,
    can,
    require,
)
from captum_spes.speech.models.encoder_decoder import HuggingFaceSpeechModel
from captum_spes.speech.models.loading import load_model
from captum_spes.speech.models.registry import FAMILIES, AdapterFactory, adapt

__all__ = [
    "CAPABILITIES",
    "FAMILIES",
    "AdapterFactory",
    "AlignsTokens",
    "Attends",
    "AttendsInEncoder",
    "Attention",
    "DecodedSegment",
    "DecodedWindow",
    "DecodesLongForm",
    "Generates",
    "HearsAudio",
    "HuggingFaceSpeechModel",
    "ReadsPreviousTokens",
    "RemembersStates",
    "ScoresTokens",
    "SpeechInput",
    "SpeechModel",
    "TargetSequence",
    "Transcribes",
    "adapt",
    "can",
    "load_model",
    "require",
]
