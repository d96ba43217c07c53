"""Which adapter serves which model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from captum_spes.errors import ArgumentTypeError
from captum_spes.speech.models.canary import CanaryModel
from captum_spes.speech.models.capabilities import HearsAudio, ScoresTokens, SpeechModel, require
from captum_spes.speech.models.classifiers import CLASSIFIERS, adapt_classifier, is_classifier
from captum_spes.speech.models.cohere import CohereAsrModel
from captum_spes.speech.models.compatibility import check_pair
from captum_spes.speech.models.ctc_families import (
    GraniteSpeech5CTCModel,
    LasrCTCModel,
    ParakeetCTCModel,
    Wav2Vec2BertModel,
)
from captum_spes.speech.models.fun_asr import FunAsrNanoModel
from captum_spes.speech.models.granite import GraniteSpeechModel, GraniteSpeechPlusModel
from captum_spes.speech.models.llm_families import (
    AudioFlamingo3Model,
    GlmAsrModel,
    Qwen2AudioModel,
    Qwen3ASRModel,
)
from captum_spes.speech.models.phi4 import Phi4MultimodalModel
from captum_spes.speech.models.seamless import SeamlessM4TModel, SeamlessM4Tv2Model
from captum_spes.speech.models.small_llm import SmallSpeechLLMModel
from captum_spes.speech.models.speech_to_text import Speech2TextModel
from captum_spes.speech.models.transducer import ParakeetRNNTModel, ParakeetTDTModel
from captum_spes.speech.models.voxtral import VoxtralModel
from captum_spes.speech.models.wav2vec2 import (
    Data2VecAudioModel,
    HubertModel,
    Wav2Vec2ConformerModel,
    Wav2Vec2Model,
    WavLMModel,
)
from captum_spes.speech.models.waveform_families import (
    MoonshineModel,
    MoonshineStreamingModel,
    SpeechEncoderDecoder,
    SpeechT5Model,
)
from captum_spes.speech.models.whisper import WhisperModel

# Makes an adapter from a model and its processor.
AdapterFactory: TypeAlias = Callable[[Any, Any], SpeechModel]

# config.model_type of Hugging Face -> adapter.
FAMILIES: dict[str, AdapterFactory] = {
    "whisper": WhisperModel,
    "speech_to_text": Speech2TextModel,
    "canary": CanaryModel,
    "cohere_asr": CohereAsrModel,
    "seamless_m4t": SeamlessM4TModel,
    "seamless_m4t_v2": SeamlessM4Tv2Model,
    "moonshine": MoonshineModel,
    "moonshine_streaming": MoonshineStreamingModel,
    "speecht5": SpeechT5Model,
    "speech-encoder-decoder": SpeechEncoderDecoder,
    "qwen2_audio": Qwen2AudioModel,
    "qwen3_asr": Qwen3ASRModel,
    "audioflamingo3": AudioFlamingo3Model,
    "glmasr": GlmAsrModel,
    "granite_speech": GraniteSpeechModel,
    "granite_speech_plus": GraniteSpeechPlusModel,
    "fun_asr_nano": FunAsrNanoModel,
    "phi4_multimodal": Phi4MultimodalModel,
    "voxtral": VoxtralModel,
    "captum_spes_speech_llm": SmallSpeechLLMModel,
    "wav2vec2": Wav2Vec2Model,
    "hubert": HubertModel,
    "wavlm": WavLMModel,
    "wav2vec2-conformer": Wav2Vec2ConformerModel,
    "data2vec-audio": Data2VecAudioModel,
    "wav2vec2-bert": Wav2Vec2BertModel,
    "parakeet_ctc": ParakeetCTCModel,
    "lasr_ctc": LasrCTCModel,
    "granite_speech5_ctc": GraniteSpeech5CTCModel,
    "parakeet_rnnt": ParakeetRNNTModel,
    "parakeet_tdt": ParakeetTDTModel,
}


def adapt(
    model: Any, processor: Any, adapter: AdapterFactory | SpeechModel | None = None
) -> SpeechModel:
    r"""
    Return the adapter through which methods use a model.

    Args:

        model (PreTrainedModel or Any): The model.
        processor (Processor or Any): Its processor.
        adapter (Callable or SpeechModel, optional): For a family that the package does not know: an
                    adapter, or a class or function that makes one from model and processor.
                    Default: None, the model's own ``speech_adapter``, if it has one, otherwise the
                    one in ``FAMILIES`` for its ``config.model_type``

    Returns:
        *SpeechModel*

    Raises:
        ArgumentTypeError: the model's family is not supported, the model does not write text, the
            processor is another model's, or the adapter cannot hear audio or score tokens.

    Examples::

        >>> adapt(model, processor).sampling_rate
        16000
    """
    if adapter is None:
        # A model of nobody's family may bring its own.
        adapter = getattr(model, "speech_adapter", None)
    family = getattr(getattr(model, "config", None), "model_type", None)
    if (
        adapter is None
        and is_classifier(model)
        and (family in CLASSIFIERS or family not in FAMILIES)
    ):
        adapter = adapt_classifier
    if adapter is None:
        if family not in FAMILIES:
            raise ArgumentTypeError(
                f"cannot explain a model of type {type(model).__name__}"
                + (f" (model_type {family!r})" if family else "")
                + f"; supported families: {', '.join(FAMILIES)}. For another family give adapter=."
            )
        adapter = FAMILIES[family]
        parts = getattr(adapter, "parts", None)
        if parts is not None:
            check_pair(model, processor, parts)
    is_factory = isinstance(adapter, type) or not hasattr(adapter, "encode")
    if is_factory and not callable(adapter):
        raise ArgumentTypeError(
            "adapter must be a class or function of (model, processor), or an adapter, got "
            f"{adapter!r}."
        )
    found: Any = adapter(model, processor) if is_factory else adapter  # type: ignore[operator]
    for capability in (HearsAudio, ScoresTokens):
        require(found, capability, "an explanation")
    made: SpeechModel = found
    return made
