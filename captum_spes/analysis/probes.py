"""What a linear probe reads from each layer. (arXiv 1909.03368)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from captum_spes.alignment import Alignment
from captum_spes.analysis.findings import table
from captum_spes.analysis.phone_frames import frequent_phones, spoken_frames
from captum_spes.analysis.representations import EncoderStates
from captum_spes.analysis.resampling import (
    FEWEST_GROUPS,
    Array,
    draws,
    interval,
    numbers_of,
    tallies,
)
from captum_spes.errors import ArgumentError, ArgumentTypeError, optional_library, whole_number

if TYPE_CHECKING:
    from pandas import DataFrame

_RESAMPLES = 2_000
# Of each control. With one, accuracies on eight recordings scattered by 0.03 (standard deviation).
_DRAWS = 3
_Labels = NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class PhoneProbe:
    """What probes read from layers, on recordings that they were not fitted on.

    Attributes:
        table: one row per layer, see :func:`phone_probe`.
        frames: one row per frame in which a phone is spoken: ``utterance``, ``group``, ``fold``
            (the one that it was held out in), ``time`` in seconds, ``phone``, and ``loudness``.
        predicted: ``(frames, layers)``: what each layer's probe takes the phone for.
        rare: phones that were left out, and in how many frames they are spoken.
        dropped: utterances that were left out, and why.
    """

    table: DataFrame
    frames: DataFrame
    predicted: DataFrame
    rare: Mapping[str, int]
    dropped: Mapping[str, str]


def phone_probe(
    states: Mapping[str, EncoderStates],
    alignments: Mapping[str, Alignment],
    *,
    groups: Mapping[str, str] | None = None,
    classes: Mapping[str, str] | None = None,
    classifier: Any = None,
    folds: int = 5,
    fewest: int = 20,
    seed: int = 0,
) -> PhoneProbe:
    r"""
    Measure from which layers a linear probe can tell the phone that is spoken.

    Each layer's probe is fitted and tested on other recordings (cross-validation by group), and so
    are two controls on the same states, each drawn three times and averaged. The *shuffled* labels
    belong to other stretches of speech: no probe can tell them, unless recordings leak from
    training into test. In the *control task* (Hewitt and Liang, arXiv 1909.03368) every place of
    every word, such as the second phone of "cat", has the phone of another such place, at random
    and the same wherever the word is spoken: a probe that does well has learnt words by heart.
    Selectivity is the accuracy less that of the control task.

    Args:

        states (mapping of str to EncoderStates): By utterance: :func:`encoder_states`.
        alignments (mapping of str to Alignment): By utterance, with phones, and words for the
                    control task. Frames outside all phones are left out.
        groups (mapping of str to str, optional): Of each utterance what must not be in training and
                    test at once: its speaker.
                    Default: None, the utterance
        classes (mapping of str to str, optional): Phones to what is told instead of them, such as
                    "vowel"; others are left out.
                    Default: None, the phones
        classifier (scikit-learn classifier, optional): The probe; a copy is fitted.
                    Default: None, logistic regression (``C=0.1``, classes weighed alike) on
                    standardised states
        folds (int, optional): Of the cross-validation, at least 2; no more than there are groups
                    are made.
                    Default: 5
        fewest (int, optional): Phones of fewer frames, or of a single group, are left out.
                    Default: 20
        seed (int, optional): Of the controls and of the intervals.
                    Default: 0

    Returns:
        *PhoneProbe*. Its table holds per layer: ``width``; balanced ``accuracy`` (mean over the
        phones of the share of their frames that is told) with the 95 % interval ``low`` to
        ``high``; ``gain`` over the first layer; accuracy on the ``control`` task, and
        ``selectivity``; accuracy on ``shuffled`` labels; ``chance``, one in so many phones; numbers
        of ``frames``, ``phones`` and ``groups``. Intervals are bootstraps over groups, the same
        draws for all layers (NaN for fewer than five groups); they do not tell how probes would
        differ if they were fitted on other recordings.
        Without words there is no control task (NaN).

    Raises:
        ArgumentError: fewer than two groups, or fewer than two phones, are left, layers differ
            from utterance to utterance, or an argument is out of range.
        ImportError: scikit-learn or pandas is not installed.

    Examples::

        >>> model, processor, clips = load_demo()
        >>> explainer = SpeechToTextAttribution(SPES(model), processor)
        >>> states = encoder_states(explainer, {clip.name: clip.path for clip in clips})
        >>> times = {clip.name: clip.alignment for clip in clips}
        >>> kinds = dict.fromkeys("aIV0", "vowel") | dict.fromkeys("ptkbdg", "stop")
        >>> probe = phone_probe(states, times, classes=kinds, folds=2)
        >>> probe.table["layer"].tolist()[:2]
        ['spectrogram', 'input']
    """
    folds, fewest = whole_number("folds", folds, 2), whole_number("fewest", fewest, 1)
    seed = whole_number("seed", seed, 0)
    layers = _layers_of(states)
    classifier = _default_probe() if classifier is None else classifier
    spoken = spoken_frames(states, alignments, groups, classes)
    kept, rare = frequent_phones(spoken, fewest)
    frames = spoken.frames[kept].reset_index(drop=True)
    n_groups = frames["group"].nunique()
    if n_groups < 2 or frames["phone"].nunique() < 2:
        raise ArgumentError(
            f"a probe needs two phones and two groups of recordings with at least {fewest} frames "
            f"each; there are {frames['phone'].nunique()} and {n_groups}. Give more recordings, "
            "lower fewest, or join phones by classes."
        )
    frames["fold"] = _folds(frames["group"], min(folds, n_groups))
    labels = _tasks(frames, seed)
    told = {
        layer: _told(classifier, _stacked(states, frames, layer), labels, frames["fold"])
        for layer in layers
    }
    widths = {layer: next(iter(states.values())).layers[layer].shape[1] for layer in layers}
    scored = _scored(labels, told, frames["group"], seed)
    counts = {
        "chance": 1 / frames["phone"].nunique(),
        "frames": len(frames),
        "phones": frames["phone"].nunique(),
        "groups": n_groups,
    }
    rows = [{"layer": one, "width": widths[one], **scored[one], **counts} for one in layers]
    shown = ["utterance", "group", "fold", "time", "phone", "loudness"]
    predicted = table([]).assign(**{layer: own["phone"][0] for layer, own in told.items()})
    return PhoneProbe(table(rows), frames[shown], predicted, rare, spoken.dropped)


def _layers_of(states: Mapping[str, EncoderStates]) -> list[str]:
    """The layers, the same ones for all utterances."""
    if not isinstance(states, Mapping) or not all(
        isinstance(own, EncoderStates) for own in states.values()
    ):
        raise ArgumentTypeError("states must be a dict of EncoderStates by utterance.")
    if not states:
        raise ArgumentError("there are no states to probe.")
    shapes = {
        name: {layer: values.shape[1] for layer, values in own.layers.items()}
        for name, own in states.items()
    }
    first = next(iter(shapes))
    for name, own in shapes.items():
        if own != shapes[first]:
            raise ArgumentError(
                f"{name} has other layers than {first}: {own} and {shapes[first]}, by width."
            )
    return list(shapes[first])


def _default_probe() -> Any:
    optional_library("sklearn", "a probe", "probes")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(C=0.1, class_weight="balanced", max_iter=2_000)
    return make_pipeline(StandardScaler(), regression)


def _folds(groups: Any, folds: int) -> NDArray[np.int64]:
    """The fold in which each frame is held out; those of a group are held out together."""
    optional_library("sklearn", "a probe", "probes")
    from sklearn.model_selection import GroupKFold

    found = np.empty(len(groups), dtype=np.int64)
    for number, (_, held_out) in enumerate(GroupKFold(folds).split(groups, groups=groups)):
        found[held_out] = number
    return found


def _tasks(frames: DataFrame, seed: int) -> dict[str, list[_Labels]]:
    """What is asked of each frame: the phone, and the controls, drawn a few times."""
    generator = np.random.default_rng(seed)
    # Without words a place would be the phone, and the task no other than the probe's own.
    n_controls = _DRAWS if (frames["word"] != "").any() else 0
    return {
        "phone": [np.array(frames["phone"], dtype=str)],
        "control": [_given_again(frames, ["word", "place"], generator) for _ in range(n_controls)],
        "shuffled": [
            _given_again(frames, ["utterance", "segment"], generator) for _ in range(_DRAWS)
        ],
    }


def _given_again(frames: DataFrame, units: list[str], generator: np.random.Generator) -> _Labels:
    """The phones of units shuffled among them, each given to all frames of its unit."""
    of_units = frames.groupby(units, sort=True)
    given = generator.permutation(of_units["phone"].first().to_numpy(dtype=str))
    return np.asarray(given[of_units.ngroup().to_numpy()])


def _stacked(states: Mapping[str, EncoderStates], frames: DataFrame, layer: str) -> Array:
    """``(frames, width)``, in the order of the rows."""
    parts = [
        states[str(name)].layers[layer][rows["frame"].to_numpy(dtype=int)]
        for name, rows in frames.groupby("utterance", sort=False)
    ]
    return np.concatenate(parts).astype(np.float64)


def _told(
    classifier: Any, states: Array, tasks: Mapping[str, Sequence[_Labels]], folds: Any
) -> dict[str, list[_Labels]]:
    """What probes that were fitted on the other folds take each frame for."""
    from sklearn.base import clone
    from threadpoolctl import threadpool_limits

    found = {task: [np.empty_like(one) for one in labels] for task, labels in tasks.items()}
    for fold in np.unique(folds):
        held_out = np.asarray(folds == fold)
        for task, labels in tasks.items():
            for asked, told in zip(labels, found[task], strict=True):
                known = np.unique(asked[~held_out])
                if len(known) == 1:  # which most classifiers refuse
                    told[held_out] = known[0]
                    continue
                # Its products are so small that threads wait for each other most of the time.
                with threadpool_limits(1):
                    fitted = clone(classifier).fit(states[~held_out], asked[~held_out])
                told[held_out] = fitted.predict(states[held_out])
    return found


def _scored(
    tasks: Mapping[str, Sequence[_Labels]],
    told: Mapping[str, Mapping[str, Sequence[_Labels]]],
    groups: Any,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Accuracies of each layer, with intervals."""
    of_groups, names = numbers_of(list(groups))
    weights = draws(len(names), _RESAMPLES if len(names) >= FEWEST_GROUPS else 0, seed)
    found: dict[str, dict[str, float]] = {}
    first: Array | None = None
    for layer, own in told.items():
        values = {
            task: _mean_balanced(labels, own[task], of_groups, weights)
            for task, labels in tasks.items()
        }
        first = values["phone"] if first is None else first
        measured = {
            "accuracy": values["phone"],
            "gain": values["phone"] - first,
            "selectivity": values["phone"] - values["control"],
        }
        row: dict[str, float] = {}
        for name, drawn in measured.items():
            prefix = "" if name == "accuracy" else f"{name}_"
            row |= dict(zip((name, f"{prefix}low", f"{prefix}high"), interval(drawn), strict=True))
        found[layer] = row | {name: float(values[name][0]) for name in ("control", "shuffled")}
    return found


def _mean_balanced(
    tasks: Sequence[_Labels],
    told: Sequence[_Labels],
    groups: NDArray[np.int64],
    weights: Array,
) -> Array:
    """Over what was asked several times; NaN where nothing was."""
    found = [_balanced(asked, one, groups, weights) for asked, one in zip(tasks, told, strict=True)]
    return np.asarray(np.mean(found, axis=0)) if found else np.full(len(weights), np.nan)


def _balanced(labels: _Labels, told: _Labels, groups: NDArray[np.int64], weights: Array) -> Array:
    """Balanced accuracy of each draw; phones that a draw lacks are left out of its mean."""
    kinds, names = numbers_of(labels.tolist())
    shape = weights.shape[1], len(names)
    right = weights @ tallies(labels == told, groups, kinds, shape)
    count = weights @ tallies(np.ones(len(labels)), groups, kinds, shape)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nanmean(right / count, axis=1))
