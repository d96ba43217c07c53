"""The HDF5 files of the paper's own code."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError, instance_of, optional_library
from captum_spes.io.files import regular_file, whole_file
from captum_spes.maps import group_words
from captum_spes.speech import Settings, SpeechToTextAttributionResult, Word
from captum_spes.speech.models.huggingface import mel_bin_centers

_SPEECH, _TOKENS, _TEXT, _COUNT = "fbank_heatmap", "tgt_embed_heatmap", "tgt_text", "n_masks"
# SentencePiece's mark of a blank, and the name of the end of a sentence, with which a text begins.
_BLANK, _END = "▁", "</s>"
# Of the official models' features: windows of 25 ms, one every 10 ms, from 20 Hz to 8 kHz.
_HOP, _WINDOW, _LOWEST_HZ, _HIGHEST_HZ = 0.01, 0.025, 20.0, 8000.0


def read_official(
    path: str | os.PathLike[str], *others: str | os.PathLike[str]
) -> dict[str, SpeechToTextAttributionResult]:
    r"""
    Read explanations that the paper's code wrote (github.com/hlt-mt/FBK-fairseq).

    Such a file holds maps and the tokens that were fed to the decoder, and neither audio nor
    settings: ``spectrogram`` and ``removed`` of what is returned are 0, which is what that code
    puts in the place of removed cells, and ids of tokens are counted. Measures that hear the
    recording anew, such as deletion, take the audio beside the map.

    Args:

        path (str or path): The file.
        *others (str or path): Further files with the other side of the same explanations, as
                    separate passes over speech and previous tokens write them.

    Returns:
        *dict*: an explanation for each group that has a map of the spectrogram, by its name.
        Words have no times. Frames are 10 ms apart.

    Raises:
        ArgumentError: a file is none of these, two hold the same map, or their texts differ.
        ImportError: h5py is not installed.

    Examples::

        >>> write_official("official.h5", {"0": result})
        >>> results = read_official("official.h5")
        >>> results["0"].output_tokens[-1]
        '</s>'
    """
    h5py = optional_library("h5py", "files of the paper's code", "store")
    groups: dict[str, dict[str, Any]] = {}
    for one in (path, *others):
        instance_of("path", one, (str, os.PathLike), "a path")
        try:
            with (
                regular_file(one, "a file of the paper's code") as raw,
                h5py.File(raw, "r") as file,
            ):
                for name in file:
                    _join(groups.setdefault(name, {}), file[name], f"{one}, {name}")
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ArgumentError(f"{one} is damaged, or no HDF5 file: {error}") from error
    results = {name: _result(name, own) for name, own in groups.items() if _SPEECH in own}
    if not results:
        raise ArgumentError(f"{path} holds no {_SPEECH}: expected a file of the paper's code.")
    return results


def write_official(
    path: str | os.PathLike[str], results: Mapping[str, SpeechToTextAttributionResult]
) -> None:
    r"""
    Write explanations as the paper's code does, to be read by its tools.

    Args:

        path (str or path): The file; an existing one is replaced.
        results (dict): Explanations by name; the paper's code takes numbers as names.

    Raises:
        ArgumentError: there is none, or one is a contrast, or of tokens that are not fed one by
            one.
        ImportError: h5py is not installed.
        OSError: the file cannot be written.

    Examples::

        >>> write_official("official.h5", {"0": result})
    """
    h5py = optional_library("h5py", "files of the paper's code", "store")
    instance_of("results", results, Mapping, "a dict of explanations by name")
    if not results:
        raise ArgumentError("results must hold at least one explanation.")
    prepared = {str(name): _datasets(name, result) for name, result in results.items()}
    held = io.BytesIO()
    with h5py.File(held, "w") as file:
        for name, datasets in prepared.items():
            group = file.create_group(name)
            for key, value in datasets.items():
                dtype = h5py.string_dtype() if key == _TEXT else None
                group.create_dataset(key, data=value, dtype=dtype)
    with whole_file(Path(path)) as target:
        target.write(held.getvalue())


# Reading --------------------------------------------------------------------------------


def _join(known: dict[str, Any], group: Any, place: str) -> None:
    if not hasattr(group, "keys") or _TEXT not in group:
        raise ArgumentError(f"{place} lacks {_TEXT}: expected a file of the paper's code.")
    text = [bytes(token).decode("utf-8") for token in group[_TEXT][()]]
    if known.setdefault(_TEXT, text) != text:
        raise ArgumentError(f"{place} has another text than the file before it: {text}.")
    for key in (_SPEECH, _TOKENS):
        if key in group and key in known:
            raise ArgumentError(f"{place} has a {key}, and so has the file before it.")
        if key in group:
            known[key] = np.asarray(group[key][()], dtype=np.float32)
            known[f"{_COUNT} of {key}"] = int(group[_COUNT][()]) if _COUNT in group else None


def _result(name: str, own: Mapping[str, Any]) -> SpeechToTextAttributionResult:
    fed, maps = own[_TEXT], own[_SPEECH]
    count = len(fed)
    if maps.ndim != 3 or len(maps) != count:
        raise ArgumentError(f"{name}: {_SPEECH} must be ({count}, time, freq), got {maps.shape}.")
    tokens = [token.replace(_BLANK, " ") for token in (*fed[1:], _END)]
    n_frames, n_bins = maps.shape[1:]
    cells, ids = torch.zeros(n_frames, n_bins), list(range(count))
    spelled = tokens[:-1]
    n_samples, n_token_samples = (own.get(f"{_COUNT} of {key}") for key in (_SPEECH, _TOKENS))
    return SpeechToTextAttributionResult(
        output_tokens=tokens,
        previous_tokens=[token.replace(_BLANK, " ") for token in fed],
        spectrogram=cells,
        removed=cells.clone(),
        feature_masks=torch.zeros(1, n_frames, n_bins, dtype=torch.int64),
        spectrogram_attr=torch.from_numpy(maps),
        token_attr=_causal(name, own.get(_TOKENS), count),
        frame_times=torch.arange(n_frames) * _HOP + _WINDOW / 2,
        mel_frequencies=mel_bin_centers(n_bins, _LOWEST_HZ, _HIGHEST_HZ, "kaldi"),
        words=[Word(word, tuple(rows)) for word, rows in group_words(spelled)],
        text="".join(spelled).strip(),
        output_ids=ids,
        previous_ids=ids,
        seconds=(n_frames - 1) * _HOP + _WINDOW,
        seed=0,
        method="SPES",
        model_id="the paper's code",
        parameters={"n_samples_of_masks": n_samples, "n_token_samples_of_masks": n_token_samples},
        probabilities=None,
        ranks=None,
        runners_up=None,
        settings=Settings(),
    )


def _causal(name: str, maps: NDArray[np.float32] | None, count: int) -> Tensor | None:
    """What is not before the explained token is NaN here, and 0 there."""
    if maps is None:
        return None
    if maps.shape != (count, count, 1):
        raise ArgumentError(f"{name}: {_TOKENS} must be ({count}, {count}, 1), got {maps.shape}.")
    is_later = torch.ones(count, count, dtype=torch.bool).triu(1)
    return torch.from_numpy(maps[:, :, 0]).masked_fill(is_later, torch.nan)


# Writing --------------------------------------------------------------------------------


def _datasets(name: object, result: SpeechToTextAttributionResult) -> dict[str, Any]:
    instance_of(f"results[{name!r}]", result, SpeechToTextAttributionResult, "an explanation")
    count, before = len(result.output_tokens), len(result.previous_tokens)
    if "contrast" in result.parameters or before < count:
        raise ArgumentError(
            f"{name}: the paper's files hold explanations of a whole output, whose decoder reads "
            "one token before each that it writes."
        )
    # The tokens of a prompt but its last, which stands for the begin of the sentence there.
    prompt = before - count
    fed = [_END, *(token.replace(" ", _BLANK) for token in result.previous_tokens[prompt + 1 :])]
    found: dict[str, Any] = {
        _SPEECH: result.spectrogram_attr.detach().cpu().float().numpy(),
        _TEXT: fed,
        _COUNT: np.int64(_n_masks(result)),
    }
    if result.token_attr is not None:
        attr = result.token_attr[:, prompt:].detach().cpu().float().nan_to_num(0.0)
        found[_TOKENS] = attr.numpy()[:, :, None]
    return found


def _n_masks(result: SpeechToTextAttributionResult) -> int:
    parameters = result.parameters
    known = ("n_samples_of_masks", "n_samples_evaluated", "n_samples")
    return next((int(parameters[key]) for key in known if parameters.get(key) is not None), 0)
