"""Agreement between seeds: equal maps give 1, unrelated ones chance, others what was planted."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy

from captum_spes.errors import ArgumentError
from captum_spes.metrics import Agreement, inter_seed_agreement
from tests.analysis.planted import planted_result

MEASURES = ["overlap", "jaccard", "pearson", "spearman", "rank_biased_overlap"]


def unrelated(seeds=4, utterances=40, places=200, seed=0):
    return list(map(list, np.random.default_rng(seed).random((seeds, utterances, places))))


class TestKnownAnswers:
    @pytest.mark.parametrize("measure", MEASURES)
    def test_equal_maps_agree_perfectly(self, measure):
        saliency = torch.randn(7, 11)
        found = inter_seed_agreement([saliency] * 3, measure=measure)
        assert found.values == pytest.approx(1)
        assert found.corrected == pytest.approx(1)
        assert len(found.pairs) == 3

    @pytest.mark.parametrize("measure", MEASURES)
    def test_unrelated_maps_agree_by_chance(self, measure):
        found = inter_seed_agreement(unrelated(), measure=measure)
        low, high = found.interval()
        assert low < found.chance < high
        assert found.mean == pytest.approx(found.chance, abs=0.02)
        assert high - low < 0.1

    def test_overlap_by_hand(self):
        """Of ten places two are the highest: {8, 9}, {9, 0}, {0, 1}."""
        maps = [np.arange(10.0), np.array([8.5, *range(1, 9), 9.0]), np.arange(10.0)[::-1].copy()]
        found = inter_seed_agreement(maps)
        assert found.per_pair == {(0, 1): 0.5, (0, 2): 0.0, (1, 2): 0.5}
        assert found.mean == float(found) == pytest.approx(1 / 3)
        assert found.chance == 0.2
        assert found.corrected == pytest.approx((1 / 3 - 0.2) / 0.8)
        jaccard = inter_seed_agreement(maps, measure="jaccard")
        assert jaccard.per_pair[0, 1] == pytest.approx(1 / 3)
        # No, one or both places shared: 28, 16 and 1 of 45 pairs.
        assert jaccard.chance == pytest.approx((16 / 3 + 1) / 45)

    def test_rank_biased_overlap_by_hand(self):
        """Depths 1, 2, 3 share 0, 1, 3 of as many, with weights 4, 2, 1 of 7."""
        found = inter_seed_agreement(
            [[3.0, 2.0, 1.0], [2.0, 1.0, 3.0]], top=0.7, measure="rank_biased_overlap"
        )
        assert found.mean == pytest.approx((4 * 0 + 2 * 1 / 2 + 1) / 7)
        assert found.chance == pytest.approx((4 * 1 / 3 + 2 * 2 / 3 + 1) / 7)

    def test_a_shared_part_gives_the_overlap_it_must(self):
        """Half of the highest places are planted for both seeds, the rest is drawn apart."""
        generator = np.random.default_rng(0)
        seeds = generator.random((2, 50, 1000))
        seeds[:, :, :100] += 10
        found = inter_seed_agreement(list(map(list, seeds)))
        # 100 of 200 shared, and of the others 100 * 100 / 900 by chance.
        assert found.mean == pytest.approx((100 + 100 * 100 / 900) / 200, abs=0.005)

    def test_noise_lowers_correlation_as_it_must(self):
        """Signal and noise of equal variance: correlation 1 / 2."""
        generator = np.random.default_rng(0)
        signal = generator.standard_normal((40, 2000))
        seeds = [list(signal + generator.standard_normal(signal.shape)) for _ in range(3)]
        found = inter_seed_agreement(seeds, measure="pearson")
        assert found.mean == pytest.approx(0.5, abs=0.01)

    def test_the_sign_is_an_explicit_choice(self):
        saliency = np.arange(1.0, 21.0)
        assert inter_seed_agreement([saliency, -saliency]).mean == 0
        assert inter_seed_agreement([saliency, -saliency], absolute=True).mean == 1


class TestWhatIsGiven:
    def test_names_of_seeds_and_utterances(self):
        maps = np.random.default_rng(0).random((3, 2, 30))
        named = {s: {"a": m[0], "b": m[1]} for s, m in zip((42, 666, 1), maps, strict=True)}
        found = inter_seed_agreement(named)
        assert found.pairs == ((42, 666), (42, 1), (666, 1))
        assert np.array_equal(found.values, inter_seed_agreement(list(map(list, maps))).values)
        assert found.values.shape == (3, 2)
        assert found.per_utterance == pytest.approx(found.values.mean(0))

    def test_explanations_are_compared_token_by_token(self):
        """The scale of a token must not make its cells the highest of all."""
        scales = np.array([1.0, 100.0])[:, None, None]
        maps = [
            torch.from_numpy(scales * m) for m in np.random.default_rng(0).random((3, 2, 100, 16))
        ]
        results = [planted_result([" so", " no"], saliency) for saliency in maps]
        found = inter_seed_agreement(results)
        assert found.values.shape == (3, 2)
        assert found.mean == pytest.approx(0.2, abs=0.03)
        assert inter_seed_agreement(maps).mean > 0.35  # as one array it is the scale that agrees
        named = inter_seed_agreement([{"a": r} for r in results])
        assert np.array_equal(named.values, found.values)

    def test_utterances_of_different_length_count_the_same(self):
        short, long = np.arange(10.0), np.arange(1000.0)
        found = inter_seed_agreement([[short, long], [short, long[::-1].copy()]])
        assert found.mean == 0.5

    def test_at_least_one_place(self):
        found = inter_seed_agreement([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], top=0.1)
        assert found.mean == 1
        assert found.chance == pytest.approx(1 / 3)

    def test_constant_maps_have_no_highest_places(self):
        maps = [[np.zeros(20), np.arange(20.0)], [np.arange(20.0)] * 2, [np.arange(20.0)] * 2]
        found = inter_seed_agreement(maps)
        assert np.isnan(found.values[:2, 0]).all()
        assert found.per_utterance.tolist() == [1.0, 1.0]
        nothing = inter_seed_agreement([np.zeros(20)] * 2)
        assert nothing.n_utterances == 0
        assert np.isnan(nothing.mean)

    @given(hypothesis_numpy.arrays(float, (3, 25), elements=st.floats(-5, 5)))
    def test_any_maps(self, maps):
        for measure in ("overlap", "jaccard", "rank_biased_overlap"):
            values = inter_seed_agreement(maps, measure=measure).values
            known = values[np.isfinite(values)]
            assert ((known >= 0) & (known <= 1 + 1e-12)).all()

    @pytest.mark.parametrize(
        ("attributions", "arguments", "message"),
        [
            ([np.arange(5.0)], {}, "two seeds, got 1"),
            ([np.arange(5.0), np.arange(6.0)], {}, "need one shape"),
            ([[np.arange(5.0)], [np.arange(5.0)] * 2], {}, "other utterances"),
            ([{"a": np.arange(5.0)}, {"b": np.arange(5.0)}], {}, "other utterances"),
            ([np.arange(5.0), np.full(5, np.nan)], {}, "NaN or infinite"),
            ([np.arange(5.0)] * 2, {"top": 0}, "top must lie"),
            ([np.arange(5.0)] * 2, {"top": 1.0}, "top must lie"),
            ([np.arange(5.0)] * 2, {"measure": "cosine"}, "measure must be one of overlap"),
            ([[1.0], [1.0]], {}, "at least two places"),
        ],
    )
    def test_unusable(self, attributions, arguments, message):
        with pytest.raises(ArgumentError, match=message):
            inter_seed_agreement(attributions, **arguments)


class TestInterval:
    def test_it_covers_the_truth_as_often_as_it_says(self):
        """Unrelated maps of few seeds and utterances: the truth is chance."""
        inside = []
        for seed in range(60):
            found = inter_seed_agreement(unrelated(5, 12, 100, seed))
            low, high = found.interval()
            inside.append(low <= 0.2 <= high)
        assert np.mean(inside) > 0.85

    @pytest.mark.parametrize("n_seeds", [3, 5])
    @pytest.mark.parametrize("deviations", [(0.05, 0.02, 0.02), (0.02, 0.05, 0.1)])
    def test_it_covers_the_truth_where_seeds_and_utterances_differ(self, n_seeds, deviations):
        of_seeds, of_utterances, of_both = deviations
        pairs = tuple(combinations(range(n_seeds), 2))
        one, other = np.array(pairs).T
        inside = []
        for seed in range(120):
            generator = np.random.default_rng(seed)
            own = generator.normal(0, of_seeds, (n_seeds, 1))
            own = own + generator.normal(0, of_both, (n_seeds, 12))
            values = 0.5 + own[one] + own[other] + generator.normal(0, of_utterances, 12)
            low, high = Agreement("overlap", pairs, values, np.full(12, 0.2)).interval()
            inside.append(low <= 0.5 <= high)
        assert np.mean(inside) > 0.88  # of 95, with the chance of 120 studies

    def test_few_seeds_are_uncertain_however_many_utterances(self):
        """Two seeds are alike and two are not; what another study draws is open."""
        one, other = (list(np.random.default_rng(s).random((200, 100))) for s in (0, 1))
        low, high = inter_seed_agreement([one, one, other, other]).interval()
        assert low < 0.25
        assert high > 0.6

    def test_the_seed_decides(self):
        found = inter_seed_agreement(unrelated())
        drawn = [found.interval(method="bootstrap", seed=seed) for seed in (3, 3, 4)]
        assert drawn[0] == drawn[1] != drawn[2]
        with pytest.raises(ArgumentError, match="confidence"):
            found.interval(1.0)
        with pytest.raises(ArgumentError, match="method"):
            found.interval(method="normal")
