"""The families of speech LLMs that read Whisper's mel spectrograms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.speech.models.capabilities import TargetSequence
from captum_spes.speech.models.compatibility import Parts
from captum_spes.speech.models.llm_mel import ChunkedMelLanguageModel, MelLanguageModel, chat
from captum_spes.speech.models.speech_llm import LANGUAGE_REQUEST, Prompt


def _mel_bins(config: Any, extractor: Any) -> tuple[int, int]:
    return int(config.audio_config.num_mel_bins), int(extractor.feature_size)


class Qwen2AudioModel(ChunkedMelLanguageModel):
    """Adapter of Qwen2-Audio."""

    parts = Parts(
        model_class="Qwen2AudioForConditionalGeneration",
        processor_class="Qwen2AudioProcessor",
        extractor_names=("chunk_length", "hop_length", "nb_max_frames", "feature_size"),
        generation_ids=("eos_token_id",),
        mel_bins=_mel_bins,
        frames=lambda config, own: (
            2 * config.audio_config.max_source_positions,
            own.nb_max_frames,
        ),
    )
    checkpoint = "Qwen/Qwen2-Audio-7B-Instruct"
    # As an example of its model card asks.
    instruction = "What does the person say?"
    mask_name = "feature_attention_mask"

    def longest(self) -> float | None:
        return float(self.feature_extractor.chunk_length)

    def request_text(self, audio: NDArray[np.float32], request: Mapping[str, Any]) -> str:
        return chat(self.processor, request.get("prompt", self.instruction))


class AudioFlamingo3Model(ChunkedMelLanguageModel):
    """Adapter of Audio Flamingo 3."""

    parts = Parts(
        model_class="AudioFlamingo3ForConditionalGeneration",
        processor_class="AudioFlamingo3Processor",
        extractor_names=("chunk_length", "hop_length", "nb_max_frames", "feature_size"),
        generation_ids=("eos_token_id",),
        mel_bins=_mel_bins,
    )
    checkpoint = "nvidia/audio-flamingo-3-hf"

    def longest(self) -> float | None:
        return float(self.processor.max_audio_len)


class GlmAsrModel(AudioFlamingo3Model):
    """Adapter of GLM-ASR."""

    parts = Parts(
        model_class="GlmAsrForConditionalGeneration",
        processor_class="GlmAsrProcessor",
        extractor_names=("chunk_length", "hop_length", "nb_max_frames", "feature_size"),
        generation_ids=("eos_token_id",),
        mel_bins=_mel_bins,
    )
    checkpoint = "zai-org/GLM-ASR-Nano-2512"
    frames_per_position = 8


class Qwen3ASRModel(MelLanguageModel):
    """Adapter of Qwen3-ASR. The language that it writes before the text is not explained."""

    parts = Parts(
        model_class="Qwen3ASRForConditionalGeneration",
        processor_class="Qwen3ASRProcessor",
        extractor_names=("n_window", "hop_length", "feature_size"),
        generation_ids=("eos_token_id",),
        mel_bins=_mel_bins,
    )
    checkpoint = "Qwen/Qwen3-ASR-1.7B-hf"
    request = LANGUAGE_REQUEST
    frames_per_position = 8

    @property
    def n_bins(self) -> int:
        return int(self.feature_extractor.feature_size)

    def picture(self, features: Tensor) -> Tensor:
        return features[0].T

    def layout(self, pictures: Tensor) -> Tensor:
        return pictures.transpose(1, 2).contiguous()

    def mask(self, features: Tensor, n_frames: int) -> Tensor:
        mask = (torch.arange(features.shape[-1]) < n_frames).long()
        return mask.expand(len(features), -1)

    def _with_sides(self, sequence: TargetSequence, prompt: Prompt) -> TargetSequence:
        sequence = super()._with_sides(sequence, prompt)
        marker = self.tokenizer.convert_tokens_to_ids("<asr_text>")
        written = sequence.ids[len(prompt.ids) :].tolist()
        if marker not in written:
            return sequence
        first = len(prompt.ids) + written.index(marker) + 1
        explained = tuple(place for place in sequence.explained if place >= first)
        return TargetSequence(sequence.ids, explained, sequence.previous, sequence.instruction)
