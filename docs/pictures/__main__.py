"""Make the pictures of the documentation that are missing, or those that are named.

    python docs/pictures                # what is missing
    python docs/pictures captum_page house   # these anew

Pictures lie in docs/images, pages of ``save_html`` in docs/pages. Pictures of results that take a
large model (kinds_of_models, error_*) are made by the scripts of benchmarks that measured them.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]
IMAGES = DOCS / "images"
# For each script of this folder: what it writes, below docs.
MADE = {
    "house": ["images/house.svg"],
    "captum_page": [
        "images/captum_pictures.png",
        "images/captum_metrics.png",
        "images/captum_noise_tunnel.png",
        "images/captum_llm.png",
    ],
    "contrast": ["images/contrast.png"],
    "pages": [
        "pages/01_explain_a_transcription.html",
        "pages/02_does_it_make_sense.html",
        "pages/03_reliability_across_seeds.html",
        "pages/04_a_translation_that_reorders.html",
        "pages/05_why_this_and_not_that.html",
        "pages/06_which_words_did_it_hear.html",
    ],
    "page": ["images/page.png"],  # of a page, so it comes after them
}


def make_missing() -> None:
    """Run every script of whose files one is not there."""
    for name, files in MADE.items():
        if not all((DOCS / file).exists() for file in files):
            make(name)


def make(name: str) -> None:
    """Run one script."""
    print(f"making {', '.join(MADE[name])}", flush=True)
    IMAGES.mkdir(exist_ok=True)
    importlib.import_module(f"pictures.{name}").main()


if __name__ == "__main__":
    sys.path[:0] = [str(DOCS), str(DOCS.parent)]
    unknown = [name for name in sys.argv[1:] if name not in MADE]
    if unknown:
        sys.exit(f"there is no picture {unknown[0]!r}: choose of {', '.join(MADE)}")
    for chosen in sys.argv[1:]:
        make(chosen)
    if not sys.argv[1:]:
        make_missing()
