"""At which share of removed cells a foil overtakes the word that a contrast explains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from captum_spes.errors import ArgumentError, ArgumentTypeError, several
from captum_spes.forward import Contrast
from captum_spes.forward.contrast import ContrastScore
from captum_spes.metrics.curve_options import CurveOptions
from captum_spes.metrics.curves import Curve, mean_counts, mean_score
from captum_spes.metrics.deletion import deletion_masks, percentages_of, perturbed
from captum_spes.metrics.hearing import adapter_of
from captum_spes.metrics.removal import Fill, Removal, with_examples
from captum_spes.speech import SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.contrast import Contrasted
from captum_spes.speech.inputs import read_speech, removed_value
from captum_spes.speech.models import SpeechModel, WritesInFrames, can
from captum_spes.speech.outputs import Output
from captum_spes.speech.phrases import occurrences

SIDES = ("audio", "tokens")


class FlipExample(NamedTuple):
    """A contrast to measure.

    Attributes:
        audio: what was explained: a file, samples at the model's rate, or features.
        contrast: the explanation, made with a :class:`captum_spes.forward.Contrast`; it tells word,
            foil and where they stand.
        order: what is removed first: a map of shape ``(time, freq)``, or for previous tokens
            ``(J,)``, the largest value first; None for the explanation's own.
    """

    audio: Any
    contrast: SpeechToTextAttributionResult
    order: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Flips:
    """What becomes of words and foils as more and more is removed.

    Attributes:
        rate: percent of the examples in which the foil is likelier than the word.
        coverage: percent of the examples in which the model would still write one of both there.
        log_ratios: ``(examples, steps)``: of the probability of the word to that of the foil, in
            nats.
    """

    rate: Curve
    coverage: Curve
    log_ratios: NDArray[np.float64]

    @property
    def points(self) -> NDArray[np.float64]:
        """``(examples,)``: percent that is removed where the foil first overtakes the word, NaN
        where it never does."""
        is_over = self.log_ratios < 0
        first = is_over.argmax(1)
        return np.where(is_over.any(1), np.asarray(self.rate.x, dtype=float)[first], np.nan)


def flip_curves(
    explainer_or_model: SpeechToTextAttribution | SpeechModel,
    examples: Iterable[FlipExample | Sequence[Any] | Mapping[str, Any]],
    step: float = 0.05,
    *,
    side: str = "audio",
    baselines: str | float | Tensor | None = None,
    batch_size: int | None = None,
    show_progress: bool = False,
    removal: str | Removal | None = None,
) -> Flips:
    r"""
    Remove what speaks most for a word, 5 % more at each step, and see when its foil overtakes it
    (flip rate and coverage of arXiv 2509.26543, teacher-forced).

    Args:

        explainer_or_model (SpeechToTextAttribution or SpeechModel): An explainer, or an adapter
                    (``explainer.adapter``).
        examples (iterable of FlipExample): Contrasts, as :class:`FlipExample`, as tuples or as
                    dictionaries of its fields.
        step (float, optional): Share removed per step; it must divide 1.
                    Default: 0.05
        side (str, optional): "audio", or "tokens" for the previous tokens before the word.
                    Default: "audio"
        baselines (str, float or Tensor, optional): What removed cells become.
                    Default: None, what the explanation was made with
        batch_size (int, optional): Steps per forward pass.
                    Default: None, all at once
        show_progress (bool, optional): Displays a progress bar over examples.
                    Default: False
        removal (str or Removal, optional): What removed cells become whatever the explanation put
                    there, as for :class:`CurveOptions`; not together with ``baselines``.
                    Default: None, ``baselines``

    Returns:
        *Flips*. A better order flips earlier: the area of ``rate`` is larger. A word is covered
        where every token of the likelier of both is the one that the model ranks first in its
        place; for a CTC model, where what it writes holds the word or the foil.

    Raises:
        ArgumentError: there is no example, an explanation is no contrast, an order does not fit,
            or an argument is out of range.
        ArgumentTypeError: an argument has the wrong type.

    Examples::

        >>> word = explainer.transcribe("speech.flac").words[0].word
        >>> contrast = explainer.attribute(
        ...     "speech.flac", contrast=Contrast(word, "dog"), patches_per_second=(60, 120),
        ...     n_samples=200, n_token_samples=100, seed=0,
        ... )
        >>> flips = flip_curves(explainer, [("speech.flac", contrast)], step=0.25)
        >>> len(flips.rate.y), flips.log_ratios.shape
        (5, (1, 5))
    """
    adapter = adapter_of(explainer_or_model)
    percentages = percentages_of(step)
    if side not in SIDES:
        raise ArgumentError(f"side must be one of {', '.join(SIDES)}, got {side!r}.")
    options = CurveOptions(baselines=baselines, batch_size=batch_size, removal=removal)
    given = [_example(example) for example in several("examples", examples, "FlipExample")]
    if not given:
        raise ArgumentError("flip_curves needs at least one example.")
    filling = with_examples(removal, [example.audio for example in given])
    ratios, covered = [], []
    for example in tqdm(given, desc="flips", unit="word", disable=not show_progress):
        with ordinary_torch(adapter.device), torch.no_grad(), adapter.evaluation_mode():
            place = _Place(adapter, example, options, filling)
            steps = place.of_audio if side == "audio" else place.of_tokens
            own = steps(percentages)
        ratios.append(own.log_ratios)
        covered.append(100.0 * own.is_covered.astype(np.float64))
    log_ratios = np.stack(ratios)
    is_over = 100.0 * (log_ratios < 0).astype(np.float64)
    x = tuple(percentages)
    rate = Curve("flip rate", "flips", x, mean_counts(is_over), mean_score)
    coverage = Curve("coverage", "coverage", x, mean_counts(np.stack(covered)), mean_score)
    return Flips(rate, coverage, log_ratios)


class _Steps(NamedTuple):
    """What is left of a word at each step.

    Attributes:
        log_ratios: ``(steps,)``.
        is_covered: ``(steps,)``.
    """

    log_ratios: NDArray[np.float64]
    is_covered: NDArray[np.bool_]


class _Place:
    """Where word and foil stand, in a recording from which something is removed."""

    def __init__(
        self,
        adapter: Any,
        example: FlipExample,
        options: CurveOptions,
        removal: Removal | None,
    ) -> None:
        result = self._result = example.contrast
        score = result.settings.score
        assert isinstance(score, Contrast)  # looked at before
        self._adapter, self._order = adapter, example.order
        self._batch_size = options.batch_size
        contrasted = Contrasted.of_facts(result.parameters, score)
        self._output = Output.of_contrasted(adapter, contrasted)
        self._speech = read_speech(adapter, example.audio, adapter.sampling_rate)
        own = result.removed if options.baselines is None else options.baselines
        self._fill: Tensor | Fill = (
            removed_value(adapter, self._speech, own)
            if removal is None
            else removal(adapter, self._speech, example.audio)
        )

    def of_audio(self, percentages: Sequence[int]) -> _Steps:
        """Remove cells."""
        adapter, speech = self._adapter, self._speech
        order = self._result.spectrogram_attr[0] if self._order is None else self._order
        spectrograms = perturbed(speech, order, self._fill, percentages)
        batches = spectrograms.split(self._batch_size or len(spectrograms))
        found = []
        for batch in batches:
            states = adapter.encode(speech, batch)
            logits = adapter.output_layer(self._output.decode(adapter, states))
            found.append(self._steps(logits, states))
        return _joined(found)

    def of_tokens(self, percentages: Sequence[int]) -> _Steps:
        """Remove previous tokens."""
        adapter, output = self._adapter, self._output
        positions = output.sequence.previous_positions
        order = self._result.token_attr if self._order is None else self._order
        if order is None or order.numel() != len(positions):
            given = "none" if order is None else f"{order.numel()} values"
            raise ArgumentError(
                f"side='tokens' needs an order of the {len(positions)} previous tokens before the "
                f"word, got {given}: explain previous tokens too (n_token_samples)."
            )
        is_removed = deletion_masks(order.reshape(-1, 1), percentages)[..., 0]
        intact = adapter.encode(self._speech, self._speech.spectrogram[None])
        prepared = adapter.prepared(intact, output.sequence)
        found = []
        for removed in is_removed.split(self._batch_size or len(is_removed)):
            keep = (~removed).float().to(adapter.device)
            states = intact.expand(len(keep), *intact.shape[1:])

            def decode(reading: Any, states: Tensor = states) -> Tensor:
                hidden: Tensor = adapter.decode_prepared(states, reading, prepared)
                return hidden

            hidden = output.decode_kept(adapter, keep, positions, decode)
            found.append(self._steps(adapter.output_layer(hidden), states))
        return _joined(found)

    def _steps(self, logits: Tensor, states: Tensor) -> _Steps:
        score = self._output.score
        assert isinstance(score, ContrastScore)
        pairs = score.log_probabilities(logits, self._output.token_ids.to(logits.device))
        ratios = (pairs[:, 0] - pairs[:, 1]).double().cpu().numpy()
        covered = (
            self._is_written(states)
            if can(self._adapter, WritesInFrames)
            else self._ranks_first(logits, ratios)
        )
        return _Steps(ratios, covered)

    def _ranks_first(self, logits: Tensor, ratios: NDArray[np.float64]) -> NDArray[np.bool_]:
        is_first = logits.argmax(-1).cpu() == self._output.token_ids
        lengths = [len(reading.explained) for reading in self._output.readings]
        contrasted = self._output.contrasted
        assert contrasted is not None
        counts = len(contrasted.word.explained), len(contrasted.foil.explained)
        word, foil = (
            rows[:, :count].all(1).numpy()
            for rows, count in zip(is_first.split(lengths, 1), counts, strict=True)
        )
        found: NDArray[np.bool_] = np.where(ratios >= 0, word, foil)
        return found

    def _is_written(self, states: Tensor) -> NDArray[np.bool_]:
        contrasted = self._output.contrasted
        assert contrasted is not None
        texts = self._adapter.transcribe(self._speech, states, {})
        pair = (contrasted.contrast.word, contrasted.contrast.foil)
        return np.array([any(occurrences(text, str(word)) for word in pair) for text in texts])


def _joined(steps: Sequence[_Steps]) -> _Steps:
    ratios, covered = zip(*steps, strict=True)
    return _Steps(np.concatenate(ratios), np.concatenate(covered))


def _example(given: Any) -> FlipExample:
    try:
        example = FlipExample(**given) if isinstance(given, Mapping) else FlipExample(*given)
    except TypeError as error:
        raise ArgumentTypeError(
            f"an example is (audio, contrast, order) or a dictionary of these: {error}"
        ) from error
    result = example.contrast
    if not isinstance(result, SpeechToTextAttributionResult):
        raise ArgumentTypeError(
            f"contrast must be an explanation, got {type(result).__name__}: make it with "
            "explainer.attribute(audio, contrast=Contrast(word, foil))."
        )
    if "contrast" not in result.parameters or not isinstance(result.settings.score, Contrast):
        raise ArgumentError(
            "an explanation is no contrast: make it with explainer.attribute(audio, "
            "contrast=Contrast(word, foil))."
        )
    order = example.order
    return example if order is None else example._replace(order=torch.as_tensor(order))
