"""Whisper: log-mel spectrograms padded to 30 seconds, a prompt of task tokens."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.speech.models.capabilities import DecodedWindow, SpeechInput, TargetSequence
from captum_spes.speech.models.compatibility import Parts, token_ids, vocabulary_size
from captum_spes.speech.models.huggingface import (
    as_ids,
    check_features,
    is_plane,
    mel_bin_centers,
)
from captum_spes.speech.models.short_windows import ShortensWindows
from captum_spes.speech.models.whisper_windows import TIMESTAMPS, LongForm

# Whisper clips its log-mel 8 decades of power below the loudest cell and then divides by 4.
_DYNAMIC_RANGE = 2.0
# What decides the prompt; other generation arguments only decide what is written.
_PROMPT_ARGUMENTS = ("language", "task", "is_multilingual", "prompt_ids")
# Timestamps are a token every 20 ms, of a window of 30 seconds.
_PER_SECOND = 50
_STAMP = re.compile(r"<\|(\d+\.\d\d)\|>")
# Long enough for start, language, task, timestamps and a first word.
_PROBE_LENGTH = 8


class WhisperModel(ShortensWindows):
    """Adapter of the Whisper family (Whisper, Distil-Whisper)."""

    parts = Parts(
        model_class="WhisperForConditionalGeneration",
        processor_class="WhisperProcessor",
        extractor_names=("chunk_length", "hop_length", "nb_max_frames", "feature_size"),
        mel_bins=lambda config, extractor: (config.num_mel_bins, extractor.feature_size),
        generation_ids=("eos_token_id", "decoder_start_token_id"),
        optional_ids=("no_timestamps_token_id",),
        # The encoder halves the rate.
        frames=lambda config, own: (2 * config.max_source_positions, own.nb_max_frames),
    )
    checkpoint = "openai/whisper-tiny"
    tried_on = "openai/whisper-tiny.en"
    requests = frozenset({"language", "task"})

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
        return self._is_layout(shape) or is_plane(shape)

    def _is_layout(self, shape: tuple[int, ...]) -> bool:
        return shape in ((1, self._n_bins, self._n_frames), (self._n_bins, self._n_frames))

    def from_features(self, features: Tensor) -> SpeechInput:
        expected = f"(1, {self._n_bins}, {self._n_frames}) (batch of 1, mel bins, frames)"
        features = check_features(features, expected, self._is_layout(features.shape))
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
            return int(self.tokenizer.convert_tokens_to_ids("<|notimestamps|>")) + 1
        return token_ids(self.model, "no_timestamps_token_id")[0] + 1

    def is_timestamp(self, token_id: int) -> bool:
        """Whether a token is one of those from 0 to 30 seconds; words can be added behind them, or
        in their place where the tokenizer knows no timestamps."""
        if not 0 <= token_id - self.first_timestamp < TIMESTAMPS:
            return False
        known = self.tokenizer.convert_ids_to_tokens(token_id)
        return known is None or _STAMP.fullmatch(known) is not None

    def is_explained(self, token_id: int) -> bool:
        return not self.is_timestamp(token_id)

    def is_prompt(self, token_id: int) -> bool:
        return self.end_of_sentence < token_id < self.first_timestamp

    def prompt_ids(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> list[int]:
        # The model's own generation decides language and task; a few tokens are enough to see.
        chosen = {name: gen_args[name] for name in _PROMPT_ARGUMENTS if name in gen_args}
        length = _PROBE_LENGTH + len(self.text_prompt(gen_args))
        output = self._generate(speech, {**chosen, "max_length": length})
        prompt = self.split_prompt(output)[0]
        if gen_args.get("return_timestamps"):
            prompt = [i for i in prompt if i != self.first_timestamp - 1]
        return prompt

    def force(
        self, speech: SpeechInput, target: str | Sequence[int] | Tensor, gen_args: Mapping[str, Any]
    ) -> TargetSequence:
        own = getattr(self.model.generation_config, "return_timestamps", False)
        has_stamps = isinstance(target, str) and _STAMP.search(target) is not None
        if has_stamps and not gen_args.get("return_timestamps", own):
            raise ArgumentError(
                f"target {target!r} has timestamps, which the model does not write: leave them "
                'out, or give gen_args={"return_timestamps": True}.'
            )
        return super().force(speech, target, gen_args)

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
        prompt = self.text_prompt(gen_args)
        given = {name: value for name, value in gen_args.items() if name != "prompt_ids"}
        if prompt:
            given["prompt_ids"] = torch.tensor(prompt, device=self.model.device)
        output = self.generated(start, {**given, **form})
        return [[int(i) for i in row] for row in output["sequences"]]

    def text_prompt(self, gen_args: Mapping[str, Any]) -> list[int]:
        """The user's prompt, in whatever form ``get_prompt_ids`` or a file gives it."""
        given = gen_args.get("prompt_ids")
        if isinstance(given, str):
            raise ArgumentTypeError(
                "gen_args['prompt_ids'] must be token ids, got a text: "
                f"processor.get_prompt_ids({given!r}) makes them."
            )
        ids = [] if given is None else as_ids("gen_args['prompt_ids']", given)
        size = vocabulary_size(self.model)
        if ids and not 0 <= min(ids) <= max(ids) < size:
            raise ArgumentError(f"gen_args['prompt_ids'] must lie in [0, {size}), got {ids}.")
        return ids

    def spoken_language(self, speech: SpeechInput, gen_args: Mapping[str, Any]) -> dict[str, Any]:
        """The language of the intact speech; in a perturbed copy the model may hear another."""
        config = self.model.generation_config
        if "language" in gen_args or not getattr(config, "is_multilingual", False):
            return {}
        prompt = set(self.prompt_ids(speech, gen_args))
        codes = getattr(config, "lang_to_id", {})
        found = [code for code, token_id in codes.items() if token_id in prompt]
        return {"language": found[0]} if found else {}

    def languages(self, gen_args: Mapping[str, Any]) -> tuple[str | None, str | None]:
        spoken = gen_args.get("language")
        # It translates into English only. Else it writes in the language that it is told, or takes
        # for the spoken one, which some use to let it translate.
        written = "en" if gen_args.get("task") == "translate" else None
        return None if spoken is None else str(spoken), written

    def split_prompt(self, ids: list[int]) -> tuple[list[int], list[int]]:
        """Cut after the special tokens that follow the start of the transcript."""
        start = self.start_id
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
        start = prompt.index(self.start_id)
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
        ids: list[int] = []
        # Not every tokenizer knows timestamps.
        for number, part in enumerate(_STAMP.split(text)):
            if number % 2:
                ids.append(self._stamp_id(part))
            elif words := part.strip():
                ids += super().text_ids(self._with_blank(words))
        return ids

    def _with_blank(self, text: str) -> str:
        """Whisper writes a blank before its first word; " ask" and "ask" are different tokens."""
        added = (str(token) for token in self.tokenizer.added_tokens_decoder.values())
        is_bare = _is_written_without_spaces(text[0]) or text.startswith(tuple(added))
        return text if is_bare else " " + text

    def _stamp_id(self, seconds: str) -> int:
        number = round(float(seconds) * _PER_SECOND)
        if number >= TIMESTAMPS or f"{number / _PER_SECOND:.2f}" != seconds:
            raise ArgumentError(
                f"target has <|{seconds}|>, and there is no such token: timestamps go from "
                "<|0.00|> to <|30.00|> in steps of 0.02."
            )
        return self.first_timestamp + number

    def token_strings(self, ids: Tensor) -> list[str]:
        return [
            f"<|{(i - self.first_timestamp) / _PER_SECOND:.2f}|>"
            if self.is_timestamp(i)
            else self._decoded(torch.tensor([i]))
            for i in ids.tolist()
        ]


def _is_written_without_spaces(character: str) -> bool:
    scripts = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "MYANMAR", "KHMER")
    return unicodedata.name(character, "").startswith(scripts)
