"""Contrasts: signed values around what has no part in the choice, two colours, both words named."""

import io

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, Saliency
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from captum_spes import (
    SPES,
    Settings,
    SpeechToTextAttribution,
    SpeechToTextAttributionResult,
    Word,
)
from captum_spes.attr import MaskedDifference, MaskedMean
from captum_spes.errors import ArgumentError
from captum_spes.forward import Contrast
from captum_spes.plotting import MapPanel, contrast_figure, contrast_token_figure
from captum_spes.report import explanation_text, write_explanation
from tests.speech.test_result import make

ORANGE, BLUE = "#d55e00", "#0072b2"
AXES = (torch.arange(30) * 0.01, torch.linspace(30.0, 7900.0, 80))
NAMES = ("drawer", "door")
QUICK = {"n_samples": 60, "n_token_samples": 30, "patches_per_second": 40, "seed": 0}


def planted():
    """Frames 5 to 8 for the word, 20 to 22 for the foil."""
    values = torch.zeros(30, 80)
    values[5:9, 40:60], values[20:23, 10:20] = 0.3, -0.1
    return values


def contrast_result(values=None, **changes):
    """A result of SPES: planted effects, shifted as its means are."""
    settings = changes.pop("settings", Settings(n_samples=5, patches_per_second=40))
    shift = 0.2 if isinstance(settings.estimator, type(Settings().estimator)) else 0.0
    fields = {
        "output_tokens": ["drawer / door"],
        "spectrogram_attr": (planted() if values is None else values)[None] + shift,
        "token_attr": torch.tensor([[0.3, 0.5, 0.3, 0.1]]),
        "words": [Word("drawer", (0,))],
        "output_ids": [5, 6, 7],
        "text": "a drawer",
        "probabilities": torch.tensor([0.8]),
        "ranks": torch.tensor([1]),
        "runners_up": ["door"],
        "settings": settings,
    }
    parameters = {
        "n_samples": 5,
        "patches_per_level": [480],
        "contrast": {
            "word": "drawer", "foil": "door", "score": "parity_ratio",
            "probability": 0.8, "foil_probability": 0.02,
        },
    }  # fmt: skip
    return make(**{**fields, "parameters": parameters, **changes})


def texts(figure):
    figure.savefig(io.BytesIO(), format="png", dpi=30)
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def map_of(figure):
    """The image on top, of the first axes."""
    return figure.axes[0].get_images()[-1]


class TestSignedValues:
    def test_what_all_patches_owe_to_each_other_is_taken_off(self):
        maps = contrast_result().contrast_attr()
        level = (planted().mean() + 0.2) * 240 / 240.5  # 480 patches, half of them removed
        assert torch.allclose(maps.spectrogram_attr, planted() + 0.2 - level, atol=1e-5)
        # Four tokens, removed with probability 0.4: effects d whose scores are 0.6 d + 0.4 sum(d).
        effects = torch.tensor([[1.0, 0.5, 0.0, -0.25]])
        row = 0.6 * effects + 0.4 * effects.sum()
        found = contrast_result(token_attr=row).contrast_attr().token_attr
        assert torch.allclose(found, 0.6 * effects[0], atol=1e-6)

    def test_what_has_a_zero_keeps_it(self):
        difference = Settings(n_samples=5, estimator=MaskedDifference())
        for result in (
            contrast_result(settings=difference),
            contrast_result(planted() - 0.2, method="Integrated Gradients"),
        ):
            assert torch.allclose(result.contrast_attr().spectrogram_attr, planted())

    def test_with_one_mask_for_both_sides_they_share_their_average(self):
        result = contrast_result(settings=Settings(n_samples=5, perturb_jointly=True))
        spectrogram, tokens, _ = result.contrast_attr()
        level = (result.spectrogram_attr[0] - spectrogram)[0, 0]
        assert torch.allclose(tokens, result.token_attr[0] - level)

    def test_cells_that_were_never_removed_are_neutral(self):
        masks = torch.arange(2400).reshape(1, 30, 80) // 5
        masks[:, 25:] = -1
        values = planted()
        values[25:] = -0.2  # SPES gives them 0
        found = contrast_result(values, feature_masks=masks).contrast_attr().spectrogram_attr
        assert not found[25:].any()
        assert abs(float(found[0, 0])) < 0.02

    def test_an_average_close_to_that_of_the_samples(self, tiny_whisper, audio):
        """Of a real run: samples that removed a patch against those that kept it, which needs no
        average, have the same zero and, at one half, twice the values."""
        model, processor = tiny_whisper
        asked = {**QUICK, "n_samples": 1500, "n_token_samples": 0, "perturbations_per_eval": 16}
        mean, difference = (
            SpeechToTextAttribution(SPES(model, estimator=estimator), processor)
            .attribute(audio, target="the cat", contrast=Contrast("cat", "the"), **asked)
            .contrast_attr()
            .spectrogram_attr
            for estimator in (MaskedMean(), MaskedDifference())
        )
        spread = float(difference.std())
        assert abs(float((2 * mean - difference).mean())) < 0.1 * spread
        assert (mean.sign() == difference.sign()).float().mean() > 0.9

    def test_no_contrast(self):
        for call in ("contrast_attr", "plot_contrast"):
            with pytest.raises(ArgumentError, match="no contrast: explain with contrast=Contrast"):
                getattr(make(), call)()


class TestMap:
    def test_colours_are_centred_and_the_word_is_orange(self):
        image = map_of(
            contrast_figure(MapPanel(planted(), ""), *AXES, NAMES, spectrogram=None, label="")
        )
        assert image.norm.vmin == pytest.approx(-image.norm.vmax)
        assert image.norm(0.0) == pytest.approx(0.5)
        assert image.cmap(1.0)[:3] == pytest.approx(to_rgb(ORANGE))
        assert image.cmap(0.0)[:3] == pytest.approx(to_rgb(BLUE))
        assert min(image.cmap(0.5)[:3]) > 0.9
        # Time to the right, frequencies upwards.
        assert np.array_equal(image.get_array(), planted().T)
        assert image.origin == "lower"

    def test_over_the_spectrogram_what_hardly_matters_is_not_coloured(self):
        values = planted() + 1e-4 * torch.randn(30, 80, generator=torch.Generator().manual_seed(0))
        figure = contrast_figure(
            MapPanel(values, ""), *AXES, NAMES, spectrogram=planted(), label=""
        )
        below, above = figure.axes[0].get_images()
        opacity = above.get_alpha()
        assert opacity[50, 6] > 0.9
        assert opacity[15, 21] > 0.3
        assert np.median(opacity) == 0
        assert below.get_cmap().name == "gray_r"
        assert below.get_array().max() < 0.7

    def test_a_map_of_zeros_is_drawn(self):
        zeros = torch.zeros(30, 80)
        figure = contrast_figure(MapPanel(zeros, ""), *AXES, NAMES, spectrogram=zeros, label="")
        assert "for drawer" in texts(figure)

    def test_names_title_and_axes(self):
        figure = contrast_result().plot_contrast()
        found = texts(figure)
        assert 'Why "drawer" and not "door"?' in found
        assert {"time (s)", "frequency (Hz)", "parity ratio (0: average)"} <= set(found)
        bar = figure.axes[1]
        assert (bar.get_title(), bar.get_xlabel()) == ("for drawer", "for door")
        assert "mine" in texts(contrast_result().plot_contrast(title="mine"))
        alone = contrast_result().plot_contrast(over_spectrogram=False)
        assert len(alone.axes[0].get_images()) == 1
        with pytest.raises(TypeError, match="over_spectrogram"):
            contrast_result().plot_contrast(over_spectrogram=2)
        with pytest.raises(TypeError, match="title"):
            contrast_result().plot_contrast(title=2)

    def test_values_are_those_of_contrast_attr(self):
        result = contrast_result()
        drawn = map_of(result.plot_contrast()).get_array()
        assert np.allclose(drawn, result.contrast_attr().spectrogram_attr.T)


class TestTokens:
    def test_bars_up_for_the_word_and_down_for_the_foil(self):
        figure = contrast_token_figure(
            torch.tensor([0.2, -0.1]), ["a", "b"], NAMES, title="why", label="score"
        )
        (axes,) = figure.axes
        bars = axes.patches
        assert [bar.get_height() for bar in bars] == pytest.approx([0.2, -0.1])
        assert [bar.get_facecolor()[:3] for bar in bars] == [to_rgb(ORANGE), to_rgb(BLUE)]
        low, high = axes.get_ylim()
        assert low == pytest.approx(-high)
        assert {"for drawer", "for door", "a", "b"} <= set(texts(figure))

    def test_the_token_picture_of_a_contrast(self):
        result = contrast_result()
        values = result.contrast_attr().token_attr
        assert float(values.min()) < 0 < float(values.max())
        for by in ("tokens", "words"):
            bars = result.plot_token_attr(by=by).axes[0].patches
            assert [bar.get_height() for bar in bars] == pytest.approx(values.tolist())

    def test_the_instruction_of_a_contrast(self):
        result = contrast_result(
            instruction_tokens=["to", "German"], instruction_attr=torch.tensor([[0.3, 0.1]])
        )
        figure = result.plot_instruction_attr()
        heights = [bar.get_height() for bar in figure.axes[0].patches]
        assert heights == pytest.approx(result.contrast_attr().instruction_attr.tolist())
        assert "instruction" in texts(figure)


class TestFiles:
    def test_a_contrast_instead_of_tokens(self, tmp_path):
        names = [path.name for path in write_explanation(contrast_result(), tmp_path)]
        assert names == ["explanation.npz", "contrast.png", "previous_tokens.png"]
        assert all((tmp_path / name).stat().st_size for name in names)

    def test_saved_and_loaded_it_is_the_same(self, tmp_path, tiny_whisper, audio):
        """Also of a word of several tokens, of which there are three ids and one probability."""
        model, processor = tiny_whisper
        result = SpeechToTextAttribution(SPES(model), processor).attribute(
            audio, target="the cat", contrast=Contrast("cat", "dog"), **QUICK
        )
        assert len(result.output_ids) > 1
        path = tmp_path / "contrast.npz"
        result.save(path)
        loaded = SpeechToTextAttributionResult.load(path)
        assert loaded.parameters == result.parameters
        assert explanation_text(loaded) == explanation_text(result)
        for draw in ("plot_contrast", "plot_token_attr"):
            pictures = [getattr(own, draw)()._repr_png_() for own in (result, loaded)]
            assert pictures[0] == pictures[1]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"foil": 3}, "foil must be a text"),
            ({"probability": 1.5}, "probability must be in"),
            ({"foil_probability": float("nan")}, "foil_probability must be in"),
            ({"score": None}, "score must be a text"),
        ],
    )
    def test_damaged_contrasts(self, tmp_path, change, message):
        result = contrast_result()
        result.parameters["contrast"].update(change)
        result.save(tmp_path / "damaged.npz")
        with pytest.raises(ArgumentError, match=message):
            SpeechToTextAttributionResult.load(tmp_path / "damaged.npz")


class TestGradients:
    def test_signs(self, tiny_whisper, audio):
        model, processor = tiny_whisper
        asked = {"target": "the cat", "contrast": Contrast("cat", "dog"), "n_token_samples": 0}
        explainer = SpeechToTextAttribution(IntegratedGradients(model), processor)
        result = explainer.attribute(audio, seed=0, **asked)
        assert torch.equal(result.contrast_attr().spectrogram_attr, result.spectrogram_attr[0])
        assert "log ratio" in texts(result.plot_contrast())

    def test_magnitudes_are_told(self, tiny_whisper, audio):
        model, processor = tiny_whisper
        asked = {"target": "the cat", "contrast": Contrast("cat", "dog"), "n_token_samples": 0}
        explainer = SpeechToTextAttribution(Saliency(model), processor)
        with pytest.warns(UserWarning, match="magnitudes without a sign"):
            explainer.attribute(audio, seed=0, **asked).plot_contrast()
        signed = {"spectrogram": {"abs": False}}
        result = explainer.attribute(audio, seed=0, method_args=signed, **asked)
        assert float(result.contrast_attr().spectrogram_attr.min()) < 0
