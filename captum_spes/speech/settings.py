"""Everything an explanation is made with, checked once; it can be saved and run again."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum_spes.attr.designs import MaskDesign
from captum_spes.attr.estimators import Estimator, MaskedMean, check_estimator
from captum_spes.attr.gaussian_process import GaussianProcess
from captum_spes.attr.loop import batch_size
from captum_spes.attr.reliability import check_tolerance
from captum_spes.errors import (
    ArgumentError,
    ArgumentTypeError,
    listed,
    open_share,
    positive_number,
    real_number,
    truth,
    whole_number,
)
from captum_spes.forward.scores import Score, as_score, is_divergence, score_name
from captum_spes.masks.scales import (
    EFFICIENT_PATCHES_PER_SECOND,
    PAPER_MAX_SECONDS,
    PAPER_PATCHES_PER_SECOND,
)
from captum_spes.speech import plain
from captum_spes.speech.priors import GradientPrior
from captum_spes.speech.sides import SidePrior

SIDES = ("spectrogram", "tokens")
FEATURE_MASKS = ("slic", "grid", "cells")
# Names in method_args that become settings. Other arguments that the wrapper sets itself would
# undo its work and are refused.
_OWN_FIELDS = {
    "spectrogram": {
        "n_samples": "n_samples",
        "perturb_prob": "perturb_prob",
        "patches_per_second": "patches_per_second",
        "max_seconds": "max_seconds",
        "n_patches": "n_patches",
        "gradients_with_padding": "gradients_with_padding",
        "design": "design",
        "estimator": "estimator",
        "tolerance": "tolerance",
        "perturbations_per_eval": "perturbations_per_eval",
    },
    "tokens": {"n_samples": "n_token_samples", "perturb_prob": "token_perturb_prob"},
}
_NOT_FOR_METHODS = {
    "inputs": "the audio",
    "target": "the argument target of attribute",
    "seed": "the argument seed of attribute",
    "show_progress": "the argument show_progress of attribute",
    "return_partial": "the argument return_partial of attribute",
    "return_halves": "result.reliability()",
    "baselines": "settings.baselines",
    "feature_mask": "settings.feature_mask",
    "additional_forward_args": "the adapter",
    "forward_func": "settings.score",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Settings:
    r"""
    How an explanation is made: everything but the audio, the target, the method and the seed.

    Checked when made; equal values give equal runs. :meth:`paper` and :meth:`efficient` are the two
    to start from, ``replace`` changes some values, and ``result.settings`` holds what ran.

    Args:

        n_samples (int, optional): Perturbed spectrograms that the model sees, for SPES,
                    BubbleNoise, KernelShap, Lime and other methods that sample (all tokens
                    together). ShapleyValueSampling draws this many divided by the number of
                    patches as permutations.
                    Default: 20000, the paper's
        n_token_samples (int, optional): Perturbed sequences of previous tokens that the model sees;
                    0 leaves previous tokens out.
                    Default: 2000, the paper's
        perturb_prob (float, optional): Probability that SPES removes a patch, in (0, 1).
                    Default: 0.5, the paper's
        token_perturb_prob (float, optional): Probability that SPES removes a previous token, in
                    (0, 1).
                    Default: 0.4, the paper's
        patches_per_second (float or sequence of float, optional): Size of the patches, one value
                    per segmentation level; see :func:`captum_spes.slic_feature_mask`. Methods
                    that know one level use the first.
                    Default: (400, 500, 600), the paper's
        max_seconds (float, optional): Duration from which the number of patches no longer grows;
                    None for no limit.
                    Default: 7.5, the paper's
        n_patches (int or sequence of int, optional): A fixed number of patches whatever the
                    duration, one per segmentation level.
                    Default: None
        feature_mask (str, Tensor or list of Tensor, optional): How the spectrogram is cut: "slic";
                    "grid", rectangles in the same numbers; "cells", every cell on its own; or own
                    patches, ``(time, freq)``, one Tensor per level, labels below 0 being never
                    perturbed.
                    Default: "slic"
        baselines (str, float or Tensor, optional): What removed cells become: "mean" (of each mel
                    bin over the speech), "silence", a number, or a Tensor broadcastable to
                    ``(time, freq)``.
                    Default: None, 0 for features normalised per utterance and "mean" otherwise
        score (Score or str, optional): What is measured on the output: "kl", "probability",
                    "log_probability", an object such as :class:`captum_spes.forward.KL`, or a
                    function of logits (:class:`captum_spes.forward.Score`).
                    Default: None, the divergence for perturbation methods and the log-probability
                    for gradient methods
        estimator (Estimator, optional): How SPES turns the samples of the spectrogram into scores;
                    those of previous tokens are averaged (Eq. 3).
                    Default: MaskedMean(), the paper's
        prior (GradientPrior, optional): What is known of the spectrogram's maps before they are
                    sampled, for the regression: gradients at perturbed spectrograms
                    (:class:`captum_spes.speech.GradientPrior`; on the command line their number).
                    Default: None, nothing
        gradients_with_padding (bool, optional): Whether methods that differentiate the model do so
                    on the whole window of a model that hears windows of a fixed length (Whisper:
                    30 s). If False, on one that ends half a second behind the speech: of short
                    recordings many times faster, but the gradients of another model, whose maps
                    are others (methods with rules for layers keep the window).
                    Default: True
        design (MaskDesign, optional): Masks of SPES for the spectrogram.
                    Default: None, independent Bernoulli masks
        perturb_jointly (bool, optional): Whether SPES perturbs spectrogram and previous tokens in
                    the same ``n_samples`` samples (the paper's comparison, Table 4). Of
                    ``n_token_samples`` then only 0 matters: it leaves previous tokens out.
                    Default: False
        tolerance (float, optional): Stop SPES when at most this share of the variance of the
                    tokens' maps is sampling noise, in (0, 1); ``n_samples`` is then the most that
                    is spent.
                    Default: None, all of ``n_samples``
        perturbations_per_eval (int or "auto", optional): Perturbed inputs per forward pass. It
                    changes speed and memory, not the result. "auto" finds the fastest that fits in
                    memory, for SPES and BubbleNoise (others then take 4).
                    Default: 4
        dtype (torch.dtype, optional): Precision of encoder and decoder, for example
                    ``torch.bfloat16``; output layer and scores stay in the model's own, its weights
                    are not touched (``torch.autocast``).
                    Default: None, the model's own
        method_args (dict, optional): Further arguments of the method's own ``attribute``, for
                    example ``{"n_steps": 20}``. They are for the spectrogram's side, unless given
                    as ``{"spectrogram": {...}, "tokens": {...}}``. What the settings have a name
                    for (``n_samples``, ``perturb_prob``, ...) becomes that setting.
                    Default: none
        gen_args (dict, optional): Arguments of ``model.generate``, for example ``{"num_beams": 5}``
                    or ``{"language": "de"}``. Language and task (of Canary ``source_language`` and
                    ``target_language``) also hold for a given target.
                    Default: none

    Raises:
        ArgumentError: a value is out of range, or values do not go together.
        ArgumentTypeError: a value has the wrong type.

    Examples::

        >>> settings = Settings.efficient(n_samples=200, n_token_samples=50)
        >>> Settings.from_dict(settings.to_dict()) == settings
        True
        >>> settings.replace(n_samples=300).n_samples
        300
    """

    n_samples: int = 20_000
    n_token_samples: int = 2_000
    perturb_prob: float = 0.5
    token_perturb_prob: float = 0.4
    patches_per_second: tuple[float, ...] = PAPER_PATCHES_PER_SECOND
    max_seconds: float | None = PAPER_MAX_SECONDS
    n_patches: tuple[int, ...] | None = None
    feature_mask: str | list[Tensor] = "slic"
    baselines: str | float | Tensor | None = None
    score: Score | None = None
    estimator: Estimator = field(default_factory=MaskedMean)
    prior: SidePrior | None = None
    gradients_with_padding: bool = True
    design: MaskDesign | None = None
    perturb_jointly: bool = False
    tolerance: float | None = None
    perturbations_per_eval: int | str = 4
    dtype: torch.dtype | None = None
    method_args: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    gen_args: Mapping[str, Any] = field(default_factory=dict)

    # Making ----------------------------------------------------------------------------

    @classmethod
    def paper(cls, **changes: Any) -> Settings:
        r"""
        The paper's: 20,000 perturbed spectrograms and 2,000 perturbed token sequences, patches of
        400, 500 and 600 per second, the mean of Eq. 3.

        Args:

            **changes (Any): Values to change.

        Returns:
            *Settings*

        Examples::

            >>> Settings.paper(n_samples=1_000).patches_per_second
            (400, 500, 600)
        """
        return cls(**_checked_names(changes))

    @classmethod
    def efficient(cls, **changes: Any) -> Settings:
        r"""
        More from few passes: 40 and 200 samples, patches of 16 sizes, and regression
        (:class:`captum_spes.attr.GaussianProcess`) that starts from gradients at perturbed
        spectrograms (:class:`captum_spes.speech.GradientPrior`). The command line's default.

        Args:

            **changes (Any): Values to change. With a score that is no divergence, samples are read
                        without logarithms.

        Returns:
            *Settings*

        Examples::

            >>> Settings.efficient().estimator
            GaussianProcess(log_impacts=True, change_exponent=0.5, least_impact=1e-11)
        """
        score = changes.get("score")
        takes_logarithms = score is None or is_divergence(as_score(score))
        chosen = {
            "n_samples": 40,
            "n_token_samples": 200,
            "patches_per_second": EFFICIENT_PATCHES_PER_SECOND,
            "estimator": GaussianProcess(log_impacts=takes_logarithms),
            "prior": GradientPrior(),
        }
        merged = {**chosen, **_checked_names(changes)}
        if "prior" not in changes and not takes_prior(merged["estimator"]):
            merged["prior"] = None
        return cls(**merged)

    def replace(self, **changes: Any) -> Settings:
        r"""
        The same settings with some other values.

        Args:

            **changes (Any): Values to change. With an estimator that makes no use of a prior, the
                        prior goes, too.

        Returns:
            *Settings*

        Raises:
            ArgumentTypeError: there is no such setting.

        Examples::

            >>> Settings.paper().replace(seconds=3)
            Traceback (most recent call last):
            captum_spes.errors.ArgumentTypeError: there is no setting 'seconds'; did you mean ...
        """
        changes = _checked_names(changes)
        if "prior" not in changes and not takes_prior(changes.get("estimator", self.estimator)):
            changes["prior"] = None
        return dataclasses.replace(self, **changes)

    # Checks ----------------------------------------------------------------------------

    def __post_init__(self) -> None:
        self._set("method_args", _by_side(self.method_args))
        for side, own in _OWN_FIELDS.items():
            given = dict(self.method_args.get(side, {}))
            for name in [name for name in given if name in own]:
                self._set(own[name], given.pop(name))
            self._set("method_args", _with_side(self.method_args, side, given))
        self._check_samples()
        self._check_patches()
        self._set("score", None if self.score is None else as_score(self.score))
        for name in ("perturb_jointly", "gradients_with_padding"):
            self._set(name, truth(name, getattr(self, name)))
        self._set("dtype", _dtype(self.dtype))
        self._set("gen_args", _gen_args(self.gen_args))
        check_baselines(self.baselines)
        self._check_together()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_samples(self) -> None:
        self._set("n_samples", whole_number("n_samples", self.n_samples, 1))
        self._set("n_token_samples", whole_number("n_token_samples", self.n_token_samples, 0))
        for name in ("perturb_prob", "token_perturb_prob"):
            self._set(name, open_share(name, getattr(self, name)))
        check_tolerance(self.tolerance)
        batch_size(self.perturbations_per_eval)
        check_estimator(self.estimator, self.n_samples)
        if self.prior is not None and not hasattr(self.prior, "of"):
            raise ArgumentTypeError(
                "prior must be an object with of(side, run), such as GradientPrior(), got "
                f"{self.prior!r}."
            )
        if self.design is not None and not hasattr(self.design, "sample"):
            raise ArgumentTypeError(
                "design must be an object with sample(n_samples, n_features, generator), got "
                f"{self.design!r}."
            )

    def _check_patches(self) -> None:
        self._set("patches_per_second", _scales("patches_per_second", self.patches_per_second))
        if self.max_seconds is not None:
            self._set("max_seconds", positive_number("max_seconds", self.max_seconds))
        if self.n_patches is not None:
            counts = _scales("n_patches", self.n_patches)
            self._set("n_patches", tuple(whole_number("n_patches", n, 1) for n in counts))
        mask = "slic" if self.feature_mask is None else self.feature_mask
        if isinstance(mask, str) and mask not in FEATURE_MASKS:
            raise ArgumentError(
                f"feature_mask must be 'slic', 'grid', 'cells' or Tensors, got {mask!r}."
            )
        if not isinstance(mask, str | Tensor | tuple | list | plain.Unsaved):
            raise ArgumentTypeError(
                f"feature_mask must be 'slic', 'grid', 'cells' or Tensors, got {mask!r}."
            )
        self._set("feature_mask", list(mask) if isinstance(mask, list) else mask)

    def _check_together(self) -> None:
        reads_logarithms = getattr(self.estimator, "log_impacts", False)
        if reads_logarithms and self.score is not None and not is_divergence(self.score):
            raise ArgumentError(
                "GaussianProcess takes logarithms of impacts, which can be negative with score="
                f"{score_name(self.score)!r}: give estimator=GaussianProcess(log_impacts=False)."
            )
        if self.prior is not None and not takes_prior(self.estimator):
            raise ArgumentError(
                f"{type(self.estimator).__name__} makes no use of a prior: give prior=None, or "
                "estimator=GaussianProcess()."
            )
        if self.perturb_jointly:
            separate = {
                "tolerance": self.tolerance is not None,
                f"estimator={self.estimator!r} (scheme 'efficient')": self.scheme != "paper",
            }
            for name in (name for name, is_asked in separate.items() if is_asked):
                raise ArgumentError(
                    f"{name} is for SPES with both sides perturbed separately; "
                    "perturb_jointly=True takes the mean of Eq. 3 over all samples."
                )

    # Equality and files ----------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Settings):
            return NotImplemented
        return all(
            plain.equal(getattr(self, f.name), getattr(other, f.name))
            for f in dataclasses.fields(self)
        )

    def __getstate__(self) -> dict[str, Any]:
        # Of lambdas and open streams a pickle keeps what a file keeps, their name.
        return {f.name: plain.portable(getattr(self, f.name)) for f in dataclasses.fields(self)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            self._set(name, value)

    def __deepcopy__(self, memo: dict[int, Any]) -> Settings:
        found = copy.copy(self)
        for f in dataclasses.fields(self):
            with suppress(Exception):  # an open stream is shared, as there is no second one
                found._set(f.name, copy.deepcopy(getattr(self, f.name), memo))
        return found

    def __copy__(self) -> Settings:
        return dataclasses.replace(self)

    def __hash__(self) -> int:
        return hash((self.n_samples, self.n_token_samples, self.patches_per_second))

    def __str__(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.changed().items())

    @property
    def scheme(self) -> str:
        """ "efficient" where samples are read by regression, "paper" where they are averaged, else
        the estimator's name."""
        names = {MaskedMean: "paper", GaussianProcess: "efficient"}
        return names.get(type(self.estimator), type(self.estimator).__name__)

    def changed(self) -> dict[str, Any]:
        """Values that are not the paper's, by name."""
        return {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if not plain.equal(getattr(self, f.name), getattr(_PAPER, f.name))
        }

    def described(self) -> dict[str, Any]:
        """The settings by name in words and numbers, for tables and texts; :meth:`to_dict` is for
        files."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        if not isinstance(self.feature_mask, str):
            values["feature_mask"] = "given"
        if isinstance(self.baselines, Tensor):
            values["baselines"] = "given"
        found = {name: plain.described(value) for name, value in values.items()}
        found["design"] = None if self.design is None else type(self.design).__name__
        # Most arguments are the spectrogram's.
        sides = found["method_args"]
        found["method_args"] = sides.get("spectrogram", {}) if "tokens" not in sides else sides
        return {"scheme": self.scheme, **found}

    def to_dict(self) -> dict[str, Any]:
        r"""
        The settings in JSON's types.

        Returns:
            *dict*: to be given to :meth:`from_dict`. Tensors keep their values. Of an estimator,
            design or score that is not the package's own only the name is kept.

        Examples::

            >>> import json
            >>> text = json.dumps(Settings.efficient().to_dict())
        """
        return {f.name: plain.encoded(getattr(self, f.name)) for f in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        r"""
        Read what :meth:`to_dict` wrote.

        Args:

            values (dict): By name; what is missing is the paper's.

        Returns:
            *Settings*. What was kept by name alone is a :class:`captum_spes.speech.plain.Unsaved`;
            explaining with it raises an error.

        Raises:
            ArgumentTypeError: a name is unknown.
            ArgumentError: a value is unusable.

        Examples::

            >>> Settings.from_dict({"n_samples": 100}).n_samples
            100
        """
        if not isinstance(values, Mapping):
            raise ArgumentTypeError(f"settings must be an object, got {type(values).__name__}.")
        return cls(**{k: plain.decoded(v) for k, v in _checked_names(dict(values)).items()})

    def check_runnable(self) -> None:
        """Raise where a value is known by name only."""
        for f in dataclasses.fields(self):
            unsaved = plain.first_unsaved(getattr(self, f.name))
            if unsaved is not None:
                raise ArgumentError(
                    f"settings.{f.name} was {unsaved.name}, which a file does not hold: give it "
                    f"again, settings.replace({f.name}=...)."
                )


def takes_prior(estimator: object) -> bool:
    """Whether an estimator can make use of a prior."""
    return bool(getattr(estimator, "takes_prior", False))


def _checked_names(changes: dict[str, Any]) -> dict[str, Any]:
    from difflib import get_close_matches

    known = [f.name for f in dataclasses.fields(Settings)]
    for name in changes:
        if name not in known:
            near = get_close_matches(name, known, 1, 0)
            raise ArgumentTypeError(
                f"there is no setting {name!r}; did you mean {near[0]!r}? "
                f"Known: {', '.join(known)}."
            )
    return changes


def _mapping(name: str, value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ArgumentTypeError(f"{name} must be a dictionary of names and values, got {value!r}.")
    return dict(value)


def _gen_args(value: object) -> dict[str, Any]:
    """With ids as Tensors, which generate takes; ``get_prompt_ids`` makes arrays. NumPy's single
    values become Python's, as a file keeps them: to generate ``numpy.True_`` is not True."""
    given = _mapping("gen_args", value)
    given = {n: own.item() if isinstance(own, np.generic) else own for n, own in given.items()}
    arrays = {n: own for n, own in given.items() if isinstance(own, np.ndarray)}
    ids = {n: torch.from_numpy(own) for n, own in arrays.items() if own.dtype.kind == "i"}
    return {**given, **ids}


def _by_side(method_args: object) -> dict[str, dict[str, Any]]:
    given = _mapping("method_args", method_args)
    is_by_side = bool(given) and set(given) <= set(SIDES)
    sides = given if is_by_side else {"spectrogram": given}
    found = {side: _mapping(f"method_args of {side}", own) for side, own in sides.items()}
    for side, own in found.items():
        for name in own:
            if name in _NOT_FOR_METHODS:
                raise ArgumentError(
                    f"method_args cannot hold {name!r}; it is given by {_NOT_FOR_METHODS[name]}."
                )
            if name.startswith("return_"):
                raise ArgumentError(
                    f"method_args cannot hold {name!r}: methods have to return attributions alone, "
                    "in the shape of the input."
                )
            if side == "tokens" and name in _OWN_FIELDS["spectrogram"].keys() - _OWN_FIELDS[side]:
                raise ArgumentError(f"method_args of tokens cannot hold {name!r}.")
    return {side: own for side, own in found.items() if own}


def _with_side(
    method_args: Mapping[str, Mapping[str, Any]], side: str, own: dict[str, Any]
) -> dict[str, Mapping[str, Any]]:
    others = {name: values for name, values in method_args.items() if name != side}
    return {name: v for name, v in {**others, side: own}.items() if v}


def _scales(name: str, value: Any) -> tuple[float, ...]:
    numbers = listed(value)
    if not numbers:
        raise ArgumentError(f"{name}: no segmentation level asked for: give at least one scale.")
    checked = [positive_number(name, number) for number in numbers]
    return tuple(int(n) if n == int(n) else n for n in checked)


def _dtype(dtype: object) -> torch.dtype | None:
    if dtype is None:
        return None
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ArgumentTypeError(
            f"dtype must be a torch.dtype such as torch.bfloat16, got {dtype!r}."
        )
    return dtype


def check_baselines(baselines: object) -> None:
    """Raise where ``baselines`` is no name, number, Tensor or None."""
    if baselines is None or isinstance(baselines, str | Tensor | plain.Unsaved):
        return
    if not math.isfinite(real_number("baselines", baselines)):
        raise ArgumentError(f"baselines must be finite, got {baselines!r}.")


_PAPER = Settings()
