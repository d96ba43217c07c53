"""Any file: containers that FFmpeg reads, pipes, parts of files, and headers that are wrong."""

import io
import os
import struct
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.io.audio import Excerpt, audio_seconds, load_audio

RATE = 16_000


@pytest.fixture
def samples():
    """Three seconds that are nowhere alike."""
    time = np.arange(3 * RATE) / RATE
    return (0.4 * np.sin(2 * np.pi * (200 + 400 * time) * time)).astype("float32")


@pytest.fixture
def write(tmp_path, samples):
    """Writes the samples in a format of libsndfile."""

    def written(extension, data=samples, rate=RATE, **options):
        file = tmp_path / f"speech.{extension}"
        format = {"opus": "OGG", "aiff": "AIFF"}.get(extension, extension.upper())
        subtype = {"opus": "OPUS", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}.get(
            extension, "PCM_16"
        )
        soundfile.write(file, data, rate, format=format, subtype=options.get("subtype", subtype))
        return file

    return written


def encoded(path, samples, codec, rate=RATE, **metadata):
    """Write a file with FFmpeg."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        container.metadata.update(metadata)
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


def lag(audio, samples):
    """How many samples audio comes late, and how like it is then."""
    found = np.correlate(audio, samples[RATE : 2 * RATE], "valid")
    start = int(found.argmax())
    part = audio[start : start + RATE]
    return start - RATE, float(np.corrcoef(part, samples[RATE : 2 * RATE])[0, 1])


class TestContainers:
    @pytest.mark.parametrize(
        ("extension", "codec", "rate"),
        [
            ("m4a", "aac", 16_000),
            ("mp4", "aac", 44_100),
            ("webm", "libopus", 48_000),
            ("mka", "ac3", 48_000),
            ("aac", "aac", 16_000),
            ("wma", "pcm_s16le", 16_000),
            ("avi", "pcm_s16le", 16_000),
        ],
    )
    def test_what_libsndfile_cannot_read_is_read(self, tmp_path, samples, extension, codec, rate):
        file = encoded(tmp_path / f"speech.{extension}", samples, codec, rate)
        late, alike = lag(load_audio(file, RATE), samples)
        assert alike > 0.95
        assert 0 <= late < 2100 * RATE / rate  # encoders put some samples before the first
        assert audio_seconds(file) == pytest.approx(3.0, abs=0.3)

    def test_a_missing_library_names_the_install(self, tmp_path, samples, monkeypatch):
        file = encoded(tmp_path / "speech.m4a", samples, "aac")
        monkeypatch.setitem(sys.modules, "av", None)
        with pytest.raises(ImportError, match=r"speech\.m4a.*pip install 'captum-spes\[media\]'"):
            load_audio(file, RATE)

    def test_a_file_of_anything_else_is_not_blamed_on_the_library(self, tmp_path, monkeypatch):
        (tmp_path / "a.wav").write_text("this is no audio " * 100)
        monkeypatch.setitem(sys.modules, "av", None)
        with pytest.raises(ArgumentError, match=r"no audio file that can be read.*\[media\]"):
            load_audio(tmp_path / "a.wav", RATE)

    def test_a_video_without_sound(self, tmp_path):
        av = pytest.importorskip("av")
        with av.open(str(tmp_path / "silent.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=24)
            stream.width = stream.height = 16
            frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)
        with pytest.raises(ArgumentError, match="no audio track"):
            load_audio(tmp_path / "silent.mp4", RATE)

    def test_a_title_in_no_known_encoding_is_no_reason_to_refuse(self, tmp_path, samples):
        """Files of old Windows programs; nothing of it is used."""
        file = encoded(tmp_path / "speech.mka", samples, "ac3", 48_000, title="a title")
        file.write_bytes(file.read_bytes().replace(b"a title", b"\xe9\xff\xfe\xc3\x28\xa0\xa1"))
        assert len(load_audio(file, RATE)) > 0.9 * len(samples)

    def test_samples_without_a_header(self, tmp_path):
        (tmp_path / "speech.raw").write_bytes(bytes(range(256)) * 250)
        with pytest.raises(ArgumentError, match=r"speech\.raw"):
            load_audio(tmp_path / "speech.raw", RATE)


class TestSources:
    def test_open_files_and_content(self, write, samples):
        file = write("flac")
        expected = load_audio(file, RATE)
        with file.open("rb") as opened:
            assert np.array_equal(load_audio(opened, RATE), expected)
            assert np.array_equal(load_audio(opened, RATE), expected)  # from the start again
            assert not opened.closed
        content = file.read_bytes()
        assert np.array_equal(load_audio(content, RATE), expected)
        written = io.BytesIO()
        written.write(content)  # its position is the end
        assert np.array_equal(load_audio(written, RATE), expected)

    def test_a_pipe(self, tmp_path, write):
        content, pipe = write("wav").read_bytes(), tmp_path / "pipe"
        os.mkfifo(pipe)
        thread = threading.Thread(target=pipe.write_bytes, args=(content,))
        thread.start()
        audio = load_audio(pipe, RATE)
        thread.join()
        assert len(audio) == 3 * RATE

    def test_an_empty_pipe(self):
        read, write = os.pipe()
        os.close(write)
        with os.fdopen(read, "rb") as pipe, pytest.raises(ArgumentError, match="empty"):
            load_audio(pipe, RATE)

    def test_text_and_addresses_and_devices(self, tmp_path):
        with pytest.raises(ArgumentTypeError, match="open it with mode 'rb'"):
            load_audio(io.StringIO("x"), RATE)
        with pytest.raises(ArgumentError, match=r"https://example\.org/a\.wav is an address"):
            load_audio("https://example.org/a.wav", RATE)
        with pytest.raises(ArgumentError, match="is a device"):
            load_audio("/dev/zero", RATE)

    def test_names_that_are_no_utf_8(self, tmp_path, write):
        file = os.fsencode(tmp_path) + b"/caf\xe9.flac"
        os.rename(write("flac"), file)
        assert len(load_audio(os.fsdecode(file), RATE)) == 3 * RATE

    @pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3", "opus"])
    def test_parts_are_those_of_the_whole(self, write, extension):
        file = write(extension)
        part = load_audio(Excerpt(file, start=1.25, duration=0.5), RATE)
        assert len(part) == RATE // 2
        # Read in blocks, which an MP3 decoder does not like, it is what one call reads.
        whole = soundfile.read(file, dtype="float32")[0]
        assert np.allclose(load_audio(file, RATE), whole, atol=1e-6)
        assert np.allclose(part, load_audio(file, RATE)[20_000:28_000], atol=1e-3)
        assert audio_seconds(Excerpt(file, 1.25)) == pytest.approx(1.75, abs=0.05)

    def test_parts_of_what_ffmpeg_reads(self, tmp_path, samples):
        file = encoded(tmp_path / "speech.m4a", samples, "aac")
        part = load_audio(Excerpt(file, start=1.25, duration=0.5), RATE)
        assert np.allclose(part, load_audio(file, RATE)[20_000:28_000], atol=1e-3)

    def test_parts_that_are_not_there(self, write):
        file = write("wav")
        with pytest.raises(ArgumentError, match=r"lasts 3\.00 s, .* from 4 to 5 s"):
            load_audio(Excerpt(file, 4, 1), RATE)
        with pytest.raises(ArgumentError, match=r"from 2 to 4 s"):
            load_audio(Excerpt(file, 2, 2), RATE)
        assert len(load_audio(Excerpt(file, 2, 1.05), RATE)) == RATE  # rounded somewhere
        for wrong in ({"start": -1}, {"start": float("nan")}, {"duration": 0}, {"channel": -1}):
            with pytest.raises(ArgumentError, match=next(iter(wrong))):
                Excerpt(file, **wrong)

    def test_one_channel(self, write, samples):
        file = write("wav", np.stack([samples, 0 * samples], 1))
        assert not load_audio(Excerpt(file, channel=1), RATE).any()
        assert np.allclose(load_audio(Excerpt(file, channel=0), RATE), samples, atol=1e-4)
        with pytest.raises(ArgumentError, match="has 2 channels, and no channel 2"):
            load_audio(Excerpt(file, channel=2), RATE)


class TestDuration:
    def test_it_is_known_before_anything_is_read(self, write):
        assert audio_seconds(write("flac")) == 3.0
        with pytest.raises(ArgumentError, match=r"lasts 3\.0 s .* at most 2\.0 s"):
            load_audio(write("flac"), RATE, max_seconds=2.0)

    def test_a_huge_sparse_file_is_refused_by_its_header(self, tmp_path):
        file = tmp_path / "huge.wav"
        size = 2**31
        header = b"RIFF" + struct.pack("<I", size) + b"WAVEfmt "
        header += struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
        file.write_bytes(header + b"data" + struct.pack("<I", size - 36))
        os.truncate(file, size + 8)
        with pytest.raises(ArgumentError, match=r"lasts 67108\.\d s"):
            load_audio(file, RATE, max_seconds=30.0)

    def test_without_a_length_in_the_header_reading_stops(self, tmp_path, write):
        pytest.importorskip("av")
        content = bytearray(write("flac").read_bytes())
        content[21] &= 0xF0
        content[22:26] = bytes(4)
        (tmp_path / "unknown.flac").write_bytes(content)
        assert audio_seconds(tmp_path / "unknown.flac") is None
        assert len(load_audio(tmp_path / "unknown.flac", RATE)) == 3 * RATE
        with pytest.raises(ArgumentError, match=r"at most 1\.0 s"):
            load_audio(tmp_path / "unknown.flac", RATE, max_seconds=1.0)

    def test_long_files_are_not_held_several_times(self, tmp_path):
        import tracemalloc

        file = tmp_path / "long.flac"
        with soundfile.SoundFile(file, "w", 48_000, 2, subtype="PCM_16") as opened:
            for _ in range(5):
                opened.write(np.tile(np.int16([[100, 100]] + [[0, 0]] * 999), (2880, 1)))
        tracemalloc.start()
        audio = load_audio(file, RATE)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(audio) == 300 * RATE
        assert peak < 1.5 * audio.nbytes


class TestHeaders:
    """A file that was cut off, or whose header was never finished."""

    @pytest.mark.parametrize("extension", ["wav", "aiff", "au", "w64", "caf", "mp3", "ogg", "flac"])
    def test_a_file_that_was_cut_off_is_told(self, write, samples, extension):
        file = write(extension, np.tile(samples, 5))
        content = file.read_bytes()
        file.write_bytes(content[: len(content) * 3 // 4])
        with pytest.warns(UserWarning, match=r"speech\.\w+: it.* samples") as told:
            audio = load_audio(file, RATE)
        assert len(told) == 1
        assert 5 * RATE < len(audio) < 13 * RATE
        assert f"{len(audio):,}" in str(told[0].message)

    def test_an_ogg_that_stops_within_its_last_page_is_told(self, write):
        content = write("ogg").read_bytes()
        with pytest.warns(UserWarning, match="without its end mark"):
            load_audio(content[:-50], RATE)

    def test_a_cut_video_is_told(self, tmp_path, samples):
        file = encoded(tmp_path / "speech.mka", samples, "aac")
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        try:
            with pytest.warns(UserWarning, match=r"could be read"):
                load_audio(file, RATE)
        except ArgumentError:  # its index stood at the end
            pass

    @pytest.mark.parametrize("extension", ["wav", "aiff", "au", "w64", "caf", "mp3", "ogg", "flac"])
    def test_a_whole_file_is_not_blamed(self, write, extension):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(load_audio(write(extension), RATE)) == pytest.approx(3 * RATE, rel=0.05)

    @pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
    @pytest.mark.parametrize("whole", [True, False])
    def test_a_wav_whose_length_was_never_written(self, write, samples, size, whole):
        content = bytearray(write("wav").read_bytes())
        place = content.find(b"data") + 4
        content[place : place + 4] = struct.pack("<I", size)
        if not whole:  # the size of the file neither
            content[4:8] = struct.pack("<I", size)
        assert np.allclose(load_audio(bytes(content), RATE), samples, atol=1e-4)

    def test_a_wav_whose_length_is_too_small(self, write, samples):
        content = bytearray(write("wav").read_bytes())
        place = content.find(b"data") + 4
        content[place : place + 4] = struct.pack("<I", len(samples))
        with pytest.warns(UserWarning, match="says 24,000 samples, and it holds 48,000; all are"):
            audio = load_audio(bytes(content), RATE)
        assert np.allclose(audio, samples, atol=1e-4)

    def test_chunks_behind_the_samples_are_no_samples(self, write, samples):
        tags = b"LIST" + struct.pack("<I", 20_000) + bytes(20_000)
        content = write("wav").read_bytes() + tags
        assert np.allclose(load_audio(content, RATE), samples, atol=1e-4)

    def test_an_empty_wav(self, tmp_path):
        soundfile.write(tmp_path / "none.wav", np.zeros(0), RATE)
        assert len(load_audio(tmp_path / "none.wav", RATE)) == 0

    def test_noise_in_the_middle_of_a_flac(self, write):
        content = bytearray(write("flac").read_bytes())
        middle = len(content) // 2
        content[middle : middle + 4000] = bytes(4000)
        with pytest.warns(UserWarning, match=r"says 48,000 samples, and [\d,]+ could be read"):
            load_audio(bytes(content), RATE)


class TestChannels:
    def test_opposite_phases_are_told_and_the_loudest_is_taken(self, write, samples):
        file = write("wav", np.stack([0.5 * samples, -0.51 * samples], 1), subtype="FLOAT")
        with pytest.warns(UserWarning, match=r"cancel each other .* channel 1 is taken"):
            audio = load_audio(file, RATE)
        assert np.allclose(audio, -0.51 * samples)

    @pytest.mark.parametrize("right", [0.0, 1.0, 0.2])
    def test_other_channels_are_averaged_without_a_word(self, write, samples, right):
        file = write("wav", np.stack([samples, right * samples], 1), subtype="FLOAT")
        assert np.allclose(load_audio(file, RATE), (1 + right) / 2 * samples, atol=1e-6)

    def test_two_channels_of_silence(self, write):
        assert not load_audio(write("wav", np.zeros((RATE, 2))), RATE).any()


def test_damaged_files_never_end_in_another_error(write, samples, tmp_path):
    """Bytes are overwritten at random: a clear error, or samples."""
    rng = np.random.default_rng(0)
    for extension in ("wav", "flac", "ogg", "mp3", "aiff"):
        content = write(extension).read_bytes()
        for _ in range(25):
            damaged = bytearray(content)
            for place in rng.integers(0, min(len(damaged), 400), 6):
                damaged[place] = rng.integers(256)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    audio = load_audio(bytes(damaged), RATE, max_seconds=60)
                except ArgumentError:
                    continue
            assert audio.ndim == 1
    assert Path(tmp_path).exists()
