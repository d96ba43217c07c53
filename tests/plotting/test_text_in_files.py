"""Text in PDF and SVG is text: it is found, copied and edited, and journals take it."""

import io
import re
from xml.etree import ElementTree

import matplotlib
import matplotlib.pyplot as plt
import pytest
from matplotlib import rcParams
from packaging.version import Version

from captum_spes import Word
from captum_spes.errors import ArgumentError
from captum_spes.plotting import NotebookFigure
from captum_spes.report import write_explanation
from tests.speech.test_result import make

# The sentence of `make` has letters that few systems have a font for.
pytestmark = pytest.mark.filterwarnings("ignore:no font of this system")
WORDS = [Word("Straße", (0,), 0.02, 0.12), Word("мир", (1,), 0.15, 0.28)]


def content_of(figure, kind):
    content = io.BytesIO()
    # Uncompressed, so that fonts can be read off.
    with matplotlib.rc_context({"pdf.compression": 0}):
        figure.savefig(content, format=kind)
    return content.getvalue()


def picture():
    result = make(words=WORDS, text="Straße мир")
    return result.plot_spectrogram_attr(title="Straße мир سلام")


def letters_of_pdf(content):
    """What the tables that map glyphs to characters name."""
    ranges = re.findall(rb"<[0-9a-f]{4}> <[0-9a-f]{4}> \[([^\]]*)\]", content)
    codes = re.findall(rb"[0-9a-f]{4}", b" ".join(ranges))
    return {chr(int(code, 16)) for code in codes}


def test_pdf_has_fonts_of_type_42():
    content = content_of(picture(), "pdf")
    assert b"/CIDFontType2" in content
    assert b"/Type3" not in content
    assert {letter for word in WORDS for letter in word.word} <= letters_of_pdf(content)


def test_svg_has_texts():
    """Those of title, axes and spoken words, each whole."""
    root = ElementTree.fromstring(content_of(picture(), "svg"))
    texts = {"".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"Straße мир سلام", "time (s)", "Straße", "мир"} <= texts


@pytest.mark.skipif(
    Version(matplotlib.__version__) < Version("3.10"),
    reason="matplotlib before 3.10 writes letters that are not Latin as Type 3 in PostScript",
)
def test_postscript_has_no_fonts_of_type_3():
    assert b"/FontType 3" not in content_of(picture(), "ps")


@pytest.mark.parametrize("kind", ["pdf", "svg"])
def test_settings_of_the_user_stay_as_they_are(kind, tmp_path):
    before = dict(rcParams)
    picture().savefig(tmp_path / f"a.{kind}")
    assert dict(rcParams) == before
    assert rcParams["pdf.fonttype"] == 3  # matplotlib's own, which papers do not want


def test_a_figure_of_the_user_can_be_such_a_one():
    figure = plt.figure(FigureClass=NotebookFigure)
    make().plot_spectrogram_attr(ax=figure.add_subplot())
    content = content_of(figure, "pdf")
    plt.close(figure)
    assert b"/Type3" not in content


class TestExplanations:
    @pytest.mark.parametrize(
        ("kind", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")]
    )
    def test_figures_have_the_format_asked_for(self, kind, start, tmp_path):
        written = write_explanation(make(words=WORDS), tmp_path, figure_format=kind)
        names = ["sentence", "tokens", "previous_tokens"]
        assert [path.name for path in written[1:]] == [f"{name}.{kind}" for name in names]
        assert all(path.read_bytes().startswith(start) for path in written[1:])
        assert {path.name for path in tmp_path.iterdir()} == {path.name for path in written}

    @pytest.mark.parametrize("kind", ["jpg", "PDF", "", None, 5])
    def test_others_are_refused_before_anything_is_written(self, kind, tmp_path):
        with pytest.raises(ArgumentError, match="figure_format must be 'png', 'pdf' or 'svg', got"):
            write_explanation(make(), tmp_path / "out", figure_format=kind)
        assert not (tmp_path / "out").exists()
