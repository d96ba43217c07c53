"""An explanation as files in a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from captum_spes.io.files import made_folder
from captum_spes.plotting.fonts import one_warning
from captum_spes.report.figures import FIGURE_FORMATS, figure_format_of, write_figure
from captum_spes.speech.result import SpeechToTextAttributionResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


EXPLANATION, PAGE = "explanation.npz", "explanation.html"
# What figures are called, and all that is written into a folder.
_FIGURES = ("contrast", "sentence", r"tokens(?:-\d+)?", "previous_tokens", "instruction")
_WRITTEN = re.compile(
    rf"explanation\.(?:npz|html)|(?:{'|'.join(_FIGURES)})\.(?:{'|'.join(FIGURE_FORMATS)})"
)


def write_explanation(
    result: SpeechToTextAttributionResult,
    folder: str | PathLike[str],
    *,
    html: bool = False,
    figure_format: str = "png",
) -> list[Path]:
    r"""
    Write an explanation and its figures into a folder, which is made if need be.

    Args:

        result (SpeechToTextAttributionResult): An explanation.
        folder (str or path): Where to write ``explanation.npz``, ``sentence.png``,
                    ``tokens.png`` (``tokens-1.png`` and so on where there are more
                    tokens than fit on a sheet) and, with attributions of previous tokens,
                    ``previous_tokens.png``. A contrast has ``contrast.png`` in the place of
                    ``sentence.png`` and ``tokens.png``.
        html (bool, optional): Whether to write ``explanation.html``, too, a page for any browser;
                    see ``SpeechToTextAttributionResult.save_html``.
                    Default: False
        figure_format (str, optional): "png", "pdf" or "svg", which the names of the figures end
                    with. PDF and SVG hold text as text.
                    Default: "png"

    Returns:
        *list[Path]*: the files, the explanation first.

    Raises:
        ArgumentError: ``figure_format`` is none of these.
        OSError: a file cannot be written.

    Examples::

        >>> [path.name for path in write_explanation(result, "out/speech")]
        ['explanation.npz', 'sentence.png', 'tokens.png', 'previous_tokens.png']
    """
    ending = figure_format_of(figure_format)
    target = made_folder(folder)
    # The explanation first: it took minutes, the figures can be drawn again from it.
    explanation = target / EXPLANATION
    result.save(explanation)
    written = [explanation]
    with one_warning():
        for name, figure in _figures(result):
            written.append(write_figure(target / f"{name}.{ending}", figure))
    if html:
        written.append(target / PAGE)
        result.save_html(written[-1])
    return written


def _figures(result: SpeechToTextAttributionResult) -> Iterator[tuple[str, Figure]]:
    """Drawn one by one, as each takes some memory."""
    if "contrast" in result.parameters:  # normalised maps would lose the sign
        yield "contrast", result.plot_contrast()
    else:
        yield "sentence", result.plot_spectrogram_attr(over_spectrogram=True)
        for sheet in range(result.n_sheets):
            name = "tokens" if result.n_sheets == 1 else f"tokens-{sheet + 1}"
            yield name, result.plot_spectrogram_attrs(sheet=sheet)
    if result.token_attr is not None:
        yield "previous_tokens", result.plot_token_attr()
    if result.instruction_attr is not None:
        yield "instruction", result.plot_instruction_attr()


def remove_explanations(folder: Path) -> None:
    """Remove what :func:`write_explanation` wrote into a folder and into folders in it, which are
    removed when they are empty; other files stay."""
    for path in sorted((*folder.glob("*"), *folder.glob("*/*")), reverse=True):
        if path.is_dir():
            with suppress(OSError):  # it holds something else
                path.rmdir()
        elif _WRITTEN.fullmatch(path.name):
            path.unlink()
