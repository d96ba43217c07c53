"""Making the rule that tells words that were heard from words that were not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from tqdm.auto import tqdm

from captum_spes.corpus.manifest import Utterance
from captum_spes.errors import ArgumentError, instance_of, several, whole_number
from captum_spes.evaluation.unsaid_words import LabelledText, UnsaidWords
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.inputs import removed_value
from captum_spes.speech.measures import MEASURES, word_measures
from captum_spes.speech.models import Generates, require
from captum_spes.speech.randomness import seeded_draws
from captum_spes.speech.removals import checked_passes, measure_removals
from captum_spes.speech.verdicts import VerdictRule, called_by, family_of, size_of

# With fewer recordings no error rate can be told.
FEWEST_RECORDINGS = 5
FEWEST_WORDS = 20
_FOLDS = 5
# Shares of the words that were said, and that were not, which the rule may get wrong.
_ACCUSED, _MISSED = 0.05, 0.05
# A word that is missing or wrong before it makes the model lose its place: such words tell no error
# rate.
_DISTURBED = ("cut out", "swapped")


@dataclass
class _Words:
    """Measures of words, and whether they were said."""

    measures: list[NDArray[np.float64]] = field(default_factory=list)
    said: list[bool] = field(default_factory=list)
    recordings: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    def add(self, text: LabelledText, measures: NDArray[np.float64]) -> None:
        """Add the words of which it is known."""
        for row, said in zip(measures, text.said, strict=True):
            if said is not None:
                self.measures.append(row)
                self.said.append(said)
                self.recordings.append(text.utterance)
                self.kinds.append(text.kind)


def calibrate(
    explainer: Any,
    utterances: Sequence[Utterance],
    *,
    passes: Sequence[int] = (1, 4, 12, 40),
    baselines: str = "mean",
    gen_args: Mapping[str, Any] | None = None,
    seed: int = 0,
    show_progress: bool = False,
    on_left_out: Callable[[str, Exception], object] | None = None,
) -> list[VerdictRule]:
    r"""
    Make the rules of ``SpeechToTextAttribution.check`` from recordings whose texts are right.

    Of each recording the words are taken that the model gets right, and words that were not said:
    the whole text with the second half of the recording cut off, with half of it silenced, and with
    every fourth word cut out of it, the text with every fourth word swapped for one of the next
    recording's, and what the model writes when noise or silence takes the recording's place. A
    logistic regression on the words' measures tells them apart. The thresholds aim at 5 % of the
    words that were said being called not heard, and 5 % of the others heard; how often the rule
    really errs is measured on recordings that neither weights nor thresholds were made from
    (cross-validation in five parts).

    A word that is cut out counts as not said if the model, writing freely, does not write it: where
    it is spoken is known from the model's own attention only. Words that the model fills in by
    itself are left out, so that the share of these that is missed is larger in use. A model whose
    attention cannot be read gets no such words.

    Args:

        explainer (SpeechToTextAttribution): Of the model.
        utterances (sequence of Utterance): What :func:`captum_spes.corpus.read_manifest` returns;
                    at least five.
        passes (sequence of int, optional): Numbers of passes that a rule is made for, from 1 to 40.
                    Default: (1, 4, 12, 40)
        baselines (str, optional): The removed value, as for ``check``.
                    Default: "mean"
        gen_args (dict, optional): Arguments of generation, language and task among them.
                    Default: None, the model's own
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
        ArgumentTypeError: the model writes no text of its own, or an argument has the wrong type.

    Examples::

        >>> from captum_spes.demo import MANIFEST, load_demo
        >>> model, processor, _ = load_demo()
        >>> explainer = SpeechToTextAttribution(SPES(model), processor)
        >>> rules = calibrate(explainer, read_manifest(MANIFEST), passes=[1])
        >>> report = explainer.check("speech.flac", passes=1, rules=rules)
    """
    adapter = explainer.adapter
    require(adapter, Generates, "calibrating")
    numbers = several("passes", passes, "a sequence of numbers")
    counts = sorted({checked_passes(count) for count in numbers})
    if not counts:
        raise ArgumentError("passes is empty: name a number of passes.")
    instance_of("baselines", baselines, str, "the name of a removed value")
    found = {count: _Words() for count in counts}
    maker = UnsaidWords(adapter, baselines, whole_number("seed", seed, 0), gen_args)
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
    # The last two parts of a folder, or a hub name; where it lies is nobody's business.
    model = "/".join(PurePath(adapter.model_id).parts[-2:])
    about = f"{model}, {n_used} recordings"
    return [_rule(words, adapter, baselines, count, about) for count, words in found.items()]


def _measured(
    adapter: Any, text: LabelledText, counts: Sequence[int], baselines: str
) -> dict[int, NDArray[np.float64]]:
    """The measures of the words with each number of passes."""
    if not text.words:
        return {}
    removed = removed_value(adapter, text.speech, baselines)
    rows = [word.rows for word in text.words]
    removals = measure_removals(adapter, text.speech, text.sequence, removed, max(counts))
    return {count: word_measures(removals.first(count), rows) for count in counts}


def _rule(words: _Words, adapter: Any, baselines: str, passes: int, about: str) -> VerdictRule:
    """Fit a rule, and measure how often one errs on recordings that it was not made from."""
    said = np.array(words.said, dtype=bool)
    for kind, count in (("said", said.sum()), ("not said", (~said).sum())):
        if count < FEWEST_WORDS:
            raise ArgumentError(
                f"a rule needs at least {FEWEST_WORDS} words that were {kind}, got {count}: give "
                "more recordings."
            )
    measures, recordings = np.array(words.measures), np.array(words.recordings)
    kinds = np.array(words.kinds)
    is_undisturbed = ~(said & np.isin(kinds, _DISTURBED))
    called = np.zeros(len(said))
    for left_out in _folds(recordings):
        rest = ~left_out
        weights, bias, low, high = _fitted(
            measures[rest], said[rest], recordings[rest], is_undisturbed[rest]
        )
        called[left_out] = called_by(measures[left_out] @ weights + bias, low, high)
    weights, bias, low, high = _fitted(measures, said, recordings, is_undisturbed)
    called, kinds = called[is_undisturbed], kinds[is_undisturbed]
    said = said[is_undisturbed]
    return VerdictRule(
        family=family_of(adapter),
        n_parameters=size_of(adapter),
        baselines=baselines,
        passes=passes,
        weights=dict(zip(MEASURES, weights.tolist(), strict=True)),
        bias=bias,
        heard_from=high,
        not_heard_below=low,
        error_rates={
            "accused": float((called[said] < 0).mean()),
            "missed": float((called[~said] > 0).mean()),
            "undecided_said": float((called[said] == 0).mean()),
            "undecided_unsaid": float((called[~said] == 0).mean()),
        },
        missed_by_kind={
            kind: float((called[~said & (kinds == kind)] > 0).mean())
            for kind in dict.fromkeys(kinds[~said].tolist())
        },
        n_words=(int(said.sum()), int((~said).sum())),
        calibrated_on=about,
    )


def _fitted(
    measures: NDArray[np.float64],
    said: NDArray[np.bool_],
    recordings: NDArray[Any],
    is_undisturbed: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], float, float, float]:
    """Weights, bias and both thresholds, which come from scores of undisturbed words by rules that
    were made without their recordings."""
    scores = np.zeros(len(said))
    for left_out in _folds(recordings):
        weights, bias = _regression(measures[~left_out], said[~left_out])
        scores[left_out] = measures[left_out] @ weights + bias
    # A part of few recordings can lack one of the kinds.
    right = said & is_undisturbed
    low = np.quantile(scores[right], _ACCUSED) if right.any() else -np.inf
    high = np.quantile(scores[~said], 1 - _MISSED) if (~said).any() else np.inf
    # Where everything can be told with fewer errors than are allowed, fewer true words are accused.
    low = min(low, high)
    weights, bias = _regression(measures, said)
    return weights, bias, float(low), float(high)


def _folds(recordings: NDArray[Any]) -> Iterator[NDArray[np.bool_]]:
    """The words of each fifth of the recordings."""
    names = list(dict.fromkeys(recordings.tolist()))
    for fold in range(min(_FOLDS, len(names))):
        yield np.isin(recordings, names[fold::_FOLDS])


def _regression(
    measures: NDArray[np.float64], said: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Weights and bias of a logistic regression, either kind of words with the same weight.

    More evidence and more confidence can only speak for a word: their weights are not negative. The
    least divergence and loss can speak against one, as a word that was heard is in one place.
    """
    centre, scale = measures.mean(0), np.maximum(measures.std(0), 1e-9)
    standard = (measures - centre) / scale
    signs = np.where(said, 1.0, -1.0)
    shares = np.where(said, 0.5 / max(said.mean(), 1e-9), 0.5 / max(1 - said.mean(), 1e-9))

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margins = signs * (standard @ parameters[1:] + parameters[0])
        slopes = -shares * signs * expit(-margins)
        penalty = 0.5 * float(np.sum(parameters[1:] ** 2))
        gradient = np.concatenate([[slopes.sum()], standard.T @ slopes + parameters[1:]])
        return float(np.sum(shares * np.logaddexp(0.0, -margins))) + penalty, gradient

    lowest = [None if name.startswith("least") else 0.0 for name in MEASURES]
    found = minimize(
        loss, np.zeros(len(MEASURES) + 1), jac=True, method="L-BFGS-B",
        bounds=[(None, None), *((bound, None) for bound in lowest)],
    )  # fmt: skip
    weights: NDArray[np.float64] = found.x[1:] / scale
    return weights, float(found.x[0] - weights @ centre)
