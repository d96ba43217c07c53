"""The families of speech LLMs that read Whisper's mel spectrograms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.speech.models.capabilities import SpeechInput
from captum_spes.speech.models.compatibility import Parts
from captum_spes.speech.models.llm_mel import ChunkedMelLanguageModel, MelLanguageModel, chat
from captum_spes.speech.models.speech_llm import LANGUAGE_REQUEST, LONGEST_HEADER, Prompt

# How Audio Flamingo's sentence begins, in which the text stands; as its processor takes it off.
_FRAME = re.compile(
    r"\s*(The spoken content of the audio is|The transcription of the audio is|"
    r"The content of the input audio is)\s*[\"']\Z"
)


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
    writes_header = True

    def longest(self) -> float | None:
        return whole_chunks(self.processor)

    def after_header(self, written: list[int]) -> int:
        for count in range(1, min(len(written), LONGEST_HEADER) + 1):
            if _FRAME.match(str(self.tokenizer.decode(written[:count]))):
                return count
        return 0


class GlmAsrModel(ChunkedMelLanguageModel):
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

    def longest(self) -> float | None:
        return whole_chunks(self.processor)


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
    writes_header = True

    def _is_layout(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == 3 and shape[-2] == self.n_bins

    def picture(self, features: Tensor) -> Tensor:
        return features[0].T

    def layout(self, pictures: Tensor) -> Tensor:
        return pictures.transpose(1, 2).contiguous()

    def mask(self, features: Tensor, n_frames: int) -> Tensor:
        shortest = int(self.feature_extractor.min_length) // self.hop
        mask = (torch.arange(features.shape[-1]) < max(n_frames, shortest)).long()
        return mask.expand(len(features), -1)

    def after_header(self, written: list[int]) -> int:
        marker = self.tokenizer.convert_tokens_to_ids("<asr_text>")
        return written.index(marker) + 1 if marker in written else 0

    def header(self, speech: SpeechInput, prompt: Prompt, gen_args: Mapping[str, Any]) -> list[int]:
        # Asked for no language, the model writes the one that it hears.
        return (
            [] if gen_args.get("language") is not None else super().header(speech, prompt, gen_args)
        )

    def n_speech_frames(self, made: Mapping[str, Tensor], n_samples: int) -> int:
        # Less than half a second is padded, and its mask does not tell.
        return min(int(made[str(self.mask_name)].sum()), -(-n_samples // self.hop))

    def without_padding(self, picture: Tensor) -> int:
        # Behind frames of silence, which the shortest recordings are padded with, stand zeros.
        is_made = picture.abs().sum(1) > 0
        floor = picture[is_made].min() if is_made.any() else 0.0
        is_speech = is_made & (picture > floor + 1e-4).any(1)
        return int(torch.nonzero(is_speech).max()) + 1 if is_speech.any() else len(picture)

    def covered_frames(self, speech: SpeechInput, n_positions: int) -> int:
        # A hundred frames give 13 embeddings, of which the last stands for less.
        return len(speech.spectrogram)


def whole_chunks(processor: Any) -> float:
    """Seconds that a processor takes, which is a whole number of chunks."""
    chunk = float(processor.feature_extractor.chunk_length)
    return float(processor.max_audio_len) // chunk * chunk
