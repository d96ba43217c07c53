"""An explanation as a cooperative game, for estimators of others: the patches are the players."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_spes.attr.estimators import Features
from captum_spes.attr.forward import Forward, Original
from captum_spes.attr.loop import Plan, sample
from captum_spes.attr.segmentation import perturb, segmentation_levels
from captum_spes.errors import (
    ArgumentError,
    ArgumentTypeError,
    instance_of,
    listed,
    optional_library,
    several,
    whole_number,
)
from captum_spes.speech.ambient import ordinary_torch
from captum_spes.speech.evaluations import score_of_side
from captum_spes.speech.explanation import Explanation, Sides
from captum_spes.speech.result import SpeechToTextAttributionResult
from captum_spes.speech.running import ready
from captum_spes.speech.settings import Settings
from captum_spes.speech.sides import SideMaps


@dataclass(frozen=True, eq=False)
class SpeechGame:
    r"""
    A recording as a cooperative game: the patches of its spectrogram are the players, and a
    coalition of them is worth the score of the output with these patches kept and all others
    removed. :meth:`captum_spes.SpeechToTextAttribution.game` makes it.

    It is what libraries for Shapley values and interactions take as a game: called with a matrix of
    coalitions it returns their values. Patches, removed values and scores are those of SPES: with
    the divergence, all patches together are worth 0, and fewer are worth less. Every distinct
    coalition goes through the model once, and the scores of all tokens are kept, so that another
    token, explained with the same coalitions, costs nothing. Cells that are never perturbed belong
    to no player and stay.

    Source: Lundberg and Lee, "A unified approach to interpreting model predictions",
    https://arxiv.org/abs/1705.07874, on predictions as games; Muschalik et al., "shapiq: Shapley
    interactions for machine learning", https://arxiv.org/abs/2410.01649, on the library.

    Attributes:
        worths: the scores of all coalitions so far, which games of other tokens share.
        rows: the tokens whose scores are averaged.

    Examples::

        >>> import shapiq
        >>> game = explainer.game("speech.flac", target="the cat", n_patches=12, seed=0)
        >>> kernel_shap = shapiq.KernelSHAP(n=game.n_players, random_state=0)
        >>> shapley = kernel_shap.approximate(64, game.of(1))
        >>> saliency_map = game.map(shapley)
    """

    worths: CoalitionScores
    rows: tuple[int, ...]

    # What estimators need ----------------------------------------------------------------

    @property
    def n_players(self) -> int:
        """The number of patches."""
        return self.worths.n_players

    def __call__(self, coalitions: Any) -> NDArray[np.float64]:
        r"""
        The values of coalitions: the mean score of this game's tokens.

        Args:

            coalitions (array or Tensor): ``(coalitions, players)``, or ``(players,)`` for one;
                        True or 1 for a patch that is kept, False or 0 for one that is removed.

        Returns:
            *array* of shape ``(coalitions,)``, float64; in nats for a divergence.

        Raises:
            ArgumentError: the coalitions have the wrong shape, or other values.
            ArgumentTypeError: they are no numbers.

        Examples::

            >>> game = explainer.game("speech.flac", target="the cat", n_patches=12, seed=0)
            >>> float(game(np.ones(game.n_players, bool))[0])  # nothing is removed
            0.0
        """
        values: NDArray[np.float64] = self.scores(coalitions)[:, list(self.rows)].mean(1).numpy()
        return values

    def scores(self, coalitions: Any) -> Tensor:
        r"""
        The scores of every token, whichever this game is of.

        Args:

            coalitions (array or Tensor): As for a call of the game.

        Returns:
            *Tensor* of shape ``(coalitions, tokens)``, float64, on the CPU.

        Raises:
            ArgumentError, ArgumentTypeError: as for a call of the game.

        Examples::

            >>> game = explainer.game("speech.flac", target="the cat", n_patches=12, seed=0)
            >>> nothing_kept = np.zeros((1, game.n_players), bool)
            >>> game.scores(nothing_kept).shape == (1, len(game.output_tokens))
            True
        """
        return self.worths.of(_kept(coalitions, self.n_players))

    def of(self, tokens: int | Sequence[int] | None) -> SpeechGame:
        r"""
        The game of a token, or of several; it shares the passes of this one.

        Args:

            tokens (int, sequence of int or None): Rows of ``output_tokens``, such as the
                        ``token_indices`` of a word; None for all tokens.

        Returns:
            *SpeechGame*

        Raises:
            ArgumentError: there is no such token, or none is given.

        Examples::

            >>> game = explainer.game("speech.flac", target="the cat", n_patches=12, seed=0)
            >>> coalition = np.arange(game.n_players) < 3
            >>> spent = (game(coalition), game.n_evaluated)[1]
            >>> value = game.of(2)(coalition)
            >>> game.n_evaluated == spent
            True
        """
        count = len(self.output_tokens)
        given = range(count) if tokens is None else listed(tokens)
        rows = tuple(whole_number("a token", row, 0) for row in given)
        if not rows or max(rows) >= count:
            raise ArgumentError(f"tokens must be rows of the {count} tokens, got {tokens!r}.")
        return replace(self, rows=rows)

    def to_shapiq(self) -> Any:
        r"""
        The game as shapiq's own class, for what that can do besides: normalise, store its values,
        know players by name. Its approximators take a ``SpeechGame`` as it is.

        Returns:
            *shapiq.Game* of this game's tokens, centred: no patch at all is worth 0.

        Raises:
            ImportError: shapiq is not installed.

        Examples::

            >>> game = explainer.game("speech.flac", target="the cat", n_patches=12, seed=0)
            >>> float(game.to_shapiq()(np.zeros(game.n_players, bool))[0])
            0.0
        """
        shapiq = optional_library("shapiq", "a game of shapiq's", "games")
        nothing = float(self(np.zeros(self.n_players, bool))[0])
        game = shapiq.Game(n_players=self.n_players, normalization_value=nothing)
        game.value_function = self
        return game

    # What there is -------------------------------------------------------------------------

    @property
    def output_tokens(self) -> list[str]:
        """What is explained, as ``result.output_tokens``: the columns of :meth:`scores`."""
        return list(self.worths.output_tokens)

    @property
    def n_evaluated(self) -> int:
        """Passes so far: distinct coalitions, all tokens together; the intact input is another."""
        return self.worths.n_evaluated

    # Back to maps --------------------------------------------------------------------------

    def map(self, values: Any) -> Tensor:
        r"""
        Give each cell the value of its patch: a map, as :func:`captum_spes.metrics.deletion_curve`
        takes it.

        Args:

            values (array, Tensor or shapiq.InteractionValues): ``(players,)``, one number for each
                        patch; of interactions those of single players.

        Returns:
            *Tensor* of shape ``(time, freq)``, float32; 0 for cells that are never perturbed.

        Raises:
            ArgumentError: there is not one finite number for each player.

        Examples::

            >>> game = explainer.game("speech.flac", target="the cat", n_patches=12, seed=0)
            >>> bool((game.map(np.full(game.n_players, 2.0)) == 2).all())
            True
        """
        return self.worths.spread(_per_player(values, self.n_players)[None])[0]

    def result(self, values: Any, method: str) -> SpeechToTextAttributionResult:
        r"""
        The values of all tokens as the usual result, to be measured, drawn and saved.

        Args:

            values (sequence): For each of ``output_tokens`` what :meth:`map` takes, or an array of
                        shape ``(tokens, players)``.
            method (str): The name of what estimated them.

        Returns:
            *SpeechToTextAttributionResult* without attributions of previous tokens;
            ``settings.n_samples`` is the number of passes so far. Given to ``attribute``, its
            settings remove the same patches, by the explainer's own method.

        Raises:
            ArgumentError: there is not one finite number for each token and player.
            ArgumentTypeError: ``method`` is no text.

        Examples::

            >>> import shapiq
            >>> game = explainer.game("speech.flac", target="the cat", n_patches=12, seed=0)
            >>> def values(row):  # an approximator made anew draws the same coalitions
            ...     kernel_shap = shapiq.KernelSHAP(n=game.n_players, random_state=0)
            ...     return kernel_shap.approximate(64, game.of(row))
            >>> found = [values(row) for row in range(len(game.output_tokens))]
            >>> result = game.result(found, "KernelSHAP of shapiq")
            >>> result.spectrogram_attr.shape[0] == len(game.output_tokens)
            True
        """
        instance_of("method", method, str, "the name of a method")
        given = several("values", values, "one array of values for each token")
        if len(given) != len(self.output_tokens):
            raise ArgumentError(
                f"values must have one row for each of the {len(self.output_tokens)} tokens, got "
                f"{len(given)}."
            )
        rows = torch.stack([_per_player(row, self.n_players) for row in given])
        return self.worths.result(rows, method)


def one_level(settings: Settings) -> Settings:
    """Settings of a game: the first size of patches, as for all methods that know only one, and no
    previous tokens."""
    mask, counts = settings.feature_mask, settings.n_patches
    return settings.replace(
        patches_per_second=settings.patches_per_second[:1],
        n_patches=None if counts is None else counts[:1],
        feature_mask=mask[:1] if isinstance(mask, list) else mask,
        n_token_samples=0,
        perturb_jointly=False,
    )


class CoalitionScores:
    """The scores of coalitions, each evaluated once.

    Args:
        explanation: of the utterance; its settings have one level.
    """

    def __init__(self, explanation: Explanation) -> None:
        self._explanation = explanation
        with self._own_surroundings():
            self._prepared = explanation.prepared()
            task, run = self._prepared.task, self._prepared.run
            self._side = ready(explanation.spectrogram_side(task), run)
            inputs = (self._side.inputs,)
            self._levels = segmentation_levels(self._side.feature_masks, inputs)
            self._forward = Forward(score_of_side(self._side, run), None, None)
            self._intact = Original.of(self._forward, inputs)
        self.spectrogram = task.speech.spectrogram
        (self.n_players,) = self._levels[0].n_features
        n_units = self._intact.scores.shape[1]
        self.output_tokens, _ = explanation.units(self._prepared, n_units)
        # All patches together are the intact input.
        everyone = np.ones(self.n_players, bool)
        self._known: dict[bytes, Tensor] = {_key(everyone): self._intact.scores[0]}

    @property
    def n_evaluated(self) -> int:
        """How many coalitions went through the model."""
        return len(self._known) - 1

    def of(self, coalitions: NDArray[np.bool_]) -> Tensor:
        """``(coalitions, units)`` of bool ``(coalitions, players)``."""
        keys = [_key(coalition) for coalition in coalitions]
        new = {
            key: coalition
            for key, coalition in zip(keys, coalitions, strict=True)
            if key not in self._known
        }
        if new:
            self._evaluate(np.stack(list(new.values())))
        return torch.stack([self._known[key] for key in keys])

    def spread(self, values: Tensor) -> Tensor:
        """``(rows, time, freq)`` of ``(rows, players)``."""
        features = Features(self._levels, 0, (self._side.inputs,), (self._side.baselines,))
        found = features.spread(values, 0).float()
        return found.reshape(len(values), *self.spectrogram.shape)

    def result(self, values: Tensor, method: str) -> SpeechToTextAttributionResult:
        """The result that holds values, ``(units, players)``."""
        explanation = self._explanation
        sides = Sides(SideMaps(self.spread(values)))
        made = explanation.result_of(self._prepared, sides)
        spent = {"n_samples": max(1, self.n_evaluated)}
        return replace(
            made,
            method=method,
            settings=made.settings.replace(**spent),
            parameters={**made.parameters, **spent},
        )

    def _evaluate(self, coalitions: NDArray[np.bool_]) -> None:
        run = self._prepared.run
        plan = Plan(len(coalitions), run.perturbations_per_eval, show_progress=run.show_progress)
        removals = _Removals(self, torch.from_numpy(~coalitions))
        with self._own_surroundings():
            sample(removals, self._forward, self._intact, plan, "Game")

    def perturbed(self, removed: Tensor) -> tuple[Tensor, ...]:
        """The input without some patches, bool ``(samples, players)``."""
        side = self._side
        return perturb((side.inputs,), (side.baselines,), self._levels[0], [[0]], [removed])

    def keep(self, removed: Tensor, impacts: Tensor) -> None:
        """Keep what was found, ``(samples, units)``."""
        scores = self._intact.scores[0] - impacts
        self._known |= zip(map(_key, ~removed.numpy()), scores, strict=True)

    @contextmanager
    def _own_surroundings(self) -> Iterator[None]:
        """As for an explanation: the model evaluates, and the caller's settings of torch rest."""
        adapter = self._explanation.adapter
        with torch.no_grad(), ordinary_torch(adapter.device), adapter.evaluation_mode():
            yield


class _Removals:
    """Coalitions as the loop of all perturbations takes them, in the order given."""

    n_levels = 1
    odds_exponent = 1.0

    def __init__(self, scores: CoalitionScores, removed: Tensor) -> None:
        self._scores, self._left = scores, removed

    def draw(self, level: int, size: int) -> Tensor:
        drawn, self._left = self._left[:size], self._left[size:]
        return drawn

    def rows(self, drawn: Tensor, rows: slice) -> Tensor:
        return drawn[rows]

    def perturb(self, level: int, drawn: Tensor) -> tuple[Tensor, ...]:
        return self._scores.perturbed(drawn)

    def add(self, level: int, drawn: Tensor, impacts: Tensor) -> None:
        self._scores.keep(drawn, impacts[:, 0])

    def attributions(self, half: int | None = None) -> tuple[Tensor, ...]:
        raise NotImplementedError("a game has no attributions of its own")


def _key(coalition: NDArray[np.bool_]) -> bytes:
    return np.packbits(coalition).tobytes()


def _kept(coalitions: Any, n_players: int) -> NDArray[np.bool_]:
    """Coalitions as a bool matrix, checked."""
    given = _array("coalitions", coalitions)
    rows = given[None] if given.ndim == 1 else given
    if rows.ndim != 2 or rows.shape[1] != n_players:
        raise ArgumentError(
            f"coalitions must have shape (coalitions, players) with {n_players} players, got "
            f"{given.shape}."
        )
    kept: NDArray[np.bool_] = rows.astype(bool)
    if not np.array_equal(kept, rows):
        raise ArgumentError("coalitions must hold True for kept and False for removed patches.")
    if not len(kept):
        raise ArgumentError("coalitions hold no coalition.")
    return kept


def _per_player(values: Any, n_players: int) -> Tensor:
    """Values of single players, ``(players,)``, checked."""
    of_order = getattr(values, "get_n_order_values", None)  # of shapiq.InteractionValues
    found = _array("values", values if of_order is None else of_order(1)).astype(np.float64)
    if found.shape != (n_players,):
        raise ArgumentError(
            f"values must hold one number for each of the {n_players} patches, got shape "
            f"{found.shape}."
        )
    if not np.isfinite(found).all():
        raise ArgumentError("values must be finite, got NaN or infinity.")
    return torch.from_numpy(found)


def _array(name: str, values: Any) -> NDArray[Any]:
    """Numbers or truth values as an array on the CPU."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    try:
        found = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise ArgumentError(f"{name} must be a regular array: {error}") from error
    if found.dtype.kind not in "buif":
        raise ArgumentTypeError(f"{name} must be an array of numbers, got {found.dtype}.")
    return found
