"""Scoring perturbed previous tokens without scoring any beginning of them twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.forward import KLDivergenceForward

# Scores that are kept, some 400 bytes each with a hundred previous tokens.
MOST_SCORES = 2**17


class PrefixScores:
    """Forward function of previous tokens that scores every distinct prefix once.

    A token is written only from what precedes it, so perturbed inputs that begin alike have the
    same scores up to where they first differ. Of the scores of two thousand samples, 70 % are
    distinct with 30 tokens and a quarter with 12.

    Args:
        score: Scores ``(batch, previous tokens)``, with an output layer and a reference of one
            example.
        n_before: How many previous tokens are before each token, in ascending order.
        most_scores: About how many scores are kept.
    """

    def __init__(
        self,
        score: KLDivergenceForward,
        n_before: Sequence[int],
        most_scores: int = MOST_SCORES,
    ) -> None:
        self._score = score
        self._n_before = n_before
        self._most_scores = most_scores
        self._known: dict[bytes, float] = {}

    @property
    def n_known(self) -> int:
        """Scores that are kept."""
        return len(self._known)

    def __call__(self, previous: Tensor) -> Tensor:
        """Return ``(batch, tokens)``, float32."""
        if self.n_known > self._most_scores:
            self._known.clear()
        prefixes = [self._prefixes(row) for row in previous.cpu().numpy()]
        new = self._new(prefixes)
        if new:
            rows = torch.tensor(list(new), device=previous.device)
            hidden = self._score.logits_func(previous.index_select(0, rows))
            last = [
                states[len(states) - n :] for states, n in zip(hidden, new.values(), strict=True)
            ]
            for row, scores in zip(new, self._score.of_last_tokens(last), strict=True):
                self._known.update(zip(prefixes[row][-new[row] :], scores.tolist(), strict=True))
        table = [[self._known[prefix] for prefix in own] for own in prefixes]
        return torch.tensor(table, dtype=torch.float32, device=previous.device)

    def _prefixes(self, row: NDArray[Any]) -> list[bytes]:
        content = row.tobytes()
        return [content[: n * row.itemsize] for n in self._n_before]

    def _new(self, prefixes: list[list[bytes]]) -> dict[int, int]:
        """For each row with tokens that no earlier one has scored: how many, counted from its
        end."""
        new, seen = {}, set[bytes]()
        for row, own in enumerate(prefixes):
            unknown = [prefix for prefix in own if prefix not in self._known and prefix not in seen]
            if unknown:
                new[row] = len(unknown)
                seen.update(unknown)
        # Equally many together, as they are compared together.
        return dict(sorted(new.items(), key=lambda item: item[1]))
