"""Whether the map of a token fits that token better than maps of other tokens do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.forward import Score
from captum_spes.metrics.curve_options import CurveSettings, Example
from captum_spes.metrics.curves import Curve, CurveDifference
from captum_spes.metrics.gain import rises
from captum_spes.metrics.hearing import GRADED, adapter_of
from captum_spes.metrics.measured_curve import (
    MeasuredUtterance,
    checked_examples,
    graded_curve,
)
from captum_spes.metrics.removal import with_examples
from captum_spes.speech import SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.models import SpeechModel


@dataclass(frozen=True, eq=False)
class OwnTokenDeletion:
    r"""
    What becomes of tokens as cells are removed by their own maps, and by others.

    Attributes:
        own: each token by its own map.
        others: the control: each token by the map of every other token of the utterance, one at a
            time, and the mean of what becomes of it.
        sentence: each token by the map of the sentence.
    """

    own: Curve
    others: Curve
    sentence: Curve

    @property
    def against_others(self) -> CurveDifference:
        """How much better own maps are than those of other tokens, the larger the better."""
        return _better("own map against those of other tokens", self.own, self.others)

    @property
    def against_sentence(self) -> CurveDifference:
        """How much better own maps are than that of the sentence, the larger the better."""
        return _better("own map against that of the sentence", self.own, self.sentence)


def own_token_deletion(
    explainer_or_model: SpeechToTextAttribution | SpeechModel,
    examples: Iterable[Example | Sequence[Any] | Mapping[str, Any]],
    step: float = 0.1,
    *,
    metric: str | Score = "kl",
    show_progress: bool = False,
    **options: Any,
) -> OwnTokenDeletion:
    r"""
    Remove the most salient cells of each token's own map, 10 % more at each step, look at that
    token alone, and do the same by the maps of all other tokens of the utterance and by that of the
    sentence.

    Deletion by the sentence's map asks whether what is removed matters to the sentence, and there
    the loudest cells are hard to beat. A map that is the same for every token, as that of energy,
    has a difference of 0 here: only what is said of one token and not of the others counts. The
    control needs no further pass, as each copy is heard for all tokens; it is the mean over all
    other tokens, and nothing is drawn. Tokens of the same word are among them.

    Args:

        explainer_or_model (SpeechToTextAttribution or SpeechModel): As for
                    :func:`deletion_curve`, like all further arguments.
        examples (iterable of Example): Utterances, with explanations of at least two tokens.
        step (float, optional): Share of the cells per step; it must divide 1. For K tokens K + 1
                    times as many copies are heard as there are steps.
                    Default: 0.1
        metric (str or Score, optional): "kl", "token_accuracy" or a score with one unit per token.
                    Default: "kl"
        show_progress (bool, optional): Displays a progress bar over utterances.
                    Default: False
        **options (Any): As for :func:`deletion_curve`, without ``per_token``.

    Returns:
        *OwnTokenDeletion*: three curves, and their paired differences over utterances.

    Raises:
        ArgumentError: as :func:`deletion_curve`; the metric is one of texts, or an utterance has
            one token only.
        ArgumentTypeError: as :func:`deletion_curve`, or an attribution is a map without tokens.

    Examples::

        >>> found = own_token_deletion(explainer, [("speech.flac", None, result)], 0.25)
        >>> found.against_others.auc == found.own.auc - found.others.auc
        True
    """
    if "per_token" in options:
        raise ArgumentTypeError("own_token_deletion takes no per_token: it removes both ways.")
    settings = CurveSettings.of("deletion", step, metric, options)
    if not settings.measure.is_graded:
        raise ArgumentError(
            f"own_token_deletion needs a metric of {GRADED}, or a score, got {metric!r}."
        )
    utterances = checked_examples(settings, examples)
    for example in utterances:
        if example.attribution is not None:
            _check(example.attribution)
    removal = with_examples(settings.options.removal, [own.audio for own in utterances])
    found = []
    for example in tqdm(utterances, desc="own tokens", unit="utterance", disable=not show_progress):
        with ordinary_torch(adapter_of(explainer_or_model).device):
            own = MeasuredUtterance(explainer_or_model, example, settings, removal)
            result = _check(own.result)
            maps = [*result.spectrogram_attr, own.saliency_map]
            found.append(OwnTokenValues.of([own.graded(each, own.order) for each in maps]))
    curves = [
        graded_curve(f"deletion, {title}", settings.measure.name, settings.percentages, values)
        for title, values in zip(_TITLES, zip(*found, strict=True), strict=True)
    ]
    return OwnTokenDeletion(*curves)


class OwnTokenValues(NamedTuple):
    """What becomes of the tokens of one utterance, ``(steps,)`` each, means over the tokens.

    Attributes:
        own: by each token's own map.
        others: by the maps of the other tokens.
        sentence: by that of the sentence.
    """

    own: list[float]
    others: list[float]
    sentence: list[float]

    @classmethod
    def of(cls, graded: Sequence[NDArray[np.float64]]) -> OwnTokenValues:
        """Sort what becomes of all tokens, ``(steps, K)``, by the map of each, and behind them by
        that of the sentence."""
        by_map = np.stack(graded)
        count = len(by_map) - 1
        if by_map.shape[2] != count:
            raise ArgumentError(
                f"own_token_deletion needs a score with one unit per token, {count}; got "
                f"{by_map.shape[2]}."
            )
        of_tokens = by_map[:count]
        own = of_tokens.diagonal(axis1=0, axis2=2)  # (steps, K)
        others = (of_tokens.sum(0) - own) / (count - 1)
        return cls(*(values.mean(1).tolist() for values in (own, others, by_map[count])))


_TITLES = ("each token by its own map", "by those of other tokens", "by that of the sentence")


def _check(attribution: Any) -> SpeechToTextAttributionResult:
    if not isinstance(attribution, SpeechToTextAttributionResult):
        raise ArgumentTypeError(
            "own_token_deletion needs explanations, which have a map per token, got "
            f"{type(attribution).__name__}."
        )
    if len(attribution.spectrogram_attr) < 2:
        raise ArgumentError(
            "an utterance has one explained token and no other one to compare with: leave it out."
        )
    return attribution


def _better(name: str, own: Curve, control: Curve) -> CurveDifference:
    first, second = (own, control) if rises(own.metric) else (control, own)
    return CurveDifference(name, first, second)
