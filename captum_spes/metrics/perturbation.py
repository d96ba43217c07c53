"""Deletion and insertion: what the model writes without the salient cells, or with only these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from captum_spes.forward import Score

# What is imported under its own name had its place here.
from captum_spes.metrics.curve_options import CurveOptions as CurveOptions
from captum_spes.metrics.curve_options import CurveSettings
from captum_spes.metrics.curve_options import Example as Example
from captum_spes.metrics.curves import Curve
from captum_spes.metrics.deletion import percentages_of as percentages_of
from captum_spes.metrics.deletion import perturbed as perturbed
from captum_spes.metrics.hearing import GRADED as GRADED
from captum_spes.metrics.hearing import Hearing as Hearing
from captum_spes.metrics.hearing import adapter_of as adapter_of
from captum_spes.metrics.hearing import explained_sequence as explained_sequence
from captum_spes.metrics.measured_curve import graded_curve as graded_curve
from captum_spes.metrics.measured_curve import measured_curves
from captum_spes.metrics.measured_curve import text_curve as text_curve
from captum_spes.speech import SpeechToTextAttribution
from captum_spes.speech.models import SpeechModel


def deletion_curve(
    explainer_or_model: SpeechToTextAttribution | SpeechModel,
    examples: Iterable[Example | Sequence[Any] | Mapping[str, Any]],
    step: float = 0.05,
    *,
    metric: str | Score = "wer_capped",
    text_normalizer: Callable[[str], str] | None = None,
    show_progress: bool = False,
    **options: Any,
) -> Curve:
    r"""
    Remove the most salient cells of the sentence-level map, 5 % more at each step, and
    measure what the model makes of the rest (arXiv 2411.01710, section 5).

    Text metrics let the model write anew with its own generation settings, all steps of an
    utterance in one batch, and score the whole corpus per step. Graded metrics force the
    original output instead and measure what becomes of its tokens: they change smoothly where
    the word error rate of a short sentence jumps.

    Args:

        explainer_or_model (SpeechToTextAttribution or SpeechModel): An explainer; or an
                    adapter (``explainer.adapter``), if every example brings its
                    attribution.
        examples (iterable of Example): Utterances, as :class:`Example`, as tuples or as
                    dictionaries of its fields.
        step (float, optional): Share of the cells per step; it must divide 1.
                    Default: 0.05
        metric (str or Score, optional): "wer_capped" (word error rate, each step at most
                    100), "wer"; "cer_capped", "cer" (of characters, for languages without
                    spaces); "bleu", "bleu-zh" and the others of :func:`corpus_score`; or
                    graded, "kl" (mean divergence per token, nats), "token_accuracy" (percent of
                    the tokens that the model ranks first; it may start below 100 if generation
                    suppresses some tokens), or by how much another score falls: "probability",
                    "log_probability", or any :class:`captum_spes.forward.Score`.
                    Default: "wer_capped", the paper's for recognition
        text_normalizer (Callable, optional): Applied to references and hypotheses, for
                    example transformers' ``BasicTextNormalizer()``.
                    Default: None, texts as they are, the paper's
        show_progress (bool, optional): Displays a progress bar over utterances.
                    Default: False
        **options (Any): Fields of :class:`CurveOptions` (``normalized``, ``per_token``,
                    ``baselines``, ``removal``, ``order``, ``gen_args``, ``batch_size``); all others
                    are arguments of ``explainer.attribute`` for examples without an attribution.

    Returns:
        *Curve*: x in percent of the cells, y the metric, ``auc`` its area on the paper's
        0 to 100 scale. For word errors and divergence a better map has a larger area, for
        BLEU and token accuracy a smaller one.

    Raises:
        ArgumentError: there is no example, an argument is unusable, a reference is missing,
            or an attribution does not fit its audio.
        ArgumentTypeError: an argument is unknown or has the wrong type.
        ImportError: editdistance or sacrebleu is not installed.

    Examples::

        >>> curve = deletion_curve(explainer, [("speech.flac", "the cat", result)], step=0.25)
        >>> len(curve.y), curve.y[-1] >= curve.y[0]
        (5, True)
    """
    settings = CurveSettings.of("deletion", step, metric, options)
    (curve,) = measured_curves(
        settings, [settings.options.order], explainer_or_model, examples, text_normalizer,
        show_progress,
    )  # fmt: skip
    return curve


def insertion_curve(
    explainer_or_model: SpeechToTextAttribution | SpeechModel,
    examples: Iterable[Example | Sequence[Any] | Mapping[str, Any]],
    step: float = 0.05,
    *,
    metric: str | Score = "wer_capped",
    text_normalizer: Callable[[str], str] | None = None,
    show_progress: bool = False,
    **options: Any,
) -> Curve:
    r"""
    The mirror of :func:`deletion_curve`: keep only the most salient cells, 5 % more at each
    step. For word errors and divergence a better map has a smaller area.

    Args:

        explainer_or_model (SpeechToTextAttribution or SpeechModel): As for
                    :func:`deletion_curve`, like all further arguments.
        examples (iterable of Example): Utterances.
        step (float, optional): Default: 0.05
        metric (str or Score, optional): Default: "wer_capped"
        text_normalizer (Callable, optional): Default: None
        show_progress (bool, optional): Default: False
        **options (Any): As for :func:`deletion_curve`.

    Returns:
        *Curve*

    Raises:
        ArgumentError: as :func:`deletion_curve`.
        ImportError: as :func:`deletion_curve`.

    Examples::

        >>> curve = insertion_curve(explainer, [("speech.flac", "the cat", result)], step=0.5)
    """
    settings = CurveSettings.of("insertion", step, metric, options)
    (curve,) = measured_curves(
        settings, [settings.options.order], explainer_or_model, examples, text_normalizer,
        show_progress,
    )  # fmt: skip
    return curve
