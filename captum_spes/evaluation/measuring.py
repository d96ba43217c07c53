"""What a worker does that measures explanations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from captum_spes.corpus.worker import Loader, identity_of, loaded
from captum_spes.evaluation.comparison import (
    PERCENTAGES,
    PERTURBATIONS,
    SIDES,
    THRESHOLDS,
    EvaluationSettings,
)
from captum_spes.evaluation.cost import measured_cost
from captum_spes.evaluation.references import check_reference
from captum_spes.metrics.perturbation import GRADED, Hearing, explained_sequence, perturbed
from captum_spes.metrics.size import size_shares
from captum_spes.speech import (
    Method,
    SpeechToTextAttribution,
    SpeechToTextAttributionResult,
    named_methods,
)
from captum_spes.speech.identity import model_digest
from captum_spes.speech.inputs import read_speech
from captum_spes.speech.models import adapt

# The arrays and the text of an explanation, as a store keeps them.
Stored = tuple[dict[str, NDArray[Any]], str]


class Task(NamedTuple):
    """What is measured of one utterance.

    Attributes:
        audio: the recording, read ahead.
        seed: of the explanation.
        reference: what is scored against.
        methods: names of those that share one explanation.
        stored: the explanation, where there is one already.
        is_kept: whether one that is made is wanted back.
    """

    audio: Any
    seed: int
    reference: str
    methods: Sequence[str]
    stored: Stored | None
    is_kept: bool


class Measured(NamedTuple):
    """What came of it.

    Attributes:
        records: the measures of each method, or an ``error``.
        made: the explanation that was made, where it is wanted back.
    """

    records: list[tuple[str, dict[str, Any]]]
    made: Stored | None = None


class Measure:
    """A model whose explanations are measured.

    Args:
        source: name or folder of the model, or a function that returns ``(model, processor)``.
        methods: that tasks name.
        settings: how is explained and measured.
        device: where a model that is named is put.

    Raises:
        ArgumentError: the model is asked for another text than it would be scored against.
    """

    def __init__(
        self,
        source: str | Loader,
        methods: Sequence[Method],
        settings: EvaluationSettings,
        device: str | None = None,
    ) -> None:
        self._model, self._processor = loaded(source, device)
        self._adapter: Any = adapt(self._model, self._processor)
        self._digest = model_digest(self._model, self._processor)
        self._methods = {method.name: method for method in methods}
        self._settings = settings
        check_reference(self._adapter, settings.settings.gen_args, settings.language)

    @classmethod
    def by_name(
        cls,
        source: str | Loader,
        methods: Sequence[str],
        settings: EvaluationSettings,
        device: str | None = None,
    ) -> Measure:
        """The same in another process, which methods themselves cannot be sent to."""
        return cls(source, named_methods(methods), settings, device)

    def identity(self) -> dict[str, Any]:
        """What makes the model the same as another one, and what it takes."""
        known = identity_of(self._adapter, self._digest)
        return {**known, "dtype": str(self._model.dtype).removeprefix("torch.")}

    def __call__(self, task: Task) -> Measured:
        """Explain a recording, unless that was done, and measure the explanation."""
        method = self._methods[task.methods[0]]
        try:
            result, cost = self._explained(method, task)
        except Exception as error:  # one bad recording must not end a night's run
            return failed(task.methods, error)
        records = [(name, self._record(name, task, result, cost)) for name in task.methods]
        is_wanted = task.is_kept and task.stored is None
        return Measured(records, result._stored() if is_wanted else None)

    def _explained(
        self, method: Method, task: Task
    ) -> tuple[SpeechToTextAttributionResult, dict[str, Any] | None]:
        """The explanation and its cost, which is not known of one that was made before."""
        if task.stored is not None:
            return SpeechToTextAttributionResult._from_stored(*task.stored), None
        explainer = SpeechToTextAttribution(method.make(self._model), self._processor)
        with measured_cost(self._model) as cost:
            result = explainer.attribute(
                task.audio, settings=self._settings.of(method), seed=task.seed
            )
        return result, asdict(cost)

    def _record(
        self,
        name: str,
        task: Task,
        result: SpeechToTextAttributionResult,
        cost: dict[str, Any] | None,
    ) -> dict[str, Any]:
        try:
            found = _record(self._adapter, task, self._methods[name], result, self._settings)
        except Exception as error:
            return _failure(error)
        return {**found, "cost": cost}


def failed(methods: Sequence[str], error: Exception) -> Measured:
    """What is written of methods where an utterance could not be explained."""
    return Measured([(name, _failure(error)) for name in methods])


def _failure(error: Exception) -> dict[str, Any]:
    return {"error": f"{type(error).__name__}: {error}"}


def _record(
    adapter: Any,
    task: Task,
    method: Method,
    result: SpeechToTextAttributionResult,
    settings: EvaluationSettings,
) -> dict[str, Any]:
    speech = read_speech(adapter, task.audio, adapter.sampling_rate)
    saliency_map = result.sentence_attr(normalized=method.normalized).spectrogram_attr
    sequence = explained_sequence(result)
    record: dict[str, Any] = {
        "reference": task.reference,
        "text": result.text,
        "audio_seconds": result.seconds,
    }
    for name in PERTURBATIONS:  # one after the other: the states of both would fill memory
        steps = perturbed(
            speech, saliency_map, result.removed, PERCENTAGES, insertion=name == "insertion"
        )
        hearing = Hearing(adapter, speech, steps, settings.batch_size)
        record[name] = hearing.transcripts(settings.settings.gen_args, result.seed)
        if name == "deletion":
            graded = hearing.graded(sequence)
            record |= {measure: _rounded(graded[measure].mean(1)) for measure in GRADED}
    maps = result.normalized()
    for name, side in SIDES.items():
        # Size is that of maps between 0 and 1, and there must be a map.
        is_there = side == "spectrogram" or maps.token_attr is not None
        is_measured = method.normalized and is_there
        record[name] = _rounded(size_shares(maps, THRESHOLDS, side)) if is_measured else None
    return record


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 6) for value in values]
