"""Whisper's long-form decoding: window after window, each from where the last segment before it
ended (Radford et al. 2022, section 3.8).

It is what transformers does, arguments and defaults included, but for one thing: the spectrogram
of a window is that of the window alone, and not cut out of the whole recording's. So a window is
explained as a recording of that length would be, and an hour of audio takes no more memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.io.audio import MIN_SECONDS
from captum_spes.speech.models.capabilities import (
    DecodedSegment,
    DecodedWindow,
    TargetSequence,
)

# Arguments of model.generate that say how windows follow each other, and which output is good.
_OF_WINDOWS = ("condition_on_prev_tokens", "prompt_condition_type", "temperature")
_THRESHOLDS = ("compression_ratio_threshold", "logprob_threshold", "no_speech_threshold")
# From this temperature on an output is no good prompt for the next window.
_UNRELIABLE = 0.5
_TIME_STEP = 0.02
# From 0 to 30 s; ids behind them are words that were added.
TIMESTAMPS = 1501


@dataclass
class _Context:
    """What the next window is told of those before it.

    Attributes:
        prompt: ids of the user's prompt, its first token included.
        written: ids of the segments so far.
        is_reliable: whether the last window was written at a low temperature.
    """

    prompt: list[int]
    written: list[int] = field(default_factory=list)
    is_reliable: bool = True


@dataclass(frozen=True)
class _Output:
    """One attempt at a window: its ids without prompt, and how good it is."""

    prompt: list[int]
    ids: list[int]
    log_probability: float | None
    temperature: float


class LongForm:
    """The decoding of one recording.

    Args:
        adapter: of a Whisper model.
        gen_args: arguments of ``model.generate``.
    """

    def __init__(self, adapter: Any, gen_args: Mapping[str, Any]) -> None:
        self._adapter = adapter
        self._config = adapter.model.generation_config
        temperatures = gen_args.get("temperature", 0.0)
        is_one = temperatures is None or isinstance(temperatures, int | float)
        self._temperatures = [temperatures or 0.0] if is_one else list(temperatures)
        self._conditions = bool(self._chosen("condition_on_prev_tokens", gen_args))
        self._repeats_prompt = gen_args.get("prompt_condition_type") == "all-segments"
        self._threshold = {name: self._chosen(name, gen_args) for name in _THRESHOLDS}
        self._prompt = adapter.text_prompt(gen_args)
        left_out = (*_OF_WINDOWS, *_THRESHOLDS, "prompt_ids")
        others = {name: value for name, value in gen_args.items() if name not in left_out}
        self._gen_args = {**others, "return_timestamps": True}

    def _chosen(self, name: str, gen_args: Mapping[str, Any]) -> Any:
        value = gen_args.get(name)
        return getattr(self._config, name, None) if value is None else value

    def windows(self, audio: NDArray[Any]) -> Iterator[DecodedWindow]:
        """Decode window after window."""
        adapter, start = self._adapter, 0
        rate = adapter.sampling_rate
        context = _Context(self._prompt)
        gen_args: dict[str, Any] | None = None
        while len(audio) - start >= MIN_SECONDS * rate:
            end = min(len(audio), start + round(adapter.max_seconds * rate))
            speech = adapter.from_audio(audio[start:end])
            if gen_args is None:  # one language for all windows
                gen_args = {**self._gen_args, **adapter.spoken_language(speech, self._gen_args)}
            own = {**gen_args, **self._prompt_of(context)}
            with torch.no_grad():
                states = adapter.encode(speech, speech.spectrogram[None])
            window, used = self._window(states, speech.seconds, own, context)
            yield DecodedWindow(start, end, *window, states)
            start = end if used is None else start + round(used * rate)

    # One window ------------------------------------------------------------------------

    def _window(
        self, states: Tensor, seconds: float, gen_args: dict[str, Any], context: _Context
    ) -> tuple[tuple[TargetSequence, tuple[DecodedSegment, ...], dict[str, Any]], float | None]:
        """What is written from a window, and how many seconds of it are done with; None for all."""
        output, is_silent = self._best_output(states, gen_args)
        sequence = self._adapter.sequence_of(output.prompt, output.ids)
        context.is_reliable = output.temperature < _UNRELIABLE
        if is_silent:
            return (sequence, (), gen_args), None
        end = self._adapter.end_of_sentence
        text = output.ids[: output.ids.index(end)] if end in output.ids else output.ids
        segments, used = split(text, self._adapter.first_timestamp, seconds)
        context.written += [i for s in segments for i in text[s.first : s.last]]
        shift = len(output.prompt)
        placed = tuple(
            DecodedSegment(s.start, s.end, s.first + shift, s.last + shift) for s in segments
        )
        return (sequence, placed, gen_args), used

    def _best_output(self, states: Tensor, gen_args: dict[str, Any]) -> tuple[_Output, bool]:
        """The first output that is good enough, or the last; and whether nobody speaks."""
        for temperature in self._temperatures:
            output = self._output(states, gen_args, temperature)
            if self._is_silent(states, output):
                return output, True
            if not self._is_bad(output):
                break
        return output, False

    def _output(self, states: Tensor, gen_args: dict[str, Any], temperature: float) -> _Output:
        scored = self._threshold["logprob_threshold"] is not None
        form = {
            "force_unique_generate_call": True,
            "return_dict_in_generate": True,
            "output_scores": scored,
            "temperature": temperature,
        }
        found = self._adapter.generated(self._adapter.encoded(states), {**gen_args, **form})
        prompt, ids = self._adapter.split_prompt([int(i) for i in found["sequences"][0]])
        log_probability = None
        if scored and found.get("sequences_scores") is not None:
            log_probability = float(found["sequences_scores"][0])
        elif scored:
            log_probability = mean_log_probability(found["scores"], ids, temperature)
        return _Output(prompt, ids, log_probability, temperature)

    def _is_bad(self, output: _Output) -> bool:
        most = self._threshold["compression_ratio_threshold"]
        if most is not None and self._compression_ratio(output.ids) > most:
            return True
        least = self._threshold["logprob_threshold"]
        return least is not None and bool((output.log_probability or 0.0) < least)

    def _is_silent(self, states: Tensor, output: _Output) -> bool:
        most, least = self._threshold["no_speech_threshold"], self._threshold["logprob_threshold"]
        if most is None or least is None or (output.log_probability or 0.0) >= least:
            return False
        return bool(self._adapter.no_speech_probability(states, output.prompt) > most)

    def _compression_ratio(self, ids: Sequence[int]) -> float:
        width = (int(self._adapter.model.config.vocab_size).bit_length() - 1) // 8 + 1
        content = b"".join(i.to_bytes(width, "little") for i in ids)
        return len(content) / len(zlib.compress(content))

    def _prompt_of(self, context: _Context) -> dict[str, Any]:
        """The argument that makes the model read the text before the window."""
        most = self._adapter.max_target_tokens // 2 - 1
        if self._conditions and context.is_reliable and (context.written or context.prompt):
            first = [self._adapter.start_of_previous]
            if self._repeats_prompt and context.prompt:
                ids = [*context.prompt, *context.written[-most:]]
            else:
                before = [i for i in context.prompt if i not in first] + context.written
                ids = first + before[-most:]
        else:
            ids = context.prompt
        return {"prompt_ids": torch.tensor(ids, dtype=torch.int64)} if ids else {}


def split(
    ids: Sequence[int], first_timestamp: int, seconds: float
) -> tuple[list[DecodedSegment], float | None]:
    """Cut what Whisper wrote from a window into segments, at pairs of timestamps.

    Args:
        ids: without prompt and end of sentence.
        first_timestamp: the id that means 0 s.
        seconds: duration of the window.

    Returns:
        *tuple* of the segments, and of the second from which the next window has to start; None for
        the window's end. What comes after the last pair was cut off by the window's end.
    """
    is_time = [0 <= i - first_timestamp < TIMESTAMPS for i in ids]

    def at(position: int) -> float:
        return min(seconds, max(0, ids[position] - first_timestamp) * _TIME_STEP)

    cuts = [i + 1 for i in range(len(ids) - 1) if is_time[i] and is_time[i + 1]]
    if not cuts:
        times = [i for i, is_one in enumerate(is_time) if is_one]
        has_end = times and ids[times[-1]] != first_timestamp
        end = at(times[-1]) if has_end else seconds
        return ([DecodedSegment(0.0, end, 0, len(ids))] if ids else []), None
    ends_with_one = is_time[-2:] == [False, True]
    bounds = [0, *cuts, len(ids)] if ends_with_one else [0, *cuts]
    segments = [
        DecodedSegment(at(first), at(last - 1), first, last) for first, last in pairwise(bounds)
    ]
    used = None if ends_with_one else at(bounds[-1] - 1)
    # Without progress the same window would be decoded for ever.
    return segments, used or None


def mean_log_probability(scores: Sequence[Tensor], ids: Sequence[int], temperature: float) -> float:
    """Of the tokens of an output, given the scores that they were chosen by."""
    steps = torch.stack([step[0].float().cpu() for step in scores])[: len(ids)]
    tokens = torch.tensor(ids[: len(steps)], dtype=torch.int64)
    logs = (steps * (temperature or 1.0)).log_softmax(-1).gather(1, tokens[:, None])
    return float(logs.mean())
