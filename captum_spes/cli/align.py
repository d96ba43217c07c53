"""``captum-spes align``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from captum_spes.cli.options import print_text, tell
from captum_spes.cli.recordings import what_happened
from captum_spes.errors import ArgumentError
from captum_spes.text import visible


def add_align(commands: Any) -> None:
    align = commands.add_parser(
        "align",
        help="find when the words and phones of English recordings are spoken",
        description="Find when each word, and each phone, of the recordings of a manifest is "
        "spoken, by forced alignment with pocketsphinx, and write JSONL that analyse reads. A line "
        'of the manifest: {"id": "a", "audio": "a.flac", "text": "what is said"}. For other '
        "languages, or noisy recordings, bring the TextGrids of an aligner made for them.",
    )
    add = align.add_argument
    add("manifest", type=Path, metavar="MANIFEST", help="JSONL, one recording a line")
    add("--out", type=Path, metavar="FILE", required=True, help="where the times are written")
    add("--quiet", action="store_true", help="show no progress bar")
    align.set_defaults(run=_align)


def _align(parsed: argparse.Namespace) -> None:
    from tqdm.auto import tqdm

    from captum_spes.alignment import force_align, write_alignments
    from captum_spes.corpus import read_manifest

    if not parsed.out.parent.is_dir():
        raise FileNotFoundError(f"no such folder to write into: {parsed.out.parent}")
    utterances = read_manifest(parsed.manifest)
    alignments = {}
    try:
        for utterance in tqdm(utterances, desc="align", unit="recording", disable=parsed.quiet):
            try:
                alignments[utterance.id] = force_align(utterance.file, utterance.text)
            except ImportError:
                raise
            except Exception as error:  # one bad recording must not end the run
                tell(f"{utterance.id}: {what_happened(error)}")
    finally:  # of a run that is interrupted, too
        if alignments:
            write_alignments(alignments, parsed.out)
    if not alignments:
        raise ArgumentError("no recording could be aligned.")
    print_text(f"aligned {len(alignments)} of {len(utterances)}, written: {visible(parsed.out)}")
