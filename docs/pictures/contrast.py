"""Make the picture of a contrast in the guide, with the times of the sounds of the word.

Run it from the root of the repository: ``python docs/pictures contrast``. It takes less than
a minute.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.demo import load_demo
from captum_spes.forward import Contrast

matplotlib.use("Agg")
SOUNDS = {"O@": "o"}  # eSpeak's names, and what is written


def main() -> None:
    """Write the picture."""
    model, processor, (example, *_) = load_demo()
    contrast = SpeechToTextAttribution(SPES(model), processor).attribute(
        example.path,
        contrast=Contrast("drawer", "door"),
        scheme="efficient",
        n_samples=1000,
        n_token_samples=0,
        perturbations_per_eval=16,
        seed=0,
    )
    figure = contrast.plot_contrast()
    axes = figure.axes[0]
    axes.set_xlim(2.4, 3.15)
    word = example.words[-1]
    for sound in example.phones:
        if sound.start >= word.start:
            for time in (sound.start, sound.end):
                axes.axvline(time, color="black", linestyle=":", linewidth=0.8)
            middle, name = (sound.start + sound.end) / 2, SOUNDS.get(sound.label, sound.label)
            axes.text(middle, 77, name, ha="center", va="top")
    figure.savefig(Path(__file__).resolve().parents[1] / "images" / "contrast.png", dpi=90)


if __name__ == "__main__":
    main()
