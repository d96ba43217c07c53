"""Audio in any form, turned into what a model takes, and the value that means "removed"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.io.audio import check_duration
from captum_spes.io.samples import Recording, read_samples
from captum_spes.speech.models import HearsAudio, SpeechInput

Audio: TypeAlias = Recording
# What most processors call features.
_FEATURES = "input_features"


def read_speech(adapter: HearsAudio, audio: Audio | SpeechInput, sampling_rate: int) -> SpeechInput:
    """Read a file, samples or features; see ``SpeechToTextAttribution.attribute``. What was read
    before stays as it is."""
    if isinstance(audio, SpeechInput):
        return audio
    given: Audio = audio
    name = getattr(adapter, "features_name", _FEATURES)
    if isinstance(given, Mapping) and name in given:
        given = given[name]  # what a processor returns
    if adapter.is_features(given):
        speech = adapter.from_features(torch.as_tensor(given))
        check_duration(speech.seconds, adapter.max_seconds)
        return speech
    samples = read_samples(given, sampling_rate, adapter.sampling_rate, adapter.max_seconds)
    return adapter.from_audio(samples)


def is_features(adapter: HearsAudio, audio: Any) -> bool:
    """Whether audio is the model's input features, also as a processor returns them."""
    name = getattr(adapter, "features_name", _FEATURES)
    is_of_processor = isinstance(audio, Mapping) and name in audio
    return is_of_processor or adapter.is_features(audio)


def check_removed_value(adapter: HearsAudio, name: str) -> None:
    """Raise where a model knows no removed value of that name, before it hears any speech."""
    silence = np.zeros(adapter.sampling_rate // 2, dtype=np.float32)
    adapter.removed_value(adapter.from_audio(silence), name)


def removed_value(
    adapter: HearsAudio, speech: SpeechInput, baselines: str | float | Tensor | None
) -> Tensor:
    """The values that removed cells get, ``(time, freq)``; the adapter reads None and names."""
    if baselines is None or isinstance(baselines, str):
        value = adapter.removed_value(speech, baselines)
    else:
        value = torch.as_tensor(baselines, dtype=torch.float32, device="cpu")
    try:
        return value.expand(speech.spectrogram.shape)
    except RuntimeError as error:
        raise ArgumentError(
            f"baselines of shape {tuple(value.shape)} do not broadcast to the "
            f"spectrogram's shape {tuple(speech.spectrogram.shape)}."
        ) from error
