"""The figure of maps while a model is taken apart."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.plotting import plot_stages


def found(values=(1.0, 0.4, 0.0), order="cascading", stages=("intact", "b", "a")):
    chances = {"spearman": 0.0, "overlap": 0.2, "ssim": float("nan")}
    return SimpleNamespace(
        order=order, stages=stages, chances=chances, means=lambda measure: np.array(values)
    )


def test_each_method_has_a_line_and_chance_one():
    axes = plot_stages({"SPES": found(), "$energy$": found((1, 1, 1))}, "overlap").axes[0]
    assert [line.get_label() for line in axes.lines] == ["SPES", "$energy$", "chance"]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1.0, 0.4, 0.0])
    assert axes.lines[2].get_ydata()[0] == 0.2
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["intact", "b", "a"]
    assert "output down" in axes.get_title()


def test_ssim_has_no_chance_level_and_axes_can_be_given():
    axes = Figure().add_subplot()
    assert plot_stages({"a": found(order="independent")}, "ssim", ax=axes) is axes.figure
    assert len(axes.lines) == 1
    assert "alone" in axes.get_title()


def test_bad_arguments():
    with pytest.raises(ArgumentError, match="nothing to draw"):
        plot_stages({})
    with pytest.raises(ArgumentError, match="measure"):
        plot_stages({"a": found()}, "cosine")
    with pytest.raises(ArgumentError, match="same stages"):
        plot_stages({"a": found(), "b": found(stages=("intact", "a", "b"))})
    with pytest.raises(ArgumentTypeError, match="RandomizedWeights"):
        plot_stages({"a": 3})
