"""Every figure of the package: from tensors, tables and plain values, returned and never shown."""

from captum_spes.plotting.analysis import (
    plot_hallucination_check,
    plot_positions,
    plot_time,
    plot_token_evidence,
)
from captum_spes.plotting.contrast import contrast_figure, contrast_token_figure
from captum_spes.plotting.curves import plot_curves
from captum_spes.plotting.figure import NotebookFigure
from captum_spes.plotting.mixing import plot_context_mixing
from captum_spes.plotting.profiles import plot_profiles
from captum_spes.plotting.representations import plot_layer_similarity, plot_probe
from captum_spes.plotting.spectrograms import (
    MOST_MAPS,
    MapPanel,
    spectrogram_figure,
    spectrogram_sheet,
)
from captum_spes.plotting.stability import agreement_figure, cost_figure
from captum_spes.plotting.stages import StagesLike, plot_stages
from captum_spes.plotting.tokens import token_figure
from captum_spes.plotting.words import SpokenWord

__all__ = [
    "MOST_MAPS",
    "MapPanel",
    "NotebookFigure",
    "SpokenWord",
    "StagesLike",
    "agreement_figure",
    "contrast_figure",
    "contrast_token_figure",
    "cost_figure",
    "plot_context_mixing",
    "plot_curves",
    "plot_hallucination_check",
    "plot_layer_similarity",
    "plot_positions",
    "plot_probe",
    "plot_profiles",
    "plot_stages",
    "plot_time",
    "plot_token_evidence",
    "spectrogram_figure",
    "spectrogram_sheet",
    "token_figure",
]
