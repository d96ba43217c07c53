"""The parts of a recording that an explanation marks, as sound."""

import json
import os
import re

import numpy as np
import pytest
import soundfile
import torch

from captum_spes import SPES, SpeechToTextAttribution, SpeechToTextAttributionResult, Word
from captum_spes.demo import load_demo
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.forward import Contrast
from captum_spes.io.audio import Excerpt
from captum_spes.io.sound import Sound
from captum_spes.speech import listening
from captum_spes.speech.models.huggingface import mel_bin_centers

MEL = mel_bin_centers(80, 0.0, 8000.0, "slaney")
FEW = {"n_samples": 30, "n_token_samples": 0, "patches_per_second": 40, "seed": 0}


def marking(cells, start=0.0, **changes):
    """A result of one token, frames every 10 ms, whose map is 1 in some cells."""
    n_frames = len(cells)
    times = torch.arange(n_frames) / 100 + start
    fields = {
        "output_tokens": [" so"], "previous_tokens": ["<s>"], "words": [Word("so", (0,))],
        "spectrogram": torch.zeros(cells.shape), "removed": torch.zeros(cells.shape),
        "feature_masks": torch.zeros(1, *cells.shape, dtype=torch.int64),
        "spectrogram_attr": cells.float()[None], "token_attr": None, "frame_times": times,
        "mel_frequencies": MEL, "text": " so", "output_ids": [1], "previous_ids": [0],
        "seconds": n_frames / 100, "seed": 0, "method": "SPES", "model_id": "planted",
    }  # fmt: skip
    return SpeechToTextAttributionResult(**{**fields, **changes})


def band(low, high, n_frames=100):
    """The mel bins between two frequencies, at all times."""
    return ((low <= MEL) & (high >= MEL)).expand(n_frames, -1).clone()


def share(cells):
    return cells.float().mean().item()


def tone(hertz, seconds=1.0, rate=16_000, amplitude=0.3):
    times = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def noise(seconds=1.0, rate=16_000, seed=0):
    drawn = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    return (0.1 * drawn).astype(np.float32)


def decibels(samples, reference):
    """Level of samples beside that of others, the ends aside."""
    edge = len(samples) // 10
    power, before = (np.square(x[edge:-edge].astype(float)).mean() for x in (samples, reference))
    return 10 * np.log10(power / before + 1e-20)


def listen(cells, audio, rate=16_000, **options):
    result = marking(cells)
    options = {"keep": share(cells), "audio": audio, "sampling_rate": rate, **options}
    return result.listen(**options)


# What is kept ---------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_a_tone_in_kept_cells_keeps_its_level_and_others_are_gone(rate):
    cells = band(300, 1000)
    for hertz in (400, 600, 900):
        sound = listen(cells, tone(hertz, rate=rate), rate)
        assert sound.sampling_rate == rate
        assert sound.samples.dtype == np.float32
        assert decibels(sound.samples, tone(hertz, rate=rate)) == pytest.approx(0, abs=0.1)
        # Nor is it moved: the difference is small, too.
        assert decibels(sound.samples - tone(hertz, rate=rate), sound.samples) < -30
    for hertz in (100, 1300, 3000):
        assert decibels(listen(cells, tone(hertz, rate=rate), rate).samples, tone(hertz)) < -40


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_times_are_those_of_the_frames(rate):
    cells = torch.zeros(100, 80, dtype=torch.bool)
    cells[40:60] = True  # middles from 0.40 to 0.59 s: frames from 0.395 to 0.595 s
    whole = tone(1000, rate=rate)
    sound, _ = listen(cells, whole, rate)
    times = np.arange(len(sound)) / rate
    inside, outside = abs(times - 0.495) < 0.08, abs(times - 0.495) > 0.13
    assert np.abs(sound - whole)[inside].max() < 0.003
    assert np.abs(sound)[outside].max() < 0.0003
    # It is half as loud where a frame that is kept meets one that is not.
    envelope = np.sqrt(np.convolve(np.square(sound / 0.3) * 2, np.ones(rate // 500), "same"))
    envelope /= np.sqrt(rate // 500)
    loud = times[envelope > 0.5]
    assert loud[[0, -1]] == pytest.approx([0.395, 0.595], abs=0.004)


@pytest.mark.parametrize("first", [20, 50, 70])
def test_between_two_bins_lies_a_border(first):
    """What is between a bin that is kept and one that is not is half as loud, and it is at one
    side all there and at the other gone."""
    cells = (torch.arange(80) <= first).expand(100, -1).clone()
    low, high = MEL[first].item(), MEL[first + 1].item()
    for hertz, level in (((low + high) / 2, -6), (low - 100, 0)):
        sound, _ = listen(cells, tone(hertz))
        assert decibels(sound, tone(hertz)) == pytest.approx(level, abs=0.5)
    assert decibels(listen(cells, tone(high + 100)).samples, tone(high)) < -30


def test_nothing_clicks():
    """A tone that is cut on and off, in time and around it in frequency, stays within its
    surroundings: a hard edge spreads over all frequencies."""
    generator = torch.Generator().manual_seed(0)
    whole = tone(1000, seconds=2)
    blocks = torch.rand(20, 8, generator=generator) > 0.5
    cells = blocks.repeat_interleave(10, 0).repeat_interleave(10, 1)
    assert 20 < cells[:, 32].sum() < 180
    sound, _ = listen(cells, whole)

    def far(samples):
        """Power above 2 kHz, which no tone of 1 kHz that is faded in has, beside the whole."""
        power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
        hertz = np.fft.rfftfreq(len(samples), 1 / 16_000)
        return 10 * np.log10(power[hertz > 2000].sum() / power.sum())

    hard = whole * cells[:, 32].numpy().repeat(160)
    assert decibels(sound, hard) == pytest.approx(0, abs=3)
    assert far(sound) < -70
    assert far(hard) > -40
    assert np.abs(np.diff(sound)).max() < 1.3 * np.abs(np.diff(whole)).max()


def test_what_the_model_does_not_hear_is_silent_and_in_the_complement():
    rate, cells = 44_100, torch.ones(100, 80, dtype=torch.bool)
    cells[:, 0] = False
    high = tone(12_000, rate=rate)
    sound = listen(cells, high, rate)
    assert decibels(sound.samples, high) < -60
    rest = listen(cells, high, rate, complement=True)
    assert decibels(rest.samples, high) == pytest.approx(0, abs=0.01)
    # Up to the highest frequency of the model all is there.
    near = tone(7900, rate=rate)
    assert decibels(listen(cells, near, rate).samples, near) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_all_cells_are_the_recording(rate):
    audio = noise(rate=rate)
    cells = band(300, 1000)
    assert np.array_equal(listen(cells, audio, rate, keep=1).samples, audio)
    assert not listen(cells, audio, rate, keep=1.0, complement=True).samples.any()


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100])
def test_both_add_up_to_the_recording(rate):
    generator = torch.Generator().manual_seed(1)
    cells = torch.rand(100, 80, generator=generator) > 0.7
    audio = noise(0.9987, rate)
    kept, rest = (listen(cells, audio, rate, complement=c).samples for c in (False, True))
    assert len(kept) == len(rest) == len(audio)
    assert np.abs(kept + rest - audio).max() < 1e-6
    assert np.square(kept).sum() > 0.05 * np.square(audio).sum()
    assert np.square(rest).sum() > 0.05 * np.square(audio).sum()


def test_levels_are_kept_above_full_scale():
    audio = 3 * tone(500)
    sound, _ = listen(band(300, 1000), audio)
    assert np.abs(sound[2000:-2000]).max() == pytest.approx(0.9, abs=0.01)
    loud = 4 * tone(500)
    assert np.abs(listen(band(300, 1000), loud).samples).max() > 1.19


def test_long_recordings_are_filtered_in_blocks_as_whole(monkeypatch):
    generator = torch.Generator().manual_seed(2)
    cells = torch.rand(700, 80, generator=generator) > 0.6
    audio = noise(7.0)
    whole, _ = listen(cells, audio)
    monkeypatch.setattr(listening, "_BLOCK_SECONDS", 0.9)
    assert np.abs(listen(cells, audio).samples - whole).max() < 1e-6


def test_a_map_of_one_frame_or_one_bin():
    audio = noise(0.2)
    for shape in ((1, 80), (20, 1)):
        mel = MEL[: shape[1]]
        cells = torch.zeros(shape)
        cells[0, 0] = 1
        result = marking(cells, mel_frequencies=mel, seconds=0.2)
        kept, _ = result.listen(keep=0.05, audio=audio)
        assert 0 < np.square(kept).sum() < np.square(audio).sum()


# Which cells ----------------------------------------------------------------------------


def three_words():
    """Words in bands of their own: so, no, so."""
    bands = [band(200, 600), band(1000, 1600), band(2500, 4000)]
    return marking(
        bands[0], output_tokens=[" so", " no", " so"], previous_tokens=["<s>", " so", " no"],
        spectrogram_attr=torch.stack(bands).float(), text=" so no so", output_ids=[1, 2, 1],
        previous_ids=[0, 1, 2], words=[Word(w, (i,)) for i, w in enumerate(["so", "no", "so"])],
    )  # fmt: skip


TONES = {0: 400, 1: 1300, 2: 3200}


@pytest.mark.parametrize(
    ("asked", "row"),
    [
        ({"token": 0}, 0), ({"token": -1}, 2), ({"token": np.int64(1)}, 1),
        ({"word": "No!"}, 1), ({"word": "so"}, 0), ({"word": "SO", "occurrence": 2}, 2),
        ({"word": 1}, 1), ({"word": -1}, 2),
    ],
)  # fmt: skip
def test_tokens_and_words(asked, row):
    keep = 0.9 * share(three_words().spectrogram_attr[row])
    for other, hertz in TONES.items():
        level = decibels(three_words().listen(**asked, keep=keep, audio=tone(hertz)).samples,
                         tone(hertz))  # fmt: skip
        assert level > -1 if other == row else level < -30


def test_the_sentence_and_phrases_are_means():
    result = three_words()
    half = result.spectrogram_attr.clone()
    half[1, :50] = 0  # only half of the time, which the mean over tokens keeps
    together = {"no so": (1, 2), None: (0, 1, 2)}
    for word, rows in together.items():
        keep = share((result.spectrogram_attr[list(rows)] > 0).any(0))
        for row, hertz in TONES.items():
            sound, _ = result.listen(word=word, keep=keep, audio=tone(hertz))
            assert (
                decibels(sound, tone(hertz)) > -1
                if row in rows
                else decibels(sound, tone(hertz)) < -30
            )


def test_of_a_contrast_what_speaks_for_the_word_comes_first():
    row = band(200, 600).float() - band(1000, 1600).float()
    facts = {"word": "so", "foil": "no", "score": "log_ratio"}
    result = marking(row, parameters={"contrast": facts})
    keep = 0.9 * share(row > 0)
    for asked in ({}, {"token": 0}, {"word": "so"}):
        assert decibels(result.listen(**asked, keep=keep, audio=tone(400)).samples, tone(400)) > -1
        assert decibels(result.listen(**asked, keep=keep, audio=tone(1300)).samples, tone(1)) < -30
    # What speaks for the foil is the last that is added, behind what speaks for neither.
    almost = 1 - share(row < 0)
    assert decibels(result.listen(keep=almost, audio=tone(1300)).samples, tone(1)) < -30
    assert decibels(result.listen(keep=almost, audio=tone(5000)).samples, tone(1)) > -1


def test_the_share_that_is_kept():
    result = marking(torch.arange(8000).reshape(100, 80))
    for keep, count in ((0.07, 560), (0.2, 1600), (0.29, 2320), (1e-9, 1), (1, 8000)):
        cells = listening.salient_cells(result, None, keep, None, 1)
        assert int(cells.sum()) == count
        assert cells.flatten()[-count:].all()
    result = marking(torch.arange(10_000).reshape(125, 80))  # 0.57 * 10,000 is less than 5,700
    assert int(listening.salient_cells(result, None, 0.57, None, 1).sum()) == 5700


def test_a_map_without_any_difference_is_told():
    with pytest.warns(UserWarning, match="the same everywhere"):
        marking(torch.ones(100, 80)).listen(audio=noise())


# The recording --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo():
    model, processor, examples = load_demo()
    return SpeechToTextAttribution(SPES(model), processor), examples[0]


@pytest.fixture
def copied(demo, tmp_path):
    path = tmp_path / "speech.flac"
    path.write_bytes(demo[1].path.read_bytes())
    return path


def test_a_file_is_found_again(demo, copied, tmp_path, monkeypatch):
    explainer, _ = demo
    monkeypatch.chdir(tmp_path)
    result = explainer.attribute("speech.flac", **FEW)
    assert result.parameters["audio"]["path"] == str(copied)
    result.save("explanation.npz")
    monkeypatch.chdir(os.sep)
    loaded = SpeechToTextAttributionResult.load(tmp_path / "explanation.npz")
    samples, rate = soundfile.read(copied, dtype="float32")
    assert np.array_equal(loaded.listen(keep=1).samples, samples)
    kept = loaded.listen()
    assert kept.sampling_rate == rate
    assert np.array_equal(kept.samples, result.listen(audio=samples, sampling_rate=rate).samples)
    assert np.array_equal(kept.samples, result.listen(audio=copied.read_bytes()).samples)

    soundfile.write(copied, samples[::-1], rate)
    with pytest.raises(ArgumentError, match="has changed since it was explained"):
        loaded.listen()
    assert len(loaded.listen(audio=copied).samples) == len(samples)
    copied.unlink()
    with pytest.raises(ArgumentError, match="is not there: say where it is with audio"):
        loaded.listen()


def test_excerpts_and_dictionaries_with_a_path(demo, copied):
    explainer, _ = demo
    samples, rate = soundfile.read(copied, dtype="float32")
    part = explainer.attribute(Excerpt(copied, start=0.5, duration=1.0), **FEW)
    assert np.array_equal(part.listen(keep=1).samples, samples[rate // 2 : rate // 2 + rate])
    given = {"path": str(copied), "array": samples, "sampling_rate": rate}
    assert np.array_equal(explainer.attribute(given, **FEW).listen(keep=1).samples, samples)
    undecoded = {"path": str(copied), "bytes": None}
    assert np.array_equal(explainer.attribute(undecoded, **FEW).listen(keep=1).samples, samples)


@pytest.mark.parametrize("form", ["array", "pair", "bytes", "open", "features"])
def test_what_is_in_no_file_has_to_be_given(demo, copied, form):
    explainer, _ = demo
    samples, rate = soundfile.read(copied, dtype="float32")
    with copied.open("rb") as file:
        features = explainer.adapter.from_audio(samples).features
        given = {"array": samples, "pair": (rate, samples), "bytes": copied.read_bytes(),
                 "open": file, "features": features}[form]  # fmt: skip
        result = explainer.attribute(given, target="five", **FEW)
    assert "audio" not in result.parameters
    with pytest.raises(ArgumentError, match=r"does not say where its recording is.*give audio"):
        result.listen()
    assert np.array_equal(result.listen(keep=1, audio=copied).samples, samples)


def test_stereo_at_another_rate(demo, copied, tmp_path):
    """The sound has the rate of the file and is the mean of its channels."""
    explainer, _ = demo
    samples, rate = soundfile.read(copied, dtype="float32")
    soxr = pytest.importorskip("soxr")
    left = soxr.resample(samples, rate, 44_100)
    right = 0.5 * left + 0.05 * tone(12_000, len(left) / 44_100, 44_100)[: len(left)]
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], 1), 44_100, "FLOAT")
    result = explainer.attribute(tmp_path / "stereo.wav", **FEW)
    sound = result.listen(keep=1)
    assert sound.sampling_rate == 44_100
    assert np.allclose(sound.samples, (left + right) / 2, atol=1e-6)
    kept, rest = (result.listen(0, 0.3, complement=c).samples for c in (False, True))
    assert np.abs(kept + rest - sound.samples).max() < 1e-6
    one = explainer.attribute(Excerpt(tmp_path / "stereo.wav", channel=0), **FEW)
    assert np.allclose(one.listen(keep=1).samples, left, atol=1e-6)


# Of a long recording --------------------------------------------------------------------


@pytest.mark.parametrize("form", ["file", "array", "excerpt", "bytes"])
def test_a_window_of_a_long_recording(tmp_path, form):
    rate = 22_050
    times = np.arange(round(5 * rate)) / rate
    audio = (0.3 * np.sin(2 * np.pi * 1000 * times) + 0.01 * times).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", audio, rate, "FLOAT")
    path = tmp_path / "long.wav"
    given = {"file": path, "array": audio, "bytes": path.read_bytes(),
             "excerpt": Excerpt(path, 1.0)}[form]  # fmt: skip
    start = 1.5 if form == "excerpt" else 2.5
    cells = torch.zeros(100, 80, dtype=torch.bool)
    cells[40:60] = True  # from 2.9 to 3.1 s of the recording
    result = marking(cells, start, parameters={"window": {"start": start, "end": start + 1}})
    own = {"audio": given, "sampling_rate": rate}
    cut = audio[round(2.5 * rate) : round(3.5 * rate)]
    assert np.array_equal(result.listen(keep=1, **own).samples, cut)
    sound, _ = result.listen(keep=share(cells), **own)
    assert len(sound) == len(cut)
    at = np.arange(len(cut)) / rate
    assert np.abs(sound - cut)[abs(at - 0.495) < 0.08].max() < 0.003
    assert np.abs(sound)[abs(at - 0.495) > 0.13].max() < 0.0005


@pytest.mark.parametrize("name", ["tiny_speech2text"])
def test_parts_know_their_recording(name, request, tmp_path):
    model, processor = request.getfixturevalue(name)
    explainer = SpeechToTextAttribution(SPES(model), processor)
    rate = 44_100
    audio = noise(6.5, rate)
    soundfile.write(tmp_path / "long.wav", audio, rate, "FLOAT")
    parts = explainer.attribute_parts(tmp_path / "long.wav", at=(0.1, 6.4), **FEW)
    assert len(parts) > 1
    for part in parts:
        window = part.parameters["window"]
        cut = audio[round(window["start"] * rate) : round(window["end"] * rate)]
        sound = part.listen(keep=1)
        assert sound.sampling_rate == rate
        assert np.array_equal(sound.samples, cut)
        assert len(part.listen(0).samples) == len(cut)
    with pytest.raises(ArgumentError, match="lasts"):
        parts[-1].listen(audio=audio[: 2 * rate], sampling_rate=rate)


# Refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"keep": 0}, ArgumentError, "keep must be a share"),
        ({"keep": 1.01}, ArgumentError, "keep must be a share"),
        ({"keep": float("nan")}, ArgumentError, "keep must be a share"),
        ({"keep": True}, ArgumentTypeError, "keep must be a number"),
        ({"keep": "0.2"}, ArgumentTypeError, "keep must be a number"),
        ({"token": 3}, ArgumentError, "token must be an index of the 3 tokens"),
        ({"token": True}, ArgumentError, "token must be an index"),
        ({"token": "so"}, ArgumentError, "token must be an index"),
        ({"token": 0, "word": "so"}, ArgumentError, "give one of them"),
        ({"word": 3}, ArgumentError, "word must be an index of the 3 words"),
        ({"word": 1.0}, ArgumentError, "word must be an index of the 3 words"),
        ({"word": "yes"}, ArgumentError, "does not hold 'yes'"),
        ({"word": ""}, ArgumentError, "no word to find"),
        ({"word": "so", "occurrence": 3}, ArgumentError, "occurrence must be at most 2"),
        ({"word": "so", "occurrence": 0}, ArgumentError, "occurrence must be an int"),
        ({"complement": 1}, ArgumentTypeError, "complement must be True or False"),
        ({"audio": noise(2)}, ArgumentError, "of another recording: it lasts 1.00 s"),
        ({"audio": noise(0.5)}, ArgumentError, "of another recording: it lasts 1.00 s"),
        ({"audio": np.zeros((2, 16_000))}, ArgumentError, "one dimension"),
        ({"audio": object()}, ArgumentTypeError, "audio must be"),
        ({"audio": "nothing.wav"}, FileNotFoundError, "nothing.wav"),
        ({"sampling_rate": 0, "audio": noise()}, ArgumentError, "sampling_rate"),
        ({"sampling_rate": "x", "audio": noise()}, ArgumentTypeError, "sampling_rate"),
    ],
)  # fmt: skip
def test_refused(asked, error, words):
    with pytest.raises(error, match=re.escape(words)):
        three_words().listen(**{"audio": noise(), **asked})


def test_without_words_there_are_tokens():
    result = marking(band(300, 1000), words=[])
    with pytest.raises(ArgumentError, match="has no words: name a token"):
        result.listen(word=0, audio=noise())
    with pytest.raises(ArgumentError, match="it holds no word"):
        result.listen(word="so", audio=noise())


@pytest.mark.parametrize(
    "parameters",
    [
        {"audio": 5}, {"audio": {}}, {"audio": {"path": 5, "sha256": ""}}, {"audio": []},
        {"audio": {"path": "a\0b", "sha256": ""}}, {"audio": {"path": "/", "sha256": ""}},
        {"audio": {"path": "speech.wav", "sha256": 5}},
        {"audio": {"path": "speech.wav", "sha256": "", "start": "x"}},
        {"audio": {"path": "speech.wav", "sha256": "", "start": -1}},
        {"audio": {"path": "/dev/zero", "sha256": ""}},
    ],
)  # fmt: skip
def test_damaged_descriptions_of_the_recording(parameters, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("speech.wav", noise(), 16_000)
    result = marking(band(300, 1000), parameters=parameters)
    with pytest.raises(ArgumentError):
        result.listen()
    assert len(result.listen(audio="speech.wav").samples) == 16_000


@pytest.mark.parametrize(
    "window", [5, {}, {"start": 0}, {"start": "a", "end": 1}, {"start": 2, "end": 1},
               {"start": -1, "end": 1}, {"start": 0, "end": float("inf")}, [0, 1]]
)  # fmt: skip
def test_damaged_windows(window):
    result = marking(band(300, 1000), parameters={"window": window})
    with pytest.raises(ArgumentError, match="window is damaged"):
        result.listen(audio=noise())


# The pair that is returned --------------------------------------------------------------


def test_a_sound_plays_and_is_saved(demo, tmp_path):
    sound = Sound(tone(500), 16_000)
    samples, rate = sound
    assert rate == 16_000
    assert repr(sound) == "Sound(1.00 s, 16000 Hz)"
    shown = sound._repr_html_()
    assert shown.startswith("<audio controls")
    assert "data:audio/flac;base64," in shown
    assert len(shown) < 60_000
    assert "data:audio/wav;base64," in Sound(4 * samples, rate)._repr_html_()
    for name, step in (("a.wav", 0), ("a.FLAC", 2**-23)):
        sound.save(tmp_path / name)
        again, own = soundfile.read(tmp_path / name, dtype="float32")
        assert own == rate
        assert np.abs(again - samples).max() <= step
    Sound(4 * samples, rate).save(tmp_path / "loud.wav")
    assert np.array_equal(soundfile.read(tmp_path / "loud.wav", dtype="float32")[0], 4 * samples)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [("a.mp3", ArgumentError, ".wav or .flac"), ("a", ArgumentError, ".wav or .flac"),
     ("loud.flac", ArgumentError, "goes up to 1.20, and FLAC ends at 1"),
     ("nowhere/a.wav", FileNotFoundError, "no such folder"), (5, ArgumentTypeError, "a path")],
)  # fmt: skip
def test_sounds_that_cannot_be_saved(name, error, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=re.escape(words)):
        Sound(4 * tone(500), 16_000).save(name)
    assert not list(tmp_path.iterdir())


def test_a_sound_is_taken_where_recordings_are(demo):
    explainer, example = demo
    result = explainer.attribute(example.path, **FEW)
    again = explainer.attribute(result.listen(keep=1), **FEW)
    assert torch.equal(again.spectrogram, result.spectrogram)
    assert "audio" not in again.parameters


def test_of_a_real_contrast(demo):
    explainer, example = demo
    result = explainer.attribute(example.path, contrast=Contrast("five", "nine"), **FEW)
    first = listening.salient_cells(result, None, 0.2, None, 1)
    values = result.contrast_attr().spectrogram_attr
    assert values[first].min() >= values[~first].max()
    assert len(result.listen().samples) == len(result.listen(word="five").samples)
    json.dumps(result.parameters)
