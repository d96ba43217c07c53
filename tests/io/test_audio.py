"""Audio: every format, rate and channel count is read; what cannot be explained is rejected."""

import numpy as np
import pytest
import soundfile
import torch

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.io.audio import as_audio, check_audio, load_audio

RATE = 16_000


def tone(rate=RATE, seconds=0.5, hz=440.0):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)).astype("float32")


@pytest.mark.parametrize("extension", ["wav", "flac", "mp3", "ogg"])
def test_formats(tmp_path, extension):
    file = tmp_path / f"tone.{extension}"
    soundfile.write(file, tone(), RATE)
    audio = load_audio(file, RATE)
    assert audio.dtype == np.float32
    assert abs(len(audio) - 8000) < 2400  # lossy formats pad
    spectrum = np.abs(np.fft.rfft(audio[:8000]))
    assert abs(spectrum.argmax() * RATE / 8000 - 440) < 3


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_other_rates_are_resampled(tmp_path, rate):
    file = tmp_path / "tone.wav"
    soundfile.write(file, tone(rate), rate)
    audio = load_audio(file, RATE)
    assert len(audio) == 8000
    assert np.abs(audio[500:-500] - tone()[500:-500]).max() < 0.01


def test_channels_are_averaged(tmp_path):
    file = tmp_path / "stereo.wav"
    left, right = tone(), tone(hz=880.0)
    soundfile.write(file, np.stack([left, right], 1), RATE, subtype="FLOAT")
    assert np.allclose(load_audio(file, RATE), (left + right) / 2)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such audio file: .*nope\.wav"):
        load_audio(tmp_path / "nope.wav", RATE)


def test_folder(tmp_path):
    with pytest.raises(ArgumentError, match="is a folder"):
        load_audio(tmp_path, RATE)


def test_empty_file(tmp_path):
    (tmp_path / "empty.wav").touch()
    with pytest.raises(ArgumentError, match=r"empty \(0 bytes\)"):
        load_audio(tmp_path / "empty.wav", RATE)


def test_not_audio(tmp_path):
    (tmp_path / "text.wav").write_text("this is no audio " * 100)
    with pytest.raises(ArgumentError, match="no audio file that can be read"):
        load_audio(tmp_path / "text.wav", RATE)


def test_missing_library_names_the_install(monkeypatch, tmp_path):
    import sys

    (tmp_path / "a.wav").write_text("x")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ImportError, match=r"pip install 'captum-spes\[transformers\]'"):
        load_audio(tmp_path / "a.wav", RATE)


@pytest.mark.parametrize(
    "samples",
    [tone().tolist(), tone().astype("float64"), torch.from_numpy(tone()), tone().astype("float16")],
)
def test_arrays_of_any_kind(samples):
    audio = as_audio(samples)
    assert audio.dtype == np.float32
    assert np.allclose(audio, tone(), atol=1e-3)


def test_integer_samples_are_scaled():
    assert as_audio(np.array([-32768, 0, 16384], dtype=np.int16)).tolist() == [-1.0, 0.0, 0.5]
    assert as_audio(torch.tensor([64], dtype=torch.int8)).tolist() == [0.5]
    assert as_audio(np.array([0, 128, 192], dtype=np.uint8)).tolist() == [-1.0, 0.0, 0.5]
    assert as_audio(np.array([2**30], dtype=np.int32)).tolist() == [0.5]


@pytest.mark.parametrize("shape", [(2, 100), (100, 2), (1, 1, 100), ()])
def test_more_than_one_dimension(shape):
    with pytest.raises(ArgumentError, match="one dimension"):
        as_audio(np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize("shape", [(1, -1), (-1, 1)])
def test_an_axis_of_one_channel_is_no_obstacle(shape):
    assert np.array_equal(as_audio(tone().reshape(shape)), tone())


@pytest.mark.parametrize("dtype", [">i2", "<i2", ">f4", ">f8"])
def test_byte_order_does_not_matter(dtype):
    scale = 32767 if dtype.endswith("i2") else 1
    assert np.allclose(as_audio((tone() * scale).astype(dtype)), tone(), atol=1e-4)


def test_lists_of_different_lengths():
    with pytest.raises(ArgumentTypeError, match="must be an array of samples"):
        as_audio([[0.0, 1.0], [0.0]])


def test_integers_of_unknown_scale():
    with pytest.raises(ArgumentTypeError, match="its scale cannot be told"):
        as_audio([0, 16384])


def test_not_numbers():
    with pytest.raises(ArgumentTypeError, match="must hold numbers"):
        as_audio(np.array(["a", "b"]))


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.append(tone(), np.nan), "1 NaN or infinite samples"),
        (np.append(tone(), [np.inf, -np.inf]), "2 NaN or infinite samples"),
        (
            np.round(tone() * 32767),
            r"up to 16,38\d, and samples of floats must lie in \[-1",
        ),
        (np.full(RATE, 255.0), "goes up to 255"),
        (tone(seconds=0.09), "lasts 0.090 s, less than 0.1 s"),
        (np.zeros(0), "lasts 0.000 s"),
        (tone(seconds=5.0), r"lasts 5.0 s and this model takes at most 2.0 s"),
    ],
)
def test_unusable_audio(audio, message):
    with pytest.raises(ArgumentError, match=message):
        check_audio(audio.astype("float32"), RATE, 2.0)


def test_silence_is_audio_like_any_other():
    check_audio(np.zeros(RATE, dtype="float32"), RATE, 2.0)
    check_audio(np.full(RATE, 0.3, dtype="float32"), RATE, 2.0)


def test_quiet_audio_and_unlimited_models_are_fine():
    check_audio(1e-3 * tone(seconds=5.0), RATE, None)
