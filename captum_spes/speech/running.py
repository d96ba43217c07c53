"""Running a Captum method on one side of an explanation, all tokens of it.

Each method gets the same model, score and features and returns a map per token. A :class:`Runner`
says how methods differ: whether one run explains all tokens, whether it differentiates the score,
whether it draws random numbers without a seed of its own. An unknown method is run as the class it
is derived from, token after token, with those of the usual arguments that it takes.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from captum.attr import (
    Attribution,
    FeaturePermutation,
    GradientAttribution,
    PerturbationAttribution,
)
from torch import Tensor
from tqdm.auto import tqdm

from captum_spes.attr import SPES, BernoulliDesign
from captum_spes.attr.captum_compat import compute_gradients
from captum_spes.attr.designs import draw
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.forward import score_forward, score_name
from captum_spes.maps import Maps
from captum_spes.speech.evaluations import Counted, Replayed, SharedGradients, score_of_side
from captum_spes.speech.randomness import seeded_draws, undisturbed, without_numpy_draws
from captum_spes.speech.sides import Run, Side, SideMaps

# Occlusion's window on a spectrogram, in frames and mel bins; it moves by half of it.
_WINDOW = (10, 10)
# The attribute in which methods with rules for layers keep the model itself.
_MODULE = "model"

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Runner:
    """How the wrapper runs a class of Captum methods.

    Attributes:
        at_once: whether one run explains all tokens; otherwise each is a target of its own.
        differentiates: whether the score is differentiated, and not only evaluated.
        takes_levels: whether ``feature_mask`` may be a list of levels, with labels below 0.
        draws: whether it draws from torch's generators and takes no seed.
        finds_batch: whether it takes ``perturbations_per_eval="auto"``.
        arguments: what else it is given, from the side and the run.
        on_tokens: makes the method for previous tokens, where it is for spectrograms only.
        layers: kinds of layers for which it has rules; without any its map would be a gradient's.
    """

    at_once: bool = False
    differentiates: bool = False
    takes_levels: bool = False
    draws: bool = False
    finds_batch: bool = False
    arguments: Callable[[Side, Run], Arguments] = lambda side, run: {}
    on_tokens: Callable[[Attribution], Attribution] | None = None
    layers: tuple[type[torch.nn.Module], ...] = ()


# Methods without an entry, by what they are derived from.
PERTURBATION = Runner(draws=True)
GRADIENT = Runner(differentiates=True, draws=True)


def default_runner(method: Attribution) -> Runner:
    """The runner of a method that the registry does not know.

    Raises:
        ArgumentTypeError: it is neither a perturbation nor a gradient method of inputs.
    """
    if isinstance(method, FeaturePermutation):
        raise ArgumentTypeError(
            "FeaturePermutation is not supported: it exchanges features between the examples of a "
            "batch, and an utterance is a single example."
        )
    if isinstance(method, PerturbationAttribution):
        return PERTURBATION
    is_of_layers = hasattr(method, _MODULE) or isinstance(method, GradientAttribution)
    if is_of_layers and "layer" not in vars(method):
        return GRADIENT
    raise ArgumentTypeError(
        f"{type(method).__name__} is not supported: attr_method must attribute to inputs, as "
        "Captum's PerturbationAttribution and GradientAttribution do."
    )


def attribute_side(method: Attribution, runner: Runner, side: Side, run: Run) -> SideMaps:
    """Return the raw maps of all units, on the CPU."""
    if runner.on_tokens is not None and side.frame_rate is None:
        method = runner.on_tokens(method)
        runner, side = SPES_RUNNER, replace(side, method_args={})
    model = vars(method).get(_MODULE)
    _check_layers(method, runner, model)
    own = _own_copy(method)
    name = f"{own.get_name()} ({side.name})"
    if runner.draws:
        own = without_numpy_draws(own, run.seed)
    own.get_name = lambda: name  # the label of Captum's progress bars
    side = ready(side, run)
    if runner.at_once:
        return _all_tokens(own, runner, side, run)
    with _layers_as_they_were(model):
        return SideMaps(_token_by_token(own, runner, side, run).detach().cpu())


def ready(side: Side, run: Run) -> Side:
    """The side on the model's device, computed in the precision asked for."""

    def steady(func: Callable[..., Any]) -> Callable[..., Any]:
        return undisturbed(run.in_precision(func))

    stages = side.stages
    if stages is not None:
        short = stages.encode_shortened
        stages = stages._replace(
            encode=steady(stages.encode),
            decode=steady(stages.decode),
            encode_shortened=None if short is None else steady(short),
        )
    return replace(side.to(run.device), hidden_func=steady(side.hidden_func), stages=stages)


def attribute_jointly(
    method: Attribution,
    spectrogram: Side,
    tokens: Side,
    hidden_func: Callable[[Tensor, Tensor], Tensor],
    run: Run,
) -> Maps:
    """Perturb both sides in every sample; return the raw maps of both, on the CPU.

    The paper's comparison (appendix A.2.2): the number of samples is the spectrogram's, and
    each side keeps its own probability.
    """
    both = spectrogram.to(run.device), tokens.to(run.device)
    inputs = tuple(side.inputs for side in both)
    masks, of_tokens = both[0].feature_masks, both[1].feature_masks[0]
    method = _own_copy(method)
    hidden_func = run.in_precision(hidden_func)
    method.forward_func = score_forward(
        run.score, hidden_func, inputs, run.token_ids, run.output_layer
    )
    arguments = {
        "baselines": tuple(side.baselines for side in both),
        "feature_mask": [(mask, of_tokens + mask.max() + 1) for mask in masks],
        "n_samples": spectrogram.n_samples,
        "return_partial": run.return_partial,
        "perturbations_per_eval": run.perturbations_per_eval,
        "show_progress": run.show_progress,
        "seed": run.seed,
        "design": _JointDesign(spectrogram, tokens),
        "estimator": spectrogram.estimator,
    }
    own = _checked(method, spectrogram.method_args)
    maps = method.attribute(inputs, **{**_accepted(method, arguments), **own})
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


# One run --------------------------------------------------------------------------------


def _all_tokens(method: Attribution, runner: Runner, side: Side, run: Run) -> SideMaps:
    counted = Counted(score_of_side(side, run))
    method.forward_func = counted
    features = _Features(side)
    arguments = _accepted(method, _usual(runner, features, side, run), runner.arguments(side, run))
    arguments |= _checked(method, side.method_args)
    if "return_halves" not in _parameters(method):
        with seeded_draws(run.seed) if runner.draws else nullcontext():
            maps = method.attribute(side.inputs, **arguments).detach().cpu()
        # Of several outputs some methods return (1, outputs, ...), FeatureAblation (outputs, ...).
        maps = maps[0] if maps.dim() > side.inputs.dim() else maps
        return SideMaps(maps if runner.takes_levels else features.without_padding(maps))
    maps, halves = method.attribute(side.inputs, **arguments, return_halves=True)
    first, second = (half[0].cpu() for half in halves)
    exponent = float(getattr(arguments.get("estimator"), "odds_exponent", 1.0))
    # The first evaluation is the unperturbed input.
    return SideMaps(maps[0].cpu(), (first, second), counted.n_evaluated - 1, exponent)


def _token_by_token(method: Attribution, runner: Runner, side: Side, run: Run) -> Tensor:
    features = _Features(side)
    forward, n_units = _forward_of_targets(method, runner, side, run)
    _set_forward(method, forward)
    usual = _usual(runner, features, side, run)
    arguments = _accepted(method, usual, runner.arguments(side, run))
    arguments |= _checked(method, side.method_args)
    inputs = side.inputs
    if runner.differentiates:
        inputs = inputs.requires_grad_()  # Captum would warn that it does so itself
    shared = _shared_gradients(method, runner, n_units)
    maps = []
    for unit in _units(method, n_units, run):
        if isinstance(forward, Replayed):
            forward.rewind()
        if shared is not None:
            shared.begin(unit)
        # Every token draws the same, so that perturbed inputs cost passes for the first only.
        with seeded_draws(run.seed) if runner.draws else nullcontext():
            maps.append(_attributed(method, inputs, unit, arguments))
    found = torch.stack(maps)
    return found if runner.differentiates else features.without_padding(found)


def _shared_gradients(method: Any, runner: Runner, n_units: int) -> SharedGradients | None:
    """Let a method that differentiates share its forward passes over tokens; those with rules for
    layers change them within each run."""
    is_captums = getattr(method, "gradient_func", None) is compute_gradients
    if not runner.differentiates or runner.layers or hasattr(method, _MODULE) or not is_captums:
        return None
    method.gradient_func = SharedGradients(n_units)
    shared: SharedGradients = method.gradient_func
    return shared


def _attributed(method: Any, inputs: Tensor, unit: int, arguments: Arguments) -> Tensor:
    try:
        found: Tensor = method.attribute(inputs, target=unit, **arguments)[0].detach()
    except TypeError as error:
        if _MODULE not in vars(method):
            raise
        raise ArgumentTypeError(
            f"{type(method).__name__} cannot explain this model: {' '.join(str(error).split())}"
        ) from error
    return found


def _forward_of_targets(
    method: Attribution, runner: Runner, side: Side, run: Run
) -> tuple[Any, int]:
    """A forward function of which each column is a target, and how many there are."""
    if runner.differentiates:
        if not getattr(run.score, "has_gradient", True):
            raise ArgumentError(
                f"score={score_name(run.score)!r} has no gradient at the unperturbed input; "
                "gradient methods take 'log_probability' or 'probability'."
            )
        hidden_func = _hidden_func(method, side)
        forward: Any = score_forward(
            run.score, hidden_func, side.inputs, run.token_ids, run.output_layer
        )
    else:
        forward = Replayed(score_of_side(side, run))
    if getattr(run.score, "is_per_token", False):
        return forward, len(run.token_ids)
    with torch.no_grad():
        return forward, int(forward(side.inputs).shape[1])


def _hidden_func(method: Attribution, side: Side) -> Callable[[Tensor], Tensor]:
    """What is differentiated; rules for layers are for those of the model itself."""
    stages = side.stages
    if side.gradients_with_padding or hasattr(method, _MODULE) or stages is None:
        return side.hidden_func
    encode = stages.encode_shortened
    return side.hidden_func if encode is None else lambda inputs: stages.decode(encode(inputs))


def _usual(runner: Runner, features: _Features, side: Side, run: Run) -> dict[str, Any]:
    """Arguments that methods have in common; each is given those that it takes."""
    batch = run.perturbations_per_eval if runner.finds_batch else run.fixed_batch
    if runner.differentiates:
        return {"baselines": side.baselines, "internal_batch_size": run.fixed_batch}
    return {
        "baselines": side.baselines if runner.takes_levels else features.baselines,
        "feature_mask": list(side.feature_masks) if runner.takes_levels else features.mask,
        "n_samples": side.n_samples,
        "perturbations_per_eval": batch,
        "seed": run.seed,
        "frame_rate": side.frame_rate,
        # Otherwise there would be a bar for every token.
        **({"show_progress": run.show_progress} if runner.at_once else {}),
    }


def _accepted(method: Attribution, *offered: Arguments) -> dict[str, Any]:
    parameters = _parameters(method)
    merged = {name: value for own in offered for name, value in own.items()}
    return {name: value for name, value in merged.items() if name in parameters}


def _checked(method: Attribution, method_args: Arguments) -> dict[str, Any]:
    """The user's own arguments; an unknown one would end in an error of Python's."""
    check_arguments(type(method), method_args, method.get_name())
    return dict(method_args)


def check_arguments(kind: type[Attribution], method_args: Arguments, name: str) -> None:
    """Raise where the ``attribute`` of a class of methods takes no argument of a name.

    Raises:
        ArgumentTypeError: it does not; ``name`` is what it calls the method.
    """
    parameters = inspect.signature(kind.attribute).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    unknown = [own for own in method_args if own not in parameters]
    if unknown and not takes_any:
        known = [own for own in parameters if own not in ("self", "inputs", "target")]
        raise ArgumentTypeError(
            f"{name} takes no argument {unknown[0]!r} in method_args; it has: {', '.join(known)}."
        )


def _parameters(method: Attribution) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(type(method).attribute).parameters


def _own_copy(method: Attribution) -> Any:
    """A copy that can be given another forward function and can store what it fits, while the
    user's object stays as it is. The model is shared."""
    own = copy.copy(method)
    shared = {id(v): v for v in (method.forward_func, vars(method).get(_MODULE))}
    for name, value in vars(method).items():
        setattr(own, name, copy.deepcopy(value, dict(shared)))
    return own


def _check_layers(method: Attribution, runner: Runner, model: Any) -> None:
    """Raise where a method with rules for layers would find none of them."""
    if not runner.layers or not isinstance(model, torch.nn.Module):
        return
    if not any(isinstance(module, runner.layers) for module in model.modules()):
        names = ", ".join(kind.__name__ for kind in runner.layers)
        raise ArgumentTypeError(
            f"{type(method).__name__} has rules for layers of {names}, and the model has none: its "
            "map would be that of a gradient. Take Saliency or InputXGradient."
        )


@contextmanager
def _layers_as_they_were(model: Any) -> Iterator[None]:
    """Take away what a method leaves on the layers of the model, also after an error."""
    modules = list(model.modules()) if isinstance(model, torch.nn.Module) else []
    before = [(set(vars(module)), [set(hooks) for hooks in _hooks(module)]) for module in modules]
    try:
        yield
    finally:
        for module, (names, known) in zip(modules, before, strict=True):
            for name in set(vars(module)) - names:
                delattr(module, name)
            for hooks, own in zip(_hooks(module), known, strict=True):
                for key in set(hooks) - own:
                    del hooks[key]


def _hooks(module: torch.nn.Module) -> list[Any]:
    return [module._forward_hooks, module._forward_pre_hooks, module._backward_hooks]


def _set_forward(method: Any, forward: Callable[..., Tensor]) -> None:
    """Set the forward function, also where a method keeps the model to give its layers rules."""
    model = vars(method).get(_MODULE)
    if isinstance(model, torch.nn.Module):
        method.model = _Scored(model, forward)
        method.forward_func = method.model
    else:
        method.forward_func = forward


class _Scored(torch.nn.Module):
    """A forward function beside the model that it runs, so that its layers are found."""

    def __init__(self, model: torch.nn.Module, forward: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model = model
        self._scored = forward
        self.training = model.training

    def forward(self, *inputs: Tensor) -> Tensor:
        """Score the inputs."""
        return self._scored(*inputs)


def _units(method: Attribution, count: int, run: Run) -> Iterator[int]:
    description = f"{method.get_name()} attribution"
    yield from tqdm(range(count), desc=description, unit="token", disable=not run.show_progress)


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


# What single methods are given besides ---------------------------------------------------


def _of_spes(side: Side, run: Run) -> Arguments:
    return {
        "perturb_prob": side.perturb_prob,
        "design": side.design,
        "estimator": side.estimator,
        "tolerance": side.tolerance,
        "return_partial": run.return_partial,
        "prior": None if side.prior is None else side.prior.of(side, run),
    }


def _of_bubbles(side: Side, run: Run) -> Arguments:
    return {"return_partial": run.return_partial, "tolerance": side.tolerance}


def _of_occlusion(side: Side, run: Run) -> Arguments:
    if side.frame_rate is None:
        return {"sliding_window_shapes": (1,), "baselines": side.baselines}
    shape = tuple(min(n, limit) for n, limit in zip(_WINDOW, side.inputs.shape[1:], strict=True))
    strides = tuple(max(1, n // 2) for n in shape)
    return {"sliding_window_shapes": shape, "strides": strides, "baselines": side.baselines}


def _of_permutations(side: Side, run: Run) -> Arguments:
    # A sample of this method is a permutation, which costs one forward per feature.
    return {"n_samples": max(1, side.n_samples // _Features(side).count)}


def _spes_on_tokens(method: Attribution) -> Attribution:
    """Bubbles are for spectrograms; the paper perturbs tokens as SPES does."""
    return SPES(method.forward_func)


SPES_RUNNER = Runner(at_once=True, takes_levels=True, finds_batch=True, arguments=_of_spes)
BUBBLES = Runner(
    at_once=True,
    takes_levels=True,
    finds_batch=True,
    arguments=_of_bubbles,
    on_tokens=_spes_on_tokens,
)
ABLATION = Runner(at_once=True)
OCCLUSION = Runner(at_once=True, takes_levels=True, arguments=_of_occlusion)
PERMUTATIONS = Runner(at_once=True, draws=True, arguments=_of_permutations)
SURROGATE = Runner(draws=True)
DETERMINISTIC_GRADIENT = Runner(differentiates=True)
# Captum's own lists; other activations pass gradients as they are.
RESCALE = Runner(
    differentiates=True,
    layers=(
        torch.nn.ReLU, torch.nn.ELU, torch.nn.LeakyReLU, torch.nn.Sigmoid, torch.nn.Tanh,
        torch.nn.Softplus, torch.nn.MaxPool1d, torch.nn.MaxPool2d, torch.nn.Softmax,
    ),
)  # fmt: skip
RECTIFIED = Runner(differentiates=True, layers=(torch.nn.ReLU,))
