"""Finding out, window by window, which words of a recording the model heard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from captum_spes.errors import ArgumentError
from captum_spes.io.samples import read_samples
from captum_spes.maps import group_words
from captum_spes.speech.evidence import EvidenceReport, WordEvidence
from captum_spes.speech.inputs import Audio, is_features, read_speech, removed_value
from captum_spes.speech.measures import word_evidence, word_measures, word_places
from captum_spes.speech.models import DecodedSegment, SpeechInput, TargetSequence
from captum_spes.speech.removals import Removals, measure_removals
from captum_spes.speech.timing import token_times
from captum_spes.speech.verdicts import VerdictRule
from captum_spes.speech.windows import decoded_windows, rows_in


@dataclass(frozen=True, eq=False)
class CheckedWindow:
    """A window whose words are checked.

    Attributes:
        start: seconds from the start of the recording.
        speech: the window as the model sees it.
        sequence: what the model read and wrote.
        segments: what belongs to the transcript; other tokens are written anew from the next
            window.
        states: of the encoder; None where they have to be computed.
    """

    start: float
    speech: SpeechInput
    sequence: TargetSequence
    segments: tuple[DecodedSegment, ...]
    states: Tensor | None = None


@dataclass(frozen=True)
class SpokenWord:
    """A word of the output, and its tokens.

    Attributes:
        word: its text.
        rows: which of the explained tokens spell it.
        written: with the blank before it and the punctuation around it.
    """

    word: str
    rows: tuple[int, ...]
    written: str


@dataclass(frozen=True)
class Checker:
    """Checks windows.

    Attributes:
        adapter: of the model.
        passes: perturbed inputs per window.
        baselines: the removed value.
        rule: gives the verdicts.
        misfit: what it was not calibrated for, in words; None if all fits.
        perturbations_per_eval: perturbed inputs in a batch.
    """

    adapter: Any
    passes: int
    baselines: str
    rule: VerdictRule
    misfit: str | None
    perturbations_per_eval: int

    def removals(self, window: CheckedWindow) -> Removals:
        """Spend the passes on a window."""
        return measure_removals(
            self.adapter,
            window.speech,
            window.sequence,
            removed_value(self.adapter, window.speech, self.baselines),
            self.passes,
            self.perturbations_per_eval,
            window.states,
        )

    def segments(self, window: CheckedWindow) -> list[list[WordEvidence]]:
        """The words of each segment of a window."""
        kept = [
            spoken_words(self.adapter, window.sequence, rows_in(window.sequence, segment))
            for segment in window.segments
        ]
        if not any(kept):
            return [[] for _ in kept]
        words = [word for segment in kept for word in segment]
        removals = self.removals(window)
        judged = iter(self._judged(window, words, removals))
        found: list[list[WordEvidence]] = []
        for segment, own in zip(window.segments, kept, strict=True):
            span = (segment.start / window.speech.seconds, segment.end / window.speech.seconds)
            if not own:
                found.append([])
                continue
            if window.sequence.frames:
                times = window.start + self._times_of_frames(window, own)
            else:
                places = word_places(
                    removals, [word.rows for word in own], [len(word.word) for word in own], span
                )
                times = window.start + places * window.speech.seconds
            found.append(
                [replace(next(judged), start=float(start), end=float(end)) for start, end in times]
            )
        return found

    def _times_of_frames(
        self, window: CheckedWindow, words: Sequence[SpokenWord]
    ) -> NDArray[np.float64]:
        """When a model writes words that it writes as the speech goes on, in seconds."""
        weights = self.adapter.alignment(window.speech, window.sequence)
        times = token_times(weights, window.speech.seconds)
        return np.array([[times[word.rows[0]][0], times[word.rows[-1]][1]] for word in words])

    def _judged(
        self, window: CheckedWindow, words: Sequence[SpokenWord], removals: Removals
    ) -> list[WordEvidence]:
        """The words without their times."""
        rows = [word.rows for word in words]
        verdicts = self.rule.verdicts(word_measures(removals, rows))
        return [
            WordEvidence(
                word=word.word,
                start=window.start,
                end=window.start,
                evidence=float(evidence),
                probability=float(removals.log_probabilities[list(word.rows)].mean().exp()),
                heard=heard,
                written=word.written,
            )
            for word, evidence, heard in zip(
                words, word_evidence(removals, rows), verdicts, strict=True
            )
        ]


def spoken_words(adapter: Any, sequence: TargetSequence, rows: Sequence[int]) -> list[SpokenWord]:
    """The words that some of the explained tokens spell, punctuation left out."""
    spelled = adapter.spelled(sequence.explained_ids[list(rows)])
    found: list[SpokenWord] = []
    before = ""
    for text, pieces in group_words([text for text, _ in spelled]):
        written = "".join(spelled[piece][0] for piece in pieces)
        if any(character.isalnum() for character in text):
            tokens = tuple(rows[row] for piece in pieces for row in spelled[piece][1])
            found.append(SpokenWord(text, tokens, before + written))
            before = ""
        elif found and not before and not written.startswith(" "):
            found[-1] = replace(found[-1], written=found[-1].written + written)
        else:  # an opening bracket, for example
            before += written
    if found and before:
        found[-1] = replace(found[-1], written=found[-1].written + before)
    return found


def in_order(words: Sequence[WordEvidence], earliest: float) -> list[WordEvidence]:
    """Words none of which begins before the one before it ends: windows can overlap."""
    ordered = []
    for word in words:
        start = max(word.start, earliest)
        earliest = max(word.end, start)
        ordered.append(replace(word, start=start, end=earliest))
    return ordered


def windows_to_check(
    adapter: Any,
    recording: tuple[Audio, int],
    target: str | Sequence[int] | Tensor | None,
    gen_args: Mapping[str, Any],
    chunk_seconds: float | None,
) -> tuple[Iterator[CheckedWindow], float]:
    """The windows of a recording, and its duration in seconds.

    Args:
        adapter: of the model.
        recording: audio of any kind, and its sampling rate.
        target: a text, or ids; None for what the model writes.
        gen_args: of generation.
        chunk_seconds: see ``SpeechToTextAttribution.transcribe``.
    """
    audio, rate = recording
    if target is None and not is_features(adapter, audio):
        samples = read_samples(audio, rate, adapter.sampling_rate)
        windows = _transcribed(adapter, samples, gen_args, chunk_seconds)
        return windows, len(samples) / adapter.sampling_rate
    if chunk_seconds is not None:
        raise ArgumentError("chunk_seconds has no effect on a target or on features: leave it out.")
    speech = read_speech(adapter, audio, rate)
    sequence = (
        adapter.generate(speech, gen_args)
        if target is None
        else adapter.force(speech, target, gen_args)
    )
    whole = DecodedSegment(0.0, speech.seconds, sequence.explained[0], len(sequence.ids))
    return iter([CheckedWindow(0.0, speech, sequence, (whole,))]), speech.seconds


def _transcribed(
    adapter: Any,
    audio: NDArray[np.float32],
    gen_args: Mapping[str, Any],
    chunk_seconds: float | None,
) -> Iterator[CheckedWindow]:
    """Let the model write, and hand over each window as soon as it is written."""
    for decoded in decoded_windows(adapter, audio, gen_args, chunk_seconds):
        speech = adapter.from_audio(audio[decoded.start : decoded.end])
        start = decoded.start / adapter.sampling_rate
        yield CheckedWindow(start, speech, decoded.sequence, decoded.segments, decoded.states)


def report_of(
    checker: Checker,
    windows: Iterable[CheckedWindow],
    seconds: float,
    on_words: Callable[[list[WordEvidence]], object] | None,
    show_progress: bool,
) -> EvidenceReport:
    """Check window after window; ``on_words`` is given the words of each as soon as they are
    there."""
    words: list[WordEvidence] = []
    segments: list[tuple[int, int]] = []
    with tqdm(
        total=round(seconds, 1), desc="check", unit="s", disable=not show_progress
    ) as progress:
        for window in windows:
            first = len(words)
            for segment in checker.segments(window):
                if segment:
                    segments.append((len(words), len(words) + len(segment)))
                    words += in_order(segment, words[-1].end if words else 0.0)
            progress.update(round(window.start + window.speech.seconds, 1) - progress.n)
            if on_words is not None and len(words) > first:
                on_words(words[first:])
    return EvidenceReport(
        words=words,
        segments=segments,
        seconds=seconds,
        passes=checker.passes,
        baselines=checker.baselines,
        rule=checker.rule,
        misfit=checker.misfit,
        model_id=checker.adapter.model_id,
    )
