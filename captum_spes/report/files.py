"""An explanation as files in a folder."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from captum_spes.report.figures import write_figure
from captum_spes.speech.result import SpeechToTextAttributionResult


def write_explanation(
    result: SpeechToTextAttributionResult, folder: str | PathLike[str]
) -> list[Path]:
    r"""
    Write an explanation and its figures into a folder, which is made if need be.

    Args:

        result (SpeechToTextAttributionResult): An explanation.
        folder (str or path): Where to write ``explanation.npz``, ``sentence.png``,
                    ``tokens.png`` and, with attributions of previous tokens,
                    ``previous_tokens.png``.

    Returns:
        *list[Path]*: the files, the explanation first.

    Raises:
        OSError: a file cannot be written.

    Examples::

        >>> [path.name for path in write_explanation(result, "out/speech")]
        ['explanation.npz', 'sentence.png', 'tokens.png', 'previous_tokens.png']
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    # The explanation first: it took minutes, the figures can be drawn again from it.
    explanation = target / "explanation.npz"
    result.save(explanation)
    figures = {
        "sentence.png": result.plot_spectrogram_attr(over_spectrogram=True),
        "tokens.png": result.plot_spectrogram_attrs(),
    }
    if result.token_attr is not None:
        figures["previous_tokens.png"] = result.plot_token_attr()
    return [
        explanation,
        *(write_figure(target / name, figure) for name, figure in figures.items()),
    ]
