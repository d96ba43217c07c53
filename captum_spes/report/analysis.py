"""All plausibility analyses of a set of explanations as files in a folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations
from math import isnan
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captum_spes.alignment import Alignment
from captum_spes.analysis import (
    AlignedResults,
    Findings,
    Profiles,
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
    was_matched,
    word_evidence,
)
from captum_spes.errors import ArgumentError
from captum_spes.io.files import made_folder, write_whole
from captum_spes.io.names import FileNames
from captum_spes.plotting.fonts import one_warning
from captum_spes.report.figures import write_figure
from captum_spes.report.noise import about_noisy_words
from captum_spes.report.tables import fenced_table, with_interval, write_frame
from captum_spes.speech import SpeechToTextAttributionResult
from captum_spes.speech.regions import has_frequency
from captum_spes.text import for_markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


@dataclass
class _Folder:
    """What is written, and what the summary will say."""

    path: Path
    names: FileNames = field(default_factory=FileNames)
    written: list[Path] = field(default_factory=list)
    summary: list[str] = field(default_factory=list)

    def table(self, name: str, rows: DataFrame) -> None:
        self.written.append(write_frame(self.path / f"{self.names.new(name)}.csv", rows))

    def findings(
        self, name: str, title: str, found: Findings, draw: Callable[[Any], Figure] | None
    ) -> None:
        name = re.sub(r"[^\w'-]+", "_", name)  # words and groups are the user's
        self.table(name, found.table)
        table = self.written[-1]
        shown = f"{_rows(found.table)}: {for_markdown(table.name)}"
        self.summary.append(f"\n## {for_markdown(title)}\n\n{shown}")
        if len(found.tests):
            self.table(f"{name}_tests", found.tests)
            self.summary.append(_shown(found.tests))
        count = len(found.table) - len(found.tested)
        if count and (draw is not None or len(found.tests)):
            where = "tests and figure" if len(found.tests) else "the figure"
            self.summary.append(
                f"Mostly noise, and left out of {where}: {count} of {len(found.table)} rows."
            )
        self.dropped(found.dropped)
        if draw is not None and len(found.tested):
            drawn = draw(replace(found, table=found.tested))
            self.written.append(write_figure(table.with_suffix(".png"), drawn))

    def dropped(self, dropped: Mapping[str, str]) -> None:
        if dropped:
            lines = "\n".join(
                f"* {for_markdown(name)}: {for_markdown(reason)}"
                for name, reason in dropped.items()
            )
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
    keep_noise: bool = False,
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
        groups (mapping of str to str, optional): Group of each utterance; the frequencies that
                    their words rest on are compared, each pair of groups.
                    Default: None
        compare (sequence of (str, str), optional): Words whose frequencies are compared.
                    Default: ()
        bands (str, optional): See :func:`frequency_bands`.
                    Default: "bark"
        language (str, optional): Of numbers in the texts.
                    Default: "en"
        keep_noise (bool, optional): Whether tests and figures also take words and tokens whose maps
                    are mostly noise (reliability below 0.5); tests on such maps are marked.
                    Default: False

    Returns:
        *list[Path]*: the files: per analysis one table of observations (``word_times.csv``, for
        example), one of tests (``word_times_tests.csv``) and a figure, and ``summary.md`` with all
        tests and everything that was left out.

    Raises:
        ArgumentError: no explanation has an alignment, or they are of several methods or models.
            What an analysis cannot be made for is told in ``summary.md``.
        ImportError: pandas is not installed.
        OSError: a file cannot be written.

    Examples::

        >>> files = write_analysis({"speech": result}, "analysed", alignments={"speech": alignment})
        >>> "word_times.png" in [path.name for path in files]
        True
    """
    sections = _sections(results, alignments, groups, compare, bands, language, keep_noise)
    target = _Folder(made_folder(folder))
    target.summary.append(about_noisy_words(results, keep_noise))
    with one_warning():
        for section in sections:
            try:
                section(target)
            except ArgumentError as error:  # what one analysis lacks, another may not need
                target.summary.append(f"Not made: {for_markdown(error)}")
    return _with_summary(target, results)


def _sections(
    results: Mapping[str, SpeechToTextAttributionResult],
    alignments: Mapping[str, Alignment] | None,
    groups: Mapping[str, str] | None,
    compare: Sequence[tuple[str, str]],
    bands: str,
    language: str,
    keep_noise: bool,
) -> list[Callable[[_Folder], None]]:
    """Everything that is to be written; what is asked for and cannot be made is an error now."""
    evidence = token_evidence(results, keep_noise=keep_noise)
    title = "Kurtosis of the maps by kind of token"
    sections: list[Callable[[_Folder], None]] = [
        lambda target: target.findings("token_evidence", title, evidence, plot_token_evidence)
    ]
    if alignments is None:
        sections.append(partial(_write_words, words=word_evidence(results)))
    else:
        aligned = align_results(results, alignments, language=language)
        sections += [
            partial(_write_matching, aligned=aligned),
            partial(_write_time, aligned=aligned, keep_noise=keep_noise),
            *_of_frequency(aligned, groups, compare, bands, keep_noise),
            partial(_write_evidence, aligned=aligned),
        ]
    sections.append(partial(_write_previous_tokens, results=results, keep_noise=keep_noise))
    return sections


def _of_frequency(
    aligned: AlignedResults,
    groups: Mapping[str, str] | None,
    compare: Sequence[tuple[str, str]],
    bands: str,
    keep_noise: bool,
) -> list[Callable[[_Folder], None]]:
    """Nothing but a line for maps that say nothing of frequency."""
    if not any(has_frequency(result) for result in aligned.results.values()):
        return [_write_no_frequency]
    profiles = frequency_profiles(
        aligned.results, groups=groups, bands=bands, keep_noise=keep_noise
    )
    return [
        partial(_write_frequency, aligned=aligned, profiles=profiles),
        partial(_write_pairs, profiles=profiles, pairs=compare, by="unit"),
        partial(_write_groups, profiles=profiles),
    ]


def _write_words(target: _Folder, words: Findings) -> None:
    target.findings("word_evidence", "Evidence in the audio for each word", words, None)


def _write_matching(target: _Folder, aligned: AlignedResults) -> None:
    rows = [
        f"* {for_markdown(name)}: written only: {_listed(aligned.unmatched_written[name])}; spoken "
        f"only: {_listed(aligned.unmatched_spoken[name])}"
        for name in aligned.results
        if aligned.unmatched_written[name] or aligned.unmatched_spoken[name]
    ]
    target.summary.append(
        f"\n## Alignment\n\n{len(aligned.results)} utterances have times. Words without a partner, "
        f"in {len(rows)} utterances:\n\n" + ("\n".join(rows) or "none")
    )
    target.dropped(aligned.dropped)


def _write_time(target: _Folder, aligned: AlignedResults, keep_noise: bool) -> None:
    found = time_analysis(aligned.results, keep_noise=keep_noise)
    target.findings("word_times", "Maps and the time of their words", found, plot_time)


def _write_no_frequency(target: _Folder) -> None:
    target.summary.append(
        "\n## Frequencies of words\n\nNot made: these maps say nothing of frequency, as those of "
        "attention and of patches of time."
    )


def _write_frequency(target: _Folder, aligned: AlignedResults, profiles: Profiles) -> None:
    target.findings("word_profiles", "Frequencies of words", profiles, plot_profiles)
    if any(alignment.phones for alignment in aligned.alignments.values()):
        phones = frequency_profiles(
            aligned.results,
            alignments=aligned.alignments,
            bands=profiles.bands,
            keep_noise=profiles.keep_noise,
        )
        target.findings("phone_profiles", "Frequencies of phones", phones, plot_profiles)


def _write_groups(target: _Folder, profiles: Profiles) -> None:
    known = profiles.table.dropna(subset="group")
    names = sorted(known["group"].unique())
    if names:
        missing = set(profiles.table["utterance"]) - set(known["utterance"])
        target.dropped(dict.fromkeys(sorted(missing), "no group"))
    _write_pairs(target, profiles, list(combinations(names, 2)), "group")


def _write_pairs(
    target: _Folder, profiles: Profiles, pairs: Sequence[tuple[str, str]], by: str
) -> None:
    for first, second in pairs:
        title = f"{first} and {second}" + (", compared word by word" if by == "group" else "")
        try:
            found = compare_profiles(profiles, first, second, by=by)
        except ArgumentError as error:  # other pairs may have enough
            target.summary.append(f"\n## {for_markdown(title)}\n\nNot made: {for_markdown(error)}")
            continue
        draw = partial(plot_profiles, units=list(found.table[by].unique()), by=by)
        target.findings(f"{first}_and_{second}", title, found, draw)


def _write_evidence(target: _Folder, aligned: AlignedResults) -> None:
    words = word_evidence(aligned.results)
    matched = was_matched(words, aligned.results)
    title = "Evidence in the audio for each word"
    if all(matched) or not any(matched):
        _write_words(target, words)
        which = "every" if all(matched) else "no"
        target.summary.append(
            f"No check of what was not said: {which} word of the output was matched to a spoken "
            "one."
        )
        return
    check = hallucination_check(words, matched)
    target.findings("word_evidence", title, check, plot_hallucination_check)
    target.summary.append(
        "Supported are words that were matched to a spoken one. The others were not said as they "
        "are written; some may have been said all the same (see Alignment)."
    )


def _write_previous_tokens(
    target: _Folder, results: Mapping[str, SpeechToTextAttributionResult], keep_noise: bool
) -> None:
    target.summary.append("\n## Previous tokens")
    positions = position_analysis(results, keep_noise=keep_noise)
    target.findings("previous_tokens", "Previous tokens by position", positions, plot_positions)
    intermediate = intermediate_explanations(positions)
    target.table("intermediate_tokens", intermediate)
    target.summary.append(
        "Tokens that a quarter or more of their occurrences, five at least, explain by one from "
        f"between (intermediate_tokens.csv): {len(intermediate) or 'none'}"
    )
    if len(intermediate):
        target.summary.append(_table(intermediate))


def _with_summary(
    target: _Folder, results: Mapping[str, SpeechToTextAttributionResult]
) -> list[Path]:
    method = next(iter(results.values())).method
    head = (
        f"# Analyses of {len(results)} explanations by {for_markdown(method)}\n\nTests state the "
        "number of observations and of utterances, one or two sides, and p corrected for all tests "
        "of their table. Where n counts words or tokens, p takes them for independent, which those "
        "of one utterance are not: read it beside the rows of utterances."
    )
    path = target.path / "summary.md"
    write_whole(path, "\n".join([head, *target.summary]) + "\n")
    return [path, *target.written]


def _listed(words: Sequence[str]) -> str:
    return for_markdown(", ".join(words)) or "-"


def _rows(frame: DataFrame) -> str:
    return f"{len(frame)} observations of {frame['utterance'].nunique()} utterances"


def _shown(tests: DataFrame) -> str:
    """The columns that fit on a line; the file has all."""
    shown = tests[["question", "n", "utterances"]].copy()
    shown["estimate"] = [
        with_interval(row.estimate, None if isnan(row.low) else (row.low, row.high), ".3g")
        for row in tests.itertuples()
    ]
    shown["effect size"] = [
        "" if isnan(row.effect_size) else f"{row.effect_size:.3g} ({row.effect})"
        for row in tests.itertuples()
    ]
    shown["p"], shown["corrected"] = tests["p"], tests["p_corrected"]
    if any(tests["noise"]):
        shown["noise"] = tests["noise"]
    how = "; ".join(tests["test"].unique())
    sides = ", ".join(tests["alternative"].unique())
    return f"{_table(shown)}\n{how}; {sides}; {tests['correction'].iloc[0]}."


def _table(frame: DataFrame) -> str:
    return f"\n{fenced_table(frame, '.4g')}\n"
