"""A small speech classifier whose every stage can be explained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from captum_spes.errors import ArgumentError
from captum_spes.io.files import write_whole

_WINDOW_SECONDS, _HOP_SECONDS = 0.025, 0.01
_CHANNELS, _WIDTH = 16, 96
_DILATIONS = (1, 2, 4, 8, 16)
# Energy of digital silence, before the logarithm.
_FLOOR = 1e-6
LOWEST_HZ = 60.0
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"


@dataclass(frozen=True)
class ClassifierConfig:
    """What a :class:`SpeechClassifier` looks like.

    Attributes:
        classes: name of a task to its classes; one head each.
        sampling_rate: Hz.
        mel_bins: of the spectrogram.
    """

    classes: Mapping[str, Sequence[str]]
    sampling_rate: int = 16_000
    mel_bins: int = 40


class SpeechClassifier(nn.Module):
    r"""
    Tells, from the waveform, one class per task: who speaks, or what was commanded.

    Three stages, each a function of the one before, so that attributions can be asked for at
    each: the log-mel spectrogram (25 ms every 10 ms, scaled by the mean and deviation of the
    training set), the encoder input (a convolution, 50 frames per second), and dilated
    convolutions with attention pooling per task.

    Args:

        config (ClassifierConfig): Tasks, their classes, and the spectrogram's size.

    Examples::

        >>> model = SpeechClassifier(ClassifierConfig({"answer": ("no", "yes")}))
        >>> model(torch.randn(1, 8000))["answer"].shape
        torch.Size([1, 2])
    """

    window: Tensor
    filters: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.hop = round(_HOP_SECONDS * config.sampling_rate)
        length = round(_WINDOW_SECONDS * config.sampling_rate)
        self.register_buffer("window", torch.hann_window(length))
        self.register_buffer("filters", _mel_filters(config, length))
        self.register_buffer("mean", torch.zeros(config.mel_bins))
        self.register_buffer("deviation", torch.ones(config.mel_bins))
        self.subsampling = nn.Conv2d(1, _CHANNELS, (3, 5), (2, 2), (1, 2))
        self.projection = nn.Linear(_CHANNELS * -(-config.mel_bins // 2), _WIDTH)
        self.blocks = nn.ModuleList(_Block(dilation) for dilation in _DILATIONS)
        self.attention = nn.ModuleDict({task: nn.Linear(_WIDTH, 1) for task in config.classes})
        self.heads = nn.ModuleDict(
            {task: nn.Linear(_WIDTH, len(names)) for task, names in config.classes.items()}
        )

    @property
    def frame_rate(self) -> float:
        """Frames of the spectrogram per second; the encoder input has half as many."""
        return self.config.sampling_rate / self.hop

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """``(batch, samples)`` to the scaled log-mel spectrogram, ``(batch, time, mel_bins)``."""
        spectra = torch.stft(
            waveform,
            n_fft=len(self.window),
            hop_length=self.hop,
            window=self.window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        # Squares, not the modulus, whose gradient at silence is not finite.
        power = spectra.real**2 + spectra.imag**2
        energies = torch.log(power.transpose(1, 2) @ self.filters + _FLOOR)
        return (energies - self.mean) / self.deviation

    def encoder_input(self, spectrogram: Tensor) -> Tensor:
        """``(batch, time, mel_bins)`` to ``(batch, ceil(time / 2), width)``."""
        maps = functional.gelu(self.subsampling(spectrogram[:, None]))
        projected: Tensor = self.projection(maps.permute(0, 2, 1, 3).flatten(2))
        return projected

    def classify(self, encoder_input: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """Logits of each task, ``(batch, classes)``; ``mask``, ``(batch, time)``, tells frames
        from padding."""
        states = encoder_input
        if mask is None:
            mask = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        for block in self.blocks:
            states = block(states * mask[..., None])
        logits = {}
        for task, head in self.heads.items():
            weights = self.attention[task](states)[..., 0].masked_fill(~mask, -torch.inf)
            pooled = (weights.softmax(-1)[..., None] * states).sum(1)
            logits[task] = head(pooled)
        return logits

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        """``(batch, samples)`` to the logits of each task."""
        return self.classify(self.encoder_input(self.spectrogram(waveform)))

    def speech_adapter(self, model: SpeechClassifier, task: str | None) -> Any:
        """What explains it: see :class:`captum_spes.SpeechClassificationAttribution`, which is
        given the name of the task in the place of a feature extractor."""
        from captum_spes.stability.adapter import StudyClassifierModel

        return StudyClassifierModel(model, task)

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Write ``config.json`` and ``model.safetensors`` into a folder, made if need be."""
        from safetensors.torch import save_file

        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        save_file(self.state_dict(), target / _WEIGHTS)
        # Last, so that a configuration means a whole model.
        config = {"model_type": "captum_spes_classifier", **asdict(self.config)}
        write_whole(target / _CONFIG, json.dumps(config, indent=1) + "\n")

    @classmethod
    def from_pretrained(cls, folder: str | PathLike[str]) -> SpeechClassifier:
        """Read what :meth:`save_pretrained` wrote; in evaluation mode."""
        from safetensors.torch import load_file

        try:
            config = json.loads((Path(folder) / _CONFIG).read_text(encoding="utf-8"))
            del config["model_type"]
            model = cls(ClassifierConfig(**config))
            model.load_state_dict(load_file(Path(folder) / _WEIGHTS))
        except Exception as error:  # damaged files raise whatever their parsers raise
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ArgumentError(f"cannot load the classifier {folder}: {reason}") from error
        return model.eval()


class _Block(nn.Module):
    """A dilated convolution beside the identity."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(_WIDTH)
        self.convolution = nn.Conv1d(_WIDTH, _WIDTH, 3, padding=dilation, dilation=dilation)
        self.mix = nn.Linear(_WIDTH, _WIDTH)

    def forward(self, states: Tensor) -> Tensor:
        local = self.convolution(self.norm(states).transpose(1, 2)).transpose(1, 2)
        mixed: Tensor = states + self.mix(functional.gelu(local))
        return mixed


def is_classifier_folder(folder: str | PathLike[str]) -> bool:
    """Whether :meth:`SpeechClassifier.save_pretrained` wrote this folder."""
    config = Path(folder) / _CONFIG
    try:
        found: Any = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("model_type") == "captum_spes_classifier"


def _mel_filters(config: ClassifierConfig, n_fft: int) -> Tensor:
    from transformers.audio_utils import mel_filter_bank

    filters = mel_filter_bank(
        num_frequency_bins=n_fft // 2 + 1,
        num_mel_filters=config.mel_bins,
        min_frequency=LOWEST_HZ,
        max_frequency=config.sampling_rate / 2,
        sampling_rate=config.sampling_rate,
        norm=None,
        mel_scale="htk",
    )
    return torch.from_numpy(filters).float()
