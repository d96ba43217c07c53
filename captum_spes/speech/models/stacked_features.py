"""Kaldi filterbanks of which several frames are one behind the other: SeamlessM4T's features."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.speech.models.capabilities import SpeechInput
from captum_spes.speech.models.filterbanks import FilterbankFeatures
from captum_spes.speech.models.huggingface import mel_bin_centers

# Samples from frame to frame.
_HOP = 160
# Seconds.
_HALF_WINDOW = 0.0125


class StackedFeatures(FilterbankFeatures):
    """The half of an adapter that hears; frames are perturbed before they are stacked."""

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        self.n_mel_bins = int(self.feature_extractor.num_mel_bins)
        self.frame_rate = self.sampling_rate / _HOP
        self.max_seconds: float | None = None
        self._stride = int(self.feature_extractor.stride)

    def from_audio(self, audio: NDArray[Any]) -> SpeechInput:
        made = self.feature_extractor(audio, sampling_rate=self.sampling_rate, return_tensors="pt")
        # A frame that is half padding is masked; without it no mask is needed.
        features = made["input_features"][:, : int(made["attention_mask"].sum())]
        return self.speech_input(features, len(audio) / self.sampling_rate)

    def speech_input(self, features: Tensor, seconds: float) -> SpeechInput:
        features = features.to("cpu", torch.float32)
        spectrogram = features.reshape(-1, self.n_mel_bins)
        return SpeechInput(
            features=features,
            spectrogram=spectrogram.contiguous(),
            # Windows of 25 ms begin with the audio.
            frame_times=torch.arange(len(spectrogram)) / self.frame_rate + _HALF_WINDOW,
            mel_frequencies=mel_bin_centers(self.n_mel_bins, 20.0, self.sampling_rate / 2, "kaldi"),
            seconds=seconds,
        )

    def _is_layout(self, shape: tuple[int, ...]) -> bool:
        is_batch_of_one = len(shape) == 3 and shape[0] == 1
        return (is_batch_of_one or len(shape) == 2) and shape[-1] == self._stride * self.n_mel_bins

    def from_features(self, features: Tensor) -> SpeechInput:
        width = self._stride * self.n_mel_bins
        features = self.checked_features(features, width)
        return self.speech_input(features, features.shape[1] * self._stride / self.frame_rate)

    def model_features(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        return spectrograms.reshape(len(spectrograms), -1, self._stride * self.n_mel_bins)

    def n_frames(self, features: Tensor) -> int:
        return int(features.shape[1]) * self._stride
