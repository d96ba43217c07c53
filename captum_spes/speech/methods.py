"""Running Captum's methods on one side of an explanation, all tokens of it.

Each method gets the same model, target and features and returns a map per token. What
differs is how many tokens one run explains and what is scored: perturbation methods
explain all tokens at once by KL divergence, surrogate methods fit a model per token on
shared evaluations, gradient methods differentiate one log-probability at a time.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from captum.attr import (
    Attribution,
    FeatureAblation,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    Lime,
    Saliency,
    ShapleyValueSampling,
)
from torch import Tensor
from tqdm.auto import tqdm

from captum_spes.attr.sampling import MaskDesign
from captum_spes.attr.spes import SPES
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.forward import KLDivergenceForward, TokenProbabilityForward

SCORES = ("kl", "probability", "log_probability")


@dataclass(frozen=True)
class Side:
    """The spectrogram or the previous tokens: what is perturbed and how it is scored.

    Attributes:
        name: shown in progress bars.
        inputs: ``(1, *features)``.
        baselines: the removed value, of the same shape.
        feature_masks: one mask per segmentation level, ``(1, *features)``.
        logits_func: ``(batch, *features)`` to ``(batch, tokens, vocab)``.
        token_ids: ``(tokens,)``: the explained ids.
        n_samples: forward evaluations for sampling methods.
        perturb_prob: probability that SPES perturbs a feature.
        seed: of every random choice.
        perturbations_per_eval: perturbed inputs per forward.
        show_progress: whether to draw a progress bar.
        score: one of ``SCORES``; None for what suits the method.
        design: masks of SPES.
        method_args: further arguments of the method's own ``attribute``.
    """

    name: str
    inputs: Tensor
    baselines: Tensor
    feature_masks: list[Tensor]
    logits_func: Callable[[Tensor], Tensor]
    token_ids: Tensor
    n_samples: int
    perturb_prob: float
    seed: int
    perturbations_per_eval: int
    show_progress: bool
    score: str | None = None
    design: MaskDesign | None = None
    method_args: dict[str, Any] = field(default_factory=dict)


def attribute_side(method: Attribution, side: Side) -> Tensor:
    """Return the raw maps of all tokens, ``(tokens, *features)``, on the CPU."""
    run = _runner(method)
    # The user's method object keeps its own forward function.
    method = copy.copy(method)
    name = f"{method.get_name()} ({side.name})"
    method.get_name = lambda: name  # the label of Captum's progress bars
    with _seeded_global_generators(side.seed):
        return run(method, side).detach().cpu()


def check_method(method: Any) -> None:
    """Raise where ``method`` is no Captum method that the wrapper can run."""
    if not isinstance(method, Attribution):
        raise ArgumentTypeError(
            f"attr_method must be a Captum method such as SPES(model), got {type(method).__name__}."
        )
    _runner(method)


def _runner(method: Attribution) -> Callable[[Any, Side], Tensor]:
    # By exact type: a subclass (Occlusion of FeatureAblation) may take other arguments.
    for kind in type(method).__mro__:
        if kind in _RUNNERS and (kind is type(method) or kind is SPES):
            return _RUNNERS[kind]
    supported = ", ".join(kind.__name__ for kind in _RUNNERS)
    raise ArgumentTypeError(f"{type(method).__name__} is not supported; use one of: {supported}.")


def _run_spes(method: SPES, side: Side) -> Tensor:
    method.forward_func = _perturbation_score(side)
    attributions = method.attribute(
        side.inputs,
        baselines=side.baselines,
        feature_mask=list(side.feature_masks),
        n_samples=side.n_samples,
        perturbations_per_eval=side.perturbations_per_eval,
        show_progress=side.show_progress,
        perturb_prob=side.perturb_prob,
        seed=side.seed,
        design=side.design,
        **side.method_args,
    )
    return attributions[0]


def _run_feature_ablation(method: FeatureAblation, side: Side) -> Tensor:
    method.forward_func = _perturbation_score(side)
    attributions: Tensor = method.attribute(
        side.inputs,
        baselines=side.baselines,
        feature_mask=side.feature_masks[0],
        perturbations_per_eval=side.perturbations_per_eval,
        show_progress=side.show_progress,
        **side.method_args,
    )
    return attributions


def _run_shapley_value_sampling(method: ShapleyValueSampling, side: Side) -> Tensor:
    # A sample of this method is a permutation, which costs one forward per feature.
    n_features = len(torch.unique(side.feature_masks[0]))
    arguments = {"n_samples": max(1, side.n_samples // n_features), **side.method_args}
    method.forward_func = _perturbation_score(side)
    attributions: Tensor = method.attribute(
        side.inputs,
        baselines=side.baselines,
        feature_mask=side.feature_masks[0],
        perturbations_per_eval=side.perturbations_per_eval,
        show_progress=side.show_progress,
        **arguments,
    )
    return attributions[0]


def _run_surrogate(method: Lime | KernelShap, side: Side) -> Tensor:
    # Every token draws the same samples, so that only the first one costs forwards.
    method.forward_func = _Remembered(_perturbation_score(side))
    arguments = {"n_samples": side.n_samples, **side.method_args}
    maps = []
    for token in _tokens(method, side):
        torch.manual_seed(side.seed)
        maps.append(
            method.attribute(
                side.inputs,
                baselines=side.baselines,
                target=token,
                feature_mask=side.feature_masks[0],
                perturbations_per_eval=side.perturbations_per_eval,
                **arguments,
            )[0]
        )
    return torch.stack(maps)


def _run_gradient(method: Attribution, side: Side) -> Tensor:
    return _each_token(method, side, {})


def _run_integrated_gradients(method: IntegratedGradients, side: Side) -> Tensor:
    # Steps are batched like perturbations; all 50 at once would not fit in memory.
    batch = {"internal_batch_size": side.perturbations_per_eval}
    return _each_token(method, side, {"baselines": side.baselines, **batch})


def _run_gradient_shap(method: GradientShap, side: Side) -> Tensor:
    return _each_token(method, side, {"baselines": side.baselines})


def _each_token(method: Attribution, side: Side, arguments: dict[str, Any]) -> Tensor:
    if side.score == "kl":
        raise ArgumentError(
            "score='kl' has no gradient at the unperturbed input; gradient methods take "
            "'log_probability' or 'probability'."
        )
    method.forward_func = TokenProbabilityForward(
        side.logits_func, side.token_ids, log=side.score != "probability"
    )
    arguments = {**arguments, **side.method_args}
    maps = []
    for token in _tokens(method, side):
        torch.manual_seed(side.seed)
        maps.append(method.attribute(side.inputs, target=token, **arguments)[0].detach())
    return torch.stack(maps)


_RUNNERS: dict[type[Any], Callable[[Any, Side], Tensor]] = {
    SPES: _run_spes,
    FeatureAblation: _run_feature_ablation,
    ShapleyValueSampling: _run_shapley_value_sampling,
    KernelShap: _run_surrogate,
    Lime: _run_surrogate,
    Saliency: _run_gradient,
    InputXGradient: _run_gradient,
    IntegratedGradients: _run_integrated_gradients,
    GradientShap: _run_gradient_shap,
}


def _perturbation_score(side: Side) -> Callable[[Tensor], Tensor]:
    if side.score in (None, "kl"):
        return KLDivergenceForward(side.logits_func, side.inputs)
    return TokenProbabilityForward(
        side.logits_func, side.token_ids, log=side.score == "log_probability"
    )


def _tokens(method: Attribution, side: Side) -> Iterator[int]:
    description = f"{method.get_name()} attribution"
    tokens = range(len(side.token_ids))
    yield from tqdm(tokens, desc=description, unit="token", disable=not side.show_progress)


class _Remembered:
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


@contextmanager
def _seeded_global_generators(seed: int) -> Iterator[None]:
    """Seed the global generators, which Captum's own methods draw from, and restore them."""
    numpy_state = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
