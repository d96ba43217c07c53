"""What is common to families whose features are filterbanks of any length, without padding."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.speech.models.capabilities import SpeechInput
from captum_spes.speech.models.huggingface import (
    HuggingFaceAdapter,
    check_features,
    is_plane,
)

# Largest deviation within a mel bin of features that hold nothing.
_SILENCE = 1e-4


class FilterbankFeatures(HuggingFaceAdapter):
    """The half of an adapter that hears, where features are of shape (1, frames, mel bins)."""

    frame_rate: float
    n_mel_bins: int
    family: str

    @abstractmethod
    def speech_input(self, features: Tensor, seconds: float) -> SpeechInput:
        """Add times and frequencies to features of shape ``(1, frames, mel bins)``."""

    @property
    def is_mean_zero(self) -> bool:
        """Whether the feature extractor sets each mel bin's mean to 0."""
        return True

    def is_features(self, value: Any) -> bool:
        shape = tuple(getattr(value, "shape", ()))
        return self._is_layout(shape) or is_plane(shape)

    def _is_layout(self, shape: tuple[int, ...]) -> bool:
        is_batch_of_one = len(shape) == 3 and shape[0] == 1
        return (is_batch_of_one or len(shape) == 2) and shape[-1] == self.n_mel_bins

    def from_features(self, features: Tensor) -> SpeechInput:
        features = self.without_padding(self.checked_features(features, self.n_mel_bins))
        return self.speech_input(features, features.shape[1] / self.frame_rate)

    def checked_features(self, features: Tensor, width: int) -> Tensor:
        """Features as ``(1, frames, width)``."""
        expected = f"(1, frames, {width}) (batch of 1, frames, numbers per frame)"
        return check_features(features, expected, self._is_layout(tuple(features.shape))).reshape(
            1, -1, width
        )

    def without_padding(self, features: Tensor) -> Tensor:
        """Leave out frames that a feature extractor adds after the speech."""
        return features

    def removed_value(self, speech: SpeechInput, name: str | None) -> Tensor:
        # Silence has the same value in all cells, and normalising it does not make it 0.
        is_silent = float(speech.spectrogram.std(0, correction=0).max()) < _SILENCE
        if name is None and self.is_mean_zero and not is_silent:
            return torch.zeros(1, 1)
        if name in (None, "mean"):
            return speech.spectrogram.mean(0, keepdim=True)
        if name == "silence":
            return speech.spectrogram.amin(0, keepdim=True)
        raise ArgumentError(
            f"unknown baseline {name!r} for {self.family}: 'mean' (each mel bin's mean, 0 after "
            "utterance normalisation) or 'silence' (each mel bin's minimum), or give a number "
            "or Tensor."
        )

    def model_features(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        return spectrograms

    def n_frames(self, features: Tensor) -> int:
        return int(features.shape[1])
