"""A sound as the model would hear it within a recording."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.io.samples import read_samples
from captum_spes.speech.models import SpeechInput

# Of the sound, at least, where the recording leaves less room in what the model takes.
_LEAST_SECONDS = 1.0
# Around the seam: windows of features reach so far, and frames can be stacked.
_SEAM_SECONDS, _SEAM_FRAMES = 0.05, 2
# Share of a bin's deviation by which cells may move that count as unmoved.
_UNMOVED = 1e-3

# From the recording and a number of samples to the sound.
MakeSound = Callable[[NDArray[np.float32], int], NDArray[np.float32]]


def heard_behind(adapter: Any, speech: SpeechInput, audio: Any, make: MakeSound) -> Tensor:
    """The spectrogram of a sound in the scale of a recording's, ``(time, freq)``.

    Many features are normalised by the recording, bin by bin, so that features of a sound by itself
    would tell nothing of its loudness. Features of the recording with the sound behind it are those
    of the recording alone but for a factor and a summand of each bin, which are found from the
    frames that both have and taken back from those of the sound.

    Args:
        adapter: the model's.
        speech: the recording as the model sees it.
        audio: the recording as it was given.
        make: makes the sound.
    """
    rate = adapter.sampling_rate
    samples = read_samples(audio, rate, rate, adapter.max_seconds)
    n_own, n_sound = _lengths(len(samples), rate, adapter.max_seconds)
    sound = make(samples, n_sound)
    both = adapter.from_audio(np.concatenate([samples[:n_own], sound])).spectrogram
    seam = n_own / rate * adapter.frame_rate
    margin = _SEAM_SECONDS * adapter.frame_rate + _SEAM_FRAMES
    n_shared = max(1, min(len(speech.spectrogram), math.floor(seam - margin)))
    # The last windows are not full.
    first = min(math.ceil(seam + margin), len(both) - 1)
    behind = both[first : max(first + 1, len(both) - math.ceil(margin))]
    found = _in_scale(both[:n_shared], speech.spectrogram[:n_shared], behind)
    return found[torch.arange(len(speech.spectrogram)) % len(found)]


def _lengths(n_samples: int, rate: int, max_seconds: float | None) -> tuple[int, int]:
    """Samples of the recording, and of the sound behind it, that the model can take together."""
    if max_seconds is None:
        return n_samples, n_samples
    most = int(max_seconds * rate)
    least = min(int(_LEAST_SECONDS * rate), most // 2)
    n_sound = min(max(n_samples, least), max(least, most - n_samples))
    return min(n_samples, most - n_sound), n_sound


def _in_scale(moved: Tensor, own: Tensor, behind: Tensor) -> Tensor:
    """Undo what the sound did to the recording's own frames."""
    deviation = own.std(0, correction=0)
    # A floor that rises with the loudest cell moves some cells; a normalisation moves all.
    if float(((moved - own).abs() <= _UNMOVED * deviation).float().mean()) > 0.5:
        return behind
    spread = moved.std(0, correction=0)
    factor = torch.where(spread > 0, deviation / spread.clamp_min(1e-12), 1.0)
    return (behind - moved.mean(0)) * factor + own.mean(0)
