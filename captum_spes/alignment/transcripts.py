"""Times of words in the JSON of aligners and transcribers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from reprlib import repr as shortened
from typing import Any

from captum_spes.alignment.entries import as_seconds, is_spoken
from captum_spes.alignment.tiers import from_tiers
from captum_spes.errors import ArgumentError
from captum_spes.maps import split_unspaced

# Of one word, in scripts without spaces: a token holds few characters, a sentence many.
_MOST_CHARACTERS = 4
_ADVICE = (
    "transcribe with the times of words (whisper --word_timestamps True; return_timestamps='word' "
    "in Hugging Face's pipeline), or align the text; only an empty list of words says that nobody "
    "speaks"
)


def from_json(fields: Any) -> tuple[list[Any], list[Any]]:
    """Words and phones of one utterance, as :func:`alignment_of` takes them.

    Raises:
        ArgumentError: there are none, or segments without their words.
    """
    if not isinstance(fields, dict):
        raise ArgumentError(f"expected an object with a list of words, got {shortened(fields)}")
    if fields.get("tiers") is not None:
        return from_tiers(fields["tiers"])
    words = _words(fields)
    phones = list(_listed(fields, "phones") or [])
    for word in words:
        if isinstance(word, dict):
            phones += _phones_within(word)
    return words, phones


def _words(fields: Mapping[str, Any]) -> list[Any]:
    own = [_listed(fields, name) for name in ("words", "word_segments")]
    segments, chunks = (_listed(fields, name) for name in ("segments", "chunks"))
    if any(own):
        return next(words for words in own if words)
    if segments:
        return [word for number, one in enumerate(segments, 1) for word in _of_segment(one, number)]
    if chunks:
        return _of_chunks(chunks)
    if any(words is not None for words in own):
        return []
    if segments is None and chunks is None:
        raise ArgumentError(
            "expected an object with a list of words, of segments with words, of chunks, or with "
            f"tiers, got {shortened(fields)}; {_ADVICE}"
        )
    if is_spoken(str(fields.get("text") or "")):
        raise ArgumentError(f"a text without segments: {_ADVICE}")
    return []


def _of_segment(segment: Any, number: int) -> list[Any]:
    if not isinstance(segment, dict):
        raise ArgumentError(f"segment {number}: expected an object, got {shortened(segment)}")
    words, text = _listed(segment, "words"), segment.get("text")
    if words:
        return words
    if words == [] if text is None else not is_spoken(str(text)):
        return []
    raise ArgumentError(f"segment {number} has no words: {_ADVICE}")


def _of_chunks(chunks: list[Any]) -> list[Any]:
    texts = [chunk.get("text") if isinstance(chunk, dict) else None for chunk in chunks]
    spoken = [text for text in texts if isinstance(text, str) and is_spoken(text)]
    for text in spoken:
        if len(text.split()) > 1:
            raise ArgumentError(f"the chunk {shortened(text)} is no single word: {_ADVICE}")
    # Scripts without spaces show no words; those of tokens have few characters.
    if sum(len(split_unspaced(text)) for text in spoken) > _MOST_CHARACTERS * len(spoken):
        raise ArgumentError(f"the chunks, such as {shortened(spoken[0])}, are no words: {_ADVICE}")
    return chunks


def _phones_within(word: Mapping[str, Any]) -> Iterator[Any]:
    time = as_seconds(word.get("start"))
    for phone in _listed(word, "phones") or []:
        if not isinstance(phone, dict) or "duration" not in phone:
            yield phone
            continue
        # Gentle: durations, and the place in the word after "_".
        end = time + as_seconds(phone["duration"])
        yield str(phone.get("phone")).partition("_")[0], round(time, 6), round(end, 6)
        time = end


def _listed(fields: Mapping[str, Any], name: str) -> list[Any] | None:
    """A field that is a list, or is missing or null."""
    value = fields.get(name)
    if value is not None and not isinstance(value, list):
        raise ArgumentError(f"expected a list of {name}, got {shortened(value)}")
    return value
