"""Explaining a corpus with several methods, and measuring every explanation.

One line of ``scores.jsonl`` per utterance and method, written as soon as it is measured: a
run that was stopped, in whatever way, goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from captum_spes.corpus.manifest import TEXT, Utterance
from captum_spes.errors import ArgumentError, warn_caller
from captum_spes.evaluation.cost import Cost, measured_cost
from captum_spes.evaluation.references import check_reference
from captum_spes.io.files import keep_settings, made_folder, regular_file, write_whole
from captum_spes.io.locks import only_process_in
from captum_spes.io.provenance import versions
from captum_spes.metrics.curves import Curve, mean_counts, mean_score
from captum_spes.metrics.perturbation import (
    GRADED,
    Hearing,
    explained_sequence,
    graded_curve,
    perturbed,
    text_curve,
)
from captum_spes.metrics.size import size_shares, steps_of
from captum_spes.metrics.text import text_metric
from captum_spes.speech import (
    Method,
    Settings,
    SpeechToTextAttribution,
    SpeechToTextAttributionResult,
)
from captum_spes.speech.identity import model_digest
from captum_spes.speech.inputs import read_speech
from captum_spes.speech.models import adapt
from captum_spes.text import shortened, visible

PERCENTAGES = tuple(range(0, 101, 5))
THRESHOLDS = tuple(steps_of(0.05))
_SIDES = {"size": "spectrogram", "token_size": "previous tokens"}
_PERTURBATIONS = ("deletion", "insertion")
# Of damaged copies, to score one explanation.
TRANSCRIPTIONS = len(_PERTURBATIONS) * len(PERCENTAGES)
# Percent of the words wrong before anything is removed.
_NOTHING_RIGHT = 95.0
_SCORES = "scores.jsonl"
_SETTINGS = "settings.json"


@dataclass(frozen=True)
class EvaluationSettings:
    """What every utterance of a comparison is explained and measured with.

    Attributes:
        model: name or folder of the model, to recognise a run that is continued.
        settings: how is explained; every method makes its own of them.
        seed: of every random choice.
        method_args: name of a method to arguments of its own ``attribute``.
        language: of the reference translations; None for transcription. "text" is the text of the
            utterances, whatever the model is asked for.
        metric: of texts, one of those of :func:`captum_spes.metrics.corpus_score`.
        batch_size: steps of deletion and insertion per forward pass; None for all. A run can be
            continued in other batches.
    """

    model: str
    settings: Settings = field(default_factory=Settings.efficient)
    seed: int = 0
    method_args: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    language: str | None = None
    metric: str = "wer_capped"
    batch_size: int | None = None

    def of(self, method: Method) -> Settings:
        """What a method runs with."""
        own = self.method_args.get(method.same_maps_as or method.name)
        settings = self.settings if own is None else self.settings.replace(method_args=own)
        try:
            return method.settings(settings)
        except ArgumentError as error:
            raise ArgumentError(f"{method.name}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """In JSON's types, without what changes speed and memory only."""
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "batch_size"}
        found["settings"] = self.settings.to_dict()
        found["settings"].pop("perturbations_per_eval")
        found["language"] = None if self.language == TEXT else self.language
        return json.loads(json.dumps(found))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Comparison:
    """Scores of utterances and methods.

    Attributes:
        methods: names, in the order asked for.
        records: method to utterance id to what was measured, or to an ``error``.
        metric: of the texts.
        text_normalizer: applied to references and hypotheses before they are scored.
    """

    methods: Sequence[str]
    records: Mapping[str, Mapping[str, Mapping[str, Any]]]
    metric: str
    text_normalizer: Callable[[str], str] = str

    @property
    def ids(self) -> list[str]:
        """Utterances that every method was measured on, so that all are scored alike."""
        measured = [
            {i for i, record in self.records[name].items() if "error" not in record}
            for name in self.methods
        ]
        return [i for i in self.records[self.methods[0]] if all(i in m for m in measured)]

    @property
    def failures(self) -> list[tuple[str, str, str]]:
        """Utterance, method and error of what failed."""
        return [
            (i, name, record["error"])
            for name in self.methods
            for i, record in self.records[name].items()
            if "error" in record
        ]

    def curve(self, method: str, measure: str) -> Curve | None:
        r"""
        Draw together what all utterances add to a measure.

        Args:

            method (str): One of ``methods``.
            measure (str): "deletion" or "insertion" (scored by ``metric``), "size",
                        "token_size", "kl" or "token_accuracy" (of deletion).

        Returns:
            *Curve*, or None where the method has nothing to measure (no map of previous
            tokens).

        Examples::

            >>> area = comparison.curve("energy", "deletion").auc
        """
        ids = self.ids
        values = [self.records[method][i][measure] for i in ids]
        if not values or any(value is None for value in values):
            return None
        if measure in _PERTURBATIONS:
            normalize = self.text_normalizer
            references = [normalize(self.records[method][i]["reference"]) for i in ids]
            texts = [[normalize(text) for text in row] for row in values]
            return text_curve(measure, self.metric, PERCENTAGES, references, texts, ids)
        if measure in GRADED:
            return graded_curve(f"deletion, {measure}", measure, PERCENTAGES, values, ids)
        counts = mean_counts(np.array(values, float))
        name = f"size, {_SIDES[measure]}"
        return Curve(name, "cells", THRESHOLDS, counts, mean_score, tuple(ids))

    def cost(self, method: str) -> dict[str, float]:
        """Mean passes and seconds per utterance of a method's explanations."""
        costs = [self.records[method][i]["cost"] for i in self.ids]
        names = ("encoder_passes", "decoder_passes", "seconds")
        return {name: sum(cost[name] for cost in costs) / max(1, len(costs)) for name in names}


def compare_methods(
    model: Any,
    processor: Any,
    utterances: Sequence[Utterance],
    methods: Sequence[Method],
    settings: EvaluationSettings,
    folder: str | PathLike[str],
    *,
    text_normalizer: Callable[[str], str] = str,
    show_progress: bool = False,
) -> Comparison:
    r"""
    Explain every utterance with every method and measure deletion, insertion, size and the
    graded companions of deletion.

    Args:

        model (PreTrainedModel): Of a supported family.
        processor (Processor): Its processor.
        utterances (sequence of Utterance): What to explain.
        methods (sequence of Method): With what.
        settings (EvaluationSettings): How.
        folder (str or path): Made if need be; holds ``scores.jsonl`` (one line per utterance and
                    method) and ``settings.json``. What it holds already is not computed
                    again, unless the recording or its reference changed; what failed, or lacks a
                    field, is tried again. One process at a time can work there.
        text_normalizer (Callable, optional): For the scoring of texts, which are kept as
                    they were written.
                    Default: texts as they are
        show_progress (bool, optional): Displays a progress bar.
                    Default: False

    Returns:
        *Comparison*: a failure of one utterance is part of it and stops nothing.

    Raises:
        ArgumentError: the folder holds scores made with other settings or another model, another
            process works there, a setting is unusable, a reference is missing, or the model is
            asked for another text than it would be scored against.
        OSError: the folder cannot be written.

    Examples::

        >>> model, processor, examples = load_demo()
        >>> utterances = [Utterance(e.name, e.path, e.text) for e in examples[:1]]
        >>> comparison = compare_methods(
        ...     model, processor, utterances, named_methods(["energy", "random"]),
        ...     EvaluationSettings("demo"), "compared",
        ... )
        >>> loudest, chance = (comparison.curve(m, "kl").auc for m in comparison.methods)
        >>> loudest > chance
        True
    """
    _check(utterances, methods, settings)
    check_reference(adapt(model, processor), settings.settings.gen_args, settings.language)
    made = {
        **settings.to_dict(),
        "dtype": str(model.dtype).removeprefix("torch."),
        "weights": model_digest(model, processor),
        "version": versions().get("captum-spes"),
    }
    with only_process_in(made_folder(folder)):
        store = _Store(Path(folder), settings.language, made)
        _measure_missing(model, processor, utterances, methods, settings, store, show_progress)
    # In the order of the manifest, which a continued run may not have had.
    records = {
        method.name: {u.id: store.records[method.name][u.id] for u in utterances}
        for method in methods
    }
    found = Comparison([m.name for m in methods], records, settings.metric, text_normalizer)
    _warn_if_nothing_is_right(found)
    return found


def _warn_if_nothing_is_right(comparison: Comparison) -> None:
    """Errors that are there before anything is removed hide those that removing makes."""
    curve = comparison.curve(comparison.methods[0], "deletion") if comparison.methods else None
    if curve is not None and comparison.metric.startswith("wer") and curve.y[0] >= _NOTHING_RIGHT:
        warn_caller(
            f"with nothing removed the word error rate is {curve.y[0]:.0f} % already, so that "
            "deletion tells no method from another: is the reference in the language, case and "
            "punctuation that the model writes? text_normalizer (--normalize-text) leaves out case "
            "and punctuation."
        )


def _measure_missing(
    model: Any,
    processor: Any,
    utterances: Sequence[Utterance],
    methods: Sequence[Method],
    settings: EvaluationSettings,
    store: _Store,
    show_progress: bool,
) -> None:
    """Explain and measure what the folder does not hold."""
    todo = [
        (utterance, [m for m in methods if not store.has(utterance, m.name)])
        for utterance in utterances
    ]
    total = sum(len(missing) for _, missing in todo)
    with tqdm(total=total, desc="evaluate", unit="explanation", disable=not show_progress) as bar:
        for utterance, missing in todo:
            for name, record in _measured(model, processor, utterance, missing, settings):
                store.add(utterance, name, record)
                bar.update()


def _check(
    utterances: Sequence[Utterance], methods: Sequence[Method], settings: EvaluationSettings
) -> None:
    """Find before the first forward pass what would spoil every record."""
    text_metric(settings.metric)
    unknown = set(settings.method_args) - {method.name for method in methods}
    if unknown:
        raise ArgumentError(
            f"method_args are for {', '.join(sorted(unknown))}, which is not among the methods: "
            f"{', '.join(method.name for method in methods)}."
        )
    for method in methods:
        settings.of(method)
    for utterance in utterances:
        is_there = settings.language in (None, TEXT, *utterance.translations)
        if not is_there:
            raise ArgumentError(f"{utterance.id} has no translation into {settings.language!r}.")


def _measured(
    model: Any,
    processor: Any,
    utterance: Utterance,
    methods: Sequence[Method],
    settings: EvaluationSettings,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what was measured of each method on one utterance."""
    unusable = _unusable_text(utterance, settings.language)
    if unusable:
        yield from ((method.name, {"error": f"ArgumentError: {unusable}"}) for method in methods)
        return
    adapter = adapt(model, processor)
    shared = {method.same_maps_as for method in methods}
    kept: dict[str, tuple[SpeechToTextAttributionResult, dict[str, Any]]] = {}
    for method in methods:
        try:
            maps = method.same_maps_as or method.name
            explained = kept.get(maps) or _explained(model, processor, utterance, method, settings)
            if maps in shared:  # of a long recording, all maps of all methods would be gigabytes
                kept[maps] = explained
            result, cost = explained
            record = _record(adapter, utterance, method, result, settings)
            yield method.name, {**record, "cost": cost}
        except Exception as error:  # one bad recording must not end a night's run
            yield method.name, {"error": f"{type(error).__name__}: {error}"}


def _unusable_text(utterance: Utterance, language: str | None) -> str:
    """What is wrong with texts that are no Unicode, which neither files nor scores can hold."""
    for name, text in (("id", utterance.id), ("reference", utterance.reference(language))):
        if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
            return f"the {name} {visible(shortened(text, 60))} holds half a character (a surrogate)"
    return ""


def _explained(
    model: Any, processor: Any, utterance: Utterance, method: Method, settings: EvaluationSettings
) -> tuple[SpeechToTextAttributionResult, dict[str, Any]]:
    explainer = SpeechToTextAttribution(method.make(model), processor)
    with measured_cost(model) as cost:
        result = explainer.attribute(
            utterance.audio, settings=settings.of(method), seed=settings.seed
        )
    return result, asdict(cost)


def _record(
    adapter: Any,
    utterance: Utterance,
    method: Method,
    result: SpeechToTextAttributionResult,
    settings: EvaluationSettings,
) -> dict[str, Any]:
    speech = read_speech(adapter, utterance.audio, adapter.sampling_rate)
    saliency_map = result.sentence_attr(normalized=method.normalized).spectrogram_attr
    sequence = explained_sequence(result)
    record: dict[str, Any] = {
        "reference": utterance.reference(settings.language),
        "text": result.text,
        "audio_seconds": result.seconds,
    }
    for name in _PERTURBATIONS:  # one after the other: the states of both would fill memory
        steps = perturbed(
            speech, saliency_map, result.removed, PERCENTAGES, insertion=name == "insertion"
        )
        hearing = Hearing(adapter, speech, steps, settings.batch_size)
        record[name] = hearing.transcripts(settings.settings.gen_args, result.seed)
        if name == "deletion":
            graded = hearing.graded(sequence)
            record |= {measure: _rounded(graded[measure].mean(1)) for measure in GRADED}
    maps = result.normalized()
    for name, side in _SIDES.items():
        # Size is that of maps between 0 and 1, and there must be a map.
        is_there = side == "spectrogram" or maps.token_attr is not None
        is_measured = method.normalized and is_there
        record[name] = _rounded(size_shares(maps, THRESHOLDS, side)) if is_measured else None
    return record


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 6) for value in values]


def _lacking(record: Mapping[str, Any]) -> str:
    """The first field that a record lacks, or holds in another form than is written."""
    for name in ("reference", "text"):
        if not isinstance(record.get(name), str):
            return name
    lengths = {name: len(PERCENTAGES) for name in (*_PERTURBATIONS, *GRADED)}
    for name, length in {**lengths, **dict.fromkeys(_SIDES, len(THRESHOLDS))}.items():
        values, kind = record.get(name), str if name in _PERTURBATIONS else (int, float)
        if name in _SIDES and name in record and values is None:
            continue
        is_list = isinstance(values, list) and len(values) == length
        if not is_list or not all(isinstance(value, kind) for value in values or ()):
            return name
    cost = record.get("cost")
    names = [f.name for f in fields(Cost)]
    is_cost = isinstance(cost, Mapping) and all(
        isinstance(cost.get(name), int | float) for name in names
    )
    return "" if is_cost else "cost"


class _Store:
    """Scores in a folder, one line each, and what they were made with."""

    def __init__(self, folder: Path, language: str | None, made: Mapping[str, Any]) -> None:
        self._path = folder / _SCORES
        self._language = language
        self.records: dict[str, dict[str, dict[str, Any]]] = {}
        keep_settings(folder / _SETTINGS, made, "scores")
        self._read()

    def has(self, utterance: Utterance, method: str) -> bool:
        record = self.records.get(method, {}).get(utterance.id)
        if record is None or "error" in record:
            return False
        lacking = _lacking(record)
        if lacking:
            warn_caller(
                f"{self._path}: the record of {visible(utterance.id)} by {method} lacks {lacking}, "
                "or has it damaged: it is measured again."
            )
            return False
        return bool(record.get("source") == self._source(utterance))

    def add(self, utterance: Utterance, method: str, record: dict[str, Any]) -> None:
        names = {"id": utterance.id, "method": method}
        source = {"source": self._source(utterance)}
        try:
            line = json.dumps({**names, **record, **source}, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError) as error:
            record = {"error": f"what was measured cannot be written: {error}"}
            line = json.dumps({**names, **record, **source}, ensure_ascii=False)
        record = {**record, **source}
        with self._path.open("ab") as file:
            file.write(f"{line}\n".encode("utf-8", "backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
        self.records.setdefault(method, {})[utterance.id] = record

    def _source(self, utterance: Utterance) -> str | None:
        """Recording and reference, so that a manifest that changed is noticed; None for a recording
        that cannot be read."""
        try:
            digest = hashlib.blake2b(utterance.recording_digest().encode(), digest_size=8)
        except (OSError, ValueError):
            return None
        reference = utterance.reference(self._language)
        digest.update(reference.encode("utf-8", "backslashreplace"))
        return digest.hexdigest()

    def _read(self) -> None:
        if not self._path.exists():
            return
        with regular_file(self._path, "a file of scores") as file:
            text = file.read().decode("utf-8", "replace")
        if not text.endswith("\n"):
            # The process was killed while it wrote this line; the next must not continue it.
            text = text[: text.rfind("\n") + 1]
            write_whole(self._path, text)
        # Not splitlines: JSON may hold other separators of lines inside its texts.
        for number, line in enumerate(text.split("\n")[:-1], 1):
            try:
                record = dict(json.loads(line))
                method, utterance = str(record.pop("method")), str(record.pop("id"))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise ArgumentError(
                    f"{self._path} is damaged in line {number} ({error}): remove that line, and "
                    "what it held is computed again."
                ) from error
            self.records.setdefault(method, {})[utterance] = record
