"""The one list of methods: what each is called, what makes it, and what it costs.

The wrapper, ``evaluate``, the study across training seeds, ``--help`` and the documentation read
it. :func:`register` adds your own method.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import ismethod
from typing import Any, NamedTuple

from captum.attr import (
    LRP,
    Attribution,
    Deconvolution,
    DeepLift,
    FeatureAblation,
    GradientShap,
    GuidedBackprop,
    InputXGradient,
    IntegratedGradients,
    KernelShap,
    Lime,
    Occlusion,
    Saliency,
    ShapleyValueSampling,
)

from captum_spes.attr import SPES, BubbleNoise, GaussianProcess, MaskedDifference, MaskedMean
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.masks.scales import EFFICIENT_PATCHES_PER_SECOND
from captum_spes.speech import running
from captum_spes.speech.attention_heads import ChosenHeads, HeadsByEntropy
from captum_spes.speech.controls import EnergyMap, RandomMap
from captum_spes.speech.cross_attention import CrossAttention, CrossAttentionRollout
from captum_spes.speech.priors import GradientPrior
from captum_spes.speech.running import Runner
from captum_spes.speech.settings import Settings
from captum_spes.speech.utterance_methods import SpeechAttribution

# The duration, in seconds, that the paper's fixed numbers of patches are right for.
_FIXED_SECONDS = 5
# A backward pass costs about as much as two forward passes.
_PASSES_BACKWARD = 2
# One that serves a group of tokens, its share of those through the decoder alone included, was
# measured at 1.0 to 1.3 (bundled model) and 1.8 (Whisper tiny.en, 25 tokens).
_PASSES_OF_GROUP = 1.5


class Extent(NamedTuple):
    """How large an explanation is.

    Attributes:
        tokens: how many are explained.
        patches: of the first segmentation level.
        cells: of the spectrogram.
        previous: previous tokens.
        instruction: tokens of the instruction.
        window_share: how much of the model's window is speech and not padding; 1 for a model that
            cannot leave padding out.
    """

    tokens: int
    patches: int
    cells: int
    previous: int
    instruction: int = 0
    window_share: float = 1.0


class Passes(NamedTuple):
    """Passes through the model.

    Attributes:
        spectrogram: perturbed spectrograms, through encoder and decoder.
        tokens: perturbed previous tokens, through the decoder alone.
    """

    spectrogram: int
    tokens: int


def _unchanged(settings: Settings) -> Settings:
    return settings


def _without_spes(settings: Settings) -> Settings:
    """Without what is for SPES alone."""
    return settings.replace(
        estimator=MaskedMean(), tolerance=None, design=None, perturb_jointly=False
    )


@dataclass(frozen=True)
class Method:
    """A method with its settings.

    Attributes:
        name: as on the command line.
        make: makes the method from a model.
        about: what it does, in a few words.
        runner: how the wrapper runs it; None for one that looks at the whole utterance.
        settings: turns the settings asked for into those that it runs with.
        passes: what it costs, from the latter and the extent.
        normalized: whether maps of tokens are normalised before they are averaged.
        same_maps_as: name of a method with the same maps, which need be made once only.
    """

    name: str
    make: Callable[[Any], Attribution]
    about: str
    runner: Runner | None
    passes: Callable[[Settings, Extent], Passes]
    settings: Callable[[Settings], Settings] = _unchanged
    normalized: bool = True
    same_maps_as: str | None = None

    @property
    def kind(self) -> type[Any] | None:
        """The class that it makes; None where a function makes it."""
        return self.make if isinstance(self.make, type) else None

    @property
    def is_sampling(self) -> bool:
        """Whether ``n_samples`` decides how often the model is asked."""
        return self.passes is _of_samples

    @property
    def needs(self) -> tuple[type[Any], ...]:
        """What the model must be able to do besides hearing audio and scoring tokens."""
        kind = self.kind
        is_utterance = kind is not None and issubclass(kind, SpeechAttribution)
        return kind.needs if is_utterance and kind is not None else ()


# Costs ----------------------------------------------------------------------------------


def _of_samples(settings: Settings, extent: Extent) -> Passes:
    n_sides = (extent.previous > 0) + (extent.instruction > 0)
    of_tokens = n_sides * (settings.n_token_samples + 1) if settings.n_token_samples else 0
    return Passes(settings.n_samples + 1 + _of_prior(settings, extent), of_tokens)


def _of_prior(settings: Settings, extent: Extent) -> int:
    """Passes that a prior costs, backward ones included."""
    if not isinstance(settings.prior, GradientPrior):
        return 0
    share = 1.0 if settings.prior.with_padding else extent.window_share
    each = 1 + _PASSES_OF_GROUP * min(settings.prior.n_groups, extent.tokens)
    return round(settings.prior.masks_for(settings.n_samples) * each * share)


def _of_ablation(settings: Settings, extent: Extent) -> Passes:
    return Passes(extent.patches + 1, _one_by_one(settings, extent))


def _of_windows(settings: Settings, extent: Extent) -> Passes:
    windows = math.ceil(extent.cells / 25)  # windows of 10 by 10 cells that move by half
    return Passes(windows + 1, _one_by_one(settings, extent))


def _one_by_one(settings: Settings, extent: Extent) -> int:
    """Passes that remove each token of every side once, beside one that removes none."""
    sides = (extent.previous, extent.instruction)
    return sum(count + 1 for count in sides if count) if settings.n_token_samples else 0


def _of_gradients(steps: int, is_shared: bool = True) -> Callable[[Settings, Extent], Passes]:
    """Of methods that differentiate: forward passes for each token, or shared by all tokens but the
    first, and backward passes for each."""

    def passes(settings: Settings, extent: Extent) -> Passes:
        forward = min(2, extent.tokens) if is_shared else extent.tokens
        each = forward + _PASSES_BACKWARD * extent.tokens
        own = {**settings.method_args.get("spectrogram", {})}
        n_steps = int(own.get("n_steps", own.get("n_samples", steps)))
        n_sides = 1 + (extent.instruction > 0) if settings.n_token_samples else 0
        is_whole = settings.gradients_with_padding or not is_shared
        share = 1.0 if is_whole else extent.window_share
        return Passes(math.ceil(each * n_steps * share), each * steps * n_sides)

    return passes


def _of_one_pass(settings: Settings, extent: Extent) -> Passes:
    return Passes(1, 0)


# The list -------------------------------------------------------------------------------


def _efficient(settings: Settings) -> Settings:
    """Its own patches and estimator, whatever was asked for."""
    if isinstance(settings.estimator, GaussianProcess):
        return settings
    return settings.replace(
        estimator=Settings.efficient(score=settings.score).estimator,
        prior=GradientPrior(),
        patches_per_second=EFFICIENT_PATCHES_PER_SECOND,
        perturb_jointly=False,
    )


def _difference(settings: Settings) -> Settings:
    return settings.replace(estimator=MaskedDifference(), perturb_jointly=False)


def _mean(settings: Settings) -> Settings:
    return settings.replace(estimator=MaskedMean())


def _cells(settings: Settings) -> Settings:
    """The paper's baseline perturbs single cells, more of them, and fewer tokens."""
    return _mean(settings).replace(feature_mask="cells", perturb_prob=0.7, token_perturb_prob=0.1)


def _grid(settings: Settings) -> Settings:
    return settings.replace(feature_mask="grid")


def _single_level(settings: Settings) -> Settings:
    scales = sorted(settings.patches_per_second)
    return settings.replace(patches_per_second=scales[len(scales) // 2])


def _fixed_patches(settings: Settings) -> Settings:
    counts = [round(n * _FIXED_SECONDS) for n in settings.patches_per_second]
    return settings.replace(n_patches=counts)


def _probability(settings: Settings) -> Settings:
    changed: dict[str, Any] = {"score": "probability"}
    if isinstance(settings.estimator, GaussianProcess):
        changed["estimator"] = Settings.efficient(**changed).estimator
    return settings.replace(**changed)


def _jointly(settings: Settings) -> Settings:
    return settings.replace(perturb_jointly=True, estimator=MaskedMean(), tolerance=None)


def _spes(name: str, about: str, settings: Callable[[Settings], Settings], **more: Any) -> Method:
    return Method(name, SPES, about, running.SPES_RUNNER, _of_samples, settings, **more)


def _captum(
    make: Any, name: str, about: str, runner: Runner, passes: Callable[[Settings, Extent], Passes]
) -> Method:
    return Method(name, make, about, runner, passes, _without_spes)


def _utterance(make: Any, name: str, about: str) -> Method:
    return Method(name, make, about, None, _of_one_pass, _without_spes)


_ALL = (
    _spes("spes", "SPES as the settings say", _unchanged),
    _spes("spes-efficient", "samples read by regression, patches of 16 sizes", _efficient),
    _spes("spes-mean", "samples averaged (Eq. 3), the paper's estimator", _mean),
    _spes("spes-difference", "removed minus kept: a true zero", _difference),
    # Baselines of the paper.
    _spes("feature-wise", "the paper's baseline: every cell on its own", _cells),
    Method(
        "bubble-noise",
        BubbleNoise,
        "the paper's baseline: noise except in random bubbles",
        running.BUBBLES,
        _of_samples,
        lambda settings: _without_spes(settings).replace(tolerance=settings.tolerance),
    ),
    # Its ablations: Table 1, lower half.
    _spes("spes-single-level", "one size of patches", _single_level),
    _spes("spes-grid", "rectangles instead of SLIC's patches", _grid),
    _spes("spes-fixed-patches", "a fixed number of patches, whatever the duration", _fixed_patches),
    _spes("spes-probability", "scored by the token's probability", _probability),
    # Tables 3 and 4.
    _spes(
        "spes-unnormalized",
        "maps of spes, averaged without normalisation",
        _unchanged,
        normalized=False,
        same_maps_as="spes",
    ),
    _spes("spes-joint", "both sides in the same samples", _jointly),
    # Captum's own methods.
    _captum(Saliency, "saliency", "gradient", running.DETERMINISTIC_GRADIENT, _of_gradients(1)),
    _captum(
        InputXGradient,
        "input-x-gradient",
        "input times gradient",
        running.DETERMINISTIC_GRADIENT,
        _of_gradients(1),
    ),
    _captum(
        IntegratedGradients,
        "integrated-gradients",
        "gradients on the way from baseline to input",
        running.DETERMINISTIC_GRADIENT,
        _of_gradients(50),
    ),
    _captum(
        GradientShap,
        "gradient-shap",
        "gradients at random points between baseline and input",
        running.GRADIENT,
        _of_gradients(5),
    ),
    _captum(
        DeepLift,
        "deep-lift",
        "differences from the baseline, layer by layer",
        running.RESCALE,
        _of_gradients(2, is_shared=False),
    ),
    _captum(
        LRP,
        "lrp",
        "relevance, layer by layer, where all layers have rules",
        running.DETERMINISTIC_GRADIENT,
        _of_gradients(1, is_shared=False),
    ),
    _captum(
        Deconvolution,
        "deconvolution",
        "gradient through all ReLUs, positive values only",
        running.RECTIFIED,
        _of_gradients(1, is_shared=False),
    ),
    _captum(
        GuidedBackprop,
        "guided-backprop",
        "gradient through active ReLUs, positive values only",
        running.RECTIFIED,
        _of_gradients(1, is_shared=False),
    ),
    _captum(
        FeatureAblation, "feature-ablation", "one patch at a time", running.ABLATION, _of_ablation
    ),
    _captum(Occlusion, "occlusion", "a sliding window", running.OCCLUSION, _of_windows),
    _captum(
        ShapleyValueSampling,
        "shapley-value-sampling",
        "patches in random orders",
        running.PERMUTATIONS,
        _of_samples,
    ),
    _captum(
        KernelShap,
        "kernel-shap",
        "Shapley values by weighted regression",
        running.SURROGATE,
        _of_samples,
    ),
    _captum(
        Lime, "lime", "a sparse linear model of random subsets", running.SURROGATE, _of_samples
    ),
    # Attention.
    _utterance(CrossAttention, "cross-attention", "mean attention of the decoder"),
    _utterance(
        CrossAttentionRollout, "cross-attention-rollout", "followed back through the encoder"
    ),
    _utterance(ChosenHeads, "cross-attention-alignment-heads", "of the heads that Whisper names"),
    _utterance(
        HeadsByEntropy, "cross-attention-by-entropy", "heads that look at few places count more"
    ),
    # Controls, which every method should beat.
    _utterance(EnergyMap, "energy", "control: the spectrogram itself"),
    _utterance(RandomMap, "random", "control: random numbers"),
)
METHODS: dict[str, Method] = {method.name: method for method in _ALL}


def register(method: Method) -> Method:
    r"""
    Add a method to the list, so that the command line and ``evaluate`` know it.

    Args:

        method (Method): One with a new name.

    Returns:
        *Method*: the same.

    Raises:
        ArgumentError: there is a method of that name.

    Examples::

        >>> own = Method("my-lime", Lime, "Lime, once more", METHODS["lime"].runner,
        ...              METHODS["lime"].passes, METHODS["lime"].settings)
        >>> register(own).name in METHODS
        True
        >>> del METHODS["my-lime"]
    """
    if method.name in METHODS:
        raise ArgumentError(f"there is a method {method.name!r} already.")
    METHODS[method.name] = method
    return method


def draws_samples(name: str) -> bool:
    """Whether ``n_samples`` decides how often a method asks the model, by the name that its
    explanations have; True for methods that are not listed."""
    return all(method.is_sampling for method in METHODS.values() if _is_named(method.kind, name))


def removes_patches(name: str) -> bool:
    """Whether a method looks at patches, likewise."""
    costs = [method.passes for method in METHODS.values() if _is_named(method.kind, name)]
    return all(cost in (_of_samples, _of_ablation) for cost in costs)


def _is_named(kind: type[Any] | None, name: str) -> bool:
    if kind is None:
        return False
    if ismethod(kind.get_name):
        return bool(kind.get_name() == name)
    return name.startswith(kind.__name__)  # it tells its arguments behind


def named_methods(names: Sequence[str]) -> list[Method]:
    r"""
    Look up methods.

    Args:

        names (sequence of str): Keys of ``METHODS``.

    Returns:
        *list* of :class:`Method`.

    Raises:
        ArgumentError: a name is unknown or given twice, or there is none.

    Examples::

        >>> [method.name for method in named_methods(["spes", "energy"])]
        ['spes', 'energy']
    """
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise ArgumentError(f"unknown method {unknown[0]!r}; known: {', '.join(METHODS)}.")
    if not names or len(set(names)) < len(names):
        raise ArgumentError(f"give every method once, at least one; got {', '.join(names)!r}.")
    return [METHODS[name] for name in names]


def runner_of(method: object) -> Runner | None:
    r"""
    How the wrapper runs a method; None for one that looks at the whole utterance.

    Args:

        method (Attribution): A Captum method, of the list or not.

    Returns:
        *Runner* or None.

    Raises:
        ArgumentTypeError: it is no Captum method, or attributes to layers and not to inputs.
    """
    if not isinstance(method, Attribution):
        raise ArgumentTypeError(
            f"attr_method must be a Captum method such as SPES(model), got {type(method).__name__}."
        )
    if isinstance(method, SpeechAttribution):
        return None
    known = {entry.kind: entry.runner for entry in METHODS.values() if entry.kind is not None}
    # By exact type, except subclasses of SPES: subclasses of others may take other arguments.
    for kind in type(method).__mro__:
        if kind in known and (kind is type(method) or kind is SPES):
            return known[kind]
    return running.default_runner(method)


def check_settings(method: Attribution, settings: Settings) -> None:
    """Raise where settings ask for what only SPES can do and the method is another."""
    settings.check_runnable()
    if isinstance(method, SPES):
        return
    takes_tolerance = isinstance(method, BubbleNoise)
    asked = {
        "perturb_jointly=True": settings.perturb_jointly,
        "tolerance": settings.tolerance is not None and not takes_tolerance,
        "design": settings.design is not None,
        f"estimator={settings.estimator!r} (the efficient scheme, for example)": (
            settings.estimator != MaskedMean()
        ),
    }
    for name, is_asked in asked.items():
        if is_asked:
            raise ArgumentError(f"{name} is for SPES, got {method.get_name()}.")
    if isinstance(method, SpeechAttribution) and settings.method_args:
        raise ArgumentError(f"{method.get_name()} takes no method_args.")
