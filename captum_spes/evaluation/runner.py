"""Explaining a corpus with several methods, and measuring every explanation.

One line of ``scores.jsonl`` per utterance and method, written as soon as it is measured: a
run that was stopped, in whatever way, goes on where it was.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any, cast

import torch
from tqdm.auto import tqdm

from captum_spes.corpus.manifest import TEXT, Utterance
from captum_spes.corpus.runner import longest_first, seed_of, team_of
from captum_spes.corpus.team import Team
from captum_spes.corpus.worker import Loader, fixed_batches
from captum_spes.corpus.workers import MakeWork, ThisProcess, Workers, workers_of
from captum_spes.errors import ArgumentError, warn_caller
from captum_spes.evaluation.comparison import Comparison, EvaluationSettings
from captum_spes.evaluation.measuring import Measure, Measured, Task, failed
from captum_spes.evaluation.scores import ScoresFile
from captum_spes.evaluation.stores import KeptExplanations, check_recording
from captum_spes.io.files import check_folder, made_folder
from captum_spes.io.locks import only_process_in
from captum_spes.io.provenance import versions
from captum_spes.io.samples import read_ahead
from captum_spes.metrics.text import text_metric
from captum_spes.speech import METHODS, Method
from captum_spes.speech.running import check_arguments
from captum_spes.text import shortened, visible

# Percent of the words wrong before anything is removed; and so many that are only spelled in
# another way.
_NOTHING_RIGHT, _SPELLED_OTHERWISE = 95.0, 5.0


def compare_methods(  # noqa: PLR0913
    model: Any,
    processor: Any,
    utterances: Sequence[Utterance],
    methods: Sequence[Method],
    settings: EvaluationSettings,
    folder: str | PathLike[str],
    *,
    explanations: str | PathLike[str] | None = None,
    workers: int | str | Workers | None = None,
    device: str | None = None,
    text_normalizer: Callable[[str], str] = str,
    show_progress: bool = False,
) -> Comparison:
    r"""
    Explain every utterance with every method and measure deletion, insertion, size and the
    graded companions of deletion; where settings ask for it, also deletion and insertion with other
    removals, and each token by its own map.

    The seed of an utterance is made of ``settings.seed`` and its id, as
    :func:`captum_spes.corpus.explain_corpus` makes it: explanations depend neither on the order nor
    on workers, and what one of the two functions has stored the other one reads.

    Args:

        model (PreTrainedModel, str or Callable): Of a supported family; or its name or folder, or a
                    function that returns ``(model, processor)``. With workers elsewhere each of
                    them loads it, from its name or by a function that can be pickled.
        processor (Processor or None): Its processor; None for a model that is named, or returned by
                    a function.
        utterances (sequence of Utterance): What to explain.
        methods (sequence of Method): With what; with workers elsewhere they know it by its name.
        settings (EvaluationSettings): How. ``perturbations_per_eval="auto"`` is 16 with
                    ``explanations`` or workers elsewhere: sizes of batches that are found anew
                    would change the last bits of maps.
        folder (str or path): Made if need be; holds ``scores.jsonl`` (one line per utterance and
                    method) and ``settings.json``. What it holds already is not computed
                    again, unless the recording or its reference changed; what failed, or lacks a
                    field, is tried again. One process at a time can work there.
        explanations (str or path, optional): Folder of the explanations, made if need be: a store
                    for each method, ``NAME.h5``, as :func:`captum_spes.corpus.explain_corpus`
                    writes it. What is there is measured without being explained again, and its
                    ``cost`` is None, as only who explained it could count; what is not there is
                    explained and added. Methods with the same maps have one store.
                    Default: None, explanations are not kept
        workers (int, str or Workers, optional): A number of processes, "ray" or the address of a
                    cluster, as for :func:`captum_spes.corpus.explain_corpus`. An utterance whose
                    worker died three times is a failure.
                    Default: None, this process does the work
        device (str, optional): Where a model that is named runs.
                    Default: None, the CPU
        text_normalizer (Callable, optional): For the scoring of texts, which are kept as
                    they were written.
                    Default: texts as they are
        show_progress (bool, optional): Displays a progress bar.
                    Default: False

    Returns:
        *Comparison*: a failure of one utterance is part of it and stops nothing.

    Raises:
        ArgumentError: the folder or a store was made with other settings or another model, another
            process works there, a setting is unusable, a reference is missing, the model is asked
            for another text than it would be scored against, or workers elsewhere cannot be given
            the model or a method.
        ImportError: h5py, pebble or Ray is asked for and not installed.
        OSError: a folder cannot be written.

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
    places = ThisProcess() if workers is None else workers_of(workers, device)
    is_here = isinstance(places, ThisProcess)
    if is_here and explanations is not None:
        places = ThisProcess(one_thread=True)
    _check(utterances, methods, settings)
    if explanations is not None or not is_here:
        settings = replace(settings, settings=fixed_batches(settings.settings))
    made = {
        **settings.to_dict(),
        # Before there was this field, all utterances had the same seed.
        "seeds": "of seed and id",
        "version": versions().get("captum-spes"),
    }
    ScoresFile.check(check_folder(folder), made)  # before a model is loaded
    source = _source(model, processor, is_here)
    make = _maker(source, methods, settings, device, is_here)
    maps = {_maps(method): settings.of(method) for method in methods}
    places = places.at_most(len(utterances) * len(maps))
    kept_in = None if explanations is None else check_folder(explanations)
    with KeptExplanations(kept_in, maps, settings.seed) as kept:
        kept.check()
        with team_of(places, make) as team:
            known = team.identity()
            made |= {"dtype": known["dtype"], "weights": known["digest"]}
            with only_process_in(made_folder(folder)):
                scores = ScoresFile(Path(folder), settings.language, made)
                kept.bind(known["digest"])
                run = _Run(methods, settings, scores, kept, known, utterances)
                run.measure(team, _in_order(utterances, is_here), show_progress)
    # In the order of the manifest, which others may have come in.
    records = {
        method.name: {u.id: scores.records[method.name][u.id] for u in utterances}
        for method in methods
    }
    found = Comparison([m.name for m in methods], records, settings.metric, text_normalizer)
    _warn_if_nothing_is_right(found)
    return found


@dataclass
class _Asked:
    """What is missing of one utterance.

    Attributes:
        utterance: it.
        maps: the name of the method whose explanation is needed.
        methods: names of those that it is measured for.
    """

    utterance: Utterance
    maps: str
    methods: list[str]


@dataclass
class _Run:
    """A run that measures what is missing.

    Attributes:
        methods: that are compared.
        settings: how.
        scores: what is there already, and where more goes.
        kept: likewise of explanations.
        known: what the model takes.
        utterances: all of them.
    """

    methods: Sequence[Method]
    settings: EvaluationSettings
    scores: ScoresFile
    kept: KeptExplanations
    known: Mapping[str, Any]
    utterances: Sequence[Utterance]

    def measure(self, team: Team, utterances: Sequence[Utterance], show_progress: bool) -> None:
        """Let a team measure what the folder does not hold, and write it as it comes."""
        asked = {str(n): own for n, own in enumerate(self._missing(utterances))}
        total = sum(len(own.methods) for own in asked.values())
        with tqdm(
            total=total, desc="evaluate", unit="explanation", disable=not show_progress
        ) as bar:
            for key, found in team.results(self._with_explanations(asked), self._prepared):
                own = asked[key]
                if isinstance(found, Exception):
                    found = failed(own.methods, found)
                self._write(own, found)
                bar.update(len(own.methods))
        self.kept.note_failures()

    def _missing(self, utterances: Sequence[Utterance]) -> Iterator[_Asked]:
        for utterance in utterances:
            groups: dict[str, list[str]] = {}
            for method in self.methods:
                if not self.scores.has(utterance, method.name):
                    groups.setdefault(_maps(method), []).append(method.name)
            for maps, names in groups.items():
                yield _Asked(utterance, maps, names)

    def _with_explanations(self, asked: Mapping[str, _Asked]) -> Iterator[tuple[str, Any]]:
        """Explanations that are there already, read one by one by the thread that writes, too."""
        for key, own in asked.items():
            result: Any = None
            try:
                result = self.kept.read(own.maps, own.utterance.id)
            except ArgumentError as error:  # it is damaged, and the others are not
                result = error
            yield key, (own, result)

    def _prepared(self, task: tuple[_Asked, Any]) -> Task:
        """What a worker is sent, in a thread."""
        own, result = task
        unusable = _unusable_text(own.utterance, self.settings.language)
        if unusable:
            raise ArgumentError(unusable)
        if isinstance(result, Exception):
            raise result
        audio = read_ahead(
            own.utterance.audio, self.known["sampling_rate"], self.known["max_seconds"]
        )
        if result is not None:
            check_recording(audio, own.utterance, result)
        other = self._other(own.utterance) if "other" in self.settings.removals else None
        return Task(
            audio,
            seed_of(self.settings.seed, own.utterance.id),
            own.utterance.reference(self.settings.language),
            own.methods,
            None if result is None else result._stored(),
            self.kept.are_kept,
            other,
        )

    def _other(self, utterance: Utterance) -> Any:
        """Another recording, read ahead; which one depends on seed and ids, and not on the order or
        on what was measured before."""
        chosen = min(
            (own for own in self.utterances if own.id != utterance.id),
            key=lambda own: seed_of(self.settings.seed, f"{utterance.id} {own.id}"),
        )
        return read_ahead(chosen.audio, self.known["sampling_rate"], self.known["max_seconds"])

    def _write(self, own: _Asked, found: Measured) -> None:
        """The explanation first: what is measured is not explained again."""
        id_ = own.utterance.id
        if found.made is not None:
            self.kept.add(own.maps, id_, found.made)
        for name, record in found.records:
            self.scores.add(own.utterance, name, record)
            if "error" in record:
                self.kept.add_failure(own.maps, id_, record["error"])


def _maps(method: Method) -> str:
    """The name of the method whose maps it has."""
    return method.same_maps_as or method.name


def _in_order(utterances: Sequence[Utterance], is_here: bool) -> list[Utterance]:
    """The longest first where several work, so that none has the longest at the end."""
    return list(utterances) if is_here else [own for own, _ in longest_first(utterances)]


def _source(model: Any, processor: Any, is_here: bool) -> str | Loader:
    """What each worker gets its model from."""
    is_object = processor is not None or isinstance(model, torch.nn.Module)
    if not is_object and isinstance(model, str | PathLike):
        return fspath(model)
    if not is_object and callable(model):
        return cast(Loader, model)
    if not is_here:
        raise ArgumentError(
            "workers cannot be sent a model: give its name or folder, or a function that can be "
            "pickled and returns (model, processor), and None as processor."
        )
    return lambda: (model, processor)


def _maker(
    source: str | Loader,
    methods: Sequence[Method],
    settings: EvaluationSettings,
    device: str | None,
    is_here: bool,
) -> MakeWork:
    """How workers are made."""
    if is_here:
        return partial(Measure, source, methods, settings, device)
    for method in methods:
        if METHODS.get(method.name) is not method:
            raise ArgumentError(
                f"workers do not know the method {method.name!r}: register it, in a module that "
                "they import, too."
            )
    return partial(Measure.by_name, source, [m.name for m in methods], settings, device)


def _unusable_text(utterance: Utterance, language: str | None) -> str:
    """What is wrong with texts that are no Unicode, which neither files nor scores can hold."""
    for name, text in (("id", utterance.id), ("reference", utterance.reference(language))):
        if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
            return f"the {name} {visible(shortened(text, 60))} holds half a character (a surrogate)"
    return ""


def _warn_if_nothing_is_right(comparison: Comparison) -> None:
    """Errors that are there before anything is removed hide those that removing makes."""
    curve = comparison.curve(comparison.methods[0], "deletion") if comparison.methods else None
    if curve is None or not comparison.metric.startswith("wer"):
        return
    plain = replace(comparison, text_normalizer=_without_case_and_punctuation)
    left = plain.curve(comparison.methods[0], "deletion")
    already = f"with nothing removed the word error rate is {curve.y[0]:.0f} % already"
    if left is not None and curve.y[0] - left.y[0] >= _SPELLED_OTHERWISE:
        warn_caller(
            f"{already}, and {left.y[0]:.0f} % without case and punctuation, which text_normalizer "
            "(--normalize-text) leaves out."
        )
    elif curve.y[0] >= _NOTHING_RIGHT:
        warn_caller(
            f"{already}, so that deletion tells no method from another: is the reference in the "
            "language that the model writes?"
        )


def _without_case_and_punctuation(text: str) -> str:
    return "".join(c for c in text.casefold() if unicodedata.category(c)[0] != "P")


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
        own = settings.of(method)
        if method.kind is not None and method.runner is not None:
            check_arguments(method.kind, own.method_args.get("spectrogram", {}), method.name)
    if "other" in settings.removals and len(utterances) < 2:
        raise ArgumentError(
            "the removal 'other' takes another recording's cells, and there is one."
        )
    if len({utterance.id for utterance in utterances}) < len(utterances):
        raise ArgumentError("an id is there twice: give every utterance a name of its own.")
    for utterance in utterances:
        is_there = settings.language in (None, TEXT, *utterance.translations)
        if not is_there:
            raise ArgumentError(f"{utterance.id} has no translation into {settings.language!r}.")
