"""The attribution methods that are compared, by name and number of samples."""

from __future__ import annotations

import re
from dataclasses import dataclass

from captum_spes.errors import ArgumentError

GRADIENT = ("saliency", "integrated-gradients")
SAMPLING = ("lime", "spes", "spes-efficient")
ABLATION = ("feature-ablation", "feature-ablation-kl")
METHODS = (*GRADIENT, *ABLATION, *SAMPLING)
# Captum's own default of Lime, and what the study of arXiv 2505.16406 used.
LIME_SAMPLES = 25
SAMPLES = 400
N_STEPS = 50


@dataclass(frozen=True)
class ReliabilityMethod:
    """A method and how often it asks the model.

    Attributes:
        name: one of ``METHODS``.
        n_samples: perturbed inputs of a sampling method; None for others.
    """

    name: str
    n_samples: int | None = None

    @property
    def is_gradient(self) -> bool:
        """Whether it differentiates the model and perturbs nothing."""
        return self.name in GRADIENT

    @property
    def is_random(self) -> bool:
        """Whether it depends on a mask seed."""
        return self.n_samples is not None

    @property
    def is_efficient(self) -> bool:
        """Whether samples are read by Gaussian process regression."""
        return self.name == "spes-efficient"

    @property
    def passes_per_evaluation(self) -> int:
        """A gradient costs about two forward passes beside its own."""
        return 3 if self.is_gradient else 1

    def __str__(self) -> str:
        return self.name if self.n_samples is None else f"{self.name}@{self.n_samples}"


def parse_method(text: str) -> ReliabilityMethod:
    r"""
    Read the name of a method, for sampling methods with a number of samples.

    Args:

        text (str): "saliency", "integrated-gradients", "feature-ablation", "feature-ablation-kl"
                    (scored by the divergence of all classes, as SPES is), "lime", "spes" or
                    "spes-efficient"; of the last three also "lime@100", for example. Without a
                    number Lime has 25 samples, Captum's default, and SPES 400.

    Returns:
        *ReliabilityMethod*.

    Raises:
        ArgumentError: the name is unknown, or the number is none.

    Examples::

        >>> str(parse_method("lime"))
        'lime@25'
    """
    name, _, number = text.strip().partition("@")
    if name not in METHODS:
        raise ArgumentError(f"unknown method {name!r}; known: {', '.join(METHODS)}.")
    if name not in SAMPLING:
        if number:
            raise ArgumentError(f"{name} draws no samples, so it takes no number: {text!r}.")
        return ReliabilityMethod(name)
    if number and not re.fullmatch(r"[1-9]\d*", number):
        raise ArgumentError(f"the number of samples in {text!r} must be a positive whole number.")
    default = LIME_SAMPLES if name == "lime" else SAMPLES
    return ReliabilityMethod(name, int(number or default))
