"""The exceptions for unusable arguments.

Captum rejects a bad argument with ``AssertionError``, the rest of Python with
``ValueError`` or ``TypeError``. These classes are both, so that code written for
either habit catches them, and unlike ``assert`` they survive ``python -O``.
"""

from numbers import Integral


class ArgumentError(ValueError, AssertionError):
    """An argument has a value that cannot be used; the message says what is expected."""


class ArgumentTypeError(TypeError, AssertionError):
    """An argument, or what a user's function returned, has the wrong type."""


def whole_number(name: str, value: object, lowest: int) -> int:
    """Return ``value`` as an int of at least ``lowest``, NumPy's integers included."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < lowest:
        raise ArgumentError(f"{name} must be an int of at least {lowest}, got {value!r}.")
    return int(value)
