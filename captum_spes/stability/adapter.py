"""The classifiers of the seed study, explained as others are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.speech.models import SpeechInput
from captum_spes.speech.models.classifiers import ClassifierModel
from captum_spes.speech.models.filterbanks import FilterbankFeatures
from captum_spes.speech.models.huggingface import mel_bin_centers
from captum_spes.stability.classifier import LOWEST_HZ


class StudyClassifierModel(FilterbankFeatures, ClassifierModel):
    """Adapter of :class:`captum_spes.stability.SpeechClassifier`: its spectrogram is perturbed.

    Args:
        model: the classifier.
        task: which of its tasks is explained; None where it has one.
    """

    family = "the study's classifier"
    max_seconds: float | None = None

    def __init__(self, model: Any, task: str | None) -> None:
        tasks = list(model.config.classes)
        if task is None and len(tasks) > 1:
            raise ArgumentError(f"the classifier tells several things: say which, of {tasks}.")
        if task is not None and task not in tasks:
            raise ArgumentError(f"the classifier tells no {task!r}; it tells {', '.join(tasks)}.")
        self._task = tasks[0] if task is None else task
        super().__init__(model, SimpleNamespace(sampling_rate=model.config.sampling_rate))
        self.n_mel_bins, self.frame_rate = model.config.mel_bins, model.frame_rate

    def names_of(self, model: Any) -> list[str]:
        return [str(name) for name in model.config.classes[self._task]]

    @property
    def device(self) -> torch.device:
        found: torch.device = self.model.mean.device
        return found

    @property
    def is_mean_zero(self) -> bool:
        return False

    def from_audio(self, audio: NDArray[Any]) -> SpeechInput:
        samples = torch.from_numpy(audio).to(self.device)
        with torch.no_grad():
            features = self.model.spectrogram(samples[None])
        return self.speech_input(features, len(audio) / self.sampling_rate)

    def speech_input(self, features: Tensor, seconds: float) -> SpeechInput:
        features = features.to("cpu", torch.float32)
        return SpeechInput(
            features=features,
            spectrogram=features[0].contiguous(),
            frame_times=torch.arange(features.shape[1]) / self.frame_rate,
            mel_frequencies=mel_bin_centers(
                self.n_mel_bins, LOWEST_HZ, self.sampling_rate / 2, "htk"
            ),
            seconds=seconds,
        )

    def encode(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        states = self.model.encoder_input(spectrograms.to(self.device))
        logits: Tensor = self.model.classify(states)[self._task]
        return logits[:, None]
