"""A measure over steps of removal, on each utterance and over a corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from captum_spes.errors import ArgumentError, ArgumentTypeError, function, several
from captum_spes.metrics.curve_options import CurveSettings, Example, as_example
from captum_spes.metrics.curves import Curve, mean_counts, mean_score
from captum_spes.metrics.deletion import perturbed
from captum_spes.metrics.hearing import (
    GRADED,
    Hearing,
    adapter_of,
    check_kept,
    explained_sequence,
)
from captum_spes.metrics.removal import Fill, Removal, with_examples
from captum_spes.metrics.text import text_metric
from captum_spes.speech import SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.inputs import read_speech, removed_value
from captum_spes.speech.models import Generates, SpeechModel, TargetSequence, Transcribes, require
from captum_spes.speech.randomness import seeded_draws


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


def measured_curves(
    settings: CurveSettings,
    orders: Sequence[str],
    explainer_or_model: Any,
    examples: Iterable[Any],
    text_normalizer: Callable[[str], str] | None = None,
    show_progress: bool = False,
) -> list[Curve]:
    """A curve for each order of removal; what is not explained yet is explained once.

    Args:
        settings: what is measured, and how.
        orders: of those that options can have.
        explainer_or_model: as for :func:`captum_spes.metrics.deletion_curve`, as all that follow.
        examples: utterances.
        text_normalizer: for texts.
        show_progress: whether a progress bar is displayed.
    """
    name = settings.name
    utterances = checked_examples(settings, examples, text_normalizer)
    removal = with_examples(settings.options.removal, [own.audio for own in utterances])
    found: list[list[Any]] = []
    for example in tqdm(utterances, desc=name, unit="utterance", disable=not show_progress):
        with ordinary_torch(adapter_of(explainer_or_model).device):
            own = MeasuredUtterance(explainer_or_model, example, settings, removal)
            found.append([own.values(order) for order in orders])
    return [
        corpus_curve(settings, utterances, values, text_normalizer, order)
        for order, values in zip(orders, zip(*found, strict=True), strict=True)
    ]


def corpus_curve(
    settings: CurveSettings,
    utterances: Sequence[Example],
    values: Sequence[Any],
    text_normalizer: Callable[[str], str] | None = None,
    order: str = "most",
) -> Curve:
    """The curve of what was measured of each utterance: texts, or graded values."""
    title = settings.name if order == "most" else f"{settings.name}, least salient first"
    metric, percentages = settings.measure.name, settings.percentages
    if settings.measure.is_graded:
        return graded_curve(title, metric, percentages, values)
    normalize = text_normalizer or str
    references = [normalize(str(example.reference)) for example in utterances]
    hypotheses = [[normalize(text) for text in texts] for texts in values]
    return text_curve(title, metric, percentages, references, hypotheses)


def checked_examples(
    settings: CurveSettings,
    examples: Iterable[Any],
    text_normalizer: Callable[[str], str] | None = None,
) -> list[Example]:
    """Examples in any form, looked at before anything is explained."""
    measure = settings.measure
    if settings.options.per_token and not measure.is_graded:
        raise ArgumentError(
            f"per_token=True needs a metric of {GRADED}, or a score, got {measure.name!r}."
        )
    if text_normalizer is not None:
        function("text_normalizer", text_normalizer)
    given = several("examples", examples, "a sequence of Example")
    utterances = [as_example(example, measure) for example in given]
    if not utterances:
        raise ArgumentError(f"{settings.name} needs at least one example.")
    if settings.attribute_args and all(e.attribution is not None for e in utterances):
        raise ArgumentTypeError(
            f"unexpected arguments: {', '.join(settings.attribute_args)}. They would go to "
            "explainer.attribute, but every example brings its attribution."
        )
    return utterances


class MeasuredUtterance:
    """An utterance whose cells are removed.

    Args:
        explainer_or_model: what explains it, if need be, or the adapter.
        example: it.
        settings: what is measured, and how.
        removal: what removed cells become; None for what the explanation, or the settings, say.

    Attributes:
        adapter: the model's.
        speech: as the model sees it.
        result: its explanation; None where a map alone is given.
        saliency_map: ``(time, freq)``, of the sentence.
        gen_args: of generation.
        order: that of the settings.
        batch_size: likewise.
        fill: what removed cells become.
    """

    def __init__(
        self,
        explainer_or_model: SpeechToTextAttribution | SpeechModel,
        example: Example,
        settings: CurveSettings,
        removal: Removal | None = None,
    ) -> None:
        adapter = self.adapter = adapter_of(explainer_or_model)
        attribution = example.attribution
        if attribution is None:
            attribution = _explain(explainer_or_model, example, settings)
        self._settings = settings
        options = settings.options
        self.order, self.batch_size = options.order, options.batch_size
        self.speech = read_speech(adapter, example.audio, adapter.sampling_rate)
        gen_args, baselines = options.gen_args, options.baselines
        self.result: SpeechToTextAttributionResult | None = None
        if isinstance(attribution, SpeechToTextAttributionResult):
            self.result = attribution
            maps = attribution.sentence_attr(normalized=options.normalized)
            self.saliency_map = maps.spectrogram_attr
            gen_args = attribution.settings.gen_args if gen_args is None else gen_args
            baselines = attribution.removed if baselines is None else baselines
        else:
            self.saliency_map = torch.as_tensor(attribution)
        self.gen_args: Mapping[str, Any] = gen_args or {}
        check_kept(self.gen_args)
        self.fill: Tensor | Fill = (
            removed_value(adapter, self.speech, baselines)
            if removal is None
            else removal(adapter, self.speech, example.audio)
        )

    @cached_property
    def sequence(self) -> TargetSequence:
        """What the model was explained to write, or what it writes."""
        if self.result is not None:
            return explained_sequence(self.result)
        require(self.adapter, Generates, f"{self._settings.name} of a map without tokens")
        with self.adapter.evaluation_mode(), seeded_draws(0):
            sequence: TargetSequence = self.adapter.generate(self.speech, self.gen_args)
        return sequence

    @property
    def token_maps(self) -> Tensor:
        """``(K, time, freq)``, where there are any."""
        if self.result is None:
            raise ArgumentError("per_token=True needs explanations, which have a map per token.")
        return self.result.spectrogram_attr

    def values(self, order: str, saliency_map: Tensor | None = None) -> Any:
        """Texts, or graded values, at each step.

        Args:
            order: one of ``ORDERS``.
            saliency_map: ``(time, freq)``; None for that of the sentence, or with ``per_token`` for
                those of the tokens.
        """
        settings, measure = self._settings, self._settings.measure
        own = self.saliency_map if saliency_map is None else saliency_map
        if not measure.is_graded:
            require(self.adapter, Transcribes, f"{settings.name} by {measure.name}")
            seed = 0 if self.result is None else self.result.seed
            return self.hearing(own, order).transcripts(self.gen_args, seed)
        if saliency_map is not None or not settings.options.per_token:
            return self.graded(own, order).mean(1)
        by_token = [
            self.graded(token_map, order)[:, token]
            for token, token_map in enumerate(self.token_maps)
        ]
        return np.mean(by_token, 0)

    def graded(self, saliency_map: Tensor, order: str) -> NDArray[np.float64]:
        """What becomes of each token as cells are removed by a map, ``(steps, units)``."""
        measure = self._settings.measure
        hearing = self.hearing(saliency_map, order)
        return hearing.graded(self.sequence, measure.scores)[measure.name]

    def hearing(self, saliency_map: Tensor, order: str) -> Hearing:
        """What hears the copies from which cells are removed by a map."""
        settings = self._settings
        steps = perturbed(
            self.speech, saliency_map, self.fill, settings.percentages,
            settings.name == "insertion", order,
        )  # fmt: skip
        return Hearing(self.adapter, self.speech, steps, settings.options.batch_size)


def _explain(
    explainer_or_model: SpeechToTextAttribution | SpeechModel,
    example: Example,
    settings: CurveSettings,
) -> SpeechToTextAttributionResult:
    if not isinstance(explainer_or_model, SpeechToTextAttribution):
        raise ArgumentError(
            "an example has no attribution, and a model alone cannot make one: give an "
            "explainer, SpeechToTextAttribution(method, processor)."
        )
    changes = {"gen_args": settings.options.gen_args, "baselines": settings.options.baselines}
    given: dict[str, Any] = {name: own for name, own in changes.items() if own is not None}
    return explainer_or_model.attribute(example.audio, **given, **settings.attribute_args)
