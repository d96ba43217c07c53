"""Recordings made worse on purpose: noise, a room, a telephone, another speaking rate."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from captum_spes.errors import (
    ArgumentError,
    optional_library,
    positive_number,
    real_number,
    whole_number,
)

NOISES = ("white", "speech")
# Beyond, what comes out of a phase vocoder is no speech.
SLOWEST, FASTEST = 0.25, 4.0
# Of a telephone line: its band, and what its samples can hold.
_TELEPHONE_BAND, _TELEPHONE_RATE = (300.0, 3400.0), 8_000
_FRAME_SECONDS = 0.02
# ITU-T P.56: speech is what is louder than its own level less this much.
_MARGIN_DB = 15.9
# Of spectra and of the phase vocoder.
_WINDOW_SECONDS = 0.032
# Between the direct sound and the first that a wall sends back.
_FIRST_ECHO_SECONDS = 0.0025

_Samples = NDArray[np.float32]


def active_level(samples: ArrayLike, sampling_rate: int) -> float:
    r"""
    How loud somebody speaks while they speak, whatever the pauses: the mean power of the frames of
    20 ms that are louder than the level itself less 15.9 dB, as in ITU-T P.56.

    Args:

        samples (array of shape (n,)): The recording.
        sampling_rate (int): Samples per second.

    Returns:
        *float*: mean square of the samples of these frames.

    Raises:
        ArgumentError: there is no sample, one is not finite, or all are silent.

    Examples::

        >>> tone = np.sin(np.arange(16_000))
        >>> with_pause = np.concatenate([tone, np.zeros(16_000)])
        >>> round(active_level(with_pause, 16_000), 2)
        0.5
    """
    sound, rate = _checked(samples, sampling_rate)
    size = max(1, round(_FRAME_SECONDS * rate))
    # The last frame is shorter, and counts by what it holds.
    starts = np.arange(0, len(sound), size)
    sizes = np.diff(np.append(starts, len(sound)))
    powers = np.add.reduceat(sound.astype(np.float64) ** 2, starts) / sizes
    is_active = np.ones(len(powers), dtype=bool)
    while True:
        level = float(np.average(powers[is_active], weights=sizes[is_active]))
        louder = powers >= level * 10 ** (-_MARGIN_DB / 10)
        if (louder == is_active).all():
            return level
        is_active = louder


def add_noise(
    samples: ArrayLike,
    sampling_rate: int,
    signal_to_noise: float,
    *,
    kind: str = "white",
    seed: int = 0,
) -> _Samples:
    r"""
    Add stationary noise.

    Args:

        samples (array of shape (n,)): The recording.
        sampling_rate (int): Samples per second.
        signal_to_noise (float): Decibels by which speech, while it is spoken
                    (:func:`active_level`), is louder than the noise.
        kind (str, optional): "white", or "speech": noise with the recording's own long-term
                    spectrum, which covers every band alike.
                    Default: "white"
        seed (int, optional): Of the noise.
                    Default: 0

    Returns:
        *ndarray* of shape ``(n,)``, float32; samples can lie above full scale.

    Raises:
        ArgumentError: the recording is silent or an argument is out of range.

    Examples::

        >>> tone = np.sin(np.arange(16_000))
        >>> noise = add_noise(tone, 16_000, 20) - tone
        >>> bool(abs(np.mean(noise**2) - 0.005) < 1e-4)
        True
    """
    sound, rate = _checked(samples, sampling_rate)
    decibels = real_number("signal_to_noise", signal_to_noise)
    if not math.isfinite(decibels):
        raise ArgumentError(f"signal_to_noise must be finite, got {signal_to_noise!r}.")
    if kind not in NOISES:
        raise ArgumentError(f"kind must be one of {', '.join(NOISES)}, got {kind!r}.")
    generator = np.random.default_rng(whole_number("seed", seed, 0))
    noise = generator.standard_normal(len(sound))
    if kind == "speech":
        noise = _shaped_as(sound, rate, noise)
    level = active_level(sound, rate) * 10 ** (-decibels / 10)
    noise *= np.sqrt(level / np.mean(noise**2))
    return (sound + noise).astype(np.float32)


def reverberate(
    samples: ArrayLike,
    sampling_rate: int,
    decay_seconds: float,
    *,
    direct_to_reverberant: float = 0.0,
    seed: int = 0,
) -> _Samples:
    r"""
    Put the speaker into a room, simulated by noise that decays exponentially behind the direct
    sound. The direct sound stays where it was and as loud, so that times of words stay right; what
    the room adds behind the end is cut off.

    Args:

        samples (array of shape (n,)): The recording.
        sampling_rate (int): Samples per second.
        decay_seconds (float): Time in which the room's sound falls by 60 dB, above 0 (about 0.4 in
                    a living room, 1 in a lecture hall).
        direct_to_reverberant (float, optional): Decibels by which the direct sound has more energy
                    than all that the room sends back.
                    Default: 0, as at the distance where both are alike
        seed (int, optional): Of the room.
                    Default: 0

    Returns:
        *ndarray* of shape ``(n,)``, float32.

    Raises:
        ArgumentError: the recording is silent or an argument is out of range.

    Examples::

        >>> click = np.eye(1, 16_000)[0]
        >>> room = reverberate(click, 16_000, 0.5)
        >>> bool(room[0] == 1 and 0.9 < np.sum(room[1:] ** 2) < 1.1)
        True
    """
    sound, rate = _checked(samples, sampling_rate)
    decay = positive_number("decay_seconds", decay_seconds)
    ratio = real_number("direct_to_reverberant", direct_to_reverberant)
    if not math.isfinite(ratio):
        raise ArgumentError(f"direct_to_reverberant must be finite, got {ratio!r}.")
    generator = np.random.default_rng(whole_number("seed", seed, 0))
    times = np.arange(max(2, round(decay * rate))) / rate
    response = generator.standard_normal(len(times)) * 10 ** (-3 * times / decay)
    response[times < _FIRST_ECHO_SECONDS] = 0
    power = np.sum(response**2)
    if not power:
        raise ArgumentError(f"decay_seconds must be longer than an echo takes, got {decay!r}.")
    response *= np.sqrt(10 ** (-ratio / 10) / power)
    response[0] = 1
    return _fitted(scipy.signal.fftconvolve(sound, response), len(sound))


def telephone_band(samples: ArrayLike, sampling_rate: int) -> _Samples:
    r"""
    Keep what a telephone line passes on: 300 to 3,400 Hz, at 8,000 samples per second, converted
    back. Nothing moves in time.

    Args:

        samples (array of shape (n,)): The recording.
        sampling_rate (int): Samples per second, at least 8,000.

    Returns:
        *ndarray* of shape ``(n,)``, float32.

    Raises:
        ArgumentError: the recording is silent or an argument is out of range.

    Examples::

        >>> times = np.arange(16_000) / 16_000
        >>> low, middle = (np.sin(2 * np.pi * f * times) for f in (100, 1000))
        >>> passed = telephone_band(low + middle, 16_000)
        >>> bool(abs(passed - middle)[1000:-1000].max() < 0.01)
        True
    """
    sound, rate = _checked(samples, sampling_rate)
    if rate < _TELEPHONE_RATE:
        raise ArgumentError(
            f"a telephone passes on {_TELEPHONE_RATE} samples per second: sampling_rate must not "
            f"be below, got {rate}."
        )
    # Forwards and backwards, which delays nothing.
    band = scipy.signal.butter(4, _TELEPHONE_BAND, "bandpass", fs=rate, output="sos")
    passed = scipy.signal.sosfiltfilt(band, sound, padlen=min(len(sound) - 1, rate // 10))
    ratio = Fraction(_TELEPHONE_RATE, rate)
    narrow = scipy.signal.resample_poly(passed, ratio.numerator, ratio.denominator)
    back = scipy.signal.resample_poly(narrow, ratio.denominator, ratio.numerator)
    return _fitted(back, len(sound))


def change_rate(samples: ArrayLike, sampling_rate: int, rate: float) -> _Samples:
    r"""
    Let somebody speak faster or slower at the same pitch, by librosa's phase vocoder in windows of
    about 32 ms. What happened at t seconds happens at t / rate, give or take half a window.

    Args:

        samples (array of shape (n,)): The recording.
        sampling_rate (int): Samples per second.
        rate (float): How many times as fast, from 0.25 to 4.

    Returns:
        *ndarray* of shape ``(round(n / rate),)``, float32.

    Raises:
        ArgumentError: the recording is silent or an argument is out of range.
        ImportError: librosa is not installed.

    Examples::

        >>> len(change_rate(np.sin(np.arange(16_000)), 16_000, 1.25))
        12800
    """
    sound, per_second = _checked(samples, sampling_rate)
    times_as_fast = positive_number("rate", rate)
    if not SLOWEST <= times_as_fast <= FASTEST:
        raise ArgumentError(f"rate must lie between {SLOWEST:g} and {FASTEST:g}, got {rate!r}.")
    librosa: Any = optional_library("librosa", "changing the speaking rate", "conditions")
    # A power of two, for speed; longer windows blur where sounds begin.
    window = 2 ** max(4, round(math.log2(_WINDOW_SECONDS * per_second)))
    # As librosa.effects.time_stretch does it, which in librosa 1.0 warns of itself.
    size = max(1, round(len(sound) / times_as_fast))
    # On some systems its compiled code warns of an invalid cast: what comes out is tested.
    with np.errstate(invalid="ignore"):
        slowed = librosa.phase_vocoder(librosa.stft(sound, n_fft=window), rate=times_as_fast)
    return _fitted(librosa.istft(slowed, n_fft=window, length=size), size)


def _shaped_as(
    sound: _Samples, sampling_rate: int, noise: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Noise with the long-term spectrum of a sound."""
    size = min(len(sound), max(2, round(_WINDOW_SECONDS * sampling_rate)))
    known, powers = scipy.signal.welch(sound, sampling_rate, nperseg=size)
    frequencies = np.fft.rfftfreq(len(noise), 1 / sampling_rate)
    factors = np.sqrt(np.interp(frequencies, known, powers))
    shaped: NDArray[np.float64] = np.fft.irfft(np.fft.rfft(noise) * factors, len(noise))
    return shaped


def _fitted(sound: NDArray[Any], size: int) -> _Samples:
    """Cut, or filled up with silence: filters round lengths."""
    return np.pad(sound[:size], (0, max(0, size - len(sound)))).astype(np.float32)


def _checked(samples: ArrayLike, sampling_rate: int) -> tuple[_Samples, int]:
    sound = np.asarray(samples, dtype=np.float32)
    rate = whole_number("sampling_rate", sampling_rate, 1)
    if sound.ndim != 1 or not len(sound):
        raise ArgumentError(f"samples must be one channel, (n,), got shape {sound.shape}.")
    if not np.isfinite(sound).all():
        raise ArgumentError("samples must be finite.")
    if not sound.any():
        raise ArgumentError("the recording is silent: nobody speaks in it.")
    return sound, rate
