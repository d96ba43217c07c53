"""The file of a result: NumPy's npz with a JSON text inside. Written whole, checked when read."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError
from captum_spes.io.arrays import open_archive
from captum_spes.io.files import whole_file
from captum_spes.speech.settings import Settings

# Version 1 kept no Settings, only the values they are made from.
_FORMATS = ("captum_spes explanation, version 1", "captum_spes explanation, version 2")
_KIND = "a saved explanation"


class _Array(NamedTuple):
    """What a file's array must be.

    Attributes:
        axes: names of the axes; those of one name have one length.
        kind: of its values, as NumPy names it: "f" or "i".
        is_optional: whether a file may lack it.
    """

    axes: tuple[str, ...]
    kind: str = "f"
    is_optional: bool = False


ARRAYS = {
    "spectrogram_attr": _Array(("tokens", "frames", "mel bins")),
    "spectrogram": _Array(("frames", "mel bins")),
    "removed": _Array(("frames", "mel bins")),
    "feature_masks": _Array(("levels", "frames", "mel bins"), "i"),
    "token_attr": _Array(("tokens", "previous tokens"), is_optional=True),
    "instruction_attr": _Array(("tokens", "instruction tokens"), is_optional=True),
    "frame_times": _Array(("frames",)),
    "mel_frequencies": _Array(("mel bins",)),
    "probabilities": _Array(("probable units",), is_optional=True),
    "ranks": _Array(("probable units",), "i", is_optional=True),
}


class Source(Protocol):
    """What a result's arrays and its text are read from."""

    def __contains__(self, name: str) -> bool: ...
    def header(self, name: str) -> Any: ...
    def read(self, name: str) -> NDArray[Any]: ...
    def text(self, name: str) -> str: ...


class InMemory:
    """The arrays and the text of a stored explanation as a source."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], text: str) -> None:
        self._arrays, self._text = arrays, text

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def header(self, name: str) -> Any:
        return self.read(name)  # which knows its shape and its type

    def read(self, name: str) -> NDArray[Any]:
        _need(name in self._arrays, f"it lacks {name}")
        return self._arrays[name]

    def text(self, name: str) -> str:
        return self._text


def saved_text(texts: Mapping[str, Any]) -> str:
    """All fields of a result that are no arrays, given in JSON's types, as one text."""
    metadata = json.dumps({"format": _FORMATS[-1], **texts}, ensure_ascii=False)
    # Halves of characters, from names of files that are no UTF-8: as JSON's escapes.
    return metadata.encode("utf-8", "backslashreplace").decode("utf-8")


def write_result(path: Path, arrays: Mapping[str, Tensor], texts: Mapping[str, Any]) -> None:
    """Write a result's tensors, and its other fields in JSON's types."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"no such folder to save into: {path.parent}")
    contents: dict[str, Any] = {n: tensor.detach().cpu().numpy() for n, tensor in arrays.items()}
    with whole_file(path) as file:
        np.savez_compressed(file, metadata=np.array(saved_text(texts)), **contents)


def read_result(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the fields of a result, words as dictionaries, and check that they belong together.

    Raises:
        FileNotFoundError: there is no such file.
        ArgumentError: the file is no saved explanation, is damaged, or its parts do not fit; the
            message names the part.
    """
    with open_archive(path, _KIND) as archive:
        return read_fields(archive)


def read_fields(source: Source) -> dict[str, Any]:
    """The same from an open source."""
    metadata = json.loads(source.text("metadata"))
    _need(isinstance(metadata, dict), "metadata must be an object")
    saved_format = metadata.get("format")
    if saved_format not in _FORMATS:
        raise ArgumentError(
            f"it has the format {str(saved_format)[:60]!r}, which this version of captum_spes "
            "cannot read"
        )
    texts = _texts(metadata)
    return {**_arrays(source, _lengths(texts)), **texts}


# Arrays ----------------------------------------------------------------------------------


def _lengths(texts: Mapping[str, Any]) -> dict[str, int]:
    """Lengths of axes that the texts tell."""
    return {
        "tokens": len(texts["output_tokens"]),
        "previous tokens": len(texts["previous_tokens"]),
        "instruction tokens": len(texts["instruction_tokens"]),
        "probable units": _n_probable(texts),
    }


def _n_probable(texts: Mapping[str, Any]) -> int:
    """How many probabilities there are: one of each id, or one of a word beside its foil."""
    is_contrast = "contrast" in texts["parameters"]
    return len(texts["output_tokens"] if is_contrast else texts["output_ids"])


def _arrays(source: Source, lengths: dict[str, int]) -> dict[str, Tensor | None]:
    """Read the arrays, all of whose shapes are checked before the first one is read."""
    known = [name for name, array in ARRAYS.items() if name in source or not array.is_optional]
    for name in known:
        _check_shape(name, source, lengths)
    arrays = {name: source.read(name) for name in known}
    for name, array in arrays.items():
        _check_values(name, array)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return {name: tensors.get(name) for name in ARRAYS}


def _check_shape(name: str, source: Source, lengths: dict[str, int]) -> None:
    wanted, header = ARRAYS[name], source.header(name)
    # NumPy has kinds and widths that torch has not.
    widths = {"f": (2, 4, 8), "i": (1, 2, 4, 8)}[wanted.kind]
    if header.dtype.kind != wanted.kind or header.dtype.itemsize not in widths:
        kind = {"f": "floating-point", "i": "whole"}[wanted.kind]
        raise ArgumentError(f"{name} must hold {kind} numbers, got {header.dtype}")
    axes = f"({', '.join(wanted.axes)})"
    if len(header.shape) != len(wanted.axes) or 0 in header.shape:
        raise ArgumentError(f"{name} must be {axes}, none of them empty, got {header.shape}")
    for axis, length in zip(wanted.axes, header.shape, strict=True):
        if lengths.setdefault(axis, length) != length:
            raise ArgumentError(
                f"{name} is {axes} = {header.shape}, but there are {lengths[axis]} {axis}"
            )


def _check_values(name: str, array: NDArray[Any]) -> None:
    if name == "token_attr":
        _need(not np.isinf(array).any(), "token_attr holds infinite values")
    elif array.dtype.kind == "f":
        _need(bool(np.isfinite(array).all()), f"{name} holds NaN or infinite values")
    if name == "frame_times":
        _need(bool((np.diff(array) > 0).all()), "frame_times must rise")
    if name == "mel_frequencies":
        rises = bool((np.diff(array) >= 0).all() and array[0] >= 0)
        _need(rises, "mel_frequencies must rise from 0 or more")
    if name == "probabilities":
        _need(bool(((array >= 0) & (array <= 1)).all()), "probabilities must lie in [0, 1]")
    if name == "ranks":
        _need(bool((array >= 1).all()), "ranks must be 1 or more")


# Texts and numbers -----------------------------------------------------------------------


def _texts(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The checked fields that are no arrays; others that the file may have are left out."""
    lists = ("output_tokens", "previous_tokens", "output_ids", "previous_ids")
    found = {name: _field(metadata, name) for name in (*lists, *_SINGLE)}
    for name in lists:
        kind = str if name.endswith("tokens") else int
        _need_list(name, found[name], kind)
    for name, (is_right, wanted) in _SINGLE.items():
        _need(is_right(found[name]), f"{name} must be {wanted}")
    n_tokens, n_ids = len(found["output_tokens"]), len(found["output_ids"])
    _need(n_tokens > 0, "output_tokens must not be empty")
    found["words"] = _words(_field(metadata, "words"), n_tokens)
    # Units of a score of one's own are not the tokens, and spell no words, but for a contrast's.
    if found["words"] and "contrast" not in found["parameters"]:
        _need_length("output_ids", found["output_ids"], n_tokens, "output_tokens")
    _need_length(
        "previous_ids", found["previous_ids"], len(found["previous_tokens"]), "previous_tokens"
    )
    found["instruction_tokens"] = metadata.get("instruction_tokens", [])
    _need_list("instruction_tokens", found["instruction_tokens"], str)
    runners_up = metadata.get("runners_up")
    if runners_up is not None:
        _need_list("runners_up", runners_up, str)
        _need(len(runners_up) == _n_probable(found), f"runners_up has {len(runners_up)} entries")
    found["runners_up"] = runners_up
    _check_parameters(found["parameters"], n_tokens, len(found["words"]))
    if "sequence" in found["parameters"]:
        _check_sequence(found["parameters"]["sequence"], n_ids, len(found["previous_ids"]))
    found["settings"] = _settings(metadata)
    return found


def _field(values: Mapping[str, Any], name: str, place: str = "it") -> Any:
    if name not in values:
        raise ArgumentError(f"{place} lacks {name}")
    return values[name]


def _is_whole(value: object) -> bool:
    """A whole number of 64 bits; JSON's may be of any length."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return is_number and -(2**63) <= value < 2**64  # type: ignore[operator]


def _is_number(value: object) -> bool:
    """A number of JSON; NaN is one, too."""
    return _is_whole(value) or isinstance(value, float)


def _is_share(value: Any) -> bool:
    """In [0, 1], or NaN where it is not known."""
    return _is_number(value) and (math.isnan(value) or 0 <= value <= 1)


def _is_finite(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)


# What is one value, with its check and the words for it.
_SINGLE: dict[str, tuple[Callable[[Any], bool], str]] = {
    "text": (lambda value: isinstance(value, str), "a text"),
    "seconds": (lambda value: _is_finite(value) and value > 0, "a number above 0"),
    "seed": (_is_whole, "a whole number"),
    "method": (lambda value: isinstance(value, str), "a text"),
    "model_id": (lambda value: isinstance(value, str), "a text"),
    "parameters": (lambda value: isinstance(value, dict), "an object"),
}


def _words(words: Any, n_tokens: int) -> list[dict[str, Any]]:
    _need(isinstance(words, list), "words must be a list")
    checked = []
    for number, word in enumerate(words):
        place = f"words[{number}]"
        _need(isinstance(word, dict), f"{place} must be an object")
        rows = _field(word, "token_indices", place)
        _need(isinstance(_field(word, "word", place), str), f"{place}: word must be a text")
        _need_rows(f"token_indices of {place}", rows, n_tokens)
        _need(bool(rows), f"token_indices of {place} must not be empty")
        start, end = word.get("start"), word.get("end")
        is_timed = _is_finite(start) and _is_finite(end) and start <= end
        _need(
            is_timed or (start is None and end is None),
            f"start and end of {place} must be seconds in this order, or both null",
        )
        checked.append(
            {"word": word["word"], "token_indices": tuple(rows), "start": start, "end": end}
        )
    return checked


def _check_parameters(parameters: Mapping[str, Any], n_tokens: int, n_words: int) -> None:
    """What is read back of the parameters; the rest is for people."""
    levels = parameters.get("patches_per_level", [])
    _need_list("patches_per_level", levels, int)
    if "reliability" in parameters:
        _check_reliability(parameters, n_tokens, n_words)
    if "contrast" in parameters:
        _check_contrast(parameters["contrast"], n_tokens)


def _check_sequence(sequence: Any, n_ids: int, n_previous: int) -> None:
    _need(isinstance(sequence, dict), "sequence must be an object")
    ids, explained = (_field(sequence, name, "sequence") for name in ("ids", "explained"))
    previous, instruction = (
        _field(sequence, name, "sequence") for name in ("previous", "instruction")
    )
    _need_list("ids of sequence", ids, int)
    _need(all(abs(number) < 2**62 for number in ids), "ids of sequence are out of range")
    _need_rows("explained of sequence", explained, len(ids))
    _need_length("explained of sequence", explained, n_ids, "output_ids")
    for name, positions in (("previous", previous), ("instruction", instruction)):
        if positions is not None or name != "previous":
            _need_rows(f"{name} of sequence", positions, len(ids))
    read = ids[:-1] if previous is None else previous
    _need_length("previous of sequence", read, n_previous, "previous_ids")
    frames = sequence.get("frames", [])  # earlier versions had none
    _need(isinstance(frames, list), "frames of sequence must be a list")
    if frames:
        _need_length("frames of sequence", frames, n_ids, "output_ids")
    for run in frames:
        _need_list("frames of a token", run, int)
        _need(bool(run) and min(run) >= 0, "each token needs frames of its own")


def _check_contrast(contrast: Any, n_tokens: int) -> None:
    _need(isinstance(contrast, dict), "contrast must be an object")
    for name in ("word", "foil", "score"):
        _need(isinstance(_field(contrast, name, "contrast"), str), f"{name} must be a text")
    for name in ("probability", "foil_probability"):  # earlier versions had none
        value = contrast.get(name)
        _need(value is None or (_is_finite(value) and 0 <= value <= 1), f"{name} must be in [0, 1]")
    _need(n_tokens == 1, f"a contrast has one row, not {n_tokens}")


def _check_reliability(parameters: Mapping[str, Any], n_tokens: int, n_words: int) -> None:
    found = parameters["reliability"]
    _need(isinstance(found, dict), "reliability must be an object")
    # Earlier versions called the maps of tokens "spectrogram", and rows of previous tokens
    # "tokens".
    of_maps, of_rows = (
        ("spectrogram", "tokens") if "spectrogram" in found else ("tokens", "previous_tokens")
    )
    lengths = dict.fromkeys((of_maps, "standard_error", of_rows, "instruction"), n_tokens)
    for name, length in {**lengths, "words": n_words}.items():
        if name in ("words", "instruction") and name not in found:  # earlier versions have none
            continue
        values = _field(found, name, "reliability")
        if name in (of_rows, "instruction") and values is None:
            continue
        place = f"{name} of reliability"
        is_right = _is_number if name == "standard_error" else _is_share
        expected = "numbers" if name == "standard_error" else "in [0, 1]"
        _need(
            isinstance(values, list) and all(map(is_right, values)), f"{place} must be {expected}"
        )
        _need(len(values) == length, f"{place} has {len(values)} numbers, expected {length}")
    sentence = _field(found, "sentence", "reliability")
    _need(_is_share(sentence), "sentence of reliability must be in [0, 1]")
    counts = {
        name: _field(parameters, name, "parameters")
        for name in ("n_samples_evaluated", "n_token_samples_evaluated")
    }
    optional = "n_instruction_samples_evaluated"
    counts[optional] = parameters.get(optional, 0)
    for name, count in counts.items():
        is_none = count is None and name.startswith("n_token")
        _need(is_none or (_is_whole(count) and count >= 0), f"{name} must be a count")


def _need(is_right: bool, message: str) -> None:
    if not is_right:
        raise ArgumentError(message)


def _need_list(name: str, values: Any, kind: type[str] | type[int]) -> None:
    is_right = isinstance(values, list) and all(
        _is_whole(value) if kind is int else isinstance(value, str) for value in values
    )
    _need(is_right, f"{name} must be a list of {'texts' if kind is str else 'whole numbers'}")


def _need_rows(name: str, values: Any, length: int) -> None:
    _need_list(name, values, int)
    _need(
        all(0 <= value < length for value in values), f"{name} must lie between 0 and {length - 1}"
    )


def _need_length(name: str, values: Sequence[Any], length: int, other: str) -> None:
    _need(len(values) == length, f"{name} has {len(values)} entries, {other} {length}")


# Settings --------------------------------------------------------------------------------


def _settings(metadata: Mapping[str, Any]) -> Settings:
    """The settings of a file; of one of version 1, what its parameters say."""
    if "settings" in metadata:
        return _as_settings(metadata["settings"])
    _need(metadata["format"] == _FORMATS[0], "it lacks settings")
    old = dict(metadata["parameters"])
    known = {f.name for f in fields(Settings)}
    given = ("feature_mask", "baselines", "design")
    unsaved = {
        name: {"unsaved": f"{name} of one's own", "text": str(old[name])}
        for name in given
        if old.get(name) == "given" or (name == "design" and old.get(name) is not None)
    }
    values = {name: value for name, value in {**old, **unsaved}.items() if name in known}
    if isinstance(values.get("dtype"), str):
        values["dtype"] = {"dtype": values["dtype"]}
    make = Settings.efficient if old.get("scheme") == "efficient" else Settings.paper
    base = make(score=old.get("score"), prior=None)  # which came later
    return _as_settings({**base.to_dict(), **values})


def _as_settings(values: Any) -> Settings:
    _need(isinstance(values, dict), "settings must be an object")
    try:
        return Settings.from_dict(values)
    except Exception as error:  # damaged values raise whatever reads them
        raise ArgumentError(f"settings: {error}") from error
