"""Transcribing recordings of any length, window by window."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from captum_spes.errors import ArgumentError, positive_number
from captum_spes.io.audio import MIN_SECONDS
from captum_spes.maps import group_words
from captum_spes.speech.models import (
    AlignsTokens,
    DecodedSegment,
    DecodedWindow,
    DecodesLongForm,
    RemembersStates,
    TargetSequence,
    can,
)
from captum_spes.speech.timing import token_times
from captum_spes.speech.transcript import Segment, Transcript, TranscriptWord, Window

# What models without long-form decoding were trained on at most, nearly all of them.
_CHUNK_SECONDS = 30.0
# Of a chunk, on either side: it is heard with the chunk's neighbour, too.
_OVERLAP = 1 / 6
# Tokens beyond the share of the overlap in which the common words of two chunks are looked for.
_SPARE_TOKENS = 6


def transcribe(
    adapter: Any,
    audio: NDArray[np.float32],
    gen_args: Mapping[str, Any],
    chunk_seconds: float | None = None,
    show_progress: bool = False,
) -> Transcript:
    """Let a model write what it hears in checked audio of any length; see
    ``SpeechToTextAttribution.transcribe``."""
    seconds = len(audio) / adapter.sampling_rate
    segments: list[Segment] = []
    windows: list[Window] = []
    with tqdm(
        total=round(seconds, 1), desc="transcribe", unit="s", disable=not show_progress
    ) as progress:
        for decoded in decoded_windows(adapter, audio, gen_args, chunk_seconds):
            window = _window(adapter, audio, decoded)
            for segment in decoded.segments:
                segments.append(_segment(adapter, window, segment, len(windows)))
            windows.append(window)
            progress.update(round(window.end, 1) - progress.n)
    kept = [window.sequence.explained_ids[list(window.kept)] for window in windows]
    text = adapter.text(torch.cat(kept)) if kept else ""
    return Transcript(text, tuple(segments), tuple(windows), seconds)


def decoded_windows(
    adapter: Any,
    audio: NDArray[np.float32],
    gen_args: Mapping[str, Any],
    chunk_seconds: float | None = None,
) -> Iterator[DecodedWindow]:
    """Decode as the model does: whole where it takes the recording whole, else by its own long-form
    decoding, else in chunks that overlap."""
    seconds, most = len(audio) / adapter.sampling_rate, adapter.max_seconds
    if chunk_seconds is not None:
        length = positive_number("chunk_seconds", chunk_seconds)
        if not MIN_SECONDS < length <= (most or math.inf):
            raise ArgumentError(
                f"chunk_seconds must lie between {MIN_SECONDS} and {most or math.inf:g}, what the "
                f"model takes at once, got {chunk_seconds!r}."
            )
        yield from _chunks(adapter, audio, gen_args, length)
        return
    is_own = can(adapter, DecodesLongForm)
    fits = most is None or seconds <= most
    if is_own and (not fits or gen_args.get("return_timestamps")):
        yield from adapter.decode_windows(audio, gen_args)
    elif fits:
        yield _whole(adapter, audio, 0, len(audio), gen_args)
    else:
        yield from _chunks(adapter, audio, gen_args, min(_CHUNK_SECONDS, most or _CHUNK_SECONDS))


def _whole(
    adapter: Any, audio: NDArray[np.float32], start: int, end: int, gen_args: Mapping[str, Any]
) -> DecodedWindow:
    """A window of which the whole output belongs to the transcript."""
    is_remembered = can(adapter, RemembersStates)
    with adapter.remembered_states() if is_remembered else nullcontext([]) as states:
        sequence = adapter.generate(adapter.from_audio(audio[start:end]), gen_args)
    seconds = (end - start) / adapter.sampling_rate
    segment = DecodedSegment(0.0, seconds, sequence.explained[0], len(sequence.ids))
    own = states[-1][:1] if states else None
    return DecodedWindow(start, end, sequence, (segment,), gen_args, own)


# Chunks ---------------------------------------------------------------------------------


def _chunks(
    adapter: Any, audio: NDArray[np.float32], gen_args: Mapping[str, Any], seconds: float
) -> Iterator[DecodedWindow]:
    """Chunks that overlap; of the words that two of them have in common the first half is taken
    from the first and the second half from the second."""
    rate = adapter.sampling_rate
    size = round(seconds * rate)
    step = size - 2 * round(seconds * _OVERLAP * rate)
    last = max(0, len(audio) - size)
    starts = [*range(0, last, step), last]
    before: DecodedWindow | None = None
    for start in starts:
        chunk = _whole(adapter, audio, start, min(len(audio), start + size), gen_args)
        if before is not None:
            share = (before.end - start) / size
            cut = _common(_text_positions(adapter, before), _text_positions(adapter, chunk), share)
            if cut is not None:
                middle = (start + before.end) / 2 / rate
                before = _cut(before, end=middle - before.start / rate, last=cut[0])
                chunk = _cut(chunk, start=middle - start / rate, first=cut[1])
            yield before
        before = chunk
    assert before is not None
    yield before


def _text_positions(adapter: Any, window: DecodedWindow) -> list[tuple[int, int]]:
    """Position and id of each token of text in a window's part of the transcript."""
    sequence, (segment,) = window.sequence, window.segments
    spelled = adapter.spelled(sequence.explained_ids)
    rows = [row for _, rows in spelled for row in rows]
    places = [sequence.explained[row] for row in rows]
    return [(p, int(sequence.ids[p])) for p in places if segment.first <= p < segment.last]


def _common(
    before: list[tuple[int, int]], after: list[tuple[int, int]], share: float
) -> tuple[int, int] | None:
    """Where to end the first and to begin the second text, in the middle of the longest run of
    tokens that the end of one and the start of the other have in common."""
    left = before[-(math.ceil(share * len(before)) + _SPARE_TOKENS) :]
    right = after[: math.ceil(share * len(after)) + _SPARE_TOKENS]
    matcher = SequenceMatcher(None, [i for _, i in left], [i for _, i in right], autojunk=False)
    run = matcher.find_longest_match()
    if not run.size:
        return None
    half = (run.size + 1) // 2
    places = [place for place, _ in right]
    following = run.b + half
    start = places[following] if following < len(places) else places[-1] + 1
    return left[run.a + half - 1][0] + 1, start


def _cut(window: DecodedWindow, **changes: Any) -> DecodedWindow:
    """A window whose one segment begins or ends elsewhere."""
    (segment,) = window.segments
    return replace(window, segments=(replace(segment, **changes),))


# The transcript -------------------------------------------------------------------------


def _window(adapter: Any, audio: NDArray[np.float32], decoded: DecodedWindow) -> Window:
    rate, sequence = adapter.sampling_rate, decoded.sequence
    start, end = decoded.start / rate, decoded.end / rate
    times = None
    if can(adapter, AlignsTokens):
        speech = adapter.from_audio(audio[decoded.start : decoded.end])
        found = token_times(adapter.alignment(speech, sequence), speech.seconds)
        times = tuple((start + first, start + last) for first, last in found.tolist())
    kept = sorted({row for segment in decoded.segments for row in rows_in(sequence, segment)})
    return Window(start, end, sequence, tuple(kept), times, decoded.gen_args)


def _segment(adapter: Any, window: Window, decoded: DecodedSegment, index: int) -> Segment:
    rows = rows_in(window.sequence, decoded)
    ids = window.sequence.explained_ids[rows]
    spelled = adapter.spelled(ids)
    words = []
    for text, pieces in group_words([text for text, _ in spelled]):
        if not any(character.isalnum() for character in text):
            continue
        own = tuple(rows[row] for piece in pieces for row in spelled[piece][1])
        start, end = times_of(window, own)
        words.append(TranscriptWord(text, start, end, index, own))
    return Segment(
        window.start + decoded.start,
        window.start + decoded.end,
        adapter.text(ids),
        tuple(words),
    )


def rows_in(sequence: TargetSequence, segment: DecodedSegment) -> list[int]:
    """Which of the explained tokens were written in a segment."""
    return [
        row
        for row, position in enumerate(sequence.explained)
        if segment.first <= position < segment.last
    ]


def times_of(window: Window, rows: tuple[int, ...]) -> tuple[float | None, float | None]:
    """When some tokens of a window are spoken."""
    if window.token_times is None:
        return None, None
    return window.token_times[rows[0]][0], window.token_times[rows[-1]][1]
