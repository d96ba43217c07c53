"""Whisper: log-mel spectrograms padded to 30 seconds, a prompt of task tokens."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.speech.models.capabilities import DecodedWindow, SpeechInput, TargetSequence
from captum_spes.speech.models.huggingface import (
    HuggingFaceSpeechModel,
    check_features,
    mel_bin_centers,
)
from captum_spes.speech.models.whisper_windows import LongForm

# Whisper clips its log-mel 8 decades of power below the loudest cell and then divides by 4.
_DYNAMIC_RANGE = 2.0
# What decides the prompt; other generation arguments only decide what is written.
_PROMPT_ARGUMENTS = ("language", "task", "is_multilingual", "prompt_ids")
# Long enough for start, language, task, timestamps and a first word.
_PROBE_LENGTH = 8


class WhisperModel(HuggingFaceSpeechModel):
    """Adapter of the Whisper family (Whisper, Distil-Whisper)."""

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(model, processor)
        extractor = self.feature_extractor
        self.frame_rate = self.sampling_rate / extractor.hop_length
        self.max_seconds: float | None = float(extractor.chunk_length)
        self._n_bins = int(model.config.num_mel_bins)
        self._n_frames = int(extractor.nb_max_frames)

    # Features --------------------------------------------------------------------------

    def from_audio(self, audio: NDArray[Any]) -> SpeechInput:
        features = self.feature_extractor(
            audio, sampling_rate=self.sampling_rate, return_tensors="pt"
        ).input_features
        seconds = len(audio) / self.sampling_rate
        n_frames = -(-len(audio) // self.feature_extractor.hop_length)
        return self._speech_input(features, n_frames, seconds)

    def is_features(self, value: Any) -> bool:
        shape = tuple(getattr(value, "shape", ()))
        return shape in ((1, self._n_bins, self._n_frames), (self._n_bins, self._n_frames))

    def from_features(self, features: Tensor) -> SpeechInput:
        expected = f"(1, {self._n_bins}, {self._n_frames}) (batch of 1, mel bins, frames)"
        features = check_features(features, expected, self.is_features(features))
        features = features.reshape(1, self._n_bins, self._n_frames)
        # Padding is digital silence: every cell has the same, lowest value.
        is_speech = (features[0] > features.min() + 1e-4).any(0)
        # Of silence nobody can say where it ends.
        n_frames = int(torch.nonzero(is_speech).max()) + 1 if is_speech.any() else self._n_frames
        return self._speech_input(features, n_frames, n_frames / self.frame_rate)

    def _speech_input(self, features: Tensor, n_frames: int, seconds: float) -> SpeechInput:
        features = features.to("cpu", torch.float32)
        return SpeechInput(
            features=features,
            spectrogram=features[0, :, :n_frames].T.contiguous(),
            frame_times=torch.arange(min(n_frames, self._n_frames)) / self.frame_rate,
            mel_frequencies=mel_bin_centers(self._n_bins, 0.0, 8000.0, "slaney"),
            seconds=seconds,
        )

    def removed_value(self, speech: SpeechInput, name: str | None) -> Tensor:
        spectrogram = speech.spectrogram
        if name in (None, "mean"):
            return spectrogram.mean(0, keepdim=True)
        if name == "silence":
            return (spectrogram.max() - _DYNAMIC_RANGE).reshape(1, 1)
        raise ArgumentError(
            f"unknown baseline {name!r} for Whisper: 'mean' (each mel bin's mean over the "
            "speech) or 'silence', or give a number or Tensor."
        )

    def model_features(self, speech: SpeechInput, spectrograms: Tensor) -> Tensor:
        padding = speech.features[0, :, spectrograms.shape[1] :].to(spectrograms.device)
        return torch.cat(
            [spectrograms.transpose(1, 2), padding.expand(len(spectrograms), -1, -1)], dim=2
        )

    def n_frames(self, features: Tensor) -> int:
        return int(features.shape[2])

    # Tokens ----------------------------------------------------------------------------

    @property
    def first_timestamp(self) -> int:
        """The id that means 0 s."""
        no_timestamps = getattr(self.model.generation_config, "no_timestamps_token_id", None)
        if no_timestamps is None:
            no_timestamps = self.tokenizer.convert_tokens_to_ids("<|notimestamps|>")
        return int(no_timestamps) + 1

    def is_explained(self, token_id: int) -> bool:
        return token_id < self.first_timestamp

    def is_prompt(self, token_id: int) -> bool:
        return self.end_of_sentence < token_id < self.first_timestamp

    def prompt_ids(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> list[int]:
        # The model's own generation decides language and task; a few tokens are enough to see.
        chosen = {name: gen_args[name] for name in _PROMPT_ARGUMENTS if name in gen_args}
        length = _PROBE_LENGTH + len(gen_args.get("prompt_ids", ()))
        output = self._generate(speech, {**chosen, "max_length": length})
        prompt = self.split_prompt(output)[0]
        if gen_args.get("return_timestamps"):
            prompt = [i for i in prompt if i != self.first_timestamp - 1]
        return prompt

    def generate(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> TargetSequence:
        prompt, ids = self.split_prompt(self._generate(speech, gen_args))
        return self._sequence(prompt, ids)

    def transcribe(
        self, speech: SpeechInput, states: Tensor, gen_args: Mapping[str, Any]
    ) -> list[str]:
        chosen = {**self.spoken_language(speech, gen_args), **gen_args}
        sequences = self._sequences(self.encoded(states), chosen)
        outputs = [self.split_prompt(ids)[1] for ids in sequences]
        return [self.text(torch.tensor(ids, dtype=torch.int64)) for ids in outputs]

    def _generate(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> list[int]:
        return self._sequences(self.heard(speech.features), gen_args)[0]

    def heard(self, features: Tensor) -> dict[str, Any]:
        return {"input_features": super().heard(features)["inputs"]}

    def _sequences(self, start: dict[str, Any], gen_args: Mapping[str, Any]) -> list[list[int]]:
        # One call for the whole sequence: with timestamps, windows would be decoded one by
        # one otherwise. Only the dictionary form keeps prompt and end of sentence.
        form = {"force_unique_generate_call": True, "return_dict_in_generate": True}
        output = self.generated(start, {**gen_args, **form})
        return [[int(i) for i in row] for row in output["sequences"]]

    def spoken_language(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> dict[str, Any]:
        """The language of the intact speech; in a perturbed copy the model may hear another."""
        config = self.model.generation_config
        if "language" in gen_args or not getattr(config, "is_multilingual", False):
            return {}
        prompt = set(self.prompt_ids(speech, gen_args))
        codes = getattr(config, "lang_to_id", {})
        found = [code for code, token_id in codes.items() if token_id in prompt]
        return {"language": found[0]} if found else {}

    def split_prompt(self, ids: list[int]) -> tuple[list[int], list[int]]:
        """Cut after the special tokens that follow the start of the transcript."""
        start = int(self.model.generation_config.decoder_start_token_id)
        end = len(ids) - ids[::-1].index(start)
        while end < len(ids) and self.is_prompt(ids[end]):
            end += 1
        return ids[:end], ids[end:]

    # Recordings of any length ----------------------------------------------------------

    def decode_windows(
        self, audio: NDArray[Any], gen_args: Mapping[str, Any]
    ) -> Iterator[DecodedWindow]:
        return LongForm(self, gen_args).windows(audio)

    @property
    def start_of_previous(self) -> int:
        """The id before the text of earlier windows."""
        token_id = getattr(self.model.generation_config, "prev_sot_token_id", None)
        if token_id is None:
            token_id = self.tokenizer.convert_tokens_to_ids("<|startofprev|>")
        return int(token_id)

    def no_speech_probability(self, states: Tensor, prompt: list[int]) -> float:
        """How likely the model holds it that nobody speaks, after the token that starts a
        transcript."""
        start = prompt.index(int(self.model.generation_config.decoder_start_token_id))
        sequence = TargetSequence(torch.tensor([*prompt, self.end_of_sentence]), (start + 1,))
        with torch.no_grad():
            logits = self.output_layer(self.decode(states, sequence))[0, 0]
        # In the vocabulary it stands before the token that says there are no timestamps.
        return float(logits.softmax(-1)[self.first_timestamp - 2])

    def alignment(self, speech: SpeechInput, target: TargetSequence) -> Tensor:
        heads = getattr(self.model.generation_config, "alignment_heads", None)
        if not heads:
            return super().alignment(speech, target)
        weights = self.cross_attention(speech, target)
        return torch.stack([weights[layer, head] for layer, head in heads])

    def text_ids(self, text: str) -> list[int]:
        # Whisper writes a space before its first word; " ask" and "ask" are different tokens.
        needs_space = not text.startswith(" ") and not _is_written_without_spaces(text[0])
        return super().text_ids(" " + text if needs_space else text)

    def token_strings(self, ids: Tensor) -> list[str]:
        strings = []
        for token_id in ids.tolist():
            if token_id >= self.first_timestamp:
                strings.append(f"<|{(token_id - self.first_timestamp) * 0.02:.2f}|>")
            else:
                strings.append(self._decoded(torch.tensor([token_id])))
        return strings


def _is_written_without_spaces(character: str) -> bool:
    scripts = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "MYANMAR", "KHMER")
    return unicodedata.name(character, "").startswith(scripts)
