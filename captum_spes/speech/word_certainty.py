"""How sure the model was of each word."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from captum_spes.speech.certainty import Certainty


def word_certainty(
    tokens: Certainty, spelled: Sequence[str], words: Sequence[Sequence[int]]
) -> Certainty:
    """From the certainty of tokens that of words.

    Args:
        tokens: how sure the model was of each token.
        spelled: the tokens.
        words: the tokens of each word.
    """
    rows = [sorted(word) for word in words]
    weakest = [_weakest(tokens, word) for word in rows]
    return Certainty(
        probabilities=_vector(
            [float(tokens.probabilities[word].double().prod()) for word in rows], torch.float32
        ),
        ranks=_vector([int(tokens.ranks[row]) for row in weakest], torch.int64),
        runners_up=[
            # With the beginning of the word, without which "op" for "ep" tells nothing.
            "".join(spelled[before] for before in word if before < row) + tokens.runners_up[row]
            for word, row in zip(rows, weakest, strict=True)
        ],
    )


def _weakest(tokens: Certainty, rows: Sequence[int]) -> int:
    """The first of the tokens with the worst rank, and of these with the lowest probability."""
    return min(rows, key=lambda row: (-int(tokens.ranks[row]), float(tokens.probabilities[row])))


def _vector(values: list[float] | list[int], dtype: torch.dtype) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype, device="cpu")
