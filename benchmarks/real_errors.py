"""Why did Whisper write this word and not the one that was said?

    python benchmarks/real_errors.py find SPEECH --model MODEL --out errors.jsonl
    python benchmarks/real_errors.py explain SPEECH errors.jsonl --model MODEL --out folder

``find`` transcribes recordings of a manifest (``id``, ``file`` and ``text`` in each line) as they
are and with white noise, louder and louder, until a word is written in the place of another;
``explain`` contrasts the first errors, one of each recording, with what was said, and prints, for
each, how likely the model held either, where the map speaks most for what was written, and at which
share of removed cells what was said overtakes it, by the map's order and by the loudness of cells.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from captum_spes import SPES, SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.io.samples import read_samples
from captum_spes.metrics import flip_curves
from captum_spes.speech.models import load_model
from captum_spes.speech.transcript_errors import errors_of

# The same word, spelled otherwise.
SPELLINGS = (["Mr", "mister"],)
# Decibels of the speech above the noise; None adds none.
NOISE = (None, 10, 5, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    find = commands.add_parser("find")
    find.add_argument("speech", type=Path)
    find.add_argument("--out", type=Path, required=True)
    find.set_defaults(run=run_find)
    explain = commands.add_parser("explain")
    explain.add_argument("speech", type=Path)
    explain.add_argument("errors", type=Path)
    explain.add_argument("--count", type=int, default=10)
    explain.add_argument("--samples", type=int, default=300)
    explain.add_argument("--out", type=Path, required=True)
    explain.set_defaults(run=run_explain)
    for command in (find, explain):
        command.add_argument("--model", required=True)
    arguments = parser.parse_args()
    arguments.run(arguments)


def run_find(arguments):
    model, processor = load_model(arguments.model)
    explainer = SpeechToTextAttribution(SPES(model), processor)
    known = set()
    if arguments.out.exists():
        known = {json.loads(line)["id"] for line in arguments.out.read_text().splitlines()}
    with arguments.out.open("a") as file:
        for clip in tqdm(clips_in(arguments.speech)):
            if clip["id"] not in known:
                file.write(json.dumps(first_error(explainer, arguments.speech, clip)) + "\n")
                file.flush()


def clips_in(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def first_error(explainer, folder, clip):
    """The quietest noise with which a word is written in the place of one other."""
    for decibels in NOISE:
        transcript = explainer.transcribe(noisy(folder / clip["file"], decibels), seed=0)
        errors = errors_of(explainer.adapter, transcript, clip["text"])
        pairs = [(e.written, e.reference) for e in errors if e.part is not None]
        pairs = [
            pair
            for pair in pairs
            if list(pair) not in SPELLINGS and all(len(side.split()) == 1 for side in pair)
        ]
        if pairs:
            found = {"decibels": decibels, "written": transcript.text, "errors": pairs}
            return {"id": clip["id"], "text": clip["text"], **found}
    return {"id": clip["id"], "text": clip["text"], "errors": []}


def noisy(path, decibels):
    samples = read_samples(path, 16_000, 16_000)
    if decibels is None:
        return samples
    noise = np.random.default_rng(0).standard_normal(len(samples))
    level = np.sqrt(np.mean(samples**2) / 10 ** (decibels / 10))
    return np.clip(samples + level * noise, -1, 1).astype(np.float32)


def run_explain(arguments):
    model, processor = load_model(arguments.model)
    explainer = SpeechToTextAttribution(SPES(model), processor)
    files = {clip["id"]: clip["file"] for clip in clips_in(arguments.speech)}
    errors = [json.loads(line) for line in arguments.errors.read_text().splitlines()]
    chosen = [error for error in errors if error["errors"]]
    # The clearer the speech, the more telling the error.
    chosen.sort(key=lambda error: -np.inf if error["decibels"] is None else -error["decibels"])
    arguments.out.mkdir(parents=True, exist_ok=True)
    for error in tqdm(chosen[: arguments.count]):
        saved = arguments.out / f"{error['id']}.npz"
        if not saved.exists():
            samples = noisy(arguments.speech / files[error["id"]], error["decibels"])
            of_error(explainer, samples, error, arguments.samples).save(saved)
    report(explainer, arguments, chosen[: arguments.count], files)


def of_error(explainer, samples, error, n_samples):
    settings = {"n_samples": n_samples, "n_token_samples": 60, "seed": 0}
    results = explainer.attribute_errors(samples, error["text"], scheme="efficient", **settings)
    pair = tuple(error["errors"][0])
    own = [r for r in results if (r.parameters["error"]["written"],
                                  r.parameters["error"]["reference"]) == pair]  # fmt: skip
    return own[0]


def report(explainer, arguments, errors, files):
    """A line and a picture for each."""
    import matplotlib

    matplotlib.use("Agg")
    head = ["recording", "noise", "written / said", "probabilities", "said where (s)"]
    head += ["map's peak (s)", "flips at, by map", "by loudness"]
    rows = [head, ["---"] * len(head)]
    words = {clip["id"]: clip["words"] for clip in clips_in(arguments.speech)}
    for error in errors:
        result = SpeechToTextAttributionResult.load(arguments.out / f"{error['id']}.npz")
        result.plot_contrast().savefig(arguments.out / f"{error['id']}.png", dpi=120)
        samples = noisy(arguments.speech / files[error["id"]], error["decibels"])
        orders = (result.spectrogram_attr[0], result.spectrogram)
        flips = [flip_curves(explainer, [(samples, result, order)]).points[0] for order in orders]
        facts = result.parameters["contrast"]
        peak = result.frame_times[result.spectrogram_attr[0].mean(1).argmax()].item()
        rows.append([
            error["id"],
            "none" if error["decibels"] is None else f"{error['decibels']} dB",
            f"{facts['word']} / {facts['foil']}",
            f"{facts['probability']:.2f} / {facts['foil_probability']:.2g}",
            spoken_at(words[error["id"]], error["errors"][0][1]),
            f"{peak:.2f}",
            *("never" if np.isnan(point) else f"{point:.0f} %" for point in flips),
        ])  # fmt: skip
    text = "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
    print(text)
    (arguments.out / "errors.md").write_text(text)


def spoken_at(words, word):
    """When a word is spoken, each time."""
    times = [f"{w['start']:.2f} to {w['end']:.2f}" for w in words if w["word"] == word.lower()]
    return ", ".join(times) or "-"


if __name__ == "__main__":
    main()
