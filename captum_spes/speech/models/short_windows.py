"""Encoders of windows of a fixed length, run without most of the padding."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from captum_spes.speech.models.capabilities import SpeechInput
from captum_spes.speech.models.encoder_decoder import HuggingFaceSpeechModel

# Padding that stays behind the speech, in seconds: without any, the last word is heard less well.
_PADDING_SECONDS = 0.5


class ShortensWindows(HuggingFaceSpeechModel):
    """Base of the adapters of models whose encoder adds a position of its own to each place of a
    window of a fixed length, as Whisper's does."""

    frame_rate: float

    def window_share(self, speech: SpeechInput) -> float:
        """See ``HearsShortWindows``."""
        return self._n_places(speech) / self._all_places

    def encode_shortened(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        """See ``HearsShortWindows``."""
        n_places = self._n_places(speech)
        if n_places == self._all_places:
            return self.encode(speech, spectrograms)
        n_frames = n_places * self._frames_per_place(speech)
        features = self.model_features(speech, spectrograms)[..., :n_frames]
        features = features.to(self.model.device, self.model.dtype)
        encoder = _shortened(self.model.get_encoder(), n_places)
        states = encoder(features, return_dict=True).last_hidden_state
        assert isinstance(states, Tensor)
        return states

    def covered_frames(self, speech: SpeechInput, n_positions: int) -> int:
        return n_positions * self._frames_per_place(speech)

    @property
    def _all_places(self) -> int:
        return int(self.model.config.max_source_positions)

    def _frames_per_place(self, speech: SpeechInput) -> int:
        n_frames: int = self.n_frames(speech.features)
        return n_frames // self._all_places

    def _n_places(self, speech: SpeechInput) -> int:
        encoder = self.model.get_encoder()
        # What runs the encoder in its own way, such as layers on several devices, needs all of it.
        if "forward" in vars(encoder) or not isinstance(encoder, _with_positions()):
            return self._all_places
        n_frames = len(speech.spectrogram) + round(_PADDING_SECONDS * self.frame_rate)
        n_places = -(-n_frames // self._frames_per_place(speech))
        return min(self._all_places, n_places)


def _with_positions() -> type[Any]:
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    kind: type[Any] = WhisperEncoder
    return kind


def _shortened(encoder: Any, n_places: int) -> Any:
    """An encoder for a shorter window that shares all weights; the one given is not changed."""
    short = copy.copy(encoder)
    short._modules = dict(encoder._modules)
    positions = encoder.embed_positions.weight.detach()[:n_places]
    short.embed_positions = torch.nn.Embedding.from_pretrained(positions)
    short.config = copy.copy(encoder.config)
    short.config.max_source_positions = n_places
    return short
