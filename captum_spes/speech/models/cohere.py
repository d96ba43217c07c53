"""Cohere Transcribe: Canary's features, a prompt of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.speech.models.canary import CanaryModel
from captum_spes.speech.models.capabilities import SpeechInput
from captum_spes.speech.models.compatibility import Parts


class CohereAsrModel(CanaryModel):
    """Adapter of Cohere Transcribe.

    ``gen_args`` take ``language`` and ``punctuation`` as the processor does; the default is English
    with punctuation.
    """

    family = "Cohere Transcribe"
    parts = Parts(
        model_class="CohereAsrForConditionalGeneration",
        processor_class="CohereAsrProcessor",
        extractor_names=("preemphasis", "hop_length", "feature_size", "max_audio_clip_s"),
        generation_ids=("eos_token_id",),
        mel_bins=lambda config, own: (config.encoder_config.num_mel_bins, own.feature_size),
    )
    checkpoint = "CohereLabs/cohere-transcribe-03-2026"
    tried_on = ""
    requests = frozenset({"language", "punctuation"})
    prompt_arguments: ClassVar[Mapping[str, str]] = {
        "language": "language",
        "punctuation": "punctuation",
    }

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        # Longer audio its extractor cuts in chunks.
        longest = float(self.feature_extractor.max_audio_clip_s)
        self.max_seconds = min(self.max_seconds or longest, longest)

    @property
    def max_target_tokens(self) -> int:
        return int(self.model.config.max_position_embeddings)

    def prompt_ids(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> list[int]:
        request = self.request(gen_args)
        language, punctuation = request.get("language", "en"), request.get("punctuation", True)
        if not isinstance(language, str):
            raise ArgumentTypeError(f"language must be a code such as 'en', got {language!r}.")
        try:
            ids = self.processor.get_decoder_prompt_ids(language, bool(punctuation))
        except ValueError as error:
            raise ArgumentError(f"the model takes no request like {request}: {error}") from error
        return [int(i) for i in ids]
