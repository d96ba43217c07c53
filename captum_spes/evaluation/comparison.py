"""What methods are compared with, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from captum_spes.attr.loop import AUTO
from captum_spes.corpus.manifest import TEXT
from captum_spes.errors import ArgumentError
from captum_spes.metrics.curves import Curve, mean_counts, mean_score
from captum_spes.metrics.hearing import GRADED
from captum_spes.metrics.measured_curve import graded_curve, text_curve
from captum_spes.metrics.size import steps_of
from captum_spes.speech import Method, Settings

PERCENTAGES = tuple(range(0, 101, 5))
THRESHOLDS = tuple(steps_of(0.05))
SIDES = {"size": "spectrogram", "token_size": "previous tokens"}
PERTURBATIONS = ("deletion", "insertion")
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
    """

    model: str
    settings: Settings = field(default_factory=Settings.efficient)
    seed: int = 0
    method_args: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    language: str | None = None
    metric: str = "wer_capped"
    batch_size: int | str | None = AUTO

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


def n_copies(n_methods: int) -> int:
    """Damaged copies of a recording that the model hears to score explanations by so many methods:
    those with nothing and with everything removed are the same for all."""
    own = len(PERTURBATIONS) * (len(PERCENTAGES) - 2)
    return 2 + own * n_methods if n_methods else 0


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
