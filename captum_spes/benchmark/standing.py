"""What came of the benchmark: the scores of methods, of one run or of several."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from captum_spes.benchmark.suite import SUITE
from captum_spes.benchmark.table import TABLE_HEADER, measure_rows, standing_table
from captum_spes.errors import ArgumentError
from captum_spes.evaluation import Comparison
from captum_spes.evaluation.scores import lacking_field
from captum_spes.io.files import made_folder, read_json, write_whole
from captum_spes.report.tables import write_rows

FORMAT = "captum-spes benchmark submission"
SUBMISSION = "submission.json"


@dataclass(frozen=True)
class Standing:
    r"""
    Methods that were measured on the same suite.

    Attributes:
        suite: what they were measured on, in JSON's types.
        comparison: their scores.
        about: name of a method to what it does.
        made: how it was made, as written in ``submission.json``; empty for several runs together.
    """

    suite: Mapping[str, Any]
    comparison: Comparison
    about: Mapping[str, str]
    made: Mapping[str, Any]

    def rows(self) -> list[dict[str, Any]]:
        r"""
        Every measure of every method.

        Returns:
            *list* of dictionaries: the ``suite``'s version, ``method``, ``measure``, ``removal``
            (None where nothing is removed), its ``value`` with the ends of its 95 % bootstrap
            interval over recordings (``low``, ``high``), and its ``difference`` from the first
            method, paired, with ends. What does not exist is None.

        Examples::

            >>> standing.rows()[0]["measure"]
            'own token'
        """
        return measure_rows(self.comparison, self.suite["version"], self.suite["removals"])

    def table(self) -> str:
        r"""
        The methods in one table, the best by its own tokens' maps first.

        Returns:
            *str*: Markdown, ending in a newline.

        Examples::

            >>> "| energy |" in standing.table()
            True
        """
        return standing_table(self.comparison, self.suite, self.rows(), self.about)

    def write(self, folder: str | PathLike[str]) -> list[Path]:
        r"""
        Write ``table.md``, ``table.csv`` and, of a single run, ``submission.json``.

        Args:

            folder (str or path): Where to; it is made if need be.

        Returns:
            *list[Path]*: the files.

        Raises:
            OSError: a file cannot be written.

        Examples::

            >>> [path.name for path in standing.write("benchmark")]
            ['table.md', 'table.csv', 'submission.json']
        """
        target, rows = made_folder(folder), self.rows()
        table = standing_table(self.comparison, self.suite, rows, self.about)
        write_whole(target / "table.md", table)
        cells = [[row[name] for name in TABLE_HEADER] for row in rows]
        written = [target / "table.md", write_rows(target / "table.csv", TABLE_HEADER, cells)]
        if self.made:
            written.append(target / SUBMISSION)
            write_whole(written[-1], json.dumps(self._submission(rows), indent=1) + "\n")
        return written

    def _submission(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        methods = []
        for name in self.comparison.methods:
            own = [row for row in rows if row["method"] == name]
            methods.append({
                "name": name,
                "about": self.about.get(name, ""),
                "source": self.made["sources"].get(name),
                "measures": [
                    {key: row[key] for key in ("measure", "removal", "value", "low", "high")}
                    for row in own
                ],
                "scores": dict(self.comparison.records[name]),
            })  # fmt: skip
        made = {key: value for key, value in self.made.items() if key != "sources"}
        return {"format": FORMAT, "suite": dict(self.suite), **made, "methods": methods}


def joined_standing(submissions: Sequence[str | PathLike[str]]) -> Standing:
    r"""
    Put the methods of several runs, whoever made them, into one table.

    Args:

        submissions (sequence of str or path): Files ``submission.json``, or folders that have one.
                    Others are compared with the first method of the first one. A method that two
                    files have with the same scores is there once; with other scores it gets the
                    number of its file behind its name.

    Returns:
        *Standing*: the scores of all; paired over the recordings that no method failed on.

    Raises:
        ArgumentError: a file is damaged, or two are of different suites or models.
        OSError: a file cannot be read.

    Examples::

        >>> for name in ("energy", "random"):
        ...     _ = standing_benchmark([name], out=name, suite=SUITE.trial())
        >>> joined_standing(["energy", "random"]).comparison.methods
        ['energy', 'random']
    """
    if isinstance(submissions, str | PathLike) or not submissions:
        raise ArgumentError("give a list of submission.json, at least one.")
    paths = [_file(Path(own)) for own in submissions]
    found = [_read(path) for path in paths]
    suite = found[0]["suite"]
    for path, own in zip(paths, found, strict=True):
        _check_same(suite, own["suite"], paths[0], path)
    records: dict[str, Mapping[str, Any]] = {}
    about: dict[str, str] = {}
    for number, own in enumerate(found, 1):
        for method in own["methods"]:
            name = method["name"]
            if name in records and _measured(records[name]) == _measured(method["scores"]):
                continue
            name = f"{name} ({number})" if name in records else name
            records[name], about[name] = method["scores"], str(method.get("about", ""))
    comparison = Comparison(list(records), records, suite["metric"])
    if not comparison.ids:
        raise ArgumentError("no recording was measured with every method; nothing to compare.")
    return Standing(suite, comparison, about, {})


def _file(path: Path) -> Path:
    return path / SUBMISSION if path.is_dir() else path


def _read(path: Path) -> dict[str, Any]:
    found = read_json(path, "a submission")
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ArgumentError(f"{path} is no submission, as captum-spes benchmark --out writes it.")
    wrong = _wrong(found)
    if wrong:
        raise ArgumentError(f"{path} is damaged: {wrong}; run the benchmark again.")
    return found


def _wrong(found: Mapping[str, Any]) -> str:
    """What is wrong with a submission; an empty text where nothing is."""
    suite, methods = found.get("suite"), found.get("methods")
    if not isinstance(suite, dict) or not isinstance(suite.get("version"), str):
        return "it names no version of the suite"
    if suite["version"] not in (SUITE.version, SUITE.trial().version):
        return ""  # told by its version, and not by what another version has or lacks
    lists = all(isinstance(suite.get(name), list) for name in ("recordings", "removals"))
    if not lists or not isinstance(suite.get("metric"), str):
        return "its suite lacks recordings, removals or the metric"
    if not isinstance(methods, list) or not methods:
        return "it has no methods"
    for method in methods:
        if not isinstance(method, dict) or not isinstance(method.get("name"), str):
            return "a method has no name"
        scores = method.get("scores")
        if not isinstance(scores, dict) or list(scores) != suite["recordings"]:
            return f"{method['name']} has not the scores of every recording"
        for id_, record in scores.items():
            if not isinstance(record, dict):
                return f"the scores of {id_} by {method['name']} are none"
            lacking = (
                lacking_field(record, suite["removals"], True) if "error" not in record else ""
            )
            if lacking:
                return f"the scores of {id_} by {method['name']} lack {lacking}"
    return ""


def _check_same(first: Mapping[str, Any], suite: Mapping[str, Any], one: Path, other: Path) -> None:
    known = (SUITE.version, SUITE.trial().version)
    if suite["version"] not in known:
        raise ArgumentError(
            f"{other} is of version {suite['version']!r} of the suite, and this package knows "
            f"{SUITE.version!r}: run the benchmark again."
        )
    differing = sorted(name for name in {*first, *suite} if first.get(name) != suite.get(name))
    if differing:
        versions = f"{first['version']!r} and {suite['version']!r}"
        raise ArgumentError(
            f"{one} and {other} were measured with different suites (versions {versions}; "
            f"{', '.join(differing)}): rows of both cannot be compared."
        )


def _measured(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Scores without what they cost, which another machine changes."""
    return {
        id_: {name: value for name, value in record.items() if name != "cost"}
        for id_, record in scores.items()
    }
