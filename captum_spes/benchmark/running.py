"""The benchmark, run."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from captum_spes.benchmark.own_methods import Entrant, entrants_of
from captum_spes.benchmark.standing import Standing
from captum_spes.benchmark.suite import SUITE, Suite
from captum_spes.demo import load_demo
from captum_spes.errors import ArgumentError, instance_of
from captum_spes.evaluation import compare_methods
from captum_spes.io.files import (
    check_folder,
    check_settings,
    keep_settings,
    made_folder,
    read_settings,
    write_whole,
)
from captum_spes.io.names import file_name
from captum_spes.io.provenance import commit, machine, versions

# The first is what others are compared with.
DEFAULT_METHODS = (
    "spes", "lime", "integrated-gradients", "saliency", "cross-attention", "energy", "random",
)  # fmt: skip


def standing_benchmark(
    methods: Sequence[Any] | None = None,
    *,
    out: str | PathLike[str] | None = None,
    suite: Suite = SUITE,
    show_progress: bool = False,
) -> Standing:
    r"""
    Measure methods on a suite that never changes, so that rows of different people can be compared.

    Every recording is explained with the bundled model by every method, and measured by own-token
    deletion (:func:`captum_spes.metrics.own_token_deletion`), by deletion and symmetric gain of
    the sentence's map, each with three removals, and by size. A run that was stopped goes on where
    it was.

    Args:

        methods (sequence, optional): Of each its name in the list of methods, a
                    :class:`captum_spes.speech.Method`, a class or function that makes a Captum
                    method of inputs or a :class:`captum_spes.speech.SpeechAttribution` from the
                    model, or where that is: "file.py:object" or "module:object", with "name="
                    before it for a name of your choice. Others are compared with the first.
                    Default: None, ``DEFAULT_METHODS``
        out (str or path, optional): Folder of scores, tables and ``submission.json``.
                    Default: None, nothing is kept
        suite (Suite, optional): ``SUITE.trial()`` is a part of it, to try a method.
                    Default: ``SUITE``
        show_progress (bool, optional): Displays a progress bar.
                    Default: False

    Returns:
        *Standing*: rows, the table, and the scores.

    Raises:
        ArgumentError: a method is unknown or there twice, the folder was made with another suite
            or with other code of a method of yours, or every recording failed.
        ArgumentTypeError: an object makes no method that can be run.
        ImportError: transformers is not installed, or too old for the bundled model.
        OSError: the folder cannot be written.

    Examples::

        >>> standing = standing_benchmark(["energy"], suite=SUITE.trial())
        >>> standing.comparison.methods
        ['energy']
    """
    instance_of("suite", suite, Suite, "a Suite such as SUITE")
    if methods is not None and isinstance(methods, str):
        raise ArgumentError(f"methods must be a list, got {methods!r}.")
    model, processor, examples = load_demo()
    entrants = entrants_of(DEFAULT_METHODS if methods is None else methods, model)
    place: AbstractContextManager[str] = (
        tempfile.TemporaryDirectory() if out is None else nullcontext(fspath(out))
    )
    with place as folder:
        _keep_suite(check_folder(folder), suite)
        _keep_sources(Path(folder), entrants)
        comparison = compare_methods(
            model,
            processor,
            suite.utterances(examples),
            [own.method for own in entrants],
            suite.settings(),
            folder,
            show_progress=show_progress,
        )
        weights = read_settings(Path(folder) / "settings.json")["weights"]
    if not comparison.ids:
        _, name, error = comparison.failures[0]
        raise ArgumentError(f"no recording was measured with every method; {name}: {error}")
    about = {own.method.name: own.method.about for own in entrants}
    found = Standing({**suite.to_dict(), "weights": weights}, comparison, about, _made(entrants))
    if out is not None:
        found.write(out)
    return found


def _keep_suite(folder: Path, suite: Suite) -> None:
    """Write down the suite of a folder, or raise where it is another one's."""
    check_settings(folder / "suite.json", suite.to_dict(), "scores")
    keep_settings(made_folder(folder) / "suite.json", suite.to_dict(), "scores")


def _keep_sources(folder: Path, entrants: Sequence[Entrant]) -> None:
    """Write down the code of methods from outside, or raise where there are scores of other code;
    code that only failed may be mended."""
    for own in entrants:
        if own.source is None:
            continue
        name = own.method.name
        path, made = folder / "methods" / f"{file_name(name)}.json", {"source": own.source}
        if _has_scores(folder, name):
            check_settings(path, made, f"scores of {name}")
        write_whole(made_folder(path.parent) / path.name, json.dumps(made) + "\n")


def _has_scores(folder: Path, name: str) -> bool:
    """Whether a method was measured on a recording."""
    path = folder / "scores.jsonl"
    if not path.exists():
        return False
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        with suppress(ValueError):  # the last one was being written, or the run will tell
            record = json.loads(line)
            if record.get("method") == name and "error" not in record:
                return True
    return False


def _made(entrants: Sequence[Entrant]) -> dict[str, Any]:
    """When, where and with what."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "versions": versions(),
        "commit": commit(),
        "machine": machine(),
        "sources": {own.method.name: own.source for own in entrants},
    }
