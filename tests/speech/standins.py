"""What some feature extractors need of torchaudio, of which no index has a build without CUDA."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import torch
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function


class MelSpectrogram(torch.nn.Module):
    """Power mel spectrogram, as torchaudio.transforms.MelSpectrogram."""

    def __init__(
        self, sample_rate: int, n_fft: int, win_length: int, hop_length: int, n_mels: int
    ) -> None:
        super().__init__()
        self.size = {"n_fft": n_fft, "win_length": win_length, "hop_length": hop_length}
        filters = mel_filter_bank(
            n_fft // 2 + 1, n_mels, 0.0, sample_rate / 2, sample_rate, None, "htk"
        )
        self.register_buffer("filters", torch.from_numpy(filters).float())
        self.register_buffer("window", torch.hann_window(win_length))

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(audio, window=self.window, return_complex=True, **self.size)
        power = (spectrum.abs() ** 2).transpose(-1, -2)
        return power.matmul(self.filters).transpose(-1, -2)


def fbank(
    waveform: torch.Tensor,
    num_mel_bins: int,
    frame_length: float,
    frame_shift: float,
    sample_frequency: float,
    window_type: str,
) -> torch.Tensor:
    """Log filterbank, as torchaudio.compliance.kaldi.fbank without dither."""
    width, hop = (round(ms * sample_frequency / 1000) for ms in (frame_length, frame_shift))
    filters = mel_filter_bank(
        257, num_mel_bins, 20.0, sample_frequency / 2, int(sample_frequency), None, "kaldi", True
    )
    made = spectrogram(
        waveform[0].numpy(),
        window_function(width, window_type, periodic=False),
        frame_length=width,
        hop_length=hop,
        fft_length=512,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=filters,
        log_mel="log",
        mel_floor=torch.finfo(torch.float32).eps,
        remove_dc_offset=True,
    )
    return torch.from_numpy(made.T).float()


def compute_deltas(frames: torch.Tensor, win_length: int = 5) -> torch.Tensor:
    """Slopes of ``(..., freq, time)`` in time, as torchaudio.functional.compute_deltas."""
    reach = (win_length - 1) // 2
    shape = frames.shape
    flat = frames.reshape(1, -1, shape[-1])
    kernel = torch.arange(-reach, reach + 1, dtype=frames.dtype).repeat(flat.shape[1], 1, 1)
    padded = torch.nn.functional.pad(flat, (reach, reach), mode="replicate")
    summed = torch.nn.functional.conv1d(padded, kernel, groups=flat.shape[1])
    return summed.reshape(shape) / (reach * (reach + 1) * (2 * reach + 1) / 3)


def with_torchaudio(module: Any) -> Any:
    """A module of transformers that can do without torchaudio where it is not installed."""
    if importlib.util.find_spec("torchaudio") is None:
        module.torchaudio = SimpleNamespace(
            transforms=SimpleNamespace(MelSpectrogram=MelSpectrogram),
            compliance=SimpleNamespace(kaldi=SimpleNamespace(fbank=fbank)),
            functional=SimpleNamespace(compute_deltas=compute_deltas),
        )
        module.requires_backends = lambda *names: None
    return module
