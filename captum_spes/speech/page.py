"""An explanation, or several of one recording, as a page that needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from captum_spes.errors import ArgumentError, optional_library, warn_caller
from captum_spes.io.samples import Recording, is_gone
from captum_spes.pages import page_html
from captum_spes.speech.evidence import VERDICTS, EvidenceReport
from captum_spes.speech.listening import recording_of, window_of
from captum_spes.speech.noise import MOSTLY_NOISE
from captum_spes.speech.page_maps import explanation_payload

if TYPE_CHECKING:
    from captum_spes.speech.result import SpeechToTextAttributionResult

_MP3_HERTZ = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
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
        title: of the page, and its heading; None for the text of the first explanation, headed by
            method, model and recording, or by the question of a contrast.
        audio: the recording; None for the file that was explained, where it is known.
        sampling_rate: of samples without a rate.
        checked: which words of the first explanation the model heard.
    """
    first = results[0]
    for result in results[1:]:
        _check_same_recording(first, result)
    explanations = [explanation_payload(*pair) for pair in zip(results, names, strict=True)]
    if checked is not None:
        verdicts = verdicts_of([word.word for word in first.words], checked)
        for word, verdict in zip(explanations[0]["words"], verdicts, strict=False):
            word["verdict"] = verdict
    payload = {
        "explanations": explanations,
        "mostlyNoise": MOSTLY_NOISE,
        "notHeard": VERDICTS[False],
        "sound": _sound(first, audio, sampling_rate),
        "offset": window_of(first.parameters)[0],
        "facts": [fact for pair in zip(results, names, strict=True) for fact in _facts(*pair)],
    }
    return page_html(payload, title or first.text or first.method, title or _heading(results))


def _check_same_recording(
    one: SpeechToTextAttributionResult, other: SpeechToTextAttributionResult
) -> None:
    if abs(one.seconds - other.seconds) > 0.1:
        raise ArgumentError(
            f"a page shows explanations of one recording: one lasts {one.seconds:.2f} s, another "
            f"{other.seconds:.2f} s."
        )
    digests = {
        origin["sha256"]
        for result in (one, other)
        if isinstance(origin := result.parameters.get("audio"), Mapping) and "sha256" in origin
    }
    if len(digests) > 1 or window_of(one.parameters) != window_of(other.parameters):
        raise ArgumentError(
            "a page shows explanations of one recording, or of one part of it; these are of two."
        )


def name_of(result: SpeechToTextAttributionResult) -> str:
    """What a map is called that nobody named."""
    contrast = result.parameters.get("contrast")
    about = "" if contrast is None else f", {contrast['word']} or {contrast['foil']}"
    return f"{result.method}{about}, seed {result.seed}"


def model_name(result: SpeechToTextAttributionResult) -> str:
    """The model, without the folders of this machine: pages are sent to others."""
    path = Path(result.model_id)
    return path.name if path.is_absolute() else result.model_id


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


# Texts ----------------------------------------------------------------------------------


def _heading(results: Sequence[SpeechToTextAttributionResult]) -> str:
    """What a page is headed with that nobody gave a title: its transcript stands below."""
    result = results[0]
    contrast = result.parameters.get("contrast")
    if contrast is not None:
        return f"Why “{contrast['word']}” and not “{contrast['foil']}”?"
    origin = result.parameters.get("audio")
    path = str(origin.get("path", "")) if isinstance(origin, Mapping) else ""
    told = [{own.method for own in results}, {model_name(own) for own in results}]
    common = [own.pop() for own in told if len(own) == 1]
    return ", ".join([*common, *([PurePath(path).name] if path else [])]) or result.text


def _facts(result: SpeechToTextAttributionResult, name: str) -> list[tuple[str, str]]:
    settings = str(result.settings) or "the paper's"
    return [
        ("explanation", name),
        ("method", result.method),
        ("model", model_name(result)),
        ("settings", settings),
        ("text", result.text),
    ]


# Sound ----------------------------------------------------------------------------------


def _sound(
    result: SpeechToTextAttributionResult, audio: Recording | None, sampling_rate: int
) -> dict[str, Any] | None:
    """The recording as one compressed stream that browsers play; None where it is not known."""
    if audio is None and "audio" not in result.parameters:
        return None
    if audio is None and is_gone(result.parameters["audio"]):
        warn_caller(
            f"the page has no sound: {result.parameters['audio']['path']} is not there; "
            "audio=... says where it is."
        )
        return None
    samples, rate = recording_of(result.parameters, result.seconds, audio, sampling_rate)
    stream, rate = _mp3(samples, rate)
    data = base64.b64encode(stream).decode("ascii")
    return {"type": "audio/mpeg", "rate": rate, "data": data}


def _mp3(samples: NDArray[np.float32], rate: int) -> tuple[bytes, int]:
    """A stream, and its rate: MP3 knows nine."""
    soundfile = optional_library("soundfile", "the sound of a page", "transformers")
    if rate not in _MP3_HERTZ:
        soxr = optional_library("soxr", "resampling audio", "transformers")
        known = next((own for own in _MP3_HERTZ if own > rate), _MP3_HERTZ[-1])
        samples, rate = soxr.resample(samples, rate, known), known
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="MP3", subtype="MPEG_LAYER_III")
    return buffer.getvalue(), rate
