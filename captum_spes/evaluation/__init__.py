"""Methods compared on a corpus: deletion, insertion, size, cost."""

from captum_spes.evaluation.comparison import Comparison, EvaluationSettings, compare_methods
from captum_spes.evaluation.cost import Cost, measured_cost

__all__ = ["Comparison", "Cost", "EvaluationSettings", "compare_methods", "measured_cost"]
