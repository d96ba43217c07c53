"""What removed cells become when a map is judged, whatever the explanation put there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.errors import (
    ArgumentError,
    ArgumentTypeError,
    real_number,
    several,
    whole_number,
)
from captum_spes.metrics.noise_in_place import heard_behind
from captum_spes.speech.inputs import is_features, read_speech, removed_value
from captum_spes.speech.models import SpeechInput

# From which cells are removed, bool (steps, time, freq), to what they become, of a shape that
# broadcasts to it.
Fill: TypeAlias = Callable[[Tensor], Tensor]


@runtime_checkable
class Removal(Protocol):
    r"""
    What takes the place of removed cells: any function of an utterance.

    A map is usually judged with the value that the explanation itself put in the place of what it
    removed, which favours methods that remove in the same way. A removal of one's own choice does
    not know the explanation. A class may also have ``among(recordings)``, which returns the removal
    to use with the recordings of all examples.

    Examples::

        >>> def halved(adapter, speech, audio):
        ...     '''Half of each value.'''
        ...     return lambda is_removed: speech.spectrogram / 2
        >>> given = [("speech.flac", None, result)]
        >>> curve = deletion_curve(explainer, given, 0.5, metric="kl", removal=halved)
    """

    def __call__(self, adapter: Any, speech: SpeechInput, audio: Any) -> Fill:
        """Look at an utterance.

        Args:
            adapter (SpeechModel): The model's adapter.
            speech (SpeechInput): The utterance as the model sees it.
            audio (path, array, ...): The same as it was given.

        Returns:
            *Callable* from which cells are removed, bool ``(steps, time, freq)``, to values that
            broadcast to that shape, in the units of ``speech.spectrogram``.
        """
        ...


@dataclass(frozen=True)
class MeanValue:
    r"""
    Each mel bin's mean over the utterance, as ``baselines="mean"``.

    Examples::

        >>> adapter = explainer.adapter
        >>> speech = adapter.from_audio(np.ones(9_600, np.float32))
        >>> MeanValue()(adapter, speech, None)(torch.ones(1, *speech.spectrogram.shape)).shape
        torch.Size([60, 80])
    """

    def __call__(self, adapter: Any, speech: SpeechInput, audio: Any) -> Fill:
        """See :class:`Removal`."""
        value = removed_value(adapter, speech, "mean")
        return lambda is_removed: value


@dataclass(frozen=True)
class Silence:
    r"""
    Silence as the model's family has it, as ``baselines="silence"``: no sound at all where samples
    are read, the floor of Whisper's features, 80 dB below the loudest cell, and each bin's least
    value where features have no floor.

    Examples::

        >>> given = [("speech.flac", None, result)]
        >>> curve = deletion_curve(explainer, given, 0.5, metric="kl", removal=Silence())
    """

    def __call__(self, adapter: Any, speech: SpeechInput, audio: Any) -> Fill:
        """See :class:`Removal`."""
        value = removed_value(adapter, speech, "silence")
        return lambda is_removed: value


@dataclass(frozen=True)
class Noise:
    r"""
    White noise at a fixed level, as the model would hear it in this recording.

    The noise is put behind the recording and both are turned into features together, so that
    features that are normalised by the recording show it in the recording's scale. It is the same
    noise for all maps.

    Args:

        level (float, optional): Decibels of its root mean square relative to the recording's.
                    Default: -20.0
        seed (int, optional): Of the noise.
                    Default: 0

    Raises:
        ArgumentError: the level is not finite or the seed below 0; when it is used, what is given
            are features, whose loudness nobody knows.

    Examples::

        >>> given = [("speech.flac", None, result)]
        >>> quiet, loud = (
        ...     deletion_curve(explainer, given, 0.5, metric="kl", removal=Noise(level)).auc
        ...     for level in (-40, 0)
        ... )
    """

    level: float = -20.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not np.isfinite(real_number("level", self.level)):
            raise ArgumentError(f"level must be finite, in decibels, got {self.level!r}.")
        whole_number("seed", self.seed, 0)

    def __call__(self, adapter: Any, speech: SpeechInput, audio: Any) -> Fill:
        """See :class:`Removal`."""
        if is_features(adapter, audio):
            raise ArgumentError(
                "noise at a level needs the recording, and features are given: give a file or "
                "samples, or another removal."
            )
        value = heard_behind(adapter, speech, audio, self._noise)
        return lambda is_removed: value

    def _noise(self, samples: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        loudness = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
        noise = np.random.default_rng(self.seed).standard_normal(count)
        return (noise * loudness * 10 ** (self.level / 20)).astype(np.float32)


@dataclass(frozen=True)
class Neighbours:
    r"""
    A smooth continuation of the cells that are kept: each removed cell is the mean of its
    neighbours in time and in frequency, removed ones among them.

    Nothing foreign is put in, and no edge shows where something was removed. It is the linear
    imputation of arXiv 2202.00449 with the four nearest neighbours and without its noise, solved
    exactly (``scipy.sparse.linalg.spsolve``). Linear interpolation in triangles
    (``scipy.interpolate.griddata``) took longer, left corners empty and was farther from a known
    picture, and so was the nearest kept cell. Where nothing is kept, cells become each bin's mean.

    Examples::

        >>> given = [("speech.flac", None, result)]
        >>> curve = deletion_curve(explainer, given, 0.5, metric="kl", removal="neighbours")
    """

    def __call__(self, adapter: Any, speech: SpeechInput, audio: Any) -> Fill:
        """See :class:`Removal`."""
        mean = removed_value(adapter, speech, "mean")
        grid = _differences(*speech.spectrogram.shape)

        def fill(is_removed: Tensor) -> Tensor:
            return torch.stack(
                [mean if bool(own.all()) else _continued(speech, own, grid) for own in is_removed]
            )

        return fill


@dataclass(frozen=True, eq=False)
class OtherRecording:
    r"""
    The same cells of another recording, repeated or cut to the same length: sound that the model
    knows, and that says something else.

    Args:

        recordings (sequence, optional): What one is drawn from: files, arrays or features.
                    Default: (), the other examples
        seed (int, optional): Of the draw, which depends on the utterance, too, and not on its place
                    among the examples. The utterance itself is never drawn.
                    Default: 0

    Raises:
        ArgumentError: the seed is below 0; when it is used, there is no other recording.

    Examples::

        >>> other = OtherRecording([np.sin(np.arange(16_000) / 4).astype(np.float32)])
        >>> given = [("speech.flac", None, result)]
        >>> curve = deletion_curve(explainer, given, 0.5, metric="kl", removal=other)
    """

    recordings: Sequence[Any] = field(default=(), repr=False)
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "recordings", tuple(several("recordings", self.recordings, "recordings"))
        )
        whole_number("seed", self.seed, 0)

    def among(self, recordings: Sequence[Any]) -> OtherRecording:
        """The one to use with the recordings of all examples, unless it has its own."""
        return self if self.recordings else replace(self, recordings=tuple(recordings))

    def __call__(self, adapter: Any, speech: SpeechInput, audio: Any) -> Fill:
        """See :class:`Removal`."""
        own = speech.spectrogram
        digest = hashlib.blake2b(own.contiguous().numpy().tobytes(), digest_size=8).digest()
        generator = np.random.default_rng([self.seed, int.from_bytes(digest)])
        for index in generator.permutation(len(self.recordings)):
            other = read_speech(adapter, self.recordings[index], adapter.sampling_rate).spectrogram
            if not torch.equal(other, own):
                value = tiled(other, len(own))
                return lambda is_removed: value
        raise ArgumentError(
            "cells of another recording need one: give several examples, or "
            "removal=OtherRecording([...])."
        )


def tiled(frames: Tensor, count: int) -> Tensor:
    """Frames repeated, or cut, to a number of them."""
    return frames[torch.arange(count) % len(frames)]


# Names of removals, in Python and on the command line.
REMOVALS: dict[str, Removal] = {
    "mean": MeanValue(),
    "silence": Silence(),
    "noise": Noise(),
    "neighbours": Neighbours(),
    "other": OtherRecording(),
}


def as_removal(removal: object) -> Removal:
    """Return a removal by name, or as it is; raise where it is neither."""
    if isinstance(removal, str):
        if removal not in REMOVALS:
            raise ArgumentError(
                f"removal must be one of {', '.join(REMOVALS)}, or an object such as Noise(-10), "
                f"got {removal!r}."
            )
        return REMOVALS[removal]
    if isinstance(removal, type) or not isinstance(removal, Removal):
        raise ArgumentTypeError(
            f"removal must be one of {', '.join(REMOVALS)}, an object such as Noise(-10), or a "
            f"function (adapter, speech, audio) -> fill; got {removal!r}."
        )
    return removal


def with_examples(removal: object, recordings: Sequence[Any]) -> Removal | None:
    """A removal, by name or as it is, that knows the recordings of all examples; None for none."""
    if removal is None:
        return None
    own = as_removal(removal)
    among = getattr(own, "among", None)
    return own if among is None else as_removal(among(recordings))


def filled(fill: Tensor | Fill, is_removed: Tensor, spectrogram: Tensor) -> Tensor:
    """Copies of a spectrogram, ``(steps, time, freq)``, with what takes the place of the removed
    cells: values that broadcast to it, or a function of which cells are removed."""
    values = fill if isinstance(fill, Tensor) else fill(is_removed)
    try:
        found = torch.where(is_removed, values.to(spectrogram), spectrogram)
    except (RuntimeError, AttributeError) as error:
        raise _no_fill(values, is_removed) from error
    if found.shape != is_removed.shape:
        raise _no_fill(values, is_removed)
    if not isinstance(fill, Tensor) and not bool(torch.isfinite(found).all()):
        raise ArgumentError("the removal gave values that are not finite.")
    return found


def _no_fill(values: object, is_removed: Tensor) -> ArgumentError:
    found = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
    return ArgumentError(
        "a removal must give a Tensor that broadcasts to (steps, time, freq) = "
        f"{tuple(is_removed.shape)}, got {found}."
    )


# Continuing what is kept -------------------------------------------------------------------


def _differences(n_frames: int, n_bins: int) -> Any:
    """Sparse ``(cells, cells)``: how many neighbours each cell has, minus these neighbours."""
    from scipy.sparse import diags_array, eye_array, kron

    def along(length: int) -> Any:
        if length == 1:
            return diags_array([0.0])
        own = np.full(length, 2.0)
        own[[0, -1]] = 1.0
        other = np.full(length - 1, -1.0)
        return diags_array([other, own, other], offsets=[-1, 0, 1])

    in_time = kron(along(n_frames), eye_array(n_bins))
    return (in_time + kron(eye_array(n_frames), along(n_bins))).tocsr()


def _continued(speech: SpeechInput, is_removed: Tensor, differences: Any) -> Tensor:
    from scipy.sparse.linalg import spsolve

    values = speech.spectrogram.double().flatten().numpy()
    gone = is_removed.flatten().numpy()
    if not gone.any():
        return speech.spectrogram
    of_gone = differences[gone]
    found = values.copy()
    found[gone] = spsolve(of_gone[:, gone].tocsc(), -of_gone[:, ~gone] @ values[~gone])
    return torch.from_numpy(found).to(speech.spectrogram).reshape(is_removed.shape)
