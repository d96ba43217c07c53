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

_FORMAT = "captum_spes verdict rules, version 1"
_SHIPPED = "verdict_rules.json"


@dataclass(frozen=True, kw_only=True)
class VerdictRule:
    r"""
    Says of a word whether it was heard.

    The score of a word is a weighted sum of its :data:`~captum_spes.speech.measures.MEASURES`: the
    logarithm of the odds that it was said, had as many words been said as not.

    Attributes:
        family: the models that it was calibrated on, by the name that their configuration has.
        baselines: the removed value, "mean" or "silence".
        passes: perturbed inputs per window.
        weights: one per measure.
        bias: added to the sum.
        heard_from: a score from here on means *heard*.
        not_heard_below: a score below means *not heard*; between the two nobody can tell.
        error_rates: measured on recordings that the rule was not made from: shares of the words
            that were said and called *not heard* (``accused``), that were not said and called
            *heard* (``missed``), and of either that nobody could tell (``undecided_said``,
            ``undecided_unsaid``).
        n_words: how many words that was, said and not said.
        calibrated_on: model and recordings, in words.
    """

    family: str
    baselines: str
    passes: int
    weights: Mapping[str, float]
    bias: float
    heard_from: float
    not_heard_below: float
    error_rates: Mapping[str, float]
    n_words: tuple[int, int]
    calibrated_on: str

    def scores(self, measures: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score words, ``(words, measures)`` to ``(words,)``."""
        weights = np.array([self.weights[name] for name in MEASURES])
        scores: NDArray[np.float64] = measures @ weights + self.bias
        return scores

    def verdicts(self, measures: NDArray[np.float64]) -> list[bool | None]:
        """True, False or None for each word."""
        scores = self.scores(measures)
        return [self._verdict(float(score)) for score in scores]

    def _verdict(self, score: float) -> bool | None:
        if score >= self.heard_from:
            return True
        return False if score < self.not_heard_below else None

    def __str__(self) -> str:
        rates = {name: f"{100 * rate:.1f} %" for name, rate in self.error_rates.items()}
        said, unsaid = self.n_words
        return (
            f"calibrated on {self.calibrated_on}: of {said} words that were said "
            f"{rates['accused']} are called not heard ({rates['undecided_said']} nobody can tell), "
            f"of {unsaid} that were not said {rates['missed']} are called heard "
            f"({rates['undecided_unsaid']})"
        )


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
    The rules that come with the package; ``docs/results.md`` says what they were made from.

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


def choose_rule(
    rules: Sequence[VerdictRule], family: str, baselines: str, passes: int
) -> tuple[VerdictRule, str | None]:
    """The rule that fits best, and what it was not calibrated for, in words; None if all fits.

    Of equal family and removed value the one with the nearest number of passes, as a ratio.
    """
    if not rules:
        raise ArgumentError("there is no verdict rule.")

    def misfit(rule: VerdictRule) -> tuple[bool, bool, float]:
        ratio = abs(math.log(rule.passes / passes))
        return rule.family != family, rule.baselines != baselines, ratio

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
    weights, rates = saved["weights"], saved["error_rates"]
    instance_of("weights", weights, dict, "an object")
    instance_of("error_rates", rates, dict, "an object")
    if set(weights) != set(MEASURES):
        raise ArgumentError(f"weights must be of {', '.join(MEASURES)}")
    numbers = {name: _finite(name, value) for name, value in {**weights, **rates}.items()}
    thresholds = {
        name: _finite(name, saved[name]) for name in ("bias", "heard_from", "not_heard_below")
    }
    if thresholds["not_heard_below"] > thresholds["heard_from"]:
        raise ArgumentError("not_heard_below must not exceed heard_from")
    counts = several("n_words", saved["n_words"], "two numbers")
    if len(counts) != 2:
        raise ArgumentError(f"n_words must be two numbers, got {counts}")
    said, unsaid = counts
    return VerdictRule(
        family=str(saved["family"]),
        baselines=str(saved["baselines"]),
        passes=whole_number("passes", saved["passes"], 1),
        weights={name: numbers[name] for name in MEASURES},
        error_rates={name: numbers[name] for name in rates},
        n_words=(whole_number("n_words", said, 0), whole_number("n_words", unsaid, 0)),
        calibrated_on=str(saved["calibrated_on"]),
        **thresholds,
    )


def _finite(name: str, value: object) -> float:
    number = real_number(name, value)
    if not math.isfinite(number):
        raise ArgumentError(f"{name} must be finite, got {number}")
    return number
