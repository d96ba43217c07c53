"""From maps to statements: time, frequency, evidence in the audio, previous tokens; and what the
model itself represents."""

from captum_spes.analysis.attention_share import correlation_in_time
from captum_spes.analysis.boundaries import phone_boundary_agreement
from captum_spes.analysis.context_mixing import ContextMixing, context_mixing
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
from captum_spes.analysis.probes import PhoneProbe, phone_probe
from captum_spes.analysis.representations import EncoderStates, encoder_states
from captum_spes.analysis.salient import SalientPhones, salient_phones, time_profiles
from captum_spes.analysis.similarity import (
    ModelSimilarity,
    layer_similarity,
    linear_cka,
    similar_models,
)
from captum_spes.analysis.state_saliency import StateSaliency, state_saliency
from captum_spes.analysis.time import time_analysis
from captum_spes.plotting import (
    plot_context_mixing,
    plot_hallucination_check,
    plot_layer_similarity,
    plot_positions,
    plot_probe,
    plot_profiles,
    plot_time,
    plot_token_evidence,
)

__all__ = [
    "EVIDENCE",
    "AlignedResults",
    "ContextMixing",
    "EncoderStates",
    "Findings",
    "ModelSimilarity",
    "PhoneProbe",
    "Profiles",
    "SalientPhones",
    "StateSaliency",
    "align_results",
    "compare_profiles",
    "context_mixing",
    "correlation_in_time",
    "dependence",
    "encoder_states",
    "frequency_profiles",
    "hallucination_check",
    "intermediate_explanations",
    "layer_similarity",
    "linear_cka",
    "load_results",
    "mean_test",
    "phone_boundary_agreement",
    "phone_probe",
    "plot_context_mixing",
    "plot_hallucination_check",
    "plot_layer_similarity",
    "plot_positions",
    "plot_probe",
    "plot_profiles",
    "plot_time",
    "plot_token_evidence",
    "position_analysis",
    "rank_test",
    "read_groups",
    "read_results",
    "roc_auc",
    "salient_phones",
    "similar_models",
    "state_saliency",
    "time_analysis",
    "time_profiles",
    "token_evidence",
    "was_matched",
    "word_evidence",
]
