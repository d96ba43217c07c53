"""How much of saliency attention accounts for, over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError, optional_library

if TYPE_CHECKING:
    from pandas import DataFrame


def correlation_in_time(
    attention: Any, saliency: Mapping[str, Any], tokens: Sequence[str] | None = None
) -> DataFrame:
    r"""
    How much of saliency in time attention accounts for, token by token.

    Args:

        attention (Tensor or result): ``(K, time)``, such as
                    :meth:`captum_spes.analysis.ContextMixing.time_map`; or an explanation, whose
                    maps are averaged over mel bins.
        saliency (mapping of str to Tensor or result): Maps of the same tokens and frames by name.
        tokens (sequence of str, optional): Their names.
                    Default: None, numbers from 0

    Returns:
        *DataFrame*, one row for each token and name: "token", "saliency", "pearson", "spearman",
        each in [-1, 1], and "share": the part in [0, 1] of the saliency's variance over time that a
        rising line through attention explains, ``max(pearson, 0) ** 2``. NaN where a map is
        constant.

    Raises:
        ArgumentError: shapes differ, a value is not finite, or there is nothing to compare.
        ArgumentTypeError: something else is given.
        ImportError: pandas is not installed.

    Examples::

        >>> mixing = context_mixing(explainer, "speech.flac", target="the cat")
        >>> states = state_saliency(explainer, "speech.flac", target="the cat", n_samples=50)
        >>> maps = {"input": result, "states": states.time_map()}
        >>> table = correlation_in_time(mixing.time_map("attention"), maps, mixing.targets)
        >>> list(table.columns)
        ['token', 'saliency', 'pearson', 'spearman', 'share']
    """
    pandas = optional_library("pandas", "a table", "analysis")
    if not isinstance(saliency, Mapping):
        raise ArgumentTypeError(
            f"saliency must be a dict of maps by name, got {type(saliency).__name__}."
        )
    given = _over_time("attention", attention)
    maps = {str(name): _over_time(str(name), own) for name, own in saliency.items()}
    names = [str(number) for number in range(len(given))] if tokens is None else list(tokens)
    if not maps or not given.size:
        raise ArgumentError("there is nothing to compare: no maps, no tokens or no frames.")
    for name, own in maps.items():
        if own.shape != given.shape:
            raise ArgumentError(
                f"{name} has maps of shape {own.shape}, attention of {given.shape}: both must be "
                "(tokens, frames) of the same output and recording."
            )
    if len(names) != len(given):
        raise ArgumentError(f"tokens must be {len(given)} names, got {len(names)}.")
    rows = []
    for name, own in maps.items():
        for token, one, other in zip(names, given, own, strict=True):
            linear, ranked = (
                _pearson(one, other),
                _pearson(scipy.stats.rankdata(one), scipy.stats.rankdata(other)),
            )
            share = max(linear, 0.0) ** 2 if np.isfinite(linear) else np.nan
            rows.append((token, name, linear, ranked, share))
    columns = ["token", "saliency", "pearson", "spearman", "share"]
    frame: DataFrame = pandas.DataFrame(rows, columns=columns)
    return frame


def _over_time(name: str, maps: Any) -> NDArray[np.float64]:
    is_explained = hasattr(maps, "spectrogram_attr")
    found = maps.spectrogram_attr if is_explained else maps
    if not isinstance(found, Tensor | np.ndarray):
        raise ArgumentTypeError(
            f"{name} must be a Tensor (tokens, frames) or an explanation, got "
            f"{type(maps).__name__}."
        )
    values = torch.as_tensor(found).detach().cpu().double().numpy()
    if is_explained:
        values = values.mean(-1)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ArgumentError(
            f"{name} must be finite and of shape (tokens, frames), got {values.shape}."
        )
    return np.asarray(values, dtype=np.float64)


def _pearson(one: NDArray[Any], other: NDArray[Any]) -> float:
    one, other = one - one.mean(), other - other.mean()
    sizes = float(np.sqrt((one**2).sum() * (other**2).sum()))
    # Rounding leaves something of a constant.
    return float((one * other).sum() / sizes) if sizes > np.finfo(np.float64).tiny else np.nan
