"""What is asked of a classifier beside the divergence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from captum_spes.forward.logits import call_logits, output_logits
from captum_spes.forward.scores import OutputLayer, ScoreFunction


@dataclass(frozen=True)
class TargetLogit:
    """The logit of the right class, as the study of arXiv 2505.16406 explained it; a score, see
    :class:`captum_spes.forward.Score`, whose one token is the class.

    Examples::

        >>> TargetLogit()(torch.tensor([[[1.0, 3.0]]]), torch.zeros(1, 2), torch.tensor([1]))
        tensor([[3.]])
    """

    has_gradient = True
    is_per_token = True

    def __call__(self, perturbed: Tensor, reference: Tensor, token_ids: Tensor) -> Tensor:
        """Return ``(batch, 1)``."""
        ids = token_ids.to(perturbed.device).expand(len(perturbed), -1)
        return perturbed.gather(-1, ids[..., None])[..., 0]

    def forward(
        self,
        logits_func: Callable[..., Any],
        inputs: Tensor | tuple[Tensor, ...],
        token_ids: Tensor,
        output_layer: OutputLayer | None = None,
    ) -> ScoreFunction:
        """Return a forward function that compares with nothing, so that no pass is spent on it."""

        def score(*perturbed: Tensor) -> Tensor:
            logits = output_logits(output_layer, call_logits(logits_func, perturbed))
            return self(logits, logits[0], token_ids)

        return score
