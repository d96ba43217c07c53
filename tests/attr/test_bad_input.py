"""Every unusable argument has its own clear error, before the model runs for long."""

from types import SimpleNamespace

import pytest
import torch

from captum_spes import SPES
from captum_spes.errors import ArgumentError, ArgumentTypeError

X = torch.ones(2, 3)


def attribute(forward=lambda x: x.sum(1), inputs=X, **kwargs):
    return SPES(forward).attribute(inputs, **{"n_samples": 4, "seed": 0, **kwargs})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_samples": 0}, "n_samples must be an int of at least 1, got 0"),
        ({"n_samples": -5}, "n_samples"),
        ({"n_samples": 2.5}, "n_samples"),
        ({"perturbations_per_eval": 0}, "perturbations_per_eval must be an int of at least 1"),
        ({"perturbations_per_eval": 1.5}, "must be an int of at least 1"),
        ({"perturbations_per_eval": True}, "must be an int of at least 1"),
        ({"seed": -1}, "seed must lie in"),
        ({"seed": 2**64}, "seed must lie in"),
        ({"perturb_prob": 0.0}, "strictly between 0 and 1, got 0.0"),
        ({"perturb_prob": 1.0}, "strictly between 0 and 1"),
        ({"perturb_prob": -0.1}, "strictly between 0 and 1"),
        ({"perturb_prob": 1.2}, "strictly between 0 and 1"),
        ({"perturb_prob": float("nan")}, "strictly between 0 and 1"),
        ({"feature_mask": torch.zeros(1, 4).long()}, r"shape \(1, 4\).*\(2, 3\)"),
        ({"feature_mask": torch.zeros(3, 3).long()}, r"shape \(3, 3\)"),
        ({"feature_mask": (torch.zeros(1, 3), torch.zeros(1, 3))}, "2 tensors for 1 inputs"),
        ({"feature_mask": []}, "empty list"),
        ({"feature_mask": torch.full((1, 3), -1)}, "no feature"),
        ({"feature_mask": torch.full((1, 3), 0.5)}, "integer labels"),
        ({"baselines": torch.zeros(1, 4)}, r"baseline \(index 0\) has shape \(1, 4\)"),
        ({"baselines": (0, 0)}, "2 baselines given for 1 inputs"),
        ({"inputs": torch.zeros(0, 3)}, "no example"),
        ({"inputs": (torch.zeros(2, 3), torch.zeros(3, 3))}, "batch as its first dimension"),
        ({"forward": lambda x: x.sum(), "perturbations_per_eval": 2}, "Cannot have perturb"),
        (
            {"forward": lambda x: x.sum(), "feature_mask": torch.tensor([[0, 1, 2], [0, 0, 1]])},
            "different masks for each example",
        ),
        ({"forward": lambda x: x.sum(1) * torch.nan}, "NaN or infinity"),
        ({"forward": lambda x: 1 / (x.sum(1) - 3)}, "NaN or infinity"),
    ],
)
def test_bad_value(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        attribute(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"forward": lambda x: SimpleNamespace(logits=x)}, "received: types.SimpleNamespace"),
        ({"forward": lambda x: None}, "received: builtins.NoneType"),
        ({"forward": lambda x: [1.0, 2.0], "target": 0}, "received: builtins.list"),
        ({"seed": 1.5}, "seed must be an int"),
        ({"seed": True}, "seed must be an int"),
        ({"feature_mask": [[0, 1, 2]]}, "must be a Tensor"),
    ],
)
def test_bad_type(arguments, message):
    with pytest.raises(ArgumentTypeError, match=message):
        attribute(**arguments)


def test_forward_that_forgets_the_batch():
    first = []

    def forward(x):
        first.append(1)
        return x.sum(1) if len(first) == 1 else x.sum(1)[:1]

    with pytest.raises(ArgumentError, match="one row per example"):
        attribute(forward, perturbations_per_eval=2)


def test_lists_are_no_inputs_as_in_captum():
    with pytest.raises(AssertionError):
        attribute(inputs=[X])


def test_errors_serve_both_habits():
    with pytest.raises(ValueError, match="n_samples"):
        attribute(n_samples=0)
    with pytest.raises(AssertionError):
        attribute(perturbations_per_eval=0)
    with pytest.raises(TypeError):
        attribute(lambda x: None)


class Design:
    def __init__(self, masks):
        self._masks = masks

    def sample(self, n_samples, n_features, generator):
        return self._masks


@pytest.mark.parametrize(
    ("masks", "error"),
    [
        (torch.zeros(1, 3), ArgumentTypeError),
        (None, ArgumentTypeError),
        (torch.zeros(2, 3).bool(), ArgumentError),
        (torch.zeros(1, 2).bool(), ArgumentError),
    ],
)
def test_design_that_breaks_its_contract(masks, error):
    with pytest.raises(error, match=r"design\.sample"):
        attribute(design=Design(masks))
