"""Recordings as games of patches, for estimators of others."""

import math
import sys
from itertools import combinations

import numpy as np
import pytest
import torch

from captum_spes import SPES, Settings, SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.forward import Contrast
from captum_spes.metrics import deletion_curve
from tests.speech.explaining import explain

ASKED = {"target": "the cat", "n_patches": 12, "seed": 0}


def game_of(model, audio, **kwargs):
    network, processor = model
    return SpeechToTextAttribution(SPES(network), processor).game(audio, **{**ASKED, **kwargs})


@pytest.fixture(scope="module")
def whisper_model(make_tiny_whisper):
    return make_tiny_whisper()


@pytest.fixture(scope="module")
def whisper_game(whisper_model, audio):
    """One for all tests that only ask it."""
    return game_of(whisper_model, audio)


def everyone(game):
    return np.ones(game.n_players, bool)


def coalitions(game, count, seed=0):
    return np.random.default_rng(seed).random((count, game.n_players)) < 0.5


class Recorder:
    """An estimator that keeps the samples of SPES."""

    def estimate(self, features, samples):
        self.level, self.masks, self.impacts = samples[0]
        return torch.zeros(self.impacts.shape[1], features.n_elements)


@pytest.mark.parametrize("score", ["kl", "log_probability", Contrast("cat", "dog")])
def test_a_coalition_costs_what_its_complement_removes(tiny_model, audio, score):
    """The score of the intact input minus a coalition's is SPES's impact of the same mask."""
    network, processor = tiny_model
    explainer = SpeechToTextAttribution(SPES(network), processor)
    recorder = Recorder()
    settings = Settings.paper(
        n_samples=12, n_token_samples=0, n_patches=8, score=score, perturbations_per_eval=5
    )
    explainer.attribute(audio, target="the cat", settings=settings, estimator=recorder, seed=0)
    game = explainer.game(audio, target="the cat", settings=settings, seed=0)
    intact = game.scores(everyone(game))
    found = intact - game.scores(~recorder.masks.numpy())
    assert torch.allclose(found, recorder.impacts, atol=1e-5)
    assert float(found.abs().max()) > 1e-3


HALVES = torch.arange(2).repeat_interleave(30)[:, None].expand(60, 80)


@pytest.mark.parametrize(
    "levels",
    [
        {"n_patches": (12, 30)},
        {"n_patches": None, "patches_per_second": (20, 60)},
        {"n_patches": None, "feature_mask": [HALVES, torch.arange(4800).reshape(60, 80)]},
    ],
)
def test_players_are_the_patches_of_the_first_level(whisper_model, audio, levels):
    """Also of the result, which says what was removed."""
    known = explain(whisper_model, audio, n_samples=20, n_token_samples=0, **levels)
    game = game_of(whisper_model, audio, **levels)
    assert game.n_players == known.parameters["patches_per_level"][0]
    assert torch.equal(game.map(np.arange(game.n_players)), known.feature_masks[0].float())
    result = game.result(np.zeros((len(game.output_tokens), game.n_players)), "zeros")
    assert torch.equal(result.feature_masks, known.feature_masks[:1])


def test_cells_that_are_never_perturbed_belong_to_no_player(whisper_model, audio, whisper_game):
    shape = whisper_game.map(np.zeros(whisper_game.n_players)).shape
    mask = torch.full(shape, -1)
    mask[:20], mask[20:30] = 5, 9
    game = game_of(whisper_model, audio, n_patches=None, feature_mask=mask)
    assert game.n_players == 2
    values = game.map([3.0, 4.0])
    assert bool(
        (values[:20] == 3).all() and (values[20:30] == 4).all() and (values[30:] == 0).all()
    )


class TestPasses:
    def test_each_coalition_costs_one(self, whisper_model, audio, monkeypatch):
        network, _ = whisper_model
        game = game_of(whisper_model, audio)
        seen = count_encoded(network, monkeypatch)
        few = np.arange(game.n_players) < np.arange(6)[:, None]
        first = game(np.concatenate([few, few[::-1]]))
        assert np.array_equal(first[:6], first[:5:-1])
        assert sum(seen) == game.n_evaluated == 6
        assert np.array_equal(game(few), first[:6])
        assert sum(seen) == 6

    def test_other_tokens_are_free(self, whisper_model, audio, monkeypatch):
        network, _ = whisper_model
        game = game_of(whisper_model, audio)
        drawn = coalitions(game, 10)
        game.of(0)(drawn)
        seen = count_encoded(network, monkeypatch)
        values = [game.of(row)(drawn) for row in range(len(game.output_tokens))]
        assert not seen
        assert np.allclose(np.stack(values, 1), game.scores(drawn))
        assert np.allclose(np.mean(values, 0), game(drawn))
        assert np.allclose(np.mean(values[1:3], 0), game.of([1, 2])(drawn))
        assert np.allclose(game.of(1).of(None)(drawn), game(drawn))

    def test_all_patches_are_the_intact_input(self, whisper_model, audio, monkeypatch):
        network, _ = whisper_model
        game = game_of(whisper_model, audio)
        seen = count_encoded(network, monkeypatch)
        assert float(game(everyone(game))[0]) == 0.0
        assert not seen

    @pytest.mark.parametrize("batch", [1, "auto"])
    def test_batches_change_nothing(self, whisper_model, audio, whisper_game, batch):
        game = game_of(whisper_model, audio, perturbations_per_eval=batch)
        drawn = coalitions(game, 9)
        assert np.allclose(game(drawn), whisper_game(drawn), atol=1e-6)


def count_encoded(network, monkeypatch):
    """The number of inputs of each call of the encoder from now on."""
    seen, encoder = [], network.get_encoder()
    forward = encoder.forward

    def counted(inputs, *args, **kwargs):
        seen.append(len(inputs))
        return forward(inputs, *args, **kwargs)

    monkeypatch.setattr(encoder, "forward", counted)
    return seen


def shapley_values(game):
    """By the definition, from all coalitions."""
    n = game.n_players
    found = np.zeros(n)
    for player in range(n):
        others = [other for other in range(n) if other != player]
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for members in combinations(others, size):
                without = np.isin(np.arange(n), members)
                with_it = without | (np.arange(n) == player)
                worth, less = game(np.stack([with_it, without]))
                found[player] += weight * (worth - less)
    return found


class TestShapiq:
    def test_values_are_those_of_the_definition(self, whisper_model, audio):
        shapiq = pytest.importorskip("shapiq")
        game = game_of(whisper_model, audio, n_patches=5).of(1)
        budget = 2**game.n_players
        estimated = shapiq.KernelSHAP(n=game.n_players, random_state=0).approximate(budget, game)
        exact = shapley_values(game)
        assert np.allclose(estimated.get_n_order_values(1), exact, atol=1e-5)
        patches = game.map(np.arange(game.n_players)).long()
        assert torch.allclose(game.map(estimated).double(), torch.tensor(exact)[patches], atol=1e-5)

    @pytest.mark.parametrize("name", ["KernelSHAP", "PermutationSamplingSV"])
    def test_values_are_efficient(self, whisper_model, audio, name):
        """They sum to what all patches together are worth more than none."""
        shapiq = pytest.importorskip("shapiq")
        game = game_of(whisper_model, audio)
        approximator = getattr(shapiq, name)(n=game.n_players, random_state=0)
        values = approximator.approximate(60, game).get_n_order_values(1)
        everything, nothing = game(np.stack([everyone(game), ~everyone(game)]))
        assert game.n_evaluated < 2**game.n_players
        assert values.sum() == pytest.approx(everything - nothing, abs=1e-4)
        assert everything - nothing > 0.01

    def test_a_token_with_the_same_coalitions_costs_nothing(self, whisper_model, audio):
        """An approximator made anew draws them again."""
        shapiq = pytest.importorskip("shapiq")
        game = game_of(whisper_model, audio)
        spent = []
        for row in (0, 2):
            kernel_shap = shapiq.KernelSHAP(n=game.n_players, random_state=0)
            kernel_shap.approximate(40, game.of(row))
            spent.append(game.n_evaluated)
        assert 20 < spent[0] == spent[1] <= 40

    def test_its_own_class(self, whisper_game):
        shapiq = pytest.importorskip("shapiq")
        game = whisper_game.of(1).to_shapiq()
        drawn = coalitions(whisper_game, 5)
        nothing = float(whisper_game.of(1)(~everyone(whisper_game))[0])
        assert isinstance(game, shapiq.Game)
        assert np.allclose(game(drawn), whisper_game.of(1)(drawn) - nothing)
        assert game.is_normalized

    def test_missing(self, whisper_game, monkeypatch):
        monkeypatch.setitem(sys.modules, "shapiq", None)
        with pytest.raises(ImportError, match=r"needs shapiq: pip install 'captum-spes\[games\]'"):
            whisper_game.to_shapiq()


class TestResult:
    def test_holds_the_maps(self, whisper_model, audio, tmp_path):
        game = game_of(whisper_model, audio)
        game(coalitions(game, 7))
        values = np.random.default_rng(0).random((len(game.output_tokens), game.n_players))
        result = game.result(values, "random numbers")
        assert result.output_tokens == game.output_tokens
        assert result.method == "random numbers"
        assert result.settings.n_samples == result.parameters["n_samples"] == game.n_evaluated
        assert result.token_attr is None
        for row, own in zip(values, result.spectrogram_attr, strict=True):
            assert torch.equal(own, game.map(row))
        result.save(tmp_path / "result.npz")
        loaded = SpeechToTextAttributionResult.load(tmp_path / "result.npz")
        assert torch.equal(loaded.spectrogram_attr, result.spectrogram_attr)
        assert loaded.method == "random numbers"

    def test_deletion_takes_results_and_maps(self, whisper_model, audio):
        """Of what the model writes itself, which is what a map alone is measured on."""
        network, processor = whisper_model
        explainer = SpeechToTextAttribution(SPES(network), processor)
        game = explainer.game(audio, n_patches=8, seed=0)
        values = np.arange(game.n_players, dtype=float)
        result = game.result([values] * len(game.output_tokens), "one map for all")
        of_result, of_map = (
            deletion_curve(explainer, [(audio, None, found)], step=0.25, metric="kl")
            for found in (result, game.map(values))
        )
        assert of_result.y[1] > 0
        assert np.allclose(of_result.y, of_map.y)

    def test_contrast_has_one_row(self, whisper_model, audio):
        game = game_of(whisper_model, audio, contrast=Contrast("cat", "dog"))
        assert game.output_tokens == ["cat / dog"]
        result = game.result([np.zeros(game.n_players)], "zeros")
        assert result.output_tokens == ["cat / dog"]


def test_the_surroundings_do_not_matter(whisper_model, audio, whisper_game):
    """Whatever torch is set to where the game is asked, and nothing stays changed."""
    network, _ = whisper_model
    game = game_of(whisper_model, audio)
    drawn = coalitions(game, 4, seed=1)
    network.train()
    try:
        with torch.autocast("cpu"), torch.inference_mode():
            found = game(drawn)
        assert network.training
    finally:
        network.eval()
    assert np.allclose(found, whisper_game(drawn), atol=1e-6)


def test_60_patches_per_second_are_the_default(whisper_model, audio):
    game = game_of(whisper_model, audio, n_patches=None)
    asked = game_of(whisper_model, audio, n_patches=None, patches_per_second=60)
    paper = game_of(whisper_model, audio, n_patches=None, settings=Settings.paper())
    assert 20 < game.n_players == asked.n_players < paper.n_players / 3


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        (np.ones((2, 3), bool), ArgumentError, r"with \d+ players, got \(2, 3\)"),
        (np.ones((0, 8), bool), ArgumentError, "no coalition|with .* players"),
        (np.full(8, 0.5), ArgumentError, "True for kept|with .* players"),
        (["a"] * 8, ArgumentTypeError, "array of numbers"),
        ([[1], [1, 0]], ArgumentError, "regular array"),
    ],
)
def test_unusable_coalitions(whisper_game, given, error, told):
    with pytest.raises(error, match=told):
        whisper_game(given)


def test_unusable_values(whisper_game):
    n = whisper_game.n_players
    with pytest.raises(ArgumentError, match=f"each of the {n} patches, got shape"):
        whisper_game.map(np.zeros(n + 1))
    with pytest.raises(ArgumentError, match="finite"):
        whisper_game.map([math.nan] * n)
    with pytest.raises(ArgumentError, match=r"one row for each of the \d+ tokens, got 1"):
        whisper_game.result([np.zeros(n)], "zeros")
    with pytest.raises(ArgumentTypeError, match="name of a method"):
        whisper_game.result(np.zeros((len(whisper_game.output_tokens), n)), 3)


@pytest.mark.parametrize("tokens", [99, [], -1, "cat"])
def test_tokens_that_are_not_there(whisper_game, tokens):
    with pytest.raises(ArgumentError, match="token"):
        whisper_game.of(tokens)
