"""What removed cells become: the same sound in every family, whatever the explanation removed."""

import numpy as np
import pytest
import torch

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.demo import load_demo, load_examples, load_waveform_ctc
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.forward import Contrast
from captum_spes.io.samples import read_samples
from captum_spes.metrics import (
    REMOVALS,
    MeanValue,
    Neighbours,
    Noise,
    OtherRecording,
    deletion_curve,
    flip_curves,
    insertion_curve,
)
from captum_spes.speech.models import adapt
from tests.speech.explaining import explain


@pytest.fixture(scope="module")
def waveform():
    model, processor, _ = load_waveform_ctc()
    return adapt(model, processor)


@pytest.fixture
def adapters(waveform, tiny_whisper, tiny_speech2text, tiny_canary):
    """Absolute log-mel, normalised filterbanks (two ways), and samples."""
    families = {"whisper": tiny_whisper, "speech2text": tiny_speech2text, "canary": tiny_canary}
    return {**{name: adapt(*own) for name, own in families.items()}, "waveform": waveform}


FAMILIES = ["whisper", "speech2text", "canary", "waveform"]


def voice(seconds=1.0, seed=1):
    """A tone that comes and goes above a quiet background."""
    time = np.arange(int(seconds * 16_000)) / 16_000
    tone = 0.2 * np.sin(2 * np.pi * 700 * time) * (np.sin(2 * np.pi * 3 * time) > 0)
    background = 1e-3 * np.random.default_rng(seed).standard_normal(len(time))
    return (tone + background).astype(np.float32)


def value(removal, adapter, samples, is_removed=None):
    speech = adapter.from_audio(samples)
    if is_removed is None:
        is_removed = torch.ones(1, *speech.spectrogram.shape, dtype=torch.bool)
    found = removal(adapter, speech, samples)(is_removed)
    return speech, found.expand(is_removed.shape)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", REMOVALS)
def test_every_family_has_every_removal(adapters, family, name):
    removal = REMOVALS[name]
    if name == "other":
        removal = OtherRecording([voice(0.3, seed=2)])
    speech, found = value(removal, adapters[family], voice())
    assert torch.isfinite(found).all()
    assert not torch.equal(found[0], speech.spectrogram)


@pytest.mark.parametrize("family", FAMILIES)
def test_noise_is_that_noise_in_the_place_of_the_recording(adapters, family):
    """Features of a recording whose second half is the noise itself show what it looks like there;
    the scale of features that are normalised is that of the whole recording."""
    adapter, samples = adapters[family], voice()
    level = -20.0
    speech, found = value(Noise(level), adapter, samples)
    # By the normalisation's own definition, not by the code's way.
    noise = np.random.default_rng(5).standard_normal(len(samples))
    noise = (noise * np.sqrt(np.mean(samples**2)) * 10 ** (level / 20)).astype(np.float32)
    if family in ("whisper", "waveform"):
        expected = adapter.from_audio(noise).spectrogram.mean(0)
    else:
        raw_own, raw_noise = raw(adapter, samples, family), raw(adapter, noise, family)
        deviation = raw_own.std(0, correction=1 if family == "canary" else 0)
        expected = ((raw_noise - raw_own.mean(0)) / deviation).mean(0)
    # Two draws of noise, a second each: bins differ at random, and their mean hardly does.
    off = (found[0].mean(0) - expected) / speech.spectrogram.std()
    assert off.abs().max() < 0.5
    assert off.mean().abs() < 0.05


def raw(adapter, samples, family):
    """Features that are not normalised."""
    extractor = adapter.feature_extractor
    if family == "speech2text":
        return torch.as_tensor(extractor._extract_fbank_features(samples))
    # Canary: logarithms of mel power with its own small summand.
    emphasised = np.concatenate([samples[:1], samples[1:] - extractor.preemphasis * samples[:-1]])
    made = extractor._torch_extract_fbank_features(torch.tensor(emphasised)[None], "cpu")
    return made[0][: len(adapter.from_audio(samples).spectrogram)]


@pytest.mark.parametrize("family", FAMILIES)
def test_louder_noise_is_louder_and_the_recordings_loudness_does_not_matter(adapters, family):
    adapter, samples = adapters[family], voice()
    quiet, loud = (float(value(Noise(level), adapter, samples)[1].mean()) for level in (-40.0, 0.0))
    assert loud > quiet
    if family != "canary":  # its features have a floor of their own
        speech, half = value(Noise(-10.0), adapter, samples / 2)
        shift = (adapter.from_audio(samples).spectrogram - speech.spectrogram).median()
        whole = value(Noise(-10.0), adapter, samples)[1]
        assert torch.allclose(whole - shift, half, atol=0.05 * float(speech.spectrogram.std()))


def test_noise_behind_a_recording_that_fills_what_the_model_takes(tiny_whisper):
    adapter = adapt(*tiny_whisper)
    whole = voice(2.0)
    _, found = value(Noise(-20.0), adapter, whole)
    _, part = value(Noise(-20.0), adapter, voice(1.0))
    assert found.shape[1] == 200
    assert float(found.mean()) == pytest.approx(float(part.mean()), abs=0.05)


def test_noise_needs_to_know_how_loud_the_recording_is(tiny_whisper, audio):
    adapter = adapt(*tiny_whisper)
    features = adapter.from_audio(audio).features
    with pytest.raises(ArgumentError, match="needs the recording, and features are given"):
        Noise()(adapter, adapter.from_features(features), features)


class TestNeighbours:
    def test_each_removed_cell_is_the_mean_of_its_neighbours(self, tiny_whisper):
        adapter, samples = adapt(*tiny_whisper), voice(0.3)
        shape = adapter.from_audio(samples).spectrogram.shape
        generator = torch.Generator().manual_seed(0)
        is_removed = torch.rand(2, *shape, generator=generator) < torch.tensor([0.3, 0.9]).reshape(
            2, 1, 1
        )
        speech, found = value(Neighbours(), adapter, samples, is_removed)
        for removed, own in zip(is_removed, found, strict=True):
            assert torch.equal(own[~removed], speech.spectrogram[~removed])
            padded = torch.nn.functional.pad(own, (1, 1, 1, 1), value=float("nan"))
            around = torch.stack(
                [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
            )
            assert torch.allclose(own[removed], around.nanmean(0)[removed], atol=1e-4)

    def test_a_slope_is_continued_exactly(self, tiny_whisper):
        adapter = adapt(*tiny_whisper)
        speech = adapter.from_audio(voice(0.3))
        n_frames, n_bins = speech.spectrogram.shape
        slope = torch.arange(n_frames)[:, None] * 0.01 + torch.zeros(n_bins)
        speech = type(speech)(**{**vars(speech), "spectrogram": slope})
        is_removed = torch.zeros(1, n_frames, n_bins, dtype=torch.bool)
        is_removed[:, 5:15] = True
        found = Neighbours()(adapter, speech, None)(is_removed)
        assert torch.allclose(found[0], slope, atol=1e-5)

    def test_where_nothing_is_kept_it_is_the_mean(self, tiny_whisper):
        adapter = adapt(*tiny_whisper)
        _, found = value(Neighbours(), adapter, voice(0.3))
        _, mean = value(MeanValue(), adapter, voice(0.3))
        assert torch.equal(found, mean)


class TestOtherRecording:
    def test_it_is_repeated_or_cut(self, tiny_whisper):
        adapter = adapt(*tiny_whisper)
        for seconds in (0.2, 0.9):
            other = adapter.from_audio(voice(seconds, seed=3)).spectrogram
            _, found = value(OtherRecording([voice(seconds, seed=3)]), adapter, voice(0.5))
            for frame in (0, 13, 47):
                assert torch.equal(found[0, frame], other[frame % len(other)])

    def test_never_the_utterance_itself_and_the_draw_is_seeded(self, tiny_whisper):
        adapter = adapt(*tiny_whisper)
        recordings = [voice(0.5, seed=seed) for seed in range(6)]
        drawn = {}
        for seed in range(4):
            for number, own in enumerate(recordings):
                speech, found = value(OtherRecording(recordings, seed), adapter, own)
                assert not torch.equal(found[0], speech.spectrogram)
                again = value(OtherRecording(recordings, seed), adapter, own)[1]
                assert torch.equal(found, again)
                drawn[seed, number] = round(float(found.sum()), 3)
        assert len({drawn[seed, 0] for seed in range(4)}) > 1
        assert len({drawn[0, number] for number in range(6)}) > 2

    def test_one_example_has_no_other(self, tiny_whisper, audio):
        result = explain(tiny_whisper, audio)
        adapter = adapt(*tiny_whisper)
        for given in ([(audio, None, result)], [(audio, None, result)] * 2):
            with pytest.raises(ArgumentError, match="give several examples"):
                deletion_curve(adapter, given, 0.5, metric="kl", removal="other")


class TestCurves:
    def test_what_is_removed_decides_and_not_what_the_explanation_removed(self, tiny_model, audio):
        adapter = adapt(*tiny_model)
        results = [explain(tiny_model, audio, baselines=b) for b in ("mean", "silence")]
        saliency_map = results[0].sentence_attr().spectrogram_attr
        ends = {}
        for name in REMOVALS:
            given = [(audio, None, results[0]), (audio[::-1].copy(), None, saliency_map)]
            curve = deletion_curve(adapter, given, 0.5, metric="kl", removal=name)
            assert curve.y[0] == pytest.approx(0, abs=1e-6)
            ends[name] = curve.y[-1]
            other = [(audio, None, results[1]), given[1]]
            all_gone = deletion_curve(adapter, other, 1.0, metric="kl", removal=name).y[-1]
            assert all_gone == pytest.approx(curve.y[-1], abs=1e-5)
        assert ends["mean"] == pytest.approx(ends["neighbours"], abs=1e-5)
        # Each of the others is something else.
        assert len({round(end, 6) for end in ends.values()}) >= len(REMOVALS) - 1

    def test_mean_is_the_baseline_of_that_name(self, tiny_whisper, audio):
        adapter, result = adapt(*tiny_whisper), explain(tiny_whisper, audio, baselines="silence")
        given = [(audio, None, result)]
        for curve in (deletion_curve, insertion_curve):
            own = curve(adapter, given, 0.25, metric="kl", removal="mean")
            assert own.y == curve(adapter, given, 0.25, metric="kl", baselines="mean").y

    def test_batches_do_not_matter(self, tiny_whisper, audio):
        adapter, result = adapt(*tiny_whisper), explain(tiny_whisper, audio)
        given = [(audio, None, result)]
        for name in ("noise", "neighbours"):
            at_once, one_by_one = (
                deletion_curve(adapter, given, 0.25, metric="kl", removal=name, batch_size=size).y
                for size in (None, 1)
            )
            assert np.allclose(at_once, one_by_one, atol=1e-5)

    def test_a_function_is_a_removal(self, tiny_whisper, audio):
        adapter, result = adapt(*tiny_whisper), explain(tiny_whisper, audio)
        seen = []

        def nothing(adapter, speech, audio):
            seen.append(audio)
            return lambda is_removed: speech.spectrogram

        curve = deletion_curve(adapter, [(audio, None, result)], 0.5, metric="kl", removal=nothing)
        assert np.allclose(curve.y, 0, atol=1e-6)
        assert seen[0] is audio

    def test_flips(self):
        model, processor, examples = load_demo()
        explainer = SpeechToTextAttribution(SPES(model), processor)
        contrast = explainer.attribute(
            examples[0].path, contrast=Contrast("five", "nine"), n_samples=30,
            n_token_samples=0, patches_per_second=30, seed=0,
        )  # fmt: skip
        given = [(examples[0].path, contrast)]
        own = flip_curves(explainer, given, 0.5)
        mean = flip_curves(explainer, given, 0.5, removal="mean")
        assert np.allclose(own.log_ratios, mean.log_ratios, atol=1e-4)
        noise = flip_curves(explainer, given, 0.5, removal="noise")
        assert noise.log_ratios[0, 0] == own.log_ratios[0, 0]
        assert noise.log_ratios[0, 2] != own.log_ratios[0, 2]
        with pytest.raises(ArgumentError, match="give one of them"):
            flip_curves(explainer, given, 0.5, removal="noise", baselines="mean")


class TestBadInput:
    @pytest.mark.parametrize(
        ("removal", "error", "message"),
        [
            ("nothing", ArgumentError, "removal must be one of mean, silence, noise"),
            (Noise, ArgumentTypeError, "an object such as Noise"),
            (3, ArgumentTypeError, "removal must be one of"),
            (lambda *_: lambda gone: torch.zeros(7, 7), ArgumentError, "broadcasts to"),
            (lambda *_: lambda gone: torch.zeros(9, *gone.shape), ArgumentError, "broadcasts to"),
            (lambda *_: lambda gone: 3.0, ArgumentError, "broadcasts to"),
            (lambda *_: lambda gone: torch.tensor(torch.nan), ArgumentError, "not finite"),
        ],
    )
    def test_says_what_is_wrong(self, tiny_whisper, audio, removal, error, message):
        adapter, result = adapt(*tiny_whisper), explain(tiny_whisper, audio)
        with pytest.raises(error, match=message):
            deletion_curve(adapter, [(audio, None, result)], 0.5, metric="kl", removal=removal)

    def test_arguments_of_removals(self):
        for make in (lambda: Noise(np.inf), lambda: Noise(seed=-1), lambda: OtherRecording((), -1)):
            with pytest.raises(ArgumentError, match=r"level must be finite|seed must be"):
                make()

    def test_two_answers_to_one_question(self, tiny_whisper, audio):
        with pytest.raises(ArgumentError, match="give one of them"):
            deletion_curve(
                adapt(*tiny_whisper), [(audio, None, torch.zeros(2, 2))], 0.5, metric="kl",
                baselines="mean", removal="mean",
            )  # fmt: skip


def test_real_speech_in_real_families(waveform):
    """Noise lies between silence and the loudest cells, bin by bin, as it does in the air."""
    model, processor, _ = load_demo()
    path = load_examples()[0].path
    for adapter in (adapt(model, processor), waveform):
        samples = read_samples(path, 16_000, 16_000)
        speech, noise = value(Noise(-20.0), adapter, samples)
        _, silence = value(REMOVALS["silence"], adapter, samples)
        assert (noise.mean((0, 1)) < speech.spectrogram.amax(0)).float().mean() > 0.9
        assert (noise.mean((0, 1)) > silence.mean((0, 1))).float().mean() > 0.9
