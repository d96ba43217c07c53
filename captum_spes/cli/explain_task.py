"""What ``captum-spes explain`` does with each recording."""

from __future__ import annotations

import argparse
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from captum_spes.cli.options import print_report, print_text, print_written, tell
from captum_spes.cli.recordings import Recording, shown_clock, what_happened
from captum_spes.errors import ArgumentError
from captum_spes.io.files import made_folder
from captum_spes.io.names import FileNames
from captum_spes.report.files import EXPLANATION, PAGE
from captum_spes.text import visible

# Recordings whose cost is asked for, until one tells.
_TRIED = 3
# Steps of a deletion score in one pass: little memory on any device.
_BATCH = 8
_LOGGER = logging.getLogger(__name__)


class ExplainTask:
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
        samples = recording.samples(self._rate)
        result = self._explainer.attribute(
            recording.named(samples, self._rate),
            target=self._parsed.target,
            settings=self._settings,
            seed=self._parsed.seed,
            return_partial=self._parsed.return_partial,
            show_progress=not self._parsed.quiet,
        )
        self._show(result, samples, folder, visible(recording.label))

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
            self._show(result, samples, own, label, sorted(rows) if is_asked else None)

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
            self._show(result, samples, own, f"{label}, {about}")

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
        self,
        result: Any,
        samples: Any,
        folder: Path | None,
        label: str,
        tokens: list[int] | None = None,
    ) -> None:
        """Write an explanation into its folder, measure what is asked for, and print it."""
        from captum_spes.report import explanation_text, write_explanation

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
        place = "with --out, in figures" if folder is None else f"figures in {visible(folder)}"
        foil = _about_foil(told)
        print_report(f"\n{label}\n{explanation_text(told, tokens)}{foil}", place)
        if written:
            print_text("")
            print_written(written)

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

        asked = {"the deletion score": judged} if self._parsed.judge else {}
        if self._parsed.html:
            asked["what the model makes of the sound"] = heard
        told = result
        for name, measure in asked.items():
            try:
                told = measure().added_to(told)
            except Exception as error:  # the explanation is worth more than what is said of it
                tell(f"{name} cannot be measured: {what_happened(error)}")
        return told


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
