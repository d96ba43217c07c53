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

import numpy as np

# Modules that can stand between the user's line and a warning: ours, and those that wrap ours.
_BETWEEN = ("captum_spes.", "captum.", "torch.", "matplotlib.", "contextlib")

_LONGEST = 100  # characters of an argument that a message repeats


class ArgumentError(ValueError, AssertionError):
    """An argument has a value that cannot be used; the message says what is expected."""


class ArgumentTypeError(TypeError, AssertionError):
    """An argument, or what a user's function returned, has the wrong type."""


def shown(value: object) -> str:
    """Return what a message says an argument was: its repr, in one line and cut where it is long,
    as that of a model's settings or of an array is."""
    line = " ".join(repr(value).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}... (a {type(value).__name__})"


def whole_number(name: str, value: object, lowest: int) -> int:
    """Return ``value`` as an int of at least ``lowest``, NumPy's integers included."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < lowest:
        raise ArgumentError(f"{name} must be an int of at least {lowest}, got {shown(value)}.")
    return int(value)


def open_share(name: str, value: object) -> float:
    """Return ``value`` as a float strictly between 0 and 1, NumPy's numbers included."""
    number = real_number(name, value)
    if not 0 < number < 1:
        raise ArgumentError(f"{name} must lie strictly between 0 and 1, got {shown(value)}.")
    return number


def positive_number(name: str, value: object) -> float:
    """Return ``value`` as a finite float above 0."""
    number = real_number(name, value)
    if not 0 < number < math.inf:
        raise ArgumentError(f"{name} must be positive and finite, got {shown(value)}.")
    return number


def real_number(name: str, value: object) -> float:
    """Return ``value`` as a float; truth values and texts do not count as numbers."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ArgumentTypeError(f"{name} must be a number, got {shown(value)}.")
    try:
        return float(value)
    except OverflowError as error:  # an int of hundreds of digits
        raise ArgumentError(f"{name} must be a number that a float can hold.") from error


def dimension(name: str, value: object, n_dims: int) -> int:
    """Return ``value`` as the index of one of ``n_dims`` dimensions, negative from the end."""
    if isinstance(value, bool) or not isinstance(value, Integral) or abs(int(value) + 0.5) > n_dims:
        raise ArgumentError(
            f"{name} must be the number of one of the {n_dims} dimensions, got {shown(value)}."
        )
    return int(value)


def truth(name: str, value: object) -> bool:
    """Return ``value``, which must be True or False; other values do not stand for either."""
    if not isinstance(value, bool | np.bool_):
        raise ArgumentTypeError(f"{name} must be True or False, got {shown(value)}.")
    return bool(value)


def instance_of(name: str, value: object, kind: type | tuple[type, ...], expected: str) -> None:
    """Raise where ``value`` is not of a kind, which ``expected`` says in words."""
    if not isinstance(value, kind):
        raise ArgumentTypeError(f"{name} must be {expected}, got {type(value).__name__}.")


def one_or_tuple(name: str, value: Any, kind: type, expected: str) -> tuple[Any, ...]:
    """Return one value or a tuple of them as a tuple, each of a kind."""
    values = value if isinstance(value, tuple) else (value,)
    for one in values:
        instance_of(name, one, kind, expected)
    return values


def function(name: str, value: object) -> None:
    """Raise where ``value`` cannot be called."""
    if not callable(value):
        raise ArgumentTypeError(f"{name} must be a function, got {shown(value)}.")


def several(name: str, value: Any, expected: str) -> list[Any]:
    """Return a sequence as a list; a text, bytes or a dictionary is none of what is expected."""
    is_one = isinstance(value, str | bytes | bytearray | Mapping)
    if is_one or not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0:
        raise ArgumentTypeError(f"{name} must be {expected}, got {shown(value)}.")
    return list(value)


def texts(name: str, value: Any) -> list[str]:
    """Return a sequence of texts as a list; one text is no sequence of them."""
    found = several(name, value, "a sequence of texts")
    for text in found:
        if not isinstance(text, str):
            raise ArgumentTypeError(f"{name} must be a sequence of texts, got {shown(text)} in it.")
    return found


def time_spans(name: str, value: Any) -> list[tuple[float, float]]:
    """Return pairs of start and end in seconds as a list of floats."""
    pairs = []
    for span in several(name, value, "a sequence of (start, end) in seconds"):
        ends = several(name, span, "pairs of start and end in seconds")
        if len(ends) != 2:
            raise ArgumentError(f"{name} must be pairs of start and end, got {shown(span)}.")
        pairs.append((real_number(name, ends[0]), real_number(name, ends[1])))
    return pairs


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
