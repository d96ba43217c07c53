"""Fun-ASR-Nano: kaldi filterbanks, seven frames stacked six apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from captum_spes.speech.models.compatibility import Parts
from captum_spes.speech.models.llm_mel import MelLanguageModel
from captum_spes.speech.models.speech_llm import LANGUAGE_REQUEST


class FunAsrNanoModel(MelLanguageModel):
    """Adapter of Fun-ASR-Nano.

    What is perturbed is the filterbank before its frames are stacked, so that a frame is removed
    wherever it stands.
    """

    parts = Parts(
        model_class="FunAsrNanoForConditionalGeneration",
        processor_class="FunAsrNanoProcessor",
        extractor_names=("num_frames_lfr", "stride_lfr", "frame_shift"),
        generation_ids=("eos_token_id",),
        mel_bins=lambda config, own: (
            int(config.audio_config.num_mel_bins), int(own.feature_size),
        ),
    )  # fmt: skip
    checkpoint = "FunAudioLLM/Fun-ASR-Nano-2512-hf"
    request = LANGUAGE_REQUEST
    frames_per_position = 6
    mel_scale = "kaldi"
    dynamic_range = None
    # Kaldi's lowest frequency; windows begin with the audio.
    band = (20.0, 8000.0)
    first_frame = 0.0125

    def hop_length(self) -> int:
        return int(self.feature_extractor.frame_shift) * self.sampling_rate // 1000

    def longest(self) -> float | None:
        # Its positions are counted from one.
        n_positions = int(self.model.config.audio_config.max_position_embeddings) - 1
        return n_positions * self._stacking[1] / self.frame_rate

    @property
    def _window(self) -> int:
        """Samples of a frame."""
        return int(self.feature_extractor.frame_length) * self.sampling_rate // 1000

    def n_speech_frames(self, made: Mapping[str, Tensor], n_samples: int) -> int:
        return max(1, (n_samples - self._window) // self.hop + 1)

    def samples_of(self, n_frames: int) -> int:
        return (n_frames - 1) * self.hop + self._window

    @property
    def _stacking(self) -> tuple[int, int]:
        return int(self.feature_extractor.num_frames_lfr), int(self.feature_extractor.stride_lfr)

    def picture(self, features: Tensor) -> Tensor:
        count, stride = self._stacking
        stacked = features[0].reshape(len(features[0]), count, self.n_bins)
        # The first frames repeat the very first one; the last ones the very last.
        frames = torch.cat([stacked[:-1, :stride].flatten(0, 1), stacked[-1]])
        return frames[(count - 1) // 2 :]

    def layout(self, pictures: Tensor) -> Tensor:
        count, stride = self._stacking
        n_windows = -(-pictures.shape[1] // stride)
        before = (count - 1) // 2
        after = (n_windows - 1) * stride + count - before - pictures.shape[1]
        padded = torch.cat(
            [pictures[:, :1].expand(-1, before, -1), pictures,
             pictures[:, -1:].expand(-1, after, -1)], 1,
        )  # fmt: skip
        windows = padded.unfold(1, count, stride).transpose(2, 3)
        return windows.flatten(2)

    def model_features(self, speech: Any, spectrograms: Tensor) -> Tensor:
        return self.layout(spectrograms)

    @property
    def width(self) -> int:
        return self._stacking[0] * self.n_bins

    def mask(self, features: Tensor, n_frames: int) -> Tensor:
        return torch.ones(features.shape[:2], dtype=torch.int64)
