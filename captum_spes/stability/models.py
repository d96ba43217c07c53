"""What a study needs of a model, whatever it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from captum_spes.corpus import Utterance
from captum_spes.errors import ArgumentError
from captum_spes.stability.methods import StudyMethod
from captum_spes.stability.units import View


@dataclass(frozen=True)
class Attributed:
    """What one method says of one utterance.

    Attributes:
        maps: ``(items, *features)``: one for a class, one per token of a text.
        passes: what it cost, in forward passes; a backward pass counts as two.
    """

    maps: Tensor
    passes: int


class ExplainedModel(Protocol):
    """A model that was trained with one of several seeds.

    Attributes:
        inputs: what can be attributed to: "waveform", "spectrogram", "encoder".
        tasks: what is told of an utterance, each explained on its own.
    """

    @property
    def inputs(self) -> tuple[str, ...]: ...

    @property
    def tasks(self) -> tuple[str, ...]: ...

    def view(self, utterance: Utterance, stage: str) -> View:
        """The utterance as one of the inputs."""
        ...

    def is_right(self, utterance: Utterance, task: str) -> float:
        """How right the model is, from 0 to 1."""
        ...

    def attribute(
        self,
        view: View,
        utterance: Utterance,
        task: str,
        method: StudyMethod,
        masks: list[Tensor],
        seed: int,
    ) -> Attributed:
        """Explain what the model says of the utterance; see each model for what is scored."""
        ...


def class_of(utterance: Utterance, task: str) -> str:
    """The right class of an utterance."""
    if task not in utterance.labels:
        known = ", ".join(utterance.labels) or "none"
        raise ArgumentError(
            f"{utterance.id} has no label {task!r} in the manifest; it has: {known}."
        )
    return utterance.labels[task]
