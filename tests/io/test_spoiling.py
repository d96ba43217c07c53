"""Noise is as loud as asked for, rooms decay, telephones cut, other rates keep the pitch."""

import numpy as np
import pytest
from scipy import signal

from captum_spes.corpus import (
    active_level,
    add_noise,
    change_rate,
    reverberate,
    telephone_band,
)
from captum_spes.errors import ArgumentError, ArgumentTypeError

RATE = 16_000
TIMES = np.arange(2 * RATE) / RATE


def tone(frequency, times=TIMES):
    return np.sin(2 * np.pi * frequency * times).astype(np.float32)


def decibels(ratio):
    return 10 * np.log10(ratio)


@pytest.fixture
def speech():
    """Half a second of something like speech, loud in low frequencies, between silences."""
    generator = np.random.default_rng(0)
    sound = np.zeros(2 * RATE)
    low = signal.butter(2, 800, fs=RATE, output="sos")
    sound[8_000:16_000] = 0.1 * signal.sosfilt(low, generator.standard_normal(8_000))
    return sound.astype(np.float32)


class TestActiveLevel:
    def test_pauses_do_not_count(self):
        sound = tone(440)
        with_pauses = np.concatenate([np.zeros(5 * RATE), sound, np.zeros(5 * RATE)])
        assert active_level(sound, RATE) == pytest.approx(0.5, rel=1e-3)
        assert active_level(with_pauses, RATE) == pytest.approx(0.5, rel=1e-3)

    def test_what_is_a_pause_depends_on_the_speech(self):
        """The margin of ITU-T P.56: 15.9 dB below the level, which both together have 3 dB below
        that of the louder."""
        for below, counts in ((18, True), (20, False)):
            quiet = tone(440) * 10 ** (-below / 20)
            level = active_level(np.concatenate([tone(440), quiet]), RATE)
            both = 0.25 * (1 + 10 ** (-below / 10))
            assert level == pytest.approx(both if counts else 0.5, rel=0.01)

    def test_loudness_and_rate_do_not_matter(self, speech):
        level = active_level(speech, RATE)
        assert active_level(10 * speech, RATE) == pytest.approx(100 * level, rel=1e-5)
        assert active_level(speech[::2], RATE // 2) == pytest.approx(level, rel=0.1)


class TestNoise:
    @pytest.mark.parametrize("kind", ["white", "speech"])
    @pytest.mark.parametrize("ratio", [20, 0, -5])
    def test_has_the_level_that_is_asked_for(self, speech, kind, ratio):
        noise = add_noise(speech, RATE, ratio, kind=kind).astype(float) - speech
        found = decibels(active_level(speech, RATE) / np.mean(noise**2))
        assert found == pytest.approx(ratio, abs=0.01)
        # It does not stop where nobody speaks.
        quarters = [np.mean(part**2) for part in np.split(noise, 4)]
        assert max(quarters) < 2 * min(quarters)

    def test_white_noise_is_white_and_speech_noise_is_not(self, speech):
        bands = {}
        for kind in ("white", "speech"):
            noise = add_noise(speech, RATE, 0, kind=kind) - speech
            frequencies, powers = signal.welch(noise, RATE, nperseg=512)
            low, high = (powers[(frequencies > a) & (frequencies < b)].mean()
                         for a, b in ((100, 600), (3_000, 7_000)))  # fmt: skip
            bands[kind] = decibels(low / high)
        assert abs(bands["white"]) < 1
        frequencies, powers = signal.welch(speech, RATE, nperseg=512)
        own = decibels(
            powers[(frequencies > 100) & (frequencies < 600)].mean()
            / powers[(frequencies > 3_000) & (frequencies < 7_000)].mean()
        )
        assert own > 15
        assert bands["speech"] == pytest.approx(own, abs=3)

    def test_the_seed_alone_decides(self, speech):
        np.random.seed(3)  # noqa: NPY002
        first = add_noise(speech, RATE, 10, seed=1)
        assert np.array_equal(first, add_noise(speech, RATE, 10, seed=1))
        assert not np.array_equal(first, add_noise(speech, RATE, 10, seed=2))
        assert first.dtype == np.float32
        assert first.shape == speech.shape


class TestRoom:
    def response(self, decay, **options):
        click = np.zeros(2 * RATE)
        click[0] = 1
        return reverberate(click, RATE, decay, **options).astype(float)

    @pytest.mark.parametrize("decay", [0.3, 0.8])
    def test_falls_by_60_decibels_in_the_time_that_is_asked_for(self, decay):
        left = np.cumsum(self.response(decay)[:0:-1] ** 2)[::-1]  # Schroeder's integral
        fallen = decibels(left / left[0])
        at = [np.flatnonzero(fallen <= level)[0] / RATE for level in (-5, -25)]
        assert 3 * (at[1] - at[0]) == pytest.approx(decay, rel=0.1)

    @pytest.mark.parametrize("ratio", [0, 6, -6])
    def test_direct_sound_stays_and_the_room_is_as_loud_as_asked_for(self, ratio):
        found = self.response(0.5, direct_to_reverberant=ratio)
        assert found[0] == pytest.approx(1, abs=1e-6)
        assert not found[1:39].round(6).any()  # no wall is nearer than 2.5 ms
        assert -decibels(np.sum(found[1:] ** 2)) == pytest.approx(ratio, abs=0.01)

    def test_words_stay_where_they_are(self, speech):
        found = reverberate(speech, RATE, 0.5)
        assert len(found) == len(speech)
        before, behind = found[:8_000], found[16_000:20_000]
        assert np.abs(before).max() < 1e-5 < 1e-2 < np.abs(behind).max()

    def test_the_seed_decides(self, speech):
        one, two = (reverberate(speech, RATE, 0.5, seed=seed) for seed in (0, 1))
        assert np.array_equal(one, reverberate(speech, RATE, 0.5, seed=0))
        assert not np.array_equal(one, two)


class TestTelephone:
    @pytest.mark.parametrize(
        ("frequency", "passes"),
        [(100, 0), (600, 1), (1_000, 1), (2_000, 1), (4_500, 0), (7_000, 0)],
    )
    @pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
    def test_band(self, frequency, passes, rate):
        if frequency > rate / 2:
            return
        sound = tone(frequency, np.arange(rate) / rate)
        found = telephone_band(sound, rate)
        assert len(found) == rate
        middle = slice(rate // 4, 3 * rate // 4)
        # As loud and at the same time, or gone.
        assert np.abs(found - passes * sound)[middle].max() < 0.03


class TestRate:
    @pytest.mark.parametrize("rate", [0.5, 0.7, 1.4, 2])
    def test_times_scale(self, rate):
        generator = np.random.default_rng(0)
        sound, starts = np.zeros(3 * RATE), np.array([0.4, 1.0, 1.9])
        for start in starts:
            sound[int(start * RATE) :][:2_400] = generator.standard_normal(2_400)
        found = change_rate(sound, RATE, rate)
        assert len(found) == round(3 * RATE / rate)
        times = np.arange(len(found)) / RATE
        for start in starts:
            near = np.abs(times - (start + 0.075) / rate) < 0.25 / rate
            middle = np.average(times[near], weights=found[near] ** 2)
            assert middle == pytest.approx((start + 0.075) / rate, abs=0.01)

    @pytest.mark.parametrize("rate", [0.7, 1.4])
    def test_pitch_stays(self, rate):
        found = change_rate(tone(500), RATE, rate)
        spectrum = np.abs(np.fft.rfft(found))
        assert np.argmax(spectrum) * RATE / len(found) == pytest.approx(500, abs=10)


class TestRefused:
    @pytest.mark.parametrize(
        "spoil",
        [
            lambda sound: add_noise(sound, RATE, 10),
            lambda sound: reverberate(sound, RATE, 0.5),
            lambda sound: telephone_band(sound, RATE),
            lambda sound: change_rate(sound, RATE, 2),
            lambda sound: active_level(sound, RATE),
        ],
    )
    def test_recordings_that_are_none(self, spoil):
        for sound, told in (
            (np.zeros(100), "silent"),
            (np.zeros(0), "one channel"),
            (np.ones((2, 100)), "one channel"),
            (np.full(100, np.nan), "finite"),
        ):
            with pytest.raises(ArgumentError, match=told):
                spoil(sound)

    @pytest.mark.parametrize(
        ("spoil", "told"),
        [
            (lambda s: add_noise(s, RATE, np.inf), "signal_to_noise must be finite"),
            (lambda s: add_noise(s, RATE, 3, kind="pink"), "white, speech"),
            (lambda s: add_noise(s, RATE, 3, seed=-1), "seed"),
            (lambda s: add_noise(s, 0, 3), "sampling_rate"),
            (lambda s: reverberate(s, RATE, 0), "decay_seconds must be positive"),
            (lambda s: reverberate(s, RATE, 0.001), "longer than an echo"),
            (lambda s: reverberate(s, RATE, 1, direct_to_reverberant=np.nan), "must be finite"),
            (lambda s: telephone_band(s, 4_000), "sampling_rate must not be below"),
            (lambda s: change_rate(s, RATE, 0.1), "between 0.25 and 4"),
            (lambda s: change_rate(s, RATE, 5), "between 0.25 and 4"),
        ],
    )
    def test_arguments_out_of_range(self, spoil, told):
        with pytest.raises(ArgumentError, match=told):
            spoil(tone(440))

    def test_a_ratio_is_a_number(self):
        with pytest.raises(ArgumentTypeError, match="signal_to_noise must be a number"):
            add_noise(tone(440), RATE, "loud")

    def test_a_library_that_is_missing_is_named(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "librosa", None)
        with pytest.raises(ImportError, match=r"captum-spes\[conditions\]"):
            change_rate(tone(440), RATE, 2)
