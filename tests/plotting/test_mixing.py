"""Small multiples of layers: each panel shows the shares of its layer and measure."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from captum_spes.analysis import ContextMixing
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.plotting import plot_context_mixing


def mixing(layers=2, part="cross"):
    generator = torch.Generator().manual_seed(0)
    scores, attention, norms = torch.rand(3, layers, 3, 4, generator=generator)
    is_time = part != "decoder"
    readable = torch.ones(3, 4, dtype=torch.bool) if is_time else torch.ones(3, 4).tril() > 0
    return ContextMixing(
        part, scores, attention, norms, (" the", " cat", "$a$ $b$"), ("w", "x", "y", "z"), readable,
        torch.arange(8) // 2 if is_time else None, torch.arange(8) / 100,
    )  # fmt: skip


def test_each_panel_is_a_layer_and_a_measure():
    found = mixing()
    figure = plot_context_mixing(found, ["attention", "zeroing", "norms"])
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 6
    for number, axes in enumerate(figure.axes):
        layer, measure = number // 3, ["attention", "zeroing", "norms"][number % 3]
        expected = found.time_map(measure, layer)
        assert np.array_equal(axes.images[0].get_array(), expected)
        assert axes.get_title().startswith(f"layer {layer + 1}: ")
        assert axes.get_title().endswith(f"up to {expected.max():.2f}")
        assert axes.images[0].get_extent() == pytest.approx([-0.005, 0.075, 2.5, -0.5])
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == ["the", "cat", "$a$ $b$"]
    figure.canvas.draw()  # two dollar signs make no formula


def test_tokens_by_tokens():
    found = mixing(part="decoder")
    figure = plot_context_mixing(found, ["zeroing"])
    shown = figure.axes[1].images[0].get_array()
    assert np.array_equal(np.ma.filled(shown, np.nan), found.token_map(layer=1), equal_nan=True)
    assert [text.get_text() for text in figure.axes[1].get_xticklabels()] == ["w", "x", "y", "z"]


def test_many_layers_and_axes_of_the_user():
    figure = plot_context_mixing(mixing(14))
    assert len(figure.axes) == 24
    assert figure.get_suptitle() == "the first 12 of 14 layers"
    own = Figure()
    axes = own.subplots(2, 2)
    assert plot_context_mixing(mixing(), ax=axes) is own
    assert all(one.images for one in axes.flat)
    assert all(one.get_yticklabels()[1].get_text() == "cat" for one in axes.flat)


def test_errors():
    with pytest.raises(ArgumentTypeError, match="context_mixing returns"):
        plot_context_mixing(3)
    for measures in ([], ["weights"]):
        with pytest.raises(ArgumentError, match="measures must be of"):
            plot_context_mixing(mixing(), measures)
    with pytest.raises(ArgumentError, match="one for each panel"):
        plot_context_mixing(mixing(), ax=[Figure().subplots()])
