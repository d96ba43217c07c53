"""Reading explanations, and giving their words times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from captum_spes.alignment import Alignment, align_result
from captum_spes.alignment.intervals import alignments_of
from captum_spes.errors import ArgumentError, warn_caller
from captum_spes.io.names import text_of_file_name
from captum_spes.io.texts import nfc, parse_json, read_text
from captum_spes.speech import SpeechToTextAttributionResult


@dataclass(frozen=True)
class AlignedResults:
    """Explanations whose words have times.

    Attributes:
        results: by utterance, those that have an alignment.
        alignments: the alignments of these.
        unmatched_written: by utterance, words of the output that were not spoken as written.
        unmatched_spoken: by utterance, spoken words that the output lacks.
        dropped: utterances without an alignment.
    """

    results: Mapping[str, SpeechToTextAttributionResult]
    alignments: Mapping[str, Alignment]
    unmatched_written: Mapping[str, tuple[str, ...]]
    unmatched_spoken: Mapping[str, tuple[str, ...]]
    dropped: Mapping[str, str]


def load_results(
    path: str | PathLike[str],
) -> dict[str, SpeechToTextAttributionResult]:
    r"""
    Read saved explanations.

    Args:

        path (str or path): One saved explanation, or a folder that holds some, as
                    ``captum-spes explain --out`` writes: in one folder per recording.

    Returns:
        *dict* of :class:`SpeechToTextAttributionResult` by utterance: the name of the file
        without suffix, or of its folder where the file is called ``explanation.npz``.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ArgumentError: there is no explanation, all are damaged, or two have the same name. Where
            some are damaged a warning names them.

    Examples::

        >>> list(load_results("explanation.npz"))
        ['explanation']
    """
    return dict(read_results(path))


def read_results(
    path: str | PathLike[str],
) -> Iterator[tuple[str, SpeechToTextAttributionResult]]:
    r"""
    Read saved explanations one by one, where all of them are too many for the memory.

    Args:

        path (str or path): As for :func:`load_results`.

    Returns:
        *iterator* of pairs: the name of the utterance and its explanation, in the order of the
        files' names.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ArgumentError: as for :func:`load_results`; what is damaged is known when it is read.

    Examples::

        >>> for name, result in read_results("explanation.npz"):
        ...     print(name, result.text)
        explanation the cat
    """
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(f"no such explanation: {place}")
    files = [place] if place.is_file() else sorted(place.rglob("*.npz"))
    if not files:
        raise ArgumentError(f"{place} holds no saved explanation (.npz).")
    named: dict[str, Path] = {}
    for file in files:
        # The folder is named after the recording; a file that stands alone has its own name.
        is_in_own_folder = file.stem == "explanation" and file.parent.name
        name = text_of_file_name(file.parent.name if is_in_own_folder else file.stem)
        if name in named:
            raise ArgumentError(f"{file}: there is an explanation of {name!r} already.")
        named[name] = file
    return readable(named, lambda name: SpeechToTextAttributionResult.load(named[name]))


def readable(
    names: Iterable[str], read: Callable[[str], SpeechToTextAttributionResult]
) -> Iterator[tuple[str, SpeechToTextAttributionResult]]:
    """Explanations by name, one by one; a damaged one is left out with a warning, as it must not
    end the work on the others, and the first one is raised where all are damaged."""
    damaged: list[ArgumentError] = []
    found_any = False
    for name in names:
        try:
            result = read(name)
        except ArgumentError as error:
            damaged.append(error)
            continue
        found_any = True
        yield name, result
    if damaged and not found_any:
        raise damaged[0]
    for problem in damaged:
        warn_caller(f"left out: {problem}")


def align_results(
    results: Mapping[str, SpeechToTextAttributionResult],
    alignments: Mapping[str, Alignment],
    *,
    language: str = "en",
) -> AlignedResults:
    r"""
    Give the words of explanations the times at which they are spoken.

    Args:

        results (mapping of str to SpeechToTextAttributionResult): By utterance.
        alignments (mapping of str to Alignment): Likewise; those of other utterances are ignored.
                    Names are compared in Unicode's composed form (NFC): macOS decomposes those of
                    files.
        language (str, optional): Language of numbers in the texts, a code such as "de".
                    Default: "en"

    Returns:
        *AlignedResults*: what could not be aligned or matched is listed, not guessed.

    Raises:
        ArgumentError: no explanation has an alignment, or the language is no code.

    Examples::

        >>> aligned = align_results({"speech": result}, {"speech": alignment})
        >>> aligned.unmatched_spoken["speech"]
        ()
    """
    found = alignments_of(results, alignments)
    aligned = {
        name: align_result(results[name], alignment, language=language)
        for name, alignment in found.items()
    }
    if not aligned:
        raise ArgumentError(
            f"none of the explanations ({_few(results)}) has an alignment; there are alignments "
            f"of {_few(alignments)}. The name of a recording's file, without suffix, must be the "
            "id, or the name of the file, of its alignment."
        )
    return AlignedResults(
        {name: one.result for name, one in aligned.items()},
        found,
        {name: one.unmatched_written for name, one in aligned.items()},
        {name: one.unmatched_spoken for name, one in aligned.items()},
        {name: "no alignment" for name in results if name not in found},
    )


def read_groups(path: str | PathLike[str], field: str) -> dict[str, str]:
    r"""
    Read which group each utterance belongs to.

    Args:

        path (str or path): JSONL, one object a line with its ``id`` (or ``name``): a manifest.
        field (str): Which of its fields names the group, for example "gender".

    Returns:
        *dict* of str by utterance (in Unicode's composed form, NFC), without those that lack the
        field.

    Raises:
        FileNotFoundError: there is no such file.
        ArgumentError: it is no JSONL, or no line has the field.

    Examples::

        >>> _ = open("speakers.jsonl", "w").write('{"id": "speech", "gender": "female"}')
        >>> read_groups("speakers.jsonl", "gender")
        {'speech': 'female'}
    """
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(f"no such file of groups: {file}")
    content = read_text(file, "a file of groups")
    try:
        lines = [parse_json(line) for line in content.split("\n") if line.strip()]
        groups = {
            nfc(str(line["id"] if "id" in line else line["name"])): line.get(field)
            for line in lines
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArgumentError(f"{file} is no JSONL of objects with an id: {error!r}") from error
    if any(isinstance(group, dict | list) for group in groups.values()):
        raise ArgumentError(f"{field!r} of {file} must be a text or a number, to name a group.")
    known = {name: str(group) for name, group in groups.items() if group is not None}
    if not known:
        raise ArgumentError(f"no line of {file} has the field {field!r}.")
    return known


def _few(names: Mapping[str, object]) -> str:
    shown = ", ".join(list(names)[:3])
    return f"{shown}, ..." if len(names) > 3 else shown or "nothing"
