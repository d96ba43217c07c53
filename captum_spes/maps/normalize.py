"""Normalisation of maps so that tokens can be compared (arXiv 2411.01710, section 4.3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, instance_of


class Maps(NamedTuple):
    """The two sides of an explanation.

    Attributes:
        spectrogram_attr: ``(tokens, time, freq)``, or without the first dimension for a
            whole sentence.
        token_attr: ``(tokens, previous tokens)`` with NaN where a token is not before the
            explained one, or without the first dimension; None where there is none.
    """

    spectrogram_attr: Tensor
    token_attr: Tensor | None


def standardize(spectrogram_attr: Tensor, token_attr: Tensor | None = None) -> Maps:
    r"""
    Standardise each map of each token on its own: subtract the mean, divide by the
    standard deviation (z-score, with n - 1).

    A constant map, or one with a single cell, becomes 0. Computed in float64, because
    E[x^2] - E[x]^2 in float32 loses maps whose mean is large.

    Args:

        spectrogram_attr (Tensor): ``(tokens, time, freq)``.
        token_attr (Tensor, optional): ``(tokens, previous tokens)``, NaN where invalid.
                    Default: None

    Returns:
        *Maps* of the same shapes and dtypes; NaN stays where it was.

    Raises:
        ArgumentError: the shapes do not fit each other.

    Examples::

        >>> standardize(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])).spectrogram_attr
        tensor([[[-1.1619, -0.3873],
                 [ 0.3873,  1.1619]]])
    """
    check_maps(spectrogram_attr, token_attr)
    standardized = _z_score(spectrogram_attr.flatten(1)).reshape(spectrogram_attr.shape)
    return Maps(standardized, None if token_attr is None else _z_score(token_attr))


def paired_min_max(spectrogram_attr: Tensor, token_attr: Tensor | None = None) -> Maps:
    r"""
    Scale both maps of each token together to [0, 1] by their joint minimum and maximum.

    A token whose maps are constant becomes 0.

    Args:

        spectrogram_attr (Tensor): ``(tokens, time, freq)``.
        token_attr (Tensor, optional): ``(tokens, previous tokens)``, NaN where invalid.
                    Default: None

    Returns:
        *Maps* of the same shapes and dtypes; NaN stays where it was.

    Raises:
        ArgumentError: the shapes do not fit each other.

    Examples::

        >>> maps = paired_min_max(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[4.0]]))
        >>> maps.spectrogram_attr, maps.token_attr
        (tensor([[[0.0000, 0.2500]]]), tensor([[1.]]))
    """
    check_maps(spectrogram_attr, token_attr)
    sides = [spectrogram_attr.flatten(1)] + ([] if token_attr is None else [token_attr])
    low = torch.stack([_valid(side, torch.inf).amin(1) for side in sides]).amin(0)
    high = torch.stack([_valid(side, -torch.inf).amax(1) for side in sides]).amax(0)
    span = torch.where(high > low, high - low, torch.ones_like(low))
    low = torch.where(torch.isfinite(low), low, torch.zeros_like(low))
    scaled = [((side - low[:, None]) / span[:, None]).to(side.dtype) for side in sides]
    spectrogram = scaled[0].reshape(spectrogram_attr.shape)
    return Maps(spectrogram, None if token_attr is None else scaled[1])


def check_maps(spectrogram_attr: Tensor, token_attr: Tensor | None) -> None:
    """Raise where the two sides of an explanation are no Tensors, or do not fit each other."""
    instance_of("spectrogram_attr", spectrogram_attr, Tensor, "a Tensor (tokens, time, freq)")
    if token_attr is not None:
        instance_of("token_attr", token_attr, Tensor, "a Tensor (tokens, previous tokens) or None")
    if spectrogram_attr.dim() != 3 or 0 in spectrogram_attr.shape:
        raise ArgumentError(
            "spectrogram_attr must be (tokens, time, freq) and not empty, got shape "
            f"{tuple(spectrogram_attr.shape)}."
        )
    if token_attr is not None and (
        token_attr.dim() != 2 or len(token_attr) != len(spectrogram_attr)
    ):
        raise ArgumentError(
            "token_attr must be (tokens, previous tokens) with as many tokens as "
            f"spectrogram_attr ({len(spectrogram_attr)}), got shape {tuple(token_attr.shape)}."
        )


def _valid(values: Tensor, fill: float) -> Tensor:
    return torch.where(torch.isnan(values), fill, values)


def _z_score(rows: Tensor) -> Tensor:
    if len(rows) > 1:  # float64 copies of one row at a time: maps of many tokens are large
        return torch.cat([_z_score(row[None]) for row in rows])
    values = rows.to(torch.float64)
    is_valid = ~torch.isnan(values)
    count = is_valid.sum(1, keepdim=True)
    mean = _valid(values, 0.0).sum(1, keepdim=True) / count.clamp(min=1)
    centered = values - mean
    variance = _valid(centered, 0.0).square().sum(1, keepdim=True) / (count - 1).clamp(min=1)
    deviation = variance.sqrt()
    # The deviation of equal values is rounding noise in proportion to them, not exactly 0.
    noise = 1e-12 * mean.abs()
    scores = torch.where(deviation > noise, centered / deviation, centered * 0.0)
    return scores.to(rows.dtype)
