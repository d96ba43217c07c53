"""The ceiling tells sampling noise from models that differ."""

import numpy as np
import pytest

from captum_spes.errors import ArgumentError
from captum_spes.metrics import agreement_ceiling, inter_seed_agreement, variance_shares

UTTERANCES, PLACES = 20, 1000


def models(shared, own, noise, n_models=4, n_runs=3, seed=0):
    """Scores with planted variances: of the utterance, the model, and the run."""
    generator = np.random.default_rng(seed)
    shape = (UTTERANCES, PLACES)
    utterance = generator.standard_normal(shape) * shared**0.5
    found = {}
    for name in range(n_models):
        of_model = utterance + generator.standard_normal(shape) * own**0.5
        found[f"model {name}"] = [
            list(of_model + generator.standard_normal(shape) * noise**0.5) for _ in range(n_runs)
        ]
    return found


@pytest.mark.parametrize(
    "shares", [(0.5, 0.3, 0.2), (0.2, 0.0, 0.8), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.1, 0.2, 0.7)]
)
def test_planted_variances_are_found(shares):
    found = variance_shares(models(*shares))
    assert (found.utterance, found.model_seed, found.mask_seed) == pytest.approx(shares, abs=0.01)
    assert found.utterance + found.model_seed + found.mask_seed == pytest.approx(1)


def test_correlation_is_disattenuated():
    """Between models 0.3, within 0.5: without noise 0.6."""
    found = agreement_ceiling(models(0.3, 0.2, 0.5), measure="pearson")
    assert found.between.mean == pytest.approx(0.3, abs=0.01)
    assert found.ceiling == pytest.approx(0.5, abs=0.01)
    assert found.disattenuated == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize("measure", ["overlap", "jaccard", "spearman", "pearson"])
@pytest.mark.parametrize("noise", [0.25, 1.0, 3.0])
def test_noise_does_not_change_what_is_left_without_it(measure, noise):
    """Half of what models say is shared; the more noise, the further both agreements fall."""
    truth = agreement_ceiling(models(0.5, 0.5, 0.0), measure=measure).disattenuated
    found = agreement_ceiling(models(0.5, 0.5, noise), measure=measure)
    assert found.ceiling < 0.9
    assert found.disattenuated == pytest.approx(truth, abs=0.03)


def test_opposite_maps_overlap_by_what_must_overlap():
    """Of two opposite orders the highest 60 % share a fifth of the places, a third of these."""
    generator = np.random.default_rng(0)
    scores, *noise = generator.standard_normal((5, UTTERANCES, PLACES))
    opposite = {
        "one": [list(scores + of_run) for of_run in noise[:2]],
        "other": [list(of_run - scores) for of_run in noise[2:]],
    }
    found = agreement_ceiling(opposite, top=0.6)
    assert found.disattenuated == pytest.approx((1 / 3 - 0.6) / 0.4, abs=0.02)


@pytest.mark.parametrize("measure", ["overlap", "spearman", "pearson"])
def test_equal_models_differ_by_noise_alone(measure):
    found = agreement_ceiling(models(0.3, 0.0, 0.7), measure=measure)
    assert found.between.mean < 0.5
    assert found.between.mean == pytest.approx(found.ceiling, abs=0.01)
    assert found.disattenuated == pytest.approx(1, abs=0.03)


def test_without_noise_nothing_is_corrected():
    same = {name: [runs[0], runs[0]] for name, runs in models(0.5, 0.5, 0.0).items()}
    found = agreement_ceiling(same)
    assert found.ceiling == 1
    assert found.disattenuated == pytest.approx(found.between.corrected, abs=0.002)
    expected = inter_seed_agreement({name: runs[0] for name, runs in same.items()})
    assert found.between.mean == pytest.approx(expected.mean)


def test_few_samples_sit_on_the_chance_floor():
    found = agreement_ceiling(models(0.0, 0.0, 1.0))
    assert found.ceiling == pytest.approx(found.chance, abs=0.01)
    assert found.between.mean == pytest.approx(found.chance, abs=0.01)


def test_every_pair_of_runs_counts_on_one_side():
    found = agreement_ceiling(models(0.3, 0.2, 0.5, n_models=3, n_runs=2))
    assert len(found.between.pairs) == 3 * 2 * 2
    assert {name: len(one.pairs) for name, one in found.within.items()} == {
        "model 0": 1, "model 1": 1, "model 2": 1,
    }  # fmt: skip
    assert all(one[0] != other[0] for one, other in found.between.pairs)


def test_unusable():
    runs = [np.arange(5.0), np.arange(5.0)]
    with pytest.raises(ArgumentError, match="two models, got 1"):
        agreement_ceiling([runs])
    with pytest.raises(ArgumentError, match="model 1 has 1 run"):
        agreement_ceiling([runs, runs[:1]])
