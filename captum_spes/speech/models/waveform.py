"""Models that read samples: a spectrogram to perturb, and the way back to samples.

What is perturbed is the mel picture of a complex short-time Fourier transform. A removed cell gives
its linear bins the utterance's mean magnitude (or none at all, for silence) and leaves their phase;
only the difference is turned back into samples, so that samples of frames where nothing was removed
are the recording's own, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.speech.models.capabilities import SpeechInput
from captum_spes.speech.models.huggingface import HuggingFaceAdapter, mel_bin_centers

# Windows of 25 ms every 10 ms. Longer transforms give every mel bin a linear bin of its own.
_WINDOW_SECONDS, _HOP_SECONDS = 0.025, 0.010
_TRANSFORM_SAMPLES = 512
_TRANSFORM_SECONDS = _TRANSFORM_SAMPLES / 16_000
_MEL_BINS = 80
# Magnitudes below are taken to be silent; a full-scale tone has about 100.
_FLOOR = 1e-4


@dataclass(frozen=True, eq=False)
class Transform:
    """A short-time Fourier transform and the mel bins that its linear bins belong to.

    Attributes:
        window: ``(samples,)``.
        hop: samples from frame to frame.
        length: samples of a transform, of which the window is the middle.
        filters: ``(mel bins, linear bins)``: the share of each linear bin.
        owner: ``(linear bins,)``: the mel bin with the largest share of each.
    """

    window: Tensor
    hop: int
    length: int
    filters: Tensor
    owner: Tensor

    @classmethod
    def of(
        cls,
        sampling_rate: int,
        hop_seconds: float = _HOP_SECONDS,
        transform_seconds: float | None = None,
    ) -> Transform:
        """The one for a sampling rate, in Hz."""
        if transform_seconds is None:
            # The lower the rate, the closer mel bins lie.
            transform_seconds = max(_TRANSFORM_SECONDS, _TRANSFORM_SAMPLES / sampling_rate)
        length = 2 * round(transform_seconds * sampling_rate / 2)
        frequencies = torch.linspace(0, sampling_rate / 2, length // 2 + 1, device="cpu")
        filters = _mel_filters(len(frequencies), sampling_rate)
        # No filter reaches the lowest bin and the highest: the nearest one owns them.
        centers = mel_bin_centers(_MEL_BINS, 0.0, sampling_rate / 2, "slaney")
        nearest = (frequencies[:, None] - centers).abs().argmin(1)
        owner = torch.where(filters.amax(0) > 0, filters.argmax(0), nearest)
        window = torch.hann_window(round(_WINDOW_SECONDS * sampling_rate), device="cpu")
        return cls(window, round(hop_seconds * sampling_rate), length, filters, owner)

    def forward(self, samples: Tensor) -> Tensor:
        """Complex ``(..., frames, linear bins)`` of ``(..., samples)``."""
        window = self.window.to(samples.device)
        found: Tensor = torch.stft(
            samples, self.length, self.hop, len(window), window, return_complex=True,
            pad_mode="constant",
        )  # fmt: skip
        return found.transpose(-1, -2)

    def backward(self, coefficients: Tensor, n_samples: int) -> Tensor:
        """Samples, ``(batch, samples)``, of complex ``(batch, frames, linear bins)``."""
        window = self.window.to(coefficients.device)
        found: Tensor = torch.istft(
            coefficients.transpose(1, 2), self.length, self.hop, len(window), window,
            length=n_samples,
        )  # fmt: skip
        return found

    def picture(self, magnitudes: Tensor) -> Tensor:
        """Logarithms of mel magnitudes, ``(..., mel bins)`` of ``(..., linear bins)``."""
        return (magnitudes @ self.filters.to(magnitudes).T).clamp_min(_FLOOR).log()


@dataclass(frozen=True)
class WaveformInput(SpeechInput):
    """Samples with their transform; ``spectrogram`` is the mel picture of it.

    Attributes:
        samples: ``(samples,)``, as they were recorded.
        magnitudes: ``(frames, linear bins)``.
        phases: complex ``(frames, linear bins)``, of magnitude 1.
    """

    samples: Tensor = field(default_factory=lambda: torch.zeros(0))
    magnitudes: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    phases: Tensor = field(default_factory=lambda: torch.zeros(0, 0))


class WaveformFeatures(HuggingFaceAdapter):
    """The half of an adapter that hears, for models that take samples."""

    max_seconds: float | None = None

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        self.transform = Transform.of(self.sampling_rate)
        self.frame_rate = self.sampling_rate / self.transform.hop

    def from_audio(self, audio: NDArray[Any]) -> WaveformInput:
        samples = torch.from_numpy(np.ascontiguousarray(audio, dtype=np.float32))
        transform = self.transform
        if len(samples) <= transform.length:
            raise ArgumentError(
                f"the audio has {len(samples)} samples; a model that reads samples needs more than "
                f"{transform.length}."
            )
        # A recording's offset is no sound, and is not removed: a normalised silence would be none.
        coefficients = transform.forward(samples - samples.mean())
        magnitudes = coefficients.abs()
        spectrogram = transform.picture(magnitudes)
        made = self.feature_extractor(audio, sampling_rate=self.sampling_rate, return_tensors="pt")
        return WaveformInput(
            features=made["input_values"][:, : len(samples)],
            spectrogram=spectrogram,
            frame_times=torch.arange(len(spectrogram)) / self.frame_rate,
            mel_frequencies=mel_bin_centers(_MEL_BINS, 0.0, self.sampling_rate / 2, "slaney"),
            seconds=len(samples) / self.sampling_rate,
            samples=samples,
            magnitudes=magnitudes,
            phases=torch.polar(torch.ones_like(magnitudes), coefficients.angle()),
        )

    def from_features(self, features: Tensor) -> SpeechInput:
        raise ArgumentError("a model that reads samples has no features: give the samples.")

    def is_features(self, value: Any) -> bool:
        return False

    def removed_value(self, speech: SpeechInput, name: str | None) -> Tensor:
        if name in (None, "mean"):
            return self._mean_picture(speech)
        if name == "silence":
            return _silence()
        raise ArgumentError(
            f"unknown baseline {name!r} for a model that reads samples: 'mean' (each bin's mean "
            "magnitude) or 'silence', or give a number or Tensor (logarithms of mel magnitudes)."
        )

    def _mean_picture(self, speech: SpeechInput) -> Tensor:
        assert isinstance(speech, WaveformInput)
        return self.transform.picture(speech.magnitudes.mean(0, keepdim=True))

    def model_features(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        """Samples, normalised as those of the intact utterance."""
        assert isinstance(speech, WaveformInput)
        device = spectrograms.device
        difference = self._magnitudes(speech, spectrograms) - speech.magnitudes.to(device)
        samples = speech.samples.to(device)
        changed = self.transform.backward(difference * speech.phases.to(device), len(samples))
        return self.normalised(samples + changed, speech)

    def _magnitudes(self, speech: WaveformInput, spectrograms: Tensor) -> Tensor:
        """Of the linear bins, ``(batch, frames, linear bins)``, for pictures of mel bins.

        Cells that were given the mean, or silence, stand for it bin by bin. Any other change of a
        cell is a change of loudness of its bins, which gradient methods can follow.
        """
        device = spectrograms.device
        own, picture = speech.magnitudes.to(device), speech.spectrogram.to(device)
        owner = self.transform.owner.to(device)
        is_changed = spectrograms != picture
        is_mean = is_changed & (spectrograms == self._mean_picture(speech).to(device))
        is_silent = is_changed & (spectrograms == _silence().to(device))
        magnitudes = own * (spectrograms - picture)[..., owner].exp()
        magnitudes = torch.where(is_mean[..., owner], own.mean(0), magnitudes)
        return magnitudes.masked_fill(is_silent[..., owner], 0.0)

    def normalised(self, samples: Tensor, speech: SpeechInput) -> Tensor:
        """``(batch, samples)`` as the feature extractor would hand them on."""
        assert isinstance(speech, WaveformInput)
        if not getattr(self.feature_extractor, "do_normalize", False):
            return samples
        # As the extractor does it, in float32 and by the population's variance.
        own = speech.samples.numpy()
        mean, deviation = float(own.mean()), float(np.sqrt(own.var() + 1e-7))
        return (samples - mean) / deviation

    def n_frames(self, features: Tensor) -> int:
        return 1 + features.shape[-1] // self.transform.hop


def _silence() -> Tensor:
    """What a silent cell of the picture holds."""
    return torch.full((1, 1), _FLOOR, dtype=torch.float32, device="cpu").log()


def _mel_filters(n_bins: int, sampling_rate: int) -> Tensor:
    """Triangular filters of height 1, ``(mel bins, linear bins)``."""
    from transformers.audio_utils import mel_filter_bank

    filters = mel_filter_bank(
        n_bins, _MEL_BINS, 0.0, sampling_rate / 2, sampling_rate, norm=None, mel_scale="slaney"
    )
    return torch.from_numpy(np.ascontiguousarray(filters.T)).float()
