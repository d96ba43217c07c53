"""What do maps look like on CTC, a transducer, an encoder-decoder and a speech LLM?

    python -m recipes.bundled.synthesize corpus --train 0 --validation 0 --test 600
    python benchmarks/kinds_of_models.py explain corpus/test/manifest.jsonl --out maps.jsonl
    python benchmarks/kinds_of_models.py table maps.jsonl --out maps.md
    python benchmarks/kinds_of_models.py picture corpus/test/manifest.jsonl --out kinds.png

The models of ``captum_spes.demo``: four on the same encoder, and one that reads samples.
Utterances that none was trained on, transcribed by each, with every method. Of the words that a
model writes as they were spoken:

pointing    share of the words whose map has its maximum, over time, while they are spoken
ROC-AUC     of frames within a word against the others, by the map's maximum over frequency
half        seconds of the fewest frames that hold half of a word's map above its median over time
before      how far before the word that lies, in seconds, on average; 0 inside
after       likewise, behind the word
own-token   deletion by each token's own map: area under its mean divergence (nats)

and how much rests on audio, text so far and instruction, where a model reads them. A line for each
utterance, model and method; what is there is not made again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from own_token_deletion import PERCENTAGES, measured
from tqdm import tqdm

from captum_spes import SPES, Settings, SpeechToTextAttribution
from captum_spes.alignment import align_result
from captum_spes.analysis import time_analysis
from captum_spes.demo import (
    load_ctc,
    load_demo,
    load_speech_llm,
    load_transducer,
    load_waveform_ctc,
)
from captum_spes.demo.examples import read_examples
from captum_spes.demo.speech_llm import INSTRUCTIONS
from captum_spes.speech import named_methods
from captum_spes.speech.models import Attends, adapt, can

MODELS = {
    "CTC": load_ctc,
    "transducer": load_transducer,
    "encoder-decoder": load_demo,
    "speech LLM": load_speech_llm,
    "CTC on samples": load_waveform_ctc,
}
METHODS = ("spes-efficient", "integrated-gradients", "cross-attention", "energy", "random")
MEASURES = ("pointing", "roc_auc", "half", "before", "after", "own_token")
PATCHES = (60, 120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    explain = commands.add_parser("explain")
    explain.add_argument("manifest", type=Path)
    explain.add_argument("--limit", type=int, default=30)
    explain.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    explain.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    explain.add_argument("--samples", type=int, default=500)
    explain.add_argument("--steps", type=int, default=10, help="of integrated gradients")
    explain.add_argument("--out", type=Path, required=True)
    explain.set_defaults(run=run_explain)
    table = commands.add_parser("table")
    table.add_argument("lines", type=Path, nargs="+")
    table.add_argument("--out", type=Path)
    table.set_defaults(run=run_table)
    picture = commands.add_parser("picture")
    picture.add_argument("manifest", type=Path)
    picture.add_argument("--limit", type=int, default=30)
    picture.add_argument("--samples", type=int, default=500)
    picture.add_argument("--out", type=Path, required=True)
    picture.set_defaults(run=run_picture)
    arguments = parser.parse_args()
    arguments.run(arguments)


# Explaining -----------------------------------------------------------------------------


def run_explain(arguments):
    examples = read_examples(arguments.manifest)[: arguments.limit]
    known = set()
    if arguments.out.exists():
        known = {tuple(line["key"]) for line in lines_in([arguments.out])}
    with arguments.out.open("a") as file:
        for name in arguments.models:
            model, processor, _ = MODELS[name]()
            for example in tqdm(examples, name):
                for key, found in measures_of(name, model, processor, example, arguments, known):
                    file.write(json.dumps({"key": key, **found}) + "\n")
                    file.flush()


def measures_of(name, model, processor, example, arguments, known):
    for method in named_methods(arguments.methods):
        key = (example.name, name, method.name)
        attends = method.name != "cross-attention" or can(adapt(model, processor), Attends)
        if key not in known and attends:
            yield key, of_method(method, model, processor, example, arguments)
    asked = {"": {}}
    if name == "speech LLM":
        asked = {f" {own}": {"instruction": INSTRUCTIONS[own][0]} for own in INSTRUCTIONS}
    for language, gen_args in asked.items():
        key = (example.name, name, f"shares{language}")
        if key not in known and not name.startswith("CTC"):
            yield key, shares(model, processor, example, gen_args, arguments)


def of_method(method, model, processor, example, arguments):
    method_args = {}
    if method.name == "integrated-gradients":
        method_args = {"spectrogram": {"n_steps": arguments.steps}}
    asked = Settings.paper(
        n_samples=arguments.samples, n_token_samples=0, patches_per_second=PATCHES,
        method_args=method_args,
    )  # fmt: skip
    explainer = SpeechToTextAttribution(method.make(model), processor)
    result = explainer.attribute(example.path, settings=method.settings(asked), seed=0)
    own = measured(explainer.adapter, result, example.path)["own"]["kl"]
    area = np.trapezoid(own, np.array(PERCENTAGES) / 100)
    return {**in_time(result, example), "own_token": float(area), "text": result.text}


def in_time(result, example):
    """Of the words that the model writes as they were spoken."""
    aligned = align_result(result, example.alignment).result
    found = time_analysis({example.name: aligned}, n_resamples=1).table
    spread = np.mean([spread_of(aligned, row) for row in spoken(aligned)], 0).tolist()
    return {
        "pointing": float(found["hit"].mean()),
        "roc_auc": float(found["auc"].mean()),
        **dict(zip(("half", "before", "after"), spread, strict=True)),
    }


def spoken(result):
    """Indices of words that have a time."""
    return [row for row, word in enumerate(result.words) if word.start is not None]


def spread_of(result, row):
    """Seconds that hold half of a word's map above its median over time, and how far that lies
    before and behind the word on average."""
    times, weights = result.frame_times.numpy(), weights_of(result, row)
    n_half = 1 + int((np.sort(weights)[::-1].cumsum() < 0.5).sum())
    word = result.words[row]
    before = (np.clip(word.start - times, 0, None) * weights).sum()
    after = (np.clip(times - word.end, 0, None) * weights).sum()
    return n_half * float(times[1] - times[0]), before, after


def weights_of(result, row):
    """What each frame has of a word's map above its median over time; the sum is 1."""
    scores = result.word_attr().spectrogram_attr[row].amax(1).double().numpy()
    weights = np.clip(scores - np.median(scores), 0, None)
    return weights / max(weights.sum(), 1e-12)


def shares(model, processor, example, gen_args, arguments):
    explainer = SpeechToTextAttribution(SPES(model), processor)
    result = explainer.attribute(
        example.path, gen_args=gen_args, n_samples=arguments.samples,
        n_token_samples=arguments.samples, patches_per_second=PATCHES, seed=0,
    )  # fmt: skip
    found = {"shares": result.side_shares().mean(0).tolist()}
    if result.instruction_attr is not None:
        values = result.instruction_attr.mean(0).tolist()
        found["instruction"] = list(zip(result.instruction_tokens, values, strict=True))
    return found


# The picture ----------------------------------------------------------------------------


def run_picture(arguments):
    """Where, around a word, the maps of SPES lie: the mean over words of all utterances."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    examples = read_examples(arguments.manifest)[: arguments.limit]
    settings = Settings.efficient(
        n_samples=arguments.samples, n_token_samples=0, patches_per_second=PATCHES
    )
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    bins = np.arange(-1.5, 1.5001, STEP)
    for name in list(MODELS)[:4]:
        model, processor, _ = MODELS[name]()
        explainer = SpeechToTextAttribution(SPES(model), processor)
        profiles = []
        for example in tqdm(examples, name):
            result = explainer.attribute(example.path, settings=settings, seed=0)
            aligned = align_result(result, example.alignment).result
            profiles += [profile_of(aligned, row, bins) for row in spoken(aligned)]
        axes.plot(bins[:-1] + STEP / 2, np.mean(profiles, 0) / STEP, label=name)
    lengths = [word.end - word.start for example in examples for word in example.words]
    half = float(np.mean(lengths)) / 2
    axes.axvspan(-half, half, color="0.9", label="the word, mean length")
    axes.set(xlabel="seconds from the middle of the word", ylabel="share of the map per second")
    axes.legend(frameon=False)
    figure.savefig(arguments.out, dpi=150)


STEP = 0.05


def profile_of(result, row, bins):
    """Shares of a word's map, above its median over time, by distance from the word's middle."""
    word = result.words[row]
    times = result.frame_times.numpy() - (word.start + word.end) / 2
    return np.histogram(times, bins, weights=weights_of(result, row))[0]


# The table ------------------------------------------------------------------------------


def run_table(arguments):
    lines = lines_in(arguments.lines)
    head = "pointing | ROC-AUC | half (s) | before (s) | after (s) | own-token deletion"
    rows = [f"| model | method | {head} |", "|---|---|---|---|---|---|---|---|"]
    for model in MODELS:
        for method in METHODS:
            own = [line for line in lines if line["key"][1:] == [model, method]]
            if own:
                cells = [interval([line[measure] for line in own]) for measure in MEASURES]
                rows.append(f"| {model} | {method} | {' | '.join(cells)} |")
    rows += ["", *differences(lines)]
    rows += ["", "| model | audio | text so far | instruction |", "|---|---|---|---|"]
    for name, kind in sorted({tuple(line["key"][1:]) for line in lines if "shares" in line}):
        own = [line["shares"] for line in lines if line["key"][1:] == [name, kind]]
        cells = [interval([share[side] for share in own]) for side in range(len(own[0]))]
        cells += ["-"] * (3 - len(cells))
        rows.append(f"| {name} {kind.removeprefix('shares').strip()} | {' | '.join(cells)} |")
    text = "\n".join(rows) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


def differences(lines):
    """Paired by utterance: of SPES from Integrated Gradients, and of other kinds of models on the
    same encoder from the encoder-decoder."""
    found = {(*line["key"][1:], line["key"][0]): line for line in lines}

    def row(name, one, other, measures):
        names = [key[2] for key in found if key[:2] == one and (*other, key[2]) in found]
        cells = [
            interval([found[*one, n][m] - found[*other, n][m] for n in names]) for m in measures
        ]
        return f"| {name} | {' | '.join(cells)} |"

    spes, gradients = METHODS[:2]
    rows = [f"| SPES minus Integrated Gradients | {' | '.join(MEASURES)} |", "|---" * 7 + "|"]
    rows += [
        row(m, (m, spes), (m, gradients), MEASURES)
        for m in MODELS
        if any(key[:2] == (m, spes) for key in found)
    ]
    # Divergences of models with other vocabularies make no difference.
    measures = MEASURES[:-1]
    rows += ["", f"| SPES, minus encoder-decoder | {' | '.join(measures)} |", "|---" * 6 + "|"]
    base = ("encoder-decoder", spes)
    rows += [row(m, (m, spes), base, measures) for m in ("CTC", "transducer", "speech LLM")]
    return rows


def lines_in(paths):
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def interval(values):
    """A mean with its 95 % bootstrap interval over utterances."""
    generator = np.random.default_rng(0)
    values = np.array(values)
    drawn = values[generator.integers(0, len(values), (2000, len(values)))].mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
