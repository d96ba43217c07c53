"""Making the rule that tells words that were heard from words that were not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from captum_spes.corpus.manifest import Utterance
from captum_spes.errors import ArgumentError, optional_library
from captum_spes.evaluation.unsaid_words import LabelledText, UnsaidWords
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.inputs import removed_value
from captum_spes.speech.measures import MEASURES, word_measures
from captum_spes.speech.models import Generates, require
from captum_spes.speech.randomness import seeded_draws
from captum_spes.speech.removals import checked_passes, measure_removals
from captum_spes.speech.verdicts import VerdictRule, family_of

# With fewer recordings no error rate can be told.
FEWEST_RECORDINGS = 5
_FOLDS = 5
# Shares of the words that were said, and that were not, which the rule may get wrong.
_ACCUSED, _MISSED = 0.02, 0.05
_BATCH = 4


@dataclass
class _Words:
    """Measures of words, and whether they were said."""

    measures: list[NDArray[np.float64]] = field(default_factory=list)
    said: list[bool] = field(default_factory=list)
    recordings: list[str] = field(default_factory=list)

    def add(self, text: LabelledText, measures: NDArray[np.float64]) -> None:
        """Add the words of which it is known."""
        for row, said in zip(measures, text.said, strict=True):
            if said is not None:
                self.measures.append(row)
                self.said.append(said)
                self.recordings.append(text.utterance)


def calibrate(
    explainer: Any,
    utterances: Sequence[Utterance],
    *,
    passes: Sequence[int] = (1, 4, 12, 40),
    baselines: str = "mean",
    name: str = "recordings",
    seed: int = 0,
    show_progress: bool = False,
    on_left_out: Callable[[str, Exception], object] | None = None,
) -> list[VerdictRule]:
    r"""
    Make the rules of ``SpeechToTextAttribution.check`` from recordings whose texts are right.

    Of each recording the words are taken that the model gets right, and words that were not said:
    the whole text with the second half cut off, with a third of the recording silenced, the text of
    the next recording, and what the model writes when noise takes the recording's place. A logistic
    regression on the words' measures tells them apart, either kind with the same weight. Verdicts
    are chosen such that, of recordings that the rule was not made from (cross-validation), 2 % of
    the words that were said are called not heard, and 5 % of the others heard.

    Args:

        explainer (SpeechToTextAttribution): Of the model.
        utterances (sequence of Utterance): What :func:`captum_spes.corpus.read_manifest` returns;
                    at least five.
        passes (sequence of int, optional): Numbers of passes that a rule is made for, from 1 to 40.
                    Default: (1, 4, 12, 40)
        baselines (str, optional): The removed value, as for ``check``.
                    Default: "mean"
        name (str, optional): Of the recordings, for people.
                    Default: "recordings"
        seed (int, optional): Of what is silenced, and of the noise.
                    Default: 0
        show_progress (bool, optional): Displays a progress bar.
                    Default: False
        on_left_out (Callable, optional): Called with the id of a recording that cannot be used, and
                    the error.
                    Default: None, the error is raised

    Returns:
        *list* of :class:`VerdictRule`, one for each number of passes.

    Raises:
        ArgumentError: there are fewer than five recordings, or no words of one kind.
        ArgumentTypeError: the model writes no text of its own.
        ImportError: scikit-learn is not installed.

    Examples::

        >>> rules = calibrate(explainer, read_manifest("manifest.jsonl"), passes=[1])
        >>> report = explainer.check("speech.flac", passes=1, rules=rules)
    """
    optional_library("sklearn", "calibrating", "surrogate")
    adapter = explainer.adapter
    require(adapter, Generates, "calibrating")
    counts = sorted({checked_passes(count) for count in passes})
    found = {count: _Words() for count in counts}
    maker = UnsaidWords(adapter, baselines, seed)
    progress = tqdm(utterances, desc="calibrate", unit="recording", disable=not show_progress)
    n_used = 0
    with ordinary_torch(adapter.device), adapter.evaluation_mode(), seeded_draws(seed):
        for place, utterance in enumerate(progress):
            other = utterances[(place + 1) % len(utterances)]
            try:
                measured = [
                    (text, _measured(adapter, text, counts, baselines))
                    for text in maker.of_utterance(utterance, other, place)
                ]
            except ArgumentError as error:
                if on_left_out is None:
                    raise
                on_left_out(utterance.id, error)
                continue
            n_used += 1
            for text, of_counts in measured:
                for count, measures in of_counts.items():
                    found[count].add(text, measures)
    if n_used < FEWEST_RECORDINGS:
        raise ArgumentError(
            f"calibrating needs at least {FEWEST_RECORDINGS} recordings that can be used, got "
            f"{n_used}."
        )
    # A folder's place on this machine is nobody's business.
    about = f"{PurePath(adapter.model_id).name}, {n_used} {name}"
    family = family_of(adapter)
    return [_rule(words, family, baselines, count, about) for count, words in found.items()]


def _measured(
    adapter: Any, text: LabelledText, counts: Sequence[int], baselines: str
) -> dict[int, NDArray[np.float64]]:
    """The measures of the words with each number of passes."""
    if not text.words:
        return {}
    removed = removed_value(adapter, text.speech, baselines)
    rows = [word.rows for word in text.words]
    removals = measure_removals(adapter, text.speech, text.sequence, removed, max(counts), _BATCH)
    return {count: word_measures(removals.first(count), rows) for count in counts}


def _rule(
    words: _Words, family: str, baselines: str, passes: int, calibrated_on: str
) -> VerdictRule:
    """Fit a rule, and measure how often it errs on recordings that it was not fitted to."""
    said = np.array(words.said, dtype=bool)
    if not said.any() or said.all():
        kind = "not said" if said.all() else "said"
        raise ArgumentError(f"there is no word that was {kind}: no rule can be made.")
    measures, recordings = np.array(words.measures), np.array(words.recordings)
    scores = _scores_of_others(measures, said, recordings)
    not_heard_below, heard_from = _thresholds(scores, said)
    weights, bias = _regression(measures, said)
    called = [scores < not_heard_below, scores >= heard_from]
    undecided = ~(called[0] | called[1])
    return VerdictRule(
        family=family,
        baselines=baselines,
        passes=passes,
        weights=dict(zip(MEASURES, weights.tolist(), strict=True)),
        bias=bias,
        heard_from=heard_from,
        not_heard_below=not_heard_below,
        error_rates={
            "accused": float(called[0][said].mean()),
            "missed": float(called[1][~said].mean()),
            "undecided_said": float(undecided[said].mean()),
            "undecided_unsaid": float(undecided[~said].mean()),
        },
        n_words=(int(said.sum()), int((~said).sum())),
        calibrated_on=calibrated_on,
    )


def _scores_of_others(
    measures: NDArray[np.float64], said: NDArray[np.bool_], recordings: NDArray[Any]
) -> NDArray[np.float64]:
    """The score of each word by a rule made without its recording."""
    scores = np.empty(len(said))
    names = list(dict.fromkeys(recordings.tolist()))
    for fold in range(_FOLDS):
        left_out = np.isin(recordings, names[fold::_FOLDS])
        if not left_out.any():
            continue
        weights, bias = _regression(measures[~left_out], said[~left_out])
        scores[left_out] = measures[left_out] @ weights + bias
    return scores


def _regression(
    measures: NDArray[np.float64], said: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Weights and bias for the measures as they are."""
    linear = optional_library("sklearn.linear_model", "calibrating", "surrogate")
    centre, scale = measures.mean(0), measures.std(0)
    scale[scale < 1e-9] = 1.0
    regression = linear.LogisticRegression(class_weight="balanced", max_iter=2_000)
    regression.fit((measures - centre) / scale, said)
    weights = regression.coef_[0] / scale
    return weights, float(regression.intercept_[0] - weights @ centre)


def _thresholds(scores: NDArray[np.float64], said: NDArray[np.bool_]) -> tuple[float, float]:
    """Below the first a word is not heard, from the second on it is heard."""
    low = float(np.quantile(scores[said], _ACCUSED))
    high = float(np.quantile(scores[~said], 1 - _MISSED))
    if low > high:  # everything can be told with fewer errors than are allowed
        low = high = (low + high) / 2
    return low, high
