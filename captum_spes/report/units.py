"""Explanations as a table with a row for each word or token, for statistics elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from captum_spes.errors import ArgumentError, optional_library, shown
from captum_spes.report.certainty import token_certainty
from captum_spes.speech import SpeechToTextAttributionResult
from captum_spes.speech.noise import believable_region, reliability_of, rests_on_audio

if TYPE_CHECKING:
    from pandas import DataFrame


def unit_table(
    results: Mapping[str, SpeechToTextAttributionResult]
    | Iterable[tuple[str, SpeechToTextAttributionResult]],
    of: str = "words",
) -> DataFrame:
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
        * ``start``, ``end``: seconds, when it is spoken, where words have times;
        * ``salient_start``, ``salient_peak``, ``salient_end``: seconds, and ``lowest``,
          ``strongest``, ``highest``: Hz, of the strongest place of its map; empty where the map is
          mostly noise or it rests on nothing in the audio;
        * ``impact``: mean of its raw map; ``speech_share``: see
          :meth:`SpeechToTextAttributionResult.speech_share`;
        * ``probability``, ``rank``, ``runner_up``: how sure the model was;
        * ``reliability``: share of its map's variance that is not sampling noise;
        * ``rests_on_audio``: whether removing audio moves it at all.

        It writes itself, by ``to_csv`` or, with pyarrow, ``to_parquet``.

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
    if of not in ("words", "tokens"):
        raise ArgumentError(f"of must be 'words' or 'tokens', got {shown(of)}.")
    pairs = results.items() if isinstance(results, Mapping) else results
    rows = [row for name, result in pairs for row in _rows(name, result, of)]
    frame: DataFrame = pandas.DataFrame(rows, columns=list(_COLUMNS))
    return frame


_COLUMNS = (
    "utterance", "position", "text", "method", "model", "seed", "start", "end",
    "salient_start", "salient_peak", "salient_end", "lowest", "strongest", "highest",
    "impact", "speech_share", "probability", "rank", "runner_up", "reliability", "rests_on_audio",
)  # fmt: skip


def _rows(name: str, result: SpeechToTextAttributionResult, of: str) -> Iterable[dict[str, Any]]:
    by_word = of == "words" and bool(result.words) and "contrast" not in result.parameters
    units = (
        [(word.word, word.token_indices, word.start, word.end) for word in result.words]
        if by_word
        else [(token, (row,), None, None) for row, token in enumerate(result.output_tokens)]
    )
    sure = token_certainty(result)
    if sure is not None and by_word:
        sure = result.word_certainty()
    shares = None if result.token_attr is None else result.speech_share()
    for position, (text, tokens, start, end) in enumerate(units):
        time, band = believable_region(result, tokens)
        rows = list(tokens)
        yield {
            "utterance": name,
            "position": position,
            "text": text.strip(),
            "method": result.method,
            "model": result.model_id,
            "seed": result.seed,
            "start": start,
            "end": end,
            **_place(time, ("salient_start", "salient_peak", "salient_end")),
            **_place(band, ("lowest", "strongest", "highest")),
            "impact": float(result.spectrogram_attr[rows].mean()),
            "speech_share": None if shares is None else float(shares[rows].mean()),
            "probability": None if sure is None else float(sure.probabilities[position]),
            "rank": None if sure is None else int(sure.ranks[position]),
            "runner_up": None if sure is None else sure.runners_up[position].strip(),
            "reliability": reliability_of(result, tokens),
            "rests_on_audio": rests_on_audio(result, tokens),
        }


def _place(peak: Any, names: tuple[str, str, str]) -> dict[str, float | None]:
    found = (None,) * 3 if peak is None else (peak.start, peak.peak, peak.end)
    return dict(zip(names, found, strict=True))
