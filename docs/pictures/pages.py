"""Make the pages of docs/pages, one for each tutorial's example.

Run it from the root of the repository: ``python docs/pictures pages``, or, for some tutorials,
``python docs/pictures/pages.py 04 05``. That of the first shows Whisper, and needs
CAPTUM_SPES_MODEL and CAPTUM_SPES_AUDIO, a Whisper and a recording. All take a few minutes on two
cores.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from captum.attr import IntegratedGradients, Saliency

from captum_spes import SPES, SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.demo import load_demo
from captum_spes.forward import Contrast
from captum_spes.metrics import sound_faithfulness
from captum_spes.speech.models import load_model

DOCS = Path(__file__).resolve().parents[1]
PAGES = DOCS / "pages"
EFFICIENT = {"scheme": "efficient", "n_samples": 500, "n_token_samples": 300, "seed": 0}


def explain_a_transcription():
    """SPES beside a gradient method, on Whisper."""
    model, processor = load_model(os.environ["CAPTUM_SPES_MODEL"])
    audio = os.environ["CAPTUM_SPES_AUDIO"]
    explainer = SpeechToTextAttribution(SPES(model), processor)
    result = explainer.attribute(audio, **EFFICIENT)
    heard = sound_faithfulness(explainer, result)
    gradients = SpeechToTextAttribution(Saliency(model), processor).attribute(
        audio, target=result.output_ids, n_token_samples=0, seed=0
    )
    return [heard.added_to(result), gradients], {"names": ["SPES", "Saliency"]}


def does_it_make_sense():
    """The first half of a recording, with the text of the whole: some words cannot be heard."""
    explainer, example = _demo("test-00205")
    half = example.audio[: len(example.audio) // 2]
    result = explainer.attribute(half, target=example.text, score="probability", **EFFICIENT)
    title = f"The recording ends after {example.seconds / 2:.1f} s; the text goes on"
    return [result], {"audio": half, "sampling_rate": 16_000, "title": title}


def reliability_across_seeds():
    """One recording with two seeds, of few samples and of many."""
    explainer, example = _demo("test-00205")
    few, many = ({**EFFICIENT, "n_samples": n} for n in (60, 1000))
    results = [
        explainer.attribute(example.path, **{**own, "seed": seed})
        for own in (few, many)
        for seed in (0, 1)
    ]
    names = [f"{n} samples, seed {seed}" for n in (60, 1000) for seed in (0, 1)]
    return results, {"names": names, "title": "What changes with the seed, and with more samples"}


def a_translation_that_reorders():
    """A sentence in German, which puts its verbs elsewhere."""
    explainer, example = _demo("test-00121")
    result = explainer.attribute(
        example.path, gen_args={"target_language": "de"}, **{**EFFICIENT, "n_samples": 1000}
    )
    return [result], {"title": f"“{example.text}” in German"}


def why_this_and_not_that():
    """A word and its foil, by two methods."""
    explainer, example = _demo("test-00205")
    contrast = Contrast("drawer", "door")
    result = explainer.attribute(
        example.path, contrast=contrast, **{**EFFICIENT, "n_samples": 1000}
    )
    model, processor, _ = load_demo()
    integrated = SpeechToTextAttribution(IntegratedGradients(model), processor)
    other = integrated.attribute(example.path, contrast=contrast, n_token_samples=0, seed=0)
    return [result, other], {"names": ["SPES", "Integrated Gradients"]}


def which_words_did_it_hear():
    """A text with a word that nobody said, and what a check says of it."""
    explainer, _ = _demo("test-00205")
    example = load_demo()[2][7]
    wrong = example.text.replace("five", "lawyer")
    result = explainer.attribute(example.path, target=wrong, **EFFICIENT)
    checked = explainer.check(example.path, target=wrong)
    return [result], {"checked": checked, "title": "“lawyer” was never said"}


def _demo(name):
    model, processor, examples = load_demo()
    explainer = SpeechToTextAttribution(SPES(model), processor)
    return explainer, next(own for own in examples if own.name == name)


EXAMPLES = {
    "01": explain_a_transcription,
    "02": does_it_make_sense,
    "03": reliability_across_seeds,
    "04": a_translation_that_reorders,
    "05": why_this_and_not_that,
    "06": which_words_did_it_hear,
}


def main(numbers: Sequence[str] = ()) -> None:
    """Write those of the named tutorials, or all."""
    PAGES.mkdir(exist_ok=True)
    for number in numbers or EXAMPLES:
        example = EXAMPLES[number]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results, shown = example()
        path = PAGES / f"{number}_{example.__name__}.html"
        SpeechToTextAttributionResult.save_html_many(results, path, **shown)
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
