"""Lines of Lhotse's manifests of cuts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from captum_spes.errors import ArgumentError

# What a line of Lhotse's other manifests has, and what it is.
_OTHERS = {"recording_id": "supervision", "sources": "recording"}


def is_of_lhotse(fields: Mapping[str, Any]) -> bool:
    """Whether a line is Lhotse's."""
    is_cut = isinstance(fields.get("recording"), dict) or "Cut" in str(fields.get("type", ""))
    return is_cut or "tracks" in fields or any(name in fields for name in _OTHERS)


def fields_of_cut(fields: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """What a cut says, by the names of our own manifests, and the channel that it is of.

    Raises:
        ArgumentError: the line is no cut of one recording that is in a file.
    """
    for name, kind in _OTHERS.items():
        if name in fields and "recording" not in fields:
            raise ArgumentError(
                f"it is a {kind} of Lhotse: give a manifest of cuts (lhotse cut simple), which has "
                "recording and text together"
            )
    recording = fields.get("recording")
    if "tracks" in fields or not isinstance(recording, dict):
        kind = fields.get("type", "cut")
        raise ArgumentError(f"a {kind} of Lhotse is not of one recording: give MonoCuts")
    if recording.get("transforms"):
        raise ArgumentError("the recording has transforms, which are not applied: save it first")
    sources: Any = recording.get("sources")
    is_one = isinstance(sources, list) and len(sources) == 1 and isinstance(sources[0], dict)
    if not is_one or sources[0].get("type") != "file":
        raise ArgumentError("the recording must have one source of type 'file'")
    spoken = fields.get("supervisions") or []
    if not isinstance(spoken, list) or not all(isinstance(s, dict) for s in spoken):
        raise ArgumentError("supervisions must be a list of objects")
    texts = [str(s["text"]).strip() for s in sorted(spoken, key=_start) if s.get("text")]
    found = {
        "audio": sources[0].get("source"),
        "offset": fields.get("start"),
        "duration": fields.get("duration"),
        "text": " ".join(texts),
        **({"id": fields["id"]} if "id" in fields else {}),
    }
    return found, _channel(fields.get("channel"), recording.get("channel_ids"), sources[0])


def _start(supervision: Mapping[str, Any]) -> float:
    start = supervision.get("start", 0.0)
    return float(start) if isinstance(start, int | float) else 0.0


def _channel(wanted: Any, known: Any, source: Mapping[str, Any]) -> int | None:
    """Of a recording with several channels, the one that the cut is of."""
    channels = known if isinstance(known, list) else source.get("channels")
    if isinstance(wanted, list) and len(wanted) == 1:
        wanted = wanted[0]
    if not isinstance(channels, list) or len(channels) < 2 or isinstance(wanted, list):
        return None
    return channels.index(wanted) if wanted in channels else None
