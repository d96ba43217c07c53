"""The probability of the whole output of a model without autoregression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from captum_spes.errors import ArgumentError


@dataclass(frozen=True)
class CTC:
    r"""
    The log-probability of the whole output of a CTC model, over all paths that spell it
    (forward-backward): minus :func:`torch.nn.functional.ctc_loss`, in nats, one unit for the
    output. A token that moves by a frame loses nothing, as it does by the divergence of each frame.

    Args:

        blank (int, optional): The id of the blank.
                    Default: None, the model's own, where the score is given by
                    ``SpeechToTextAttribution``

    Raises:
        ArgumentError: it is called without a blank.

    Examples::

        >>> logits = torch.zeros(1, 3, 2)  # three frames, a blank and a letter
        >>> CTC(blank=0)(logits, logits[0], torch.tensor([1]))  # six of eight paths
        tensor([[-0.2877]])
    """

    blank: int | None = None

    is_divergence = False
    has_gradient = True
    is_per_token = False
    reads_all_frames = True

    def __call__(self, perturbed: Tensor, reference: Tensor, token_ids: Tensor) -> Tensor:
        """Return ``(batch, 1)``; ``perturbed`` are logits of all frames, ``token_ids`` the output's
        tokens."""
        if self.blank is None:
            raise ArgumentError("CTC() knows no blank: give its id, for example CTC(blank=0).")
        count, n_frames, _ = perturbed.shape
        loss = functional.ctc_loss(
            perturbed.float().log_softmax(-1).transpose(0, 1),
            token_ids.to(perturbed.device).expand(count, -1),
            torch.full((count,), n_frames),
            torch.full((count,), len(token_ids)),
            blank=self.blank,
            reduction="none",
        )
        return -loss[:, None]

    def labels(self, tokens: Sequence[str]) -> list[str]:
        """The name of its one unit: the output."""
        return ["".join(tokens).strip()]
