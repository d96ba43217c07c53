"""Which previous tokens explain a token. (arXiv 2411.01710, section 8.4)"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from captum_spes.analysis.findings import (
    Findings,
    Results,
    believable,
    check_results,
    corrected,
    mean_test,
    number,
    table,
    utterance_means,
    with_noise,
)
from captum_spes.errors import ArgumentError
from captum_spes.speech import SpeechToTextAttributionResult
from captum_spes.speech.noise import previous_token_reliabilities

if TYPE_CHECKING:
    from pandas import DataFrame

_START, _BETWEEN, _LAST, _NONE = "start", "between", "last", "none"
_COLUMNS = (
    "utterance", "token", "position", _START, _BETWEEN, _LAST, "top", "top_token", "reliability",
)  # fmt: skip
_SHOWN_TOKENS = 5
# What marks the start of a word in a token.
_MARKS = " ▁Ġ"


def position_analysis(results: Results, *, keep_noise: bool = False) -> Findings:
    r"""
    Compare how much tokens rest on the start, on the last and on the other previous tokens (Figure
    11 of the paper).

    Args:

        results (mapping of str to SpeechToTextAttributionResult): Explanations of one method, by
                    utterance, with attributions of previous tokens.
        keep_noise (bool, optional): Whether tests are also made on tokens whose rows of
                    previous tokens are mostly noise (reliability below 0.5). They are in the table
                    in any case.
                    Default: False

    Returns:
        *Findings*: one row per token with at least one previous token between the prompt and the
        last one: the normalised saliency of the ``start`` (the mean of the prompt's tokens),
        ``between`` (the mean of the tokens between these two) and the ``last`` token; which of
        these holds the most salient token (``top``; "none" where all are equal), and that token.
        Tests, one-sided as in the paper, over tokens (as there) and over the means of utterances:
        last above start, last above between, start above between.

    Raises:
        ArgumentError: there is no result, methods are mixed, or none has attributions of previous
            tokens.
        ImportError: pandas is not installed.

    Examples::

        >>> position_analysis({"speech": result}).table.columns[-3:].tolist()
        ['top', 'top_token', 'reliability']
    """
    check_results(results)
    rows, dropped = [], {}
    for name, result in results.items():
        if result.token_attr is None:
            dropped[name] = "no attributions of previous tokens"
            continue
        of_result = list(_positions(result))
        if not of_result:
            dropped[name] = "no token with a previous one between the prompt and the last"
        rows += [{"utterance": name, **row} for row in of_result]
    if len(dropped) == len(results):
        raise ArgumentError(f"no explanation can be analysed: {'; '.join(set(dropped.values()))}.")
    tokens = table(rows, _COLUMNS)
    pairs = ((_LAST, _START), (_LAST, _BETWEEN), (_START, _BETWEEN))
    tested, tests = believable(tokens, keep_noise), list[dict[str, Any]]()
    for high, low in pairs:
        differences, of = tested[high] - tested[low], tested["utterance"].tolist()
        tests += [
            mean_test(f"{high} > {low}, tokens", differences, of),
            mean_test(f"{high} > {low}, utterances", *utterance_means(differences, of)),
        ]
    tests = [with_noise(test, tested) for test in tests]
    return Findings(tokens, corrected(tests), dropped, keep_noise=keep_noise)


def intermediate_explanations(
    positions: Findings, *, min_share: float = 0.25, min_count: int = 5
) -> DataFrame:
    r"""
    List the tokens that are often explained best by a token from the middle of what was written
    (Table 10 of the paper).

    Args:

        positions (Findings): What :func:`position_analysis` returns.
        min_share (float, optional): Least share of a token's occurrences with an intermediate
                    token on top.
                    Default: 0.25
        min_count (int, optional): Least number of occurrences of a token.
                    Default: 5

    Returns:
        *DataFrame*, the highest share first: ``token``, ``count``, ``intermediate`` (how often one
        is on top), ``share``, and ``explained_by``, those tokens with their counts.

    Examples::

        >>> positions = position_analysis({"speech": result})
        >>> intermediate_explanations(positions).columns.tolist()
        ['token', 'count', 'intermediate', 'share', 'explained_by']
    """
    rows = []
    tested = positions.tested
    frame = tested.assign(token=tested["token"].str.strip(_MARKS))
    for token, group in frame.groupby("token", sort=False):
        between = group[group["top"] == _BETWEEN]
        share = len(between) / len(group)
        if len(group) < min_count or share < min_share:
            continue
        counts = Counter(between["top_token"].str.strip(_MARKS)).most_common(_SHOWN_TOKENS)
        rows.append(
            {
                "token": token,
                "count": len(group),
                "intermediate": len(between),
                "share": share,
                "explained_by": ", ".join(f"{other} ({count})" for other, count in counts),
            }
        )
    rows.sort(key=lambda row: (-row["share"], -row["count"], row["token"]))
    return table(rows, ["token", "count", "intermediate", "share", "explained_by"])


def dependence(
    results: Results, token: str, previous: str, *, keep_noise: bool = False
) -> Findings:
    r"""
    Measure how much a token rests on a certain earlier one: German *zu* on *um*, for example.

    Args:

        results (mapping of str to SpeechToTextAttributionResult): Explanations of one method, by
                    utterance, with attributions of previous tokens.
        token (str): The token that is explained; a space or mark at its start does not matter.
        previous (str): The earlier token, of which the nearest counts. Where it is the very last
                    one, which always weighs much, the occurrence is left out.
        keep_noise (bool, optional): As of :func:`position_analysis`.
                    Default: False

    Returns:
        *Findings*: one row per occurrence of ``token`` after ``previous``: the normalised saliency
        of ``previous`` and the mean of the ``others`` between the prompt and the last token; the
        ``rank`` of ``previous`` among all previous tokens, 1 the highest, and among those
        ``between``; and how many ``tokens`` lie between them. Tests, one-sided: ``previous`` above
        the others, over occurrences and over utterances.

    Raises:
        ArgumentError: there is no such occurrence, or methods or models are mixed.
        ImportError: pandas is not installed.

    Examples::

        >>> dependence({"speech": result}, "t", "h").tests["question"].tolist()
        ['t by h > by others, tokens', 't by h > by others, utterances']
    """
    check_results(results)
    rows = [
        {"utterance": name, **row}
        for name, result in results.items()
        if result.token_attr is not None
        for row in _dependences(result, token.strip(_MARKS), previous.strip(_MARKS))
    ]
    if not rows:
        raise ArgumentError(f"{token!r} never occurs after {previous!r}, or only right after it.")
    found = table(
        rows,
        ["utterance", "previous", "others", "rank", "rank_between", "tokens", "reliability"],
    )
    tested = believable(found, keep_noise)
    differences, of = tested["previous"] - tested["others"], tested["utterance"].tolist()
    question = f"{token.strip(_MARKS)} by {previous.strip(_MARKS)} > by others"
    tests = [
        mean_test(f"{question}, tokens", differences, of),
        mean_test(f"{question}, utterances", *utterance_means(differences, of)),
    ]
    tests = [with_noise(test, tested) for test in tests]
    return Findings(found, corrected(tests), keep_noise=keep_noise)


def _dependences(
    result: SpeechToTextAttributionResult, token: str, previous: str
) -> Iterator[dict[str, Any]]:
    saliency = result.normalized().token_attr
    assert saliency is not None
    n_prompt = _n_prompt(result)
    fed = [other.strip(_MARKS) for other in result.previous_tokens]
    reliabilities = previous_token_reliabilities(result)
    for index, written in enumerate(result.output_tokens):
        values = saliency[index, : n_prompt + index].double()
        places = [i for i in range(n_prompt, len(values) - 1) if fed[i] == previous]
        if written.strip(_MARKS) != token or not places:
            continue
        place = places[-1]
        between = values[n_prompt:-1]
        others = torch.cat([between[: place - n_prompt], between[place - n_prompt + 1 :]])
        yield {
            "previous": float(values[place]),
            "others": float(others.mean()),
            "rank": 1 + int((values > values[place]).sum()),
            "rank_between": 1 + int((between > values[place]).sum()),
            "tokens": len(values) - 1 - place,
            "reliability": number(reliabilities[index]),
        }


def _n_prompt(result: SpeechToTextAttributionResult) -> int:
    """Previous tokens that were there before the output; none for most speech LLMs."""
    rows = result.previous_rows()
    return next((place for place, row in enumerate(rows) if row is not None), len(rows))


def _positions(result: SpeechToTextAttributionResult) -> Iterator[dict[str, Any]]:
    saliency = result.normalized().token_attr
    assert saliency is not None
    n_prompt = _n_prompt(result)
    reliabilities = previous_token_reliabilities(result)
    # The first two tokens have nothing between the prompt and the last token.
    for index, row in enumerate(saliency[2:], 2):
        values = row[: n_prompt + index].double()
        best = int(torch.argmax(values))
        top = _BETWEEN
        if values.max() == values.min():
            top = _NONE
        elif best < n_prompt:
            top = _START
        elif best == len(values) - 1:
            top = _LAST
        yield {
            "token": result.output_tokens[index],
            "position": index,
            _START: float(values[:n_prompt].mean()),
            _BETWEEN: float(values[n_prompt:-1].mean()),
            _LAST: float(values[-1]),
            "top": top,
            "top_token": "" if top == _NONE else result.previous_tokens[best],
            "reliability": number(reliabilities[index]),
        }
