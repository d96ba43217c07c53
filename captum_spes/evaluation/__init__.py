"""Methods compared on a corpus: deletion, insertion, size, cost; rules of checks calibrated."""

from captum_spes.evaluation.calibration import calibrate
from captum_spes.evaluation.comparison import Comparison, EvaluationSettings
from captum_spes.evaluation.cost import Cost, measured_cost
from captum_spes.evaluation.runner import compare_methods

__all__ = [
    "Comparison",
    "Cost",
    "EvaluationSettings",
    "calibrate",
    "compare_methods",
    "measured_cost",
]
