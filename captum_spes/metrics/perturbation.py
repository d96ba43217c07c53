"""Deletion and insertion: what the model writes once the salient cells are gone, or alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from captum_spes.errors import ArgumentError, ArgumentTypeError, whole_number
from captum_spes.forward import KLDivergenceForward
from captum_spes.metrics.curves import Curve, mean_counts, mean_score
from captum_spes.metrics.deletion import deletion_masks
from captum_spes.metrics.size import steps_of
from captum_spes.metrics.text import text_metric
from captum_spes.speech import SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.speech.inputs import read_speech, removed_value
from captum_spes.speech.models import SpeechInput, SpeechModel, TargetSequence
from captum_spes.speech.randomness import seeded_global_generators

GRADED = ("kl", "token_accuracy")


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


def deletion_curve(
    explainer_or_model: SpeechToTextAttribution | SpeechModel,
    examples: Iterable[Example | Sequence[Any] | Mapping[str, Any]],
    step: float = 0.05,
    *,
    metric: str = "wer_capped",
    normalized: bool = True,
    per_token: bool = False,
    baselines: str | float | Tensor | None = None,
    gen_args: Mapping[str, Any] | None = None,
    text_normalizer: Callable[[str], str] | None = None,
    batch_size: int | None = None,
    show_progress: bool = False,
    **attribute_args: Any,
) -> Curve:
    r"""
    Remove the most salient cells of the sentence-level map, 5 % more at each step, and
    measure what the model makes of the rest (arXiv 2411.01710, section 5).

    Metrics of text let the model write anew with its own generation settings, all steps of
    an utterance in one batch, and score the whole corpus per step. The graded ones force the
    original output instead and ask what became of its tokens: of a short sentence the
    word error rate moves in jumps, these do not.

    Args:

        explainer_or_model (SpeechToTextAttribution or SpeechModel): An explainer; or an
                    adapter (``explainer.adapter``), if every example brings its
                    attribution.
        examples (iterable of Example): Utterances, as :class:`Example`, as tuples or as
                    dictionaries of its fields.
        step (float, optional): Share of the cells per step; it must divide 1.
                    Default: 0.05
        metric (str, optional): "wer_capped" (word error rate, each step at most 100),
                    "wer", "bleu"; or graded, "kl" (mean divergence per token, nats) or
                    "token_accuracy" (percent of the tokens that the model ranks
                    first; a model that is kept from writing some may start below 100).
                    Default: "wer_capped", the paper's for recognition
        normalized (bool, optional): Whether the maps of tokens are normalised before they
                    are averaged.
                    Default: True
        per_token (bool, optional): Whether each token's own map is removed and only that
                    token is looked at, for graded metrics: of all maps, those of energy, or of
                    anything else that is the same for every token, can only win without it.
                    It costs as many times more as there are tokens.
                    Default: False, the sentence-level map for all tokens
        baselines (str, float or Tensor, optional): What removed cells become.
                    Default: None, what the explanation was made with, or the adapter's own
        gen_args (dict, optional): Arguments of ``model.generate``.
                    Default: None, those of the explanation
        text_normalizer (Callable, optional): Applied to references and hypotheses, for
                    example transformers' ``BasicTextNormalizer()``.
                    Default: None, texts as they are, the paper's
        batch_size (int, optional): Steps per forward pass.
                    Default: None, all at once
        show_progress (bool, optional): Displays a progress bar over utterances.
                    Default: False
        **attribute_args (Any): Arguments of ``explainer.attribute`` for examples without
                    an attribution.

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
    return _curve(
        "deletion", explainer_or_model, examples, step, metric, normalized, per_token, baselines,
        gen_args, text_normalizer, batch_size, show_progress, attribute_args,
    )  # fmt: skip


def insertion_curve(
    explainer_or_model: SpeechToTextAttribution | SpeechModel,
    examples: Iterable[Example | Sequence[Any] | Mapping[str, Any]],
    step: float = 0.05,
    *,
    metric: str = "wer_capped",
    normalized: bool = True,
    per_token: bool = False,
    baselines: str | float | Tensor | None = None,
    gen_args: Mapping[str, Any] | None = None,
    text_normalizer: Callable[[str], str] | None = None,
    batch_size: int | None = None,
    show_progress: bool = False,
    **attribute_args: Any,
) -> Curve:
    r"""
    The mirror of :func:`deletion_curve`: keep only the most salient cells, 5 % more at each
    step. For word errors and divergence a better map has a smaller area.

    Args:

        explainer_or_model (SpeechToTextAttribution or SpeechModel): As for
                    :func:`deletion_curve`, like all further arguments.
        examples (iterable of Example): Utterances.
        step (float, optional): Default: 0.05
        metric (str, optional): Default: "wer_capped"
        normalized (bool, optional): Default: True
        per_token (bool, optional): Default: False
        baselines (str, float or Tensor, optional): Default: None
        gen_args (dict, optional): Default: None
        text_normalizer (Callable, optional): Default: None
        batch_size (int, optional): Default: None
        show_progress (bool, optional): Default: False
        **attribute_args (Any): Arguments of ``explainer.attribute``.

    Returns:
        *Curve*

    Raises:
        ArgumentError: as :func:`deletion_curve`.
        ImportError: as :func:`deletion_curve`.

    Examples::

        >>> curve = insertion_curve(explainer, [("speech.flac", "the cat", result)], step=0.5)
    """
    return _curve(
        "insertion", explainer_or_model, examples, step, metric, normalized, per_token, baselines,
        gen_args, text_normalizer, batch_size, show_progress, attribute_args,
    )  # fmt: skip


# One utterance ---------------------------------------------------------------------------


def perturbed(
    speech: SpeechInput,
    saliency_map: Tensor,
    removed: Tensor,
    percentages: Sequence[int],
    insertion: bool = False,
) -> Tensor:
    """Remove, or keep only, the top shares of a map: ``(steps, time, freq)``."""
    if saliency_map.shape != speech.spectrogram.shape:
        raise ArgumentError(
            f"the attribution has (time, freq) = {tuple(saliency_map.shape)} and the audio "
            f"{tuple(speech.spectrogram.shape)}: it explains another recording."
        )
    is_top = deletion_masks(saliency_map, percentages)
    return torch.where(~is_top if insertion else is_top, removed, speech.spectrogram)


class Hearing:
    """What the model makes of each step, encoded once for all that is asked of it.

    Args:
        adapter: the model.
        speech: the utterance.
        spectrograms: ``(steps, time, freq)``.
        batch_size: steps per forward pass; None for all.
    """

    def __init__(
        self,
        adapter: SpeechModel,
        speech: SpeechInput,
        spectrograms: Tensor,
        batch_size: int | None = None,
    ) -> None:
        self._adapter, self._speech = adapter, speech
        with torch.no_grad(), adapter.evaluation_mode():
            batches = spectrograms.split(batch_size or len(spectrograms))
            self._states = [adapter.encode(speech, batch) for batch in batches]

    def transcripts(self, gen_args: Mapping[str, Any], seed: int = 0) -> list[str]:
        """What the model writes at each step, with its own generation settings."""
        adapter = self._adapter
        # Generation may sample (do_sample, temperature).
        with adapter.evaluation_mode(), seeded_global_generators(seed, adapter.device):
            batches = [adapter.transcribe(self._speech, s, gen_args) for s in self._states]
        return [text for batch in batches for text in batch]

    def graded(self, sequence: TargetSequence) -> dict[str, NDArray[np.float64]]:
        """What becomes of each token of an output at each step, teacher-forced, as arrays of
        shape ``(steps, tokens)``: KL divergence in nats, and 100 where it is ranked first."""
        adapter, speech = self._adapter, self._speech
        divergences, hits = [], []
        with torch.no_grad(), adapter.evaluation_mode():
            original = adapter.logits(adapter.encode(speech, speech.spectrogram[None]), sequence)
            divergence = KLDivergenceForward(lambda logits: logits, original)
            for states in self._states:
                logits = adapter.logits(states, sequence)
                divergences.append(-divergence(logits).cpu())
                hits.append(logits.argmax(-1).cpu() == sequence.explained_ids)
        return {
            "kl": torch.cat(divergences).double().numpy(),
            "token_accuracy": 100 * torch.cat(hits).double().numpy(),
        }


def explained_sequence(result: SpeechToTextAttributionResult) -> TargetSequence:
    """What the decoder read and wrote when a result was made."""
    ids = [*result.previous_ids, result.output_ids[-1]]
    explained: list[int] = []
    position = len(ids)
    for token_id in reversed(result.output_ids):
        position -= 1
        while ids[position] != token_id:  # a timestamp, which is read and not explained
            position -= 1
        explained.append(position)
    return TargetSequence(torch.tensor(ids), tuple(reversed(explained)))


# A corpus --------------------------------------------------------------------------------


def text_curve(
    name: str,
    metric: str,
    percentages: Sequence[int],
    references: Sequence[str],
    hypotheses: Sequence[Sequence[str]],
    ids: Sequence[str] = (),
) -> Curve:
    """Score what was written at each step of each utterance, ``hypotheses[utterance][step]``."""
    counts, score = text_metric(metric)
    if not any(reference.split() for reference in references):
        raise ArgumentError("the references hold no word (after normalisation).")
    pairs = zip(references, hypotheses, strict=True)
    rows = [[counts(reference, text) for text in texts] for reference, texts in pairs]
    return Curve(name, metric, tuple(percentages), np.array(rows, float), score, tuple(ids))


def graded_curve(
    name: str,
    metric: str,
    percentages: Sequence[int],
    values: Sequence[Sequence[float]],
    ids: Sequence[str] = (),
) -> Curve:
    """Average values of each step of each utterance."""
    counts = mean_counts(np.array(values, float))
    return Curve(name, metric, tuple(percentages), counts, mean_score, tuple(ids))


class _Settings(NamedTuple):
    """What the arguments of a curve say; see :func:`deletion_curve`."""

    name: str
    percentages: list[int]
    metric: str
    normalized: bool
    per_token: bool
    baselines: str | float | Tensor | None
    gen_args: Mapping[str, Any] | None
    batch_size: int | None
    attribute_args: Mapping[str, Any]


def _curve(
    name: str,
    explainer_or_model: SpeechToTextAttribution | SpeechModel,
    examples: Iterable[Any],
    step: float,
    metric: str,
    normalized: bool,
    per_token: bool,
    baselines: str | float | Tensor | None,
    gen_args: Mapping[str, Any] | None,
    text_normalizer: Callable[[str], str] | None,
    batch_size: int | None,
    show_progress: bool,
    attribute_args: Mapping[str, Any],
) -> Curve:
    percentages = _percentages(step)
    if metric not in GRADED:
        text_metric(metric)
    if per_token and metric not in GRADED:
        raise ArgumentError(f"per_token=True needs a metric of {GRADED}, got {metric!r}.")
    if batch_size is not None:
        batch_size = whole_number("batch_size", batch_size, 1)
    settings = _Settings(
        name, percentages, metric, normalized, per_token, baselines, gen_args, batch_size,
        attribute_args,
    )  # fmt: skip
    utterances = [_example(example, metric) for example in examples]
    if not utterances:
        raise ArgumentError(f"{name}_curve needs at least one example.")
    if attribute_args and all(example.attribution is not None for example in utterances):
        raise ArgumentTypeError(
            f"unexpected arguments: {', '.join(attribute_args)}. They would go to "
            "explainer.attribute, but every example brings its attribution."
        )
    values = [
        _utterance(explainer_or_model, example, settings)
        for example in tqdm(utterances, desc=name, unit="utterance", disable=not show_progress)
    ]
    if metric in GRADED:
        return graded_curve(name, metric, percentages, values)
    normalize = text_normalizer or str
    references = [normalize(str(example.reference)) for example in utterances]
    hypotheses = [[normalize(text) for text in texts] for texts in values]
    return text_curve(name, metric, percentages, references, hypotheses)


def _utterance(
    explainer_or_model: SpeechToTextAttribution | SpeechModel, example: Example, settings: _Settings
) -> Any:
    """Texts, or graded values, at each step of one utterance."""
    attribution = example.attribution
    if attribution is None:
        attribution = _explain(explainer_or_model, example, settings)
    adapter = _adapter(explainer_or_model)
    speech = read_speech(adapter, example.audio, adapter.sampling_rate)
    gen_args, baselines = settings.gen_args, settings.baselines
    if isinstance(attribution, SpeechToTextAttributionResult):
        result: SpeechToTextAttributionResult | None = attribution
        saliency_map = attribution.sentence_attr(normalized=settings.normalized).spectrogram_attr
        gen_args = attribution.parameters.get("gen_args") if gen_args is None else gen_args
        baselines = attribution.removed if baselines is None else baselines
    else:
        result, saliency_map = None, torch.as_tensor(attribution)
    gen_args = gen_args or {}
    removed = removed_value(adapter, speech, baselines)

    def hearing(saliency_map: Tensor) -> Hearing:
        is_insertion = settings.name == "insertion"
        steps = perturbed(speech, saliency_map, removed, settings.percentages, is_insertion)
        return Hearing(adapter, speech, steps, settings.batch_size)

    if settings.metric not in GRADED:
        return hearing(saliency_map).transcripts(gen_args, 0 if result is None else result.seed)
    if result is None:
        with adapter.evaluation_mode(), seeded_global_generators(0, adapter.device):
            sequence = adapter.generate(speech, gen_args)
    else:
        sequence = explained_sequence(result)
    if not settings.per_token:
        return hearing(saliency_map).graded(sequence)[settings.metric].mean(1)
    if result is None:
        raise ArgumentError("per_token=True needs explanations, which have a map per token.")
    own = [
        hearing(token_map).graded(sequence)[settings.metric][:, token]
        for token, token_map in enumerate(result.spectrogram_attr)
    ]
    return np.mean(own, 0)


def _explain(
    explainer_or_model: SpeechToTextAttribution | SpeechModel, example: Example, settings: _Settings
) -> SpeechToTextAttributionResult:
    if not isinstance(explainer_or_model, SpeechToTextAttribution):
        raise ArgumentError(
            "an example has no attribution, and a model alone cannot make one: give an "
            "explainer, SpeechToTextAttribution(method, processor)."
        )
    return explainer_or_model.attribute(
        example.audio,
        gen_args=settings.gen_args,
        baselines=settings.baselines,
        **settings.attribute_args,
    )


def _adapter(explainer_or_model: SpeechToTextAttribution | SpeechModel) -> SpeechModel:
    if isinstance(explainer_or_model, SpeechToTextAttribution):
        return explainer_or_model.adapter
    if not hasattr(explainer_or_model, "transcribe"):
        raise ArgumentTypeError(
            "give an explainer, SpeechToTextAttribution(method, processor), or its adapter; got "
            f"{type(explainer_or_model).__name__}."
        )
    return explainer_or_model


def _example(given: Any, metric: str) -> Example:
    try:
        example = Example(**given) if isinstance(given, Mapping) else Example(*given)
    except TypeError as error:
        raise ArgumentTypeError(
            f"an example is (audio, reference, attribution) or a dictionary of these: {error}"
        ) from error
    if metric not in GRADED and not (example.reference or "").strip():
        raise ArgumentError(f"an example has no reference text, which {metric} needs.")
    return example


def _percentages(step: float) -> list[int]:
    percentages = steps_of(step, full=100)
    if any(percent != round(percent) for percent in percentages):
        raise ArgumentError(f"step must be a whole number of percent, got {step}.")
    return [round(percent) for percent in percentages]
