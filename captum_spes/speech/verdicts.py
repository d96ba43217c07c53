"""The rule that says of a word whether it was heard, and what it was calibrated on."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum_spes.errors import (
    ArgumentError,
    instance_of,
    real_number,
    several,
    whole_number,
)
from captum_spes.io.files import write_whole
from captum_spes.io.texts import parse_json, read_text
from captum_spes.speech.measures import MEASURES
from captum_spes.speech.removals import checked_passes
from captum_spes.text import visible

_FORMAT = "captum_spes verdict rules, version 1"
_SHIPPED = "verdict_rules.json"
ERROR_RATES = ("accused", "missed", "undecided_said", "undecided_unsaid")
_VERDICTS = {1: True, -1: False, 0: None}
# Of weights and thresholds: no score overflows.
_MOST = 1e6
# A rule says little of a model with more times the parameters.
_MOST_RATIO = 10


@dataclass(frozen=True, kw_only=True)
class VerdictRule:
    r"""
    Says of a word whether it was heard.

    The score of a word is a weighted sum of its measures
    (``captum_spes.speech.measures.MEASURES``): the logarithm of the odds that it was said, had as
    many words been said as not.

    Attributes:
        family: of the model that it was calibrated on, by the name that its configuration has.
        n_parameters: of that model; 0 where nobody knows.
        baselines: the removed value, "mean" or "silence".
        passes: perturbed inputs per window.
        weights: one per measure.
        bias: added to the sum.
        heard_from: a score from here on means *heard*.
        not_heard_below: a score below means *not heard*; between the two nobody can tell.
        error_rates: measured on recordings that neither weights nor thresholds were made from:
            shares of the words that were said and called *not heard* (``accused``), that were not
            said and called *heard* (``missed``), and of either that nobody could tell
            (``undecided_said``, ``undecided_unsaid``).
        missed_by_kind: the share that is missed, by how the words were made.
        n_words: how many words that was, said and not said.
        calibrated_on: model and recordings, in words.
    """

    family: str
    n_parameters: int
    baselines: str
    passes: int
    weights: Mapping[str, float]
    bias: float
    heard_from: float
    not_heard_below: float
    error_rates: Mapping[str, float]
    missed_by_kind: Mapping[str, float]
    n_words: tuple[int, int]
    calibrated_on: str

    def __post_init__(self) -> None:
        for name in ("family", "baselines", "calibrated_on"):
            instance_of(name, getattr(self, name), str, "a text")
        for name in ("bias", "heard_from", "not_heard_below"):
            _finite(name, getattr(self, name))
        checked_passes(self.passes)
        whole_number("n_parameters", self.n_parameters, 0)
        _check_numbers("weights", self.weights, MEASURES)
        _check_numbers("error_rates", self.error_rates, ERROR_RATES)
        _check_numbers("missed_by_kind", self.missed_by_kind, None)
        for rate in (*self.error_rates.values(), *self.missed_by_kind.values()):
            if not 0 <= rate <= 1:
                raise ArgumentError(f"error rates must lie in [0, 1], got {rate}")
        if len(self.n_words) != 2:
            raise ArgumentError(f"n_words must be two numbers, got {self.n_words}")
        for count in self.n_words:
            whole_number("n_words", count, 0)
        if self.not_heard_below > self.heard_from:
            raise ArgumentError("not_heard_below must not exceed heard_from")

    def scores(self, measures: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score words, ``(words, measures)`` to ``(words,)``."""
        weights = np.array([self.weights[name] for name in MEASURES])
        scores: NDArray[np.float64] = measures @ weights + self.bias
        return scores

    def verdicts(self, measures: NDArray[np.float64]) -> list[bool | None]:
        """True, False or None for each word."""
        called = called_by(self.scores(measures), self.not_heard_below, self.heard_from)
        return [_VERDICTS[call] for call in called.tolist()]

    def __str__(self) -> str:
        rates = {name: f"{100 * rate:.1f} %" for name, rate in self.error_rates.items()}
        said, unsaid = self.n_words
        return (
            f"calibrated on {visible(self.calibrated_on)}: of {said} words that were said "
            f"{rates['accused']} are called not heard ({rates['undecided_said']} nobody can tell), "
            f"of {unsaid} that were not said {rates['missed']} are called heard "
            f"({rates['undecided_unsaid']})"
        )


def called_by(
    scores: NDArray[np.float64], not_heard_below: float, heard_from: float
) -> NDArray[np.int64]:
    """1 for words that are heard, -1 for words that are not, 0 where nobody can tell."""
    return np.where(scores >= heard_from, 1, np.where(scores < not_heard_below, -1, 0))


def read_rules(path: str | os.PathLike[str]) -> list[VerdictRule]:
    r"""
    Read the rules that :func:`write_rules` wrote.

    Args:

        path (str or path): The file.

    Returns:
        *list* of :class:`VerdictRule`.

    Raises:
        FileNotFoundError: there is no such file.
        ArgumentError: it holds no rules, or a rule that cannot be used; the message says why.

    Examples::

        >>> write_rules(shipped_rules(), "rules.json")
        >>> read_rules("rules.json") == shipped_rules()
        True
    """
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(f"no such file of verdict rules: {file}")
    return _parsed(read_text(file, "a file of verdict rules"), str(file))


def write_rules(rules: Sequence[VerdictRule], path: str | os.PathLike[str]) -> None:
    r"""
    Write rules as JSON.

    Args:

        rules (sequence of VerdictRule): For one or several numbers of passes.
        path (str or path): The file.

    Raises:
        OSError: it cannot be written.

    Examples::

        >>> write_rules(shipped_rules(), "rules.json")
    """
    saved = {"format": _FORMAT, "rules": [asdict(rule) for rule in rules]}
    write_whole(Path(path), json.dumps(saved, indent=1) + "\n")


@cache
def _shipped() -> tuple[VerdictRule, ...]:
    text = files("captum_spes.speech").joinpath(_SHIPPED).read_text(encoding="utf-8")
    return tuple(_parsed(text, _SHIPPED))


def shipped_rules() -> list[VerdictRule]:
    r"""
    The rules that come with the package; ``docs/results/heard_words.md`` says what they were made
    from.

    Returns:
        *list* of :class:`VerdictRule`.

    Examples::

        >>> sorted({rule.passes for rule in shipped_rules()})
        [1, 4, 12, 40]
    """
    return list(_shipped())


def family_of(adapter: Any) -> str:
    """The name that a model's configuration has for its architecture, or the adapter's."""
    config = getattr(getattr(adapter, "model", None), "config", None)
    return str(getattr(config, "model_type", type(adapter).__name__))


def size_of(adapter: Any) -> int:
    """How many parameters the model has; 0 where nobody knows."""
    parameters = getattr(getattr(adapter, "model", None), "parameters", None)
    return sum(parameter.numel() for parameter in parameters()) if callable(parameters) else 0


def choose_rule(
    rules: Sequence[VerdictRule], adapter: Any, baselines: str, passes: int
) -> tuple[VerdictRule, str | None]:
    """The rule that fits best, and what it was not calibrated for, in words; None if all fits.

    Of equal family and removed value a model that is not much smaller comes first, then the number
    of passes.
    """
    family, size = family_of(adapter), size_of(adapter)
    if not rules:
        raise ArgumentError("there is no verdict rule.")

    def of_smaller_model(rule: VerdictRule) -> bool:
        return size > _MOST_RATIO * rule.n_parameters > 0

    def misfit(rule: VerdictRule) -> tuple[bool, bool, bool, float]:
        ratio = abs(math.log(rule.passes / passes))
        return rule.family != family, rule.baselines != baselines, of_smaller_model(rule), ratio

    rule = min(rules, key=misfit)
    differences = [
        f"{name} {asked!r} instead of {own!r}"
        for name, asked, own in (
            ("models of type", family, rule.family),
            ("removed value", baselines, rule.baselines),
            ("passes", passes, rule.passes),
        )
        if asked != own
    ]
    if rule.family == family and of_smaller_model(rule):
        millions = (f"{count / 1e6:.0f}" for count in (size, rule.n_parameters))
        differences.append("{} million parameters instead of {}".format(*millions))
    return rule, ", ".join(differences) or None


def _parsed(text: str, name: str) -> list[VerdictRule]:
    try:
        saved = parse_json(text)
        instance_of("the file", saved, dict, "an object")
        if saved.get("format") != _FORMAT:
            raise ArgumentError(f"its format is {saved.get('format')!r}, not {_FORMAT!r}")
        instance_of("rules", saved.get("rules"), list, "a list")
        rules = [_rule(fields_) for fields_ in saved["rules"]]
        if not rules:
            raise ArgumentError("it holds no rule")
    except (ArgumentError, TypeError) as error:
        raise ArgumentError(f"{name} holds no verdict rules: {str(error).rstrip('.')}.") from error
    return rules


def _rule(saved: Any) -> VerdictRule:
    instance_of("a rule", saved, dict, "an object")
    names = [field.name for field in fields(VerdictRule)]
    if sorted(saved) != sorted(names):
        raise ArgumentError(f"a rule must have {', '.join(names)}")
    counts = several("n_words", saved["n_words"], "two numbers")
    return VerdictRule(**{**saved, "n_words": tuple(counts)})


def _check_numbers(name: str, given: Any, names: Sequence[str] | None) -> None:
    """Raise unless they are finite numbers, with just these names; None for any."""
    instance_of(name, given, Mapping, "an object")
    if names is not None and set(given) != set(names):
        raise ArgumentError(f"{name} must be of {', '.join(names)}")
    for key, value in given.items():
        _finite(key, value)


def _finite(name: str, value: object) -> float:
    number = real_number(name, value)
    if not abs(number) < _MOST:
        raise ArgumentError(f"{name} must lie within {_MOST:g} of 0, got {number}")
    return number
