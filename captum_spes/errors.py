"""The exceptions for unusable arguments, and the error for a library that is missing.

Captum rejects a bad argument with ``AssertionError``, the rest of Python with
``ValueError`` or ``TypeError``. These classes are both, so that code written for
either habit catches them, and unlike ``assert`` they survive ``python -O``.
"""

from importlib import import_module
from numbers import Integral
from typing import Any


class ArgumentError(ValueError, AssertionError):
    """An argument has a value that cannot be used; the message says what is expected."""


class ArgumentTypeError(TypeError, AssertionError):
    """An argument, or what a user's function returned, has the wrong type."""


def whole_number(name: str, value: object, lowest: int) -> int:
    """Return ``value`` as an int of at least ``lowest``, NumPy's integers included."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < lowest:
        raise ArgumentError(f"{name} must be an int of at least {lowest}, got {value!r}.")
    return int(value)


def optional_library(name: str, purpose: str, extra: str) -> Any:
    """Import a module that only some users need, or raise an ImportError that says what installs
    it: ``purpose`` needs it, and ``extra`` of this package brings it."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ImportError(
            f"{purpose} needs {package}: pip install 'captum-spes[{extra}]'"
        ) from error
