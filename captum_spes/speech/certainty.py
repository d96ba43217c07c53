"""How sure the model was of each token."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from captum_spes.speech.models import TargetSequence


class Certainty(NamedTuple):
    """What the model thought of the explained tokens, given the intact speech.

    Attributes:
        probabilities: ``(K,)``: of each token.
        ranks: ``(K,)``: 1 for the likeliest token of all.
        runners_up: the likeliest other token of each.
    """

    probabilities: Tensor
    ranks: Tensor
    runners_up: list[str]

    @classmethod
    def of(cls, adapter: Any, hidden: Tensor, sequence: TargetSequence) -> Certainty:
        """Compute it from the states that ``decode`` returns, a batch of one. A token that is
        written in several frames is told where it is likeliest."""
        with torch.no_grad():
            logits = adapter.output_layer(hidden)[0].cpu().float()
        logits = logits[_likeliest_rows(logits, sequence)]
        ids = sequence.explained_ids[:, None]
        own = logits.gather(1, ids)
        others = logits.scatter(1, ids, -torch.inf)
        return cls(
            probabilities=logits.softmax(-1, dtype=torch.float32).gather(1, ids)[:, 0],
            ranks=1 + (others > own).sum(1),
            runners_up=adapter.token_strings(others.argmax(1)),
        )

    @classmethod
    def of_contrast(cls, word: float, foil: float, name: str) -> Certainty:
        """Of a word beside its foil: which of both is the likelier."""
        return cls(
            probabilities=torch.tensor([word], dtype=torch.float64, device="cpu").exp().float(),
            ranks=torch.tensor([1 + int(foil > word)], device="cpu"),
            runners_up=[name],
        )


def _likeliest_rows(logits: Tensor, sequence: TargetSequence) -> list[int]:
    """Of each token the row of the logits in which it has the largest probability."""
    own = logits.log_softmax(-1).gather(1, sequence.row_ids[:, None])[:, 0].tolist()
    best: dict[int, int] = {}
    for row, token in enumerate(sequence.rows):
        if token not in best or own[row] > own[best[token]]:
            best[token] = row
    return list(best.values())
