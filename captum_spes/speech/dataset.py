"""An explanation as an xarray.Dataset: maps with named axes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError, optional_library, shown
from captum_spes.io.provenance import versions
from captum_spes.maps import span_mean
from captum_spes.speech.noise import token_reliabilities, word_reliabilities
from captum_spes.text import for_utf8

if TYPE_CHECKING:
    from xarray import Dataset

    from captum_spes.speech.result import SpeechToTextAttributionResult

# What each variable is, for labels of axes and for readers of the file.
_NAMES = {
    "spectrogram_attr": "attribution of the audio",
    "token_attr": "attribution of previous tokens",
    "instruction_attr": "attribution of the instruction",
    "reliability": "share of the map's variance that is not sampling noise",
    "probability": "probability given the audio and what is before it",
    "rank": "rank among all tokens, 1 for the likeliest",
    "runner_up": "likeliest other token",
    "spectrogram": "what was perturbed",
    "removed": "what took the place of removed cells",
    "feature_masks": "labels of the patches",
}
_UNITS = {"time": "s", "frequency": "Hz", "word_start": "s", "word_end": "s"}

_Variables = dict[str, tuple[tuple[str, ...], NDArray[Any]]]


def dataset_of(result: SpeechToTextAttributionResult, of: str) -> Dataset:
    """See ``SpeechToTextAttributionResult.to_xarray``."""
    if of not in ("tokens", "words"):
        raise ArgumentError(f"of must be 'tokens' or 'words', got {shown(of)}.")
    xarray = optional_library("xarray", "arrays with named axes", "export")
    units = _tokens(result) if of == "tokens" else _words(result)
    plane = ("time", "frequency")
    variables = {
        **units,
        "spectrogram": (plane, _array(result.spectrogram)),
        "removed": (plane, _array(result.removed)),
        "feature_masks": (("level", *plane), _array(result.feature_masks)),
        "time": (("time",), _array(result.frame_times)),
        "frequency": (("frequency",), _array(result.mel_frequencies)),
    }
    dataset = xarray.Dataset(variables, attrs=_attributes(result))
    for name in dataset.variables:
        known = {"long_name": _NAMES.get(name), "units": _UNITS.get(name)}
        dataset[name].attrs.update({key: text for key, text in known.items() if text})
    return dataset.set_coords([name for name in variables if name not in _NAMES])


def _tokens(result: SpeechToTextAttributionResult) -> _Variables:
    """What there is of each token."""
    maps: list[Tensor | None] = [
        result.spectrogram_attr,
        result.token_attr,
        result.instruction_attr,
    ]
    sure = result.certainty
    # Units of a score of one's own are not the tokens that have probabilities.
    if sure is not None and len(sure.probabilities) != len(result.output_tokens):
        sure = None
    return {
        "token_text": (("token",), _texts(result.output_tokens)),
        **_sides(result, "token", maps),
        **_about("token", token_reliabilities(result), sure),
    }


def _words(result: SpeechToTextAttributionResult) -> _Variables:
    """What there is of each word: means over its tokens."""
    if not result.words or "contrast" in result.parameters:
        raise ArgumentError(
            "the output has no words of its own, as that of a contrast or of silence: take "
            "of='tokens'."
        )
    spans = [word.token_indices for word in result.words]
    own = result.instruction_attr
    instruction = None if own is None else torch.stack([own[list(rows)].mean(0) for rows in spans])
    sure = None if result.certainty is None else result.word_certainty()
    times = {
        "word_start": [word.start for word in result.words],
        "word_end": [word.end for word in result.words],
    }
    return {
        "word_text": (("word",), _texts([word.word for word in result.words])),
        **{name: (("word",), _numbers(values)) for name, values in times.items()},
        **_sides(
            result,
            "word",
            [*span_mean(result.spectrogram_attr, result.token_attr, spans), instruction],
        ),
        **_about("word", word_reliabilities(result), sure),
    }


def _sides(
    result: SpeechToTextAttributionResult, unit: str, maps: Sequence[Tensor | None]
) -> _Variables:
    """The maps, and what the columns of those of text are; sides without a map are left out."""
    spectrogram, tokens, instruction = maps
    assert spectrogram is not None
    found: _Variables = {"spectrogram_attr": ((unit, "time", "frequency"), _array(spectrogram))}
    if tokens is not None:
        found["token_attr"] = (unit, "previous_token"), _array(tokens)
        found["previous_token_text"] = ("previous_token",), _texts(result.previous_tokens)
    if instruction is not None:
        found["instruction_attr"] = (unit, "instruction_token"), _array(instruction)
        found["instruction_token_text"] = ("instruction_token",), _texts(result.instruction_tokens)
    return found


def _about(unit: str, reliabilities: Sequence[float | None], sure: Any) -> _Variables:
    """How far a map is to be believed, and how sure the model was."""
    found: _Variables = {}
    if any(value is not None for value in reliabilities):
        found["reliability"] = (unit,), _numbers(reliabilities)
    if sure is not None:
        found["probability"] = (unit,), _array(sure.probabilities)
        found["rank"] = (unit,), _array(sure.ranks)
        found["runner_up"] = (unit,), _texts(sure.runners_up)
    return found


def _attributes(result: SpeechToTextAttributionResult) -> dict[str, Any]:
    """What made it, as texts and floats: netCDF knows no other names and values, and its integers
    of 32 bits are too small for a seed."""
    return {
        "text": for_utf8(result.text),
        "method": for_utf8(result.method),
        "model": for_utf8(result.model_id),
        "seed": str(result.seed),
        "seconds": float(result.seconds),
        "settings": json.dumps(result.settings.to_dict()),
        "parameters": json.dumps(result.parameters),
        "words": json.dumps([asdict(word) for word in result.words]),
        "versions": json.dumps(versions()),
    }


def _array(tensor: Tensor) -> NDArray[Any]:
    """A copy, so that what is done to one does not change the other."""
    copied: NDArray[Any] = tensor.detach().cpu().numpy().copy()
    return copied


def _texts(texts: Sequence[str]) -> NDArray[Any]:
    return np.array([for_utf8(text) for text in texts], dtype=object)


def _numbers(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
