"""``captum-spes explain``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from captum_spes.cli.options import (
    add_model_options,
    add_settings_options,
    given_settings,
    json_object,
    load,
    methods_help,
    print_report,
    print_text,
    print_written,
    settings_of,
)
from captum_spes.errors import ArgumentError
from captum_spes.io.files import made_folder
from captum_spes.io.names import FileNames
from captum_spes.text import visible

_LOGGER = logging.getLogger(__name__)


def add_explain(commands: Any) -> None:
    """Add the command."""
    explain = commands.add_parser(
        "explain",
        help="which time-frequency patterns and previous tokens each token rests on",
        description="Explain recordings; with none, a bundled one.",
    )
    add = explain.add_argument
    add("audio", nargs="*", type=Path, metavar="AUDIO", help="wav, flac, mp3 or ogg; any rate")
    add(
        "--method",
        default="spes",
        metavar="NAME",
        help=f"what explains (default: %(default)s). {methods_help()}".replace("%", "%%").replace(
            "%%(default)", "%(default)"
        ),
    )
    add("--target", metavar="TEXT", help="explain this text instead of the model's own output")
    add("--out", type=Path, metavar="DIR", help="write figures and the explanation here")
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
    _check_model(parsed)
    for file in parsed.audio:
        if not file.exists():
            raise FileNotFoundError(f"no such audio file: {file}")
    method, settings = _method_and_settings(parsed)
    folders = _output_folders(parsed.audio, parsed.out)

    from captum_spes import SpeechToTextAttribution
    from captum_spes.report import explanation_text, write_explanation

    model, processor = load(parsed)
    explainer = SpeechToTextAttribution(method.make(model), processor)
    recordings = [_checked_audio(explainer, file) for file in parsed.audio]
    if not parsed.quiet:
        _tell_cost(parsed, explainer, recordings, method, settings)
    for file, samples, folder in zip(parsed.audio, recordings, folders, strict=True):
        result = explainer.attribute(
            samples,
            sampling_rate=explainer.adapter.sampling_rate,
            target=parsed.target,
            settings=settings,
            seed=parsed.seed,
            return_partial=parsed.return_partial,
            show_progress=not parsed.quiet,
        )
        # Files first: what was computed must not be lost to a closed pipe.
        written = [] if folder is None else write_explanation(result, folder)
        place = "with --out, in figures" if folder is None else f"figures in {visible(folder)}"
        print_report(f"\n{visible(file)}\n{explanation_text(result)}", place)
        if written:
            print_text("")
            print_written(written)


def _check_model(parsed: argparse.Namespace) -> None:
    if parsed.audio and parsed.model is None:
        raise ArgumentError(
            "no model: give --model with a hub name or a folder, or --model demo for the "
            "bundled one, which understands the bundled recordings only."
        )
    if not parsed.audio:
        from captum_spes.demo import load_examples

        parsed.audio = [load_examples()[0].path]


def _method_and_settings(parsed: argparse.Namespace) -> tuple[Any, Any]:
    from captum_spes.speech import named_methods
    from captum_spes.speech.plain import equal

    (method,) = named_methods([parsed.method])
    if method.same_maps_as:
        raise ArgumentError(
            f"{method.name} has the maps of {method.same_maps_as} and differs in evaluate only."
        )
    asked = settings_of(parsed)
    if parsed.method_args:
        asked = asked.replace(method_args=parsed.method_args)
    settings = method.settings(asked)
    for name in given_settings(parsed):
        if not equal(getattr(asked, name), getattr(settings, name)):
            raise ArgumentError(
                f"{name}={getattr(asked, name)!r} has no effect on {method.name}: leave the option "
                "out, or take another --method."
            )
    return method, settings


def _tell_cost(
    parsed: argparse.Namespace, explainer: Any, recordings: list[Any], method: Any, settings: Any
) -> None:
    from captum_spes.speech.forecast import forecast

    found = forecast(explainer.adapter, recordings[0], [(method, settings)], target=parsed.target)
    seconds = sum(map(len, recordings)) / explainer.adapter.sampling_rate
    _LOGGER.info(found.text(len(recordings), seconds))


def _checked_audio(explainer: Any, file: Path) -> Any:
    """Read every file before explaining the first, so that a bad one costs no time."""
    from captum_spes.io.audio import check_audio, load_audio

    adapter = explainer.adapter
    try:
        samples = load_audio(file, adapter.sampling_rate)
        check_audio(samples, adapter.sampling_rate, adapter.max_seconds)
    except ArgumentError as error:
        raise ArgumentError(
            str(error) if str(file) in str(error) else f"{file}: {error}"
        ) from error
    return samples


def _output_folders(files: list[Path], out: Path | None) -> list[Path | None]:
    """One folder per recording, named after it; made now, so that a bad path fails early."""
    if out is None:
        return [None] * len(files)
    names = FileNames()
    return [made_folder(out / names.new(file.stem)) for file in files]
