"""Deletion and insertion: what the model writes without the salient cells, or with only these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from captum_spes.errors import (
    ArgumentError,
    ArgumentTypeError,
    function,
    instance_of,
    several,
    truth,
    whole_number,
)
from captum_spes.forward import KL, SCORES, Score, as_score, mean_by_token, score_name
from captum_spes.metrics.curves import Curve, mean_counts, mean_score
from captum_spes.metrics.deletion import deletion_masks
from captum_spes.metrics.size import steps_of
from captum_spes.metrics.text import text_metric
from captum_spes.speech import SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.frames import for_output, reads_all_frames
from captum_spes.speech.inputs import read_speech, removed_value
from captum_spes.speech.models import (
    Generates,
    SpeechInput,
    SpeechModel,
    TargetSequence,
    Transcribes,
    require,
)
from captum_spes.speech.plain import first_unsaved
from captum_spes.speech.randomness import seeded_draws
from captum_spes.speech.settings import check_baselines

# What comparisons of methods measure besides texts.
GRADED = ("kl", "token_accuracy")


class Measure(NamedTuple):
    """What a curve shows.

    Attributes:
        name: of the metric.
        scores: what is graded, by that name; empty for token accuracy and for texts.
        is_graded: whether the output is forced, and not written anew.
    """

    name: str
    scores: Mapping[str, Score]
    is_graded: bool

    @classmethod
    def of(cls, metric: str | Score) -> Measure:
        """Read a metric by name, or a score."""
        if metric == "token_accuracy":
            return cls("token_accuracy", {}, True)
        if isinstance(metric, str) and metric not in SCORES:
            text_metric(metric)
            return cls(metric, {}, False)
        score = as_score(metric)
        return cls(score_name(score), {score_name(score): score}, True)


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

    def __post_init__(self) -> None:
        truth("normalized", self.normalized)
        check_baselines(self.baselines)
        truth("per_token", self.per_token)
        if self.gen_args is not None:
            instance_of("gen_args", self.gen_args, Mapping, "a dictionary")
        if self.batch_size is not None:
            whole_number("batch_size", self.batch_size, 1)


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
                    ``baselines``, ``gen_args``, ``batch_size``); all others are arguments of
                    ``explainer.attribute`` for examples without an attribution.

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
    settings = _settings("deletion", step, metric, options)
    return _curve(settings, explainer_or_model, examples, text_normalizer, show_progress)


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
    settings = _settings("insertion", step, metric, options)
    return _curve(settings, explainer_or_model, examples, text_normalizer, show_progress)


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
    """What the model makes of each step; steps are encoded once for all measures.

    Args:
        adapter: the model's adapter.
        speech: the utterance.
        spectrograms: ``(steps, time, freq)``.
        batch_size: steps per forward pass; None for all.
    """

    def __init__(
        self,
        adapter: Any,
        speech: SpeechInput,
        spectrograms: Tensor,
        batch_size: int | None = None,
    ) -> None:
        self._adapter, self._speech = adapter, speech
        self._states = encoded(adapter, speech, spectrograms, batch_size)

    @classmethod
    def of_states(
        cls,
        adapter: Any,
        speech: SpeechInput,
        states: Sequence[Tensor],
        intact: Tensor | None = None,
    ) -> Hearing:
        """What the model makes of states that are known, in batches, as those of the intact speech
        may be, a batch of one."""
        found = cls.__new__(cls)
        found._adapter, found._speech, found._states = adapter, speech, list(states)
        if intact is not None:
            found._intact = intact
        return found

    @cached_property
    def _intact(self) -> Tensor:
        """The states of the intact speech."""
        (states,) = encoded(self._adapter, self._speech, self._speech.spectrogram[None])
        return states

    def transcripts(self, gen_args: Mapping[str, Any], seed: int = 0) -> list[str]:
        """What the model writes at each step, with its own generation settings."""
        adapter = self._adapter
        # Generation may sample (do_sample, temperature).
        with adapter.evaluation_mode(), seeded_draws(seed):
            batches = [adapter.transcribe(self._speech, s, gen_args) for s in self._states]
        return [text for batch in batches for text in batch]

    def graded(
        self, sequence: TargetSequence, scores: Mapping[str, Score] | None = None
    ) -> dict[str, NDArray[np.float64]]:
        """What becomes of each token of an output at each step, teacher-forced, as arrays of
        shape ``(steps, units)``: by how much each score fell, and "token_accuracy", 100 where the
        token is ranked first. The default score is the divergence, in nats."""
        scores = {"kl": KL()} if scores is None else scores
        losses: dict[str, list[Tensor]] = {name: [] for name in scores}
        hits = []
        with torch.no_grad(), self._adapter.evaluation_mode():
            measured = self._losses(scores, sequence)
            for states in self._states:
                logits = self._logits(states, sequence)
                # Before a score of the user's is given them.
                hits.append(self._hits(logits, sequence))
                for name, loss in measured.items():
                    losses[name].append(loss(states, logits))
        found = {name: torch.cat(own).numpy() for name, own in losses.items()}
        return {**found, "token_accuracy": torch.cat(hits).numpy()}

    def _losses(
        self, scores: Mapping[str, Score], sequence: TargetSequence
    ) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
        """By how much each score falls from that of the intact speech, as functions of states and
        of the logits that were made of them."""
        if not scores:
            return {}
        logits = self._logits(self._intact, sequence)
        return {name: self._loss(score, sequence, logits) for name, score in scores.items()}

    def _loss(
        self, score: Score, sequence: TargetSequence, intact: Tensor
    ) -> Callable[[Tensor, Tensor], Tensor]:
        own, ids = for_output(score, self._adapter, sequence)
        reads_all = reads_all_frames(score)
        original = self._emitted(self._intact) if reads_all else intact
        ids = ids.to(original.device)
        before = own(original, original[0], ids).double()

        def loss(states: Tensor, logits: Tensor) -> Tensor:
            read = self._emitted(states) if reads_all else logits
            return (before - own(read, original[0], ids).double()).cpu()

        return loss

    def _hits(self, logits: Tensor, sequence: TargetSequence) -> Tensor:
        """100 where a token is ranked first, in each of its frames."""
        is_first = logits.argmax(-1).cpu() == sequence.row_ids
        return 100 * mean_by_token(is_first.double(), sequence.rows)

    def _logits(self, states: Tensor, sequence: TargetSequence) -> Tensor:
        logits: Tensor = self._adapter.output_layer(self._adapter.decode(states, sequence))
        return logits

    def _emitted(self, states: Tensor) -> Tensor:
        logits: Tensor = self._adapter.output_layer(self._adapter.emissions(states))
        return logits


def encoded(
    adapter: Any, speech: SpeechInput, spectrograms: Tensor, batch_size: int | None = None
) -> list[Tensor]:
    """Encoder states of copies of an utterance, in batches."""
    with torch.no_grad(), adapter.evaluation_mode():
        batches = spectrograms.split(batch_size or len(spectrograms))
        return [adapter.encode(speech, batch) for batch in batches]


def explained_sequence(result: SpeechToTextAttributionResult) -> TargetSequence:
    """What the model read and wrote when a result was made."""
    saved = result.parameters.get("sequence")
    if saved is not None:
        return TargetSequence.from_dict(saved)
    # Earlier versions kept the tokens alone.
    ids = [*result.previous_ids, result.output_ids[-1]]
    explained: list[int] = []
    position = len(ids)
    for token_id in reversed(result.output_ids):
        position -= 1
        while ids[position] != token_id:  # a timestamp, which is read and not explained
            position -= 1
        explained.append(position)
    return TargetSequence(torch.tensor(ids, device="cpu"), tuple(reversed(explained)))


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
    """What the arguments of a curve say."""

    name: str
    percentages: list[int]
    measure: Measure
    options: CurveOptions
    attribute_args: Mapping[str, Any]


def _curve(
    settings: _Settings,
    explainer_or_model: Any,
    examples: Iterable[Any],
    text_normalizer: Callable[[str], str] | None,
    show_progress: bool,
) -> Curve:
    name, measure = settings.name, settings.measure
    if settings.options.per_token and not measure.is_graded:
        raise ArgumentError(
            f"per_token=True needs a metric of {GRADED}, or a score, got {measure.name!r}."
        )
    if text_normalizer is not None:
        function("text_normalizer", text_normalizer)
    given = several("examples", examples, "a sequence of Example")
    utterances = [_example(example, measure) for example in given]
    if not utterances:
        raise ArgumentError(f"{name}_curve needs at least one example.")
    if settings.attribute_args and all(e.attribution is not None for e in utterances):
        raise ArgumentTypeError(
            f"unexpected arguments: {', '.join(settings.attribute_args)}. They would go to "
            "explainer.attribute, but every example brings its attribution."
        )
    values = [
        _utterance(explainer_or_model, example, settings)
        for example in tqdm(utterances, desc=name, unit="utterance", disable=not show_progress)
    ]
    if measure.is_graded:
        return graded_curve(name, measure.name, settings.percentages, values)
    normalize = text_normalizer or str
    references = [normalize(str(example.reference)) for example in utterances]
    hypotheses = [[normalize(text) for text in texts] for texts in values]
    return text_curve(name, measure.name, settings.percentages, references, hypotheses)


def _settings(name: str, step: float, metric: str | Score, options: Mapping[str, Any]) -> _Settings:
    """Checked before anything is explained."""
    own = {f.name for f in fields(CurveOptions)}
    return _Settings(
        name,
        percentages_of(step),
        Measure.of(metric),
        CurveOptions(**{name: value for name, value in options.items() if name in own}),
        {name: value for name, value in options.items() if name not in own},
    )


def _utterance(
    explainer_or_model: SpeechToTextAttribution | SpeechModel, example: Example, settings: _Settings
) -> Any:
    """Texts, or graded values, at each step of one utterance."""
    adapter = adapter_of(explainer_or_model)
    attribution = example.attribution
    if attribution is None:
        attribution = _explain(explainer_or_model, example, settings)
    with ordinary_torch(adapter.device):
        return _measured(adapter, example.audio, attribution, settings)


def _measured(
    adapter: Any,
    audio: Any,
    attribution: SpeechToTextAttributionResult | Tensor,
    settings: _Settings,
) -> Any:
    speech = read_speech(adapter, audio, adapter.sampling_rate)
    gen_args, baselines, measure = (
        settings.options.gen_args,
        settings.options.baselines,
        settings.measure,
    )
    result: SpeechToTextAttributionResult | None = None
    if isinstance(attribution, SpeechToTextAttributionResult):
        result = attribution
        saliency_map = result.sentence_attr(normalized=settings.options.normalized).spectrogram_attr
        gen_args = result.settings.gen_args if gen_args is None else gen_args
        baselines = result.removed if baselines is None else baselines
    else:
        saliency_map = torch.as_tensor(attribution)
    gen_args = gen_args or {}
    check_kept(gen_args)
    removed = removed_value(adapter, speech, baselines)

    def hearing(saliency_map: Tensor) -> Hearing:
        is_insertion = settings.name == "insertion"
        steps = perturbed(speech, saliency_map, removed, settings.percentages, is_insertion)
        return Hearing(adapter, speech, steps, settings.options.batch_size)

    if not measure.is_graded:
        require(adapter, Transcribes, f"{settings.name} by {measure.name}")
        return hearing(saliency_map).transcripts(gen_args, 0 if result is None else result.seed)
    if result is None:
        require(adapter, Generates, f"{settings.name} of a map without tokens")
        with adapter.evaluation_mode(), seeded_draws(0):
            sequence = adapter.generate(speech, gen_args)
    else:
        sequence = explained_sequence(result)
    if not settings.options.per_token:
        graded = hearing(saliency_map).graded(sequence, measure.scores)
        return graded[measure.name].mean(1)
    if result is None:
        raise ArgumentError("per_token=True needs explanations, which have a map per token.")
    own = [
        hearing(token_map).graded(sequence, measure.scores)[measure.name][:, token]
        for token, token_map in enumerate(result.spectrogram_attr)
    ]
    return np.mean(own, 0)


def check_kept(gen_args: Mapping[str, Any]) -> None:
    """Raise where an explanation from a file was made with objects that a file does not hold."""
    for name, value in gen_args.items():
        unsaved = first_unsaved(value)
        if unsaved is not None:
            raise ArgumentError(
                f"the explanation was generated with {name}={unsaved.name}, which its file does "
                f"not hold: give gen_args, with {name}."
            )


def _explain(
    explainer_or_model: SpeechToTextAttribution | SpeechModel, example: Example, settings: _Settings
) -> SpeechToTextAttributionResult:
    if not isinstance(explainer_or_model, SpeechToTextAttribution):
        raise ArgumentError(
            "an example has no attribution, and a model alone cannot make one: give an "
            "explainer, SpeechToTextAttribution(method, processor)."
        )
    changes = {"gen_args": settings.options.gen_args, "baselines": settings.options.baselines}
    given: dict[str, Any] = {name: own for name, own in changes.items() if own is not None}
    return explainer_or_model.attribute(example.audio, **given, **settings.attribute_args)


def adapter_of(explainer_or_model: SpeechToTextAttribution | SpeechModel) -> Any:
    """The adapter of an explainer, or an adapter as it is."""
    if isinstance(explainer_or_model, SpeechToTextAttribution):
        return explainer_or_model.adapter
    if not hasattr(explainer_or_model, "encode"):
        raise ArgumentTypeError(
            "give an explainer, SpeechToTextAttribution(method, processor), or its adapter; got "
            f"{type(explainer_or_model).__name__}."
        )
    return explainer_or_model


def _example(given: Any, measure: Measure) -> Example:
    try:
        example = Example(**given) if isinstance(given, Mapping) else Example(*given)
    except TypeError as error:
        raise ArgumentTypeError(
            f"an example is (audio, reference, attribution) or a dictionary of these: {error}"
        ) from error
    if not measure.is_graded and not (example.reference or "").strip():
        raise ArgumentError(f"an example has no reference text, which {measure.name} needs.")
    return example


def percentages_of(step: float) -> list[int]:
    """The percentages of a curve with this step; raise where they are not whole."""
    percentages = steps_of(step, full=100)
    if any(percent != round(percent) for percent in percentages):
        raise ArgumentError(f"step must be a whole number of percent, got {step}.")
    return [round(percent) for percent in percentages]
