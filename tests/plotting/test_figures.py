"""All figures: returned and not shown, of plain values, with the user's words as written."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.text import Text

from captum_spes import plotting
from captum_spes.analysis import ContextMixing

FORMULA = "$x_1^$"  # which is none that can be set


def findings(**columns):
    table = pd.DataFrame({"utterance": ["a", "a", "b", "b"], **columns})
    tests = pd.DataFrame({"question": ["impact, said > not said"], "effect_size": [0.75]})
    return SimpleNamespace(table=table, tests=tests)


def times():
    numbers = {name: [0.1, 0.2, 0.3, 0.4] for name in ("inside", "outside", "auc", "centre")}
    return findings(start=[0.0, 0.1, 0.2, 0.3], end=[0.1, 0.2, 0.3, 0.4], **numbers)


def profiles(unit="so"):
    low, high = (
        SimpleNamespace(name=FORMULA, low=0, high=4000),
        SimpleNamespace(name="high", low=4500, high=8000),
    )
    found = findings(unit=[unit] * 4, **{FORMULA: [0.1, 0.2, 0.3, 0.2], "high": [1.0, 0.9, 0.8, 1]})
    return SimpleNamespace(table=found.table, tests=found.tests, bands=(low, high))


def curve(name="deletion"):
    return SimpleNamespace(name=name, metric="kl", x=(0, 50, 100), y=(0.0, 1.0, 2.0), auc=1.0)


def condition(method="lime@25", stage="waveform", reported="word", passes=25.0):
    between = SimpleNamespace(chance=0.2, mean=0.5, interval=lambda: (0.4, 0.7))
    return SimpleNamespace(
        condition=SimpleNamespace(input=stage, method=method, perturbed="word", reported=reported),
        between=between,
        of_utterances=np.array([0.3, 0.5, np.nan, 0.7]),
        self_agreement=np.array([0.8, np.nan, 0.9]),
        is_random="@" in method,
        passes=passes,
        n_units=5.0,
    )


MAPS = torch.rand(2, 30, 80, generator=torch.Generator().manual_seed(0))
AXES = (torch.arange(30) * 0.01, torch.linspace(30.0, 7900.0, 80))
SPOKEN = [plotting.SpokenWord(FORMULA, 0.05, 0.15, True), plotting.SpokenWord("b", 0.15, 0.25)]
LAYERS = ["spectrogram", "1", "2"]
SHARES = ["accuracy", "low", "high", "control", "shuffled", "chance"]
PROBE = SimpleNamespace(
    table=pd.DataFrame({"layer": LAYERS, **{name: [0.1, 0.2, 0.3] for name in SHARES}})
)
STAGES = SimpleNamespace(
    order="cascading",
    stages=("intact", FORMULA),
    chances={"spearman": 0.0},
    means=lambda measure: np.array([1.0, 0.2]),
)
SHARES_OF_LAYER = torch.rand(1, 2, 3, generator=torch.Generator().manual_seed(0))
MIXING = ContextMixing(
    "cross", SHARES_OF_LAYER, SHARES_OF_LAYER, SHARES_OF_LAYER, (FORMULA, "b"), ("x", "y", "z"),
    torch.ones(2, 3, dtype=torch.bool), torch.arange(3), torch.arange(3) / 100,
)  # fmt: skip
FIGURES = {
    "plot_context_mixing": lambda: plotting.plot_context_mixing(MIXING),
    "plot_probe": lambda: plotting.plot_probe(PROBE),
    "plot_layer_similarity": lambda: plotting.plot_layer_similarity(
        pd.DataFrame(np.eye(3), index=LAYERS, columns=LAYERS)
    ),
    "plot_stages": lambda: plotting.plot_stages({FORMULA: STAGES}),
    "plot_time": lambda: plotting.plot_time(times()),
    "plot_profiles": lambda: plotting.plot_profiles(profiles(FORMULA)),
    "plot_token_evidence": lambda: plotting.plot_token_evidence(
        findings(kind=["start", "start", "end", "end"], kurtosis=[1.0, 2.0, 3.0, 4.0])
    ),
    "plot_hallucination_check": lambda: plotting.plot_hallucination_check(
        findings(supported=[True, False, True, False], impact=[1.0, 0.5, 0.2, 0.1])
    ),
    "plot_positions": lambda: plotting.plot_positions(
        findings(start=[0.1] * 4, between=[0.2] * 4, last=[0.3] * 4, top=["start", "last"] * 2)
    ),
    "plot_curves": lambda: plotting.plot_curves({FORMULA: curve(), "b": curve()}, title=FORMULA),
    "agreement_figure": lambda: plotting.agreement_figure([condition()], FORMULA, acceptable=0.6),
    "cost_figure": lambda: plotting.cost_figure([condition()], FORMULA),
    "spectrogram_figure": lambda: plotting.spectrogram_figure(
        plotting.MapPanel(MAPS[0], FORMULA, SPOKEN), *AXES, spectrogram=MAPS[1], label="saliency"
    ),
    "spectrogram_sheet": lambda: plotting.spectrogram_sheet(
        [plotting.MapPanel(one, FORMULA, SPOKEN) for one in MAPS],
        *AXES,
        spectrogram=MAPS[1],
        columns=2,
    ),
    "contrast_figure": lambda: plotting.contrast_figure(
        plotting.MapPanel(MAPS[0] - 0.5, FORMULA, SPOKEN),
        *AXES,
        (FORMULA, "b"),
        spectrogram=MAPS[1],
        label="score",
    ),
    "contrast_token_figure": lambda: plotting.contrast_token_figure(
        torch.tensor([0.5, -0.2]), ["a", FORMULA], (FORMULA, "b"), title="why", label="score"
    ),
    "token_figure": lambda: plotting.token_figure(
        torch.rand(2, 2), [FORMULA, "b"], ["a", FORMULA], label="saliency"
    ),
}


def test_no_figure_is_missing_here():
    assert set(FIGURES) == set(plotting.__all__) - {
        "MOST_MAPS", "MapPanel", "NotebookFigure", "SpokenWord", "StagesLike",
    }  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_returned_and_nothing_global_is_changed(name):
    """From plain values; a notebook shows it once, and pyplot does not know it."""
    settings = dict(rcParams)
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert plt.get_fignums() == []
    assert dict(rcParams) == settings


@pytest.mark.parametrize(
    "name",
    [
        "plot_profiles",
        "plot_stages",
        "plot_curves",
        "agreement_figure",
        "cost_figure",
        "spectrogram_figure",
        "spectrogram_sheet",
        "contrast_figure",
        "contrast_token_figure",
        "token_figure",
    ],
)
def test_dollar_signs_of_the_user_are_dollar_signs(name):
    figure = FIGURES[name]()
    figure._repr_png_()
    texts = [text for text in figure.findobj(Text) if FORMULA in text.get_text()]
    assert texts
    assert not any(text.get_parse_math() for text in texts)


class TestProfiles:
    def test_interval_is_that_of_student(self):
        """Of 0.1, 0.2, 0.3, 0.2: mean 0.2, t(3 degrees of freedom) 3.182446, error 0.0408248."""
        (axes,) = plotting.plot_profiles(profiles()).axes
        edges = axes.collections[0].get_paths()[0].vertices
        at_first = edges[edges[:, 0] == 0][:, 1]
        margin = 3.182446 * 0.0408248
        assert at_first.min() == pytest.approx(0.2 - margin, abs=1e-6)
        assert at_first.max() == pytest.approx(0.2 + margin, abs=1e-6)


class TestStability:
    def test_rows_go_up_through_the_model_and_end_with_inputs_of_the_users_own(self):
        found = [condition(stage=name) for name in ("cepstrum", "encoder", "waveform")]
        titles = [
            axes.get_title(loc="left")
            for axes in plotting.agreement_figure(found, "speaker", acceptable=0.6).axes
        ]
        assert titles == ["speaker, waveform", "speaker, encoder", "speaker, cepstrum"]

    def test_marks(self):
        """Chance below the box, the ceiling a diamond, what is acceptable a line."""
        (axes,) = plotting.agreement_figure([condition()], "speaker", acceptable=0.6).axes
        heights = {(line.get_linestyle(), line.get_marker()): line.get_ydata()[0]
                   for line in axes.get_lines()[-3:]}  # fmt: skip
        assert heights == {
            ("--", "None"): 0.2,
            ("None", "D"): pytest.approx(0.85),
            (":", "None"): 0.6,
        }

    def test_many_boxes_take_several_rows(self):
        found = [
            condition(method=f"lime@{n}", reported=unit)
            for unit in ("word", "phone", "20ms")
            for n in range(1, 31)
        ]
        assert len(plotting.agreement_figure(found, "speaker", acceptable=0.6).axes) == 2

    def test_numbers_of_samples_are_one_line(self):
        found = [condition("lime@100", passes=100.0), condition("lime@25"), condition("saliency")]
        (axes,) = plotting.cost_figure(found, "speaker").axes
        lines = {line.get_label(): line for line in axes.get_lines()}
        ceiling = lines["lime, word, ceiling"]
        assert list(ceiling.get_xdata()) == [25.0, 100.0]
        assert list(ceiling.get_ydata()) == pytest.approx([0.85, 0.85])
        assert "saliency, word, ceiling" not in lines
