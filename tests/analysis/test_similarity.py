"""Centred kernel alignment, and whether models that represent alike explain alike."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from captum_spes.analysis import EncoderStates, layer_similarity, linear_cka, similar_models
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.metrics import inter_seed_agreement
from tests.analysis.planted_states import Speech


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def by_pairs_of_rows(one, other):
    """The unbiased estimator as it is written (Song et al., equation 5), with all pairs of rows."""

    def hsic(x, y):
        n = len(x)
        k, m = x @ x.T, y @ y.T
        np.fill_diagonal(k, 0)
        np.fill_diagonal(m, 0)
        return (
            np.trace(k @ m)
            + k.sum() * m.sum() / ((n - 1) * (n - 2))
            - 2 / (n - 2) * (k.sum(0) @ m.sum(1))
        ) / (n * (n - 3))

    return hsic(one, other) / np.sqrt(hsic(one, one) * hsic(other, other))


@pytest.mark.parametrize("debiased", [True, False])
class TestInvariances:
    def test_the_same_is_1(self, debiased):
        own = drawn(30, 8)
        assert linear_cka(own, own, debiased=debiased) == pytest.approx(1)

    def test_rotated_scaled_and_moved(self, debiased):
        one, other = drawn(40, 6), drawn(40, 9, seed=1) + 0.5
        other[:, :6] += one
        cka = linear_cka(one, other, debiased=debiased)
        assert 0.1 < cka < 0.9
        rotation = np.linalg.qr(drawn(9, 9, seed=2))[0]
        changed = 1e6 + 250 * other @ rotation
        assert linear_cka(one, changed, debiased=debiased) == pytest.approx(cka, rel=1e-6)
        assert linear_cka(changed, one, debiased=debiased) == pytest.approx(cka, rel=1e-6)
        order = np.random.default_rng(3).permutation(40)
        assert linear_cka(one[order], other[order], debiased=debiased) == pytest.approx(cka)

    def test_not_by_any_other_linear_map(self, debiased):
        """Only then can it tell apart what training has made of all directions."""
        own = drawn(40, 6)
        assert linear_cka(own, own * [100, 1, 1, 1, 1, 1], debiased=debiased) < 0.8

    def test_any_range_of_numbers(self, debiased):
        one, other = drawn(20, 3), drawn(20, 3, seed=1)
        cka = linear_cka(one, other, debiased=debiased)
        for scale in (1e-120, 1e120):
            assert linear_cka(one * scale, other / scale, debiased=debiased) == pytest.approx(cka)

    def test_what_does_not_change_has_none(self, debiased):
        constant = np.full((20, 3), 0.1)
        assert np.isnan(linear_cka(constant, drawn(20, 3), debiased=debiased))


class TestBias:
    def test_as_it_is_written(self):
        one, other = drawn(25, 40), drawn(25, 7, seed=1)
        other += one[:, :7]
        expected = by_pairs_of_rows(one, other)
        assert linear_cka(one, other) == pytest.approx(expected, rel=1e-10)
        # Centring changes nothing.
        assert linear_cka(one + 3, other) == pytest.approx(expected, rel=1e-8)

    def test_unrelated_representations_of_few_rows(self):
        """Wider than rows are many: the biased one calls them alike."""
        pairs = [(drawn(40, 80, seed=n), drawn(40, 60, seed=100 + n)) for n in range(20)]
        biased = [linear_cka(*pair, debiased=False) for pair in pairs]
        debiased = [linear_cka(*pair) for pair in pairs]
        assert min(biased) > 0.5
        assert abs(np.mean(debiased)) < 0.02
        assert min(debiased) < 0 < max(debiased)

    def test_both_agree_on_many_rows(self):
        one, other = drawn(5000, 4), drawn(5000, 4, seed=1)
        other += one
        assert linear_cka(one, other) == pytest.approx(
            linear_cka(one, other, debiased=False), abs=0.01
        )

    @pytest.mark.parametrize(
        ("one", "other", "message"),
        [
            (np.zeros((3, 2)), np.zeros((3, 2)), "at least 4 rows"),
            (np.zeros((5, 2)), np.zeros((6, 2)), "the same rows, got 5 and 6"),
            (np.zeros(5), np.zeros((5, 2)), "shape"),
            (np.full((5, 2), np.inf), np.zeros((5, 2)), "first holds NaN"),
        ],
    )
    def test_errors(self, one, other, message):
        with pytest.raises(ArgumentError, match=message):
            linear_cka(one, other)

    def test_texts(self):
        with pytest.raises(ArgumentTypeError, match="array of numbers"):
            linear_cka([["a"]], drawn(5, 2))


class TestLayers:
    def test_table(self):
        speech = Speech(n=3)
        found = layer_similarity(speech.states)
        layers = list(speech.states["r0"].layers)
        assert found.index.tolist() == found.columns.tolist() == layers
        assert np.allclose(np.diag(found), 1)
        assert np.allclose(found, found.T)
        stacked = [
            np.concatenate([own.layers[layer] for own in speech.states.values()])
            for layer in ("phones", "words")
        ]
        assert found.loc["phones", "words"] == pytest.approx(linear_cka(*stacked))
        assert found.loc["phones", "words"] > 0.1
        assert abs(found.loc["phones", "noise"]) < 0.03
        biased = layer_similarity(speech.states, debiased=False)
        assert biased.loc["phones", "noise"] > found.loc["phones", "noise"]

    def test_another_model(self):
        one, other = Speech(n=2).states, Speech(n=2).states
        fewer = {n: replace(own, layers={"x": own.layers["words"]}) for n, own in other.items()}
        found = layer_similarity(one, fewer)
        assert found.shape == (4, 1)
        assert found.loc["words", "x"] == pytest.approx(1)

    def test_spoken_frames_alone(self):
        speech = Speech(n=2)
        loud, spoken = {}, {}
        for name, own in speech.states.items():
            is_silent = np.array(
                [
                    not any(p.start <= t < p.end for p in speech.alignments[name].phones)
                    for t in own.times
                ]
            )
            spoken[name] = ~is_silent
            layers = {
                key: own.layers[key] + 100 * is_silent[:, None] for key in ("words", "phones")
            }
            loud[name] = replace(own, layers=layers)
        assert layer_similarity(loud).loc["words", "phones"] > 0.9
        found = layer_similarity(loud, alignments=speech.alignments)
        expected = linear_cka(*(
            np.concatenate([own.layers[key][spoken[name]] for name, own in speech.states.items()])
            for key in ("words", "phones")
        ))  # fmt: skip
        assert found.loc["words", "phones"] == pytest.approx(expected)
        assert 0.1 < expected < 0.9
        with pytest.raises(ArgumentError, match="lack the phones of 'r0'"):
            layer_similarity(loud, alignments={})

    def test_other_frames(self):
        speech = Speech(n=2)
        own = speech.states["r1"]
        cut = EncoderStates(
            {name: values[1:] for name, values in own.layers.items()}, own.times[1:], own.times[1:]
        )
        with pytest.raises(ArgumentError, match=r"r1 has .* frames in second"):
            layer_similarity(speech.states, {**speech.states, "r1": cut})
        with pytest.raises(ArgumentError, match="other utterances"):
            layer_similarity(speech.states, {"r0": speech.states["r0"]})


N_MODELS = 7


def models(likeness, n=N_MODELS, seed=0):
    """Models of which each is, to some degree, like one ideal; layer "1" and the maps follow it as
    ``likeness`` says, layer "2" is unrelated."""
    generator = np.random.default_rng(seed)
    ideal, ideal_map = generator.standard_normal((60, 5)), generator.standard_normal(200)
    states, maps = {}, {}
    for number, share in enumerate(np.linspace(0.1, 0.9, n)):
        of_layer = share * ideal + (1 - share) * generator.standard_normal((60, 5))
        other = generator.standard_normal((60, 5))
        times = np.arange(60) / 50
        name = f"seed {number}"
        states[name] = {"a": EncoderStates({"1": of_layer, "2": other}, times, times)}
        of_map = likeness * share
        maps[name] = {"a": of_map * ideal_map + (1 - of_map) * generator.standard_normal(200)}
    return states, maps


class TestModels:
    def test_models_that_represent_alike_explain_alike(self):
        found = similar_models(*models(1.0))
        tests = found.tests.set_index("layer")
        assert tests.loc["1", "correlation"] > 0.7
        assert tests.loc["1", "p"] < 0.01
        assert tests.loc["2", "p"] > 0.05
        assert tests["pairs"].tolist() == [21, 21]
        assert tests["models"].tolist() == [7, 7]
        assert tests["smallest_p"].tolist() == [1 / 5040] * 2

    def test_maps_that_follow_nothing(self):
        ps = [similar_models(*models(0.0, n=5, seed=seed)).tests.loc[0, "p"] for seed in range(20)]
        assert np.mean(np.array(ps) < 0.25) < 0.6
        assert 0.25 < np.mean(ps) < 0.75

    def test_pairs(self):
        states, maps = models(1.0)
        found = similar_models(states, maps, measure="spearman")
        rows = found.pairs.query("layer == '1'")
        agreement = inter_seed_agreement(maps, measure="spearman").per_pair
        names = list(states)
        assert list(zip(rows["first"], rows["second"], strict=True)) == list(combinations(names, 2))
        for row in rows.itertuples():
            assert row.agreement == agreement[row.first, row.second]
            both = [states[name]["a"].layers["1"] for name in (row.first, row.second)]
            assert row.cka == pytest.approx(linear_cka(*both))
        assert abs(rows["cka_shifted"].mean()) < 0.05
        [correlation] = found.tests.query("layer == '1'")["correlation"]
        assert correlation == pytest.approx(
            stats.spearmanr(rows["cka"], rows["agreement"]).statistic
        )

    def test_shifted_frames_tell_what_slow_states_give_alone(self):
        """Unrelated, but slow: neighbouring frames are alike, and CKA is high by itself."""
        times = np.arange(60) / 50
        slow = {
            name: {"a": EncoderStates({"1": drawn(60, 2, seed=n).cumsum(0)}, times, times)}
            for n, name in enumerate("abcd")
        }
        maps = {name: {"a": drawn(50, seed=n)} for n, name in enumerate("abcd")}
        pairs = similar_models(slow, maps).pairs
        assert pairs["cka"].mean() > 0.1
        assert pairs["cka_shifted"].mean() > 0.1

    def test_order_and_seeds(self):
        states, maps = models(1.0, n=8)
        found = [similar_models(states, maps, n_permutations=500, seed=seed) for seed in (0, 0, 1)]
        assert found[0].tests.equals(found[1].tests)
        assert not found[0].tests.equals(found[2].tests)
        assert found[0].tests["smallest_p"].tolist() == [1 / 501] * 2
        backwards = similar_models(dict(reversed(states.items())), maps)
        forwards = similar_models(states, maps)
        assert np.allclose(
            forwards.tests["correlation"].astype(float),
            backwards.tests["correlation"].astype(float),
        )

    def test_few_models_show_nothing(self):
        found = similar_models(*models(1.0, n=3))
        assert found.tests["smallest_p"].tolist() == [1 / 6] * 2
        assert (found.tests["p"] >= 1 / 6).all()
        two = similar_models(*models(1.0, n=2)).tests
        assert two[["correlation", "p", "smallest_p"]].isna().all(axis=None)

    def test_layers_of_some_models_are_left_out(self):
        states, maps = models(1.0, n=3)
        own = states["seed 1"]["a"]
        states["seed 1"] = {"a": replace(own, layers={"1": own.layers["1"]})}
        assert similar_models(states, maps).tests["layer"].tolist() == ["1"]
        states["seed 1"] = {"a": replace(own, layers={"x": own.layers["1"]})}
        with pytest.raises(ArgumentError, match="no layer of one name"):
            similar_models(states, maps)

    def test_errors(self):
        states, maps = models(1.0, n=3)
        with pytest.raises(ArgumentError, match="at least two"):
            similar_models({"a": states["seed 0"]}, {"a": maps["seed 0"]})
        with pytest.raises(ArgumentError, match="of the same models"):
            similar_models(states, {**maps, "x": maps["seed 0"]})
        with pytest.raises(ArgumentTypeError, match="dict of EncoderStates"):
            similar_models({**states, "seed 1": drawn(3, 3)}, maps)
