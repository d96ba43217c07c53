"""Would attributions be the same had the model been trained with another seed?"""

from captum_spes.reliability.attributions import Condition, ReliabilityStudy
from captum_spes.reliability.classifier import ClassifierConfig, SpeechClassifier
from captum_spes.reliability.loading import load_explained_model
from captum_spes.reliability.methods import ReliabilityMethod, parse_method
from captum_spes.reliability.models import Attributed, ExplainedModel
from captum_spes.reliability.study import run_study
from captum_spes.reliability.summary import (
    ConditionAgreement,
    condition_agreements,
    paired_difference,
    reliability_table,
)
from captum_spes.reliability.units import UnitPair, View, parse_units

__all__ = [
    "Attributed",
    "ClassifierConfig",
    "Condition",
    "ConditionAgreement",
    "ExplainedModel",
    "ReliabilityMethod",
    "ReliabilityStudy",
    "SpeechClassifier",
    "UnitPair",
    "View",
    "condition_agreements",
    "load_explained_model",
    "paired_difference",
    "parse_method",
    "parse_units",
    "reliability_table",
    "run_study",
]
