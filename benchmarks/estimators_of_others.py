"""What estimators of others make of the same passes: yardsticks for those of the package.

Surrogates of scikit-learn read the very samples that `MaskedMean` and `GaussianProcess` read, as
estimators like any other: `Settings.efficient(estimator=Trees.boosted())`. Approximators of shapiq
choose their own coalitions, of patches of one size, and are given as many passes. Judged are
deletion by the sentence's map and by each token's own map: the divergence with the output forced,
of which more is better.

    pip install scikit-learn shapiq
    python -m recipes.bundled.synthesize build/corpus --train 0 --validation 0 --test 140
    python benchmarks/estimators_of_others.py run demo build/corpus/test/manifest.jsonl \\
        --ids test-00101 test-00102 --samples 300 --out estimators_of_others.jsonl
    python benchmarks/estimators_of_others.py table estimators_of_others.jsonl

One line per recording, way, number of passes and seed is added to the file; what it holds is not
computed again.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from own_token_deletion import measured, summary
from sample_efficiency import _clips, _load, _records
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoLarsCV, RidgeCV

from captum_spes import SPES, Settings, SpeechToTextAttribution
from captum_spes.attr import GaussianProcess, MaskedDifference, MaskedMean
from captum_spes.attr.regression.patches import Patches

# Smaller impacts count as this share of their mean: a logarithm needs a floor.
_FLOOR = 1e-6
# Trees that look at a tenth of the patches for each split are quick and differ from one another.
_FEW_PATCHES = {"max_features": 0.1, "random_state": 0}


class Surrogate:
    """Base of estimators that fit a model of others' to the logarithms of the impacts.

    What the model reads is which share of each patch of up to five sizes was removed, so that
    samples of all levels inform one model. A cell's score is the sum over these sizes of what
    removing its patch adds to the prediction. (Divided by the patch's cells, which sounds right,
    maps were worse on the recordings for tuning.)
    """

    def estimate(self, features, samples):
        patches = Patches(features.columns, features.n_features, features.is_perturbed.float())
        sizes = torch.cat(patches.totals).clamp(min=1)
        removed = torch.cat([patches.removed(level, masks) for level, masks, _ in samples], 1)
        shares = (removed.T / sizes).numpy()
        logarithms = _logarithms(torch.cat([impacts for _, _, impacts in samples])).numpy()
        effects = torch.from_numpy(np.atleast_2d(self.effects(shares, logarithms)))
        return patches.spread(effects)

    def effects(self, shares: np.ndarray, impacts: np.ndarray) -> np.ndarray:
        """What removing each patch adds: ``(samples, patches)`` and ``(samples, outputs)`` to
        ``(outputs, patches)``."""
        raise NotImplementedError


def _logarithms(impacts: torch.Tensor) -> torch.Tensor:
    least = (_FLOOR * impacts.mean(0)).clamp(min=1e-11)
    return impacts.maximum(least).log()


@dataclass(frozen=True)
class Ridge(Surrogate):
    """The coefficients of a ridge regression, its penalty by leaving one sample out."""

    def effects(self, shares, impacts):
        penalties = np.logspace(-1, 4, 21)
        return RidgeCV(penalties, alpha_per_target=True).fit(shares, impacts).coef_


@dataclass(frozen=True)
class Lars(Surrogate):
    """The coefficients of a lasso by least-angle regression, its penalty by cross-validation."""

    most_patches: int = 100

    def effects(self, shares, impacts):
        lasso = partial(LassoLarsCV, cv=5, max_iter=self.most_patches)
        return np.stack([lasso().fit(shares, own).coef_ for own in impacts.T])


@dataclass(frozen=True)
class Trees(Surrogate):
    """What the prediction of an ensemble of trees changes on average over the samples when a patch
    is removed in each of them instead of kept in each of them.

    Attributes:
        make: makes the regression.
        scale: of the sum over its trees.
    """

    make: Callable[[], Any]
    scale: float

    @classmethod
    def boosted(cls, n_trees: int = 200, rate: float = 0.05) -> Trees:
        """Gradient boosting of small trees."""
        options = {"n_estimators": n_trees, "learning_rate": rate, "subsample": 0.5, "max_depth": 3}
        return cls(partial(GradientBoostingRegressor, **options, **_FEW_PATCHES), rate)

    @classmethod
    def forest(cls, n_trees: int = 60, kind: Any = RandomForestRegressor) -> Trees:
        """A random forest, or one with random thresholds."""
        make = partial(kind, n_estimators=n_trees, min_samples_leaf=5, **_FEW_PATCHES)
        return cls(make, 1 / n_trees)

    def effects(self, shares, impacts):
        shares = shares.astype(np.float32)
        return np.stack([self._of_output(shares, own) for own in impacts.T])

    def _of_output(self, shares, impacts):
        total = np.zeros(shares.shape[1])
        for regression in np.ravel(self.make().fit(shares, impacts).estimators_):
            _add_effects(total, regression.tree_, shares)
        return self.scale * total


def _add_effects(total, tree, shares):
    """Add those of one tree: only patches that it asks for have any."""
    asked = np.unique(tree.feature[tree.feature >= 0])
    samples = np.arange(len(shares))

    def predicted(share):
        """The mean prediction with this share of each patch removed, one patch at a time."""
        node = np.zeros((len(asked), len(shares)), int)
        for _ in range(tree.max_depth):
            feature = tree.feature[node]  # below 0 at a leaf
            seen = np.where(feature == asked[:, None], share, shares[samples, feature])
            is_left = seen <= tree.threshold[node]
            child = np.where(is_left, tree.children_left[node], tree.children_right[node])
            node = np.where(feature < 0, node, child)
        return tree.value[node, 0, 0].mean(1)

    total[asked] += predicted(1.0) - predicted(0.0)


ESTIMATORS = {
    "mean": MaskedMean(),
    "difference": MaskedDifference(),
    "gaussian-process": GaussianProcess(),
    "ridge": Ridge(),
    "lars": Lars(),
    "forest": Trees.forest(),
    "extra-trees": Trees.forest(kind=ExtraTreesRegressor),
    "boosting": Trees.boosted(),
}
# Of shapiq, each with its patches per second.
APPROXIMATORS = {
    f"{name} of {rate} per second": (name, rate)
    for name in ("KernelSHAP", "UnbiasedKernelSHAP", "PermutationSamplingSV")
    for rate in (20, 60)
}


def explained(explainer, audio, way, n_samples, seed):
    """The maps of a way, and how many passes it spent."""
    if way in ESTIMATORS:
        settings = Settings.efficient(
            n_samples=n_samples, n_token_samples=0, estimator=ESTIMATORS[way]
        )
        return explainer.attribute(audio, settings=settings, seed=seed), n_samples
    import shapiq

    name, rate = APPROXIMATORS[way]
    game = explainer.game(audio, patches_per_second=rate, seed=seed)

    def values(token):
        approximator = getattr(shapiq, name)(n=game.n_players, random_state=seed)
        return approximator.approximate(n_samples, game.of(token))

    maps = [values(token) for token in range(len(game.output_tokens))]
    return game.result(maps, way), game.n_evaluated


def run(parsed: argparse.Namespace) -> None:
    # How noisy maps of so few samples are is what is measured.
    warnings.filterwarnings("ignore", ".*sampling noise|.*perturbed by no sample", UserWarning)
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    model, processor = _load(parsed.model, torch.float32)
    explainer = SpeechToTextAttribution(SPES(model), processor)
    clips = {clip["id"]: clip for clip in _clips(parsed.manifest)}
    known = set()
    if parsed.out.exists():
        known = {_key(record) for record in _records([parsed.out])}
    for name in parsed.ids:
        for way in parsed.ways:
            asked = {"id": name, "way": way, "samples": parsed.samples, "seed": parsed.seed}
            if _key(asked) in known:
                continue
            audio = clips[name]["audio"]
            start = time.perf_counter()
            result, passes = explained(explainer, audio, way, parsed.samples, parsed.seed)
            spent = {"seconds": round(time.perf_counter() - start, 1), "passes": passes}
            record = {**asked, **spent, **measured(explainer.adapter, result, audio)}
            with parsed.out.open("a") as file:
                file.write(json.dumps(record) + "\n")
            print(name, way, spent, flush=True)
    show(_records([parsed.out]), parsed.ways)


def _key(record):
    return tuple(record[name] for name in ("id", "way", "samples", "seed"))


def show(records: list[dict], ways: list[str]) -> None:
    """The areas under the curves, over the recordings that all ways have."""
    values: dict[tuple, dict[str, dict]] = {}
    for record in records:
        key = (record["id"], record["samples"], record["seed"])
        values.setdefault(key, {})[record["way"]] = record
    summary([found for found in values.values() if set(ways) <= set(found)], ways)


def table(parsed: argparse.Namespace) -> None:
    records = _records(parsed.files)
    show(records, list(dict.fromkeys(record["way"] for record in records)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    ways = [*ESTIMATORS, *APPROXIMATORS]
    add = commands.add_parser("run")
    add.add_argument("model")
    add.add_argument("manifest", type=Path)
    add.add_argument("--ids", nargs="+", required=True, help="names of recordings")
    add.add_argument("--ways", nargs="+", choices=ways, default=ways)
    add.add_argument("--samples", type=int, default=300)
    add.add_argument("--seed", type=int, default=0)
    add.add_argument("--out", type=Path, required=True)
    add.set_defaults(function=run)
    add = commands.add_parser("table")
    add.add_argument("files", nargs="+", type=Path)
    add.set_defaults(function=table)
    parsed = parser.parse_args()
    parsed.function(parsed)


if __name__ == "__main__":
    main()
