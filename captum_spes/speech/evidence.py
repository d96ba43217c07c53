"""What speaks for each word of a transcript: did the model hear it, or make it up?"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from captum_spes.errors import instance_of, optional_library
from captum_spes.speech.evidence_files import COLUMNS, write_report
from captum_spes.speech.verdicts import VerdictRule

if TYPE_CHECKING:
    from pandas import DataFrame

VERDICTS = {True: "heard", False: "not heard", None: "cannot tell"}


@dataclass(frozen=True)
class WordEvidence:
    """A word, and what speaks for it.

    Attributes:
        word: its text.
        start: seconds from the start of the recording: where the stretch of audio begins that
            speaks for it. The time is handed to the words in their order, pauses included; a word
            that nobody said gets a stretch, too.
        end: likewise.
        evidence: nats: by how much the model's distributions at the word's tokens move
            (Kullback-Leibler divergence) when the stretch of audio is removed that matters most.
        probability: of the word's tokens given the audio and the words before (geometric mean).
        heard: True, False, or None where the rule cannot tell.
        written: the word as it was written, with the blank before it and its punctuation.

    Examples::

        >>> WordEvidence("cat", 0.5, 0.9, 6.2, 0.93, True, " cat.").verdict
        'heard'
    """

    word: str
    start: float
    end: float
    evidence: float
    probability: float
    heard: bool | None
    written: str = ""

    @property
    def verdict(self) -> str:
        """In words: heard, not heard, cannot tell."""
        return VERDICTS[self.heard]


@dataclass(frozen=True, eq=False)
class EvidenceReport:
    r"""
    Which words of a transcript the model heard.

    Attributes:
        words: :class:`WordEvidence` in order of time.
        segments: the words of each stretch of speech, as the model divides its output: index of
            the first and after the last.
        seconds: duration of the recording.
        passes: perturbed inputs per window.
        baselines: the removed value.
        rule: what gave the verdicts, with its error rates.
        misfit: what the rule was not calibrated for, in words; None if all fits.
        model_id: name or folder of the model.
    """

    words: list[WordEvidence]
    segments: list[tuple[int, int]]
    seconds: float
    passes: int
    baselines: str
    rule: VerdictRule
    misfit: str | None
    model_id: str

    def __repr__(self) -> str:
        return (
            f"EvidenceReport({len(self.words)} words, {len(self.not_heard)} not heard, "
            f"{self.seconds:.1f} s, {self.passes} passes a window)"
        )

    @property
    def text(self) -> str:
        """What was written."""
        return "".join(word.written for word in self.words).strip()

    @property
    def not_heard(self) -> list[WordEvidence]:
        """The words that were not heard."""
        return [word for word in self.words if word.heard is False]

    @property
    def share_not_heard(self) -> float:
        """Of all words; 0 where there are none."""
        return len(self.not_heard) / max(1, len(self.words))

    def table(self) -> DataFrame:
        r"""
        One row per word.

        Returns:
            *pandas.DataFrame*: ``word``, ``start``, ``end`` (seconds), ``evidence`` (nats),
            ``probability``, ``heard`` (True, False or None).

        Raises:
            ImportError: pandas is not installed.

        Examples::

            >>> explainer.check("speech.flac").table().columns.tolist()
            ['word', 'start', 'end', 'evidence', 'probability', 'heard']
        """
        pandas = optional_library("pandas", "a table", "check")
        rows = [[getattr(word, name) for name in COLUMNS] for word in self.words]
        table: DataFrame = pandas.DataFrame(rows, columns=list(COLUMNS))
        return table.astype({"heard": object})

    def save(self, path: str | os.PathLike[str]) -> None:
        r"""
        Write the report; the ending of the name says how.

        - ``.json``: everything, numbers in full.
        - ``.csv``: one row per word, as :meth:`table`.
        - ``.TextGrid``: tiers ``words``, ``evidence`` (nats) and ``verdict``, for Praat.
        - ``.srt``, ``.vtt``: subtitles, in which [words] were not heard, and of [words?] nobody can
          tell.

        Args:

            path (str or path): The file.

        Raises:
            ArgumentError: the name has another ending.
            FileNotFoundError: its folder is not there.
            ImportError: praatio (TextGrid) or pysubs2 (subtitles) is not installed.

        Examples::

            >>> report = explainer.check("speech.flac")
            >>> report.save("speech.json")
            >>> report.save("speech.srt")
        """
        instance_of("path", path, (str, os.PathLike), "a path")
        write_report(self, Path(path))
