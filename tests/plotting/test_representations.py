"""Figures of layers: what they show is what the tables hold."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.plotting import plot_layer_similarity, plot_probe

LAYERS = ["spectrogram", "1", "2"]


def probe():
    return SimpleNamespace(
        table=pd.DataFrame(
            {
                "layer": LAYERS,
                "accuracy": [0.3, 0.6, 0.5],
                "low": [0.2, 0.5, 0.4],
                "high": [0.4, 0.8, 0.7],
                "control": [0.1, 0.2, 0.3],
                "shuffled": [0.11, 0.09, 0.1],
                "chance": [0.1] * 3,
            }
        )
    )


def similarity(n=3):
    names = LAYERS if n == 3 else [f"layer {number}" for number in range(n)]
    values = np.arange(n * n).reshape(n, n) / (n * n)
    return pd.DataFrame(values, index=names, columns=names)


def test_probe():
    figure = plot_probe(probe())
    [axes] = figure.axes
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    table = probe().table
    assert list(lines["phones"]) == table["accuracy"].tolist()
    assert list(lines["control task: words by heart"]) == table["control"].tolist()
    assert list(lines["shuffled labels"]) == table["shuffled"].tolist()
    assert set(lines["chance"]) == {0.1}
    assert [text.get_text() for text in axes.get_xticklabels()] == LAYERS
    [band] = axes.collections
    corners = band.get_paths()[0].vertices
    assert (1.0, 0.5) in map(tuple, corners)
    assert (1.0, 0.8) in map(tuple, corners)


def test_similarity():
    figure = plot_layer_similarity(similarity())
    axes, bar = figure.axes
    assert bar.get_ylabel() == "CKA"
    assert axes.images[0].get_clim() == (0, 1)
    assert [text.get_text() for text in axes.texts] == [
        f"{value:.2f}" for value in similarity().to_numpy().ravel()
    ]
    assert [text.get_text() for text in axes.get_yticklabels()] == LAYERS


def test_many_layers_have_no_numbers():
    figure = plot_layer_similarity(similarity(48))
    axes = figure.axes[0]
    assert not axes.texts
    assert len(axes.get_xticklabels()) == 24
    figure.canvas.draw()


DRAWN = [
    lambda ax: plot_probe(probe(), ax=ax),
    lambda ax: plot_layer_similarity(similarity(), ax=ax),
]


@pytest.mark.parametrize("draw", DRAWN)
def test_own_axes(draw):
    figure = Figure(layout="constrained")
    first, second = figure.subplots(1, 2)
    assert draw(second) is figure
    assert not first.lines
    assert not first.images
    assert second.get_xlabel() == "layer"
    figure.canvas.draw()


def test_errors():
    with pytest.raises(ArgumentTypeError, match="phone_probe"):
        plot_probe(3)
    with pytest.raises(ArgumentTypeError, match="table of layers"):
        plot_layer_similarity([[1.0]])
    with pytest.raises(ArgumentError, match="no layers"):
        plot_layer_similarity(similarity().iloc[:0, :0])
