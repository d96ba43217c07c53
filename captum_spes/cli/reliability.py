"""``captum-spes reliability``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from captum_spes.cli.options import (
    add_workers_options,
    positive,
    print_report,
    print_written,
    workers_of,
)
from captum_spes.errors import ArgumentError, optional_library
from captum_spes.io.files import check_folder
from captum_spes.speech import METHODS
from captum_spes.text import visible

_METHODS = "spes,saliency,integrated-gradients,feature-ablation,lime"
_UNITS = "20ms,word,20ms:word"
_INPUTS = ("waveform", "spectrogram", "encoder")


def add_reliability(commands: Any) -> None:
    reliability = commands.add_parser(
        "reliability",
        aliases=["stability"],
        help="how far attributions agree between models that were trained with other seeds",
        description="Explain the same recordings with models that differ in their random seed and "
        "measure how far the attributions agree, beside chance and beside the agreement of each "
        "model with itself: tables (CSV), boxplots, a summary, and all scores. A run that was "
        'stopped goes on where it was. A line of the manifest: {"id": "a", "audio": "a.flac", '
        '"text": "what is said", "labels": {"speaker": "theo"}, "words": [["what", 0.1, 0.3]]}; '
        "labels are for classifiers, words (and phones) for these units.",
    )
    add = reliability.add_argument
    add(
        "--models",
        nargs="+",
        required=True,
        metavar="DIR",
        help="classifiers or speech-to-text models, one per seed; or a folder that holds them",
    )
    add("--manifest", type=Path, required=True, metavar="FILE", help="JSONL, one recording a line")
    add(
        "--methods",
        default=_METHODS,
        metavar="NAME,...",
        help=f"of {', '.join(_known_methods())}; those that sample with a number of samples: "
        "lime@25. The others are compared with the first. (default: %(default)s)",
    )
    add(
        "--units",
        default=_UNITS,
        metavar="NAME,...",
        help="cell, patch, phone, word or a window such as 20ms; 20ms:word perturbs windows and "
        "averages over words (default: %(default)s)",
    )
    add(
        "--inputs",
        default="spectrogram",
        metavar="NAME,...",
        help=f"{', '.join(_INPUTS)} (default: %(default)s)",
    )
    add(
        "--tasks",
        metavar="NAME,...",
        help="labels of the manifest whose classes are explained (default: all of the models)",
    )
    add(
        "--alignments",
        type=Path,
        metavar="PATH",
        help="times of words and phones: what align writes, TextGrid, CTM or JSON (default: those "
        "of the manifest)",
    )
    add("--out", type=Path, metavar="DIR", required=True, help="where everything is written")
    add("--runs", type=positive, default=2, metavar="N", help="mask seeds per model (default: 2)")
    add("--seed", type=int, default=0, metavar="N", help="of all masks (default: %(default)s)")
    add("--limit", type=positive, metavar="N", help="the first N recordings only")
    add(
        "--top",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="share of the units that counts as the highest (default: %(default)s)",
    )
    add("--absolute", action="store_true", help="compare magnitudes (default: signed scores)")
    add("--device", metavar="DEVICE", help="where the models run: cpu, cuda, cuda:1, mps")
    add_workers_options(reliability, "none, this process does the work")
    add("--quiet", action="store_true", help="show no progress bar")
    reliability.set_defaults(run=_reliability)


def _reliability(parsed: argparse.Namespace) -> None:
    from captum_spes.corpus import read_manifest
    from captum_spes.io.provenance import write_provenance
    from captum_spes.report import write_stability
    from captum_spes.stability import parse_method, parse_units, run_study

    optional_library("pandas", "a table", "analysis")  # now, and not after hours of work
    if not 0 < parsed.top < 1:
        raise ArgumentError(f"--top must lie between 0 and 1, got {parsed.top}.")
    units = [parse_units(text) for text in _names(parsed.units)]
    methods = [parse_method(text) for text in _names(parsed.methods)]
    check_folder(parsed.out)
    study = run_study(
        _models(parsed.models),
        read_manifest(parsed.manifest)[: parsed.limit],
        methods,
        units,
        parsed.out,
        alignments=_alignments(parsed, units),
        inputs=_names(parsed.inputs),
        tasks=None if parsed.tasks is None else _names(parsed.tasks),
        n_runs=parsed.runs,
        seed=parsed.seed,
        device=parsed.device,
        workers=workers_of(parsed),
        show_progress=not parsed.quiet,
    )
    written = write_stability(study, parsed.out, top=parsed.top, absolute=parsed.absolute)
    written.append(write_provenance(parsed.out, parsed.arguments))
    summary = parsed.out / "summary.md"
    print_report(summary.read_text(encoding="utf-8"), visible(summary))
    print_written(written)


def _known_methods() -> list[str]:
    """Those of :mod:`captum_spes.stability`, which takes long to import."""
    known = [method.name for method in METHODS.values() if method.runner is not None]
    return [*known, "feature-ablation-kl"]


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if len(set(names)) < len(names) or "" in names:
        raise ArgumentError(f"give every name once, none of them empty; got {text!r}.")
    return names


def _models(places: Sequence[str]) -> dict[str, str]:
    """Name to folder; a folder of models stands for these."""
    folders: list[str] = []
    for place in places:
        inside = sorted(file.parent for file in Path(place).glob("*/config.json"))
        is_model = (Path(place) / "config.json").exists() or not inside
        if not Path(place).exists() and len(Path(place).parts) > 1 and Path(place).parent.is_dir():
            raise FileNotFoundError(f"no such model folder: {place}")
        folders += [place] if is_model else map(str, inside)
    # The folder "." has no name of its own.
    models = {Path(os.path.abspath(folder)).name: folder for folder in folders}
    if len(models) < len(folders):
        # Models of several groups: the folders above tell them apart.
        models = {folder.strip("/").replace("/", "-"): folder for folder in folders}
    if len(models) < 2:
        raise ArgumentError(
            f"--models needs two models that differ in their seed, got {', '.join(places)}."
        )
    return models


def _alignments(parsed: argparse.Namespace, units: Sequence[Any]) -> dict[str, Any] | None:
    from captum_spes.alignment import read_alignments
    from captum_spes.stability.units import needs_alignment

    if not any(needs_alignment(unit) for pair in units for unit in pair):
        return None
    try:
        return read_alignments(parsed.alignments or parsed.manifest)
    except ArgumentError as error:
        raise ArgumentError(
            f"units of words and phones need their times ({error}): give --alignments, what "
            "captum-spes align writes, for example."
        ) from error
