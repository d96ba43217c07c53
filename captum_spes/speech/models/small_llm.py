"""The small speech LLM that comes with the package."""

from __future__ import annotations

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
