"""The folder of many explanations: how all of them are made, and which are finished.

``explain.json`` says how they are made. In the folder of each recording ``recording.json`` says
which one it is of and, when everything is written, what that is: a run that was killed has left
nothing that could be taken for finished.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, Protocol

from captum_spes.errors import ArgumentError
from captum_spes.io.files import check_folder, made_folder, read_json, read_settings, write_whole
from captum_spes.io.locks import only_process_in
from captum_spes.io.names import FileNames
from captum_spes.report.files import EXPLANATION, remove_explanations
from captum_spes.text import shortened

REQUEST, RECORD = "explain.json", "recording.json"
# What they hold, and of which kinds.
_RECORDED = {
    "name": str,
    "recording": str | None,
    "sha256": str | None,
    "finished": dict | None,
}
_FINISHED = {
    "files": list,
    "is_whole": bool,
    "figure_formats": list,
    "html": bool,
    "judged": bool,
}
# Of a value, in the line that says which ones differ.
_SHOWN = 40


class Source(Protocol):
    """A recording, as far as its folder is concerned."""

    @property
    def name(self) -> str:
        """What its folder is named after."""
        ...

    @property
    def path(self) -> str | None:
        """Where it is; None of what came through a pipe."""
        ...

    def digest(self) -> str | None:
        """Of its content; None where it cannot be read."""
        ...


@dataclass(frozen=True)
class Outputs:
    """What is written of an explanation besides itself.

    Attributes:
        figure_formats: what figures are drawn in.
        html: whether there is a page.
        judged: whether its deletion score is measured.
    """

    figure_formats: tuple[str, ...] = ("png",)
    html: bool = False
    judged: bool = False

    def __or__(self, other: Outputs) -> Outputs:
        formats = dict.fromkeys((*self.figure_formats, *other.figure_formats))
        return Outputs(tuple(formats), self.html or other.html, self.judged or other.judged)


class State(Enum):
    """How far a recording is.

    Attributes:
        NEW: it is to be explained.
        EXPLAINED: its explanation is there, and other outputs are missing.
        FINISHED: all is there.
    """

    NEW = auto()
    EXPLAINED = auto()
    FINISHED = auto()


@dataclass(frozen=True)
class RecordingFolder:
    """The folder of one recording.

    Attributes:
        path: the folder, which need not be there.
        name, source: those of the recording.
    """

    path: Path
    name: str
    source: str | None

    def state(self, recording: Source, wanted: Outputs) -> State:
        """How far the recording is, where these outputs are wanted."""
        record = _read_record(self.path) or {}
        finished = record.get("finished")
        if finished is None or record["sha256"] != recording.digest():
            return State.NEW
        outputs, is_complete = _outputs(finished), self._has(finished["files"])
        if is_complete and outputs | wanted == outputs:
            return State.FINISHED
        is_there = finished["is_whole"] and (self.path / EXPLANATION).is_file()
        return State.EXPLAINED if is_there else State.NEW

    def begin(self, digest: str | None) -> None:
        """Make the folder the recording's; of another one that it held before, because the file
        was changed, the explanations are removed."""
        made_folder(self.path)
        if (_read_record(self.path) or {}).get("sha256", digest) != digest:
            remove_explanations(self.path)
        self._write(digest, None)

    def finish(
        self, digest: str | None, files: Sequence[Path], outputs: Outputs, *, is_whole: bool
    ) -> None:
        """Note that everything is written, the last thing to be done.

        Args:
            digest: of the recording.
            files: what was written, in the folder.
            outputs: what of it is asked for by options.
            is_whole: whether one explanation is of the whole recording.
        """
        before = (_read_record(self.path) or {}).get("finished")
        written = [file.relative_to(self.path).as_posix() for file in files]
        if before is not None and self._has(before["files"]):
            written, outputs = [*before["files"], *written], _outputs(before) | outputs
        found = {"files": list(dict.fromkeys(written)), "is_whole": is_whole, **asdict(outputs)}
        self._write(digest, found)

    def _has(self, files: Sequence[str]) -> bool:
        paths = [self.path / file for file in files]
        return all(path.is_file() and path.stat().st_size for path in paths)

    def _write(self, digest: str | None, finished: dict[str, Any] | None) -> None:
        record = {
            "name": self.name,
            "recording": self.source,
            "sha256": digest,
            "finished": finished,
        }
        write_whole(self.path / RECORD, json.dumps(record, indent=1) + "\n")


class OutputFolder:
    """The folder of all recordings; see :func:`output_folder`."""

    def __init__(self, path: Path, request: Mapping[str, Any]) -> None:
        self._path, self._request = path, _plain(request)
        records = ((own.name, _read_record(own)) for own in sorted(path.iterdir()) if own.is_dir())
        self._records = {name: record for name, record in records if record is not None}
        self._check(self._request)

    def bind(self, model: str) -> None:
        """Let the folder be one of explanations of the model with this digest.

        Raises:
            ArgumentError: it holds explanations of another one.
        """
        asked = {**self._request, "model": model}
        self._check(asked)
        write_whole(self._path / REQUEST, json.dumps(asked, indent=1) + "\n")

    def folders_of(self, recordings: Sequence[Source]) -> list[RecordingFolder]:
        """A folder for each recording: the one that was its own before, whichever others are given
        and in which order, or a new one.

        Raises:
            ArgumentError: a folder of that name holds something else.
            OSError: there is a file of that name.
        """
        found: dict[int, str] = {}
        # What was moved is told from what was changed before a path says whose a folder was.
        paths = {record["recording"] for record in self._records.values()}
        names = {record["name"] for record in self._records.values()}
        self._find(
            recordings, found, lambda own: (own["recording"], own["sha256"]),
            lambda own: (own.path, own.digest()) if own.path in paths else None,
        )  # fmt: skip
        self._find(
            recordings, found, _content_noted,
            lambda own: (own.name, own.digest()) if own.name in names else None,
        )  # fmt: skip
        self._find(recordings, found, _path_noted, lambda recording: recording.path)
        new = FileNames(*self._records)
        for number, recording in enumerate(recordings):
            if number not in found:
                found[number] = self._new(new.new(recording.name))
        return [
            RecordingFolder(self._path / found[number], recording.name, recording.path)
            for number, recording in enumerate(recordings)
        ]

    def _find(
        self,
        recordings: Sequence[Source],
        found: dict[int, str],
        noted: Callable[[Mapping[str, Any]], Any],
        asked: Callable[[Source], Any],
    ) -> None:
        """Add folders whose record says the same as the recording; each is one recording's."""
        known: dict[Any, list[str]] = {}
        for name, record in self._unclaimed(found):
            known.setdefault(noted(record), []).append(name)
        known.pop(None, None)  # records that do not say it
        for number, recording in enumerate(recordings):
            names = [] if number in found else known.get(asked(recording))
            if names:
                found[number] = names.pop(0)

    def _unclaimed(self, found: Mapping[int, str]) -> list[tuple[str, dict[str, Any]]]:
        claimed = set(found.values())
        return [own for own in self._records.items() if own[0] not in claimed]

    def _new(self, name: str) -> str:
        folder = check_folder(self._path / name)
        if folder.is_dir() and any(folder.iterdir()):
            raise ArgumentError(
                f"{folder} holds files and no {RECORD} that says which recording they are of: "
                "give another --out, or move it away."
            )
        return name

    def _check(self, asked: Mapping[str, Any]) -> None:
        """Raise where explanations that are there were made in another way."""
        if not self._holds_any():
            return
        if not (self._path / REQUEST).exists():
            raise ArgumentError(
                f"{self._path} holds explanations and no {REQUEST} that says how they were made: "
                "give another --out."
            )
        there = read_settings(self._path / REQUEST)
        differing = [name for name, value in asked.items() if there.get(name) != value]
        if differing:
            told = ", ".join(
                f"{name} is {_shown(there.get(name))} there and {_shown(asked[name])} now"
                for name in differing
            )
            raise ArgumentError(
                f"{self._path} holds explanations made in another way: {told}. Give another --out, "
                "or the same options to add to them."
            )

    def _holds_any(self) -> bool:
        # Of a whole recording, and of its windows or errors.
        places = (EXPLANATION, f"*/{EXPLANATION}", f"*/*/{EXPLANATION}")
        return any(next(self._path.glob(place), None) for place in places)


@contextmanager
def output_folder(path: Path, request: Mapping[str, Any]) -> Iterator[OutputFolder]:
    """Open a folder of explanations, which is made if need be, for this process alone.

    Args:
        path: the folder.
        request: all that decides the explanations, but the model, in JSON's types.

    Raises:
        ArgumentError: the folder holds explanations that were made in another way, or is in use by
            another process.
        OSError: it cannot be written.
    """
    with only_process_in(made_folder(path)):
        yield OutputFolder(path, request)


def _path_noted(record: Mapping[str, Any]) -> Any:
    return record["recording"]


def _content_noted(record: Mapping[str, Any]) -> Any:
    return None if record["sha256"] is None else (record["name"], record["sha256"])


def _read_record(folder: Path) -> dict[str, Any] | None:
    """Which recording a folder is of; None where that is not noted."""
    path = folder / RECORD
    if not path.exists():
        return None
    record = read_json(path, "the record of a recording")
    if not _is_record(record):
        raise ArgumentError(f"{path} is damaged: remove {folder}, or give another --out.")
    found: dict[str, Any] = record
    return found


def _is_record(record: Any) -> bool:
    if not _has_kinds(record, _RECORDED):
        return False
    finished = record["finished"]
    return finished is None or (
        _has_kinds(finished, _FINISHED)
        and all(isinstance(name, str) for name in (*finished["files"], *finished["figure_formats"]))
    )


def _has_kinds(found: Any, kinds: Mapping[str, Any]) -> bool:
    """Whether something is an object with values of these kinds."""
    return isinstance(found, dict) and all(
        name in found and isinstance(found[name], kind) for name, kind in kinds.items()
    )


def _outputs(finished: Mapping[str, Any]) -> Outputs:
    return Outputs(tuple(finished["figure_formats"]), finished["html"], finished["judged"])


def _plain(request: Mapping[str, Any]) -> dict[str, Any]:
    """As it is when it is read again."""
    found: dict[str, Any] = json.loads(json.dumps(request))
    return found


def _shown(value: Any) -> str:
    return shortened(json.dumps(value, ensure_ascii=False), _SHOWN)
