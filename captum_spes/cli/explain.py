"""``captum-spes explain``."""

from __future__ import annotations

import argparse
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from captum_spes.cli.options import (
    add_model_options,
    add_settings_options,
    given_settings,
    json_object,
    load,
    methods_help,
    positive,
    print_report,
    print_text,
    print_written,
    settings_of,
    take_bundled_recording,
    tell,
)
from captum_spes.cli.recordings import (
    Recording,
    check_there,
    clock_times,
    read_recording,
    shown_clock,
    what_happened,
)
from captum_spes.errors import ArgumentError
from captum_spes.io.files import made_folder
from captum_spes.io.names import FileNames
from captum_spes.text import visible

# Recordings whose cost is asked for, until one tells.
_TRIED = 3

_LOGGER = logging.getLogger(__name__)


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
    _check_contrast(parsed)
    _check_errors(parsed)
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
    task = _Task(parsed, explainer, method, settings)
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


class _Task:
    """What is done with each recording."""

    def __init__(
        self, parsed: argparse.Namespace, explainer: Any, method: Any, settings: Any
    ) -> None:
        self._parsed, self._explainer = parsed, explainer
        self._method, self._settings = method, settings
        self._rate = explainer.adapter.sampling_rate

    def takes_whole(self, recording: Recording) -> bool:
        """Whether the recording is explained in one piece, or part by part."""
        if self._parsed.word or self._parsed.at or self._parsed.errors:
            return False
        most = self._explainer.adapter.max_seconds
        return most is None or recording.seconds <= most or self._parsed.target is not None

    def tell_cost(self, recordings: list[Recording]) -> None:
        """What explaining recordings in one piece will cost."""
        if self._parsed.quiet:
            return
        seconds = sum(recording.seconds for recording in recordings)
        for recording in recordings[:_TRIED]:
            # What is wrong with a recording, or its text, is told when its turn comes.
            with suppress(ArgumentError, RuntimeError):
                samples = recording.samples(self._rate)
                self._tell_cost(samples, self._parsed.target, len(recordings), seconds)
                return

    def _tell_cost(self, samples: Any, target: Any, count: int, seconds: float) -> None:
        from captum_spes.speech.forecast import forecast

        pairs = [(self._method, self._settings)]
        found = forecast(self._explainer.adapter, samples, pairs, target=target)
        _LOGGER.info(found.text(count, seconds))

    def explain_whole(self, recording: Recording, folder: Path | None) -> None:
        result = self._explainer.attribute(
            recording.named(recording.samples(self._rate), self._rate),
            target=self._parsed.target,
            settings=self._settings,
            seed=self._parsed.seed,
            return_partial=self._parsed.return_partial,
            show_progress=not self._parsed.quiet,
        )
        _show(result, folder, visible(recording.label), None, self._parsed.html)

    def explain_parts(self, recording: Recording, folder: Path | None) -> None:
        """Explain window by window; each is written as soon as it is there."""
        parsed, names = self._parsed, FileNames()
        samples = recording.samples(self._rate)
        transcript = self._explainer.transcribe(
            samples,
            self._rate,
            self._settings.gen_args,
            seed=parsed.seed,
            show_progress=not parsed.quiet,
        )
        asked = {"words": parsed.word or None, "at": parsed.at or None}
        is_asked = bool(parsed.word or parsed.at or parsed.contrast)
        if parsed.contrast and not (parsed.word or parsed.at):
            asked["words"] = parsed.contrast[0]
        self._tell_cost_of_parts(samples, transcript, asked)

        def written(result: Any) -> None:
            window = result.parameters["window"]
            clock = shown_clock(window["start"])
            own = (
                None
                if folder is None
                else made_folder(folder / names.new(f"from {clock}".replace(":", "-")))
            )
            label = f"{visible(recording.label)}, {clock} to {shown_clock(window['end'])}"
            rows = [i for word in window["asked_words"] for i in result.words[word].token_indices]
            _show(result, own, label, sorted(rows) if is_asked else None, parsed.html)

        self._explainer.attribute_parts(
            recording.named(samples, self._rate),
            **asked,
            transcript=transcript,
            settings=self._settings,
            seed=parsed.seed,
            return_partial=parsed.return_partial,
            show_progress=not parsed.quiet,
            on_result=written,
        )

    def explain_errors(self, recording: Recording, folder: Path | None) -> None:
        """Explain what was written in the place of something else; say what cannot be explained."""
        from captum_spes.speech.transcript_errors import errors_of

        parsed, names = self._parsed, FileNames()
        samples, adapter = recording.samples(self._rate), self._explainer.adapter
        transcript = self._explainer.transcribe(
            samples,
            self._rate,
            self._settings.gen_args,
            seed=parsed.seed,
            show_progress=not parsed.quiet,
        )
        errors = errors_of(adapter, transcript, parsed.reference)
        label = visible(recording.label)
        if not errors:
            print_text(f"\n{label}\n{transcript.text}\nno error: this is what the reference says")
            return
        parts = [error.part for error in errors if error.part is not None]
        _LOGGER.info(f"{len(parts)} of {len(errors)} errors are explained")
        self._tell_cost_of_windows(samples, [part.window for part in parts])
        number = 0

        def written(result: Any) -> None:
            nonlocal number
            number += 1
            error = result.parameters["error"]
            name = f"{number} {error['written']} - {error['reference']}"
            own = None if folder is None else made_folder(folder / names.new(name))
            about = f"error {number} of {len(parts)} that are explained"
            _show(result, own, f"{label}, {about}", None, parsed.html)

        self._explainer.attribute_errors(
            recording.named(samples, self._rate),
            parsed.reference,
            transcript=transcript,
            settings=self._settings,
            seed=parsed.seed,
            return_partial=parsed.return_partial,
            show_progress=not parsed.quiet,
            on_error=lambda error: None,
            on_result=written,
        )
        left = [error for error in errors if error.reason]
        if left:
            lines = "\n".join(f"  {error}: {error.reason}" for error in left)
            print_text(
                f"\n{label}\n{len(left)} of {len(errors)} errors are not explained:\n{lines}\n"
                "captum-spes check tells which words the model did not hear"
            )

    def _tell_cost_of_parts(self, samples: Any, transcript: Any, asked: dict[str, Any]) -> None:
        from captum_spes.speech.parts import asked_parts, contrasted_parts

        parts = asked_parts(transcript, **asked)
        if self._parsed.contrast:
            parts = contrasted_parts(self._explainer.adapter, parts, self._settings.score)
        _LOGGER.info(f"{len(parts)} of {len(transcript.windows)} windows are explained")
        self._tell_cost_of_windows(samples, [part.window for part in parts])

    def _tell_cost_of_windows(self, samples: Any, windows: list[Any]) -> None:
        if windows and not self._parsed.quiet:
            first, last = (round(t * self._rate) for t in (windows[0].start, windows[0].end))
            seconds = sum(window.end - window.start for window in windows)
            self._tell_cost(samples[first:last], windows[0].sequence, len(windows), seconds)


def _show(
    result: Any, folder: Path | None, label: str, tokens: list[int] | None, html: bool
) -> None:
    """Write an explanation into its folder, and print it."""
    from captum_spes.report import explanation_text, write_explanation

    # Files first: what was computed must not be lost to a closed pipe.
    written = [] if folder is None else write_explanation(result, folder, html=html)
    place = "with --out, in figures" if folder is None else f"figures in {visible(folder)}"
    foil = _about_foil(result)
    print_report(f"\n{label}\n{explanation_text(result, tokens)}{foil}", place)
    if written:
        print_text("")
        print_written(written)


def _about_foil(result: Any) -> str:
    """Which foil was taken where none was given, and which others there were."""
    contrast = result.parameters.get("contrast", {})
    if not contrast.get("alternatives"):
        return ""
    (word, share), *others = contrast["alternatives"]
    more = ", ".join(f"{word} {share:.2g}" for word, share in others)
    behind = f"; behind it: {more}" if more else ""
    return (
        f"\n\n{word!r} is the likeliest other word in the place of {contrast['word']!r}, with "
        f"probability {share:.2g}{behind}"
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
