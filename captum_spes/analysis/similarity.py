"""Do layers, and models, represent the same? And do models that do explain alike? (arXiv
1905.00414)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from math import factorial
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from captum_spes.alignment import Alignment
from captum_spes.alignment.intervals import alignments_of
from captum_spes.analysis.findings import table
from captum_spes.analysis.representations import EncoderStates
from captum_spes.errors import (
    ArgumentError,
    ArgumentTypeError,
    instance_of,
    truth,
    whole_number,
)
from captum_spes.metrics import inter_seed_agreement

if TYPE_CHECKING:
    from pandas import DataFrame

_Array = NDArray[np.float64]
# The unbiased estimator takes four different rows at a time.
_FEWEST_ROWS = 4
# Sums in another order can differ in their last digits.
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class ModelSimilarity:
    """Whether models that represent alike explain alike.

    Attributes:
        pairs: one row per pair of models and layer: ``first``, ``second``, ``layer``, ``cka``,
            ``cka_shifted`` and ``agreement``.
        tests: one row per layer, see :func:`similar_models`.
    """

    pairs: DataFrame
    tests: DataFrame


def linear_cka(first: ArrayLike, second: ArrayLike, *, debiased: bool = True) -> float:
    r"""
    Measure how similar two representations of the same rows are: centred kernel alignment.

    It does not change when a representation is rotated, mirrored or scaled as a whole, so that
    representations of different models and widths can be compared (Kornblith et al., arXiv
    1905.00414).

    Args:

        first (array of shape (rows, width)): A row per frame, for example.
        second (array of shape (rows, other width)): The same rows, represented in another way.
        debiased (bool, optional): Whether the unbiased estimator of HSIC is taken (Song et al.,
                    https://jmlr.org/papers/v13/song12a.html, as in arXiv 2010.15327). The other
                    one, the paper's, calls unrelated representations similar when they are wide
                    and rows are few.
                    Default: True

    Returns:
        *float*: 1 for the same representation, 0 for unrelated ones (debiased: around 0, also
        below). NaN where one does not change over the rows. Debiased it needs no minibatches:
        memory grows with the widths alone. It takes rows for independent; frames that follow each
        other are not, which :func:`similar_models` controls for.

    Raises:
        ArgumentError: shapes do not fit, there are fewer than four rows, or a value is NaN or
            infinite.

    Examples::

        >>> states = np.random.default_rng(0).standard_normal((50, 4))
        >>> round(linear_cka(states, 3 * states[:, ::-1]), 6)
        1.0
    """
    debiased = truth("debiased", debiased)
    one, other = _centred("first", first), _centred("second", second)
    if len(one) != len(other):
        raise ArgumentError(
            f"both representations need the same rows, got {len(one)} and {len(other)}."
        )
    hsic = _unbiased_hsic if debiased else _biased_hsic
    scale = hsic(one, one) * hsic(other, other)
    if not (hsic(one, one) > 0 and hsic(other, other) > 0):
        return float("nan")
    return float(hsic(one, other) / np.sqrt(scale))


def _centred(name: str, given: ArrayLike) -> _Array:
    try:
        rows = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(f"{name} must be an array of numbers: {error}.") from error
    if rows.ndim != 2 or len(rows) < _FEWEST_ROWS or not rows.shape[1]:
        raise ArgumentError(
            f"{name} must have shape (rows, width), of at least {_FEWEST_ROWS} rows, got "
            f"{rows.shape}."
        )
    if not np.isfinite(rows).all():
        raise ArgumentError(f"{name} holds NaN or infinite values.")
    centred = rows - rows.mean(0)
    size = np.abs(centred).max()
    # Of a common scale: squares of squares would leave the range of numbers.
    varies = size > _ROUNDING * np.abs(rows).max()
    return np.asarray(centred / size if varies else np.zeros_like(centred))


def _biased_hsic(one: _Array, other: _Array) -> float:
    return float(((one.T @ other) ** 2).sum())


def _unbiased_hsic(one: _Array, other: _Array) -> float:
    """Song et al., equation 5, of linear kernels without their diagonal, in terms of the rows: no
    matrix of all pairs of rows is made."""
    n = len(one)
    # The diagonals, and the sums over each kernel's rows without them; columns sum to 0.
    own, others = (one**2).sum(1), (other**2).sum(1)
    trace = ((one.T @ other) ** 2).sum() - own @ others
    sums = own.sum() * others.sum() / ((n - 1) * (n - 2))
    return float((trace + sums - 2 / (n - 2) * (own @ others)) / (n * (n - 3)))


def layer_similarity(
    first: Mapping[str, EncoderStates],
    second: Mapping[str, EncoderStates] | None = None,
    *,
    alignments: Mapping[str, Alignment] | None = None,
    debiased: bool = True,
) -> DataFrame:
    r"""
    Compare every layer of a model with every layer of it, or of another model.

    Args:

        first (mapping of str to EncoderStates): By utterance: :func:`encoder_states`.
        second (mapping of str to EncoderStates, optional): Of another model, of the same
                    utterances and frames.
                    Default: None, the same model
        alignments (mapping of str to Alignment, optional): Only frames in which a phone is spoken
                    are compared, so that silence against speech does not make the result.
                    Default: None, all frames
        debiased (bool, optional): See :func:`linear_cka`.
                    Default: True

    Returns:
        *DataFrame* of CKA, a row per layer of the first and a column per layer of the second.

    Raises:
        ArgumentError: utterances, frames or layers do not fit.
        ImportError: pandas is not installed.

    Examples::

        >>> states = encoder_states(explainer, {"speech": "speech.flac"})
        >>> bool(np.isclose(layer_similarity(states).loc["1", "1"], 1))
        True
    """
    one = _stacked_layers(
        {"first": first, "second": first if second is None else second}, alignments
    )
    values = {
        layer: [linear_cka(rows, columns, debiased=debiased) for rows in one["first"].values()]
        for layer, columns in one["second"].items()
    }
    frame: DataFrame = table([]).assign(**values)
    return frame.set_axis(list(one["first"]), axis=0)


def similar_models(
    states: Mapping[str, Mapping[str, EncoderStates]],
    attributions: Mapping[str, Any],
    *,
    alignments: Mapping[str, Alignment] | None = None,
    measure: str = "overlap",
    top: float = 0.2,
    n_permutations: int = 9_999,
    seed: int = 0,
) -> ModelSimilarity:
    r"""
    Ask of models, such as those of several training seeds, whether those that represent alike also
    explain alike.

    Args:

        states (mapping): Name of a model to its states by utterance, of at least two models, the
                    same utterances and frames: :func:`encoder_states`. Layers that not all models
                    have are left out.
        attributions (mapping): Name of a model to its attributions, as for
                    :func:`captum_spes.metrics.inter_seed_agreement`: for each of the same
                    utterances a map of the same shape.
        alignments (mapping of str to Alignment, optional): See :func:`layer_similarity`.
                    Default: None, all frames
        measure (str, optional): Of agreement, see ``inter_seed_agreement``.
                    Default: "overlap"
        top (float, optional): Likewise.
                    Default: 0.2
        n_permutations (int, optional): Of Mantel's test. Where there are no more ways to permute
                    the models, each is taken once.
                    Default: 9999
        seed (int, optional): Of the permutations.
                    Default: 0

    Returns:
        *ModelSimilarity*: for each pair of models and layer the debiased ``cka`` and the
        ``agreement`` of their maps. ``cka_shifted`` compares with the frames of half of all speech
        later, which have nothing to do with each other: what frames that follow each other give by
        themselves. Tests, one per layer: Spearman's ``correlation`` of CKA and agreement over the
        ``pairs``, and how often permuted models reach it (``p``, one-sided, Mantel 1967), beside
        the smallest p that so few ``models`` can give (``smallest_p``: three models can show
        nothing). No correction for the number of layers.

    Raises:
        ArgumentError: there are fewer than two models, or models, utterances, frames or shapes do
            not fit.

    Examples::

        >>> generator = np.random.default_rng(0)
        >>> times = np.arange(30) / 50
        >>> states = {
        ...     seed: {"a": EncoderStates({"1": generator.random((30, 4))}, times, times)}
        ...     for seed in "abcd"
        ... }
        >>> maps = {seed: {"a": generator.random(100)} for seed in "abcd"}
        >>> len(similar_models(states, maps).pairs)
        6
    """
    n_permutations = whole_number("n_permutations", n_permutations, 1)
    seed = whole_number("seed", seed, 0)
    instance_of("states", states, Mapping, "a dict of states by model")
    instance_of("attributions", attributions, Mapping, "a dict of attributions by model")
    if len(states) < 2 or set(states) != set(attributions):
        raise ArgumentError(
            "states and attributions must be of the same models, at least two; got "
            f"{', '.join(map(str, states)) or 'none'} and "
            f"{', '.join(map(str, attributions)) or 'none'}."
        )
    rows = _stacked_layers(states, alignments)
    names = list(rows)
    layers = [layer for layer in rows[names[0]] if all(layer in own for own in rows.values())]
    if not layers:
        raise ArgumentError("the models have no layer of one name in common.")
    agreement = inter_seed_agreement(
        {name: attributions[name] for name in names}, top, measure=measure
    ).per_pair
    found: list[dict[str, Any]] = []
    tests = []
    for layer in layers:
        compared: list[dict[str, Any]] = [
            {"first": one, "second": other, "layer": layer,
             **_similarity(rows[one][layer], rows[other][layer]),
             "agreement": agreement[one, other]}
            for one, other in combinations(names, 2)
        ]  # fmt: skip
        found += compared
        cka, agreeing = ([float(row[name]) for row in compared] for name in ("cka", "agreement"))
        tests.append({"layer": layer, **_mantel(cka, agreeing, len(names), n_permutations, seed)})
    return ModelSimilarity(table(found), table(tests))


def _similarity(one: _Array, other: _Array) -> dict[str, float]:
    shifted = np.roll(other, len(other) // 2, axis=0)
    return {"cka": linear_cka(one, other), "cka_shifted": linear_cka(one, shifted)}


def _stacked_layers(
    models: Mapping[str, Mapping[str, EncoderStates]], alignments: Mapping[str, Alignment] | None
) -> dict[str, dict[str, _Array]]:
    """Of each model and layer the frames of all utterances, checked to be the same ones."""
    first_name, first = next(iter(models.items()))
    for name, own in models.items():
        if not isinstance(own, Mapping) or not all(
            isinstance(one, EncoderStates) for one in own.values()
        ):
            raise ArgumentTypeError(f"{name} must be a dict of EncoderStates by utterance.")
        if set(own) != set(first) or not own:
            raise ArgumentError(
                f"{name} has other utterances than {first_name}: {len(own)} and {len(first)}."
            )
        for utterance, one in own.items():
            if len(one.times) != len(first[utterance].times):
                raise ArgumentError(
                    f"{utterance} has {len(one.times)} frames in {name} and "
                    f"{len(first[utterance].times)} in {first_name}: compare models of one frame "
                    "rate, on the same recordings."
                )
    kept = {name: _kept(name, own, alignments) for name, own in first.items()}
    return {
        model: {
            layer: np.concatenate([
                np.asarray(own[name].layers[layer], dtype=np.float64)[kept[name]] for name in first
            ])
            for layer in _common_layers(own)
        }
        for model, own in models.items()
    }  # fmt: skip


def _common_layers(states: Mapping[str, EncoderStates]) -> list[str]:
    every = list(states.values())
    return [name for name in every[0].layers if all(name in one.layers for one in every)]


def _kept(
    name: str, states: EncoderStates, alignments: Mapping[str, Alignment] | None
) -> NDArray[np.bool_]:
    """The frames that are compared."""
    if alignments is None:
        return np.ones(len(states.times), dtype=bool)
    known = alignments_of([name], alignments)
    if name not in known or not known[name].phones:
        raise ArgumentError(f"alignments lack the phones of {name!r}.")
    times = states.times
    spans = [(times >= phone.start) & (times < phone.end) for phone in known[name].phones]
    return np.asarray(np.any(spans, axis=0))


def _mantel(
    one: Sequence[float], other: Sequence[float], n_models: int, n_permutations: int, seed: int
) -> dict[str, Any]:
    """Whether two similarities of the same models go together: Spearman's correlation, against
    models permuted."""
    counts = {"pairs": len(one), "models": n_models}
    values = np.array([one, other])
    if not np.isfinite(values).all() or len(one) < 3 or (np.ptp(values, axis=1) < _ROUNDING).any():
        return {**dict.fromkeys(("correlation", "p", "smallest_p"), np.nan), **counts}
    upper = np.triu_indices(n_models, 1)
    ranks = scipy.stats.zscore([scipy.stats.rankdata(of_pairs) for of_pairs in values], axis=1)
    matrix = np.zeros((n_models, n_models))
    matrix[upper] = ranks[1]
    matrix += matrix.T
    orders = _orders(n_models, n_permutations, seed)
    drawn = matrix[orders[:, upper[0]], orders[:, upper[1]]] @ ranks[0] / len(one)
    reached = int((drawn >= drawn[0] - _ROUNDING).sum())
    return {
        "correlation": float(drawn[0]),
        "p": reached / len(orders),
        "smallest_p": 1 / len(orders),
        **counts,
    }


def _orders(n_models: int, n_permutations: int, seed: int) -> NDArray[np.int64]:
    """``(orders, models)``: the models as they are in the first, and permuted; every order once
    where these are no more than are asked for."""
    if factorial(n_models) <= n_permutations:
        return np.array(list(permutations(range(n_models))))
    as_they_are = np.arange(n_models)
    drawn = np.random.default_rng(seed).permuted(np.tile(as_they_are, (n_permutations, 1)), axis=1)
    return np.vstack([as_they_are, drawn])
