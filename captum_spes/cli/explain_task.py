"""What ``captum-spes explain`` does with each recording, in this process or in a worker."""

from __future__ import annotations

import argparse
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from captum_spes.cli.explain_request import method_and_settings, outputs_of
from captum_spes.cli.options import (
    load,
    print_report,
    print_text,
    print_written,
    tell,
)
from captum_spes.cli.recordings import GivenRecording, shown_clock, what_happened
from captum_spes.errors import ArgumentError
from captum_spes.io.files import made_folder
from captum_spes.io.names import FileNames
from captum_spes.report.files import EXPLANATION, PAGE
from captum_spes.report.folders import Outputs, RecordingFolder
from captum_spes.speech.identity import model_digest
from captum_spes.text import visible

# Recordings whose cost is asked for, until one tells.
_TRIED = 3
# Steps of a deletion score in one pass: little memory on any device.
_BATCH = 8
_LOGGER = logging.getLogger(__name__)
# What can be said of a recording. A worker returns it, for the process that prints.
SAYING: dict[str, Callable[[Any], None]] = {
    "report": lambda own: print_report(*own),
    "text": print_text,
    "written": print_written,
    "problem": tell,
}


class Job(NamedTuple):
    """One recording to be explained.

    Attributes:
        recording: which one.
        folder: where it is written; None for nowhere.
        is_explained: whether its explanation is there, and other outputs are missing.
    """

    recording: GivenRecording
    folder: RecordingFolder | None = None
    is_explained: bool = False

    def prepared(self, sampling_rate: int) -> Job:
        """With the recording read, while the model works."""
        return self._replace(recording=self.recording.read_early(sampling_rate))


@dataclass
class _Cost:
    """What is told before the first recording that is explained in one piece.

    Attributes:
        count: of recordings.
        seconds: that they last together, as far as their headers say; 0 where none does.
        tries: how many may still be asked.
    """

    count: int
    seconds: float
    tries: int = _TRIED


class _Written:
    """What is written of one recording, if anything is."""

    def __init__(self, folder: RecordingFolder | None, digest: str | None) -> None:
        self._folder, self._digest = folder, digest
        self._files: list[Path] = []
        self._is_judged = True

    @property
    def folder(self) -> Path | None:
        """Where to write."""
        return None if self._folder is None else self._folder.path

    def begin(self) -> None:
        """Before the first file."""
        if self._folder is not None:
            self._folder.begin(self._digest)

    def add(self, files: Sequence[Path], result: Any) -> None:
        """Note what was written of an explanation."""
        self._files.extend(files)
        self._is_judged = self._is_judged and "deletion" in result.parameters

    def finish(self, outputs: Outputs, *, is_whole: bool) -> None:
        """Note that nothing is missing. What could not be measured is tried again next time."""
        if self._folder is not None and self._files:
            made = replace(outputs, judged=outputs.judged and self._is_judged)
            self._folder.finish(self._digest, self._files, made, is_whole=is_whole)


class ExplainTask:
    """A model that explains recordings, and all that is done with each.

    Args:
        parsed: the options.
        is_here: whether this process prints; a worker returns what there is to be said.
    """

    def __init__(self, parsed: argparse.Namespace, *, is_here: bool = True) -> None:
        from captum_spes import SpeechToTextAttribution

        self._parsed, self._outputs = parsed, outputs_of(parsed)
        self._method, self._settings = method_and_settings(parsed)
        model, processor = load(parsed)
        self._explainer = SpeechToTextAttribution(self._method.make(model), processor)
        self._rate = self._explainer.adapter.sampling_rate
        # Of large models it takes seconds, and is for what is kept.
        self._digest = None if parsed.out is None else model_digest(model, processor)
        self._is_here, self._is_quiet = is_here, parsed.quiet or not is_here
        self._said: list[tuple[str, Any]] = []
        self._cost: _Cost | None = None
        self._was_interrupted = False

    def identity(self) -> dict[str, Any]:
        """What makes the model the same as another one, and the rate that it takes."""
        return {"digest": self._digest, "sampling_rate": self._rate}

    def __call__(self, task: Job) -> list[tuple[str, Any]]:
        """Explain a recording; returns what there is to be said, kinds of ``SAYING`` with values,
        where another process prints."""
        self._said, self._was_interrupted = [], False
        recording = task.recording.read(self._rate)
        written = _Written(task.folder, recording.digest())
        with self._noted_interrupts():
            if task.is_explained and self._complete(recording, written):
                return self._said
            written.begin()
            if self._parsed.errors:
                self._explain_errors(recording, written)
            elif self._takes_whole(len(recording.audio.samples) / self._rate):
                self._explain_whole(recording, written)
            else:
                self._explain_parts(recording, written)
        return self._said

    @contextmanager
    def _noted_interrupts(self) -> Iterator[None]:
        """Note Ctrl-C: what --return-partial keeps then is not all, and not finished."""
        if not self._parsed.return_partial:
            yield
            return

        def note(number: int, frame: Any) -> None:
            self._was_interrupted = True
            signal.default_int_handler(number, frame)

        before = signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _say(self, kind: str, value: Any) -> None:
        if self._is_here:
            SAYING[kind](value)
        else:
            self._said.append((kind, value))

    # Cost ------------------------------------------------------------------------------

    def expect(self, recordings: Sequence[GivenRecording]) -> None:
        """Tell what those of some recordings cost that are explained in one piece, before the first
        of them is."""
        if self._is_quiet:
            return
        seconds = [own.seconds() for own in recordings]
        whole = [own for own in seconds if self._takes_whole(own or 0.0)]
        known = [own for own in whole if own is not None]
        # Those whose headers do not say it are taken to be as long as the others.
        total = sum(known) * len(whole) / len(known) if known else 0.0
        self._cost = _Cost(len(whole), total)

    def _takes_whole(self, seconds: float) -> bool:
        """Whether a recording is explained in one piece, or part by part."""
        if self._parsed.word or self._parsed.at or self._parsed.errors:
            return False
        most = self._explainer.adapter.max_seconds
        return most is None or seconds <= most or self._parsed.target is not None

    def _tell_cost_of_whole(self, samples: Any) -> None:
        cost = self._cost
        if cost is None or not cost.tries:
            return
        cost.tries -= 1
        # What is wrong with a recording, or its text, is told when it is explained.
        with suppress(ArgumentError, RuntimeError):
            seconds = cost.seconds or len(samples) / self._rate * cost.count
            self._tell_cost(samples, self._parsed.target, cost.count, seconds)
            cost.tries = 0

    def _tell_cost(self, samples: Any, target: Any, count: int, seconds: float) -> None:
        from captum_spes.speech.forecast import forecast

        pairs = [(self._method, self._settings)]
        found = forecast(self._explainer.adapter, samples, pairs, target=target)
        _LOGGER.info(found.text(count, seconds))

    def _tell_cost_of_parts(self, samples: Any, transcript: Any, asked: dict[str, Any]) -> None:
        from captum_spes.speech.parts import asked_parts, contrasted_parts

        parts = asked_parts(transcript, **asked)
        if self._parsed.contrast:
            parts = contrasted_parts(self._explainer.adapter, parts, self._settings.score)
        _LOGGER.info(f"{len(parts)} of {len(transcript.windows)} windows are explained")
        self._tell_cost_of_windows(samples, [part.window for part in parts])

    def _tell_cost_of_windows(self, samples: Any, windows: list[Any]) -> None:
        if windows and not self._is_quiet:
            first, last = (round(t * self._rate) for t in (windows[0].start, windows[0].end))
            seconds = sum(window.end - window.start for window in windows)
            self._tell_cost(samples[first:last], windows[0].sequence, len(windows), seconds)

    # Explaining ------------------------------------------------------------------------

    def _options(self) -> dict[str, Any]:
        """What each way of explaining is given."""
        return {
            "settings": self._settings,
            "seed": self._parsed.seed,
            "return_partial": self._parsed.return_partial,
            "show_progress": not self._is_quiet,
        }

    def _transcript(self, samples: Any) -> Any:
        return self._explainer.transcribe(
            samples,
            self._rate,
            self._settings.gen_args,
            seed=self._parsed.seed,
            show_progress=not self._is_quiet,
        )

    def _explain_whole(self, recording: GivenRecording, written: _Written) -> None:
        samples = recording.audio.samples
        self._tell_cost_of_whole(samples)
        result = self._explainer.attribute(
            recording.audio, target=self._parsed.target, **self._options()
        )
        self._show_whole(result, samples, recording, written)

    def _complete(self, recording: GivenRecording, written: _Written) -> bool:
        """Make what is missing besides the explanation; False where that cannot be read."""
        from captum_spes import SpeechToTextAttributionResult

        assert written.folder is not None
        try:
            result = SpeechToTextAttributionResult.load(written.folder / EXPLANATION)
        except ArgumentError:
            return False
        self._show_whole(result, recording.audio.samples, recording, written)
        return True

    def _show_whole(
        self, result: Any, samples: Any, recording: GivenRecording, written: _Written
    ) -> None:
        """Write the explanation of a recording, and note that it is finished before it is printed:
        nobody may read what is printed."""
        told, files = self._write(result, samples, written.folder)
        written.add(files, told)
        self._finish(written, is_whole=True)
        self._report(told, files, written.folder, visible(recording.label))

    def _finish(self, written: _Written, *, is_whole: bool) -> None:
        if not self._was_interrupted:
            written.finish(self._outputs, is_whole=is_whole)

    def _explain_parts(self, recording: GivenRecording, written: _Written) -> None:
        """Explain window by window; each is written as soon as it is there."""
        parsed, names = self._parsed, FileNames()
        samples = recording.audio.samples
        transcript = self._transcript(samples)
        asked: dict[str, Any] = {"words": parsed.word or None, "at": parsed.at or None}
        is_asked = bool(parsed.word or parsed.at or parsed.contrast)
        if parsed.contrast and not (parsed.word or parsed.at):
            asked["words"] = parsed.contrast[0]
        self._tell_cost_of_parts(samples, transcript, asked)

        def show(result: Any) -> None:
            window = result.parameters["window"]
            clock = shown_clock(window["start"])
            folder = _made(written.folder, names, f"from {clock}".replace(":", "-"))
            label = f"{visible(recording.label)}, {clock} to {shown_clock(window['end'])}"
            rows = [i for word in window["asked_words"] for i in result.words[word].token_indices]
            told, files = self._write(result, samples, folder)
            written.add(files, told)
            self._report(told, files, folder, label, sorted(rows) if is_asked else None)

        self._explainer.attribute_parts(
            recording.audio, **asked, transcript=transcript, on_result=show, **self._options()
        )
        self._finish(written, is_whole=False)

    def _explain_errors(self, recording: GivenRecording, written: _Written) -> None:
        """Explain what was written in the place of something else; say what cannot be explained."""
        from captum_spes.speech.transcript_errors import errors_of

        parsed, names = self._parsed, FileNames()
        samples, adapter = recording.audio.samples, self._explainer.adapter
        transcript = self._transcript(samples)
        errors = errors_of(adapter, transcript, parsed.reference)
        label = visible(recording.label)
        if not errors:
            self._say(
                "text", f"\n{label}\n{transcript.text}\nno error: this is what the reference says"
            )
            return
        parts = [error.part for error in errors if error.part is not None]
        _LOGGER.info(f"{len(parts)} of {len(errors)} errors are explained")
        self._tell_cost_of_windows(samples, [part.window for part in parts])
        number = 0

        def show(result: Any) -> None:
            nonlocal number
            number += 1
            error = result.parameters["error"]
            name = f"{number} {error['written']} - {error['reference']}"
            folder = _made(written.folder, names, name)
            told, files = self._write(result, samples, folder)
            written.add(files, told)
            about = f"error {number} of {len(parts)} that are explained"
            self._report(told, files, folder, f"{label}, {about}")

        self._explainer.attribute_errors(
            recording.audio,
            parsed.reference,
            transcript=transcript,
            on_error=lambda error: None,
            on_result=show,
            **self._options(),
        )
        self._finish(written, is_whole=False)
        left = [error for error in errors if error.reason]
        if left:
            lines = "\n".join(f"  {error}: {error.reason}" for error in left)
            self._say(
                "text",
                f"\n{label}\n{len(left)} of {len(errors)} errors are not explained:\n{lines}\n"
                "captum-spes check tells which words the model did not hear",
            )

    # Writing and printing --------------------------------------------------------------

    def _write(self, result: Any, samples: Any, folder: Path | None) -> tuple[Any, list[Path]]:
        """Write an explanation into its folder and measure what is asked for; returns it with what
        was measured, and the files."""
        from captum_spes.report import write_explanation

        # Files first: what was computed must not be lost to what follows, or to a closed pipe.
        written = []
        if folder is not None:
            written = write_explanation(result, folder, figure_format=self._parsed.figure_format)
        told = self._measured(result, samples)
        if folder is not None and told is not result:
            told.save(folder / EXPLANATION)
        if folder is not None and self._parsed.html:
            written.append(folder / PAGE)
            told.save_html(written[-1])
        return told, written

    def _report(
        self,
        told: Any,
        written: list[Path],
        folder: Path | None,
        label: str,
        tokens: list[int] | None = None,
    ) -> None:
        from captum_spes.report import explanation_text

        place = "with --out, in figures" if folder is None else f"figures in {visible(folder)}"
        foil = _about_foil(told)
        self._say("report", (f"\n{label}\n{explanation_text(told, tokens)}{foil}", place))
        if written:
            self._say("text", "")
            self._say("written", written)

    def _measured(self, result: Any, samples: Any) -> Any:
        """The explanation with its deletion score where that is asked for, and, for a page, with
        what the model makes of its sound. What cannot be measured is told."""
        from captum_spes.metrics import judge, sound_faithfulness

        window = result.parameters.get("window")
        if window is not None:
            first, last = (round(window[end] * self._rate) for end in ("start", "end"))
            samples = samples[first:last]

        def judged() -> Any:
            return judge(
                self._explainer, result, samples, seed=self._parsed.seed, batch_size=_BATCH
            )

        def heard() -> Any:
            given = {"audio": samples, "sampling_rate": self._rate}
            return sound_faithfulness(self._explainer, result, **given)

        asked = {}
        # An explanation of an earlier run may have been measured before.
        if self._parsed.judge and "deletion" not in result.parameters:
            asked["the deletion score"] = judged
        if self._parsed.html and "heard" not in result.parameters:
            asked["what the model makes of the sound"] = heard
        told = result
        for name, measure in asked.items():
            try:
                told = measure().added_to(told)
            except Exception as error:  # the explanation is worth more than what is said of it
                self._say("problem", f"{name} cannot be measured: {what_happened(error)}")
        return told


def _made(folder: Path | None, names: FileNames, name: str) -> Path | None:
    """A folder of its own for a part of a recording."""
    return None if folder is None else made_folder(folder / names.new(name))


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
