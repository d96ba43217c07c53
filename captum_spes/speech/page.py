"""An explanation, or several of one recording, as a page that needs nothing else."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError, optional_library
from captum_spes.io.samples import Recording
from captum_spes.pages import encoded_image, page_html
from captum_spes.speech.evidence import VERDICTS, EvidenceReport
from captum_spes.speech.listening import recording_of, window_of
from captum_spes.speech.regions import strongest_region

if TYPE_CHECKING:
    from captum_spes.speech.certainty import Certainty
    from captum_spes.speech.result import SpeechToTextAttributionResult

# Of numbers that are shown; maps have 8 bits.
_DIGITS = 4
_MOST_HERTZ = 48_000  # of MP3
_FROM_WORST = (VERDICTS[False], VERDICTS[None], VERDICTS[True])


def page_of(
    results: Sequence[SpeechToTextAttributionResult],
    names: Sequence[str],
    title: str | None,
    audio: Recording | None,
    sampling_rate: int,
    checked: EvidenceReport | None,
) -> str:
    """The text of a page.

    Args:
        results: of one recording, at least one.
        names: of each, shown below its map.
        title: of the page; None for the text of the first explanation.
        audio: the recording; None for the file that was explained, where it is known.
        sampling_rate: of samples without a rate.
        checked: which words of the first explanation the model heard.
    """
    first = results[0]
    for result in results[1:]:
        if abs(result.seconds - first.seconds) > 0.1:
            raise ArgumentError(
                f"a page shows explanations of one recording: one lasts {first.seconds:.2f} s, "
                f"another {result.seconds:.2f} s."
            )
    explanations = [_explanation(*pair) for pair in zip(results, names, strict=True)]
    if checked is not None:
        verdicts = verdicts_of([word.word for word in first.words], checked)
        for word, verdict in zip(explanations[0]["words"], verdicts, strict=False):
            word["verdict"] = verdict
    payload = {
        "explanations": explanations,
        "sound": _sound(first, audio, sampling_rate),
        "offset": window_of(first.parameters)[0],
        "facts": [fact for pair in zip(results, names, strict=True) for fact in _facts(*pair)],
    }
    return page_html(payload, title or first.text or first.method)


def name_of(result: SpeechToTextAttributionResult) -> str:
    """What a map is called that nobody named."""
    contrast = result.parameters.get("contrast")
    about = "" if contrast is None else f", {contrast['word']} or {contrast['foil']}"
    return f"{result.method}{about}, seed {result.seed}"


def verdicts_of(words: Sequence[str], checked: EvidenceReport) -> list[str | None]:
    """The verdict of a check on each word, the worst of its parts; None for punctuation.

    Words are told by their letters, as a check joins what an explanation may divide.
    """
    letters = ["".join(filter(str.isalnum, word)).casefold() for word in words]
    known, verdicts = "", list[str]()
    for word in checked.words:
        own = "".join(filter(str.isalnum, word.word)).casefold()
        known += own
        verdicts += [word.verdict] * len(own)
    start = known.find("".join(letters))
    if start < 0:
        raise ArgumentError(
            "checked is of another text than the explanation: check the same recording, with the "
            "same model."
        )
    found: list[str | None] = []
    for own in letters:
        parts = set(verdicts[start : start + len(own)])
        found.append(next((worst for worst in _FROM_WORST if worst in parts), None))
        start += len(own)
    return found


# Maps -----------------------------------------------------------------------------------


def _explanation(result: SpeechToTextAttributionResult, name: str) -> dict[str, Any]:
    times = result.frame_times.double()
    half = float(times[1] - times[0]) / 2 if len(times) > 1 else 0.005
    is_contrast = "contrast" in result.parameters
    tokens = _contrast(result) if is_contrast else _tokens(result)
    return {
        "name": name,
        "start": _number(times[0] - half),
        "end": _number(times[-1] + half),
        "frequencies": [round(float(f), 1) for f in result.mel_frequencies],
        "spectrogram": encoded_image(result.spectrogram.numpy()),
        "signed": is_contrast,
        "byToken": tokens,
        "words": tokens if is_contrast or not result.words else _words(result),
    }


def _tokens(result: SpeechToTextAttributionResult) -> list[dict[str, Any]]:
    normal = result.normalized()
    rows = result.previous_rows()
    noise, shares = _reliability(result, "tokens"), _shares(result)
    return [
        {
            **_unit(result, text, (row,), normal.token_attr),
            **_sureness(result.certainty, row),
            "map": encoded_image(result.spectrogram_attr[row].numpy()),
            "normalised": [
                _number(normal.spectrogram_attr[row].min()),
                _number(normal.spectrogram_attr[row].max()),
            ],
            "columns": [column for column, own in enumerate(rows) if own == row],
            "reliability": _at(noise, row),
            "share": _at(shares, row),
        }
        for row, text in enumerate(result.output_tokens)
    ]


def _words(result: SpeechToTextAttributionResult) -> list[dict[str, Any]]:
    token_attr, rows = result.normalized().token_attr, result.previous_rows()
    noise, shares = _reliability(result, "words"), _shares(result)
    sure = None if result.certainty is None else result.word_certainty()
    found = []
    for number, word in enumerate(result.words):
        own = word.token_indices
        found.append({
            **_unit(result, word.word, own, token_attr),
            **_sureness(sure, number),
            "columns": [column for column, row in enumerate(rows) if row in own],
            "reliability": _at(noise, number),
            "share": None if shares is None else _number(shares[list(own)].mean()),
        })  # fmt: skip
        if word.start is not None and word.end is not None:
            found[-1] |= {"start": _number(word.start), "end": _number(word.end)}
    return found


def _contrast(result: SpeechToTextAttributionResult) -> list[dict[str, Any]]:
    """Its one row, signed, around what has no part in the choice."""
    maps = result.contrast_attr()
    attr = maps.token_attr
    return [{
        **_unit(result, result.output_tokens[0], (0,), None if attr is None else attr[None]),
        **_sureness(result.certainty, 0),
        "map": encoded_image(maps.spectrogram_attr.numpy()),
        "columns": [],
        "reliability": _at(_reliability(result, "tokens"), 0),
        "share": None,
    }]  # fmt: skip


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
    peak, _ = strongest_region(result, result.spectrogram_attr[list(rows)].mean(0))
    return {
        "text": text,
        "tokens": list(rows),
        "previous": previous,
        "start": None if peak is None else _number(peak.start),
        "end": None if peak is None else _number(peak.end),
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


def _reliability(result: SpeechToTextAttributionResult, of: str) -> Tensor | None:
    if "reliability" not in result.parameters:
        return None
    found: Tensor = getattr(result.reliability(), of)
    return found


def _shares(result: SpeechToTextAttributionResult) -> Tensor | None:
    return None if result.token_attr is None else result.speech_share()


def _at(values: Tensor | None, row: int) -> float | None:
    if values is None or not bool(torch.isfinite(values[row])):
        return None
    return _number(values[row])


def _number(value: Any) -> float:
    return float(f"{float(value):.{_DIGITS}g}")


def _facts(result: SpeechToTextAttributionResult, name: str) -> list[tuple[str, str]]:
    settings = str(result.settings) or "the paper's"
    return [
        ("explanation", name),
        ("method", result.method),
        ("model", result.model_id),
        ("settings", settings),
        ("text", result.text),
    ]


# Sound ----------------------------------------------------------------------------------


def _sound(
    result: SpeechToTextAttributionResult, audio: Recording | None, sampling_rate: int
) -> dict[str, str] | None:
    """The recording as one compressed stream that browsers play; None where it is not known."""
    if audio is None and "audio" not in result.parameters:
        return None
    samples, rate = recording_of(result.parameters, result.seconds, audio, sampling_rate)
    return {"type": "audio/mpeg", "data": base64.b64encode(_mp3(samples, rate)).decode("ascii")}


def _mp3(samples: NDArray[np.float32], rate: int) -> bytes:
    soundfile = optional_library("soundfile", "the sound of a page", "transformers")
    if rate > _MOST_HERTZ:
        soxr = optional_library("soxr", "resampling audio", "transformers")
        samples, rate = soxr.resample(samples, rate, _MOST_HERTZ), _MOST_HERTZ
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="MP3", subtype="MPEG_LAYER_III")
    return buffer.getvalue()
