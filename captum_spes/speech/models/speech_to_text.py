"""Speech2Text: log-mel filterbanks normalised per utterance, no prompt but a start token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.speech.models.base import SpeechInput, TargetSequence
from captum_spes.speech.models.huggingface import (
    HuggingFaceSpeechModel,
    check_features,
    mel_bin_centers,
)

# Kaldi's filterbanks: 25 ms windows every 10 ms, the first one starting with the audio.
_FRAME_RATE = 100.0
_WINDOW_SECONDS = 0.025
_LOWEST_HZ = 20.0


class Speech2TextModel(HuggingFaceSpeechModel):
    """Adapter of the Speech2Text family (recognition and translation)."""

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        self.frame_rate = _FRAME_RATE
        self._n_bins = int(self.feature_extractor.num_mel_bins)
        subsampling = 2 ** int(model.config.num_conv_layers)
        n_frames = int(model.config.max_source_positions) * subsampling
        self.max_seconds: float | None = n_frames / self.frame_rate

    # Features --------------------------------------------------------------------------

    def from_audio(self, audio: NDArray[Any]) -> SpeechInput:
        features = self.feature_extractor(
            audio, sampling_rate=self.sampling_rate, return_tensors="pt"
        ).input_features
        return self._speech_input(features, len(audio) / self.sampling_rate)

    def is_features(self, value: Any) -> bool:
        shape = tuple(getattr(value, "shape", ()))
        is_batch_of_one = len(shape) == 3 and shape[0] == 1
        return (is_batch_of_one or len(shape) == 2) and shape[-1] == self._n_bins

    def from_features(self, features: Tensor) -> SpeechInput:
        expected = f"(1, frames, {self._n_bins}) (batch of 1, frames, mel bins)"
        features = check_features(features, expected, self.is_features(features))
        features = features.reshape(1, -1, self._n_bins)
        if float(features.std()) < 1e-6:
            raise ArgumentError("features are silent: every cell has (nearly) the same value.")
        return self._speech_input(features, features.shape[1] / self.frame_rate)

    def _speech_input(self, features: Tensor, seconds: float) -> SpeechInput:
        features = features.to("cpu", torch.float32)
        times = torch.arange(features.shape[1]) / self.frame_rate + _WINDOW_SECONDS / 2
        return SpeechInput(
            features=features,
            spectrogram=features[0].contiguous(),
            frame_times=times,
            mel_frequencies=mel_bin_centers(
                self._n_bins, _LOWEST_HZ, self.sampling_rate / 2, "kaldi"
            ),
            seconds=seconds,
        )

    def removed_value(self, speech: SpeechInput, name: str | None) -> Tensor:
        extractor = self.feature_extractor
        is_mean_zero = extractor.do_ceptral_normalize and extractor.normalize_means
        if name is None and is_mean_zero:
            return torch.zeros(1, 1)
        if name in (None, "mean"):
            return speech.spectrogram.mean(0, keepdim=True)
        if name == "silence":
            return speech.spectrogram.amin(0, keepdim=True)
        raise ArgumentError(
            f"unknown baseline {name!r} for Speech2Text: 'mean' (each mel bin's mean, 0 after "
            "utterance normalisation) or 'silence' (each mel bin's minimum), or give a number "
            "or Tensor."
        )

    def model_features(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        return spectrograms

    # Tokens ----------------------------------------------------------------------------

    def prompt_ids(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> list[int]:
        config = self.model.generation_config
        prompt = [int(config.decoder_start_token_id)]
        # Multilingual models are told the language by a forced first token.
        forced = gen_args.get("forced_bos_token_id", config.forced_bos_token_id)
        return prompt if forced is None else [*prompt, int(forced)]

    def generate(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> TargetSequence:
        output = self.generated(speech, gen_args)
        output = output if isinstance(output, Tensor) else output.sequences
        prompt = self.prompt_ids(speech, gen_args)
        ids = [int(i) for i in output[0]][len(prompt) :]
        end = self.end_of_sentence
        return self._sequence(prompt, ids[: ids.index(end) + 1] if end in ids else ids)

    def token_strings(self, ids: Tensor) -> list[str]:
        tokens = self.tokenizer.convert_ids_to_tokens(ids.tolist())
        return [str(token).replace("▁", " ") for token in tokens]
