"""The former place of :mod:`captum_spes.io.audio`: its names import with a warning."""

from typing import Any
from warnings import warn

from captum_spes.io import audio as _audio


def __getattr__(name: str) -> Any:
    found = getattr(_audio, name)
    warn(f"{__name__}.{name} is {_audio.__name__}.{name} now.", DeprecationWarning, stacklevel=2)
    return found
