"""What a worker does that measures explanations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from numpy.typing import NDArray
from torch import Tensor

from captum_spes.corpus.worker import Loader, identity_of, loaded
from captum_spes.evaluation.comparison import (
    AS_EXPLAINED,
    OWN_PERCENTAGES,
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
from captum_spes.metrics.own_token import OwnTokenValues
from captum_spes.metrics.removal import Fill, with_examples
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
        other: another recording, read ahead, where one is needed whose cells take the place of
            removed ones.
    """

    audio: Any
    seed: int
    reference: str
    methods: Sequence[str]
    stored: Stored | None
    is_kept: bool
    other: Any = None


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
            found = _record(task, shared, self._settings, self._methods[name], result)
        except Exception as error:
            return _failure(error)
        return {**found, "cost": cost}


def failed(methods: Sequence[str], error: Exception) -> Measured:
    """What is written of methods where an utterance could not be explained."""
    return Measured([(name, _failure(error)) for name in methods])


def _failure(error: Exception) -> dict[str, Any]:
    return {"error": f"{type(error).__name__}: {error}"}


def _record(
    task: Task,
    shared: SharedUtterance,
    settings: EvaluationSettings,
    method: Method,
    result: SpeechToTextAttributionResult,
) -> dict[str, Any]:
    return _Measuring(shared, settings, method, result).record(task)


class _Measuring:
    """An explanation that is measured.

    Args:
        shared: its utterance.
        settings: what is measured.
        method: whose explanation it is taken for.
        result: the explanation.
    """

    def __init__(
        self,
        shared: SharedUtterance,
        settings: EvaluationSettings,
        method: Method,
        result: SpeechToTextAttributionResult,
    ) -> None:
        self._shared, self._settings, self._result = shared, settings, result
        self._is_normalized = method.normalized
        self._map = result.sentence_attr(normalized=method.normalized).spectrogram_attr
        self._sequence = explained_sequence(result)

    def record(self, task: Task) -> dict[str, Any]:
        """All that is written of it but for what it cost."""
        result = self._result
        record: dict[str, Any] = {
            "reference": task.reference,
            "text": result.text,
            "audio_seconds": result.seconds,
            **self._perturbations(result.removed, with_insertion=False),
        }
        maps = result.normalized()
        for name, side in SIDES.items():
            # Size is that of maps between 0 and 1, and there must be a map.
            is_there = side == "spectrogram" or maps.token_attr is not None
            is_measured = self._is_normalized and is_there
            record[name] = _rounded(size_shares(maps, THRESHOLDS, side)) if is_measured else None
        fills = self._fills(task)
        if fills:
            record["removals"] = {
                name: self._perturbations(fill, with_insertion=True) for name, fill in fills.items()
            }
        if self._settings.own_tokens:
            record["own_tokens"] = {
                name: self._own_tokens(fill)
                for name, fill in {AS_EXPLAINED: result.removed, **fills}.items()
            }
        return record

    def _fills(self, task: Task) -> dict[str, Tensor | Fill]:
        """What removed cells become with each removal that is asked for."""
        shared, others = self._shared, [] if task.other is None else [task.other]
        removals = {name: with_examples(name, others) for name in self._settings.removals}
        return {
            name: removal(shared.adapter, shared.speech, task.audio)
            for name, removal in removals.items()
            if removal is not None
        }

    def _perturbations(self, fill: Tensor | Fill, with_insertion: bool) -> dict[str, Any]:
        """Texts of deletion and insertion, and graded measures of deletion; of insertion too where
        they are asked for."""
        record: dict[str, Any] = {}
        for name in PERTURBATIONS:
            is_insertion = name == "insertion"
            copies = perturbed(self._shared.speech, self._map, fill, PERCENTAGES, is_insertion)
            is_graded = with_insertion or not is_insertion
            record[name], graded = self._shared.hear(copies, self._sequence if is_graded else None)
            prefix = "insertion_" if is_insertion else ""
            record |= {prefix + measure: _rounded(graded[measure]) for measure in GRADED if graded}
        return record

    def _own_tokens(self, fill: Tensor | Fill) -> dict[str, list[float]] | None:
        """Of each token by its own map, and by others; None where there is one token only."""
        maps = [*self._result.spectrogram_attr, self._map]
        if len(maps) < 3:
            return None
        shared = self._shared
        copies = (perturbed(shared.speech, own, fill, OWN_PERCENTAGES) for own in maps)
        losses = [shared.token_losses(own, self._sequence) for own in copies]
        found = OwnTokenValues.of(losses)._asdict()
        return {name: _rounded(values) for name, values in found.items()}


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), 6) for value in values]
