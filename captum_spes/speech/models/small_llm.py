"""The small speech LLM that comes with the package."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from captum_spes.speech.models.compatibility import Parts
from captum_spes.speech.models.llm_mel import MelLanguageModel


class SmallSpeechLLMModel(MelLanguageModel):
    """Adapter of ``captum_spes.demo.load_speech_llm``."""

    parts = Parts(
        model_class="SpeechLLM",
        processor_class="SpeechLLMProcessor",
        extractor_names=("preemphasis", "hop_length", "feature_size"),
        generation_ids=("eos_token_id",),
        mel_bins=lambda config, own: (config.encoder_config["num_mel_bins"], own.feature_size),
    )
    tried_on = "captum_spes.demo.load_speech_llm"
    frames_per_position = 8
    mask_name = None
    dynamic_range = None

    @property
    def n_bins(self) -> int:
        return int(self.feature_extractor.feature_size)

    def n_speech_frames(self, made: Mapping[str, Tensor], n_samples: int) -> int:
        return int(made["input_features"].shape[1])

    def picture(self, features: Tensor) -> Tensor:
        return features[0]

    def layout(self, pictures: Tensor) -> Tensor:
        return pictures

    def _is_layout(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == 3 and shape[0] == 1 and shape[-1] == self.n_bins
