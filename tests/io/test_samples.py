"""Recordings as libraries hand them over: dictionaries, pairs, decoders, open files, arrays."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.io.audio import Excerpt
from captum_spes.io.samples import read_samples

RATE = 16_000


@pytest.fixture
def speech():
    time = np.arange(RATE // 2) / RATE
    return (0.4 * np.sin(2 * np.pi * 300 * time)).astype("float32")


@pytest.fixture
def file(tmp_path, speech):
    soundfile.write(tmp_path / "speech.wav", speech, RATE, subtype="FLOAT")
    return tmp_path / "speech.wav"


class Decoder:
    """As torchcodec and the audio columns of datasets have them."""

    def __init__(self, samples, rate):
        self.samples = SimpleNamespace(data=torch.from_numpy(samples), sample_rate=rate)

    def get_all_samples(self):
        return self.samples


def test_the_same_samples_in_every_form(file, speech):
    content = file.read_bytes()
    forms = {
        "path": file,
        "text": str(file),
        "content": content,
        "open file": io.BytesIO(content),
        "part": Excerpt(file, 0.0, 0.5),
        "array": speech,
        "list": speech.tolist(),
        "one channel": speech[None],
        "channel last": speech[:, None],
        "tensor": torch.from_numpy(speech),
        "tensor with gradient": torch.from_numpy(speech).requires_grad_(),
        "batch of one": torch.from_numpy(speech)[None],
        "big-endian": speech.astype(">f4"),
        "datasets": {"array": speech, "sampling_rate": RATE, "path": None},
        "datasets with a path": {"array": speech, "sampling_rate": RATE, "path": "gone.wav"},
        "pipeline": {"raw": speech, "sampling_rate": RATE},
        "not decoded": {"bytes": content, "path": None},
        "not decoded, by path": {"bytes": None, "path": str(file)},
        "decoder": Decoder(speech[None], RATE),
        "decoder, two channels": Decoder(np.stack([speech, speech]), RATE),
        "scipy": (RATE, speech),
        "soundfile": (speech, RATE),
        "torchaudio": (torch.from_numpy(speech)[None], RATE),
        "rate of NumPy": (np.int64(RATE), speech),
    }
    for name, form in forms.items():
        found = read_samples(form, RATE, RATE)
        assert found.dtype == np.float32, name
        assert np.allclose(found, speech, atol=1e-6), name


def test_whole_numbers_are_scaled_in_every_form(speech):
    pcm = (speech * 32767).astype(np.int16)
    for form in (
        pcm,
        (RATE, pcm),
        {"array": pcm, "sampling_rate": RATE},
        pcm.astype(">i2"),
        pcm[None],
    ):
        assert np.allclose(read_samples(form, RATE, RATE), speech, atol=1e-4)


def test_what_brings_its_rate_is_resampled():
    time = np.arange(24_000) / 48_000
    fast = (0.4 * np.sin(2 * np.pi * 300 * time)).astype("float32")
    slow = (0.4 * np.sin(2 * np.pi * 300 * np.arange(8000) / RATE)).astype("float32")
    forms = ((48_000, fast), {"array": fast, "sampling_rate": 48_000}, Decoder(fast[None], 48_000))
    for form in forms:
        found = read_samples(form, RATE, RATE)
        assert len(found) == 8000
        assert np.abs(found[300:-300] - slow[300:-300]).max() < 0.01


def test_channels_of_a_decoder_that_cancel_each_other(speech):
    with pytest.warns(UserWarning, match="cancel each other"):
        found = read_samples(Decoder(np.stack([speech, -speech]), RATE), RATE, RATE)
    assert np.allclose(found, speech)


@pytest.mark.parametrize(
    ("form", "error", "message"),
    [
        ({"array": [0.0] * 4000}, ArgumentError, "dictionary without 'sampling_rate'"),
        ({"x": 1}, ArgumentTypeError, r"dictionary without 'array' .*it has x"),
        ({}, ArgumentTypeError, "it has nothing"),
        ({"array": [0.0] * 4000, "sampling_rate": "16000"}, ArgumentTypeError, "the text '16000'"),
        ({"array": [0.0] * 4000, "sampling_rate": 0}, ArgumentError, "whole number above 0"),
        ((16_000.5, [0.0] * 4000), ArgumentError, "whole number above 0"),
        ((16_000, [[0.0] * 4000] * 2), ArgumentError, "one dimension"),
        ("https://example.org/a.wav", ArgumentError, "is an address"),
        (io.StringIO("a"), ArgumentTypeError, "mode 'rb'"),
        (b"", ArgumentError, "is empty"),
        (None, ArgumentTypeError, "must be a file or an array of samples, got NoneType"),
        ("", ArgumentError, "folder|no such"),
        (np.zeros(4000, complex), ArgumentTypeError, "must hold numbers"),
        (np.zeros(4000, bool), ArgumentTypeError, "must hold numbers"),
        (np.zeros((2, 4000), np.int16), ArgumentError, "one dimension"),
        (np.full(4000, 2e4, np.float32), ArgumentError, r"must lie in \[-1, 1\]"),
    ],
    ids=lambda value: str(value)[:20] if not isinstance(value, type) else "",
)
def test_what_cannot_be_taken_is_told(form, error, message):
    with pytest.raises(error, match=message):
        read_samples(form, RATE, RATE)


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (8000, "8000 samples per second and the model takes 16000"),
        ("16000", "must be a number, got the text '16000'"),
        (None, "must be a number"),
        (True, "must be a number"),
        (-16_000, "whole number above 0"),
        (16_000.5, "whole number above 0"),
        (float("nan"), "whole number above 0"),
    ],
)
def test_rates_of_arrays(speech, rate, message):
    with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
        read_samples(speech, rate, RATE)
    assert len(read_samples(speech, 16_000.0, RATE)) == len(speech)


def test_a_closed_file_is_told(file):
    with file.open("rb") as opened:
        pass
    with pytest.raises(ArgumentError, match="is closed; open it again"):
        read_samples(opened, RATE, RATE)


@pytest.mark.parametrize("rate", [1, 500, 10**7])
def test_rates_that_speech_does_not_have(speech, rate):
    with pytest.raises(ArgumentError, match="none that speech is recorded with"):
        read_samples((rate, speech), RATE, RATE)


def test_content_in_memory(file, speech):
    content = file.read_bytes()
    whole = read_samples(content, RATE, RATE)
    for form in (bytearray(content), memoryview(content)):
        assert np.array_equal(read_samples(form, RATE, RATE), whole)


def test_short_floats_of_torch(speech):
    for dtype in (torch.float16, torch.bfloat16, torch.float8_e5m2):
        found = read_samples(torch.as_tensor(speech).to(dtype), RATE, RATE)
        assert np.abs(found - speech).max() < 0.2


class Failing:
    """An object whose samples, or bytes, cannot be had."""

    def __array__(self, *args, **kwargs):
        raise ZeroDivisionError("none here")


class FailingFile:
    def read(self, size=-1):
        raise RuntimeError("none here")


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (Failing(), "none here"),
        (FailingFile(), "cannot be read: none here"),
        (np.ma.masked_array(np.zeros(4000), mask=[True] * 4000), "masked"),
        (torch.zeros(4000, device="meta"), "array of samples"),
        (torch.zeros(4000).to_sparse(), "array of samples"),
        ({"array": np.zeros(4000), 1: 2}, "without 'sampling_rate'"),
        ((RATE, np.zeros((3, 4000))), "one dimension"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_samples_that_cannot_be_had_are_an_error_of_ours(form, message):
    with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
        read_samples(form, RATE, RATE)


def test_samples_with_a_rate_are_not_converted_before_they_are_refused(monkeypatch):
    """Converting hours takes gigabytes."""
    import soxr

    monkeypatch.setattr(soxr, "resample", lambda *args: pytest.fail("converted"))
    with pytest.raises(ArgumentError, match=r"lasts 60\.0 s .* at most 30\.0 s"):
        read_samples((8000, np.zeros(480_000)), RATE, RATE, 30.0)


@pytest.mark.parametrize("seconds", [30.05, 30 + 1 / RATE])
def test_a_little_too_long_is_told_with_all_digits(seconds):
    audio = np.zeros(round(seconds * RATE), np.float32)
    with pytest.raises(ArgumentError) as told:
        read_samples(audio, RATE, RATE, 30.0)
    assert float(str(told.value).split()[2]) > 30.0
