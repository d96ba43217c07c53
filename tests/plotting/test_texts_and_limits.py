"""What figures do with letters no font has, with text that could be markup, and with too much."""

import io
import warnings
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text

from captum_spes import plotting
from captum_spes.plotting import fonts
from captum_spes.plotting.figure import new_figure
from captum_spes.report import write_explanation
from tests.speech.test_result import make

# In no font: letters of Unicode's newest scripts, which Noto has not either, are private enough.
NOWHERE = "\U00012f90\U00012f91"
AXES = (torch.arange(30) * 0.01, torch.linspace(30.0, 7900.0, 80))


def drawn(figure):
    figure.savefig(io.BytesIO(), format="png", dpi=30)
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.fixture
def letter():
    """A letter that DejaVu Sans lacks and another font that comes with matplotlib has."""
    own = get_font(findfont(FontProperties(family=["DejaVu Sans"]))).get_charmap()
    for entry in fontManager.ttflist:
        if entry.name in ("DejaVu Serif", "DejaVu Sans Mono", "DejaVu Sans Display"):
            for code in get_font(entry.fname).get_charmap():
                if code not in own and chr(code).isprintable() and code > 0x20:
                    return chr(code), entry.name
    pytest.skip("no other font has more letters")


class TestLetters:
    def test_another_font_of_the_system_is_taken(self, letter):
        character, _ = letter
        figure = new_figure(3, 2)
        text = figure.text(0.1, 0.5, f"a{character}")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert f"a{character}" in drawn(figure)
        first, *others = text.get_fontfamily()
        assert others
        found = get_font(findfont(FontProperties(family=[others[-1]]))).get_charmap()
        assert ord(character) in found
        assert first == matplotlib.rcParams["font.family"][0]

    def test_what_no_font_has_is_an_escape_and_one_line_says_so(self):
        figure = new_figure(3, 2)
        axes = figure.add_subplot()
        axes.set_title(f"x{NOWHERE}")
        axes.set_xticks([0, 1], ["b", NOWHERE[0]])
        axes.plot([0, 1], [0, 1], label=NOWHERE[1])
        axes.legend()
        with pytest.warns(UserWarning, match="no font of this system has") as caught:
            texts = drawn(figure)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert {"x\\U00012f90\\U00012f91", "b", "\\U00012f90", "\\U00012f91"} <= set(texts)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            drawn(figure)  # again, and nothing is told twice

    def test_labels_stay_apart(self):
        tokens = [NOWHERE[0], NOWHERE[1]]
        figure = plotting.token_figure(torch.rand(2, 2), tokens, tokens, label="saliency")
        with pytest.warns(UserWarning, match="no font"):
            drawn(figure)
        labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert labels == ["\\U00012f90", "\\U00012f91"]

    def test_all_pictures_of_an_explanation_warn_once(self, tmp_path):
        result = make(
            output_tokens=[" " + NOWHERE[0], "b", NOWHERE[1]], text=f"{NOWHERE} b", words=[]
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            write_explanation(result, tmp_path)
        assert len(caught) == 1

    def test_boxes_are_no_letters(self):
        assert fonts._fallbacks(frozenset(NOWHERE)) == dict.fromkeys(NOWHERE)


ODD = [
    "$^$", "$", "\\", "\\frac{", "_", "a_b^c", "a\nb", "\x1b[31m", "\u202egpj", "\u2067x", "مرحبا",
    "x" * 500, "\ud800", "\udce9", "", " ", "\t", "&<>\"'", "%", "{}", "$x_1^$ $",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:no font of this system has")
@pytest.mark.parametrize("text", ODD, ids=ascii)
@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_text_is_data_in_every_figure(text, kind):
    maps = torch.rand(2, 30, 80)
    spoken = [plotting.SpokenWord(text, 0.05, 0.2, True)]
    curve = SimpleNamespace(name="deletion", metric="kl", x=(0, 100), y=(0.0, 1.0), auc=1.0)
    figures = [
        plotting.spectrogram_sheet(
            [plotting.MapPanel(maps[0], text, spoken), plotting.MapPanel(maps[1], "b", spoken)],
            *AXES,
            spectrogram=maps[0],
            columns=2,
        ),
        plotting.token_figure(torch.rand(2, 2), [text, "b"], ["a", text], label="saliency"),
        plotting.plot_curves({text: curve}, title=text),
    ]
    if kind == "png":  # how the other kinds write these texts is told by the figures above
        result = make(output_tokens=[text, "b", "c"], text=text, words=[])
        figures += [result.plot_spectrogram_attr(), result.plot_spectrogram_attr(0)]
    for figure in figures:
        content = io.BytesIO()
        figure.savefig(content, format=kind, dpi=20)
        width, height = figure.get_size_inches()
        assert width < 30
        assert height < 30
        if kind == "svg":
            from xml.etree import ElementTree

            ElementTree.fromstring(content.getvalue())


def many(n_tokens, frames=20):
    tokens = [" you"] * n_tokens
    return make(
        output_tokens=tokens,
        text="you you",
        previous_tokens=["<s>", *tokens[:-1]],
        spectrogram=torch.rand(frames, 80),
        spectrogram_attr=torch.rand(n_tokens, frames, 80),
        token_attr=torch.rand(n_tokens, n_tokens),
        removed=torch.zeros(frames, 80),
        feature_masks=torch.zeros(1, frames, 80, dtype=torch.int64),
        frame_times=torch.arange(frames) / 100,
        words=[],
        output_ids=[1] * n_tokens,
        previous_ids=[1] * n_tokens,
    )


class TestManyTokens:
    def test_several_sheets(self, tmp_path):
        written = write_explanation(many(90), tmp_path)
        assert [path.name for path in written] == [
            "explanation.npz", "sentence.png", "tokens-1.png", "tokens-2.png", "tokens-3.png",
            "previous_tokens.png",
        ]  # fmt: skip

    def test_each_sheet_says_what_it_holds_and_draws_it(self):
        result = many(90)
        assert result.n_sheets == 3
        last = result.plot_spectrogram_attrs(sheet=2)
        assert "tokens 81 to 90 of 90" in drawn(last)
        maps = [axes for axes in last.axes if len(axes.images) == 2]
        assert len(maps) == 10
        whole = result.normalized().spectrogram_attr
        assert np.allclose(maps[9].images[1].get_array(), whole[89].T)
        with pytest.raises(ValueError, match="sheet must be below 3"):
            result.plot_spectrogram_attrs(sheet=3)
        with pytest.raises(ValueError, match="columns must be"):
            result.plot_spectrogram_attrs(columns=0)

    @pytest.mark.parametrize("n_tokens", [61, 440])
    def test_the_matrix_keeps_its_size_and_draws_every_token(self, n_tokens):
        result = many(n_tokens, frames=4)
        figure = result.plot_token_attr()
        assert max(figure.get_size_inches()) < 25
        axes = figure.axes[0]
        assert axes.images[0].get_array().shape == (n_tokens, n_tokens)
        assert np.allclose(axes.images[0].get_array(), result.normalized().token_attr)
        labels = [label.get_text() for label in axes.get_yticklabels()]
        assert len(labels) <= 60
        assert labels[1].endswith(": ␣you")
        place = int(labels[1].partition(":")[0])
        assert axes.get_yticks()[1] == place - 1
        assert f"of {n_tokens} is named" in axes.get_ylabel()


class TestManyOfOthers:
    def test_curves(self):
        curve = SimpleNamespace(name="deletion", metric="kl", x=(0, 100), y=(0.0, 1.0), auc=1.0)
        figure = plotting.plot_curves({f"m{n}": curve for n in range(200)})
        assert len(figure.axes[0].get_lines()) == 30
        assert "the first 30 of 200 curves" in figure.axes[0].get_title()

    def test_units(self):
        band = SimpleNamespace(name="all", low=0, high=8000)
        units = [f"w{n}" for n in range(100)]
        table = pd.DataFrame({"unit": units, "all": np.linspace(0, 1, 100)})
        figure = plotting.plot_profiles(SimpleNamespace(table=table, bands=(band,)), units)
        assert "the first 10 of 100 units" in figure.axes[0].get_title()

    def test_conditions(self):
        from tests.plotting.test_figures import condition

        found = [condition(method=f"lime@{n}") for n in range(1, 1001)]
        figure = plotting.agreement_figure(found, "speaker", acceptable=0.6)
        assert max(figure.get_size_inches()) < 80
        assert "the first 300 of 1000 conditions" in [t.get_text() for t in figure.findobj(Text)]
        found = [condition(reported=f"{n}ms") for n in range(1, 101)]
        figure = plotting.cost_figure(found, "speaker")
        assert "the first 8 of 100 inputs and units" in figure.axes[0].get_xlabel()


@pytest.mark.filterwarnings("ignore:no font")
def test_figures_need_no_latex(monkeypatch, tmp_path):
    """Where a style asks for LaTeX, texts of users would be its code, and it may be missing."""
    monkeypatch.setitem(matplotlib.rcParams, "text.usetex", True)
    figure = make().plot_spectrogram_attr()
    assert drawn(figure)
    assert not any(text.get_usetex() for text in figure.findobj(Text))
    assert write_explanation(make(), tmp_path)
    assert matplotlib.rcParams["text.usetex"] is True
