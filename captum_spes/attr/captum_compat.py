"""The only place that imports Captum's private helpers.

Behaving like Captum in targets, baselines and tuples means using Captum's own code
for them. A test checks the signatures, so that a Captum release that changes one fails
there and not in a user's notebook.
"""

from captum._utils.common import (
    _expand_additional_forward_args,
    _expand_target,
    _format_additional_forward_args,
    _format_output,
    _is_mask_valid,
    _is_tuple,
    _run_forward,
    _select_targets,
)
from captum._utils.gradient import compute_gradients
from captum._utils.progress import progress
from captum._utils.typing import BaselineType, TargetType, TensorOrTupleOfTensorsGeneric
from captum.attr._utils.common import (
    _construct_default_feature_mask,
    _format_input_baseline,
)
from captum.metrics._core.sensitivity import default_perturb_func

__all__ = [
    "BaselineType",
    "TargetType",
    "TensorOrTupleOfTensorsGeneric",
    "_construct_default_feature_mask",
    "_expand_additional_forward_args",
    "_expand_target",
    "_format_additional_forward_args",
    "_format_input_baseline",
    "_format_output",
    "_is_mask_valid",
    "_is_tuple",
    "_run_forward",
    "_select_targets",
    "compute_gradients",
    "default_perturb_func",
    "progress",
]
