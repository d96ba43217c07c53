"""What is common to families whose features are filterbanks of any length, without padding."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.speech.models.capabilities import SpeechInput, TargetSequence
from captum_spes.speech.models.encoder_decoder import HuggingFaceSpeechModel
from captum_spes.speech.models.huggingface import (
    check_features,
    is_plane,
)

# Largest deviation within a mel bin of features that hold nothing.
_SILENCE = 1e-4


class FilterbankModel(HuggingFaceSpeechModel):
    """Base of adapters with features of shape (1, frames, mel bins), normalised per utterance,
    and a SentencePiece-like tokenizer."""

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

    # Features --------------------------------------------------------------------------

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

    # Tokens ----------------------------------------------------------------------------

    @abstractmethod
    def prompt_and_outputs(
        self, speech: SpeechInput, start: dict[str, Any], gen_args: Mapping[str, Any]
    ) -> tuple[list[int], Any]:
        """Generate a batch: the prompt of all rows, and what the model returned."""

    def generate(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> TargetSequence:
        prompt, output = self.prompt_and_outputs(speech, self.heard(speech.features), gen_args)
        return self._sequence(prompt, self._after_prompt(output, prompt)[0])

    def transcribe(
        self, speech: SpeechInput, states: Tensor, gen_args: Mapping[str, Any]
    ) -> list[str]:
        prompt, output = self.prompt_and_outputs(speech, self.encoded(states), gen_args)
        outputs = self._after_prompt(output, prompt)
        return [self.text(torch.tensor(ids, dtype=torch.int64)) for ids in outputs]

    def _after_prompt(self, output: Any, prompt: list[int]) -> list[list[int]]:
        """What generated sequences hold after their prompt, up to the end of sentence."""
        sequences = output if isinstance(output, Tensor) else output.sequences
        rows = []
        for row in sequences:
            ids = [int(i) for i in row]
            if ids[: len(prompt)] != prompt:
                raise ArgumentError(
                    f"the model's output {ids} does not start with its prompt {prompt}; check "
                    "model.generation_config and gen_args."
                )
            ids, end = ids[len(prompt) :], self.end_of_sentence
            rows.append(ids[: ids.index(end) + 1] if end in ids else ids)
        return rows

    def token_strings(self, ids: Tensor) -> list[str]:
        tokens = self.tokenizer.convert_ids_to_tokens(ids.tolist())
        return [str(token).replace("▁", " ") for token in tokens]
