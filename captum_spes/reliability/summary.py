"""What a study says: agreement beside chance and ceiling, condition by condition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
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
    variance_shares,
)
from captum_spes.metrics.curves import Interval
from captum_spes.reliability.methods import parse_method
from captum_spes.reliability.study import Condition, ReliabilityStudy

if TYPE_CHECKING:
    from pandas import DataFrame

OTHER_MEASURES = ("jaccard", "pearson", "spearman", "rank_biased_overlap")
_CONFIDENCE, _RESAMPLES = 0.95, 1000
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
        if any(len(runs) < 2 for runs in self.runs.values()):
            return None
        found = agreement_ceiling(self.runs, self.top, absolute=self.absolute)
        within = {
            name: _by_utterance(agreement, self._of_items)
            for name, agreement in found.within.items()
        }
        return AgreementCeiling(_by_utterance(found.between, self._of_items), within)

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
    study: ReliabilityStudy, *, top: float = 0.2, absolute: bool = False
) -> list[ConditionAgreement]:
    r"""
    Bring together what all models say, condition by condition.

    Args:

        study (ReliabilityStudy): From :func:`run_study`.
        top (float, optional): Share of the units that counts as the highest, in (0, 1).
                    Default: 0.2
        absolute (bool, optional): Whether the magnitude of scores counts and not the sign.
                    Default: False

    Returns:
        *list* of :class:`ConditionAgreement`.

    Examples::

        >>> found = condition_agreements(ReliabilityStudy.load("study"))
    """
    runs: dict[Condition, dict[str, dict[int, _Maps]]] = defaultdict(lambda: defaultdict(dict))
    passes: dict[Condition, list[int]] = defaultdict(list)
    for name, model in study.models.items():
        for record in model.records:
            maps = runs[record.condition][name].setdefault(record.run, {})
            maps |= {(record.utterance, i): scores for i, scores in enumerate(record.scores)}
            passes[record.condition].append(record.passes)
    return [
        ConditionAgreement(
            condition,
            {name: list(of_model.values()) for name, of_model in runs[condition].items()},
            float(np.mean(passes[condition])),
            top,
            absolute,
        )
        for condition in study.conditions
    ]


def reliability_table(
    study: ReliabilityStudy, *, top: float = 0.2, absolute: bool = False
) -> DataFrame:
    r"""
    Inter-seed agreement of every condition beside its chance level and its ceiling.

    Args:

        study (ReliabilityStudy): From :func:`run_study`.
        top (float, optional): See :func:`condition_agreements`.
                    Default: 0.2
        absolute (bool, optional): See there.
                    Default: False

    Returns:
        *DataFrame*, one row per condition: ``task``, ``input``, ``method``, ``perturbed``,
        ``reported``; ``units`` per utterance and forward ``passes`` per explanation;
        ``agreement`` (with the ``_low`` and ``_high`` ends of its 95 % bootstrap interval over
        utterances and models), ``chance``, ``corrected`` for chance; ``ceiling`` (with ends), the
        agreement of a model with itself under other masks, 1 without randomness;
        ``disattenuated``, what the agreement would be without sampling noise, on a scale where
        chance is 0 (NaN where the ceiling is chance); ``of_utterance``, ``of_model`` and
        ``of_masks``, the shares of the variance; ``jaccard``, ``pearson``, ``spearman`` and
        ``rank_biased_overlap``; ``models``, ``utterances``.

    Raises:
        ImportError: pandas is not installed.

    Examples::

        >>> table = reliability_table(ReliabilityStudy.load("study"))
        >>> reliable = table.query("agreement > 0.6")
    """
    found = condition_agreements(study, top=top, absolute=absolute)
    return data_frame(_row(agreement) for agreement in found)


def paired_difference(one: ConditionAgreement, other: ConditionAgreement) -> tuple[float, Interval]:
    r"""
    Compare two conditions on the same utterances, both corrected for chance.

    Args:

        one (ConditionAgreement): A condition.
        other (ConditionAgreement): Another one of the same study.

    Returns:
        *tuple* of the mean difference of the corrected agreement, ``one`` minus ``other``, and its
        95 % bootstrap interval over utterances and models (both drawn alike for the two).

    Raises:
        ArgumentError: they have other utterances or models.

    Examples::

        >>> found = condition_agreements(ReliabilityStudy.load("study"))
        >>> paired_difference(found[0], found[0])
        (0.0, Interval(low=0.0, high=0.0))
    """
    if one.between.pairs != other.between.pairs or one.utterances != other.utterances:
        raise ArgumentError("the two conditions are not of the same models and utterances.")
    values = [
        (found.between.values - found.between.chance) / (1 - found.between.chance)
        for found in (one, other)
    ]
    difference = replace(one.between, values=values[0] - values[1], chance=0.0)
    return difference.mean, difference.interval(_CONFIDENCE, n_resamples=_RESAMPLES)


def _row(found: ConditionAgreement) -> dict[str, Any]:
    between, chance = found.between, found.between.chance
    low, high = between.interval(_CONFIDENCE, n_resamples=_RESAMPLES)
    ceiling = found.self_agreement
    ceiling_low, ceiling_high = _interval_of_mean(ceiling)
    return {
        **found.condition._asdict(),
        "units": round(found.n_units, 1),
        "passes": round(found.passes, 1),
        "agreement": between.mean,
        "agreement_low": low,
        "agreement_high": high,
        "chance": chance,
        "corrected": between.corrected,
        "ceiling": float(ceiling.mean()) if np.isnan(ceiling).all() else float(np.nanmean(ceiling)),
        "ceiling_low": ceiling_low,
        "ceiling_high": ceiling_high,
        **_split(found),
        **{measure: found.measured(measure).mean for measure in OTHER_MEASURES},
        "models": len(found.runs),
        "utterances": between.n_utterances,
    }


def _split(found: ConditionAgreement) -> dict[str, float]:
    """What of the scores is the models' and what the estimator's; NaN where one run cannot tell."""
    names = ("disattenuated", "of_utterance", "of_model", "of_masks")
    if found.is_random and found.ceiling is None:
        return dict.fromkeys(names, float("nan"))
    disattenuated = found.ceiling.disattenuated if found.ceiling else found.between.corrected
    # Of a method without randomness every run is the same.
    runs = found.runs if found.ceiling else {n: [r[0], r[0]] for n, r in found.runs.items()}
    shares = variance_shares(runs, absolute=found.absolute)
    values = (disattenuated, shares.utterance, shares.model_seed, shares.mask_seed)
    return dict(zip(names, values, strict=True))


def _by_utterance(agreement: Agreement, of_items: Sequence[str]) -> Agreement:
    """Tokens of one utterance are not independent: their mean is one column."""
    names = list(dict.fromkeys(of_items))
    if len(names) == len(of_items):
        return agreement
    member = np.array(of_items)
    columns = [_mean([agreement.values[:, member == name].T]) for name in names]
    return replace(agreement, values=np.stack(columns, axis=1))


def _mean(rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """``(columns,)``: over all rows, NaN left out and where there is nothing else."""
    values = np.concatenate(rows)
    known = np.isfinite(values)
    sums, counts = np.where(known, values, 0.0).sum(0), known.sum(0)
    return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)


def _interval_of_mean(values: NDArray[np.float64]) -> Interval:
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return Interval(float("nan"), float("nan"))
    generator = np.random.default_rng(0)
    draws = generator.integers(0, len(known), (_RESAMPLES, len(known)))
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(known[draws].mean(1), [tail, 1 - tail])
    return Interval(float(low), float(high))
