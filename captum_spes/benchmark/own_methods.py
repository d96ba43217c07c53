"""Methods from outside the package that take part in the benchmark."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from captum.attr import Attribution

from captum_spes.attr import SPES, MaskedMean
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.speech import METHODS, Method, Settings
from captum_spes.speech.methods import runner_of
from captum_spes.speech.running import Runner

_EXPECTED = (
    "a class or function that makes a Captum method of inputs, or a SpeechAttribution, from a model"
)


class Entrant(NamedTuple):
    """A method that takes part.

    Attributes:
        method: it.
        source: a digest of the file that its code is in; None for methods of the package and where
            there is no such file.
    """

    method: Method
    source: str | None


def entrants_of(given: Sequence[Any], model: Any) -> list[Entrant]:
    """All that take part.

    Args:
        given: of each its name in the list of methods, a :class:`Method`, what makes it from a
            model, or where that is: "file.py:object" or "module:object", with "name=" before it
            where it should have another name than the object.
        model: that is explained; each is made from it once, to see what it is.

    Raises:
        ArgumentError: a name is unknown or there twice, or there is no such object.
        ArgumentTypeError: an object makes no method that can be run.
    """
    found = [_entrant(own, model) for own in given]
    names = [own.method.name for own in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None or not names:
        told = "no method" if twice is None else f"{twice!r} more than once"
        raise ArgumentError(f"give every method once, at least one; got {told}.")
    return found


def _entrant(given: Any, model: Any) -> Entrant:
    if isinstance(given, Method):
        return _made_method(given)
    if not isinstance(given, str):
        return _own(getattr(given, "__name__", type(given).__name__), given, model)
    if ":" not in given:
        if given not in METHODS:
            raise ArgumentError(
                f"unknown method {given!r}; give file.py:object or module:object for one of your "
                f"own; known: {', '.join(METHODS)}."
            )
        return Entrant(METHODS[given], None)
    name, _, place = given.rpartition("=")
    return _own(name or place.rpartition(":")[2], _loaded(place), model)


def _made_method(method: Method) -> Entrant:
    """A method that is an entry of the list, or could be one."""
    listed = METHODS.get(method.name)
    if listed is not None and listed is not method:
        raise ArgumentError(f"there is a method {method.name!r} already: give yours another name.")
    is_ours = getattr(method.make, "__module__", "").partition(".")[0] in ("captum", "captum_spes")
    return Entrant(method, None if is_ours else _source(method.make))


def _own(name: str, make: Any, model: Any) -> Entrant:
    if isinstance(make, Method):
        return _made_method(make)
    if name in METHODS:
        raise ArgumentError(
            f"there is a method {name!r} already: name yours, as in mine=file.py:x."
        )
    if not callable(make):
        raise ArgumentTypeError(f"{name} must be {_EXPECTED}; got {type(make).__name__}.")
    try:
        made = make(model)
    except Exception as error:  # whatever somebody else's code does
        raise ArgumentError(
            f"{name} cannot be made from the model: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(made, Attribution):
        raise ArgumentTypeError(f"{name} must be {_EXPECTED}; it makes {type(made).__name__}.")
    runner = runner_of(made)
    passes = _like(runner).passes
    about = (inspect.getdoc(make) or "").partition("\n")[0]
    return Entrant(Method(name, make, about, runner, passes, _settings(made)), _source(make))


def _like(runner: Runner | None) -> Method:
    """A method of the list that is run alike, whose cost is the nearest guess."""
    alike = (own for own in METHODS.values() if own.runner is runner)
    return next(alike, METHODS["feature-ablation"])


def _settings(made: Attribution) -> Callable[[Settings], Settings]:
    """What a method makes of the suite's settings."""
    if not isinstance(made, SPES):
        return _like(None).settings  # without what is for SPES alone
    own = made.estimator
    if own == MaskedMean():  # none was given
        return lambda settings: settings
    return lambda settings: settings.replace(estimator=own)


# Where the object is ----------------------------------------------------------------------


def _loaded(place: str) -> Any:
    where, _, name = place.rpartition(":")
    module = _of_file(Path(where)) if where.endswith(".py") else _of_name(where)
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ArgumentError(f"{where} has no {name!r}; expected {_EXPECTED}.") from None
    return found


def _of_name(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ArgumentError(
            f"cannot import {name!r} ({type(error).__name__}: {error}); give a module that is "
            "installed, or a file.py."
        ) from error


def _of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ArgumentError(f"no such file: {path}; expected file.py:object.")
    # A name of its own, so that it takes no other module's place; pickle and inspect look for it.
    digest = hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
    name = f"captum_spes_benchmark_{path.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ArgumentError(f"cannot run {path}: {type(error).__name__}: {error}") from error
    return module


def _source(make: Any) -> str | None:
    try:
        file = inspect.getsourcefile(inspect.unwrap(make))
        return hashlib.blake2b(Path(str(file)).read_bytes(), digest_size=16).hexdigest()
    except (TypeError, OSError):  # made by hand, in a notebook for example
        return None
