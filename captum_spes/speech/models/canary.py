"""Canary: a Conformer encoder on features normalised per utterance, a prompt of languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
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

# What gen_args says of the prompt, in the processor's words; all else is for model.generate.
_PROMPT_ARGUMENTS = {
    "language": "source_language",
    "source_language": "source_language",
    "target_language": "target_language",
    "punctuation": "punctuation",
}


class CanaryModel(HuggingFaceSpeechModel):
    """Adapter of the Canary family (multilingual recognition and translation).

    ``gen_args`` take ``source_language`` (also called ``language``), ``target_language`` and
    ``punctuation`` as the processor's ``apply_transcription_request`` does; the default is
    English recognition.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        self._processor = processor
        self._n_bins = int(model.config.encoder_config.num_mel_bins)
        self.frame_rate = self.sampling_rate / self.feature_extractor.hop_length
        encoder = model.config.encoder_config
        n_frames = int(encoder.max_position_embeddings) * int(encoder.subsampling_factor)
        self.max_seconds: float | None = n_frames / self.frame_rate
        tokenizer = self.tokenizer
        # Languages, tasks and the like; not every tokenizer lists them as special tokens.
        control = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        output = {self.end_of_sentence, tokenizer.pad_token_id, tokenizer.unk_token_id}
        self._control_ids = frozenset(control - output)

    # Features --------------------------------------------------------------------------

    def from_audio(self, audio: NDArray[Any]) -> SpeechInput:
        made = self.feature_extractor(audio, sampling_rate=self.sampling_rate, return_tensors="pt")
        # The last frame lies beyond the audio; the extractor masks it.
        n_frames = int(made["attention_mask"].sum())
        features = made["input_features"][:, :n_frames]
        return self._speech_input(features, len(audio) / self.sampling_rate)

    def is_features(self, value: Any) -> bool:
        shape = tuple(getattr(value, "shape", ()))
        is_batch_of_one = len(shape) == 3 and shape[0] == 1
        return (is_batch_of_one or len(shape) == 2) and shape[-1] == self._n_bins

    def from_features(self, features: Tensor) -> SpeechInput:
        expected = f"(1, frames, {self._n_bins}) (batch of 1, frames, mel bins)"
        features = check_features(features, expected, self.is_features(features))
        features = features.reshape(1, -1, self._n_bins)
        # Frames that the extractor masked are exactly 0, in every bin and at the end.
        is_speech = torch.nonzero(features[0].abs().sum(1))
        if len(is_speech) == 0 or float(features.std()) < 1e-6:
            raise ArgumentError("features are silent: every cell has (nearly) the same value.")
        features = features[:, : int(is_speech.max()) + 1]
        return self._speech_input(features, features.shape[1] / self.frame_rate)

    def _speech_input(self, features: Tensor, seconds: float) -> SpeechInput:
        features = features.to("cpu", torch.float32)
        return SpeechInput(
            features=features,
            spectrogram=features[0].contiguous(),
            frame_times=torch.arange(features.shape[1]) / self.frame_rate,
            mel_frequencies=mel_bin_centers(self._n_bins, 0.0, self.sampling_rate / 2, "slaney"),
            seconds=seconds,
        )

    def removed_value(self, speech: SpeechInput, name: str | None) -> Tensor:
        if name in (None, "mean"):  # which the extractor sets to 0
            return torch.zeros(1, 1)
        if name == "silence":
            return speech.spectrogram.amin(0, keepdim=True)
        raise ArgumentError(
            f"unknown baseline {name!r} for Canary: 'mean' (0 after utterance normalisation) "
            "or 'silence' (each mel bin's minimum), or give a number or Tensor."
        )

    def model_features(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        return spectrograms

    def encoder_outputs(self, states: Tensor) -> Any:
        from transformers.models.parakeet.modeling_parakeet import ParakeetEncoderModelOutput

        return ParakeetEncoderModelOutput(last_hidden_state=states)

    # Tokens ----------------------------------------------------------------------------

    @property
    def max_target_tokens(self) -> int:
        return int(self.model.config.decoder_config.max_position_embeddings)

    def is_prompt(self, token_id: int) -> bool:
        return token_id in self._control_ids

    def prompt_ids(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> list[int]:
        request = {
            name: gen_args[given] for given, name in _PROMPT_ARGUMENTS.items() if given in gen_args
        }
        # The processor writes the prompt beside the features of some audio.
        audio = np.zeros(self.sampling_rate // 10, dtype=np.float32)
        try:
            made = self._processor.apply_transcription_request(
                audio, processor_kwargs={"sampling_rate": self.sampling_rate}, **request
            )
        except ValueError as error:
            raise ArgumentError(f"the model takes no request like {request}: {error}") from error
        prompt = [int(i) for i in made["decoder_input_ids"][0]]
        unknown = self.tokenizer.unk_token_id
        if unknown is not None and unknown in prompt:
            raise ArgumentError(f"the model has no token for a language of {request}.")
        return prompt

    def generate(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> TargetSequence:
        prompt = self.prompt_ids(speech, gen_args)
        others = {k: v for k, v in gen_args.items() if k not in _PROMPT_ARGUMENTS}
        output = self.generated(speech, self._with_length(others), prompt)
        output = output if isinstance(output, Tensor) else output.sequences
        ids = [int(i) for i in output[0]]
        if ids[: len(prompt)] != prompt:
            raise ArgumentError(
                f"the model's output {ids} does not start with its prompt {prompt}; check "
                "model.generation_config.decoder_start_token_id."
            )
        ids = ids[len(prompt) :]
        end = self.end_of_sentence
        return self._sequence(prompt, ids[: ids.index(end) + 1] if end in ids else ids)

    def _with_length(self, gen_args: dict[str, Any]) -> dict[str, Any]:
        """Let the model write to the end: transformers alone would stop after 20 tokens."""
        config = self.model.generation_config
        lengths = ("max_length", "max_new_tokens")
        if any(name in gen_args or getattr(config, name, None) is not None for name in lengths):
            return gen_args
        return {**gen_args, "max_length": self.max_target_tokens}

    def token_strings(self, ids: Tensor) -> list[str]:
        tokens = self.tokenizer.convert_ids_to_tokens(ids.tolist())
        return [str(token).replace("▁", " ") for token in tokens]
