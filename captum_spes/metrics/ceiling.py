"""How much of a low agreement is due to the models, and how much to sampling noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import compress
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from captum_spes.errors import ArgumentError, several
from captum_spes.metrics.agreement import Agreement, inter_seed_agreement


@dataclass(frozen=True, eq=False)
class AgreementCeiling:
    r"""
    Agreement between models, compared with that of each model with itself.

    Attributes:
        between: agreement of runs of different models; its seeds are (model, run).
        within: agreement of the runs of each model, by model.
    """

    between: Agreement
    within: Mapping[Any, Agreement]

    @property
    def chance(self) -> float:
        """The agreement of unrelated maps."""
        return self.between.chance

    @property
    def ceiling(self) -> float:
        """The mean agreement of models with themselves: two models can hardly agree better."""
        return float(np.mean([agreement.mean for agreement in self.within.values()]))

    @property
    def disattenuated(self) -> float:
        r"""
        The agreement to expect without sampling noise, on a scale where chance is 0.

        Spearman's correction, :math:`r_{ab} / r_{aa}`, of the mean agreements. It holds for
        correlations; overlaps of the highest places are first turned into the correlation of two
        normal variables that overlap as far, and the result is turned back (noise lowers an
        overlap by more than in proportion). NaN for "rank_biased_overlap", and where models agree
        with themselves no more than by chance, so that nothing is known of them. By noise a
        correlation can exceed 1.
        """
        return disattenuated(self.between.mean, self.ceiling, self.chance, self.between.measure)


def disattenuated(between: float, within: float, chance: float, measure: str) -> float:
    """See :attr:`AgreementCeiling.disattenuated`: from the agreement between models, that within
    them, and its chance level."""
    latent = [_correlation(value, measure, chance) for value in (between, within)]
    if not latent[1] > 0:
        return float("nan")
    found = _agreement(latent[0] / latent[1], measure, chance)
    return (found - chance) / (1 - chance)


def _correlation(agreement: float, measure: str, chance: float) -> float:
    """The correlation of two normal variables whose highest places agree this far."""
    if measure == "pearson":
        return agreement
    if measure == "spearman":
        return 2 * float(np.sin(np.pi * agreement / 6))
    if measure == "rank_biased_overlap":
        return float("nan")
    overlap = 2 * agreement / (1 + agreement) if measure == "jaccard" else agreement
    correlations, overlaps = _normal_overlaps(_share(measure, chance))
    return float(np.interp(overlap, overlaps, correlations))


def _agreement(correlation: float, measure: str, chance: float) -> float:
    """The inverse of :func:`_correlation`."""
    if measure == "pearson":
        return correlation
    if measure == "spearman":
        return 6 / np.pi * float(np.arcsin(np.clip(correlation / 2, -1, 1)))
    correlations, overlaps = _normal_overlaps(_share(measure, chance))
    overlap = float(np.interp(correlation, correlations, overlaps))
    return overlap / (2 - overlap) if measure == "jaccard" else overlap


def _share(measure: str, chance: float) -> float:
    """The share of places that count as the highest, which is also their overlap by chance."""
    return round(2 * chance / (1 + chance) if measure == "jaccard" else chance, 3)


@cache
def _normal_overlaps(share: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Correlations, and the overlap of the highest ``share`` of two normal variables with them."""
    correlations = np.linspace(-1, 1, 81)
    limit = float(scipy.stats.norm.ppf(share))
    both = [
        scipy.stats.multivariate_normal(cov=[[1, r], [r, 1]], allow_singular=True).cdf(
            [limit, limit]
        )
        for r in correlations[1:-1]
    ]
    # Even in opposite orders the highest places overlap if they are more than half of all.
    return correlations, np.array([max(0.0, 2 * share - 1), *both, share]) / share


@dataclass(frozen=True)
class VarianceShares:
    """What a cell's standardised score depends on; the shares add up to 1.

    Attributes:
        utterance: what depends on the utterance alone, common to all models and runs.
        model_seed: what depends on the model.
        mask_seed: what depends on the run: sampling noise.
        utterance_deviation: standard deviation of the first share over utterances.
    """

    utterance: float
    model_seed: float
    mask_seed: float
    utterance_deviation: float


def agreement_ceiling(
    attributions: Mapping[Any, Sequence[Any]] | Sequence[Sequence[Any]],
    top: float = 0.2,
    *,
    measure: str = "overlap",
    absolute: bool = False,
) -> AgreementCeiling:
    r"""
    Compare the agreement between models with that of each model with itself.

    A method that draws random masks does not even agree with itself if it draws few: Lime with
    Captum's default of 25 samples is at chance on a single model. Its low agreement between models
    then says nothing about the models.

    Args:

        attributions (mapping or sequence): For each model a sequence of runs with different mask
                    seeds, at least two each; a run is what :func:`inter_seed_agreement` takes for a
                    seed. For a method without randomness give the same run twice.
        top (float, optional): See :func:`inter_seed_agreement`.
                    Default: 0.2
        measure (str, optional): See there.
                    Default: "overlap"
        absolute (bool, optional): See there.
                    Default: False

    Returns:
        *AgreementCeiling*: ``between``, ``within``, ``ceiling``, ``chance`` and
        ``disattenuated``.

    Raises:
        ArgumentError: there are fewer than two models, or fewer than two runs of one.

    Examples::

        >>> signal = np.random.default_rng(0).random((20, 300))
        >>> def run(seed):
        ...     return list(signal + np.random.default_rng(seed).random(signal.shape))
        >>> found = agreement_ceiling([[run(1), run(2)], [run(3), run(4)]])
        >>> abs(found.between.mean - found.ceiling) < 0.03  # all that divides them is noise
        True
    """
    models = _models(attributions)
    arguments: dict[str, Any] = {"top": top, "measure": measure, "absolute": absolute}
    every_run = {
        (name, number): run for name, runs in models.items() for number, run in enumerate(runs)
    }
    agreement = inter_seed_agreement(every_run, **arguments)
    of_models = [(one, other) for (one, _), (other, _) in agreement.pairs]
    between = _selected(agreement, [one != other for one, other in of_models])
    within = {
        name: _selected(agreement, [one == other == name for one, other in of_models])
        for name in models
    }
    return AgreementCeiling(between, within)


def variance_shares(
    attributions: Mapping[Any, Sequence[Any]] | Sequence[Sequence[Any]], *, absolute: bool = False
) -> VarianceShares:
    r"""
    Split the variance of scores into what the utterance, the model and the masks decide.

    Maps are standardised per utterance, so that covariances are Pearson correlations: the one
    between runs of different models is the utterance's share, the one between runs of one model
    the utterance's and the model's together.

    Args:

        attributions (mapping or sequence): As :func:`agreement_ceiling` takes.
        absolute (bool, optional): Whether to compare magnitudes, without signs.
                    Default: False

    Returns:
        *VarianceShares*: a share that is negative by noise counts as 0.

    Raises:
        ArgumentError: there are fewer than two models, or fewer than two runs of one.

    Examples::

        >>> maps = np.random.default_rng(0).random((2, 1000))
        >>> shares = variance_shares([[maps[0], maps[0]], [maps[1], maps[1]]])
        >>> shares.mask_seed, round(shares.model_seed, 1)
        (0.0, 1.0)
    """
    found = agreement_ceiling(attributions, measure="pearson", absolute=absolute)
    shares = shares_of(found.between.mean, found.ceiling)
    return VarianceShares(*shares, float(np.std(found.between.per_utterance)))


def shares_of(between: float, within: float) -> tuple[float, float, float]:
    """Shares of utterance, model and masks, from the correlations between and within models."""
    shared = min(max(between, 0.0), 1.0)
    of_model = min(max(within, shared), 1.0)
    return shared, of_model - shared, 1.0 - of_model


def _models(attributions: Any) -> dict[Any, list[Any]]:
    named = (
        attributions
        if isinstance(attributions, Mapping)
        else dict(enumerate(several("attributions", attributions, "those of several models")))
    )
    models = {
        name: several(f"attributions of model {name!r}", runs, "a sequence of runs")
        for name, runs in named.items()
    }
    if len(models) < 2:
        raise ArgumentError(f"a ceiling needs two models, got {len(models)}.")
    for name, runs in models.items():
        if len(runs) < 2:
            raise ArgumentError(
                f"model {name!r} has {len(runs)} run; its agreement with itself needs two with "
                "different mask seeds."
            )
    return models


def _selected(agreement: Agreement, rows: list[bool]) -> Agreement:
    pairs = tuple(compress(agreement.pairs, rows))
    return Agreement(agreement.measure, pairs, agreement.values[rows], agreement.chances)
