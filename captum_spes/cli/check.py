"""``captum-spes check``."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from captum_spes.cli.options import (
    add_model_options,
    encodable,
    generation_arguments,
    load,
    positive,
    print_text,
    print_written,
    take_bundled_recording,
    tell,
)
from captum_spes.cli.recordings import check_there, read_recording, what_happened
from captum_spes.errors import ArgumentError
from captum_spes.io.files import made_folder
from captum_spes.io.names import FileNames
from captum_spes.speech.evidence_files import FORMATS
from captum_spes.text import for_terminal, visible

_TABLE = "table"
# What --out writes beside the table.
_BESIDE_TABLE = ("json", "csv")
_COLOURS = {True: None, False: "bold red", None: "yellow"}
_RULES = "verdict_rules.json"
# Exit status where --fail-above is exceeded.
_FAILED = 1


def add_check(commands: Any) -> None:
    """Add the command."""
    check = commands.add_parser(
        "check",
        help="which words of a transcript the model heard, and which it made up",
        description="Let a model write what it hears in recordings of any length, and say of each "
        "word whether it was heard: heard, not heard, cannot tell. With no recording, a bundled "
        "one.",
        epilog="Exit status: 0, 1 where --fail-above is exceeded, 2 for an error.",
    )
    add = check.add_argument
    add(
        "audio",
        nargs="*",
        type=Path,
        metavar="AUDIO",
        help="recordings of any format, rate and length; - is standard input",
    )
    add("--target", metavar="TEXT", help="check this text instead of the model's own output")
    add(
        "--passes",
        type=positive,
        metavar="N",
        help="perturbed inputs per window, 1 to 40: more tell the times of words better and take "
        "longer (default: 12; for --calibrate 1, 4, 12 and 40)",
    )
    add(
        "--baselines",
        default="mean",
        metavar="VALUE",
        help="what removed audio is replaced by: mean or silence (default: %(default)s)",
    )
    add(
        "--format",
        choices=(_TABLE, *(ending.removeprefix(".") for ending in FORMATS)),
        default=_TABLE,
        help="what is printed, or written with --out; in subtitles [words] were not heard, and of "
        "[words?] nobody can tell (default: %(default)s, which --out writes as JSON and CSV)",
    )
    add("--out", type=Path, metavar="DIR", help="write a file per recording here")
    add(
        "--fail-above",
        type=_share,
        metavar="SHARE",
        help="exit with 1 where more words than this were not heard: 5%%, or 0.05",
    )
    add("--rules", type=Path, metavar="FILE", help="verdict rules that --calibrate wrote")
    add(
        "--calibrate",
        type=Path,
        metavar="MANIFEST",
        help="make verdict rules for this model from recordings whose texts are right (JSONL), and "
        f"write them to --out/{_RULES}; words that were not said are made by cutting, silencing, "
        "swapping words, and noise",
    )
    add_model_options(check)
    check.set_defaults(run=_check)


def _check(parsed: argparse.Namespace) -> int:
    if parsed.calibrate is not None:
        _calibrate(parsed)
        return 0
    _check_options(parsed)
    check_there(parsed.audio)

    from captum_spes import SPES, SpeechToTextAttribution
    from captum_spes.speech.verdicts import read_rules

    rules = None if parsed.rules is None else read_rules(parsed.rules)
    model, processor = load(parsed)
    explainer = SpeechToTextAttribution(SPES(model), processor)
    rate = explainer.adapter.sampling_rate
    recordings = [read_recording(file, rate) for file in parsed.audio]
    folder = None if parsed.out is None else made_folder(parsed.out)
    names = FileNames()
    reports, n_left_out = [], 0
    for recording in recordings:
        show = _Shown(parsed.format, visible(recording.label) if len(recordings) > 1 else None)
        try:
            report = explainer.check(
                recording.samples(rate),
                rate,
                parsed.target,
                parsed.passes or 12,
                generation_arguments(parsed),
                baselines=parsed.baselines,
                rules=rules,
                seed=parsed.seed,
                # The rows of the table show how far it is.
                show_progress=not parsed.quiet and parsed.format != _TABLE,
                on_words=show.words if parsed.format == _TABLE else None,
            )
        except (OSError, ImportError):
            raise
        except Exception as error:  # one bad recording must not end the run
            if len(recordings) == 1:
                raise
            tell(f"{visible(recording.label)}: {what_happened(error)}")
            n_left_out += 1
            continue
        reports.append((recording, report))
        written = (
            [] if folder is None else _write(report, folder, names.new(recording.name), parsed)
        )
        show.end(report, is_written=bool(written))
        if written:
            print_written(written)
    if not reports:
        raise ArgumentError("no recording could be checked.")
    if n_left_out and parsed.fail_above is not None:
        raise ArgumentError(f"{n_left_out} recordings could not be checked.")
    return _status(reports, parsed.fail_above)


class _Shown:
    """Prints a table as its words come, or a whole report in another format.

    Args:
        kind: the format.
        label: of the recording, where there are several.
    """

    def __init__(self, kind: str, label: str | None) -> None:
        self._kind, self._label = kind, label
        self._print = _printer()
        self._has_begun = False

    def words(self, words: list[Any]) -> None:
        """Print the rows of some words."""
        from captum_spes.report.evidence import evidence_line

        self._begin()
        for word in words:
            self._print(evidence_line(word), _COLOURS[word.heard])

    def end(self, report: Any, is_written: bool) -> None:
        """Print what comes after the last word."""
        from captum_spes.report.evidence import evidence_summary

        if self._kind == _TABLE:
            self._begin()
            print_text("")
            print_text(evidence_summary(report))
        elif not is_written:
            text = FORMATS[f".{self._kind}"](report)
            if self._kind == "json":  # whatever the terminal can show
                text = json.dumps(json.loads(text), indent=1)
            print(encodable(text.rstrip("\n")))

    def _begin(self) -> None:
        from captum_spes.report.evidence import HEADER

        if self._has_begun:
            return
        self._has_begun = True
        if self._label is not None:
            print_text(f"\n{self._label}")
        print_text(HEADER)


def _printer() -> Callable[[str, str | None], None]:
    """Prints a line in a colour, where rich is installed and somebody looks at a terminal."""
    try:
        from rich.console import Console
    except ImportError:
        return lambda line, colour: print_text(line)
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        return lambda line, colour: print_text(line)
    return lambda line, colour: console.print(
        encodable(for_terminal(line)), style=colour, markup=False, emoji=False
    )


def _check_options(parsed: argparse.Namespace) -> None:
    """Raise at options that do not go together, before a model is loaded."""
    take_bundled_recording(parsed)
    if len(parsed.audio) > 1 and parsed.out is None and parsed.format != _TABLE:
        raise ArgumentError(f"--format {parsed.format} of several recordings needs --out DIR.")
    if parsed.target is not None and len(parsed.audio) > 1:
        raise ArgumentError("--target is the text of one recording.")


def _write(report: Any, folder: Path, name: str, parsed: argparse.Namespace) -> list[Path]:
    """Write the files of a recording."""
    endings = {"textgrid": "TextGrid"}
    kinds = _BESIDE_TABLE if parsed.format == _TABLE else (parsed.format,)
    paths = [folder / f"{name}.{endings.get(kind, kind)}" for kind in kinds]
    for path in paths:
        report.save(path)
    return paths


def _status(reports: list[tuple[Any, Any]], most: float | None) -> int:
    """Whether more words were not heard than may be."""
    if most is None:
        return 0
    status = 0
    for recording, report in reports:
        if report.share_not_heard > most:
            tell(
                f"{visible(recording.label)}: {100 * report.share_not_heard:.1f} % of the words "
                f"were not heard, more than {100 * most:g} %"
            )
            status = _FAILED
    return status


def _calibrate(parsed: argparse.Namespace) -> None:
    from captum_spes import SPES, SpeechToTextAttribution
    from captum_spes.corpus import read_manifest
    from captum_spes.evaluation import calibrate
    from captum_spes.speech.verdicts import write_rules

    if parsed.out is None:
        raise ArgumentError("--calibrate needs --out DIR, where the rules are written.")
    if parsed.audio:
        raise ArgumentError("--calibrate takes its recordings from the manifest: leave AUDIO out.")
    others = {"--target": parsed.target, "--rules": parsed.rules, "--fail-above": parsed.fail_above}
    for option, value in others.items():
        if value is not None:
            raise ArgumentError(f"{option} has no effect on --calibrate: leave it out.")
    utterances = read_manifest(parsed.calibrate)
    folder = made_folder(parsed.out)
    model, processor = load(parsed)
    rules = calibrate(
        SpeechToTextAttribution(SPES(model), processor),
        utterances,
        **({} if parsed.passes is None else {"passes": [parsed.passes]}),
        baselines=parsed.baselines,
        gen_args=generation_arguments(parsed),
        seed=parsed.seed,
        show_progress=not parsed.quiet,
        on_left_out=lambda name, error: tell(f"{visible(name)}: {what_happened(error)}"),
    )
    rules = [
        replace(rule, calibrated_on=f"{rule.calibrated_on} of {parsed.calibrate.name}")
        for rule in rules
    ]
    for rule in rules:
        print_text(f"{rule.passes} passes: {rule}")
    path = folder / _RULES
    write_rules(rules, path)
    print_written([path])


def _share(text: str) -> float:
    """Read a share, as a number or in percent."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", text)
    share = float(found[1]) / (100 if found[2] else 1) if found else -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share: give 5% or 0.05")
    return share
