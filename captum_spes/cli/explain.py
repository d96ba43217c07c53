"""``captum-spes explain``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from captum_spes.cli.explain_task import ExplainTask
from captum_spes.cli.options import (
    add_model_options,
    add_settings_options,
    given_settings,
    json_object,
    load,
    methods_help,
    positive,
    settings_of,
    take_bundled_recording,
    tell,
)
from captum_spes.cli.recordings import (
    Recording,
    check_there,
    clock_times,
    read_recording,
    what_happened,
)
from captum_spes.errors import ArgumentError
from captum_spes.io.files import made_folder
from captum_spes.io.names import FileNames
from captum_spes.report.figures import FIGURE_FORMATS
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
        "than the model takes at once is explained window by window",
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
    add("--out", type=Path, metavar="DIR", help="write figures and the explanation here")
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


def _explain(parsed: argparse.Namespace) -> None:
    if parsed.html and parsed.out is None:
        raise ArgumentError("--html writes a page into the folder of --out: give --out DIR.")
    if parsed.figure_format != "png" and parsed.out is None:
        raise ArgumentError("--figure-format is of the figures in the folder of --out: give it.")
    _check_contrast(parsed)
    _check_errors(parsed)
    if parsed.judge and (parsed.contrast or parsed.errors):
        raise ArgumentError(
            "--judge measures explanations of what was written, and contrasts explain a choice: "
            "leave --judge out, or --contrast and --errors."
        )
    take_bundled_recording(parsed)
    check_there(parsed.audio)
    if parsed.target is not None and (parsed.word or parsed.at):
        raise ArgumentError("--word and --at look in what the model writes: leave --target out.")
    method, settings = _method_and_settings(parsed)

    from captum_spes import SpeechToTextAttribution

    model, processor = load(parsed)
    explainer = SpeechToTextAttribution(method.make(model), processor)
    # All are read before the first is explained, so that a bad one costs no time.
    rate = explainer.adapter.sampling_rate
    recordings = [read_recording(file, rate) for file in parsed.audio]
    folders = _output_folders(recordings, parsed.out)
    task = ExplainTask(parsed, explainer, method, settings)
    is_whole = [task.takes_whole(recording) for recording in recordings]
    task.tell_cost([r for r, whole in zip(recordings, is_whole, strict=True) if whole])
    n_explained = 0
    for recording, folder, whole in zip(recordings, folders, is_whole, strict=True):
        explain = task.explain_whole if whole else task.explain_parts
        explain = task.explain_errors if parsed.errors else explain
        try:
            explain(recording, folder)
        except (OSError, ImportError):
            raise
        except Exception as error:  # one bad recording must not end the run
            if len(recordings) == 1:
                raise
            tell(f"{visible(recording.label)}: {what_happened(error)}")
            continue
        n_explained += 1
    if not n_explained:
        raise ArgumentError("no recording could be explained.")


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


def _contrast_of(parsed: argparse.Namespace) -> Any:
    """The contrast that is asked for; of errors one that stands for theirs."""
    from captum_spes.forward import Contrast

    if parsed.errors:
        return Contrast("word", "foil")
    return (
        Contrast(*parsed.contrast, occurrence=parsed.occurrence or 1) if parsed.contrast else None
    )


def _method_and_settings(parsed: argparse.Namespace) -> tuple[Any, Any]:
    from captum_spes.speech import named_methods
    from captum_spes.speech.attribution import without_logarithms
    from captum_spes.speech.plain import equal

    (method,) = named_methods([parsed.method])
    if method.same_maps_as:
        raise ArgumentError(
            f"{method.name} has the maps of {method.same_maps_as} and differs in evaluate only."
        )
    asked = settings_of(parsed)
    if parsed.method_args:
        asked = asked.replace(method_args=parsed.method_args)
    contrast = _contrast_of(parsed)
    if contrast is not None:
        asked = asked.replace(score=contrast, estimator=without_logarithms(asked.estimator))
    settings = method.settings(asked)
    if contrast is not None and (settings.score != contrast or method.runner is None):
        option = "--errors" if parsed.errors else "--contrast"
        raise ArgumentError(
            f"{option} has no effect on {method.name}: leave it out, or take another --method."
        )
    for name in given_settings(parsed):
        if not equal(getattr(asked, name), getattr(settings, name)):
            raise ArgumentError(
                f"{name}={getattr(asked, name)!r} has no effect on {method.name}: leave the option "
                "out, or take another --method."
            )
    return method, settings


def _output_folders(recordings: list[Recording], out: Path | None) -> list[Path | None]:
    """One folder per recording, named after it; made now, so that a bad path fails early."""
    if out is None:
        return [None] * len(recordings)
    names = FileNames()
    return [made_folder(out / names.new(recording.name)) for recording in recordings]
