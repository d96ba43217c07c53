"""The exceptions for unusable arguments, and the error for a library that is missing.

Captum rejects a bad argument with ``AssertionError``, the rest of Python with
``ValueError`` or ``TypeError``. These classes are both, so that code written for
either habit catches them, and unlike ``assert`` they survive ``python -O``.
"""

import math
import sys
import warnings
from collections.abc import Iterable, Mapping
from importlib import import_module
from numbers import Integral, Real
from typing import Any

# Modules that can stand between the user's line and a warning: ours, and those that wrap ours.
_BETWEEN = ("captum_spes.", "captum.", "torch.", "matplotlib.", "contextlib")


class ArgumentError(ValueError, AssertionError):
    """An argument has a value that cannot be used; the message says what is expected."""


class ArgumentTypeError(TypeError, AssertionError):
    """An argument, or what a user's function returned, has the wrong type."""


def whole_number(name: str, value: object, lowest: int) -> int:
    """Return ``value`` as an int of at least ``lowest``, NumPy's integers included."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < lowest:
        raise ArgumentError(f"{name} must be an int of at least {lowest}, got {value!r}.")
    return int(value)


def open_share(name: str, value: object) -> float:
    """Return ``value`` as a float strictly between 0 and 1, NumPy's numbers included."""
    number = real_number(name, value)
    if not 0 < number < 1:
        raise ArgumentError(f"{name} must lie strictly between 0 and 1, got {value!r}.")
    return number


def positive_number(name: str, value: object) -> float:
    """Return ``value`` as a finite float above 0."""
    number = real_number(name, value)
    if not 0 < number < math.inf:
        raise ArgumentError(f"{name} must be positive and finite, got {value!r}.")
    return number


def real_number(name: str, value: object) -> float:
    """Return ``value`` as a float; truth values and texts do not count as numbers."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ArgumentTypeError(f"{name} must be a number, got {value!r}.")
    return float(value)


def listed(value: Any) -> list[Any]:
    """Return one value or several as a list; texts, bytes and dictionaries are one value, and so is
    an array or Tensor without a dimension."""
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | bytearray | Mapping):
        return [value]
    if getattr(value, "ndim", 1) == 0:
        return [value]
    return list(value.tolist() if hasattr(value, "tolist") else value)


def warn_caller(message: str) -> None:
    """Warn at the user's line that led here, not at a line of this package or a library."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_BETWEEN):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def optional_library(name: str, purpose: str, extra: str) -> Any:
    """Import a module that only some users need, or raise an ImportError that says how to install
    it: ``purpose`` is what needs it, ``extra`` the extra of this package that installs it."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ImportError(
            f"{purpose} needs {package}: pip install 'captum-spes[{extra}]'"
        ) from error
