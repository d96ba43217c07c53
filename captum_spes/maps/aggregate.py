"""From maps of tokens to maps of sentences, words and other spans."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, several, whole_number
from captum_spes.maps.normalize import Maps, check_maps


def sentence_mean(spectrogram_attr: Tensor, token_attr: Tensor | None = None) -> Maps:
    r"""
    Average the maps of all tokens, end of sentence included.

    A previous token counts as 0 for the tokens that it does not precede, so that a late
    token, which can explain few, does not outweigh the others.

    Args:

        spectrogram_attr (Tensor): ``(tokens, time, freq)``, usually normalised.
        token_attr (Tensor, optional): ``(tokens, previous tokens)``, NaN where invalid.
                    Default: None

    Returns:
        *Maps* of shapes ``(time, freq)`` and ``(previous tokens,)``.

    Examples::

        >>> sentence_mean(torch.tensor([[[0.0, 1.0]], [[1.0, 1.0]]])).spectrogram_attr
        tensor([[0.5000, 1.0000]])
    """
    check_maps(spectrogram_attr, token_attr)
    tokens = None if token_attr is None else torch.nan_to_num(token_attr, nan=0.0).mean(0)
    return Maps(spectrogram_attr.mean(0), tokens)


def span_mean(
    spectrogram_attr: Tensor,
    token_attr: Tensor | None,
    spans: Sequence[Sequence[int]],
    previous_spans: Sequence[Sequence[int]] | None = None,
) -> Maps:
    r"""
    Average the maps of the tokens of each span, for example of each word
    (arXiv 2411.01710, section 8.1).

    Args:

        spectrogram_attr (Tensor): ``(tokens, time, freq)``.
        token_attr (Tensor or None): ``(tokens, previous tokens)``, NaN where invalid. For a
                    span only the tokens before its first token are valid: those inside it
                    do not explain it.
        spans (sequence of sequence of int): Token indices of each span, none empty.
        previous_spans (sequence of sequence of int, optional): Indices of previous tokens whose
                    columns are averaged, too. A span of which one token is not before the
                    explained one is invalid.
                    Default: None, a column for each previous token

    Returns:
        *Maps* of shapes ``(spans, time, freq)`` and ``(spans, previous tokens)``, or
        ``(spans, previous spans)``.

    Raises:
        ArgumentError: a span is empty or holds an index out of range.

    Examples::

        >>> span_mean(torch.tensor([[[0.0]], [[1.0]], [[3.0]]]), None, [[0], [1, 2]])[0]
        tensor([[[0.]],
        <BLANKLINE>
                [[2.]]])
    """
    check_maps(spectrogram_attr, token_attr)
    rows = _spans("spans", spans, len(spectrogram_attr))
    spectrogram = _means(spectrogram_attr, rows)
    if token_attr is None:
        return Maps(spectrogram, None)
    tokens = _means(token_attr, rows)
    if previous_spans is not None:
        columns = _spans("previous_spans", previous_spans, token_attr.shape[1])
        tokens = _means(tokens.T, columns).T.contiguous()
    return Maps(spectrogram, tokens)


def _spans(name: str, spans: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    """Spans as lists, checked: each holds indices of ``count`` tokens."""
    checked = [
        [
            whole_number("one of the token indices", index, 0)
            for index in several(f"each of {name}", span, "a sequence of token indices")
        ]
        for span in several(name, spans, "a sequence of sequences of token indices")
    ]
    for span in checked:
        if not span or max(span) >= count:
            raise ArgumentError(
                f"every one of {name} needs token indices in [0, {count}), got {span}."
            )
    return checked


def _means(values: Tensor, spans: list[list[int]]) -> Tensor:
    return torch.stack([values[span].mean(0) for span in spans]) if spans else values[:0]
