"""How an explanation shows itself in a notebook."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from captum_spes.pages import ShownUnit, notebook_html
from captum_spes.speech.noise import is_mostly_noise
from captum_spes.speech.page import model_name
from captum_spes.speech.page_maps import units_of

if TYPE_CHECKING:
    from captum_spes.speech.result import SpeechToTextAttributionResult

# Of the colour of a word that rests on the audio alone.
_MOST_OPACITY = 0.75
_DPI = 80


def notebook_of(result: SpeechToTextAttributionResult) -> str:
    """The transcript, in which words are coloured by how much they rest on the audio, above the map
    of the sentence, or of the contrast."""
    is_contrast = "contrast" in result.parameters
    figure = (
        result.plot_contrast()
        if is_contrast
        else result.plot_spectrogram_attr(over_spectrogram=True)
    )
    about = "the contrast" if is_contrast else "the sentence"
    seconds = f"{result.seconds:.1f} s of speech"
    units = [_shown(unit) for unit in units_of(result)]
    lines = [f"{result.method}, {model_name(result)}, {seconds}, seed {result.seed}"]
    if any(unit.is_noise for unit in units):
        lines.append("Faint words: their maps are mostly noise; take more samples.")
    alt = f"Map of {about} over {seconds}"
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=_DPI)
    return notebook_html(units, picture.getvalue(), alt, lines)


def _shown(unit: dict[str, Any]) -> ShownUnit:
    reliability, share = unit["reliability"], unit["share"]
    told = []
    if unit["start"] is not None:
        verb = "spoken" if unit["isSpoken"] else "strongest"
        told.append(f"{verb} from {unit['start']:.2f} to {unit['end']:.2f} s")
    if unit["probability"] is not None:
        told.append(f"probability {unit['probability']:.2f}")
    if share is not None:
        told.append(f"{share:.0%} on the audio")
    if reliability is not None:
        told.append(f"{1 - reliability:.0%} of its map is sampling noise")
    colour = None if share is None else round(_MOST_OPACITY * share, 3)
    return ShownUnit(unit["text"].strip(), ", ".join(told), colour, is_mostly_noise(reliability))
