"""Hidden states are those of the encoder's own layers, at the right times, in every family."""

import numpy as np
import pytest
import torch

from captum_spes import SPES, SpeechClassificationAttribution, SpeechToTextAttribution
from captum_spes.analysis import encoder_states
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.speech.models import adapt
from captum_spes.stability import ClassifierConfig, SpeechClassifier
from tests.speech.families import make_family
from tests.speech.frame_families import make_frame_family

# What makes them hard to read: layers without a batch, lists of convolutions, frames that are
# stacked, and numbers of samples to a position that are no number of frames.
HARD = {
    "qwen3_asr": (make_family, 1),
    "fun_asr_nano": (make_family, 2),
    "moonshine": (make_family, 1),
    "data2vec_audio": (make_frame_family, 2),
    "wav2vec2_bert": (make_frame_family, 2),
}


@pytest.fixture(scope="module")
def noise():
    generator = np.random.default_rng(0)
    return (0.1 * generator.standard_normal(24_000)).astype(np.float32)


def states_of(adapter, audio):
    return encoder_states(adapter, {"a": audio})["a"]


def n_hooks(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def test_as_the_models_tell_themselves(adapter, audio):
    """Hugging Face's own hidden states; the last of them has a norm behind it in some families."""
    found = states_of(adapter, audio)
    speech = adapter.from_audio(audio)
    features = adapter.model_features(speech, speech.spectrogram[None])
    with torch.no_grad():
        own = adapter.model.get_encoder()(features, output_hidden_states=True).hidden_states
    assert list(found.layers) == ["spectrogram", "input", "1"]
    n = len(found.times)
    assert np.allclose(found.layers["input"], own[0][0, :n], atol=1e-5)
    with_norm = getattr(adapter.model.get_encoder(), "layer_norm", torch.nn.Identity())
    with torch.no_grad():
        last = with_norm(torch.from_numpy(found.layers["1"]))
    assert np.allclose(last, own[-1][0, :n], atol=1e-4)


def test_a_frame_changes_the_states_around_its_time(adapter, audio):
    speech = adapter.from_audio(audio)
    before = states_of(adapter, audio)
    step, encode, off = np.diff(before.times).mean(), adapter.encode, []
    for frame in range(20, 41):

        def changed(speech, spectrograms, frame=frame):
            moved = spectrograms.clone()
            moved[:, frame] += 0.5
            return encode(speech, moved)

        adapter.encode = changed
        after = states_of(adapter, audio)
        difference = ((after.layers["input"] - before.layers["input"]) ** 2).sum(1)
        at = np.average(before.times, weights=difference)
        off.append(at - float(speech.frame_times[frame]))
    assert abs(np.mean(off)) < step / 2
    assert max(map(abs, off)) < 1.5 * step


def test_padding_is_left_out(tiny_whisper, audio):
    """Two seconds are heard, of which 0.6 s are speech."""
    found = states_of(adapt(*tiny_whisper), audio)
    assert len(found.times) == 30
    assert found.times[-1] == pytest.approx(0.58)


def test_spectrogram_and_loudness(tiny_whisper, audio):
    adapter = adapt(*tiny_whisper)
    found, spectrogram = states_of(adapter, audio), adapter.from_audio(audio).spectrogram
    assert found.layers["spectrogram"].shape == (30, 2 * 80)
    cells = spectrogram[19:21]  # at 200 ms
    assert np.allclose(found.layers["spectrogram"][10], cells.flatten())
    assert found.loudness[10] == pytest.approx(float(cells.mean()), abs=1e-6)
    # The tone starts half-way.
    assert found.loudness[18:].mean() > found.loudness[:12].mean()


@pytest.mark.parametrize("name", HARD)
def test_families_that_are_hard_to_read(name, tmp_path, noise):
    make, n_layers = HARD[name]
    model, processor = make(name, tmp_path)
    found = states_of(adapt(model, processor), noise)
    assert list(found.layers)[2:] == [str(number) for number in range(1, n_layers + 1)]
    widths = {found.layers[name].shape[1] for name in list(found.layers)[2:]}
    assert widths == {16}
    step = np.diff(found.times).mean()
    assert found.times[0] < 0.02
    assert 1.5 - 2.1 * step <= found.times[-1] < 1.5


def test_classifiers(noise):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SpeechClassifier(ClassifierConfig({"who": ("a", "b")})).eval()
    found = encoder_states(SpeechClassificationAttribution(SPES(model), "who"), {"a": noise})["a"]
    assert list(found.layers) == ["spectrogram", "input", "1", "2", "3", "4", "5"]
    with torch.no_grad():
        states = model.encoder_input(model.spectrogram(torch.from_numpy(noise)[None]))
        expected = model.blocks[0](states)
    assert np.allclose(found.layers["input"], states[0], atol=1e-5)
    assert np.allclose(found.layers["1"], expected[0], atol=1e-5)
    assert np.allclose(found.times[:3], [0.0, 0.02, 0.04])


class TestTheModelIsLeftAsItWas:
    def test_mode_and_hooks(self, tiny_model, audio):
        model, processor = tiny_model
        model.train()
        hooks = n_hooks(model)
        explainer = SpeechToTextAttribution(SPES(model), processor)
        one, other = (states_of(explainer, audio) for _ in range(2))
        assert all(np.array_equal(one.layers[name], other.layers[name]) for name in one.layers)
        assert model.training
        assert n_hooks(model) == hooks

    def test_after_an_error(self, tiny_whisper, audio):
        model, processor = tiny_whisper
        adapter = adapt(model.train(), processor)
        hooks = n_hooks(model)

        def fail(*args):
            raise RuntimeError("out of memory")

        adapter.encode = fail
        with pytest.raises(RuntimeError, match="out of memory"):
            states_of(adapter, audio)
        assert n_hooks(model) == hooks
        assert model.training


class TestErrors:
    def test_a_model_without_layers(self, tiny_whisper, audio):
        adapter = adapt(*tiny_whisper)
        encoder = adapter.model.get_encoder()
        [layer] = encoder.layers
        del encoder.layers
        encoder.layers = [layer]  # a plain list
        with pytest.raises(ArgumentTypeError, match="cannot be read layer by layer"):
            states_of(adapter, audio)

    def test_an_adapter_without_a_module(self, tiny_whisper, audio):
        adapter = adapt(*tiny_whisper)
        adapter.model = SimpleModel(adapter.model)
        with pytest.raises(ArgumentTypeError, match=r"whose \.model is a torch Module"):
            states_of(adapter, audio)

    def test_recordings(self, tiny_whisper, audio):
        adapter = adapt(*tiny_whisper)
        with pytest.raises(ArgumentTypeError, match="dict of recordings"):
            encoder_states(adapter, [audio])
        with pytest.raises(ArgumentError, match="no recording"):
            encoder_states(adapter, {})
        with pytest.raises(ArgumentTypeError, match="give an explainer"):
            encoder_states(adapter.model, {"a": audio})

    def test_a_bad_recording_costs_no_pass(self, tiny_whisper, audio):
        adapter = adapt(*tiny_whisper)
        adapter.encode = None  # would fail
        with pytest.raises(ArgumentError, match="NaN"):
            encoder_states(adapter, {"a": audio, "b": np.full(9600, np.nan, dtype=np.float32)})


class SimpleModel:
    """What a model from elsewhere may be: no Module."""

    def __init__(self, model):
        self.device = model.device
