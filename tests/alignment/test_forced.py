"""The forced aligner finds words and phones of real and of synthesised speech."""

import ctypes.util

import numpy as np
import pytest
import soundfile
import soxr

from captum_spes.alignment import force_align
from captum_spes.demo import load_examples
from captum_spes.errors import ArgumentError
from captum_spes.io.audio import load_audio
from recipes.bundled.espeak import Voice, speak

pytest.importorskip("pocketsphinx")


@pytest.fixture(scope="module")
def example():
    return next(example for example in load_examples() if example.name == "test-00121")


def test_times_of_synthesised_speech():
    """Where the synthesiser says that words are spoken, by eight voices."""
    late = []
    for example in load_examples():
        found = force_align(example.path, example.text)
        spoken = [word.label.lower() for word in example.words]
        assert [word.label for word in found.words] == spoken
        pairs = zip(found.words, example.words, strict=True)
        late += [
            abs(a - b) for one, other in pairs for a, b in zip(one[1:], other[1:], strict=True)
        ]
    assert np.median(late) < 0.025
    assert np.quantile(late, 0.9) < 0.09


@pytest.mark.parametrize("name", ["jfk", "so-024020291", "so-022510300", "librivox-0930"])
def test_times_of_real_speech(speech_clips, name):
    clip = speech_clips[name]
    found = force_align(clip["path"], clip["text"])
    expected = [(w["word"], w["start"], w["end"]) for w in clip["words"]]
    assert [word.label for word in found.words] == [word for word, _, _ in expected]
    times = np.array([word[1:] for word in found.words])
    assert np.abs(times - np.array([word[1:] for word in expected])).max() < 0.05
    # Phones fill their words.
    for word in found.words:
        phones = found.phones_of(word)
        assert (phones[0].start, phones[-1].end) == (word.start, word.end)


def test_case_punctuation_and_arrays_do_not_matter(example):
    samples = load_audio(example.path, 16_000)
    assert force_align(samples, example.text.upper() + " ...") == force_align(
        example.path, example.text
    )


def test_own_pronunciations(example):
    said = example.text.replace("grandmother", "granmuvver")
    with pytest.raises(ArgumentError, match="lacks granmuvver; give pronunciations"):
        force_align(example.path, said)
    phones = "G R AE N D M AH DH ER"
    found = force_align(example.path, said, pronunciations={"granmuvver": phones})
    assert [p.label for p in found.phones_of(found.words[1])] == phones.split()


@pytest.mark.skipif(
    ctypes.util.find_library("espeak-ng") is None,
    reason="the eSpeak NG library is not installed (apt-get install espeak-ng)",
)
@pytest.mark.parametrize("year", ["nineteen sixty one", "one thousand nine hundred sixty one"])
def test_of_the_ways_to_speak_a_number_the_one_that_is_heard(year):
    spoken = speak(f"he was born in {year} in the city", Voice("en-us"))
    samples = soxr.resample(spoken.samples, spoken.sampling_rate, 16_000)
    found = force_align(samples, "He was born in 1961, in the city.")
    assert [word.label for word in found.words][4:-3] == year.split()


def test_bad_input(example, audio):
    with pytest.raises(ArgumentError, match="does not fit the recording"):
        force_align(audio, "one two three four five six seven eight nine ten")
    with pytest.raises(ArgumentError, match="no word to align"):
        force_align(example.path, " ... ")
    with pytest.raises(ArgumentError, match="8000 samples per second and the model takes 16000"):
        force_align(audio, "one", 8_000)
    with pytest.raises(ArgumentError, match="NaN"):
        force_align(np.full(16_000, np.nan, np.float32), "one")
    with pytest.raises(FileNotFoundError):
        force_align("missing.wav", "one")


def test_missing_library_is_named(example, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pocketsphinx", None)
    with pytest.raises(ImportError, match=r"pip install 'captum-spes\[alignment\]'"):
        force_align(example.path, example.text)


def test_samples_of_every_kind_are_heard_alike():
    clip = load_examples()[1]
    expected = force_align(clip.path, clip.text)
    pcm, rate = soundfile.read(clip.path, dtype="int16")
    for audio in (pcm, pcm / 32768, pcm[None], (rate, pcm), {"array": pcm, "sampling_rate": rate}):
        assert force_align(audio, clip.text) == expected
    with pytest.raises(ArgumentError, match="one dimension"):
        force_align(np.stack([pcm, pcm], 1), clip.text)
