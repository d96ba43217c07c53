"""Every method that can be compared, by one name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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

from captum_spes.attr import SPES, BubbleNoise, GaussianProcess
from captum_spes.errors import ArgumentError
from captum_spes.masks.scales import EFFICIENT_PATCHES_PER_SECOND
from captum_spes.speech import CrossAttention, EnergyMap, RandomMap

# The paper's feature-wise baseline perturbs single cells, more of them, and fewer tokens.
_FEATURE_WISE = {"feature_mask": "cells", "perturb_prob": 0.7, "token_perturb_prob": 0.1}
# The duration, in seconds, that the paper's fixed numbers of patches are right for.
_FIXED_SECONDS = 5


@dataclass(frozen=True)
class NamedMethod:
    """A method with its settings.

    Attributes:
        name: as on the command line.
        make: the method, from a model.
        arguments: of ``SpeechToTextAttribution.attribute``, from the patches per second
            asked for; they win over the command's own.
        normalized: whether maps of tokens are normalised before they are averaged.
        max_samples: the most samples that it takes; None for any number.
        same_maps_as: name of a method with the same maps, which need be made once only.
    """

    name: str
    make: Callable[[Any], Attribution]
    arguments: Callable[[Sequence[float]], Mapping[str, Any]] = field(
        default=lambda patches_per_second: {}
    )
    normalized: bool = True
    max_samples: int | None = None
    same_maps_as: str | None = None


def _rollout(model: Any) -> Attribution:
    return CrossAttention(model, "rollout")


_ALL = (
    NamedMethod("spes", SPES),
    # More from each sample; its own patches, whatever was asked for.
    NamedMethod(
        "spes-efficient",
        SPES,
        lambda patches: {
            "scheme": "efficient",
            "patches_per_second": EFFICIENT_PATCHES_PER_SECOND,
        },
        max_samples=GaussianProcess().max_samples,
    ),
    # Baselines of the paper.
    NamedMethod("feature-wise", SPES, lambda patches: _FEATURE_WISE),
    NamedMethod("bubble-noise", BubbleNoise),
    # Its ablations: Table 1, lower half.
    NamedMethod(
        "spes-single-level",
        SPES,
        lambda patches: {"patches_per_second": sorted(patches)[len(patches) // 2]},
    ),
    NamedMethod("spes-grid", SPES, lambda patches: {"feature_mask": "grid"}),
    NamedMethod(
        "spes-fixed-patches",
        SPES,
        lambda patches: {"n_patches": [round(n * _FIXED_SECONDS) for n in patches]},
    ),
    NamedMethod("spes-probability", SPES, lambda patches: {"score": "probability"}),
    # Tables 3 and 4.
    NamedMethod("spes-unnormalized", SPES, normalized=False, same_maps_as="spes"),
    NamedMethod("spes-joint", SPES, lambda patches: {"perturb_jointly": True}),
    # Captum's own methods, and attention.
    NamedMethod("saliency", Saliency),
    NamedMethod("input-x-gradient", InputXGradient),
    NamedMethod("integrated-gradients", IntegratedGradients),
    NamedMethod("gradient-shap", GradientShap),
    NamedMethod("feature-ablation", FeatureAblation),
    NamedMethod("occlusion", Occlusion),
    NamedMethod("shapley-value-sampling", ShapleyValueSampling),
    NamedMethod("kernel-shap", KernelShap),
    NamedMethod("lime", Lime),
    NamedMethod("cross-attention", CrossAttention),
    NamedMethod("cross-attention-rollout", _rollout),
    # Controls that nobody may lose to.
    NamedMethod("energy", EnergyMap),
    NamedMethod("random", RandomMap),
)
METHODS: dict[str, NamedMethod] = {method.name: method for method in _ALL}


def named_methods(names: Sequence[str]) -> list[NamedMethod]:
    r"""
    Look up methods.

    Args:

        names (sequence of str): Keys of ``METHODS``.

    Returns:
        *list* of :class:`NamedMethod`.

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
