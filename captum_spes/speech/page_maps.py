"""What a page shows of one explanation, in JSON's types."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from captum_spes.pages import encoded_image, frames_per_column
from captum_spes.speech.heard import heard_sounds
from captum_spes.speech.judgement import Judgement
from captum_spes.speech.noise import (
    believable_region,
    rests_on_audio,
    token_reliabilities,
    word_reliabilities,
)
from captum_spes.speech.phrases import occurrence

if TYPE_CHECKING:
    from captum_spes.speech.certainty import Certainty
    from captum_spes.speech.result import SpeechToTextAttributionResult

# Of numbers that are shown; maps have 8 bits.
_DIGITS = 4


def explanation_payload(result: SpeechToTextAttributionResult, name: str) -> dict[str, Any]:
    """Its maps, tokens and words.

    Args:
        result: the explanation.
        name: what its map is called.
    """
    times = result.frame_times.double()
    step = float(times[1] - times[0]) if len(times) > 1 else 0.01
    start = float(times[0]) - step / 2
    is_contrast = "contrast" in result.parameters
    tokens = [_contrast_unit(result)] if is_contrast else _tokens(result)
    pictures = [_contrast_map(result)] if is_contrast else _token_maps(result)
    n_frames, n_bins = result.spectrogram.shape
    per_column = frames_per_column(n_frames)
    width = -(-n_frames // per_column)
    return {
        "name": name,
        "start": _number(start),
        "end": _number(start + width * per_column * step),
        "width": width,
        "height": n_bins,
        "frequencies": [round(float(f), 1) for f in result.mel_frequencies],
        "spectrogram": encoded_image(result.spectrogram.numpy()),
        "signed": is_contrast,
        "contrast": _contrast(result),
        "reliability": None if is_contrast else _of_sentence(result),
        "notes": _notes(result),
        "byToken": [{**own, **map_} for own, map_ in zip(tokens, pictures, strict=True)],
        "words": tokens if is_contrast or not result.words else _words(result),
    }


def _notes(result: SpeechToTextAttributionResult) -> list[str]:
    """What was measured of it, a line each."""
    deletion = result.parameters.get("deletion")
    judged = [] if deletion is None else [Judgement.from_dict(deletion).text()]
    return [*judged, *map(str, heard_sounds(result.parameters))]


def units_of(result: SpeechToTextAttributionResult) -> list[dict[str, Any]]:
    """What is known of each word, or of each token where they spell no words; without maps."""
    if "contrast" in result.parameters:
        return [_contrast_unit(result)]
    return _words(result) if result.words else _tokens(result)


def _contrast(result: SpeechToTextAttributionResult) -> dict[str, Any] | None:
    """Word and foil, and what stands before and after the word: before it tokens with how much they
    speak for the word, of the most, where they were explained."""
    contrast = result.parameters.get("contrast")
    if contrast is None:
        return None
    text = contrast["text"]
    start, end = occurrence(text, contrast["word"], contrast["occurrence"])
    attr = result.contrast_attr().token_attr
    before: list[tuple[str, float]] = [(text[:start].lstrip(), 0.0)]
    if attr is not None and len(attr):
        weights = attr / attr.abs().max().clamp(min=torch.finfo(attr.dtype).tiny)
        before = list(zip(result.previous_tokens, weights.tolist(), strict=True))
    return {
        "before": [[token, round(weight, 3)] for token, weight in before],
        "word": text[start:end],
        "after": text[end:],
        "foil": contrast["foil"],
        "occurrence": contrast["occurrence"],
    }


# Units ----------------------------------------------------------------------------------


def _tokens(result: SpeechToTextAttributionResult) -> list[dict[str, Any]]:
    token_attr, rows = result.normalized().token_attr, result.previous_rows()
    reliability, shares = token_reliabilities(result), _shares(result)
    return [
        {
            **_unit(result, text, (row,), token_attr),
            **_sureness(result.certainty, row),
            "columns": [column for column, own in enumerate(rows) if own == row],
            "reliability": _optional(reliability[row]),
            "share": None if shares is None else _number(shares[row]),
        }
        for row, text in enumerate(result.output_tokens)
    ]


def _words(result: SpeechToTextAttributionResult) -> list[dict[str, Any]]:
    token_attr, rows = result.normalized().token_attr, result.previous_rows()
    reliability, shares = word_reliabilities(result), _shares(result)
    sure = None if result.certainty is None else result.word_certainty()
    found = []
    for number, word in enumerate(result.words):
        own = word.token_indices
        found.append({
            **_unit(result, word.word, own, token_attr),
            **_sureness(sure, number),
            "columns": [column for column, row in enumerate(rows) if row in own],
            "reliability": _optional(reliability[number]),
            "share": None if shares is None else _number(shares[list(own)].mean()),
        })  # fmt: skip
        if word.start is not None and word.end is not None:
            times = {"start": _number(word.start), "end": _number(word.end)}
            found[-1] |= {**times, "isSpoken": True}
    return found


def _contrast_unit(result: SpeechToTextAttributionResult) -> dict[str, Any]:
    attr = result.contrast_attr().token_attr
    return {
        **_unit(result, result.output_tokens[0], (0,), None if attr is None else attr[None]),
        **_sureness(result.certainty, 0),
        "columns": [],
        "reliability": _optional(token_reliabilities(result)[0]),
        "share": None,
    }


def _unit(
    result: SpeechToTextAttributionResult,
    text: str,
    rows: Sequence[int],
    token_attr: Tensor | None,
) -> dict[str, Any]:
    """What tokens and words have in common; the time is read off the map."""
    previous = None
    if token_attr is not None:
        mean = token_attr[list(rows)].mean(0)
        previous = [None if math.isnan(value) else _number(value) for value in mean.tolist()]
    peak, _ = believable_region(result, rows)
    return {
        "text": text,
        "tokens": list(rows),
        "previous": previous,
        "start": None if peak is None else _number(peak.start),
        "end": None if peak is None else _number(peak.end),
        "isSpoken": False,
        "restsOnAudio": rests_on_audio(result, rows),
        "verdict": None,
    }


def _sureness(certainty: Certainty | None, row: int) -> dict[str, Any]:
    if certainty is None:
        return {"probability": None, "rank": None, "runnerUp": None}
    return {
        "probability": _number(certainty.probabilities[row]),
        "rank": int(certainty.ranks[row]),
        "runnerUp": certainty.runners_up[row],
    }


def _shares(result: SpeechToTextAttributionResult) -> Tensor | None:
    return None if result.token_attr is None else result.speech_share()


def _of_sentence(result: SpeechToTextAttributionResult) -> float | None:
    if "reliability" not in result.parameters:
        return None
    found = result.reliability().sentence
    return _optional(None if math.isnan(found) else found)


def _optional(value: float | None) -> float | None:
    return None if value is None else _number(value)


def _number(value: Any) -> float:
    return float(f"{float(value):.{_DIGITS}g}")


# Maps -----------------------------------------------------------------------------------


def _token_maps(result: SpeechToTextAttributionResult) -> list[dict[str, Any]]:
    """Of each token its raw map, and the line from there to its normalised values."""
    normal = result.normalized().spectrogram_attr
    return [
        {"map": encoded_image(raw.numpy()), "normalised": [_number(own.min()), _number(own.max())]}
        for raw, own in zip(result.spectrogram_attr, normal, strict=True)
    ]


def _contrast_map(result: SpeechToTextAttributionResult) -> dict[str, Any]:
    """Signed, around what has no part in the choice."""
    return {"map": encoded_image(result.contrast_attr().spectrogram_attr.numpy())}
