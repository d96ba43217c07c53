"""Audio files with any bytes in any place: samples, or an error that says what is wrong."""

import gc
import io
import os
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.io.audio import audio_seconds, load_audio
from captum_spes.io.samples import read_samples

RATE = 16_000
OPEN_FILES = Path("/proc/self/fd")
FORMATS = ("WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "W64")
QUICK = settings(max_examples=60, deadline=None, derandomize=True)
# Two hours at the model's rate; a header may claim more, and is then refused.
MOST = 7200.0


def content_of(name):
    if name in FORMATS:
        file = io.BytesIO()
        time = np.arange(RATE // 2) / RATE
        soundfile.write(file, 0.3 * np.sin(1500 * time), RATE, format=name)
        return file.getvalue()
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format=name) as container:
        stream = container.add_stream("aac", rate=RATE)
        stream.layout = "mono"
        samples = np.float32(0.3 * np.sin(np.arange(RATE // 2) / 10))[None]
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return file.getvalue()


WHOLE = {}


@pytest.mark.parametrize("name", [*FORMATS, "mp4", "matroska"])
@QUICK
@given(data=st.data())
def test_changed_files(name, data):
    if name not in WHOLE:
        WHOLE[name] = content_of(name)
    content = bytearray(WHOLE[name])
    kind = data.draw(st.sampled_from(["bytes", "size", "cut", "insert"]))
    # Most of what can go wrong stands at the start.
    place = data.draw(st.integers(0, min(len(content) - 8, 120)) | st.integers(0, len(content) - 8))
    if kind == "bytes":
        content[place] = data.draw(st.integers(0, 255))
    elif kind == "size":
        content[place : place + 4] = data.draw(
            st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"])
        )
    elif kind == "cut":
        del content[place:]
    else:
        content[place:place] = data.draw(st.binary(max_size=300))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            seconds = audio_seconds(bytes(content))
            audio = load_audio(bytes(content), RATE, max_seconds=MOST)
        except ArgumentError:
            return
    assert audio.dtype == np.float32
    assert audio.ndim == 1
    assert seconds is None or seconds >= 0
    if seconds is not None:  # a file that is cut gives less than its header says, never more
        assert len(audio) / RATE <= 1.1 * seconds + 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            checked = read_samples(bytes(content), RATE, RATE, MOST)
        except ArgumentError:
            return
    assert np.isfinite(checked).all()


@pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="this system does not list open files")
@pytest.mark.parametrize("name", [*FORMATS, "mp4", "matroska"])
def test_nothing_is_left_open_or_printed(name, tmp_path, capsys):
    """Whole, cut, and unreadable; by name, and through a pipe, which goes into a temporary file."""
    content = content_of(name)
    file = tmp_path / "speech"
    load_audio(content, RATE)  # libraries that are loaded now may keep files open
    before = len(list(OPEN_FILES.iterdir()))
    for part in (content, content[: len(content) // 2], b"x" + content[1:], content[:60]):
        file.write_bytes(part)
        with Pipe(part) as pipe:
            for source in (file, pipe):
                with warnings.catch_warnings(), suppress(ArgumentError):
                    # Of the samples; what pytest makes of a file left open comes behind it.
                    warnings.simplefilter("ignore", UserWarning)
                    warnings.simplefilter("error", ResourceWarning)
                    load_audio(source, RATE, max_seconds=MOST)
    gc.collect()
    assert len(list(OPEN_FILES.iterdir())) == before
    assert os.listdir(tmp_path) == ["speech"]
    assert not capsys.readouterr().err


class Pipe(io.BytesIO):
    def seekable(self):
        return False


@QUICK
@given(st.binary(max_size=400))
def test_any_bytes(content):
    with pytest.raises(ArgumentError):
        load_audio(content, RATE)


SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
NAMES = st.sampled_from(["array", "sampling_rate", "bytes", "path", "raw", "x"])
OBJECTS = st.recursive(
    SIMPLE,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(NAMES, inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(OBJECTS)
def test_any_object(value):
    try:
        audio = read_samples(value, RATE, RATE)
    except (ArgumentError, ArgumentTypeError, FileNotFoundError):
        return
    assert audio.dtype == np.float32
    assert np.isfinite(audio).all()
