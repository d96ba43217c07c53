"""What perturbation methods score, and scoring no more than they need."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from torch import Tensor

from captum_spes.forward import KLDivergenceForward, TokenProbabilityForward
from captum_spes.speech.prefixes import PrefixScores
from captum_spes.speech.sides import Run, Side

SCORES = ("kl", "probability", "log_probability")


def score_of_side(side: Side, run: Run) -> Callable[..., Tensor]:
    score = perturbation_score(side.hidden_func, side.inputs, run)
    if side.n_before is None or not isinstance(score, KLDivergenceForward):
        return score
    return PrefixScores(score, side.n_before)


def perturbation_score(
    hidden_func: Callable[..., Tensor], inputs: Tensor | tuple[Tensor, ...], run: Run
) -> Callable[..., Tensor]:
    if run.score in (None, "kl"):
        return KLDivergenceForward(hidden_func, inputs, output_layer=run.output_layer)
    is_log = run.score == "log_probability"
    return TokenProbabilityForward(
        hidden_func, run.token_ids, log=is_log, output_layer=run.output_layer
    )


class Counted:
    """Forward function that counts the inputs that it evaluates."""

    def __init__(self, forward_func: Callable[..., Tensor]) -> None:
        self._forward_func = forward_func
        self.n_evaluated = 0

    def __call__(self, *inputs: Tensor) -> Tensor:
        scores = self._forward_func(*inputs)
        self.n_evaluated += len(scores)
        return scores


class Remembered:
    """Forward function that evaluates every distinct input once."""

    def __init__(self, forward_func: Callable[[Tensor], Tensor]) -> None:
        self._forward_func = forward_func
        self._scores: dict[bytes, Tensor] = {}

    def __call__(self, inputs: Tensor) -> Tensor:
        keys = [_digest(row) for row in inputs]
        missing = {key: i for i, key in enumerate(keys) if key not in self._scores}
        if missing:
            rows = torch.tensor(list(missing.values()), device=inputs.device)
            with torch.no_grad():
                scores = self._forward_func(inputs.index_select(0, rows))
            self._scores.update(zip(missing, scores, strict=True))
        return torch.stack([self._scores[key] for key in keys])


def _digest(row: Tensor) -> bytes:
    return hashlib.blake2b(row.detach().cpu().numpy().tobytes(), digest_size=16).digest()
