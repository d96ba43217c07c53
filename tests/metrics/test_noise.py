"""Maps of a recording with noise that its transcript does not notice."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from captum_spes import SPES, EnergyMap, RandomMap, SpeechToTextAttribution
from captum_spes.demo import load_demo
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.io.audio import load_audio
from captum_spes.metrics import NoiseAgreement, inter_seed_agreement, noise_agreement

pytestmark = pytest.mark.filterwarnings("ignore:.*sampling noise")

QUICK = {"n_samples": 40, "n_token_samples": 0, "patches_per_second": 10}


@pytest.fixture(scope="module")
def bundled():
    model, processor, examples = load_demo()
    clip = next(e.path for e in examples if e.name == "test-00205")
    return (model, processor), load_audio(clip, 16_000)


def explained_by(model, method):
    network, processor = model
    return SpeechToTextAttribution(method(network), processor)


def heard(explainer, monkeypatch):
    """Every recording that the model hears."""
    read, recordings = explainer.adapter.from_audio, []

    def noted(samples):
        recordings.append(np.array(samples, dtype=np.float64))
        return read(samples)

    monkeypatch.setattr(explainer.adapter, "from_audio", noted)
    return recordings


def test_noise_is_as_loud_as_asked_and_another_each_time(bundled, monkeypatch):
    model, samples = bundled
    explainer = explained_by(model, EnergyMap)
    recordings = heard(explainer, monkeypatch)
    found = noise_agreement(explainer, samples, snrs=[30, 10], n_noises=2, seed=4)
    assert found.snrs.tolist() == [30, 30, 10, 10]
    assert found.seeds == (4, 5, 6, 7)
    noises = [one - samples for one in recordings if not np.array_equal(one, samples)]
    own = list({noise.tobytes(): noise for noise in noises}.values())
    assert len(own) == 4
    ratios = [10 * np.log10(np.mean(samples.astype(float) ** 2) / np.mean(n**2)) for n in own]
    np.testing.assert_allclose(ratios, [30, 30, 10, 10], atol=0.05)
    assert abs(np.corrcoef(own)[0, 1:]).max() < 0.05


def test_the_control_of_energy_moves_with_the_noise_and_has_no_noise_of_its_own(bundled):
    model, samples = bundled
    found = noise_agreement(explained_by(model, EnergyMap), samples, snrs=[50, 20], n_noises=1)
    assert found.is_same.all()
    for measure in ("spearman", "overlap", "ssim"):
        assert found.ceilings[measure] == pytest.approx(1.0)
        means = found.means(measure)
        assert means[50.0] > 0.95 > means[20.0] > 0.3


def test_the_ceiling_is_the_agreement_of_two_seeds(bundled):
    model, samples = bundled
    explainer = explained_by(model, SPES)
    found = noise_agreement(explainer, samples, snrs=[40], n_noises=1, seed=2, **QUICK)
    seeds = [explainer.attribute(samples, seed=seed, **QUICK) for seed in (2, 3)]
    for measure in ("spearman", "overlap"):
        expected = inter_seed_agreement(seeds, measure=measure).values[0]
        np.testing.assert_allclose(found.ceilings[measure], expected)
    # What noise that is hardly heard changes is mostly the seed.
    kept = found.means()[40.0]
    assert kept == pytest.approx(found.ceilings["spearman"].mean(), abs=0.06)
    # Other patches are another matter.
    asked = {"snrs": [40], "n_noises": 1, "seed": 2}
    anew = noise_agreement(explainer, samples, keep_patches=False, **asked, **QUICK)
    assert anew.means()[40.0] < kept - 0.1


def test_random_maps_are_told_by_their_ceiling(bundled):
    model, samples = bundled
    found = noise_agreement(explained_by(model, RandomMap), samples, snrs=[40], n_noises=1)
    # The noisy recording has the seed of the second run, not of the first.
    assert abs(found.means()[40.0]) < 0.05
    assert abs(found.ceilings["spearman"].mean()) < 0.05


def test_noise_that_changes_the_transcript_is_left_out(bundled, monkeypatch):
    model, samples = bundled
    explainer = explained_by(model, EnergyMap)
    attribute, explained = explainer.attribute, []

    def counted(audio, **kwargs):
        explained.append(audio)
        return attribute(audio, **kwargs)

    monkeypatch.setattr(explainer, "attribute", counted)
    found = noise_agreement(explainer, samples, snrs=[40, -20], n_noises=2)
    assert found.is_same.tolist() == [True, True, False, False]
    assert len(explained) == 2 + 2
    assert np.isnan(found.agreements["overlap"][2:]).all()
    assert np.isnan(found.means()[-20.0])
    rows = str(found).splitlines()
    assert rows[1].split()[2] == "2/2"
    assert rows[2].split()[2] == "0/2"


def test_every_family_and_the_same_numbers_again(tiny_model, audio):
    explainer = explained_by(tiny_model, SPES)
    runs = [
        noise_agreement(explainer, audio, snrs=[60], n_noises=1, seed=seed, **QUICK)
        for seed in (0, 0, 1)
    ]
    assert isinstance(runs[0], NoiseAgreement)
    for measure in ("spearman", "overlap", "ssim"):
        np.testing.assert_array_equal(*(run.ceilings[measure] for run in runs[:2]))
        np.testing.assert_array_equal(*(run.agreements[measure] for run in runs[:2]))
    assert not np.array_equal(runs[0].ceilings["spearman"], runs[2].ceilings["spearman"])


def test_nothing_global_is_drawn_from(tiny_whisper, audio):
    state = torch.get_rng_state()
    noise_agreement(explained_by(tiny_whisper, EnergyMap), audio, snrs=[30], n_noises=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_means_are_over_tokens_that_are_known():
    nan = float("nan")
    values = {"spearman": np.array([[0.5, 0.7], [nan, nan], [0.1, nan]])}
    found = NoiseAgreement(
        "any", ["a", "b"], np.array([20.0, 20.0, 10.0]), (0, 1, 2), np.array([True, False, True]),
        values, {}, {},
    )  # fmt: skip
    assert found.means() == {20.0: pytest.approx(0.6), 10.0: pytest.approx(0.1)}
    with pytest.raises(ArgumentError, match="measure"):
        replace(found).means("cosine")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"snrs": []}, "snrs"),
        ({"snrs": [float("inf")]}, "snrs"),
        ({"n_noises": 0}, "n_noises"),
        ({"target": "the cat"}, "leave out target"),
        ({"top": 0}, "top"),
    ],
)
def test_bad_arguments(tiny_whisper, audio, given, message):
    with pytest.raises(ArgumentError, match=message):
        noise_agreement(explained_by(tiny_whisper, EnergyMap), audio, **given)


def test_bad_recordings(tiny_whisper, audio):
    explainer = explained_by(tiny_whisper, EnergyMap)
    with pytest.raises(ArgumentError, match="silent"):
        noise_agreement(explainer, np.zeros(8000, np.float32))
    features = explainer.adapter.from_audio(audio).features
    with pytest.raises(ArgumentError, match="not features"):
        noise_agreement(explainer, features)
    with pytest.raises(ArgumentTypeError, match="snrs"):
        noise_agreement(explainer, audio, snrs=["loud"])
