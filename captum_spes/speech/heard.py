"""What the model made of an explanation's sound, as it is kept in ``parameters["heard"]``."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

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
        said = "" if self.written is None else f" it writes “{visible(self.written)}”"
        if self.error_rate is not None and not math.isnan(self.error_rate):
            said += f" ({self.metric.upper()} {self.error_rate:.0f} %), and"
        return (
            f"Played back to the model as sound, {given}:{said} its expectation moves by "
            f"{self.divergence:.2f} nats per token."
        )


def heard_sounds(parameters: Any) -> list[Heard]:
    """All that an explanation knows of."""
    return [Heard(**own) for own in parameters.get("heard", [])]
