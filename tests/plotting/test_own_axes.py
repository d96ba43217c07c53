"""Figures drawn into axes of a user's own figure, as papers put several results side by side."""

import io
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

from captum_spes import plotting
from captum_spes.errors import ArgumentError, ArgumentTypeError
from tests.plotting.test_contrast import contrast_result
from tests.plotting.test_figures import condition, curve, findings, profiles, times
from tests.speech.test_result import make

# The sentence of `make` has letters that few systems have a font for.
pytestmark = pytest.mark.filterwarnings("ignore:no font of this system")


def instruction(result):
    n_tokens = len(result.output_tokens)
    return {"instruction_tokens": ["to", "German"], "instruction_attr": torch.rand(n_tokens, 2)}


PANELS = {
    "sentence": lambda ax: make().plot_spectrogram_attr(ax=ax),
    "token": lambda ax: make().plot_spectrogram_attr(1, over_spectrogram=True, ax=ax),
    "token_attr": lambda ax: make().plot_token_attr(ax=ax),
    "by_words": lambda ax: make().plot_token_attr(by="words", ax=ax),
    "instruction": lambda ax: make(**instruction(make())).plot_instruction_attr(ax=ax),
    "contrast": lambda ax: contrast_result().plot_contrast(ax=ax),
    "contrast_tokens": lambda ax: contrast_result().plot_token_attr(ax=ax),
    "contrast_instruction": lambda ax: contrast_result(
        **instruction(contrast_result())
    ).plot_instruction_attr(ax=ax),
    "profiles": lambda ax: plotting.plot_profiles(profiles(), ax=ax),
    "evidence": lambda ax: plotting.plot_token_evidence(
        findings(kind=["start", "start", "end", "end"], kurtosis=[1.0, 2.0, 3.0, 4.0]), ax=ax
    ),
    "hallucinations": lambda ax: plotting.plot_hallucination_check(
        findings(supported=[True, False, True, False], impact=[1.0, 0.5, 0.2, 0.1]), ax=ax
    ),
    "curves": lambda ax: plotting.plot_curves({"a": curve()}, ax=ax),
}
SEVERAL = {
    "time": (3, lambda ax: plotting.plot_time(times(), ax=ax)),
    "positions": (
        2,
        lambda ax: plotting.plot_positions(
            findings(start=[0.1] * 4, between=[0.2] * 4, last=[0.3] * 4, top=["start"] * 4), ax=ax
        ),
    ),
    "agreement": (
        1,
        lambda ax: plotting.agreement_figure([condition()], "speaker", acceptable=0.6, ax=ax),
    ),
    "cost": (
        2,
        lambda ax: plotting.cost_figure([condition(), condition(stage="encoder")], "a", ax=ax),
    ),
}


def is_drawn(axes):
    return bool(axes.images or axes.lines or axes.patches or axes.collections)


def rendered(figure):
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=30)
    return content.getvalue()


@pytest.mark.parametrize("name", PANELS)
def test_one_panel_goes_into_the_axes_that_are_given(name):
    """Its neighbour stays empty, and no axes are added but a colour bar."""
    figure = Figure(layout="constrained")
    own, neighbour = figure.subplots(1, 2)
    assert PANELS[name](own) is figure
    assert rendered(figure)
    assert is_drawn(own)
    assert not is_drawn(neighbour)
    assert len(figure.axes) <= 3
    assert len(PANELS[name](None).axes) <= 2


@pytest.mark.parametrize("name", SEVERAL)
def test_several_panels_go_into_as_many_axes(name):
    """Also where they are an array, as ``subplots`` gives."""
    count, draw = SEVERAL[name]
    figure = Figure(layout="constrained")
    own = figure.subplots(count, 1, squeeze=False)
    assert draw(own) is figure
    assert rendered(figure)
    assert all(is_drawn(axes) for axes in own.flat)
    assert len(figure.axes) == count
    with pytest.raises(ArgumentError, match=rf"ax must be a sequence of {count} matplotlib Axes"):
        draw([*own.flat, own.flat[0]])


@pytest.mark.parametrize("name", PANELS)
def test_what_is_no_axes_is_refused(name):
    with pytest.raises(ArgumentTypeError, match="ax must be a matplotlib Axes or None, got Figure"):
        PANELS[name](Figure())


@pytest.mark.parametrize("ax", [5, [1, 2, 3], "axes"])
def test_what_are_no_axes_is_refused(ax):
    with pytest.raises(ArgumentTypeError, match="ax must be a sequence of 3 matplotlib Axes"):
        plotting.plot_time(times(), ax=ax)


class TestTwoResults:
    def test_side_by_side_each_has_its_map_and_its_colour_bar(self):
        one, other = make(), make(spectrogram_attr=torch.rand(3, 30, 80))
        figure = Figure(figsize=(9, 3), layout="constrained")
        left, right = figure.subplots(1, 2)
        one.plot_spectrogram_attr(0, title="one", ax=left)
        other.plot_spectrogram_attr(0, title="other", ax=right)
        rendered(figure)
        for result, axes, title in ((one, left, "one"), (other, right, "other")):
            expected = result.normalized().spectrogram_attr[0]
            assert np.allclose(axes.images[0].get_array(), expected.T)
            assert axes.get_title() == title
        ends = [axes.get_position() for axes in figure.axes]  # left, right, and their colour bars
        assert ends[0].x1 < ends[2].x0 < ends[2].x1 < ends[1].x0 < ends[1].x1 < ends[3].x0

    def test_also_in_a_part_of_a_figure(self):
        figure = Figure(layout="constrained")
        above, below = figure.subfigures(2, 1)
        assert make().plot_spectrogram_attr(ax=above.subplots()) is figure
        assert make().plot_token_attr(ax=below.subplots()) is figure
        assert rendered(figure)


def test_small_axes_name_fewer_tokens():
    """Labels of ticks of 15 tokens would lie on each other in axes of less than an inch."""
    tokens = [f"t{n}" for n in range(15)]
    result = make(
        output_tokens=tokens,
        spectrogram_attr=torch.rand(15, 30, 80),
        token_attr=torch.rand(15, 15),
        previous_tokens=tokens,
    )
    figure = Figure(figsize=(2, 2))
    axes = figure.add_axes((0.3, 0.3, 0.4, 0.4))  # 0.8 inches
    result.plot_token_attr(ax=axes)
    for axis in (axes.xaxis, axes.yaxis):
        boxes = [label.get_window_extent() for label in axis.get_ticklabels()]
        assert 2 <= len(boxes) <= 5
        assert not any(one.overlaps(other) for one, other in pairwise(boxes))
    assert "is named" in axes.get_xlabel()


def test_letters_of_other_fonts_are_found_in_a_figure_of_the_user():
    """Such a figure does not look for them itself."""
    own = get_font(findfont(FontProperties(family=["DejaVu Sans"]))).get_charmap()
    serif = {entry.name: entry.fname for entry in fontManager.ttflist}["DejaVu Serif"]
    others = [chr(code) for code in get_font(serif).get_charmap() if code not in own]
    extra = next((letter for letter in others if letter.isprintable()), None)
    if extra is None:
        pytest.skip("no other font has more letters")
    figure = Figure()
    axes = figure.add_subplot()
    make(output_tokens=[extra, "b", "c"]).plot_spectrogram_attr(0, ax=axes)
    assert axes.get_title() == extra
    assert len(axes.title.get_fontfamily()) > 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rendered(figure)  # matplotlib would warn of a letter that is missing
