"""Parakeet's features: mel bins normalised per utterance; Canary, Cohere and FastConformers."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.speech.models.capabilities import SpeechInput
from captum_spes.speech.models.filterbanks import FilterbankFeatures
from captum_spes.speech.models.huggingface import mel_bin_centers


class ParakeetFeatures(FilterbankFeatures):
    """The half of an adapter that hears, for models with a Parakeet encoder."""

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        encoder = model.config.encoder_config
        self.n_mel_bins = int(encoder.num_mel_bins)
        self.frame_rate = self.sampling_rate / self.feature_extractor.hop_length
        n_frames = int(encoder.max_position_embeddings) * int(encoder.subsampling_factor)
        self.max_seconds: float | None = n_frames / self.frame_rate

    def from_audio(self, audio: NDArray[Any]) -> SpeechInput:
        made = self.feature_extractor(audio, sampling_rate=self.sampling_rate, return_tensors="pt")
        # The last frame lies beyond the audio; the extractor masks it.
        n_frames = int(made["attention_mask"].sum())
        features = made["input_features"][:, :n_frames]
        return self.speech_input(features, len(audio) / self.sampling_rate)

    def without_padding(self, features: Tensor) -> Tensor:
        # Frames that the extractor masked are exactly 0, in every bin and at the end.
        is_speech = torch.nonzero(features[0].abs().sum(1))
        return features[:, : int(is_speech.max()) + 1] if len(is_speech) else features

    def speech_input(self, features: Tensor, seconds: float) -> SpeechInput:
        features = features.to("cpu", torch.float32)
        return SpeechInput(
            features=features,
            spectrogram=features[0].contiguous(),
            frame_times=torch.arange(features.shape[1]) / self.frame_rate,
            mel_frequencies=mel_bin_centers(self.n_mel_bins, 0.0, self.sampling_rate / 2, "slaney"),
            seconds=seconds,
        )
