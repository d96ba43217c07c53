"""What the model made of an explanation's sound, as it is kept in ``parameters["heard"]``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from captum_spes.errors import ArgumentError
from captum_spes.text import visible


class Heard(NamedTuple):
    """What a model wrote when it heard only the marked parts of a recording, in JSON's types.

    Attributes:
        what: whose map it was: "the sentence", or a word or token in quotes.
        keep: share of the cells of the map that were marked.
        complement: whether all but them was heard.
        written: what the model wrote; None where it writes nothing of its own.
        metric: "wer" or "cer".
        error_rate: of ``written`` against what was explained, percent; None where there is none.
        divergence: mean over the explained tokens, in nats.
    """

    what: str
    keep: float
    complement: bool
    written: str | None
    metric: str
    error_rate: float | None
    divergence: float

    def __str__(self) -> str:
        part = f"the strongest {100 * self.keep:.4g} % of the map of {visible(self.what)}"
        given = f"all but {part}" if self.complement else f"only {part}"
        told = []
        if self.written is not None:
            told.append(f"it writes “{visible(self.written)}”")
            if self.error_rate is not None:
                told[0] += f" ({self.metric.upper()} {self.error_rate:.0f} %)"
        told.append(f"its expectation moves by {self.divergence:.2f} nats per token")
        return f"Played back to the model as sound, {given}: {', and '.join(told)}."


def heard_sounds(parameters: Mapping[str, Any]) -> list[Heard]:
    """All that an explanation knows of.

    Raises:
        ArgumentError: what is saved is something else.
    """
    try:
        return [_heard(own) for own in parameters.get("heard", [])]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ArgumentError(
            "what a model made of the explanation's sound, which is saved with it, is damaged."
        ) from error


def _heard(saved: Mapping[str, Any]) -> Heard:
    written, rate = saved["written"], saved["error_rate"]
    return Heard(
        str(saved["what"]),
        float(saved["keep"]),
        bool(saved["complement"]),
        None if written is None else str(written),
        str(saved["metric"]),
        None if rate is None or math.isnan(rate) else float(rate),
        float(saved["divergence"]),
    )
