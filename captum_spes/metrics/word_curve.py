"""What becomes of the probability of a word as its own cells are removed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from captum_spes.errors import ArgumentError, ArgumentTypeError, several, whole_number
from captum_spes.forward.contrast import OfWords
from captum_spes.forward.word_probability import RULES
from captum_spes.metrics.curve_options import CurveSettings, Example
from captum_spes.metrics.curves import Curve
from captum_spes.metrics.hearing import adapter_of, explained_sequence
from captum_spes.metrics.measured_curve import MeasuredUtterance, graded_curve
from captum_spes.metrics.removal import with_examples
from captum_spes.speech import SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.contrast import (
    rows_of_occurrences,
    tokens_that_begin_words,
    word_reading,
)
from captum_spes.speech.models import ReadsPreviousTokens, SpeechModel, require

# A score's falls go by the name "log_probability".
METRIC = "word_log_probability"


class WordExample(NamedTuple):
    """A word to measure.

    Attributes:
        audio: what was explained: a file, samples at the model's rate, or features.
        attribution: the explanation of the whole output.
        word: a word or phrase of the output, or the number of one of its ``words``.
        occurrence: which one, where the output holds the word several times, 1 for the first.
        saliency_map: ``(time, freq)``: what is removed first; None for the word's own map, the mean
            of the normalised maps of its tokens.
    """

    audio: Any
    attribution: SpeechToTextAttributionResult
    word: str | int
    occurrence: int = 1
    saliency_map: Tensor | None = None


def word_deletion_curve(
    explainer_or_model: SpeechToTextAttribution | SpeechModel,
    examples: Iterable[WordExample | Sequence[Any] | Mapping[str, Any]],
    step: float = 0.05,
    *,
    rule: str = "word_boundary",
    show_progress: bool = False,
    **options: Any,
) -> Curve:
    r"""
    Remove what speaks for a word, 5 % more at each step, and follow the logarithm of the word's
    probability, given the words before it.

    Args:

        explainer_or_model (SpeechToTextAttribution or SpeechModel): An explainer, or an adapter
                    (``explainer.adapter``), of a model that reads what it wrote.
        examples (iterable of WordExample): Words, as :class:`WordExample`, as tuples or as
                    dictionaries of its fields.
        step (float, optional): Share of the cells per step; it must divide 1.
                    Default: 0.05
        rule (str, optional): What the probability of a word of several tokens is, one of those of
                    :func:`captum_spes.forward.word_probability`.
                    Default: "word_boundary"
        show_progress (bool, optional): Displays a progress bar over words.
                    Default: False
        **options (Any): Of :class:`CurveOptions` ``removal``, ``baselines``, ``order`` and
                    ``batch_size``.

    Returns:
        *Curve* of the mean over the words, in nats, at most 0 (by "word_boundary" it can be
        slightly above). A better map makes the word improbable earlier: its area is smaller.

    Raises:
        ArgumentError: there is no example, an output does not hold its word, a map does not fit, an
            explanation is a contrast, or an argument is out of range.
        ArgumentTypeError: an argument is unknown or has the wrong type, or the model's words have
            no probability of their own, as those of a CTC model.

    Examples::

        >>> given = [("speech.flac", result, "cat"), ("speech.flac", result, 0)]
        >>> curve = word_deletion_curve(explainer, given, step=0.25, removal="silence")
        >>> curve.metric, len(curve.y)
        ('word_log_probability', 5)
    """
    settings = _settings(step, options)
    if rule not in RULES:
        raise ArgumentError(f"rule must be one of {', '.join(RULES)}, got {rule!r}.")
    given = [_example(example) for example in several("examples", examples, "WordExample")]
    if not given:
        raise ArgumentError("word_deletion_curve needs at least one example.")
    adapter = adapter_of(explainer_or_model)
    require(adapter, ReadsPreviousTokens, "the log-probability of a word")
    removal = with_examples(settings.options.removal, [example.audio for example in given])
    # All before the first pass.
    places = [_rows(adapter, example) for example in given]
    values = []
    progress = tqdm(given, desc="words", unit="word", disable=not show_progress)
    for example, rows in zip(progress, places, strict=True):
        with ordinary_torch(adapter.device):
            utterance = MeasuredUtterance(
                adapter, Example(example.audio, None, example.attribution), settings, removal
            )
            values.append(_log_probabilities(utterance, example, rows, rule))
    title = "deletion" if settings.options.order == "most" else "deletion, least salient first"
    return graded_curve(title, METRIC, settings.percentages, values)


def _log_probabilities(
    utterance: MeasuredUtterance, example: WordExample, rows: range, rule: str
) -> list[float]:
    """Of a word at each step."""
    adapter = utterance.adapter
    order = example.saliency_map
    if order is None:
        order = example.attribution.normalized().spectrogram_attr[list(rows)].mean(0)
    reading = word_reading(utterance.sequence, rows)
    score = OfWords(rule, (len(reading.explained),), partial(tokens_that_begin_words, adapter))
    hearing = utterance.hearing(torch.as_tensor(order), utterance.order)
    found: list[float] = hearing.scores(reading, score)[:, 0].tolist()
    return found


def _rows(adapter: Any, example: WordExample) -> range:
    """The word's tokens among the explained ones."""
    words = example.attribution.words
    if isinstance(example.word, str):
        found = rows_of_occurrences(adapter, explained_sequence(example.attribution), example.word)
        if len(found) < example.occurrence:
            so_often = f"{len(found)} times" if found else "not at all"
            raise ArgumentError(
                f"the output holds {example.word!r} {so_often}, and occurrence "
                f"{example.occurrence} is asked for; it says: {example.attribution.text!r}."
            )
        return found[example.occurrence - 1]
    if example.word >= len(words):
        raise ArgumentError(f"the output has {len(words)} words, from 0; got {example.word}.")
    indices = words[example.word].token_indices
    return range(indices[0], indices[-1] + 1)


def _settings(step: float, options: Mapping[str, Any]) -> CurveSettings:
    known = ("removal", "baselines", "order", "batch_size")
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ArgumentTypeError(
            f"unexpected arguments: {', '.join(unknown)}. word_deletion_curve takes "
            f"{', '.join(known)} besides."
        )
    return CurveSettings.of("deletion", step, "log_probability", options)


def _example(given: Any) -> WordExample:
    try:
        example = WordExample(**given) if isinstance(given, Mapping) else WordExample(*given)
    except TypeError as error:
        raise ArgumentTypeError(
            "an example is (audio, attribution, word, occurrence, saliency_map) or a dictionary of "
            f"these: {error}"
        ) from error
    if not isinstance(example.attribution, SpeechToTextAttributionResult):
        raise ArgumentTypeError(
            f"attribution must be an explanation, got {type(example.attribution).__name__}."
        )
    if "contrast" in example.attribution.parameters:
        raise ArgumentError(
            "a contrast has a map for a choice and not for a word: give an explanation of the "
            "whole output, or measure the contrast by flip_curves."
        )
    whole_number("occurrence", example.occurrence, 1)
    if not isinstance(example.word, str):
        whole_number("word", example.word, 0)
    return example
