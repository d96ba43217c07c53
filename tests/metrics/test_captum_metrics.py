"""Captum's own metrics for the tokens of a speech model: what they are given, and what they say."""

import captum.metrics
import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, IntegratedGradients, Saliency

from captum_spes import SPES, BubbleNoise, EnergyMap, RandomMap, SpeechToTextAttribution
from captum_spes.attr import MaskedDifference
from captum_spes.demo import load_demo
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.metrics import captum_view, infidelity, sensitivity_max
from captum_spes.speech.contrast_maps import mean_impact

pytestmark = pytest.mark.filterwarnings("ignore:.*sampling noise")

PATCHES = 12
QUICK = {
    "target": "the cat", "n_samples": 40, "n_token_samples": 0, "n_patches": PATCHES, "seed": 0,
}  # fmt: skip


def made(model, audio, method=SPES, **kwargs):
    network, processor = model
    explainer = SpeechToTextAttribution(method(network, **kwargs), processor)
    return explainer, explainer.attribute(audio, **QUICK)


# What Captum is given ---------------------------------------------------------------------


def test_scores_are_those_of_the_same_coalitions_as_a_game(tiny_model, audio):
    explainer, result = made(tiny_model, audio)
    view = captum_view(explainer, result, audio)
    remove = view.removing(n_patches=PATCHES, seed=5)
    is_removed, perturbed = remove(view.inputs.expand(9, -1, -1))
    labels = result.feature_masks[0]
    n_players = int(labels.max()) + 1
    first = torch.stack([(labels == label).nonzero()[0] for label in range(n_players)])
    kept = (is_removed[:, first[:, 0], first[:, 1]] == 0).numpy()
    assert 0.3 < kept.mean() < 0.7
    game = explainer.game(audio, target=QUICK["target"], n_patches=PATCHES)
    scores = view.forward_func(perturbed)
    torch.testing.assert_close(scores.double(), game.scores(kept), atol=1e-4, rtol=1e-3)
    assert not view.forward_func(view.inputs).any()
    torch.testing.assert_close(perturbed, torch.where(is_removed > 0, view.baselines, view.inputs))


def test_gradient_methods_are_asked_for_the_log_probability(tiny_whisper, audio):
    explainer, result = made(tiny_whisper, audio, Saliency)
    view = captum_view(explainer, result, audio)
    torch.testing.assert_close(view.forward_func(view.inputs)[0].exp(), result.probabilities)
    fall, perturbed = view.removing(multiply_by_inputs=False)(view.inputs)
    torch.testing.assert_close(view.inputs - fall, perturbed)


def test_scores_of_patches_are_divided_among_their_cells(tiny_whisper, audio):
    explainer, result = made(tiny_whisper, audio, FeatureAblation)
    view = captum_view(explainer, result, audio)
    for label in result.feature_masks[0].unique():
        is_patch = result.feature_masks[0] == label
        for mine, raw in zip(view.attributions, result.spectrogram_attr, strict=True):
            torch.testing.assert_close(mine[is_patch].sum(), raw[is_patch][0])
    raw = captum_view(explainer, result, audio, additive=False)
    assert torch.equal(raw.attributions, result.spectrogram_attr)


def test_what_the_mean_gives_everything_is_taken_off(tiny_whisper, audio):
    explainer, result = made(tiny_whisper, audio)
    sizes = result.feature_masks[0].unique(return_counts=True)[1]
    view = captum_view(explainer, result, audio)
    for mine, raw in zip(view.attributions, result.spectrogram_attr, strict=True):
        own = raw - mean_impact(raw, len(sizes), 0.5)
        torch.testing.assert_close(mine * sizes[result.feature_masks[0]], own, rtol=1e-3, atol=1e-5)
    difference = made(tiny_whisper, audio, estimator=MaskedDifference())
    mine = captum_view(*difference, audio).attributions
    raw = difference[1].spectrogram_attr
    torch.testing.assert_close(mine * sizes[result.feature_masks[0]], raw)


@pytest.mark.parametrize("method", [IntegratedGradients, EnergyMap, BubbleNoise])
def test_scores_of_cells_stay(tiny_whisper, audio, method):
    explainer, result = made(tiny_whisper, audio, method)
    view = captum_view(explainer, result, audio)
    if method is BubbleNoise:  # a mean, whose level is taken off; there is no patch to divide by
        lowered = result.spectrogram_attr - view.attributions
        assert lowered.flatten(1).std(1).max() < 1e-4
    else:
        torch.testing.assert_close(view.attributions, result.spectrogram_attr)


def test_explaining_the_same_spectrogram_gives_the_same_maps(tiny_model, audio):
    explainer, result = made(tiny_model, audio)
    view = captum_view(explainer, result, audio)
    again, moved = view.explained(torch.cat([view.inputs, view.inputs + 0.3]))
    assert torch.equal(again, result.spectrogram_attr)
    assert not torch.allclose(again, moved)


def test_other_spectrograms_are_cut_into_the_same_patches(tiny_whisper, audio):
    explainer, result = made(tiny_whisper, audio, FeatureAblation)
    view = captum_view(explainer, result, audio)
    (maps,) = view.explained(view.inputs.flip(1))  # SLIC would cut it the other way round
    for label in result.feature_masks[0].unique():
        of_patch = maps[:, result.feature_masks[0] == label]
        assert torch.equal(of_patch, of_patch[:, :1].expand_as(of_patch))


# Infidelity ------------------------------------------------------------------------------


def by_hand(view, count, seed, scaled):
    is_removed, perturbed = view.removing(n_patches=PATCHES, seed=seed)(
        view.inputs.expand(count, -1, -1)
    )
    falls = (view.forward_func(view.inputs) - view.forward_func(perturbed)).double()
    predicted = torch.einsum("nij,kij->nk", is_removed.double(), view.attributions.double())
    scale = (predicted * falls).sum(0) / predicted.square().sum(0) if scaled else 1.0
    return (scale * predicted - falls).square().mean(0).numpy()


@pytest.mark.parametrize("normalize", [True, False])
def test_infidelity_is_the_error_of_the_predicted_falls(tiny_whisper, audio, normalize):
    explainer, result = made(tiny_whisper, audio)
    asked = {"n_perturb_samples": 21, "n_patches": PATCHES, "normalize": normalize}
    found = infidelity(explainer, result, audio, seed=2, **asked)
    view = captum_view(explainer, result, audio)
    np.testing.assert_allclose(found, by_hand(view, 21, 2, normalize), rtol=1e-3, atol=1e-7)
    at_once = infidelity(explainer, result, audio, seed=2, perturbations_per_eval=21, **asked)
    np.testing.assert_allclose(found, at_once, rtol=1e-3, atol=1e-7)
    other = infidelity(explainer, result, audio, seed=3, **asked)
    assert not np.allclose(found, other)


def test_all_tokens_share_their_passes(tiny_whisper, audio, monkeypatch):
    explainer, result = made(tiny_whisper, audio)
    encode, rows = explainer.adapter.encode, []

    def counted(speech, spectrograms):
        rows.append(len(spectrograms))
        return encode(speech, spectrograms)

    monkeypatch.setattr(explainer.adapter, "encode", counted)
    infidelity(explainer, result, audio, n_perturb_samples=10, perturbations_per_eval=5)
    # For each pass of the model the forward function asks for the reference, too.
    assert sum(rows) <= 2 * (10 + 2) + 4
    assert len(result.output_tokens) > 4


@pytest.fixture(scope="module")
def bundled():
    model, processor, examples = load_demo()
    return (model, processor), next(e.path for e in examples if e.name == "test-00205")


def test_maps_that_add_up_predict_the_bundled_model_better(bundled):
    (model, processor), clip = bundled

    def measured(method, **kwargs):
        explainer = SpeechToTextAttribution(method, processor)
        result = explainer.attribute(clip, n_token_samples=0, seed=0, **kwargs)
        sampled = {"n_perturb_samples": 40, "patches_per_second": 20, "seed": 1}
        return tuple(
            infidelity(explainer, result, clip, additive=additive, **sampled).mean()
            for additive in (True, False)
        )

    many = {"n_samples": 300, "patches_per_second": 20, "perturbations_per_eval": 16}
    additive, raw = measured(SPES(model), **many)
    unrelated, _ = measured(RandomMap(model))
    assert additive < 0.75 * raw
    assert additive < 0.75 * unrelated


# Sensitivity -----------------------------------------------------------------------------


def test_the_sensitivity_of_energy_is_the_size_of_the_noise(tiny_whisper, audio):
    explainer, result = made(tiny_whisper, audio, EnergyMap)
    found = sensitivity_max(
        explainer, result, audio, perturb_radius=0.05, n_perturb_samples=4, seed=9
    )
    generator = torch.Generator().manual_seed(9)
    spectrogram = result.spectrogram
    noise = [
        torch.empty(1, *spectrogram.shape).uniform_(-0.05, 0.05, generator=generator)
        for _ in range(4)
    ]
    expected = max(float(one.norm() / spectrogram.norm()) for one in noise)
    np.testing.assert_allclose(found, [expected] * len(result.output_tokens), rtol=1e-4)


def test_other_perturbations_can_be_given(tiny_whisper, audio):
    explainer, result = made(tiny_whisper, audio, EnergyMap)
    found = sensitivity_max(
        explainer, result, audio, perturb_func=lambda inputs: 1.5 * inputs, n_perturb_samples=1
    )
    np.testing.assert_allclose(found, 0.5, rtol=1e-5)

    def halved(inputs, radius):
        return inputs * (1 - radius)

    found = sensitivity_max(
        explainer, result, audio, perturb_func=halved, perturb_radius=0.25, n_perturb_samples=1,
        norm_ord=1,
    )  # fmt: skip
    np.testing.assert_allclose(found, 0.25, rtol=1e-5)


def test_without_any_change_maps_of_spes_do_not_move(tiny_whisper, audio):
    explainer, result = made(tiny_whisper, audio)
    still = sensitivity_max(
        explainer, result, audio, perturb_func=lambda inputs: inputs, n_perturb_samples=2
    )
    assert not still.any()
    moved = sensitivity_max(explainer, result, audio, perturb_radius=0.3, n_perturb_samples=2)
    assert (moved > 0).all()


def test_nothing_global_is_drawn_from(tiny_whisper, audio):
    explainer, result = made(tiny_whisper, audio)
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    state, expected = torch.get_rng_state(), np.random.RandomState(3).rand()
    tiny_whisper[0].train()
    first = sensitivity_max(explainer, result, audio, n_perturb_samples=2)
    infidelity(explainer, result, audio, n_perturb_samples=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.random.rand() == expected  # noqa: NPY002
    assert tiny_whisper[0].training
    torch.manual_seed(4)
    second = sensitivity_max(explainer, result, audio, n_perturb_samples=2)
    np.testing.assert_array_equal(first, second)


# Use and misuse ----------------------------------------------------------------------------


def test_captums_own_call_of_the_documentation(tiny_whisper, audio):
    explainer, result = made(tiny_whisper, audio)
    view = captum_view(explainer, result, audio)
    token = 2
    own = captum.metrics.infidelity(
        view.forward_func, view.removing(n_patches=PATCHES), view.inputs,
        view.attributions[token][None], target=token, n_perturb_samples=12, normalize=True,
    )  # fmt: skip
    found = infidelity(explainer, result, audio, n_perturb_samples=12, n_patches=PATCHES)
    assert float(own) == pytest.approx(found[token], rel=1e-3)


def test_misuse_is_told(tiny_whisper, audio):
    explainer, result = made(tiny_whisper, audio)
    other, _ = made(tiny_whisper, audio, EnergyMap)
    with pytest.raises(ArgumentError, match="made by SPES"):
        captum_view(other, result, audio)
    with pytest.raises(ArgumentError, match="not the one that was explained"):
        captum_view(explainer, result, audio[::-1].copy())
    with pytest.raises(ArgumentError, match="not the one that was explained"):
        infidelity(explainer, result, audio[:6000])
    with pytest.raises(ArgumentTypeError, match="an explanation"):
        captum_view(explainer, result.spectrogram_attr, audio)
    with pytest.raises(ArgumentError, match="n_perturb_samples"):
        infidelity(explainer, result, audio, n_perturb_samples=0)
    with pytest.raises(ArgumentError, match="perturb_prob"):
        infidelity(explainer, result, audio, perturb_prob=1.0)
    with pytest.raises(ArgumentError, match="perturb_radius"):
        sensitivity_max(explainer, result, audio, perturb_radius=0)
    with pytest.raises(ArgumentTypeError, match="perturb_func"):
        sensitivity_max(explainer, result, audio, perturb_func=3)
