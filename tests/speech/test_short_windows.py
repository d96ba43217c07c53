"""An encoder that hears a window without most of its padding."""

import numpy as np
import pytest
import torch

from captum_spes import SPES, Settings, SpeechToTextAttribution
from captum_spes.speech import METHODS
from captum_spes.speech.forecast import forecast
from captum_spes.speech.models import HearsShortWindows, can
from tests.conftest import BEFORE_TRANSFORMERS_5


@pytest.fixture
def adapter(tiny_whisper):
    return SpeechToTextAttribution(SPES(tiny_whisper[0]), tiny_whisper[1]).adapter


def shortened(adapter, samples):
    speech = adapter.from_audio(samples)
    with torch.no_grad():
        return speech, adapter.encode_shortened(speech, speech.spectrogram[None])


def test_it_is_the_encoder_on_the_first_positions(adapter, audio):
    speech, found = shortened(adapter, audio)
    encoder = adapter.model.get_encoder()
    with torch.no_grad():
        heard = speech.features[:, :, :110]  # 0.6 s and half a second
        convolved = torch.nn.functional.gelu(encoder.conv1(heard))
        convolved = torch.nn.functional.gelu(encoder.conv2(convolved)).transpose(1, 2)
        placed = convolved + encoder.embed_positions.weight[:55]
        if BEFORE_TRANSFORMERS_5:
            states = encoder.layers[0](placed, None, None)[0]
        else:
            states = encoder.layers[0](placed, None)
        expected = encoder.layer_norm(states)
    torch.testing.assert_close(found, expected)
    assert adapter.window_share(speech) == 0.55
    assert adapter.covered_frames(speech, 55) == 110


def test_the_encoder_stays_as_it_was(adapter, audio):
    encoder = adapter.model.get_encoder()
    before = dict(vars(encoder)), dict(encoder._modules), encoder.config.max_source_positions
    speech, found = shortened(adapter, audio)
    assert found.shape[1] == 55
    assert (dict(vars(encoder)), dict(encoder._modules)) == before[:2]
    assert encoder.config.max_source_positions == before[2]
    with torch.no_grad():
        assert adapter.encode(speech, speech.spectrogram[None]).shape[1] == 100


def test_speech_that_fills_the_window_is_heard_as_always(adapter):
    samples = np.random.default_rng(0).standard_normal(28_000).astype(np.float32)  # 1.75 of 2 s
    speech, found = shortened(adapter, samples)
    with torch.no_grad():
        assert torch.equal(found, adapter.encode(speech, speech.spectrogram[None]))
    assert adapter.window_share(speech) == 1.0


def test_an_encoder_that_runs_in_a_way_of_its_own_hears_all(adapter, audio):
    encoder = adapter.model.get_encoder()
    encoder.forward = encoder.forward  # as accelerate does for layers on several devices
    try:
        speech, found = shortened(adapter, audio)
    finally:
        del encoder.forward
    assert found.shape[1] == 100
    assert adapter.window_share(speech) == 0.55  # without it


def test_only_some_families_can(adapter, tiny_speech2text):
    assert can(adapter, HearsShortWindows)
    other = SpeechToTextAttribution(SPES(tiny_speech2text[0]), tiny_speech2text[1]).adapter
    assert not can(other, HearsShortWindows)


def test_a_forecast_counts_shortened_passes_as_parts(adapter, audio):
    settings = Settings.efficient(n_samples=40, n_token_samples=0)
    with_prior = [(METHODS["spes"], settings)]
    alone = [(METHODS["spes"], settings.replace(prior=None))]
    masks = settings.prior.masks_for(40)
    extra = [
        forecast(adapter, audio, own, target="the cats").spectrograms for own in (with_prior, alone)
    ]
    assert extra[0] - extra[1] == round(masks * (1 + 1.5 * 8) * 0.55)
