"""Explanations as a table with a row for each word or token, for statistics elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from captum_spes.errors import ArgumentError, optional_library, shown
from captum_spes.report.certainty import token_certainty
from captum_spes.speech import SpeechToTextAttributionResult
from captum_spes.speech.noise import believable_region, reliability_of, rests_on_audio
from captum_spes.text import for_utf8

if TYPE_CHECKING:
    from pandas import DataFrame


Results: TypeAlias = (
    Mapping[str, SpeechToTextAttributionResult]
    | Iterable[tuple[str, SpeechToTextAttributionResult]]
)

# With the kind of the cells, as tables of columns with types name it.
COLUMNS = {
    "utterance": "string", "position": "int64", "text": "string", "method": "string",
    "model": "string", "seed": "int64", "start": "float64", "end": "float64",
    "salient_start": "float64", "salient_peak": "float64", "salient_end": "float64",
    "lowest": "float64", "strongest": "float64", "highest": "float64", "impact": "float64",
    "speech_share": "float64", "probability": "float64", "rank": "int64", "runner_up": "string",
    "reliability": "float64", "rests_on_audio": "bool_",
}  # fmt: skip


def unit_table(results: Results, of: str = "words") -> DataFrame:
    r"""
    Make a table with a row for each word, or token, of many explanations.

    Args:

        results (dict or iterable of pairs): Explanations by name, as
                    :func:`captum_spes.analysis.load_results` returns them, or pairs that are read
                    one by one, as of :meth:`captum_spes.corpus.ExplanationStore.items`.
        of (str, optional): "words" or "tokens". Contrasts have the row of their word.
                    Default: "words"

    Returns:
        *pandas.DataFrame* with the columns

        * ``utterance``, ``position`` (from 0), ``text``, ``method``, ``model``, ``seed``;
        * ``start``, ``end``: seconds, when it is spoken, where words have times; of a token, where
          it spells a word by itself;
        * ``salient_start``, ``salient_peak``, ``salient_end``: seconds, and ``lowest``,
          ``strongest``, ``highest``: Hz, of the strongest place of its map; empty where the map is
          mostly noise or it rests on nothing in the audio;
        * ``impact``: mean of its raw map; ``speech_share``: see
          :meth:`SpeechToTextAttributionResult.speech_share`;
        * ``probability``, ``rank``, ``runner_up``: how sure the model was;
        * ``reliability``: share of its map's variance that is not sampling noise;
        * ``rests_on_audio``: whether removing audio moves it at all.

        :func:`write_units` writes it without holding it in memory.

    Raises:
        ArgumentError: ``of`` is neither.
        ImportError: pandas is not installed.

    Examples::

        >>> table = unit_table({"speech": result}, of="tokens")
        >>> len(table) == len(result.output_tokens)
        True
        >>> table.to_csv("tokens.csv", index=False)
    """
    pandas = optional_library("pandas", "a table", "analysis")
    frame: DataFrame = pandas.DataFrame(rows_of(results, of), columns=list(COLUMNS))
    # Columns of which nothing is known are numbers, too.
    numbers = [name for name, kind in COLUMNS.items() if kind in ("float64", "int64")]
    frame[numbers] = frame[numbers].apply(pandas.to_numeric)
    return frame


def rows_of(results: Results, of: str) -> Iterator[dict[str, Any]]:
    """The rows of :func:`unit_table` one by one, each a cell by column, None where it is empty."""
    if of not in ("words", "tokens"):
        raise ArgumentError(f"of must be 'words' or 'tokens', got {shown(of)}.")
    pairs = results.items() if isinstance(results, Mapping) else results
    return (row for name, result in pairs for row in _rows(name, result, of))


def _rows(name: str, result: SpeechToTextAttributionResult, of: str) -> Iterator[dict[str, Any]]:
    by_word = of == "words" and bool(result.words) and "contrast" not in result.parameters
    # A token that spells a word by itself is spoken when the word is.
    spoken = {word.token_indices: (word.start, word.end) for word in result.words}
    units = (
        [(word.word, word.token_indices, word.start, word.end) for word in result.words]
        if by_word
        else [
            (token, (row,), *spoken.get((row,), (None, None)))
            for row, token in enumerate(result.output_tokens)
        ]
    )
    sure = token_certainty(result)
    if sure is not None and by_word:
        sure = result.word_certainty()
    shares = None if result.token_attr is None else result.speech_share()
    for position, (text, tokens, start, end) in enumerate(units):
        time, band = believable_region(result, tokens)
        rows = list(tokens)
        yield {
            "utterance": for_utf8(name),
            "position": position,
            "text": for_utf8(text.strip()),
            "method": for_utf8(result.method),
            "model": for_utf8(result.model_id),
            "seed": result.seed,
            "start": start,
            "end": end,
            **_place(time, ("salient_start", "salient_peak", "salient_end")),
            **_place(band, ("lowest", "strongest", "highest")),
            "impact": float(result.spectrogram_attr[rows].mean()),
            "speech_share": None if shares is None else float(shares[rows].mean()),
            "probability": None if sure is None else float(sure.probabilities[position]),
            "rank": None if sure is None else int(sure.ranks[position]),
            "runner_up": None if sure is None else for_utf8(sure.runners_up[position].strip()),
            "reliability": reliability_of(result, tokens),
            "rests_on_audio": rests_on_audio(result, tokens),
        }


def _place(peak: Any, names: tuple[str, str, str]) -> dict[str, float | None]:
    found = (None,) * 3 if peak is None else (peak.start, peak.peak, peak.end)
    return dict(zip(names, found, strict=True))
