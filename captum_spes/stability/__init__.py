"""Would attributions be the same had the model been trained with another seed?"""

from captum_spes.stability.attributions import Condition, StabilityStudy
from captum_spes.stability.classifier import ClassifierConfig, SpeechClassifier
from captum_spes.stability.figures import plot_cost, plot_stability
from captum_spes.stability.jobs import StudyOptions
from captum_spes.stability.loading import load_explained_model
from captum_spes.stability.methods import StudyMethod, parse_method
from captum_spes.stability.models import Attributed, ExplainedModel
from captum_spes.stability.study import run_study
from captum_spes.stability.summary import (
    ConditionAgreement,
    condition_agreements,
    paired_difference,
    stability_table,
)
from captum_spes.stability.units import UnitPair, View, parse_units

__all__ = [
    "Attributed",
    "ClassifierConfig",
    "Condition",
    "ConditionAgreement",
    "ExplainedModel",
    "SpeechClassifier",
    "StabilityStudy",
    "StudyMethod",
    "StudyOptions",
    "UnitPair",
    "View",
    "condition_agreements",
    "load_explained_model",
    "paired_difference",
    "parse_method",
    "parse_units",
    "plot_cost",
    "plot_stability",
    "run_study",
    "stability_table",
]
