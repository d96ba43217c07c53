"""Hidden states of a speech encoder, layer by layer, with their times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.inputs import Audio, read_speech
from captum_spes.speech.models import SpeechInput
from captum_spes.speech.models.layers import layer_states

# The first two rows of every table of layers: what the model hears, and what its first layer does.
SPECTROGRAM, INPUT = "spectrogram", "input"


@dataclass(frozen=True, eq=False)
class EncoderStates:
    """What the layers of an encoder make of one recording.

    Attributes:
        layers: name to ``(frames, width)``, from the audio up; widths may differ.
        times: ``(frames,)``, seconds, ascending.
        loudness: ``(frames,)``, mean of the spectrogram around each frame, in the model's own unit.

    Raises:
        ArgumentError: there is no layer, numbers of frames differ, a value is NaN or infinite, or
            times do not ascend.
    """

    layers: Mapping[str, NDArray[np.floating[Any]]]
    times: NDArray[np.float64]
    loudness: NDArray[np.float64]

    def __post_init__(self) -> None:
        frames = len(self.times)
        named = {**self.layers, "times": self.times, "loudness": self.loudness}
        for name, values in named.items():
            n_dims = 2 if name in self.layers else 1
            if np.ndim(values) != n_dims or len(values) != frames:
                raise ArgumentError(
                    f"{name} must have {n_dims} dimension(s) and one entry for each of the "
                    f"{frames} times, got shape {np.shape(values)}."
                )
            if not np.isfinite(values).all():
                raise ArgumentError(f"{name} holds NaN or infinite values.")
        if not self.layers or not frames:
            raise ArgumentError("states need at least one layer and one frame.")
        if (np.diff(self.times) <= 0).any():
            raise ArgumentError("times must ascend.")


def encoder_states(
    explainer: Any, recordings: Mapping[str, Audio], sampling_rate: int = 16_000
) -> dict[str, EncoderStates]:
    r"""
    Read what each layer of a model's encoder makes of recordings. It costs one pass of the encoder
    each.

    Args:

        explainer (SpeechToTextAttribution or SpeechClassificationAttribution): Of the model, or its
                    adapter. The model is left as it was.
        recordings (mapping of str to path, array, ...): By utterance, in any form that
                    ``attribute`` takes, each no longer than the model takes at once.
        sampling_rate (int, optional): Of arrays, Hz.
                    Default: 16000

    Returns:
        *dict* of :class:`EncoderStates` by utterance. Layers are called "spectrogram" (the cells
        that a frame covers, side by side), "input" (what the first layer is given), and "1", "2",
        ... (what each layer gives, before a norm that may follow the last one). Times are those
        that convolutions with padding are centred at; where a model stacks frames, or has no
        padding, they are up to a frame early.

    Raises:
        ArgumentError: there is no recording, or one cannot be used.
        ArgumentTypeError: the model has no layers that can be read.

    Examples::

        >>> states = encoder_states(explainer, {"speech": "speech.flac"})
        >>> list(states["speech"].layers)[:3]
        ['spectrogram', 'input', '1']
    """
    if not isinstance(recordings, Mapping):
        raise ArgumentTypeError(
            "recordings must be a dict of recordings by the name of the utterance, got "
            f"{type(recordings).__name__}."
        )
    if not recordings:
        raise ArgumentError("there is no recording to read.")
    adapter = getattr(explainer, "adapter", explainer)
    if not hasattr(adapter, "encode"):
        raise ArgumentTypeError(
            "give an explainer, SpeechToTextAttribution(method, processor), or its adapter; got "
            f"{type(explainer).__name__}."
        )
    with ordinary_torch(adapter.device):
        # All of them first: a bad recording must not end a long run.
        heard = {
            name: read_speech(adapter, audio, sampling_rate) for name, audio in recordings.items()
        }
        return {name: _states_of(adapter, speech) for name, speech in heard.items()}


def _states_of(adapter: Any, speech: SpeechInput) -> EncoderStates:
    found, stride = layer_states(adapter, speech)
    spectrogram = speech.spectrogram.float()
    places = torch.arange(len(found[0]), device="cpu", dtype=torch.float64) * stride
    around = _around(places, stride, len(spectrogram))
    cells = spectrogram[around]
    first, rate = float(speech.frame_times[0]), float(adapter.frame_rate)
    layers = {SPECTROGRAM: cells.flatten(1), INPUT: found[0]}
    layers |= {str(number): states for number, states in enumerate(found[1:], 1)}
    return EncoderStates(
        {name: states.numpy() for name, states in layers.items()},
        (first + places / rate).numpy(),
        cells.mean((1, 2)).double().numpy(),
    )


def _around(places: Tensor, stride: float, n_frames: int) -> Tensor:
    """``(positions, frames)``: the frames of the spectrogram that each position stands for."""
    width = max(1, round(stride))
    steps = torch.arange(width, device="cpu") - width // 2
    return (places.round().long()[:, None] + steps).clamp(0, n_frames - 1)
