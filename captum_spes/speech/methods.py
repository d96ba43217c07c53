"""Running Captum's methods on one side of an explanation, all tokens of it.

Each method gets the same model, target and features and returns a map per token. What
differs is how many tokens one run explains and what is scored: perturbation methods
explain all tokens at once by KL divergence, surrogate methods fit a model per token on
shared evaluations, gradient methods differentiate one log-probability at a time.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from captum.attr import (
    Attribution,
    FeatureAblation,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    Lime,
    Occlusion,
    Saliency,
    ShapleyValueSampling,
)
from torch import Tensor
from tqdm.auto import tqdm

from captum_spes.attr import SPES, BubbleNoise
from captum_spes.attr.sampling import BernoulliDesign, draw
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.forward import TokenProbabilityForward
from captum_spes.maps import Maps
from captum_spes.speech.controls import SpeechAttribution
from captum_spes.speech.randomness import seeded_global_generators
from captum_spes.speech.scores import Counted, Remembered, perturbation_score, score_of_side
from captum_spes.speech.sides import Run, Side, SideMaps

# Occlusion's window on a spectrogram, in frames and mel bins; it moves by half of it.
_WINDOW = (10, 10)
_WINDOW_ARGUMENTS = ("sliding_window_shapes", "strides")


def attribute_side(method: Attribution, side: Side, run: Run) -> SideMaps:
    """Return the raw maps of all tokens, on the CPU."""
    runner = _runner(method)
    # The user's method object keeps its own forward function.
    method = copy.copy(method)
    name = f"{method.get_name()} ({side.name})"
    method.get_name = lambda: name  # the label of Captum's progress bars
    side = replace(side.to(run.device), hidden_func=run.in_precision(side.hidden_func))
    found = runner(method, side, run)
    return found if isinstance(found, SideMaps) else SideMaps(found.detach().cpu())


def attribute_jointly(
    method: Attribution,
    spectrogram: Side,
    tokens: Side,
    hidden_func: Callable[[Tensor, Tensor], Tensor],
    run: Run,
) -> Maps:
    """Perturb both sides in every sample; return the raw maps of both, on the CPU.

    The paper's comparison (appendix A.2.2): ``n_samples`` of the spectrogram count, and each
    side keeps its own probability.
    """
    both = spectrogram.to(run.device), tokens.to(run.device)
    inputs, baselines = tuple(s.inputs for s in both), tuple(s.baselines for s in both)
    levels = [(mask, both[1].feature_masks[0] + mask.max() + 1) for mask in both[0].feature_masks]
    method = copy.copy(method)
    method.forward_func = perturbation_score(run.in_precision(hidden_func), inputs, run)
    arguments = {
        "baselines": baselines,
        "feature_mask": levels,
        "n_samples": spectrogram.n_samples,
        **_if_given(return_partial=run.return_partial or None),
        "perturbations_per_eval": run.perturbations_per_eval,
        "show_progress": run.show_progress,
        "seed": run.seed,
        "design": _JointDesign(spectrogram, tokens),
    }
    maps = method.attribute(inputs, **{**arguments, **run.method_args})
    return Maps(maps[0][0].cpu(), maps[1][0].cpu())


class _JointDesign:
    """Masks over patches and, behind them, previous tokens."""

    def __init__(self, spectrogram: Side, tokens: Side) -> None:
        self._patches = spectrogram.design or BernoulliDesign(spectrogram.perturb_prob)
        self._tokens = BernoulliDesign(tokens.perturb_prob)
        self._n_tokens = tokens.inputs.shape[1]

    def sample(self, n_samples: int, n_features: int, generator: torch.Generator) -> Tensor:
        # Sample by sample: two draws for a chunk would make the masks depend on its size.
        rows = []
        for _ in range(n_samples):
            patches = draw(self._patches, 1, n_features - self._n_tokens, generator)
            rows.append(torch.cat([patches, self._tokens.sample(1, self._n_tokens, generator)], 1))
        return torch.cat(rows)


def check_method(method: Any) -> None:
    """Raise where ``method`` is no Captum method that the wrapper can run."""
    if not isinstance(method, Attribution):
        raise ArgumentTypeError(
            f"attr_method must be a Captum method such as SPES(model), got {type(method).__name__}."
        )
    if not isinstance(method, SpeechAttribution):
        _runner(method)


def _runner(method: Attribution) -> Callable[[Any, Side, Run], Tensor | SideMaps]:
    # By exact type: a subclass of another method may take other arguments.
    for kind in type(method).__mro__:
        if kind in _RUNNERS and (kind is type(method) or kind is SPES):
            return _RUNNERS[kind]
    supported = ", ".join(kind.__name__ for kind in _RUNNERS)
    raise ArgumentTypeError(f"{type(method).__name__} is not supported; use one of: {supported}.")


def _run_spes(method: SPES, side: Side, run: Run) -> SideMaps:
    score = Counted(score_of_side(side, run))
    method.forward_func = score
    arguments = {
        "baselines": side.baselines,
        "feature_mask": list(side.feature_masks),
        "n_samples": side.n_samples,
        "perturbations_per_eval": run.perturbations_per_eval,
        "show_progress": run.show_progress,
        "perturb_prob": side.perturb_prob,
        "seed": run.seed,
        "design": side.design,
        **_if_given(estimator=side.estimator, tolerance=side.tolerance),
        **_if_given(return_partial=run.return_partial or None),
        **run.method_args,
    }
    # A subclass may have the arguments of the public contract alone.
    if type(method).attribute is not SPES.attribute:
        return SideMaps(method.attribute(side.inputs, **arguments)[0].cpu())
    maps, halves = method.attribute(side.inputs, **arguments, return_halves=True)
    first, second = (half[0].cpu() for half in halves)
    # The first evaluation is the unperturbed input.
    return SideMaps(maps[0].cpu(), (first, second), score.n_evaluated - 1)


def _if_given(**arguments: Any) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def _run_bubble_noise(method: BubbleNoise, side: Side, run: Run) -> Tensor | SideMaps:
    if side.frame_rate is None:  # bubbles are for spectrograms; the paper perturbs tokens as SPES
        return _run_spes(SPES(method.forward_func), side, replace(run, method_args={}))
    method.forward_func = score_of_side(side, run)
    arguments = {
        "n_samples": side.n_samples,
        "perturbations_per_eval": run.fixed_batch,
        "show_progress": run.show_progress,
        "frame_rate": side.frame_rate,
        "seed": run.seed,
    }
    return method.attribute(side.inputs, **{**arguments, **run.method_args})[0]


def _run_feature_ablation(method: FeatureAblation, side: Side, run: Run) -> Tensor:
    method.forward_func = score_of_side(side, run)
    features = _Features(side)
    arguments = {
        "baselines": features.baselines,
        "feature_mask": features.mask,
        "perturbations_per_eval": run.fixed_batch,
        "show_progress": run.show_progress,
    }
    maps = method.attribute(side.inputs, **{**arguments, **run.method_args})
    return features.without_padding(maps)


def _run_occlusion(method: Occlusion, side: Side, run: Run) -> Tensor:
    method.forward_func = score_of_side(side, run)
    arguments: dict[str, Any] = {
        "baselines": side.baselines,
        "perturbations_per_eval": run.fixed_batch,
        "show_progress": run.show_progress,
    }
    if side.frame_rate is None:
        windows: dict[str, Any] = {"sliding_window_shapes": (1,)}
        kept = {k: v for k, v in run.method_args.items() if k not in _WINDOW_ARGUMENTS}
    else:
        shape = tuple(
            min(n, limit) for n, limit in zip(_WINDOW, side.inputs.shape[1:], strict=True)
        )
        strides = tuple(max(1, n // 2) for n in shape)
        windows, kept = {"sliding_window_shapes": shape, "strides": strides}, run.method_args
    return method.attribute(side.inputs, **{**arguments, **windows, **kept})


def _run_shapley_value_sampling(method: ShapleyValueSampling, side: Side, run: Run) -> Tensor:
    method.forward_func = score_of_side(side, run)
    features = _Features(side)
    arguments = {
        "baselines": features.baselines,
        "feature_mask": features.mask,
        # A sample of this method is a permutation, which costs one forward per feature.
        "n_samples": max(1, side.n_samples // features.count),
        "perturbations_per_eval": run.fixed_batch,
        "show_progress": run.show_progress,
    }
    with seeded_global_generators(run.seed, run.device):
        maps = method.attribute(side.inputs, **{**arguments, **run.method_args})
    return features.without_padding(maps[0])


def _run_surrogate(method: Lime | KernelShap, side: Side, run: Run) -> Tensor:
    # Every token draws the same samples, so that only the first one costs forwards.
    method.forward_func = Remembered(score_of_side(side, run))
    features = _Features(side)
    arguments = {
        "baselines": features.baselines,
        "feature_mask": features.mask,
        "n_samples": side.n_samples,
        "perturbations_per_eval": run.fixed_batch,
    }
    maps = []
    for token in _tokens(method, run):
        with seeded_global_generators(run.seed, run.device):
            attributed = method.attribute(
                side.inputs, target=token, **{**arguments, **run.method_args}
            )
        maps.append(attributed[0])
    return features.without_padding(torch.stack(maps))


def _run_gradient(method: Attribution, side: Side, run: Run) -> Tensor:
    return _each_token(method, side, run, {})


def _run_integrated_gradients(method: IntegratedGradients, side: Side, run: Run) -> Tensor:
    # Steps are batched like perturbations; all 50 at once would not fit in memory.
    batch = {"internal_batch_size": run.fixed_batch}
    return _each_token(method, side, run, {"baselines": side.baselines, **batch})


def _run_gradient_shap(method: GradientShap, side: Side, run: Run) -> Tensor:
    return _each_token(method, side, run, {"baselines": side.baselines}, draws=True)


def _each_token(
    method: Attribution, side: Side, run: Run, arguments: dict[str, Any], draws: bool = False
) -> Tensor:
    if run.score == "kl":
        raise ArgumentError(
            "score='kl' has no gradient at the unperturbed input; gradient methods take "
            "'log_probability' or 'probability'."
        )
    method.forward_func = TokenProbabilityForward(
        side.hidden_func,
        run.token_ids,
        log=run.score != "probability",
        output_layer=run.output_layer,
    )
    arguments = {**arguments, **run.method_args}
    inputs = side.inputs.requires_grad_()  # Captum would warn that it does so itself
    maps = []
    for token in _tokens(method, run):
        with seeded_global_generators(run.seed, run.device) if draws else nullcontext():
            maps.append(method.attribute(inputs, target=token, **arguments)[0].detach())
    return torch.stack(maps)


_RUNNERS: dict[type[Any], Callable[[Any, Side, Run], Tensor | SideMaps]] = {
    SPES: _run_spes,
    BubbleNoise: _run_bubble_noise,
    FeatureAblation: _run_feature_ablation,
    Occlusion: _run_occlusion,
    ShapleyValueSampling: _run_shapley_value_sampling,
    KernelShap: _run_surrogate,
    Lime: _run_surrogate,
    Saliency: _run_gradient,
    InputXGradient: _run_gradient,
    IntegratedGradients: _run_integrated_gradients,
    GradientShap: _run_gradient_shap,
}


class _Features:
    """The first level in Captum's terms, which have no label for "never perturbed".

    Elements with negative labels become one more feature whose baseline is the input itself,
    so that perturbing it does nothing.
    """

    def __init__(self, side: Side) -> None:
        mask = side.feature_masks[0]
        self._is_padding = mask < 0
        features, labels = torch.unique(mask, return_inverse=True)
        self.count = int((features >= 0).sum())
        n_negative = len(features) - self.count
        self.mask = torch.where(self._is_padding, self.count, labels - n_negative)
        self.baselines = torch.where(self._is_padding, side.inputs, side.baselines)

    def without_padding(self, maps: Tensor) -> Tensor:
        """Give the elements that were never perturbed their defined 0."""
        return maps.masked_fill(self._is_padding.to(maps.device), 0.0)


def _tokens(method: Attribution, run: Run) -> Iterator[int]:
    description = f"{method.get_name()} attribution"
    tokens = range(len(run.token_ids))
    yield from tqdm(tokens, desc=description, unit="token", disable=not run.show_progress)
