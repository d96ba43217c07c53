"""Do maps of a speech LLM make sense, beside those of the bundled encoder-decoder?

    python -m recipes.bundled.synthesize corpus --train 0 --validation 0 --test 600
    python benchmarks/speech_llm_maps.py explain corpus/test/manifest.jsonl --out maps.jsonl
    python benchmarks/speech_llm_maps.py table maps.jsonl --out maps.md

Utterances that neither model was trained on, transcribed by each, with every method:

pointing    share of the words whose map has its maximum, over time, while they are spoken
ROC-AUC     of frames within a word against the others, by the map's maximum over frequency
own-token   deletion by each token's own map: area under its mean divergence (nats)

For the speech LLM also how much rests on the audio, the text so far and the instruction, asked for
the transcript and for German. A line per utterance, model and method; what is there is not made
again.
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
from captum_spes.demo import load_demo, load_speech_llm
from captum_spes.demo.examples import read_examples
from captum_spes.demo.speech_llm import INSTRUCTIONS
from captum_spes.speech import named_methods

MODELS = {"speech LLM": load_speech_llm, "encoder-decoder": load_demo}
METHODS = "spes-efficient,integrated-gradients,cross-attention,energy,random"
MEASURES = ("pointing", "roc_auc", "own_token")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    explain = commands.add_parser("explain")
    explain.add_argument("manifest", type=Path)
    explain.add_argument("--limit", type=int, default=30)
    explain.add_argument("--samples", type=int, default=500)
    explain.add_argument("--steps", type=int, default=10, help="of integrated gradients")
    explain.add_argument("--out", type=Path, required=True)
    explain.set_defaults(run=run_explain)
    table = commands.add_parser("table")
    table.add_argument("lines", type=Path)
    table.add_argument("--out", type=Path)
    table.set_defaults(run=run_table)
    arguments = parser.parse_args()
    arguments.run(arguments)


# Explaining -----------------------------------------------------------------------------


def run_explain(arguments):
    examples = read_examples(arguments.manifest)[: arguments.limit]
    known = set()
    if arguments.out.exists():
        known = {tuple(line["key"]) for line in lines_in(arguments.out)}
    with arguments.out.open("a") as file:
        for name, load in MODELS.items():
            model, processor, _ = load()
            for example in tqdm(examples, name):
                for key, found in measures_of(name, model, processor, example, arguments, known):
                    file.write(json.dumps({"key": key, **found}) + "\n")
                    file.flush()


def measures_of(name, model, processor, example, arguments, known):
    for method in named_methods(METHODS.split(",")):
        key = (example.name, name, method.name)
        if key not in known:
            yield key, of_method(method, model, processor, example, arguments)
    for language, wordings in INSTRUCTIONS.items():
        key = (example.name, name, f"shares {language}")
        if name == "speech LLM" and key not in known:
            yield key, shares(model, processor, example, wordings[0], arguments)


def of_method(method, model, processor, example, arguments):
    method_args = {}
    if method.name == "integrated-gradients":
        method_args = {"spectrogram": {"n_steps": arguments.steps}}
    asked = Settings.paper(
        n_samples=arguments.samples, n_token_samples=0, patches_per_second=(60, 120),
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
    return {"pointing": float(found["hit"].mean()), "roc_auc": float(found["auc"].mean())}


def shares(model, processor, example, asked, arguments):
    explainer = SpeechToTextAttribution(SPES(model), processor)
    result = explainer.attribute(
        example.path, gen_args={"instruction": asked}, n_samples=arguments.samples,
        n_token_samples=arguments.samples, patches_per_second=(60, 120), seed=0,
    )  # fmt: skip
    by_token = result.instruction_attr.mean(0)
    return {
        "shares": result.side_shares().mean(0).tolist(),
        "instruction": [
            [token, float(value)]
            for token, value in zip(result.instruction_tokens, by_token, strict=True)
        ],
    }


# The table ------------------------------------------------------------------------------


def run_table(arguments):
    lines = lines_in(arguments.lines)
    rows = ["| model | method | pointing | ROC-AUC | own-token deletion |", "|---|---|---|---|---|"]
    for model in MODELS:
        for method in METHODS.split(","):
            own = [line for line in lines if line["key"][1:] == [model, method]]
            cells = [interval([line[measure] for line in own]) for measure in MEASURES]
            rows.append(f"| {model} | {method} | {' | '.join(cells)} |")
    rows += ["", "| asked for | audio | text so far | instruction |", "|---|---|---|---|"]
    for language in INSTRUCTIONS:
        own = [line["shares"] for line in lines if line["key"][2] == f"shares {language}"]
        cells = [interval([share[side] for share in own]) for side in range(3)]
        rows.append(f"| {language} | {' | '.join(cells)} |")
    text = "\n".join(rows) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


def lines_in(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def interval(values):
    """A mean with its 95 % bootstrap interval over utterances."""
    generator = np.random.default_rng(0)
    values = np.array(values)
    drawn = values[generator.integers(0, len(values), (2000, len(values)))].mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
