"""From maps to statements: time, frequency, evidence in the audio, previous tokens."""

from captum_spes.analysis.evidence import (
    EVIDENCE,
    hallucination_check,
    token_evidence,
    was_matched,
    word_evidence,
)
from captum_spes.analysis.findings import Findings, mean_test, rank_test, roc_auc
from captum_spes.analysis.frequency import Profiles, compare_profiles, frequency_profiles
from captum_spes.analysis.inputs import (
    AlignedResults,
    align_results,
    load_results,
    read_groups,
    read_results,
)
from captum_spes.analysis.previous_tokens import (
    dependence,
    intermediate_explanations,
    position_analysis,
)
from captum_spes.analysis.time import time_analysis
from captum_spes.plotting import (
    plot_hallucination_check,
    plot_positions,
    plot_profiles,
    plot_time,
    plot_token_evidence,
)

__all__ = [
    "EVIDENCE",
    "AlignedResults",
    "Findings",
    "Profiles",
    "align_results",
    "compare_profiles",
    "dependence",
    "frequency_profiles",
    "hallucination_check",
    "intermediate_explanations",
    "load_results",
    "mean_test",
    "plot_hallucination_check",
    "plot_positions",
    "plot_profiles",
    "plot_time",
    "plot_token_evidence",
    "position_analysis",
    "rank_test",
    "read_groups",
    "read_results",
    "roc_auc",
    "time_analysis",
    "token_evidence",
    "was_matched",
    "word_evidence",
]
