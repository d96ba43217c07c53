"""The deletion score of one explanation beside those of controls, as it is kept in
``parameters["deletion"]``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from captum_spes.errors import ArgumentError

if TYPE_CHECKING:
    from captum_spes.speech.result import SpeechToTextAttributionResult

# What is measured where tokens are forced; else the error rate of what is written anew.
OF_TOKENS = "kl"
_SHOWN = {
    "wer_capped": "area under the word error rate, in percent,",
    "cer_capped": "area under the character error rate, in percent,",
    OF_TOKENS: "area under the divergence of the output, in nats,",
}


@dataclass(frozen=True)
class Judgement:
    """Deletion scores of one explanation and of two controls, each the higher the better.

    Attributes:
        metric: "wer_capped" or, in scripts without spaces, "cer_capped": the error rate of what the
            model writes anew, in percent; or "kl", the mean divergence of the tokens of the output
            that was explained, in nats.
        explanation: the area under the metric while the most salient 0 to 100 % are removed.
        loudest: the same where the loudest cells go first.
        random: where the order is random.
    """

    metric: str
    explanation: float
    loudest: float
    random: float

    @property
    def beats_controls(self) -> bool:
        """Whether the map removes what matters sooner than loudness and chance do."""
        return self.explanation > max(self.loudest, self.random)

    def text(self) -> str:
        r"""
        Say it, and whether the map is worth more than what costs nothing.

        Returns:
            *str*: lines, without a newline at the end.

        Examples::

            >>> print(Judgement("kl", 1.0, 2.0, 0.5).text())  # doctest: +ELLIPSIS
            deletion (area under ...): this map 1.00, loudest cells 2.00, random 0.50
            on this clip the map finds what matters no better than loudness does
        """
        digits = 2 if self.metric == OF_TOKENS else 1
        scores = {
            "this map": self.explanation, "loudest cells": self.loudest, "random": self.random
        }  # fmt: skip
        told = ", ".join(f"{name} {value:.{digits}f}" for name, value in scores.items())
        line = (
            f"deletion ({_SHOWN[self.metric]} while 0 to 100 % of the cells are removed,\n"
            f"  the most salient first; higher is better): {told}"
        )
        if any(map(math.isnan, scores.values())) or self.beats_controls:
            return line
        control = "chance" if self.explanation <= self.random else "loudness"
        return f"{line}\non this clip the map finds what matters no better than {control} does"

    def added_to(self, result: SpeechToTextAttributionResult) -> SpeechToTextAttributionResult:
        r"""
        An explanation that knows it: a line of its text and of its page, and saved with it.

        Args:

            result (SpeechToTextAttributionResult): The explanation that was judged.

        Returns:
            *SpeechToTextAttributionResult*: a new one, with ``parameters["deletion"]``; the given
            one stays as it is.

        Examples::

            >>> Judgement("kl", 2.0, 1.0, 0.5).added_to(result).parameters["deletion"]["loudest"]
            1.0
        """
        return replace(result, parameters={**result.parameters, "deletion": self.to_dict()})

    def to_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Judgement:
        """What :meth:`to_dict` gave.

        Raises:
            ArgumentError: it is something else.
        """
        try:
            scores = [float(saved[name]) for name in ("explanation", "loudest", "random")]
            if saved["metric"] in _SHOWN:
                return cls(saved["metric"], *scores)
        except (LookupError, TypeError, ValueError):
            pass
        raise ArgumentError("the deletion score that is saved with the explanation is damaged.")
