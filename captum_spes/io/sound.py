"""Samples that can be played and saved."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from captum_spes.errors import ArgumentError, instance_of, optional_library
from captum_spes.io.files import whole_file

# What can be saved, as libsndfile names it and its samples.
_FORMATS = {".wav": ("WAV", "FLOAT"), ".flac": ("FLAC", "PCM_24")}


class Sound(NamedTuple):
    r"""
    Samples and their rate, a pair that notebooks play and that is taken wherever a recording is.

    Attributes:
        samples: ``(n,)``, float32.
        sampling_rate: samples per second.

    Examples::

        >>> sound = Sound(np.zeros(8000, dtype=np.float32), 16_000)
        >>> sound
        Sound(0.50 s, 16000 Hz)
        >>> sound.save("silence.wav")
        >>> samples, sampling_rate = sound
    """

    samples: NDArray[np.float32]
    sampling_rate: int

    def __repr__(self) -> str:
        return f"Sound({self.seconds:.2f} s, {self.sampling_rate} Hz)"

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.samples) / self.sampling_rate

    def save(self, path: str | os.PathLike[str]) -> None:
        r"""
        Write a file at the levels that the samples have.

        Args:

            path (str or path): The file: ``.wav``, of 32-bit floats, or ``.flac``, of 24 bits.

        Raises:
            ArgumentError: the name ends otherwise, or samples are above full scale, which FLAC
                cannot hold.
            OSError: the file cannot be written.
            ImportError: soundfile is not installed.

        Examples::

            >>> Sound(np.zeros(8000, dtype=np.float32), 16_000).save("silence.flac")
        """
        instance_of("path", path, (str, os.PathLike), "a path")
        file_format, subtype = self._format(Path(path))
        content = self._content(file_format, subtype)
        if not Path(path).parent.is_dir():
            raise FileNotFoundError(f"no such folder to save into: {Path(path).parent}")
        with whole_file(Path(path)) as file:
            file.write(content)

    def _format(self, path: Path) -> tuple[str, str]:
        found = _FORMATS.get(path.suffix.lower())
        if found is None:
            raise ArgumentError(f"a sound is saved as .wav or .flac, got {str(path)!r}.")
        if found[0] == "FLAC" and self._peak > 1:
            raise ArgumentError(
                f"the sound goes up to {self._peak:.2f}, and FLAC ends at 1: save it as .wav."
            )
        return found

    @property
    def _peak(self) -> float:
        return float(np.abs(self.samples).max(initial=0.0))

    def _content(self, file_format: str, subtype: str) -> bytes:
        soundfile: Any = optional_library("soundfile", "saving a sound", "transformers")
        held = io.BytesIO()
        soundfile.write(held, self.samples, self.sampling_rate, subtype, format=file_format)
        return held.getvalue()

    def _repr_html_(self) -> str:
        """A player with the sound inside, for notebooks."""
        # Small, but for what is above full scale.
        kind = ("WAV", "FLOAT") if self._peak > 1 else ("FLAC", "PCM_16")
        encoded = base64.b64encode(self._content(*kind)).decode("ascii")
        return (
            f'<audio controls src="data:audio/{kind[0].lower()};base64,{encoded}">'
            f"{self.seconds:.2f} s</audio>"
        )
