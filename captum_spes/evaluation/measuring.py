"""What a worker does that measures explanations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from numpy.typing import NDArray

from captum_spes.corpus.worker import Loader, identity_of, loaded
from captum_spes.evaluation.comparison import (
    PERCENTAGES,
    PERTURBATIONS,
    SIDES,
    THRESHOLDS,
    EvaluationSettings,
)
from captum_spes.evaluation.cost import Cost, measured_cost
from captum_spes.evaluation.references import check_reference
from captum_spes.evaluation.shared import SharedUtterance
from captum_spes.metrics.deletion import perturbed
from captum_spes.metrics.hearing import GRADED, explained_sequence
from captum_spes.metrics.size import size_shares
from captum_spes.speech import (
    Method,
    Settings,
    SpeechToTextAttribution,
    SpeechToTextAttributionResult,
    named_methods,
)
from captum_spes.speech.identity import model_digest
from captum_spes.speech.inputs import read_speech
from captum_spes.speech.models import Generates, adapt, can
from captum_spes.speech.patches import remembered_patches

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
        self._shared: SharedUtterance | None = None
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
            shared = self._shared_utterance(task)
            result, cost = self._explained(method, task, shared)
        except Exception as error:  # one bad recording must not end a night's run
            return failed(task.methods, error)
        records = [(name, self._record(name, task, result, cost, shared)) for name in task.methods]
        is_wanted = task.is_kept and task.stored is None
        return Measured(records, result._stored() if is_wanted else None)

    def _shared_utterance(self, task: Task) -> SharedUtterance:
        """Of the recording; the last one, as its other methods mostly come one after the other."""
        speech = read_speech(self._adapter, task.audio, self._adapter.sampling_rate)
        if self._shared is None or not self._shared.is_of(speech, task.seed):
            self._shared = SharedUtterance(self._adapter, speech, task.seed, self._settings)
        return self._shared

    def _explained(
        self, method: Method, task: Task, shared: SharedUtterance
    ) -> tuple[SpeechToTextAttributionResult, dict[str, Any] | None]:
        """The explanation and its cost, which is not known of one that was made before."""
        if task.stored is not None:
            return SpeechToTextAttributionResult._from_stored(*task.stored), None
        settings = self._settings.of(method)
        explainer = SpeechToTextAttribution(method.make(self._model), self._processor)
        target: Any = None
        writing = Cost()
        if self._writes_alike(settings):
            target, writing = shared.written(self._model)
        with measured_cost(self._model) as cost, remembered_patches(shared.patches):
            result = explainer.attribute(
                task.audio, target=target, settings=settings, seed=task.seed
            )
        # What every method would need if it were alone.
        return result, asdict(cost.plus(writing))

    def _writes_alike(self, settings: Settings) -> bool:
        """Whether the model is asked for the same text as for all methods."""
        usual, own = self._settings.settings.gen_args, settings.gen_args
        is_usual = list(own) == list(usual) and all(own[name] is usual[name] for name in own)
        return is_usual and can(self._adapter, Generates)

    def _record(
        self,
        name: str,
        task: Task,
        result: SpeechToTextAttributionResult,
        cost: dict[str, Any] | None,
        shared: SharedUtterance,
    ) -> dict[str, Any]:
        try:
            found = _record(shared, task.reference, self._methods[name], result)
        except Exception as error:
            return _failure(error)
        return {**found, "cost": cost}


def failed(methods: Sequence[str], error: Exception) -> Measured:
    """What is written of methods where an utterance could not be explained."""
    return Measured([(name, _failure(error)) for name in methods])


def _failure(error: Exception) -> dict[str, Any]:
    return {"error": f"{type(error).__name__}: {error}"}


def _record(
    shared: SharedUtterance,
    reference: str,
    method: Method,
    result: SpeechToTextAttributionResult,
) -> dict[str, Any]:
    saliency_map = result.sentence_attr(normalized=method.normalized).spectrogram_attr
    sequence = explained_sequence(result)
    record: dict[str, Any] = {
        "reference": reference,
        "text": result.text,
        "audio_seconds": result.seconds,
    }
    for name in PERTURBATIONS:
        copies = perturbed(
            shared.speech, saliency_map, result.removed, PERCENTAGES, name == "insertion"
        )
        record[name], graded = shared.hear(copies, sequence if name == "deletion" else None)
        record |= {measure: _rounded(graded[measure]) for measure in GRADED if measure in graded}
    maps = result.normalized()
    for name, side in SIDES.items():
        # Size is that of maps between 0 and 1, and there must be a map.
        is_there = side == "spectrogram" or maps.token_attr is not None
        is_measured = method.normalized and is_there
        record[name] = _rounded(size_shares(maps, THRESHOLDS, side)) if is_measured else None
    return record


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), 6) for value in values]
