"""The attribution methods that are compared, by name and number of samples.

They are those of :data:`captum_spes.speech.METHODS`; what is said here is how the study of arXiv
2505.16406 used them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from captum._utils.models.linear_model import SkLearnLinearRegression
from captum.attr import Attribution, Lime

from captum_spes.errors import ArgumentError
from captum_spes.forward import KL, Score
from captum_spes.speech import METHODS as ALL
from captum_spes.speech import Method, Settings
from captum_spes.stability.scores import TargetLogit

# Captum's own default of Lime, and what the study used.
LIME_SAMPLES = 25
SAMPLES = 400
# Ablation of a classifier scored by the divergence of all classes, as SPES is.
_BY_DIVERGENCE = "feature-ablation-kl"
_ENTRIES = {_BY_DIVERGENCE: "feature-ablation"}
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "saliency": {"abs": False},
    "integrated-gradients": {"n_steps": 50},
}


def method_names() -> tuple[str, ...]:
    r"""
    The methods of the list that perturb or differentiate a model, and ablation by the divergence.

    Returns:
        *tuple* of str.

    Examples::

        >>> "lime" in method_names(), "cross-attention" in method_names()
        (True, False)
    """
    known = (name for name, method in ALL.items() if method.runner is not None)
    return (*known, _BY_DIVERGENCE)


@dataclass(frozen=True)
class StudyMethod:
    """A method and how often it asks the model.

    Attributes:
        name: one of :func:`method_names`.
        n_samples: perturbed inputs of a sampling method; None for others.
    """

    name: str
    n_samples: int | None = None

    @property
    def entry(self) -> Method:
        """What the list of methods says of it."""
        return ALL[_ENTRIES.get(self.name, self.name)]

    @property
    def is_gradient(self) -> bool:
        """Whether it differentiates the model and perturbs nothing."""
        return self.entry.runner is not None and self.entry.runner.differentiates

    @property
    def is_random(self) -> bool:
        """Whether it depends on a mask seed."""
        return self.n_samples is not None

    @property
    def settings(self) -> Settings:
        """What it runs with; units are cut by the study."""
        asked = Settings.paper(
            n_samples=self.n_samples or 1,
            n_token_samples=0,
            method_args=_ARGUMENTS.get(self.name, {}),
        )
        return self.entry.settings(asked)

    @property
    def patches_per_second(self) -> tuple[float, ...] | None:
        """Sizes of its own patches; None for those of the study."""
        own = self.settings.patches_per_second
        return None if own == Settings.paper().patches_per_second else own

    @property
    def passes_per_evaluation(self) -> int:
        """A gradient costs about two forward passes beside its own."""
        return 3 if self.is_gradient else 1

    def make(self, model: Any) -> Attribution:
        """The method, from a model; Lime with a plain linear model, as in the study."""
        if self.name == "lime":
            return Lime(model, interpretable_model=SkLearnLinearRegression())
        return self.entry.make(model)

    def score_of_class(self) -> Score:
        """What is asked of a classifier: the logit of the right class, as in the study, or how
        far the distribution over all classes moves."""
        if self.entry.make is ALL["spes"].make:
            own = self.settings.score
            return KL() if own is None else own
        return KL() if self.name == _BY_DIVERGENCE else TargetLogit()

    def __str__(self) -> str:
        return self.name if self.n_samples is None else f"{self.name}@{self.n_samples}"


def parse_method(text: str) -> StudyMethod:
    r"""
    Read the name of a method, for sampling methods with a number of samples.

    Args:

        text (str): A name of :data:`captum_spes.speech.METHODS`, "saliency" for example, or
                    "feature-ablation-kl" (scored by the divergence of all classes, as SPES is);
                    of methods that sample also "lime@100", for example. Without a number Lime
                    has 25 samples, Captum's default, and others 400.

    Returns:
        *StudyMethod*.

    Raises:
        ArgumentError: the name is unknown, or the number is none.

    Examples::

        >>> str(parse_method("lime"))
        'lime@25'
    """
    name, _, number = text.strip().partition("@")
    known = method_names()
    if name not in known:
        raise ArgumentError(f"unknown method {name!r}; known: {', '.join(known)}.")
    method = StudyMethod(name)
    if not method.entry.is_sampling:
        if number:
            raise ArgumentError(f"{name} draws no samples, so it takes no number: {text!r}.")
        return method
    if number and not re.fullmatch(r"[1-9]\d*", number):
        raise ArgumentError(f"the number of samples in {text!r} must be a positive whole number.")
    default = LIME_SAMPLES if name == "lime" else SAMPLES
    return StudyMethod(name, int(number or default))
