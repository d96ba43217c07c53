"""How far apart removing what a map marks most, and what it marks least, are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from captum_spes.errors import ArgumentTypeError
from captum_spes.forward import Score
from captum_spes.metrics.curve_options import CurveSettings, Example
from captum_spes.metrics.curves import CurveDifference
from captum_spes.metrics.measured_curve import measured_curves
from captum_spes.speech import SpeechToTextAttribution
from captum_spes.speech.models import SpeechModel


def symmetric_gain(
    explainer_or_model: SpeechToTextAttribution | SpeechModel,
    examples: Iterable[Example | Sequence[Any] | Mapping[str, Any]],
    step: float = 0.05,
    *,
    metric: str | Score = "wer_capped",
    text_normalizer: Callable[[str], str] | None = None,
    show_progress: bool = False,
    **options: Any,
) -> CurveDifference:
    r"""
    The symmetric relevance gain of arXiv 2401.06654: the area between the curve of deletion with
    the most salient cells first and that with the least salient ones first.

    What removed cells become changes both curves. In their difference some of that cancels: on
    images, the authors found, methods rank more alike under different removals by it than by either
    curve. A map that tells no cell from another has a gain of 0.

    Args:

        explainer_or_model (SpeechToTextAttribution or SpeechModel): As for
                    :func:`deletion_curve`, like all further arguments.
        examples (iterable of Example): Utterances.
        step (float, optional): Share of the cells per step; it must divide 1.
                    Default: 0.05
        metric (str or Score, optional): Default: "wer_capped"
        text_normalizer (Callable, optional): Default: None
        show_progress (bool, optional): Default: False
        **options (Any): As for :func:`deletion_curve`, without ``order``.

    Returns:
        *CurveDifference*: the larger the better, whatever the metric: most minus least salient
        first, for BLEU and token accuracy the other way round. Its intervals are paired.

    Raises:
        ArgumentError: as :func:`deletion_curve`.
        ArgumentTypeError: as :func:`deletion_curve`, or an order is given.
        ImportError: as :func:`deletion_curve`.

    Examples::

        >>> gain = symmetric_gain(explainer, [("speech.flac", None, result)], 0.25, metric="kl")
        >>> gain.auc == gain.first.auc - gain.second.auc
        True
    """
    if "order" in options:
        raise ArgumentTypeError("symmetric_gain takes no order: it removes in both.")
    settings = CurveSettings.of("deletion", step, metric, options)
    curves = measured_curves(
        settings, ["most", "least"], explainer_or_model, examples, text_normalizer, show_progress
    )
    first, second = curves if rises(settings.measure.name) else reversed(curves)
    return CurveDifference("symmetric relevance gain", first, second)


def rises(metric: str) -> bool:
    """Whether a measure becomes larger as what matters is removed."""
    return not metric.startswith("bleu") and metric != "token_accuracy"
