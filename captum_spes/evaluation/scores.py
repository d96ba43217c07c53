"""Scores in a folder: one line for each utterance and method, written as soon as it is measured."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from captum_spes.corpus.manifest import Utterance
from captum_spes.errors import ArgumentError, warn_caller
from captum_spes.evaluation.comparison import (
    AS_EXPLAINED,
    OWN_CURVES,
    OWN_PERCENTAGES,
    PERCENTAGES,
    PERTURBATIONS,
    SIDES,
    THRESHOLDS,
)
from captum_spes.evaluation.cost import Cost
from captum_spes.io.files import check_settings, keep_settings, regular_file, write_whole
from captum_spes.metrics.hearing import GRADED
from captum_spes.text import visible

_N_STEPS = len(PERCENTAGES)
_LENGTHS = dict.fromkeys((*PERTURBATIONS, *GRADED), _N_STEPS)
_SCORES = "scores.jsonl"
_SETTINGS = "settings.json"


class ScoresFile:
    """Scores in a folder, one line each, and what they were made with.

    Attributes:
        records: method to utterance id to what was measured.
    """

    def __init__(self, folder: Path, language: str | None, made: Mapping[str, Any]) -> None:
        self._path = folder / _SCORES
        self._removals = tuple(made.get("removals", ()))
        self._has_own_tokens = bool(made.get("own_tokens"))
        self._language = language
        self.records: dict[str, dict[str, dict[str, Any]]] = {}
        keep_settings(folder / _SETTINGS, made, "scores")
        self._read()

    @staticmethod
    def check(folder: Path, made: Mapping[str, Any]) -> None:
        """Raise where a folder holds scores made with other settings than these, which need not be
        all of them."""
        check_settings(folder / _SETTINGS, made, "scores")

    def has(self, utterance: Utterance, method: str) -> bool:
        record = self.records.get(method, {}).get(utterance.id)
        if record is None or "error" in record:
            return False
        lacking = lacking_field(record, self._removals, self._has_own_tokens)
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


def _lacking_lists(record: Any, lengths: Mapping[str, int]) -> str:
    """The first list that a record lacks, or holds in another form than is written."""
    for name, length in lengths.items():
        values = record.get(name) if isinstance(record, Mapping) else None
        kind = str if name in PERTURBATIONS else (int, float)
        is_list = isinstance(values, list) and len(values) == length
        if not is_list or not all(isinstance(value, kind) for value in values or ()):
            return name
    return ""


def _lacking(record: Mapping[str, Any]) -> str:
    """The first field that a record lacks, or holds in another form than is written."""
    for name in ("reference", "text"):
        if not isinstance(record.get(name), str):
            return name
    sizes = {name: len(THRESHOLDS) for name in SIDES if record.get(name, ()) is not None}
    lacking = _lacking_lists(record, _LENGTHS | sizes)
    if lacking:
        return lacking
    cost = record.get("cost")
    if "cost" in record and cost is None:  # of an explanation that was read from a store
        return ""
    names = [f.name for f in fields(Cost)]
    is_cost = isinstance(cost, Mapping) and all(
        isinstance(cost.get(name), int | float) for name in names
    )
    return "" if is_cost else "cost"


def lacking_field(record: Mapping[str, Any], removals: Sequence[str], own_tokens: bool) -> str:
    """The first field that a record of a measured explanation lacks, or holds in another form than
    is written; an empty text where there is none.

    Args:
        record: of one utterance and method.
        removals: that were asked for besides.
        own_tokens: whether each token was to be looked at by its own map.
    """
    return _lacking(record) or _lacking_of_removals(record, removals, own_tokens)


def _lacking_of_removals(
    record: Mapping[str, Any], removals: Sequence[str], own_tokens: bool
) -> str:
    """The first of the fields that were asked for besides that a record lacks."""
    found = record.get("removals", {})
    for name in removals:
        own = found.get(name) if isinstance(found, Mapping) else None
        graded = {f"insertion_{measure}": _N_STEPS for measure in GRADED}
        lacking = _lacking_lists(own if isinstance(own, Mapping) else {}, _LENGTHS | graded)
        if lacking:
            return f"removals, {name}, {lacking}"
    known = record.get("own_tokens")
    for name in (AS_EXPLAINED, *removals) if own_tokens else ():
        if not isinstance(known, Mapping) or name not in known:
            return f"own_tokens, {name}"
        values = known[name]
        lengths = dict.fromkeys(OWN_CURVES, len(OWN_PERCENTAGES))
        if values is not None and _lacking_lists(values, lengths):
            return f"own_tokens, {name}"
    return ""
