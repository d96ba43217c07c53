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

    Returns:
        *Maps* of shapes ``(spans, time, freq)`` and ``(spans, previous tokens)``.

    Raises:
        ArgumentError: a span is empty or holds an index out of range.

    Examples::

        >>> span_mean(torch.tensor([[[0.0]], [[1.0]], [[3.0]]]), None, [[0], [1, 2]])[0]
        tensor([[[0.]],
        <BLANKLINE>
                [[2.]]])
    """
    check_maps(spectrogram_attr, token_attr)
    n_tokens = len(spectrogram_attr)
    spans = [
        [
            whole_number("one of the token indices", index, 0)
            for index in several("each of spans", span, "a sequence of token indices")
        ]
        for span in several("spans", spans, "a sequence of sequences of token indices")
    ]
    for span in spans:
        if not span or max(span) >= n_tokens:
            raise ArgumentError(f"every span needs token indices in [0, {n_tokens}), got {span}.")
    if not spans:
        tokens = None if token_attr is None else token_attr[:0]
        return Maps(spectrogram_attr[:0], tokens)
    spectrogram = torch.stack([spectrogram_attr[list(span)].mean(0) for span in spans])
    if token_attr is None:
        return Maps(spectrogram, None)
    return Maps(spectrogram, torch.stack([token_attr[list(s)].mean(0) for s in spans]))
