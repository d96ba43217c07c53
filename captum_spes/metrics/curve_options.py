"""What is measured on which utterances, and how cells are removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from torch import Tensor

from captum_spes.errors import ArgumentError, ArgumentTypeError, instance_of, truth, whole_number
from captum_spes.forward import Score
from captum_spes.metrics.deletion import ORDERS, percentages_of
from captum_spes.metrics.hearing import Measure
from captum_spes.metrics.removal import Removal, as_removal
from captum_spes.speech import SpeechToTextAttributionResult
from captum_spes.speech.settings import check_baselines


class Example(NamedTuple):
    """An utterance to measure an explanation on.

    Attributes:
        audio: what was explained: a file, samples at the model's rate, or features.
        reference: what should be written; it may be None for graded measures.
        attribution: the explanation, or a map of shape ``(time, freq)``; None to explain
            with the explainer.
    """

    audio: Any
    reference: str | None = None
    attribution: SpeechToTextAttributionResult | Tensor | None = None


@dataclass(frozen=True)
class CurveOptions:
    r"""
    How deletion and insertion remove cells and let the model read what is left.

    Args:

        normalized (bool, optional): Whether the maps of tokens are normalised before they
                    are averaged.
                    Default: True
        per_token (bool, optional): For graded metrics: whether cells are removed by each
                    token's own map and only that token is measured. Only without it can a map
                    that is the same for every token, such as that of energy, be the best. It
                    multiplies the cost by the number of tokens.
                    Default: False, the sentence-level map for all tokens
        baselines (str, float or Tensor, optional): What removed cells become.
                    Default: None, what the explanation was made with, or the adapter's own
        removal (str or Removal, optional): What removed cells become whatever the explanation put
                    there: "mean" (of each mel bin), "silence", "noise" (20 dB below the recording),
                    "neighbours" (a smooth continuation of the kept cells), "other" (the same cells
                    of another one of the examples), or any
                    :class:`captum_spes.metrics.Removal`. Not together with ``baselines``.
                    Default: None, ``baselines``
        order (str, optional): "most", the most salient cells first (MoRF; MIF in arXiv 2401.06654),
                    or "least" (LeRF, LIF): then a better map has a smaller area where it had a
                    larger one. Cells that are equal go in the same order either way.
                    Default: "most"
        gen_args (dict, optional): Arguments of ``model.generate``.
                    Default: None, those of the explanation
        batch_size (int, optional): Steps per forward pass.
                    Default: None, all at once

    Examples::

        >>> CurveOptions(per_token=True).normalized
        True
    """

    normalized: bool = True
    per_token: bool = False
    baselines: str | float | Tensor | None = None
    gen_args: Mapping[str, Any] | None = None
    batch_size: int | None = None
    removal: str | Removal | None = None
    order: str = "most"

    def __post_init__(self) -> None:
        truth("normalized", self.normalized)
        check_baselines(self.baselines)
        truth("per_token", self.per_token)
        if self.gen_args is not None:
            instance_of("gen_args", self.gen_args, Mapping, "a dictionary")
        if self.batch_size is not None:
            whole_number("batch_size", self.batch_size, 1)
        if self.removal is not None:
            as_removal(self.removal)
            if self.baselines is not None:
                raise ArgumentError(
                    "baselines and removal both say what removed cells become: give one of them."
                )
        if self.order not in ORDERS:
            raise ArgumentError(f"order must be one of {', '.join(ORDERS)}, got {self.order!r}.")


class CurveSettings(NamedTuple):
    """What the arguments of a curve say."""

    name: str
    percentages: list[int]
    measure: Measure
    options: CurveOptions
    attribute_args: Mapping[str, Any]

    @classmethod
    def of(
        cls, name: str, step: float, metric: str | Score, options: Mapping[str, Any]
    ) -> CurveSettings:
        """Read the arguments of a function, before anything is explained.

        Args:
            name: of the curve, "deletion" or "insertion".
            step: share of the cells per step.
            metric: what is measured.
            options: fields of :class:`CurveOptions`, and arguments of ``explainer.attribute``.
        """
        own = {f.name for f in fields(CurveOptions)}
        return cls(
            name,
            percentages_of(step),
            Measure.of(metric),
            CurveOptions(**{name: value for name, value in options.items() if name in own}),
            {name: value for name, value in options.items() if name not in own},
        )


def as_example(given: Any, measure: Measure) -> Example:
    try:
        example = Example(**given) if isinstance(given, Mapping) else Example(*given)
    except TypeError as error:
        raise ArgumentTypeError(
            f"an example is (audio, reference, attribution) or a dictionary of these: {error}"
        ) from error
    if not measure.is_graded and not (example.reference or "").strip():
        raise ArgumentError(f"an example has no reference text, which {measure.name} needs.")
    return example
