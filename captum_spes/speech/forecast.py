"""What explanations will cost, estimated before they start."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from captum_spes.masks.scales import requested_patches
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.inputs import Audio, read_speech
from captum_spes.speech.methods import Extent, Method
from captum_spes.speech.models import (
    Generates,
    HearsShortWindows,
    ReadsPreviousTokens,
    SpeechInput,
    TargetSequence,
    Transcribes,
    can,
)
from captum_spes.speech.randomness import seeded_draws
from captum_spes.speech.settings import Settings


@dataclass(frozen=True)
class Forecast:
    """Cost of explaining one recording by some methods, and of scoring the explanations.

    Attributes:
        spectrograms: passes of perturbed spectrograms through the model.
        tokens: passes of perturbed previous tokens through the decoder.
        scored: perturbed spectrograms that the model transcribes to score the explanations.
        seconds: time for all of these, from the measured time of one pass.
        audio_seconds: duration of the recording.
        graded: perturbed spectrograms from which an output is forced to score the explanations.
    """

    spectrograms: int
    tokens: int
    scored: int
    seconds: float
    audio_seconds: float
    graded: int = 0

    def text(self, n_recordings: int, audio_seconds: float) -> str:
        """One line about recordings that last ``audio_seconds`` together."""
        total = self.seconds * audio_seconds / self.audio_seconds
        noun = "recording" if n_recordings == 1 else "recordings"
        scoring = f", {self.scored:,} transcriptions to score them" if self.scored else ""
        if self.graded:
            scoring += f" and {self.graded:,} passes to look at single tokens"
        return (
            f"{n_recordings} {noun}, each {self.spectrograms:,} passes of spectrograms and "
            f"{self.tokens:,} of previous tokens{scoring}; about {duration(total)}"
        )


def forecast(
    adapter: Any,
    audio: Audio,
    methods: Sequence[tuple[Method, Settings]],
    *,
    target: Any = None,
    scored: int = 0,
    scored_per_map: int = 0,
) -> Forecast:
    r"""
    Measure one pass, and count those that methods will need.

    Args:

        adapter (SpeechModel): The model's adapter, ``explainer.adapter``.
        audio (path, array or Tensor): A recording such as those to explain.
        methods (sequence of tuple): Pairs of a method and its settings.
        target (str, sequence of int or TargetSequence, optional): What is explained.
                    Default: None, what the model writes
        scored (int, optional): Transcriptions that scoring the explanations takes.
                    Default: 0
        scored_per_map (int, optional): Passes that scoring them takes besides for the map of each
                    token, and for that of the sentence.
                    Default: 0

    Returns:
        *Forecast*

    Examples::

        >>> settings = Settings.efficient(n_samples=100, prior=None)
        >>> forecast(explainer.adapter, "speech.flac", [(METHODS["spes"], settings)]).spectrograms
        101
    """
    with ordinary_torch(adapter.device), adapter.evaluation_mode(), torch.no_grad():
        speech = read_speech(adapter, audio, adapter.sampling_rate)
        gen_args = methods[0][1].gen_args if methods else {}
        with seeded_draws(0):
            if isinstance(target, TargetSequence):
                sequence = target
            elif target is None and can(adapter, Generates):
                sequence = adapter.generate(speech, gen_args)
            else:
                sequence = adapter.force(speech, target, gen_args)
            states = adapter.encode(speech, speech.spectrogram[None])
            # Once: generation takes long, and what it needs first is there by now.
            transcribing = 0.0
            if scored and can(adapter, Transcribes):
                transcribing, _ = _timed(lambda: adapter.transcribe(speech, states, gen_args))
        per_spectrogram = _best_time(lambda: _pass(adapter, speech, sequence))
        per_tokens = 0.0
        if can(adapter, ReadsPreviousTokens):
            prepared = adapter.prepared(states, sequence)
            per_tokens = _best_time(lambda: adapter.decode_prepared(states, sequence, prepared))
    counted = [
        method.passes(settings, _extent(adapter, speech, sequence, settings))
        for method, settings in methods
        if method.same_maps_as is None
    ]
    graded = scored_per_map * (len(sequence.explained) + 1)
    spectrograms, tokens = (sum(own) for own in zip(*counted, strict=True))
    return Forecast(
        spectrograms,
        tokens,
        scored,
        (spectrograms + scored + graded) * per_spectrogram
        + tokens * per_tokens
        + scored * transcribing,
        speech.seconds,
        graded,
    )


def duration(seconds: float) -> str:
    """In words: "40 s", "3 min", "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _pass(adapter: Any, speech: SpeechInput, sequence: Any) -> Any:
    states = adapter.encode(speech, speech.spectrogram[None])
    return adapter.output_layer(adapter.decode(states, sequence))


def _extent(adapter: Any, speech: SpeechInput, sequence: Any, settings: Settings) -> Extent:
    patches = requested_patches(
        len(speech.spectrogram),
        seconds=None,
        frame_rate=adapter.frame_rate,
        patches_per_second=settings.patches_per_second,
        max_seconds=settings.max_seconds,
        n_patches=settings.n_patches,
    )
    return Extent(
        tokens=len(sequence.explained),
        patches=patches[0],
        cells=speech.spectrogram.numel(),
        previous=len(sequence.previous_positions),
        instruction=len(sequence.instruction),
        window_share=adapter.window_share(speech) if can(adapter, HearsShortWindows) else 1.0,
    )


def _best_time(call: Callable[[], Any]) -> float:
    # The first pass also pays for caches, and any one may be held up by another program.
    return min(_timed(call)[0] for _ in range(3))


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = call()
    return time.perf_counter() - start, found
