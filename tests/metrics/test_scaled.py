"""Areas between the worst and the best order that was found."""

import numpy as np
import pytest
import torch

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.metrics import OrderSearch, deletion_curve, scaled_areas
from captum_spes.metrics.curve_options import CurveSettings, Example
from captum_spes.metrics.greedy import greedy_map
from captum_spes.metrics.measured_curve import MeasuredUtterance
from captum_spes.speech.models import TargetSequence, adapt
from tests.metrics.test_perturbation import WordPerCell
from tests.speech.explaining import explain

# Four cells of which the third is all that matters, then the first.
WORTH = torch.tensor([2.0, 0.0, 5.0, 0.0])
ORDERS = {"right": WORTH, "wrong": -WORTH, "middle": torch.tensor([9.0, 2.0, 1.0, 0.0])}
NO_SEARCH = OrderSearch(0, 0)


class Weighted(WordPerCell):
    """Two words; how sure it is of the first depends on what is left of the cells."""

    def generate(self, speech, gen_args):
        return TargetSequence(torch.tensor([0, 0]), (1,))

    def decode(self, states, sequence):
        return (states.flatten(1) * WORTH).sum(1)[:, None, None]

    def output_layer(self, hidden):
        return torch.cat([hidden, -hidden], -1)


def examples(count=1):
    return [(torch.ones(4, 1), "one two three four") for _ in range(count)]


def maps(*names, count=1):
    return {name: [ORDERS[name].reshape(4, 1)] * count for name in names}


def scaled(given, search=NO_SEARCH, step=0.25, **options):
    return scaled_areas(Weighted(), examples(), given, step, search=search, **options)


def test_bounds_are_the_best_and_the_worst_that_was_tried():
    areas = scaled(maps("right", "middle"))
    assert areas.area("right") == 1
    assert 0 < areas.area("middle") < 1
    alone = {
        name: deletion_curve(
            Weighted(), [(*examples()[0], given.reshape(4, 1))], 0.25, metric="kl"
        ).auc
        for name, given in ORDERS.items()
    }
    assert areas.best.auc == pytest.approx(alone["right"])
    # Its reverse was tried, too.
    assert areas.worst.auc == pytest.approx(alone["wrong"])
    expected = (alone["middle"] - alone["wrong"]) / (alone["right"] - alone["wrong"])
    assert areas.area("middle") == pytest.approx(expected)
    assert scaled(maps("wrong", "right")).area("wrong") == 0


def test_the_search_finds_what_no_map_says():
    areas = scaled(maps("middle"), OrderSearch(4, 0))
    assert areas.best.auc == pytest.approx(scaled(maps("right")).best.auc)
    assert areas.found_by["search for the best"] == (1, 0)
    assert areas.area("middle") < 1


def test_the_search_sees_what_goes_with_what_went_before():
    """Of two cells that say the same, the second is worth nothing until the first is gone."""

    class Redundant(Weighted):
        def decode(self, states, sequence):
            cells = states.flatten(1)
            said_twice = torch.maximum(1.3 * cells[:, 1], cells[:, 3])
            return (said_twice + 0.2 * cells[:, 0] + 0.1 * cells[:, 2])[:, None, None]

    given = {"best": [torch.tensor([1.0, 3.0, 0.0, 2.0]).reshape(4, 1)]}
    areas = scaled_areas(Redundant(), examples(), given, 0.25, search=OrderSearch(4, 0))
    assert areas.curves["best"].auc == pytest.approx(areas.best.auc)
    blind = {"energy 2": [torch.tensor([1.0, 0.0, 0.0, 0.0]).reshape(4, 1)]}
    searched = scaled_areas(Redundant(), examples(), blind, 0.25, search=OrderSearch(4, 0))
    assert searched.best.auc == pytest.approx(areas.best.auc)


def test_random_orders_are_seeded_and_other_seeds_are_others():
    found = [scaled(maps("middle"), OrderSearch(0, 3, seed)).found_by for seed in range(6)]
    assert found[0] == scaled(maps("middle"), OrderSearch(0, 3, 0)).found_by
    assert any(own != found[0] for own in found[1:])
    assert [name for name in found[0] if name.startswith("random")][-1] == "random 3, reversed"


def test_scores_that_fall_are_turned_round():
    by_errors = scaled(maps("middle", "right"), metric="wer_capped", text_normalizer=str)
    by_bleu = scaled(maps("right", "wrong"), metric="bleu")
    # Every cell is worth a word there: all orders are alike to the error rate.
    assert np.isnan(by_errors.area("middle"))
    assert by_bleu.best.auc <= by_bleu.worst.auc

    class Doubting(Weighted):
        def decode(self, states, sequence):
            return super().decode(states, sequence) - 3

    accuracy = scaled_areas(
        Doubting(), examples(), maps("right", "wrong"), 0.25, metric="token_accuracy",
        search=NO_SEARCH,
    )  # fmt: skip
    assert accuracy.best.auc < accuracy.worst.auc
    assert (accuracy.area("right"), accuracy.area("wrong")) == (1, 0)


def test_bounds_are_those_of_each_utterance():
    """One utterance's best order is the other one's worst."""
    given = {
        "first": [ORDERS["right"].reshape(4, 1), ORDERS["wrong"].reshape(4, 1)],
        "second": [ORDERS["wrong"].reshape(4, 1), ORDERS["right"].reshape(4, 1)],
    }
    areas = scaled_areas(Weighted(), examples(2), given, 0.25, search=NO_SEARCH)
    assert areas.area("first") == areas.area("second") == pytest.approx(0.5)
    low, high = areas.interval("first")
    assert (low, high) == (0, 1)
    difference, interval = areas.difference("first", "second")
    assert difference == 0
    assert interval == (-1, 1)


def test_the_scale_makes_models_alike_that_move_by_different_amounts():
    class Moving(Weighted):
        def output_layer(self, hidden):
            return 0.1 * super().output_layer(hidden)

    given = maps("middle", "right")
    sure, unsure = (
        scaled_areas(model(), examples(), given, 0.25, search=NO_SEARCH)
        for model in (Weighted, Moving)
    )
    assert sure.curves["middle"].auc > 3 * unsure.curves["middle"].auc
    assert 0 < unsure.area("middle") < 1
    assert unsure.area("right") == sure.area("right") == 1


class TestRealModels:
    def test_a_search_is_better_than_what_it_is_given(self, tiny_model, audio):
        adapter, result = adapt(*tiny_model), explain(tiny_model, audio)
        areas = scaled_areas(
            adapter, [(audio,)], {"spes": [result]}, 0.1, search=OrderSearch(20, 1),
            removal="silence", batch_size=8,
        )  # fmt: skip
        assert areas.worst.auc < areas.curves["energy"].auc < areas.best.auc
        assert 0 <= areas.area("spes") <= 1
        best, worst = (areas.found_by[f"search for the {kind}"] for kind in ("best", "worst"))
        assert best[0] == 1 or worst[1] == 1
        again = scaled_areas(
            adapter, [(audio,)], {"spes": [result]}, 0.1, search=OrderSearch(20, 1),
            removal="silence",
        )  # fmt: skip
        assert again.area("spes") == pytest.approx(areas.area("spes"), abs=1e-3)

    def test_cost_is_what_it_says(self, tiny_whisper, audio):
        adapter, result = adapt(*tiny_whisper), explain(tiny_whisper, audio)
        settings = CurveSettings.of("deletion", 0.5, "kl", {})
        utterance = MeasuredUtterance(adapter, Example(audio, None, result), settings)
        heard, encode = [], adapter.encode
        adapter.encode = lambda speech, copies: heard.append(len(copies)) or encode(speech, copies)
        for n_patches in (20, 40):
            heard.clear()
            found = greedy_map(utterance, n_patches, most=True)
            assert found.shape == result.spectrogram.shape
            # And the intact speech, once a round.
            passes = sum(heard) - 10
            assert passes == OrderSearch(n_patches).n_passes / 2


def test_says_what_is_wrong():
    own = maps("right")
    for given, options, error, message in (
        ({}, {}, ArgumentError, "at least one method"),
        ([1], {}, ArgumentTypeError, "maps must be a dictionary"),
        ({"spes": []}, {}, ArgumentError, "1 examples need as many maps of spes, got 0"),
        ({"energy": own["right"]}, {}, ArgumentError, "is measured besides"),
        (own, {"per_token": True}, ArgumentTypeError, "unexpected arguments: per_token"),
        (own, {"search": 3}, ArgumentTypeError, "search must be an OrderSearch"),
    ):
        with pytest.raises(error, match=message):
            scaled(given, **options)
    with pytest.raises(ArgumentError, match="n_patches must be an int of at least 0"):
        OrderSearch(-1)
    with pytest.raises(ArgumentError, match="name must be one of right, energy"):
        scaled(own).area("spes")
