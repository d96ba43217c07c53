"""Scores as objects: what is measured on the model's output before and after a perturbation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError, function, instance_of, one_or_tuple
from captum_spes.forward.ctc import CTC
from captum_spes.forward.kl_divergence import KLDivergenceForward, divergence_scores
from captum_spes.forward.logits import call_logits, output_logits
from captum_spes.forward.token_probability import TokenProbabilityForward

# A forward function of Captum's: inputs to (batch, units).
ScoreFunction: TypeAlias = Callable[..., Tensor]
OutputLayer: TypeAlias = Callable[[Tensor], Tensor]


@runtime_checkable
class Score(Protocol):
    r"""
    What perturbations are scored by: any function of logits.

    Wherever ``score=`` is taken, a plain function will do. A class may also have:

    - ``is_divergence`` (bool): impacts are never negative, so that logarithms can be taken of
      them (:class:`captum_spes.attr.GaussianProcess`).
    - ``has_gradient`` (bool): whether gradient methods can differentiate it at the unperturbed
      input; of a plain function this is assumed.
    - ``is_per_token`` (bool): whether it has one unit for each explained token; a score that does
      not say is asked once.
    - ``forward(logits_func, inputs, token_ids, output_layer=None)``: returns a forward function of
      its own, faster than the general one.
    - ``reads_all_frames`` (bool): whether it is given the logits of all frames of a CTC model,
      blanks among them, and not only those of the explained tokens.
    - ``labels(tokens)``: names of its units, where they are not the explained tokens.

    Examples::

        >>> def margin(perturbed, reference, token_ids):
        ...     '''How far the token is ahead of the best other one.'''
        ...     ids = token_ids.expand(len(perturbed), -1)[..., None]
        ...     own = perturbed.gather(-1, ids)[..., 0]
        ...     return own - perturbed.scatter(-1, ids, -torch.inf).amax(-1)
        >>> result = explainer.attribute("speech.flac", score=margin, n_samples=20, seed=0)
    """

    def __call__(self, perturbed: Tensor, reference: Tensor, token_ids: Tensor) -> Tensor:
        """Score perturbed logits.

        Args:
            perturbed (Tensor): ``(batch, tokens, vocab)``, logits of perturbed inputs.
            reference (Tensor): ``(tokens, vocab)``, those of the unperturbed input.
            token_ids (Tensor): ``(tokens,)``, the explained tokens.

        Returns:
            *Tensor* of shape ``(batch, units)``, one unit per token or as many as the score has;
            larger = nearer to the reference.
        """
        ...


@dataclass(frozen=True)
class KL:
    r"""
    The negative Kullback-Leibler divergence of the whole output distribution from the reference
    (arXiv 2411.01710, section 4.2), in nats, one per token; see
    :class:`captum_spes.KLDivergenceForward`.

    Examples::

        >>> logits = torch.randn(3, 2, 5)  # of three perturbed inputs and two tokens
        >>> KL()(logits, logits[0], torch.tensor([1, 4]))[0]
        tensor([0., 0.])
    """

    is_divergence = True
    has_gradient = False
    is_per_token = True

    def __call__(self, perturbed: Tensor, reference: Tensor, token_ids: Tensor) -> Tensor:
        """Return ``(batch, tokens)``, at most 0; see :class:`Score`."""
        return divergence_scores(perturbed, reference)

    def forward(
        self,
        logits_func: Callable[..., Any],
        inputs: Tensor | tuple[Tensor, ...],
        token_ids: Tensor,
        output_layer: OutputLayer | None = None,
    ) -> KLDivergenceForward:
        """Return the forward function that needs no probabilities of perturbed logits."""
        return KLDivergenceForward(logits_func, inputs, output_layer=output_layer)


@dataclass(frozen=True)
class TokenProbability:
    r"""
    The probability of each explained token, or its logarithm; see
    :class:`captum_spes.TokenProbabilityForward`.

    Args:

        log (bool, optional): Whether to take the natural logarithm, which is what gradient
                    methods differentiate.
                    Default: False, the paper's ablation without the divergence

    Examples::

        >>> logits = torch.zeros(1, 2, 4)
        >>> TokenProbability()(logits, logits[0], torch.tensor([1, 3]))
        tensor([[0.2500, 0.2500]])
    """

    log: bool = False

    is_divergence = False
    has_gradient = True
    is_per_token = True

    def __call__(self, perturbed: Tensor, reference: Tensor, token_ids: Tensor) -> Tensor:
        """Return ``(batch, tokens)``; see :class:`Score`."""
        ids = token_ids.to(perturbed.device)
        return TokenProbabilityForward(lambda logits: logits, ids, self.log)(perturbed)

    def forward(
        self,
        logits_func: Callable[..., Any],
        inputs: Tensor | tuple[Tensor, ...],
        token_ids: Tensor,
        output_layer: OutputLayer | None = None,
    ) -> TokenProbabilityForward:
        """Return the forward function that makes logits of one example at a time."""
        return TokenProbabilityForward(
            logits_func, token_ids, log=self.log, output_layer=output_layer
        )


# Names of scores, in Python and on the command line.
SCORES: dict[str, Score] = {
    "kl": KL(),
    "probability": TokenProbability(),
    "log_probability": TokenProbability(log=True),
    "ctc": CTC(),
}


class ScoreForward:
    """A forward function that scores logits by any function of them.

    Args:

        score (Score): The function.
        logits_func (Callable): ``(*inputs)`` to ``(batch, tokens, vocab)``, or hidden states.
        inputs (Tensor or tuple[Tensor, ...]): The unperturbed inputs, a batch of one.
        token_ids (Tensor): ``(tokens,)``, the explained tokens.
        output_layer (Callable, optional): Turns hidden states into logits.
                    Default: None

    Raises:
        ArgumentError: ``inputs`` are not a batch of one.

    Examples::

        >>> model = torch.nn.Linear(4, 10)
        >>> x = torch.randn(1, 4)
        >>> forward = ScoreForward(KL(), lambda x: model(x)[:, None], x, torch.tensor([3]))
        >>> forward(x).shape
        torch.Size([1, 1])
    """

    def __init__(
        self,
        score: Score,
        logits_func: Callable[..., Any],
        inputs: Tensor | tuple[Tensor, ...],
        token_ids: Tensor,
        output_layer: OutputLayer | None = None,
    ) -> None:
        function("score", score)
        instance_of("token_ids", token_ids, Tensor, "a Tensor")
        self._score, self._logits_func, self._output_layer = score, logits_func, output_layer
        tensors = one_or_tuple("inputs", inputs, Tensor, "a Tensor or a tuple of Tensors")
        with torch.no_grad():
            reference = output_logits(output_layer, call_logits(logits_func, tensors))
        if len(reference) != 1:
            raise ArgumentError(
                f"a score needs a batch of one unperturbed input, got {len(reference)}."
            )
        self._reference = reference[0]
        self._token_ids = token_ids.to(reference.device)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Return ``(batch, units)``, float32 or float64."""
        states = call_logits(self._logits_func, inputs)
        # Example by example: the logits of a large batch are by far the largest array.
        return torch.cat([self._of_one(states[i : i + 1]) for i in range(len(states))])

    def _of_one(self, states: Tensor) -> Tensor:
        logits = output_logits(self._output_layer, states)
        scores = self._score(logits, self._reference, self._token_ids)
        if not isinstance(scores, Tensor) or scores.dim() != 2 or len(scores) != len(logits):
            found = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ArgumentError(
                f"the score {score_name(self._score)} must return a Tensor of shape (batch, "
                f"units), batch = {len(logits)}, got {found}."
            )
        return scores


def score_forward(
    score: Score,
    logits_func: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    token_ids: Tensor,
    output_layer: OutputLayer | None = None,
) -> ScoreFunction:
    """Return a forward function of Captum's for a score: its own, or the general one."""
    own = getattr(score, "forward", None)
    if own is not None:
        forward: ScoreFunction = own(logits_func, inputs, token_ids, output_layer)
        return forward
    return ScoreForward(score, logits_func, inputs, token_ids, output_layer)


def as_score(score: object) -> Score:
    """Return a score by name, or as it is; raise where it is neither."""
    if isinstance(score, str):
        if score not in SCORES:
            raise ArgumentError(
                f"score must be one of {', '.join(SCORES)} or a function of logits, got {score!r}."
            )
        return SCORES[score]
    if isinstance(score, type) or not isinstance(score, Score):
        raise ArgumentTypeError(
            f"score must be one of {', '.join(SCORES)}, an object such as KL(), or a function "
            f"(perturbed, reference, token_ids) -> (batch, units); got {score!r}."
        )
    return score


def score_name(score: object) -> str:
    """The name of a score: that on the command line, or that of its function or class."""
    for name, known in SCORES.items():
        if score == known:
            return name
    return getattr(score, "__name__", type(score).__name__)


def is_divergence(score: object) -> bool:
    """Whether the impacts by a score are never negative."""
    return bool(getattr(score, "is_divergence", False))
