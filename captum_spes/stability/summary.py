"""What a study says: agreement beside chance and ceiling, condition by condition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from captum_spes.analysis.findings import table as data_frame
from captum_spes.errors import ArgumentError
from captum_spes.metrics import (
    Agreement,
    AgreementCeiling,
    agreement_ceiling,
    inter_seed_agreement,
)
from captum_spes.metrics.ceiling import disattenuated, shares_of
from captum_spes.metrics.curves import Interval
from captum_spes.stability.attributions import Condition, StabilityStudy
from captum_spes.stability.methods import parse_method

if TYPE_CHECKING:
    from pandas import DataFrame

OTHER_MEASURES = ("jaccard", "pearson", "spearman", "rank_biased_overlap")
_CONFIDENCE, _RESAMPLES = 0.95, 1000
# Other utterances that each one is compared with.
_MISMATCHES = 3
# A single unit has no highest ones.
_LEAST_UNITS = 2
# Utterance and item (the class, or a token) to scores.
_Maps = dict[tuple[str, int], NDArray[np.float32]]


@dataclass(frozen=True)
class ConditionAgreement:
    """How far the models agree in one condition.

    Attributes:
        condition: how was explained.
        runs: model to run to the maps of every utterance.
        passes: mean number of forward passes per utterance.
        top: share of the units that counts as the highest.
        absolute: whether the magnitude of scores counts.
    """

    condition: Condition
    runs: Mapping[str, Sequence[_Maps]]
    passes: float
    top: float = 0.2
    absolute: bool = False

    @cached_property
    def between(self) -> Agreement:
        """Inter-seed agreement of the models, of their first runs; one column per utterance."""
        return self.measured("overlap")

    def measured(self, measure: str) -> Agreement:
        """Agreement of the models' first runs by any measure of :func:`inter_seed_agreement`."""
        first = {name: runs[0] for name, runs in self.runs.items()}
        return _by_utterance(
            inter_seed_agreement(first, self.top, measure=measure, absolute=self.absolute),
            self._of_items,
        )

    @cached_property
    def ceiling(self) -> AgreementCeiling | None:
        """Agreement of runs with other masks; None where there is one run or no randomness."""
        return self.ceiling_by("overlap")

    def ceiling_by(self, measure: str) -> AgreementCeiling | None:
        """The same by any measure."""
        if any(len(runs) < 2 for runs in self.runs.values()):
            return None
        found = agreement_ceiling(self.runs, self.top, measure=measure, absolute=self.absolute)
        within = {
            name: _by_utterance(agreement, self._of_items)
            for name, agreement in found.within.items()
        }
        return AgreementCeiling(_by_utterance(found.between, self._of_items), within)

    @cached_property
    def mismatched(self) -> float:
        """Agreement of a model's map of one utterance with another model's map of another one,
        place by relative place: what agreement owes to the position in the utterance alone."""
        first = {name: self._by_name(runs[0]) for name, runs in self.runs.items()}
        names = self.utterances
        values = []
        for shift in range(1, min(_MISMATCHES, len(names) - 1) + 1):
            others = dict(zip(names, names[shift:] + names[:shift], strict=True))
            for one, other in permutations(first, 2):
                for name, maps in first[one].items():
                    moved = [_resampled(m, maps[0].size) for m in first[other][others[name]]]
                    count = min(len(maps), len(moved))
                    pair = inter_seed_agreement(
                        [maps[:count], moved[:count]], self.top, absolute=self.absolute
                    )
                    values.append(pair.mean)
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    @staticmethod
    def _by_name(maps: _Maps) -> dict[str, list[NDArray[np.float32]]]:
        found: dict[str, list[NDArray[np.float32]]] = defaultdict(list)
        for (utterance, _), scores in maps.items():
            found[utterance].append(scores)
        return found

    @property
    def self_agreement(self) -> NDArray[np.float64]:
        """``(utterances,)``: of one model with itself, mean over models; 1 without randomness, NaN
        where a method that samples has one run."""
        if self.ceiling is None:
            value = np.nan if self.is_random else 1.0
            return np.full(self.between.values.shape[1], value)
        return _mean([agreement.values for agreement in self.ceiling.within.values()])

    @property
    def is_random(self) -> bool:
        """Whether the method depends on a mask seed."""
        return parse_method(self.condition.method).is_random

    @property
    def of_utterances(self) -> NDArray[np.float64]:
        """``(utterances,)``: inter-seed agreement, mean over pairs; NaN for constant maps."""
        return _mean([self.between.values])

    @property
    def n_units(self) -> float:
        """Mean number of units per utterance."""
        maps = next(iter(self.runs.values()))[0]
        return float(np.mean([len(scores) for scores in maps.values()]))

    @property
    def utterances(self) -> list[str]:
        """Ids, in the order of the columns."""
        return list(dict.fromkeys(self._of_items))

    @property
    def _of_items(self) -> list[str]:
        return [utterance for utterance, _ in next(iter(self.runs.values()))[0]]


def condition_agreements(
    study: StabilityStudy, *, top: float = 0.2, absolute: bool = False
) -> list[ConditionAgreement]:
    r"""
    Bring together what all models say, condition by condition.

    Args:

        study (StabilityStudy): From :func:`run_study`.
        top (float, optional): Share of the units that counts as the highest, in (0, 1).
                    Default: 0.2
        absolute (bool, optional): Whether the magnitude of scores counts and not the sign.
                    Default: False

    Returns:
        *list* of :class:`ConditionAgreement`. Utterances with a single unit, of which none is the
        highest, do not count; a condition that has no other ones is left out.

    Raises:
        ArgumentError: no utterance has two units, or the models share no condition.

    Examples::

        >>> found = condition_agreements(StabilityStudy.load("study"))
    """
    runs: dict[Condition, dict[str, dict[int, _Maps]]] = defaultdict(lambda: defaultdict(dict))
    passes: dict[Condition, list[int]] = defaultdict(list)
    for name, model in study.models.items():
        for record in model.records:
            maps = runs[record.condition][name].setdefault(record.run, {})
            if record.scores.shape[1] >= _LEAST_UNITS:
                maps |= {(record.utterance, i): scores for i, scores in enumerate(record.scores)}
            passes[record.condition].append(record.passes)
    found = [
        ConditionAgreement(
            condition,
            {name: list(of_model.values()) for name, of_model in runs[condition].items()},
            float(np.mean(passes[condition])),
            top,
            absolute,
        )
        for condition in study.conditions
        if all(maps for of_model in runs[condition].values() for maps in of_model.values())
    ]
    if not found:
        raise ArgumentError(
            "no utterance has two units, of which one could be the higher: report in finer ones."
        )
    return found


def stability_table(
    study: StabilityStudy | Sequence[ConditionAgreement],
    *,
    top: float = 0.2,
    absolute: bool = False,
) -> DataFrame:
    r"""
    Inter-seed agreement of every condition beside its chance level and its ceiling.

    Args:

        study (StabilityStudy or sequence of ConditionAgreement): From :func:`run_study`, or
                    conditions of :func:`condition_agreements`, which then bring ``top`` and
                    ``absolute``.
        top (float, optional): See :func:`condition_agreements`.
                    Default: 0.2
        absolute (bool, optional): See there.
                    Default: False

    Returns:
        *DataFrame*, one row per condition: ``task``, ``input``, ``method``, ``perturbed``,
        ``reported``; ``units`` per utterance and forward ``passes`` per explanation; then

        - ``agreement``, with the ``_low`` and ``_high`` ends of its 95 % interval over utterances
          and models, its ``chance`` level, and the value ``corrected`` for chance;
        - ``mismatched``: agreement of one model's map with another model's map of another
          utterance: how much is owed to the position in the utterance alone;
        - ``ceiling``: agreement of a model with itself under other masks, 1 without randomness,
          with the ends of its interval over utterances;
        - ``disattenuated``: corrected agreement to expect without sampling noise
          (:attr:`captum_spes.metrics.AgreementCeiling.disattenuated`), with ends over
          utterances; NaN where the ceiling may be chance;
        - ``of_utterance``, ``of_model``, ``of_masks``: shares of the variance of the scores;
        - ``jaccard``, ``pearson``, ``spearman``, ``rank_biased_overlap``;
        - ``models``, ``utterances``, and the share of their pairs that is ``comparable``, none of
          the two maps being constant.

    Raises:
        ImportError: pandas is not installed.

    Examples::

        >>> table = stability_table(StabilityStudy.load("study"))
        >>> reliable = table.query("agreement > 0.6")
    """
    if isinstance(study, StabilityStudy):
        study = condition_agreements(study, top=top, absolute=absolute)
    return data_frame(_row(agreement) for agreement in study)


def paired_difference(one: ConditionAgreement, other: ConditionAgreement) -> tuple[float, Interval]:
    r"""
    Compare two conditions on the same utterances, both corrected for chance.

    Args:

        one (ConditionAgreement): A condition.
        other (ConditionAgreement): Another one of the same study.

    Returns:
        *tuple* of the mean difference of the corrected agreement, ``one`` minus ``other``, and its
        95 % interval over utterances and models (:meth:`Agreement.interval`).

    Raises:
        ArgumentError: they have other utterances or models.

    Examples::

        >>> found = condition_agreements(StabilityStudy.load("study"))
        >>> paired_difference(found[0], found[0])
        (0.0, Interval(low=0.0, high=0.0))
    """
    if one.between.pairs != other.between.pairs or one.utterances != other.utterances:
        raise ArgumentError("the two conditions are not of the same models and utterances.")
    values = [
        (found.between.values - found.between.chances) / (1 - found.between.chances)
        for found in (one, other)
    ]
    nothing = np.zeros(values[0].shape[1])
    difference = Agreement("difference", one.between.pairs, values[0] - values[1], nothing)
    return difference.mean, difference.interval(_CONFIDENCE)


def _row(found: ConditionAgreement) -> dict[str, Any]:
    between = found.between
    low, high = between.interval(_CONFIDENCE)
    ceiling = found.self_agreement
    ceiling_low, ceiling_high = _interval(np.nanmean, ceiling)
    return {
        **found.condition._asdict(),
        "units": round(found.n_units, 1),
        "passes": round(found.passes, 1),
        "agreement": between.mean,
        "agreement_low": low,
        "agreement_high": high,
        "chance": between.chance,
        "mismatched": found.mismatched,
        "corrected": between.corrected,
        "ceiling": float(np.nanmean(ceiling)) if np.isfinite(ceiling).any() else float("nan"),
        "ceiling_low": ceiling_low,
        "ceiling_high": ceiling_high,
        **_without_noise(found, ceiling_low),
        **_shares(found),
        **{measure: found.measured(measure).mean for measure in OTHER_MEASURES},
        "models": len(found.runs),
        "utterances": between.n_utterances,
        "comparable": float(np.isfinite(between.values).mean()),
    }


def _without_noise(found: ConditionAgreement, ceiling_low: float) -> dict[str, float]:
    """The disattenuated agreement and its ends; NaN where the ceiling may be chance."""
    names = ("disattenuated", "disattenuated_low", "disattenuated_high")
    chance = found.between.chance
    if found.is_random and (found.ceiling is None or not ceiling_low > chance):
        return dict.fromkeys(names, float("nan"))
    if found.ceiling is None:
        ends = [(v - chance) / (1 - chance) for v in found.between.interval(_CONFIDENCE)]
        return dict(zip(names, (found.between.corrected, *ends), strict=True))
    agreements = np.stack([_mean([found.ceiling.between.values]), found.self_agreement])

    def corrected(columns: NDArray[np.float64]) -> float:
        means = np.nanmean(columns, axis=-1)
        return disattenuated(float(means[0]), float(means[1]), chance, "overlap")

    return dict(zip(names, (corrected(agreements), *_interval(corrected, agreements)), strict=True))


def _shares(found: ConditionAgreement) -> dict[str, float]:
    """What the variance of the scores comes from; NaN where one run cannot tell."""
    names = ("of_utterance", "of_model", "of_masks")
    if found.is_random and found.ceiling is None:
        return dict.fromkeys(names, float("nan"))
    correlations = found.ceiling_by("pearson")
    if correlations is None:  # without randomness every run is the same
        shares = shares_of(found.measured("pearson").mean, 1.0)
    else:
        shares = shares_of(correlations.between.mean, correlations.ceiling)
    return dict(zip(names, shares, strict=True))


def _resampled(scores: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """As many units, each with the score of the one at its relative place."""
    places = (np.arange(size) + 0.5) * scores.size / size
    return np.asarray(scores[places.astype(int)])


def _by_utterance(agreement: Agreement, of_items: Sequence[str]) -> Agreement:
    """Tokens of one utterance are not independent: their mean is one column."""
    names = list(dict.fromkeys(of_items))
    if len(names) == len(of_items):
        return agreement
    member = np.array(of_items)
    values = [_mean([agreement.values[:, member == name].T]) for name in names]
    # All tokens of an utterance have as many units, and so the same chance.
    chances = [agreement.chances[member == name][0] for name in names]
    return replace(agreement, values=np.stack(values, axis=1), chances=np.array(chances))


def _mean(rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """``(columns,)``: over all rows, NaN left out and where there is nothing else."""
    values = np.concatenate(rows)
    known = np.isfinite(values)
    sums, counts = np.where(known, values, 0.0).sum(0), known.sum(0)
    nothing = np.full(len(sums), np.nan)
    means: NDArray[np.float64] = np.divide(sums, counts, out=nothing, where=counts > 0)
    return means


def _interval(
    statistic: Callable[[NDArray[np.float64]], Any], columns: NDArray[np.float64]
) -> Interval:
    """Percentile bootstrap of a statistic over utterances, the last dimension."""
    known = columns[..., np.isfinite(np.atleast_2d(columns)).all(0)]
    if known.shape[-1] < 2:
        return Interval(float("nan"), float("nan"))
    generator = np.random.default_rng(0)
    draws = generator.integers(0, known.shape[-1], (_RESAMPLES, known.shape[-1]))
    values = [float(statistic(known[..., draw])) for draw in draws]
    tail = (1 - _CONFIDENCE) / 2
    low, high = (
        np.nanquantile(values, [tail, 1 - tail]) if np.isfinite(values).any() else [np.nan] * 2
    )
    return Interval(float(low), float(high))
