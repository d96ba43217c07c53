"""``captum-spes corpus``."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from captum_spes.cli.options import (
    add_model_options,
    add_settings_options,
    add_workers_options,
    load,
    methods_help,
    positive,
    print_text,
    settings_of,
    tell,
    workers_of,
)
from captum_spes.errors import ArgumentError


def add_corpus(commands: Any) -> None:
    """Add the command."""
    corpus = commands.add_parser(
        "corpus",
        help="explain all recordings of a manifest, in several processes, into one file",
        description="Explain all recordings of a manifest in several processes. Each explanation "
        "is in the file as soon as it is there; a run that was stopped or killed goes on where it "
        "was. What cannot be explained is named, and the rest goes on.",
    )
    add = corpus.add_argument
    add(
        "manifest",
        type=Path,
        metavar="MANIFEST",
        help="JSONL, as captum-spes evaluate takes it, whose files are all there; or the folder of "
        "a dataset that was saved by save_to_disk of Hugging Face's datasets",
    )
    add("--store", type=Path, required=True, metavar="FILE.h5", help="the file")
    add(
        "--method",
        default="spes",
        metavar="METHOD",
        help="how to explain (default: %(default)s). " + methods_help().replace("%", "%%"),
    )
    add_workers_options(corpus, "1")
    add("--limit", type=positive, metavar="N", help="the first N recordings alone")
    add(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on with a file that holds explanations (default: %(default)s)",
    )
    add_settings_options(corpus)
    add_model_options(corpus)
    corpus.set_defaults(run=_corpus)


def _corpus(parsed: argparse.Namespace) -> int:
    from captum_spes.corpus import ExplanationStore, explain_corpus
    from captum_spes.corpus.runner import utterances_in

    utterances = utterances_in(parsed.manifest)[: parsed.limit]
    with ExplanationStore(parsed.store) as store:
        run = explain_corpus(
            utterances,
            store,
            model=partial(load, parsed),
            method=parsed.method,
            settings=settings_of(parsed),
            seed=parsed.seed,
            workers=workers_of(parsed) or 1,
            device=parsed.device,
            resume=parsed.resume,
            show_progress=not parsed.quiet,
        )
    for id_, reason in run.failures.items():
        tell(f"{id_}: {reason}")
    if not run.explained and not run.known:
        raise ArgumentError("no recording could be explained.")
    print_text(
        f"{len(run.explained)} explained, {len(run.known)} known, {len(run.failures)} failed: "
        f"{parsed.store}"
    )
    return 1 if run.failures else 0
