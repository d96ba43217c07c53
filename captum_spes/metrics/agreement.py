"""Would other seeds name the same places? (Shen et al., arXiv 2505.16406)"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from captum_spes.errors import ArgumentError
from captum_spes.metrics.curves import Interval
from captum_spes.speech import SpeechToTextAttributionResult

_Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Agreement:
    r"""
    How far the attributions of several seeds agree.

    Attributes:
        measure: "overlap", "jaccard", "pearson", "spearman" or "rank_biased_overlap".
        pairs: the two seeds of each pair, by position or name.
        values: ``(pairs, utterances)``; NaN where one of the two maps is constant, and has no
            highest places.
        chance: what maps that have nothing to do with each other give, mean over utterances.
    """

    measure: str
    pairs: tuple[tuple[Any, Any], ...]
    values: _Values
    chance: float

    @property
    def mean(self) -> float:
        """Over pairs and utterances; every utterance counts the same."""
        return float(np.nanmean(self.per_utterance)) if self.n_utterances else float("nan")

    @property
    def corrected(self) -> float:
        """The mean on a scale where chance is 0 and perfect agreement 1."""
        return (self.mean - self.chance) / (1 - self.chance)

    @property
    def per_pair(self) -> dict[tuple[Any, Any], float]:
        """Mean over utterances of each pair."""
        return {
            pair: float(np.nanmean(row)) if np.isfinite(row).any() else float("nan")
            for pair, row in zip(self.pairs, self.values, strict=True)
        }

    @property
    def per_utterance(self) -> _Values:
        """``(utterances,)``: mean over pairs, of the utterances that have one."""
        known = self.values[:, np.isfinite(self.values).any(0)]
        return np.nanmean(known, axis=0) if known.size else np.empty(0)

    @property
    def n_utterances(self) -> int:
        """Utterances with at least one pair of maps that can be compared."""
        return len(self.per_utterance)

    def interval(
        self, confidence: float = 0.95, *, n_resamples: int = 1_000, seed: int = 0
    ) -> Interval:
        r"""
        Bootstrap the mean over utterances and seeds (percentile method).

        Both are drawn with replacement: another study would have other utterances and other
        seeds. Pairs of a seed with itself, which would agree perfectly, are left out.

        Args:

            confidence (float, optional): Coverage, in (0, 1).
                        Default: 0.95
            n_resamples (int, optional): Draws.
                        Default: 1000
            seed (int, optional): Of the drawing.
                        Default: 0

        Returns:
            *Interval* (low, high).

        Examples::

            >>> maps = np.random.default_rng(0).random((3, 500))
            >>> low, high = inter_seed_agreement(maps).interval()
            >>> low <= 0.25
            True
        """
        if not 0 < confidence < 1:
            raise ArgumentError(f"confidence must lie between 0 and 1, got {confidence}.")
        generator = np.random.default_rng(seed)
        names = list(dict.fromkeys(name for pair in self.pairs for name in pair))
        place = {name: index for index, name in enumerate(names)}
        ends = np.array([[place[first], place[second]] for first, second in self.pairs])
        means = []
        for _ in range(n_resamples):
            drawn = np.bincount(generator.integers(0, len(names), len(names)), minlength=len(names))
            weights = drawn[ends[:, 0]] * drawn[ends[:, 1]]
            columns = generator.integers(0, self.values.shape[1], self.values.shape[1])
            if weights.any():
                means.append(_weighted_mean(self.values[:, columns], weights))
        tail = (1 - confidence) / 2
        low, high = np.nanquantile(means, [tail, 1 - tail])
        return Interval(float(low), float(high))

    def __float__(self) -> float:
        return self.mean


def inter_seed_agreement(
    attributions: ArrayLike | Sequence[Any] | Mapping[Any, Any],
    top: float = 0.2,
    *,
    measure: str = "overlap",
    absolute: bool = False,
) -> Agreement:
    r"""
    Measure how far the attributions of models that differ in their seed agree.

    The inter-seed agreement of arXiv 2505.16406 is the overlap of the places with the highest
    fifth of the scores: the size of their intersection divided by that of each.

    Args:

        attributions (array, sequence or mapping): One entry per seed, at least two. An entry is
                    one utterance's attribution, of any shape, or a sequence or mapping of the
                    attributions of several utterances, the same ones for each seed. Of a
                    :class:`SpeechToTextAttributionResult` every token's map counts as an
                    utterance; do not give maps of several tokens as one array, since their scales
                    differ.
        top (float, optional): Share of the places that counts as the highest, in (0, 1); at least
                    one place.
                    Default: 0.2
        measure (str, optional): "overlap"; "jaccard" (intersection over union of the same
                    places); "pearson" or "spearman" (correlation of all scores, which ``top`` does
                    not concern); or "rank_biased_overlap" (Webber et al. 2010,
                    https://doi.org/10.1145/1852102.1852106: overlaps at all depths, with weights
                    whose mean depth is that of ``top``).
                    Default: "overlap"
        absolute (bool, optional): Whether the magnitude counts and not the sign, which matters to
                    gradients and to Integrated Gradients.
                    Default: False

    Returns:
        *Agreement*: ``mean`` (also ``float(...)``), ``chance``, ``corrected`` for chance,
        ``per_pair``, ``per_utterance`` and ``interval()``. Among equal scores earlier places rank
        lower, as in deletion. A constant map has no highest places: its pairs are NaN.

    Raises:
        ArgumentError: there are fewer than two seeds, they have other utterances or shapes, a value
            is NaN or infinite, or an argument is out of range.

    Examples::

        >>> same = torch.arange(10.0)
        >>> agreement = inter_seed_agreement([same, same, same.flip(0)])
        >>> agreement.per_pair
        {(0, 1): 1.0, (0, 2): 0.0, (1, 2): 0.0}
        >>> agreement.chance
        0.2
    """
    if not 0 < top < 1:
        raise ArgumentError(f"top must lie between 0 and 1, got {top}.")
    if measure not in _MEASURES:
        raise ArgumentError(f"measure must be one of {', '.join(_MEASURES)}, got {measure!r}.")
    names, maps = _checked(attributions, absolute)
    compare, chance = _MEASURES[measure]
    counts = [max(1, int(top * len(utterance[0]))) for utterance in zip(*maps, strict=True)]
    pairs = list(combinations(range(len(names)), 2))
    values = np.array(
        [
            [
                compare(one, other, count) if np.ptp(one) and np.ptp(other) else np.nan
                for one, other, count in zip(maps[first], maps[second], counts, strict=True)
            ]
            for first, second in pairs
        ]
    )
    by_chance = [chance(len(one), count) for one, count in zip(maps[0], counts, strict=True)]
    named = tuple((names[first], names[second]) for first, second in pairs)
    return Agreement(measure, named, values, float(np.mean(by_chance)))


def _highest(scores: _Values, count: int) -> set[int]:
    return set(np.argsort(scores, kind="stable")[-count:].tolist())


def _overlap(one: _Values, other: _Values, count: int) -> float:
    return len(_highest(one, count) & _highest(other, count)) / count


def _jaccard(one: _Values, other: _Values, count: int) -> float:
    first, second = _highest(one, count), _highest(other, count)
    return len(first & second) / len(first | second)


def _jaccard_by_chance(n: int, count: int) -> float:
    """The mean over all intersections, which are hypergeometric."""
    sizes = np.arange(count + 1)
    shares = stats.hypergeom(n, count, count).pmf(sizes)
    return float((shares * sizes / (2 * count - sizes)).sum())


def _rank_biased_overlap(one: _Values, other: _Values, count: int) -> float:
    places = [np.argsort(np.argsort(-scores[::-1], kind="stable"))[::-1] for scores in (one, other)]
    # Both lists hold an item from the depth of its lower rank on.
    shared = np.bincount(np.maximum(*places), minlength=len(one)).cumsum()
    return float((_depth_weights(len(one), count) * shared / np.arange(1, len(one) + 1)).sum())


def _rank_biased_overlap_by_chance(n: int, count: int) -> float:
    """At depth d two random lists share d of every n items."""
    return float((_depth_weights(n, count) * np.arange(1, n + 1) / n).sum())


def _depth_weights(n: int, count: int) -> _Values:
    # A geometric law of this mean; the depths end with the list, so they are scaled to add up to 1.
    persistence = 1 - 1 / max(count, 2)
    weights = persistence ** np.arange(n)
    return np.asarray(weights / weights.sum())


_MEASURES: dict[str, tuple[Callable[..., float], Callable[[int, int], float]]] = {
    "overlap": (_overlap, lambda n, count: count / n),
    "jaccard": (_jaccard, _jaccard_by_chance),
    "pearson": (lambda a, b, count: float(stats.pearsonr(a, b).statistic), lambda n, count: 0.0),
    "spearman": (lambda a, b, count: float(stats.spearmanr(a, b).statistic), lambda n, count: 0.0),
    "rank_biased_overlap": (_rank_biased_overlap, _rank_biased_overlap_by_chance),
}


def _checked(attributions: Any, absolute: bool) -> tuple[list[Any], list[list[_Values]]]:
    """Names of the seeds, and for each seed a flat array per utterance."""
    is_named = isinstance(attributions, Mapping)
    names = list(attributions) if is_named else list(range(len(attributions)))
    if len(names) < 2:
        raise ArgumentError(f"agreement needs the attributions of two seeds, got {len(names)}.")
    of_seeds = [
        _utterances(entry) for entry in (attributions.values() if is_named else attributions)
    ]
    first = of_seeds[0]
    for name, entry in zip(names, of_seeds, strict=True):
        if entry.keys() != first.keys() or not first:
            raise ArgumentError(
                f"seed {name!r} has other utterances than seed {names[0]!r}: {len(entry)} and "
                f"{len(first)}."
            )
        for utterance, values in entry.items():
            if values.shape != first[utterance].shape or values.size < 2:
                raise ArgumentError(
                    f"attributions of one utterance need one shape, of at least two places: "
                    f"{values.shape} and {first[utterance].shape} ({utterance!r}, seed {name!r})."
                )
            if not np.isfinite(values).all():
                raise ArgumentError(f"seed {name!r}, utterance {utterance!r}: NaN or infinite.")
    return names, [
        [(abs(values) if absolute else values).ravel() for values in entry.values()]
        for entry in of_seeds
    ]


def _utterances(entry: Any) -> dict[Any, _Values]:
    if isinstance(entry, Mapping):
        several = dict(entry)
    elif isinstance(entry, list | tuple) and not np.isscalar(entry[0] if entry else 0.0):
        several = dict(enumerate(entry))
    else:
        several = {0: entry}
    maps: dict[Any, Any] = {}
    for name, values in several.items():
        if isinstance(values, SpeechToTextAttributionResult):
            # Tokens differ in scale: on one heap the highest places would be those of few tokens.
            of_tokens = enumerate(values.spectrogram_attr)
            maps |= {(name, token): saliency for token, saliency in of_tokens}
        else:
            maps[name] = values
    return {name: np.asarray(values, dtype=np.float64) for name, values in maps.items()}


def _weighted_mean(values: _Values, weights: NDArray[Any]) -> float:
    known = np.isfinite(values)
    weight = known * weights[:, None]
    sums = weight.sum(0)
    per_utterance = np.where(known, values, 0.0) * weight
    kept = sums > 0
    return float((per_utterance.sum(0)[kept] / sums[kept]).mean()) if kept.any() else float("nan")
