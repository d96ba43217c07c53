"""Scores that compare the model's output distribution before and after a perturbation."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from captum_spes.errors import ArgumentError, function, one_or_tuple, warn_caller
from captum_spes.forward.logits import call_logits, output_logits

_LOG2_E = math.log2(math.e)
# A token with a logit of -inf gets 2 to this power, the smallest positive float32, times the
# probability of the likeliest. It keeps the divergence finite.
_IMPOSSIBLE = math.log2(torch.finfo(torch.float32).smallest_normal) - 23
# Sums of float32 are exact to about 2e-7 nats. A divergence below this is computed again, to be
# right to a percent.
_SMALL = 2e-5
# Logits that are computed at a time, and that are compared at a time; at least one example's.
# Reading the weights of a large output layer takes long, so it gets several examples at once; few
# logits are compared at a time, to stay in a CPU's cache.
LOGITS_PER_PROJECTION = {"cpu": 2**21}
_LOGITS_PER_COMPARISON = {"cpu": 2**19}
_LOGITS_ON_ACCELERATORS = 2**24
# A dozen arrays of this size are made at a time.
_LOGITS_PER_SMALL_COMPARISON = 2**16


class KLDivergenceForward:
    r"""
    Forward function that scores how far the output distribution moved from the reference.

    Called with inputs it returns :math:`-KL(p_{reference} \,\|\, p_{perturbed})` in nats
    over the last dimension of the logits, where the reference is the distribution on the
    ``inputs`` given here. It is 0 there and negative elsewhere, so that the impact
    ``f(x) - f(x')`` of SPES, FeatureAblation, ShapleyValueSampling, KernelShap and Lime
    is the divergence (arXiv 2411.01710, section 4.2).

    Its gradient at the reference is zero, so gradient methods must not differentiate it:
    give them ``TokenProbabilityForward(..., log=True)``.

    Only two numbers per token are computed from the perturbed logits :math:`z'`, and no
    probabilities: :math:`\ln\sum e^{z'} - \ln\sum e^{z} +
    \sum p\,(z - z')`, exact to 1e-6 (cross entropy minus entropy is ten times less exact).
    Where that comes out below 2e-5 nats, the divergence is computed again as
    :math:`\ln(1 + \sum p\,(e^d - 1 - d))` from the centred differences d of the logits, with an
    error that is proportional to the divergence. What remains is the rounding of the logits
    themselves: for float32 logits of size z it can amount to a divergence of about
    :math:`(6 \cdot 10^{-8} z)^2 / 2`, some 1e-12 nats at z = 30; logits of half precision are
    rounded a thousand times more coarsely.

    Args:

        logits_func (Callable): ``logits_func(*inputs, *args)`` returns logits of shape
                    ``(batch, vocab)`` or ``(batch, tokens, vocab)``.
        inputs (Tensor or tuple[Tensor, ...]): The unperturbed inputs, batch first.
        additional_forward_args (Any, optional): Further positional arguments of
                    ``logits_func``.
                    Default: None
        indexed (bool, optional): Whether calls end with one more argument, an int Tensor
                    that names for every row its row of the reference
                    (``additional_forward_args=(torch.arange(batch),)``). Batches of two and
                    more need it with methods that split or reorder the batch: Lime,
                    KernelShap, NoiseTunnel, GradientShap. Without it rows are taken to be
                    in the order of perturbation methods, the whole batch again and again.
                    Default: False
        output_layer (Callable, optional): Turns what ``logits_func`` returns, then hidden
                    states of shape ``(batch, [tokens,] hidden)``, into logits. It is
                    called on a few examples at a time, so that the logits of a large batch, by
                    far the largest array with a large vocabulary, never exist at once.
                    Default: None, ``logits_func`` returns logits

    Raises:
        ArgumentTypeError: ``logits_func`` does not return a Tensor.
        ArgumentError: the logits have the wrong number of dimensions, hold NaN, or, when
            called, a number of rows that is no multiple of the reference's.

    Examples::

        >>> model = torch.nn.Linear(4, 10)
        >>> x = torch.randn(1, 4)
        >>> forward = KLDivergenceForward(model, x)
        >>> float(forward(x))
        0.0
        >>> attr = SPES(forward).attribute(x, n_samples=100, seed=0)
    """

    def __init__(
        self,
        logits_func: Callable[..., Any],
        inputs: Tensor | tuple[Tensor, ...],
        additional_forward_args: object | None = None,
        *,
        indexed: bool = False,
        output_layer: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        function("logits_func", logits_func)
        self.logits_func = logits_func
        self.indexed = indexed
        self.output_layer = output_layer
        _warn_in_training_mode(logits_func)
        tensors = one_or_tuple("inputs", inputs, Tensor, "a Tensor or a tuple of Tensors")
        arguments = (
            ()
            if additional_forward_args is None
            else additional_forward_args
            if isinstance(additional_forward_args, tuple)
            else (additional_forward_args,)
        )
        with torch.no_grad():
            states = call_logits(logits_func, (*tensors, *arguments))
            self._reference = _Reference(
                [output_logits(output_layer, states[i : i + 1]) for i in range(len(states))]
            )

    def __call__(self, *args: Any) -> Tensor:
        r"""
        Args:

            *args (Any): The (perturbed) inputs and additional arguments of
                        ``logits_func``. The batch is the reference's batch, repeated any
                        number of times in Captum's order (the whole batch, again and
                        again).

        Returns:
            *Tensor*: ``(batch,)`` or ``(batch, tokens)``, float32. Finite for any finite
            logits, at most 0; a logit of -inf counts as the smallest positive float32 times
            the probability of the likeliest token.
        """
        if torch.is_grad_enabled() and any(
            isinstance(arg, Tensor) and arg.requires_grad for arg in args
        ):
            warn_caller(
                "The gradient of the KL divergence is zero at the reference, so gradient "
                "methods find nothing there; use TokenProbabilityForward(..., log=True)."
            )
        inputs, rows = (args[:-1], args[-1]) if self.indexed else (args, None)
        states = call_logits(self.logits_func, inputs)
        reference_rows = self._reference_rows(states, rows)
        scores = []
        for start, part in self._parts(states, LOGITS_PER_PROJECTION):
            logits = output_logits(self.output_layer, part)
            for offset, few in self._parts(logits, _LOGITS_PER_COMPARISON):
                first = start + offset
                rows_of_few = reference_rows[first : first + len(few)]
                scores.append(self._reference.scores(few, rows_of_few))
        return torch.cat(scores)

    def of_last_tokens(self, states: Sequence[Tensor]) -> list[Tensor]:
        r"""
        Score only the last tokens of the output, for callers that know the other scores.

        Args:

            states (Sequence[Tensor]): For each perturbed input, ``(tokens, hidden)``: what
                        ``logits_func`` returns for its last tokens, one or more. Neighbours
                        with equally many tokens are compared together. The reference must be
                        one example.

        Returns:
            *list[Tensor]*: ``(tokens,)`` for each perturbed input, as when called.
        """
        scores: list[Tensor] = []
        for group in self._groups(states):
            logits = output_logits(self.output_layer, torch.cat(group))
            start = 0
            for n_tokens, alike in groupby(group, key=len):
                stop = start + n_tokens * len(list(alike))
                reference = self._reference.of_last_tokens(n_tokens)
                compared = logits[start:stop].unflatten(0, (-1, n_tokens))
                for _, few in self._parts(compared, _LOGITS_PER_COMPARISON):
                    scores.extend(reference.scores(few, [0] * len(few)))
                start = stop
        return scores

    def _groups(self, states: Sequence[Tensor]) -> Iterator[list[Tensor]]:
        """Yield as many examples as fit into one call of the output layer."""
        group: list[Tensor] = []
        for tokens in states:
            limit = LOGITS_PER_PROJECTION.get(tokens.device.type, _LOGITS_ON_ACCELERATORS)
            n_tokens = sum(map(len, group)) + len(tokens)
            if group and n_tokens * self._reference.vocabulary > limit:
                yield group
                group = []
            group.append(tokens)
        if group:
            yield group

    def _reference_rows(self, states: Tensor, rows: Tensor | None) -> list[int]:
        n_rows = len(self._reference)
        if rows is not None:
            rows = rows.reshape(-1)
            if len(rows) == len(states):
                return [int(row) for row in rows]
        elif len(states) % n_rows == 0:
            return [i % n_rows for i in range(len(states))]
        raise ArgumentError(
            f"logits of {len(states)} examples do not match the reference's {n_rows}: the batch "
            "must be the reference's batch or a multiple of it. For methods that split the batch "
            "(Lime, KernelShap) explain one example at a time, or see the argument indexed."
        )

    def _parts(self, batch: Tensor, limits: dict[str, int]) -> Iterator[tuple[int, Tensor]]:
        limit = limits.get(batch.device.type, _LOGITS_ON_ACCELERATORS)
        size = max(1, limit // self._reference.logits_per_example)
        for start in range(0, len(batch), size):
            yield start, batch[start : start + size]


class _Reference:
    """The distributions that perturbed ones are compared with.

    Args:
        logits (list[Tensor]): ``(1, [tokens,] vocab)`` of each example.
    """

    def __init__(self, logits: list[Tensor]) -> None:
        relative, probs, likeliest, finite = [], [], [], []
        for row in logits:
            row = _at_least_float32(row)
            largest, index = row.max(-1, keepdim=True)
            if not bool(torch.isfinite(largest).all()) or bool(torch.isnan(row).any()):
                raise ArgumentError(
                    "logits_func returned NaN (or infinite) logits for the unperturbed inputs."
                )
            # Errors of p would enter every score: float64, once, on the CPU, as MPS has none.
            probs.append(row.to("cpu", torch.float64).softmax(-1).to(row))
            exact = _relative(row, largest)
            is_finite = torch.isfinite(exact).all(-1, keepdim=True)
            relative.append(torch.where(is_finite, exact, _floored(row, largest)))
            likeliest.append(index)
            finite.append(row if bool(is_finite.all()) else _without_impossible(row))
        self._logits = torch.cat(finite)
        self._relative, self._probs = torch.cat(relative), torch.cat(probs)
        self._likeliest = torch.cat(likeliest)
        # Summed as perturbed logits are, so that equal ones score exactly 0.
        self._log_sums = _log2_of_sum(self._relative.exp2())

    def __len__(self) -> int:
        return len(self._probs)

    @property
    def logits_per_example(self) -> int:
        return self._probs[0].numel()

    @property
    def vocabulary(self) -> int:
        return self._probs.shape[-1]

    def of_last_tokens(self, n_tokens: int) -> _Reference:
        """The same without the first tokens."""
        reference = copy.copy(self)
        last = slice(self._probs.shape[1] - n_tokens, None)
        reference._relative, reference._probs = self._relative[:, last], self._probs[:, last]
        reference._likeliest = self._likeliest[:, last]
        reference._log_sums, reference._logits = self._log_sums[:, last], self._logits[:, last]
        return reference

    def scores(self, logits: Tensor, rows: list[int]) -> Tensor:
        """The negative divergences of ``(batch, [tokens,] vocab)`` from rows of the reference."""
        if logits.shape[1:] != self._probs.shape[1:]:
            raise ArgumentError(
                f"logits of shape {tuple(logits.shape)} do not match the reference's "
                f"{tuple(self._probs.shape)}."
            )
        logits = _at_least_float32(logits)
        # A slice of one row is no copy.
        index: Any = slice(rows[0], rows[0] + 1) if len(set(rows)) == 1 else rows
        # Any logit near the largest will do; to find the largest, all would have to be read.
        likeliest = (
            self._likeliest[index].to(logits.device).expand(len(logits), *logits.shape[1:-1], 1)
        )
        divergence = self._divergence(_relative(logits, logits.gather(-1, likeliest)), index)
        is_finite = torch.isfinite(divergence)
        if not bool(is_finite.all()):
            floored = _floored(logits, logits.amax(-1, keepdim=True))
            divergence = torch.where(is_finite, divergence, self._divergence(floored, index))
        is_small = divergence < _SMALL
        if bool(is_small.any()):
            places = is_small.nonzero(as_tuple=True)
            divergence[places] = self._small_divergences(logits, rows, places)
        # Rounding can leave -1e-8. clamp keeps a NaN, so that the caller sees it.
        largest_float = torch.finfo(torch.float32).max
        return (0.0 - divergence.clamp(0.0, largest_float)).to(logits.device, torch.float32)

    def _divergence(self, relative: Tensor, index: Any) -> Tensor:
        """On the CPU, in float64; overwrites its argument."""
        reference = self._relative[index].to(relative.device)
        probs = self._probs[index].to(relative.device)
        # In place: another array of this size costs more time than the arithmetic.
        moved = (reference - relative).mul_(probs).sum(-1)
        log_sums = _log2_of_sum(relative.exp2_())
        return math.log(2) * (log_sums - self._log_sums[index] + moved.cpu().double())

    def _small_divergences(
        self, logits: Tensor, rows: list[int], places: tuple[Tensor, ...]
    ) -> Tensor:
        """Of single tokens, with a small relative error; on the CPU, in float64."""
        example, *token = places
        compared = (torch.tensor(rows, device="cpu")[example], *token)
        size = max(1, _LOGITS_PER_SMALL_COMPARISON // self.vocabulary)
        return torch.cat(
            [
                _small_divergences(logits[own], self._logits[other], self._probs[other])
                for own, other in zip(
                    zip(*(place.split(size) for place in places), strict=True),
                    zip(*(place.split(size) for place in compared), strict=True),
                    strict=True,
                )
            ]
        )


def _small_divergences(perturbed: Tensor, original: Tensor, probs: Tensor) -> Tensor:
    """From differences d of the logits, centred by their mean: ln(1 + sum p (e^d - 1 - d)).

    The difference of two numbers of about the same size does not round, so that the precision of
    the logits is enough.
    """
    original = original.to(perturbed)
    moved = perturbed - original
    if bool((moved.amin(-1) == -math.inf).any()):
        perturbed = _without_impossible(perturbed)
        moved = perturbed - original
    probs = probs.to(perturbed)
    # Not exactly 1, because probabilities are rounded.
    total = probs.sum(-1, keepdim=True)
    mean = (probs * moved).sum(-1, keepdim=True) / total
    moved -= mean
    terms = _exp_beyond_linear(moved.clamp(max=1.0)).mul_(probs)
    if bool((moved.amax(-1) > 1.0).any()):
        # Tokens that become much likelier: their p may underflow before it is multiplied by e^d.
        is_far = moved > 1.0
        grown = (perturbed - mean - original.logsumexp(-1, keepdim=True))[is_far].exp()
        terms[is_far] = grown - probs[is_far] * (1 + moved[is_far])
    return (terms.sum(-1) / total[:, 0]).cpu().double().log1p()


def _exp_beyond_linear(exponents: Tensor) -> Tensor:
    """e^d - 1 - d, of small d by its series."""
    series = (exponents / 24).add_(1 / 6).mul_(exponents).add_(0.5).mul_(exponents).mul_(exponents)
    low, high = exponents.detach().aminmax()
    if float(low) > -0.1 and float(high) < 0.1:
        return series
    return torch.where(exponents.abs() < 0.1, series, exponents.expm1() - exponents)


def divergence_scores(perturbed: Tensor, reference: Tensor) -> Tensor:
    r"""
    Return the negative divergences of ``(batch, tokens, vocab)`` logits from one example's.

    Args:

        perturbed (Tensor): ``(batch, [tokens,] vocab)``.
        reference (Tensor): ``([tokens,] vocab)``.

    Returns:
        *Tensor* of shape ``(batch, [tokens])``, float32, at most 0, in nats.
    """
    return _Reference([reference[None]]).scores(perturbed, [0] * len(perturbed))


def _warn_in_training_mode(logits_func: Callable[..., Any]) -> None:
    if isinstance(logits_func, torch.nn.Module) and logits_func.training:
        warn_caller(
            "logits_func is in training mode: dropout adds noise to every evaluation. Call "
            ".eval() on the model first."
        )


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _relative(logits: Tensor, anchor: Tensor) -> Tensor:
    """How much likelier tokens are than one with the logit ``anchor``, in powers of two.

    exp2 is twice as fast as exp on a CPU. The logits are read once, and where a processor fuses
    multiplying with adding, the product is not rounded; the anchor's rounding is the same for all
    tokens and cancels.
    """
    return torch.add(-_LOG2_E * anchor, logits, alpha=_LOG2_E)


def _floored(logits: Tensor, largest: Tensor) -> Tensor:
    """As ``_relative``, for any logits: impossible tokens get a value that keeps sums finite."""
    relative = (logits - largest).mul_(_LOG2_E)
    return torch.where(relative == -math.inf, _IMPOSSIBLE, relative)


def _without_impossible(logits: Tensor) -> Tensor:
    """Logits of -inf replaced by what ``_floored`` makes of them."""
    least = logits.amax(-1, keepdim=True) + math.log(2) * _IMPOSSIBLE
    return torch.where(logits == -math.inf, least, logits)


def _log2_of_sum(numbers: Tensor) -> Tensor:
    """Over the vocabulary; on the CPU, in float64."""
    return numbers.sum(-1).cpu().double().log2()
