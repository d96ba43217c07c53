"""``captum-spes benchmark``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from captum_spes.cli.options import print_text, print_written, tell
from captum_spes.errors import ArgumentError

# Written out: to import them takes half a second of every command.
METHODS = "spes,lime,integrated-gradients,saliency,cross-attention,energy,random"


def add_benchmark(commands: Any) -> None:
    benchmark = commands.add_parser(
        "benchmark",
        help="measure a method of yours beside others on a suite that never changes",
        description="Measure methods on the bundled model and recordings, with settings that "
        "never change within a version of the suite, and print one table: own-token deletion, "
        "deletion and symmetric gain with three removals, size and cost. A run that was stopped "
        "goes on where it was. docs/benchmark.md says how a method takes part.",
    )
    add = benchmark.add_argument
    add(
        "--method",
        action="append",
        default=[],
        metavar="[NAME=]FILE.py:OBJECT",
        help="a method of yours, beside those of --methods: a class or function that makes a "
        "Captum method of inputs, or a SpeechAttribution, from a model; module:object for one that "
        "is installed. Its code is run. Can be given several times",
    )
    add(
        "--methods",
        default=METHODS,
        metavar="NAME,...",
        help="methods of the package, the first being what others are compared with, or none for "
        "those of --method alone (default: %(default)s)",
    )
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="where scores, tables and submission.json are written (default: nowhere)",
    )
    add(
        "--trial",
        action="store_true",
        help="one recording and one removal, to see whether a method runs",
    )
    add(
        "--join",
        nargs="+",
        type=Path,
        metavar="SUBMISSION",
        help="measure nothing: put the methods of these files submission.json, or of folders that "
        "have one, into one table",
    )
    add("--quiet", action="store_true", help="show no progress bar")
    benchmark.set_defaults(run=_benchmark)


def _benchmark(parsed: argparse.Namespace) -> None:
    if parsed.join:
        _join(parsed)
        return
    from captum_spes.benchmark import SUITE, standing_benchmark

    names = [] if parsed.methods == "none" else parsed.methods.split(",")
    found = standing_benchmark(
        [*(name.strip() for name in names), *parsed.method],
        out=parsed.out,
        suite=SUITE.trial() if parsed.trial else SUITE,
        show_progress=not parsed.quiet,
    )
    for utterance, method, error in found.comparison.failures:
        tell(f"{utterance}, {method}: {error}")
    if parsed.out is None:
        print_text(found.table().rstrip("\n"))
        return
    from captum_spes.io.provenance import write_provenance

    run = write_provenance(parsed.out, parsed.arguments)
    print_text((parsed.out / "table.md").read_text(encoding="utf-8"))
    files = ("table.md", "table.csv", "submission.json")
    print_written([*(parsed.out / name for name in files), run])


def _join(parsed: argparse.Namespace) -> None:
    from captum_spes.benchmark import joined_standing

    if parsed.method or parsed.trial:
        raise ArgumentError("--join measures nothing: leave --method and --trial out.")
    found = joined_standing(parsed.join)
    if parsed.out is None:
        print_text(found.table().rstrip("\n"))
        return
    written = found.write(parsed.out)
    print_text(written[0].read_text(encoding="utf-8"))
    print_written(written)
