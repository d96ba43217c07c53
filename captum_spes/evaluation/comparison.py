"""What methods are compared with, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from captum_spes.attr.loop import AUTO
from captum_spes.corpus.manifest import TEXT
from captum_spes.errors import ArgumentError, several, truth
from captum_spes.metrics.curves import Curve, CurveDifference, mean_counts, mean_score
from captum_spes.metrics.gain import rises
from captum_spes.metrics.hearing import GRADED
from captum_spes.metrics.measured_curve import graded_curve, text_curve
from captum_spes.metrics.own_token import OwnTokenDeletion, OwnTokenValues
from captum_spes.metrics.removal import as_removal
from captum_spes.metrics.size import steps_of
from captum_spes.speech import Method, Settings

PERCENTAGES = tuple(range(0, 101, 5))
THRESHOLDS = tuple(steps_of(0.05))
SIDES = {"size": "spectrogram", "token_size": "previous tokens"}
PERTURBATIONS = ("deletion", "insertion")
# Of own tokens, each of which has a curve of its own.
OWN_PERCENTAGES = tuple(range(0, 101, 10))
OWN_CURVES = OwnTokenValues._fields
# What the explanation itself removes with, as a name among removals.
AS_EXPLAINED = "as explained"
_COSTS = ("encoder_passes", "decoder_passes", "seconds")


@dataclass(frozen=True)
class EvaluationSettings:
    """What every utterance of a comparison is explained and measured with.

    Attributes:
        model: name or folder of the model, to recognise a run that is continued.
        settings: how is explained; every method makes its own of them.
        seed: of every random choice; that of an utterance is made of it and of the utterance's id,
            as :func:`captum_spes.corpus.explain_corpus` makes it.
        method_args: name of a method to arguments of its own ``attribute``.
        language: of the reference translations; None for transcription. "text" is the text of the
            utterances, whatever the model is asked for.
        metric: of texts, one of those of :func:`captum_spes.metrics.corpus_score`.
        batch_size: steps of deletion and insertion per forward pass; None for all, "auto" for as
            many as the size of the encoder's states suggests. A run can be continued in other
            batches.
        removals: names of :data:`captum_spes.metrics.REMOVALS`: deletion and insertion are measured
            with each of them, too, whatever the explanation removed; "other" takes the cells of
            another one of the utterances.
        own_tokens: whether each token is looked at by its own map and by those of the other tokens
            (:func:`captum_spes.metrics.own_token_deletion`), as the explanation removes and with
            each of the removals.
    """

    model: str
    settings: Settings = field(default_factory=Settings.efficient)
    seed: int = 0
    method_args: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    language: str | None = None
    metric: str = "wer_capped"
    batch_size: int | str | None = AUTO
    removals: tuple[str, ...] = ()
    own_tokens: bool = False

    def __post_init__(self) -> None:
        names = [str(name) for name in several("removals", self.removals, "names of removals")]
        for name in names:
            as_removal(name)
        if len(set(names)) < len(names):
            raise ArgumentError(f"removals are named twice: {', '.join(names)}.")
        object.__setattr__(self, "removals", tuple(names))
        truth("own_tokens", self.own_tokens)

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
        # Folders of versions without these fields can be continued.
        for name in ("removals", "own_tokens"):
            if not found[name]:
                del found[name]
        return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def n_copies(n_methods: int, n_removals: int = 0) -> int:
    """Damaged copies of a recording that the model transcribes to score explanations by so many
    methods: the intact one is the same for all, and that with everything removed for all methods.

    Args:
        n_methods: that are compared.
        n_removals: besides what explanations remove with.
    """
    own = len(PERTURBATIONS) * (len(PERCENTAGES) - 2)
    return 1 + (1 + own * n_methods) * (1 + n_removals) if n_methods else 0


def n_copies_per_map(n_methods: int, settings: EvaluationSettings) -> int:
    """Copies that are heard for each token's map, and for that of the sentence, where each token is
    looked at by its own map."""
    own = len(OWN_PERCENTAGES) * n_methods * (1 + len(settings.removals))
    return own if settings.own_tokens else 0


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

    def __repr__(self) -> str:
        """Without the records, which fill pages."""
        return (
            f"Comparison(methods={list(self.methods)}, {len(self.ids)} utterances measured with "
            f"all, {len(self.failures)} failures, metric={self.metric!r})"
        )

    @property
    def ids(self) -> list[str]:
        """Utterances that every method was measured on, so that all are scored alike."""
        measured = [
            {i for i, record in self.records[name].items() if "error" not in record}
            for name in self.methods
        ]
        first = self.records[self.methods[0]] if self.methods else ()
        return [i for i in first if all(i in m for m in measured)]

    @property
    def failures(self) -> list[tuple[str, str, str]]:
        """Utterance, method and error of what failed."""
        return [
            (i, name, record["error"])
            for name in self.methods
            for i, record in self.records[name].items()
            if "error" in record
        ]

    def curve(self, method: str, measure: str, removal: str = AS_EXPLAINED) -> Curve | None:
        r"""
        Draw together what all utterances add to a measure.

        Args:

            method (str): One of ``methods``.
            measure (str): "deletion" or "insertion" (scored by ``metric``), "size",
                        "token_size", "kl" or "token_accuracy" (of deletion).
            removal (str, optional): What removed cells became: one of ``removals``; of these sizes
                        are not measured.
                        Default: "as explained"

        Returns:
            *Curve*, or None where the method has nothing to measure (no map of previous
            tokens).

        Examples::

            >>> area = comparison.curve("energy", "deletion").auc
        """
        ids = self.ids
        records = self._records(method, removal)
        if measure not in PERTURBATIONS + GRADED and removal != AS_EXPLAINED:
            raise ArgumentError(f"{measure} does not depend on what removed cells become.")
        values = [record[measure] for record in records]
        if not values or any(value is None for value in values):
            return None
        if measure in PERTURBATIONS:
            normalize = self.text_normalizer
            references = [normalize(self.records[method][i]["reference"]) for i in ids]
            texts = [[normalize(text) for text in row] for row in values]
            return text_curve(measure, self.metric, PERCENTAGES, references, texts, ids)
        if measure in GRADED:
            return graded_curve(f"deletion, {measure}", measure, PERCENTAGES, values, ids)
        counts = mean_counts(np.array(values, float))
        name = f"size, {SIDES[measure]}"
        return Curve(name, "cells", THRESHOLDS, counts, mean_score, tuple(ids))

    def gain(
        self, method: str, metric: str | None = None, removal: str = AS_EXPLAINED
    ) -> CurveDifference | None:
        r"""
        The symmetric relevance gain (:func:`captum_spes.metrics.symmetric_gain`), the larger the
        better. Removing the least salient cells first is insertion read backwards, but for one cell
        where a step is no whole number of cells, so that it needs no passes of its own.

        Args:

            method (str): One of ``methods``.
            metric (str, optional): "kl" or "token_accuracy", which are known for ``removals`` only.
                        Default: None, that of the texts
            removal (str, optional): One of ``removals``.
                        Default: "as explained"

        Returns:
            *CurveDifference*, or None where insertion was not measured by it.

        Examples::

            >>> gain = comparison.gain("energy").auc
        """
        measure = "deletion" if metric is None else metric
        kept = "insertion" if metric is None else f"insertion_{metric}"
        records = self._records(method, removal)
        if not records or any(kept not in record for record in records):
            return None
        most = self.curve(method, measure, removal)
        assert most is not None  # insertion was measured beside it
        if metric is None:
            least = self.curve(method, kept, removal)
            assert least is not None
        else:
            values = [record[kept] for record in records]
            least = graded_curve(f"insertion, {metric}", metric, PERCENTAGES, values, self.ids)
        least = replace(
            least, name="deletion, least salient first", counts=least.counts[:, ::-1].copy()
        )
        first, second = (most, least) if rises(most.metric) else (least, most)
        return CurveDifference("symmetric relevance gain", first, second)

    def own_token(self, method: str, removal: str = AS_EXPLAINED) -> OwnTokenDeletion | None:
        r"""
        Each token's divergence by its own map, by those of the other tokens and by the sentence's.

        Args:

            method (str): One of ``methods``.
            removal (str, optional): One of ``removals``.
                        Default: "as explained"

        Returns:
            *OwnTokenDeletion* of the utterances with two tokens or more, or None where it was not
            measured.

        Examples::

            >>> comparison.own_token("energy") is None  # it was not asked for
            True
        """
        records = [
            (i, self.records[method][i].get("own_tokens", {}).get(removal)) for i in self.ids
        ]
        found = [(i, own) for i, own in records if own is not None]
        if not found:
            return None
        ids = [i for i, _ in found]
        return OwnTokenDeletion(*(
            graded_curve(
                f"deletion, {name}", "kl", OWN_PERCENTAGES, [own[name] for _, own in found], ids
            )
            for name in OWN_CURVES
        ))  # fmt: skip

    @property
    def removals(self) -> list[str]:
        """What removed cells became: "as explained", and what else was asked for."""
        first = next(iter(self._records(self.methods[0], None)), {})
        return [AS_EXPLAINED, *first.get("removals", {})]

    def _records(self, method: str, removal: str | None) -> list[Mapping[str, Any]]:
        """What was measured with a removal, of the utterances that all methods have."""
        records = [self.records[method][i] for i in self.ids]
        if removal in (None, AS_EXPLAINED):
            return records
        if any(removal not in record.get("removals", {}) for record in records):
            raise ArgumentError(
                f"removal must be one of {', '.join(self.removals)}, got {removal!r}."
            )
        return [record["removals"][removal] for record in records]

    def cost(self, method: str) -> dict[str, float | None]:
        """Mean passes and seconds per utterance of a method's explanations; of those that were
        read from a store they are not known, and None where all were."""
        records = [self.records[method][i] for i in self.ids]
        known = [record["cost"] for record in records if record["cost"] is not None]
        if records and not known:
            return dict.fromkeys(_COSTS)
        return {name: sum(cost[name] for cost in known) / max(1, len(known)) for name in _COSTS}

    @property
    def n_read(self) -> int:
        """How many explanations of these utterances were read from a store, whose cost is not
        known."""
        costs = [self.records[name][i]["cost"] for name in self.methods for i in self.ids]
        return costs.count(None)
