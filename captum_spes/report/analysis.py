"""All plausibility analyses of a set of explanations as files in a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from captum_spes.alignment import Alignment
from captum_spes.analysis import (
    AlignedResults,
    Findings,
    align_results,
    compare_profiles,
    frequency_profiles,
    hallucination_check,
    intermediate_explanations,
    plot_hallucination_check,
    plot_positions,
    plot_profiles,
    plot_time,
    plot_token_evidence,
    position_analysis,
    time_analysis,
    token_evidence,
    was_spoken,
    word_evidence,
)
from captum_spes.errors import ArgumentError
from captum_spes.speech import SpeechToTextAttributionResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


@dataclass
class _Folder:
    """What is written, and what the summary will say."""

    path: Path
    written: list[Path] = field(default_factory=list)
    summary: list[str] = field(default_factory=list)

    def table(self, name: str, rows: DataFrame) -> None:
        path = self.path / f"{name}.csv"
        rows.to_csv(path, index=False)
        self.written.append(path)

    def findings(
        self, name: str, title: str, found: Findings, draw: Callable[[Findings], Figure] | None
    ) -> None:
        self.table(name, found.table)
        self.summary.append(f"\n## {title}\n\n{_rows(found.table)}")
        if len(found.tests):
            self.table(f"{name}_tests", found.tests)
            self.summary.append(_fenced(found.tests))
        self.dropped(found.dropped)
        if draw is not None and len(found.table):
            path = self.path / f"{name}.png"
            draw(found).savefig(path, dpi=120)
            self.written.append(path)

    def dropped(self, dropped: Mapping[str, str]) -> None:
        if dropped:
            lines = "\n".join(f"* {name}: {reason}" for name, reason in dropped.items())
            self.summary.append(f"Left out, {len(dropped)} utterances:\n\n{lines}")


def write_analysis(
    results: Mapping[str, SpeechToTextAttributionResult],
    folder: str | PathLike[str],
    *,
    alignments: Mapping[str, Alignment] | None = None,
    groups: Mapping[str, str] | None = None,
    compare: Sequence[tuple[str, str]] = (),
    bands: str = "bark",
    language: str = "en",
) -> list[Path]:
    r"""
    Make every plausibility analysis that explanations allow, and write tables and figures.

    Args:

        results (mapping of str to SpeechToTextAttributionResult): Explanations of one method, by
                    utterance.
        folder (str or path): Made if need be.
        alignments (mapping of str to Alignment, optional): When the words are spoken; without it
                    time, frequency and hallucinations are left out.
                    Default: None
        groups (mapping of str to str, optional): Group of each utterance; if there are two, the
                    frequencies that their words rest on are compared.
                    Default: None
        compare (sequence of (str, str), optional): Words, in small letters, whose frequencies are
                    compared.
                    Default: ()
        bands (str, optional): See :func:`frequency_bands`.
                    Default: "bark"
        language (str, optional): Of numbers in the texts.
                    Default: "en"

    Returns:
        *list[Path]*: the files: per analysis one table of observations (``word_times.csv``, for
        example), one of tests (``word_times_tests.csv``) and a figure, and ``summary.md`` with all
        tests and everything that was left out.

    Raises:
        ArgumentError: nothing can be analysed, or a word to compare occurs less than twice.
        ImportError: pandas, or with alignments rapidfuzz, is not installed.
        OSError: a file cannot be written.

    Examples::

        >>> files = write_analysis({"speech": result}, "analysed", alignments={"speech": alignment})
        >>> "word_times.png" in [path.name for path in files]
        True
    """
    target = _Folder(Path(folder))
    evidence = token_evidence(results)
    target.path.mkdir(parents=True, exist_ok=True)
    title = "Kurtosis of the maps by kind of token"
    target.findings("token_evidence", title, evidence, plot_token_evidence)
    if alignments is not None:
        aligned = align_results(results, alignments, language=language)
        _write_aligned(target, aligned, groups, compare, bands)
    else:
        words = word_evidence(results)
        target.findings("word_evidence", "Evidence in the audio for each word", words, None)
    if any(result.token_attr is not None for result in results.values()):
        _write_previous_tokens(target, results)
    return _with_summary(target, results)


def _write_aligned(
    target: _Folder,
    aligned: AlignedResults,
    groups: Mapping[str, str] | None,
    compare: Sequence[tuple[str, str]],
    bands: str,
) -> None:
    _write_matching(target, aligned)
    times = time_analysis(aligned.results)
    target.findings("word_times", "Maps and the time of their words", times, plot_time)
    words = frequency_profiles(aligned.results, groups=groups, bands=bands)
    target.findings("word_profiles", "Frequencies of words", words, plot_profiles)
    for first, second in compare:
        pair = compare_profiles(words, first, second)
        draw = partial(plot_profiles, units=[first, second])
        target.findings(f"{first}_and_{second}", f"{first} and {second}", pair, draw)
    names = sorted(set((groups or {}).values()))
    if len(names) == 2:
        pair = compare_profiles(words, *names, by="group")
        draw = partial(plot_profiles, units=names, by="group")
        target.findings("groups", f"Words of {names[0]} and {names[1]}", pair, draw)
    if any(alignment.phones for alignment in aligned.alignments.values()):
        phones = frequency_profiles(
            aligned.results, alignments=aligned.alignments, groups=groups, bands=bands
        )
        target.findings("phone_profiles", "Frequencies of phones", phones, plot_profiles)
    _write_evidence(target, aligned)


def _write_matching(target: _Folder, aligned: AlignedResults) -> None:
    rows = [
        f"* {name}: written only: {', '.join(aligned.unmatched_written[name]) or '-'}; spoken "
        f"only: {', '.join(aligned.unmatched_spoken[name]) or '-'}"
        for name in aligned.unmatched_written
        if aligned.unmatched_written[name] or aligned.unmatched_spoken[name]
    ]
    target.summary.append(
        f"\n## Alignment\n\n{len(aligned.results)} utterances have times. Words without a partner, "
        f"in {len(rows)} utterances:\n\n" + ("\n".join(rows) or "none")
    )
    target.dropped(aligned.dropped)


def _write_evidence(target: _Folder, aligned: AlignedResults) -> None:
    words = word_evidence(aligned.results)
    spoken = was_spoken(words, aligned.results)
    title = "Evidence in the audio for each word"
    if all(spoken) or not any(spoken):
        target.findings("word_evidence", title, words, None)
        return
    check = hallucination_check(words, spoken)
    target.findings("word_evidence", title, check, plot_hallucination_check)


def _write_previous_tokens(
    target: _Folder, results: Mapping[str, SpeechToTextAttributionResult]
) -> None:
    try:
        positions = position_analysis(results)
    except ArgumentError as error:  # outputs of two tokens have nothing between
        target.summary.append(f"\n## Previous tokens\n\nNot analysed: {error}")
        return
    target.findings("previous_tokens", "Previous tokens by position", positions, plot_positions)
    intermediate = intermediate_explanations(positions)
    target.table("intermediate_tokens", intermediate)
    if len(intermediate):
        target.summary.append("Explained by an intermediate token:\n\n" + _fenced(intermediate))


def _with_summary(
    target: _Folder, results: Mapping[str, SpeechToTextAttributionResult]
) -> list[Path]:
    method = next(iter(results.values())).method
    head = (
        f"# Analyses of {len(results)} explanations by {method}\n\nTests state the number of "
        "observations and of utterances, one or two sides, and p corrected for all tests of their "
        "table. Observations of one utterance are not independent of each other."
    )
    path = target.path / "summary.md"
    path.write_text("\n".join([head, *target.summary]) + "\n", encoding="utf-8")
    return [path, *target.written]


def _rows(frame: DataFrame) -> str:
    return f"{len(frame)} observations of {frame['utterance'].nunique()} utterances."


def _fenced(frame: DataFrame) -> str:
    return f"\n```\n{frame.to_string(index=False, float_format='{:.4g}'.format)}\n```\n"
