"""Scores of tokens that a model writes in several frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_spes.forward.scores import OutputLayer, Score, score_forward


def mean_by_token(values: Tensor, tokens: Sequence[int]) -> Tensor:
    r"""
    Average over the frames of each token.

    Args:

        values (Tensor): ``(batch, frames)``.
        tokens (sequence of int): For each frame the token that it belongs to: 0, 1, ...

    Returns:
        *Tensor* of shape ``(batch, tokens)``.

    Examples::

        >>> mean_by_token(torch.tensor([[1.0, 3.0, 5.0]]), (0, 0, 1))
        tensor([[2., 5.]])
    """
    index = torch.tensor(tokens, device=values.device)
    summed = values.new_zeros(len(values), int(index.max()) + 1).index_add(1, index, values)
    return summed / torch.bincount(index)


@dataclass(frozen=True)
class OverFrames:
    r"""
    A score of models without autoregression (CTC), which write a token in a run of frames: the
    mean of another score over them.

    Args:

        score (Score): Is given the logits of all frames that belong to tokens, with the id of its
                    token for each.
        tokens (tuple of int): For each frame the token that it belongs to: 0, 1, ...

    Examples::

        >>> logits = torch.zeros(1, 3, 4)
        >>> OverFrames(TokenProbability(), (0, 0, 1))(logits, logits[0], torch.tensor([1, 1, 3]))
        tensor([[0.2500, 0.2500]])
    """

    score: Score
    tokens: tuple[int, ...]

    @property
    def is_divergence(self) -> bool:
        """That of the score."""
        return bool(getattr(self.score, "is_divergence", False))

    @property
    def has_gradient(self) -> bool:
        """That of the score."""
        return bool(getattr(self.score, "has_gradient", True))

    def __call__(self, perturbed: Tensor, reference: Tensor, token_ids: Tensor) -> Tensor:
        """Return ``(batch, tokens)``; a score with other units than frames keeps them."""
        return self._averaged(self.score(perturbed, reference, token_ids))

    def forward(
        self,
        logits_func: Callable[..., Any],
        inputs: Tensor | tuple[Tensor, ...],
        token_ids: Tensor,
        output_layer: OutputLayer | None = None,
    ) -> Callable[..., Tensor]:
        """The score's own forward function, averaged."""
        own = score_forward(self.score, logits_func, inputs, token_ids, output_layer)
        return lambda *arguments: self._averaged(own(*arguments))

    def _averaged(self, scores: Tensor) -> Tensor:
        is_by_frame = scores.shape[1] == len(self.tokens)
        return mean_by_token(scores, self.tokens) if is_by_frame else scores
