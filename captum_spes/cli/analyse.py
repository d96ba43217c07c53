"""``captum-spes analyse``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from captum_spes.cli.explanations import explanations_in
from captum_spes.cli.options import print_report, print_written
from captum_spes.errors import ArgumentError
from captum_spes.io.files import check_folder
from captum_spes.text import visible


def add_analyse(commands: Any) -> None:
    analyse = commands.add_parser(
        "analyse",
        help="what maps say of time, frequency, evidence in the audio and previous tokens",
        description="Analyse saved explanations of one method: tables (CSV), figures and a summary "
        "of all tests. With the times at which words are spoken: whether maps lie there, which "
        "frequencies words and phones rest on, and whether words that were not said can be told.",
    )
    add = analyse.add_argument
    add(
        "results",
        type=Path,
        metavar="RESULTS",
        help="a saved explanation, a folder that holds some, as explain --out writes, or the file "
        "(.h5) of captum-spes corpus, or of one method of captum-spes evaluate --explanations",
    )
    add("--out", type=Path, metavar="DIR", required=True, help="where everything is written")
    add(
        "--alignments",
        type=Path,
        metavar="PATH",
        help="times of the words: what align writes, TextGrid, CTM or JSON, or a folder of such "
        "files; by the name of the utterance; what cannot be read is named and left out",
    )
    add(
        "--manifest",
        type=Path,
        metavar="MANIFEST",
        help="JSONL that tells more of the utterances, for --group-by",
    )
    add(
        "--group-by",
        metavar="FIELD",
        help="compare the frequencies that words rest on between groups, by this field of "
        "--manifest: gender, for example",
    )
    add(
        "--compare",
        nargs=2,
        action="append",
        default=[],
        metavar=("FIRST", "SECOND"),
        help="test in which bands two words differ, for example so no; can be repeated",
    )
    add(
        "--bands",
        choices=("bark", "erb", "hz", "voice"),
        default="bark",
        help="frequency bands (default: %(default)s)",
    )
    add(
        "--language",
        default="en",
        metavar="CODE",
        help="of numbers in the texts, a code such as de (default: %(default)s)",
    )
    add(
        "--keep-noise",
        action="store_true",
        help="also test words and tokens whose maps are mostly sampling noise, which are left out "
        "otherwise; tests on such maps are marked",
    )
    analyse.set_defaults(run=_analyse)


def _analyse(parsed: argparse.Namespace) -> None:
    from captum_spes.alignment import read_alignments
    from captum_spes.analysis import read_groups
    from captum_spes.report import write_analysis

    needs_times = {"--group-by": parsed.group_by, "--compare": parsed.compare}
    for option, value in needs_times.items():
        if value and parsed.alignments is None:
            raise ArgumentError(f"{option} needs --alignments, the times of the words.")
    if (parsed.group_by is None) != (parsed.manifest is None):
        raise ArgumentError("--group-by and --manifest go together: the field, and its file.")
    check_folder(parsed.out)
    alignments = None if parsed.alignments is None else read_alignments(parsed.alignments)
    groups = None if parsed.group_by is None else read_groups(parsed.manifest, parsed.group_by)
    results = dict(explanations_in([parsed.results]))
    written = write_analysis(
        results,
        parsed.out,
        alignments=alignments,
        groups=groups,
        compare=[tuple(word.casefold() for word in pair) for pair in parsed.compare],
        bands=parsed.bands,
        language=parsed.language,
        keep_noise=parsed.keep_noise,
    )
    summary = parsed.out / "summary.md"
    print_report(summary.read_text(encoding="utf-8"), visible(summary))
    print_written(written)
