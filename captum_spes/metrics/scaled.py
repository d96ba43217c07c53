"""Areas between the worst and the best order of removal that was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from captum_spes.errors import ArgumentError, ArgumentTypeError, instance_of, several, whole_number
from captum_spes.forward import Score
from captum_spes.metrics.curve_options import CurveSettings, Example
from captum_spes.metrics.curves import Curve, Interval, bootstrapped
from captum_spes.metrics.gain import rises
from captum_spes.metrics.greedy import greedy_map, n_passes
from captum_spes.metrics.hearing import adapter_of
from captum_spes.metrics.measured_curve import (
    MeasuredUtterance,
    checked_examples,
    corpus_curve,
)
from captum_spes.metrics.removal import with_examples
from captum_spes.speech import SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.models import SpeechModel

# The control whose orders are always tried: the loudest cells.
_LOUDEST = "energy"


@dataclass(frozen=True, eq=False)
class ScaledAreas:
    r"""
    Areas of deletion, scaled by what was found to be possible.

    Attributes:
        curves: of each method, and of "energy".
        best: of the best order that was found for each utterance.
        worst: of the worst one.
        found_by: name of an order to for how many utterances it was the best, and the worst.
    """

    curves: Mapping[str, Curve]
    best: Curve
    worst: Curve
    found_by: Mapping[str, tuple[int, int]]

    def area(self, name: str) -> float:
        r"""
        Where a method's area lies between the worst and the best one.

        Args:

            name (str): One of ``curves``.

        Returns:
            *float* in [0, 1] for the methods that were given: 0 is the worst, 1 the best order that
            was found. NaN where all orders are alike.

        Examples::

            >>> areas = scaled_areas(
            ...     explainer, [("speech.flac",)], {"spes": [result]}, 0.25, search=OrderSearch(10)
            ... )
            >>> 0 <= areas.area("spes") <= 1
            True
        """
        return self._scaled(self._curve(name), self._rows())

    def interval(
        self, name: str, confidence: float = 0.95, *, n_resamples: int = 1_000, seed: int = 0
    ) -> Interval:
        r"""
        Bootstrap a scaled area over utterances, with both bounds of each.

        Args:

            name (str): One of ``curves``.
            confidence (float, optional): Default: 0.95
            n_resamples (int, optional): Default: 1000
            seed (int, optional): Default: 0

        Returns:
            *Interval*, as :meth:`Curve.interval`. How far the search was from the true bounds is
            not in it.

        Examples::

            >>> areas = scaled_areas(
            ...     explainer, [("speech.flac",)], {"spes": [result]}, 0.25, search=OrderSearch(10)
            ... )
            >>> areas.interval("spes").low  # of one utterance nothing can be told
            nan
        """
        curve = self._curve(name)
        return bootstrapped(
            lambda rows: self._scaled(curve, rows), len(curve.counts), confidence, n_resamples, seed
        )

    def difference(
        self, name: str, other: str, confidence: float = 0.95, *, n_resamples: int = 1_000,
        seed: int = 0,
    ) -> tuple[float, Interval]:  # fmt: skip
        r"""
        Compare two methods.

        Args:

            name (str): One of ``curves``.
            other (str): Another one.
            confidence (float, optional): Default: 0.95
            n_resamples (int, optional): Default: 1000
            seed (int, optional): Default: 0

        Returns:
            *tuple* of the difference of the scaled areas and its interval, paired.

        Examples::

            >>> areas = scaled_areas(
            ...     explainer, [("speech.flac",)], {"spes": [result]}, 0.25, search=OrderSearch(10)
            ... )
            >>> difference, _ = areas.difference("spes", "energy")
            >>> difference == areas.area("spes") - areas.area("energy")
            True
        """
        first, second = self._curve(name), self._curve(other)

        def gap(rows: NDArray[np.int64]) -> float:
            return self._scaled(first, rows) - self._scaled(second, rows)

        interval = bootstrapped(gap, len(first.counts), confidence, n_resamples, seed)
        return gap(self._rows()), interval

    def _scaled(self, curve: Curve, rows: NDArray[np.int64]) -> float:
        own, best, worst = (one.area_of(rows) for one in (curve, self.best, self.worst))
        return float("nan") if best == worst else (own - worst) / (best - worst)

    def _curve(self, name: str) -> Curve:
        if name not in self.curves:
            raise ArgumentError(f"name must be one of {', '.join(self.curves)}, got {name!r}.")
        return self.curves[name]

    def _rows(self) -> NDArray[np.int64]:
        return np.arange(len(self.best.counts))


@dataclass(frozen=True)
class OrderSearch:
    r"""
    Which orders of removal are tried besides those of the methods that are compared.

    Args:

        n_patches (int, optional): Rectangles of the grid in which an order is searched for; with 40
                    it takes 440 passes for each utterance, half of them for the best order and half
                    for the worst. 0 for no search.
                    Default: 40
        n_random (int, optional): Random orders.
                    Default: 3
        seed (int, optional): Of these.
                    Default: 0

    Raises:
        ArgumentError: a number is below 0.

    Examples::

        >>> OrderSearch(n_patches=40).n_passes
        440
    """

    n_patches: int = 40
    n_random: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        for own in fields(self):
            whole_number(own.name, getattr(self, own.name), 0)

    @property
    def n_passes(self) -> int:
        """What the search costs, besides measuring the orders."""
        return 2 * n_passes(self.n_patches) if self.n_patches else 0

    def values(self, utterance: MeasuredUtterance, given: Mapping[str, Tensor]) -> dict[str, Any]:
        """What is measured of each order, texts or graded values, by the order's name.

        Args:
            utterance: what is measured.
            given: maps of methods.
        """
        spectrogram = utterance.speech.spectrogram
        orders = {**given, _LOUDEST: spectrogram}
        generator = torch.Generator("cpu").manual_seed(self.seed)
        for number in range(self.n_random):
            orders[f"random {number + 1}"] = torch.rand(
                *spectrogram.shape, generator=generator, device="cpu"
            )
        found = {name: utterance.values("most", own) for name, own in orders.items()}
        for name, own in orders.items():
            found[f"{name}, reversed"] = utterance.values("least", own)
        for kind, most in (("best", True), ("worst", False)) if self.n_patches else ():
            own = greedy_map(utterance, self.n_patches, most)
            found[f"search for the {kind}"] = utterance.values("most", own)
        return found


def scaled_areas(
    explainer_or_model: SpeechToTextAttribution | SpeechModel,
    examples: Iterable[Example | Sequence[Any] | Mapping[str, Any]],
    maps: Mapping[str, Sequence[SpeechToTextAttributionResult | Tensor]],
    step: float = 0.05,
    *,
    metric: str | Score = "kl",
    search: OrderSearch | None = None,
    text_normalizer: Callable[[str], str] | None = None,
    show_progress: bool = False,
    **options: Any,
) -> ScaledAreas:
    r"""
    Put the areas of deletion of several methods on a scale from the worst (0) to the best (1) order
    of removal that was found, so that models can be compared whose outputs move by different
    amounts.

    Tried of each utterance are the maps of all methods, the loudest cells and random orders, each
    also the other way round, and two orders that are searched for: of a grid of patches, in ten
    rounds, the tenth goes that moves the output most beside what went before, or least. Of each
    utterance the orders with the best and the worst area of their own are the bounds. The true
    bounds lie farther out, nobody knows how far: scaled areas can be compared where step, search,
    removal and set of methods are the same.

    Args:

        explainer_or_model (SpeechToTextAttribution or SpeechModel): An explainer, or its adapter.
        examples (iterable of Example): Utterances, as for :func:`deletion_curve`. Where an example
                    brings no attribution, the first method's says what the model wrote and what
                    removed cells become.
        maps (mapping of str to sequence): Of each method explanations, or maps ``(time, freq)``,
                    in the order of the examples.
        step (float, optional): Share of the cells per step; it must divide 1.
                    Default: 0.05
        metric (str or Score, optional): As for :func:`deletion_curve`; the search goes by the
                    divergence whatever it is.
                    Default: "kl"
        search (OrderSearch, optional): What else is tried.
                    Default: None, ``OrderSearch()``
        text_normalizer (Callable, optional): As for :func:`deletion_curve`.
                    Default: None
        show_progress (bool, optional): Displays a progress bar over utterances.
                    Default: False
        **options (Any): Of :class:`CurveOptions` ``normalized``, ``removal``, ``baselines``,
                    ``gen_args`` and ``batch_size``.

    Returns:
        *ScaledAreas*

    Raises:
        ArgumentError: as :func:`deletion_curve`, or a method has not one map for each example.
        ArgumentTypeError: as :func:`deletion_curve`.

    Examples::

        >>> areas = scaled_areas(
        ...     explainer, [("speech.flac",)], {"spes": [result]}, 0.25, search=OrderSearch(10)
        ... )
        >>> areas.area("energy") <= 1, list(areas.curves)
        (True, ['spes', 'energy'])
    """
    settings = _settings(step, metric, options)
    search = OrderSearch() if search is None else search
    instance_of("search", search, OrderSearch, "an OrderSearch")
    utterances = checked_examples(settings, examples, text_normalizer)
    by_method = _checked_maps(maps, len(utterances))
    first = next(iter(by_method.values()))
    utterances = [
        own._replace(attribution=first[index] if own.attribution is None else own.attribution)
        for index, own in enumerate(utterances)
    ]
    removal = with_examples(settings.options.removal, [own.audio for own in utterances])
    found: list[dict[str, Any]] = []
    progress = tqdm(utterances, desc="orders", unit="utterance", disable=not show_progress)
    for index, example in enumerate(progress):
        given = {
            name: _sentence_map(own[index], settings.options.normalized)
            for name, own in by_method.items()
        }
        with ordinary_torch(adapter_of(explainer_or_model).device):
            utterance = MeasuredUtterance(explainer_or_model, example, settings, removal)
            found.append(search.values(utterance, given))
    curves = {
        name: corpus_curve(settings, utterances, [own[name] for own in found], text_normalizer)
        for name in found[0]
    }
    return _scaled(curves, [*by_method, _LOUDEST], rises(settings.measure.name))


def _scaled(curves: Mapping[str, Curve], names: Sequence[str], is_rising: bool) -> ScaledAreas:
    orders = list(curves)
    example = curves[orders[0]]
    n_utterances = len(example.counts)
    areas = np.array(
        [[curves[o].area_of(np.array([u])) for o in orders] for u in range(n_utterances)]
    )
    signed = areas if is_rising else -areas
    best, worst = signed.argmax(1), signed.argmin(1)

    def of(name: str, chosen: NDArray[np.int64]) -> Curve:
        counts = np.stack([curves[orders[o]].counts[u] for u, o in enumerate(chosen)])
        return Curve(name, example.metric, example.x, counts, example.score, example.ids)

    n_best, n_worst = Counter(best.tolist()), Counter(worst.tolist())
    return ScaledAreas(
        {name: curves[name] for name in names},
        of("best order found", best),
        of("worst order found", worst),
        {name: (n_best[o], n_worst[o]) for o, name in enumerate(orders)},
    )


def _sentence_map(given: Any, normalized: bool) -> Tensor:
    if isinstance(given, SpeechToTextAttributionResult):
        return given.sentence_attr(normalized=normalized).spectrogram_attr
    return torch.as_tensor(given)


def _checked_maps(maps: Any, count: int) -> dict[str, list[Any]]:
    instance_of("maps", maps, Mapping, "a dictionary of names to explanations or maps")
    if not maps:
        raise ArgumentError("scaled_areas needs at least one method's maps.")
    found = {}
    for name, own in maps.items():
        found[str(name)] = several(f"maps of {name}", own, "a sequence of explanations or maps")
        if len(found[str(name)]) != count:
            raise ArgumentError(
                f"{count} examples need as many maps of {name}, got {len(found[str(name)])}."
            )
    if _LOUDEST in found:
        raise ArgumentError(f"{_LOUDEST!r} is measured besides: give maps another name.")
    return found


def _settings(step: float, metric: str | Score, options: Mapping[str, Any]) -> CurveSettings:
    known = ("normalized", "removal", "baselines", "gen_args", "batch_size")
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ArgumentTypeError(
            f"unexpected arguments: {', '.join(unknown)}. scaled_areas takes {', '.join(known)} "
            "besides."
        )
    return CurveSettings.of("deletion", step, metric, options)
