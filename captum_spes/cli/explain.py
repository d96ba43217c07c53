"""``captum-spes explain``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from captum_spes.cli.explain_request import method_and_settings, outputs_of, request_of
from captum_spes.cli.explain_task import SAYING, ExplainTask, Job
from captum_spes.cli.options import (
    add_model_options,
    add_settings_options,
    given_settings,
    json_object,
    methods_help,
    positive,
    print_text,
    take_bundled_recording,
    tell,
)
from captum_spes.cli.recordings import (
    GivenRecording,
    clock_times,
    given_recordings,
    named_problem,
)
from captum_spes.corpus.runner import team_of
from captum_spes.corpus.team import Team
from captum_spes.corpus.workers import LocalWorkers, ThisProcess
from captum_spes.errors import ArgumentError
from captum_spes.report.figures import FIGURE_FORMATS
from captum_spes.report.folders import OutputFolder, Outputs, RecordingFolder, State, output_folder
from captum_spes.text import visible


def add_explain(commands: Any) -> None:
    """Add the command."""
    explain = commands.add_parser(
        "explain",
        help="which time-frequency patterns and previous tokens each token rests on",
        description="Explain recordings; with none, a bundled one.",
    )
    add = explain.add_argument
    add(
        "audio",
        nargs="*",
        type=Path,
        metavar="AUDIO",
        help="recordings of any format, rate and length; - is standard input. One that is longer "
        "than the model takes at once is explained window by window. Of several a bad one is named "
        "and left out, and the exit status is 1",
    )
    add(
        "--method",
        default="spes",
        metavar="NAME",
        help=f"what explains (default: %(default)s). {methods_help()}".replace("%", "%%").replace(
            "%%(default)", "%(default)"
        ),
    )
    add("--target", metavar="TEXT", help="explain this text instead of the model's own output")
    add(
        "--word",
        action="append",
        default=[],
        metavar="WORD",
        help="explain only the windows in which this word, or phrase, was written; can be repeated",
    )
    add(
        "--at",
        action="append",
        type=clock_times,
        default=[],
        metavar="TIME",
        help="explain only the words that are spoken then: 12:34, or 12:34-12:40, or seconds; can "
        "be repeated",
    )
    add(
        "--contrast",
        nargs="+",
        metavar=("WORD", "FOIL"),
        help="explain why the model wrote this word and not that one, behind AUDIO, phrases in "
        "quotes; without FOIL the likeliest other word is taken. In a recording that is explained "
        "window by window each window that holds the word is",
    )
    add(
        "--occurrence",
        type=positive,
        metavar="N",
        help="which one, where the output, or a window, holds the word of --contrast several "
        "times (default: 1)",
    )
    add(
        "--errors",
        action="store_true",
        help="explain each word that stands in the place of another one: why it was written and "
        "not what --reference says",
    )
    add("--reference", metavar="TEXT", help="what was said, for --errors")
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="write figures and the explanation here, into a folder for each recording. A run that "
        "was stopped goes on where it was: what is finished is not explained again. All recordings "
        "of a folder are explained in the same way, by one run at a time",
    )
    add(
        "--workers",
        type=positive,
        default=1,
        metavar="N",
        help="explain several recordings at a time, in N processes, each with one thread and the "
        "model; with more than one --batch-size is 16 unless it is given (default: this process, "
        "with all threads)",
    )
    add(
        "--html",
        action="store_true",
        help="write a page, too, to be opened in any browser: maps of the words, and their sound "
        "(needs --out)",
    )
    add(
        "--figure-format",
        choices=FIGURE_FORMATS,
        default="png",
        help="of the figures in the folder of --out; PDF and SVG hold text as text (default: "
        "%(default)s)",
    )
    add(
        "--judge",
        action="store_true",
        help="print how well the map predicts what the model needs, by its deletion score beside "
        "that of the loudest cells and of a random order, and keep it with the explanation "
        "(a few seconds a clip)",
    )
    add(
        "--return-partial",
        action="store_true",
        help="on Ctrl-C explain with the samples so far instead of giving up",
    )
    add(
        "--method-args",
        type=json_object,
        default={},
        metavar="JSON",
        help='further arguments of the method\'s own attribute, for example {"n_steps": 20}',
    )
    add_settings_options(explain)
    add_model_options(explain)
    explain.set_defaults(run=_explain)


def _explain(parsed: argparse.Namespace) -> int:
    _check_options(parsed)
    _check_contrast(parsed)
    _check_errors(parsed)
    take_bundled_recording(parsed)
    if parsed.target is not None and (parsed.word or parsed.at):
        raise ArgumentError("--word and --at look in what the model writes: leave --target out.")
    _, settings = method_and_settings(parsed)
    recordings = given_recordings(parsed.audio, tell)
    n_failed = len(parsed.audio) - len(recordings)
    if recordings:
        request = request_of(parsed, settings)
        with nullcontext() if parsed.out is None else output_folder(parsed.out, request) as out:
            n_failed += _explain_all(parsed, recordings, out)
    if n_failed == len(parsed.audio):
        raise ArgumentError("no recording could be explained.")
    return 1 if n_failed else 0


def _explain_all(
    parsed: argparse.Namespace, recordings: Sequence[GivenRecording], out: OutputFolder | None
) -> int:
    """Explain what is not finished; returns how many could not be."""
    folders: Sequence[RecordingFolder | None] = [None] * len(recordings)
    if out is not None:
        folders = out.folders_of(recordings)
    n_failed = 0
    with _team(parsed, len(recordings)) as (team, task):
        known = team.identity()
        if out is not None:
            out.bind(known["digest"])
        jobs = list(_unfinished(recordings, folders, outputs_of(parsed)))
        if task is not None:
            task.expect([job.recording for job in jobs if not job.is_explained])
        results = team.results(
            ((str(number), job) for number, job in enumerate(jobs)),
            lambda job: job.prepared(known["sampling_rate"]),
        )
        with tqdm(
            total=len(jobs),
            desc="explain",
            unit=" recordings",
            disable=parsed.quiet or task is not None,
        ) as bar:
            for number, found in results:
                with bar.external_write_mode():
                    is_only = len(parsed.audio) == 1
                    n_failed += _tell_result(jobs[int(number)], found, is_only)
                bar.update()
    return n_failed


def _tell_result(job: Job, found: Any, is_only: bool) -> bool:
    """Print what came of a recording; returns whether it could not be explained."""
    if not isinstance(found, Exception):
        for kind, value in found:
            SAYING[kind](value)
        return False
    # One bad recording must not end the run; what all of them need, such as room on the disk, does.
    if is_only or isinstance(found, OSError | ImportError):
        raise found
    tell(named_problem(job.recording.label, found))
    return True


@contextmanager
def _team(parsed: argparse.Namespace, count: int) -> Iterator[tuple[Team, ExplainTask | None]]:
    """Who explains, and what does so where that is this process."""
    if parsed.workers == 1:
        task = ExplainTask(parsed)
        with team_of(ThisProcess(), lambda: task) as team:
            yield team, task
        return
    workers = LocalWorkers(min(parsed.workers, count), parsed.device)
    with team_of(workers, partial(ExplainTask, parsed, is_here=False)) as team:
        yield team, None


def _unfinished(
    recordings: Sequence[GivenRecording],
    folders: Sequence[RecordingFolder | None],
    outputs: Outputs,
) -> Iterator[Job]:
    """What is to be done; what need not be is told."""
    for recording, folder in zip(recordings, folders, strict=True):
        state = State.NEW if folder is None else folder.state(recording, outputs)
        if folder is not None and state is State.FINISHED:
            print_text(f"{visible(recording.label)}: explained before: {visible(folder.path)}")
            continue
        yield Job(recording, folder, is_explained=state is State.EXPLAINED)


def _check_options(parsed: argparse.Namespace) -> None:
    """Raise at options that do not go together."""
    if parsed.html and parsed.out is None:
        raise ArgumentError("--html writes a page into the folder of --out: give --out DIR.")
    if parsed.figure_format != "png" and parsed.out is None:
        raise ArgumentError("--figure-format is of the figures in the folder of --out: give it.")
    if parsed.judge and (parsed.contrast or parsed.errors):
        raise ArgumentError(
            "--judge measures explanations of what was written, and contrasts explain a choice: "
            "leave --judge out, or --contrast and --errors."
        )
    if parsed.return_partial and parsed.workers > 1:
        raise ArgumentError(
            "--return-partial is of a run in this process: leave it out, or --workers."
        )


def _check_contrast(parsed: argparse.Namespace) -> None:
    given = parsed.contrast
    if given is None:
        if parsed.occurrence is not None:
            raise ArgumentError("--occurrence is of the word of --contrast: give that, too.")
        return
    # What takes several values takes a recording behind them, too.
    if len(given) > 2 or (not parsed.audio and Path(given[-1]).is_file()):
        raise ArgumentError(
            f"--contrast takes a word and a foil, got {' '.join(given)!r}: put AUDIO ahead of it, "
            "and a phrase in quotes."
        )
    if "score" in given_settings(parsed):
        raise ArgumentError("--contrast and --score both say what is measured: give one of them.")


def _check_errors(parsed: argparse.Namespace) -> None:
    if not parsed.errors:
        if parsed.reference is not None:
            raise ArgumentError("--reference is what --errors compares with: give --errors, too.")
        return
    if parsed.reference is None:
        raise ArgumentError(
            "--errors compares the transcript with what was said: give --reference TEXT, too."
        )
    for name in ("contrast", "target", "word", "at"):
        if getattr(parsed, name):
            raise ArgumentError(
                f"--errors explains every error of the model's own transcript: leave --{name} out."
            )
    if "score" in given_settings(parsed):
        raise ArgumentError("--errors explains by contrasts: leave --score out.")
    if len(parsed.audio) > 1:
        raise ArgumentError(
            f"--reference is what was said in one recording, got {len(parsed.audio)}."
        )
