"""Speech with exact times, and a corpus whose parts share neither sentences nor voices."""

import ctypes.util

import numpy as np
import pytest
import soundfile

from captum_spes.errors import ArgumentError
from recipes.bundled import synthesize
from recipes.bundled.espeak import Voice, speak
from recipes.bundled.synthesize import (
    FEMALE,
    MALE,
    SAMPLING_RATE,
    make_corpus,
    plans,
    read_manifest,
    record,
)

needs_espeak = pytest.mark.skipif(
    ctypes.util.find_library("espeak-ng") is None,
    reason="the eSpeak NG library is not installed (apt-get install espeak-ng)",
)


@needs_espeak
def test_words_and_phones_come_in_order_and_within_each_other():
    text = "There are two boys in the park, and a girl sleeps at the station."
    spoken = speak(text, Voice("en-us+f3"))
    seconds = len(spoken.samples) / spoken.sampling_rate
    assert [word.label for word in spoken.words] == text.replace(",", "").strip(".").split()
    for intervals in (spoken.words, spoken.phones):
        starts = [interval.start for interval in intervals]
        assert starts == sorted(starts)
        assert all(0 <= i.start < i.end <= seconds for i in intervals)
    for word in spoken.words:
        inside = [p for p in spoken.phones if word.start <= p.start and p.end <= word.end]
        assert inside[0].start == word.start
        assert inside[-1].end == word.end
    assert sum(
        len([p for p in spoken.phones if w.start <= p.start < w.end]) for w in spoken.words
    ) == len(spoken.phones)


@needs_espeak
def test_times_are_where_the_sound_is():
    """The hiss of "so" is high, its vowel is low, and the pause behind it is silent."""
    spoken = speak("So, she sees.", Voice("en-us+m3", rate=140))
    rate = spoken.sampling_rate

    def centroid(interval):
        samples = spoken.samples[int(interval.start * rate) : int(interval.end * rate)]
        power = np.abs(np.fft.rfft(samples)) ** 2
        return (power * np.fft.rfftfreq(len(samples), 1 / rate)).sum() / power.sum()

    hiss, vowel = spoken.phones[:2]
    assert hiss.label == "s"
    assert centroid(hiss) > 3000
    assert centroid(vowel) < 1500
    so, she = spoken.words[:2]
    pause = spoken.samples[int((so.end + 0.02) * rate) : int((she.start - 0.02) * rate)]
    loud = spoken.samples[int(so.start * rate) : int(so.end * rate)]
    assert np.abs(pause).max() < 0.05 * np.abs(loud).max()


@needs_espeak
def test_bad_voice():
    with pytest.raises(ArgumentError, match="no voice 'en-nowhere'"):
        speak("hello", Voice("en-nowhere"))


@needs_espeak
def test_nothing_to_say():
    with pytest.raises(ArgumentError):
        speak("...", Voice("en-us"))


def test_parts_share_neither_sentences_nor_voices():
    drawn = {split: list(plans(split, 300, 0)) for split in ("train", "validation", "test")}
    texts = {split: {p.sentence.english for p in part} for split, part in drawn.items()}
    assert all(len(t) == 300 for t in texts.values())
    assert not texts["train"] & texts["test"]
    assert not texts["train"] & texts["validation"]
    variants = {s: {p.voice.name.split("+")[1] for p in part} for s, part in drawn.items()}
    assert not variants["train"] & variants["test"]
    assert not variants["validation"] & (variants["train"] | variants["test"])
    for voices in (MALE, FEMALE):
        assert not set(voices["train"]) & (set(voices["validation"]) | set(voices["test"]))
    assert {p.gender for p in drawn["test"]} == {"male", "female"}


def test_plans_are_drawn_from_the_seed_alone():
    assert list(plans("test", 5, 3)) == list(plans("test", 5, 3))
    assert list(plans("test", 5, 3)) != list(plans("test", 5, 4))
    assert list(plans("test", 9, 3))[:5] == list(plans("test", 5, 3))


@needs_espeak
def test_recording_follows_its_plan():
    plan = next(p for p in plans("train", 30, 0) if p.noise_slope is not None)
    samples, line = record(plan)
    assert samples.dtype == np.float32
    assert np.abs(samples).max() == pytest.approx(plan.peak, rel=1e-5)
    assert line["text"] == plan.sentence.english
    assert len(samples) == pytest.approx(line["seconds"] * SAMPLING_RATE, abs=8)
    first = line["words"][0][1]
    assert first >= plan.silence[0]
    # Before the first word there is noise alone.
    loudness = np.sqrt(np.mean(samples[int(first * SAMPLING_RATE) :] ** 2))
    before = np.sqrt(np.mean(samples[: int(plan.silence[0] * SAMPLING_RATE)] ** 2))
    assert 0 < before < loudness


@needs_espeak
def test_corpus_does_not_depend_on_the_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(synthesize, "SHARD", 2)
    for processes in (1, 2):
        make_corpus(tmp_path / str(processes), {"test": 4}, 0, processes)
    one, two = (read_manifest(tmp_path / str(n) / "test") for n in (1, 2))
    assert one == two
    for line in one:
        first, second = (
            soundfile.read(tmp_path / str(n) / "test" / line["audio"])[0] for n in (1, 2)
        )
        assert np.array_equal(first, second)


@needs_espeak
def test_finished_part_is_left_alone(tmp_path):
    make_corpus(tmp_path, {"test": 2}, 0, 1)
    manifest = tmp_path / "test" / "manifest.jsonl"
    before = manifest.stat().st_mtime_ns
    make_corpus(tmp_path, {"test": 2}, 0, 1)
    assert manifest.stat().st_mtime_ns == before
