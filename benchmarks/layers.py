"""What do the layers know, and do salient frames tell it better? Do seeds that represent alike
explain alike?

    python -m recipes.bundled.synthesize corpus --train 0 --validation 0 --test 140
    python benchmarks/layers.py phones corpus/test/manifest.jsonl --out layers_bundled
    python benchmarks/layers.py phones ../shared/speech/manifest.jsonl \
        --model ../shared/models/whisper-tiny.en --methods cross-attention energy random \
        --recordings 16 --out layers_whisper_tiny
    python benchmarks/layers.py seeds ../shared/speech/fsdd work --out layers_seeds

``phones`` writes ``OUT.jsonl``, a line with the time profiles of one recording by one method (what
is there is not made again), and ``OUT.json``: probes of every layer, salient frames against
others, and CKA of the layers over the frames in which a phone is spoken. Recordings of one voice
are in one fold. ``seeds`` makes strings of digits, trains classifiers that differ in their seed,
explains the right class of recordings that none was trained on by Integrated Gradients, which draw
no samples, and compares: CKA of their layers, and agreement of their maps (the highest fifth of the
cells, without sign, and of the frames).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from captum.attr import IntegratedGradients
from tqdm import tqdm

from captum_spes import SPES, Settings, SpeechClassificationAttribution, SpeechToTextAttribution
from captum_spes.alignment import align_result, read_alignments
from captum_spes.analysis import (
    encoder_states,
    layer_similarity,
    phone_probe,
    salient_phones,
    similar_models,
    time_profiles,
)
from captum_spes.corpus import read_manifest
from captum_spes.demo import load_demo
from captum_spes.errors import ArgumentError
from captum_spes.io.provenance import versions
from captum_spes.speech import named_methods
from captum_spes.speech.models import load_model
from captum_spes.stability import SpeechClassifier

SEEDS, TASKS = range(6), ("keyword", "speaker")
SIZES, EPOCHS, RATE = {"train": 900, "validation": 100, "test": 20}, 6, 8000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    phones = commands.add_parser("phones")
    phones.add_argument("manifest", type=Path)
    phones.add_argument("--model", help="name or folder; default: the bundled one")
    phones.add_argument("--recordings", type=int, default=40)
    phones.add_argument(
        "--methods", nargs="+", default=["spes-efficient", "cross-attention", "energy", "random"]
    )
    phones.add_argument("--samples", type=int, default=300)
    phones.add_argument("--out", type=Path, required=True, help="without suffix")
    seeds = commands.add_parser("seeds")
    seeds.add_argument("digits", type=Path, help="the Free Spoken Digit Dataset")
    seeds.add_argument("folder", type=Path, help="for the corpus and the models")
    seeds.add_argument("--out", type=Path, required=True, help="without suffix")
    arguments = parser.parse_args()
    {"phones": measure_phones, "seeds": measure_seeds}[arguments.command](arguments)


# Phones ---------------------------------------------------------------------------------


def measure_phones(arguments):
    lines = [json.loads(line) for line in arguments.manifest.read_text().splitlines()]
    times = read_alignments(arguments.manifest)
    lines = [line for line in lines if times[_id(line)].phones][: arguments.recordings]
    files = {_id(line): arguments.manifest.parent / _file(line) for line in lines}
    voices = {_id(line): line.get("speaker") or line["voice"]["name"] for line in lines}
    model, processor = load_model(arguments.model) if arguments.model else load_demo()[:2]
    explained = _explained(arguments, model, processor, files, times)
    start = time.process_time()
    states = encoder_states(SpeechToTextAttribution(SPES(model), processor), files)
    probe = phone_probe(states, times, groups=voices)
    salient = {}
    for (method, of), profiles in explained.items():
        table = salient_phones(probe, profiles).table
        salient[f"{method}, {of}"] = table.to_dict("records")
        print(f"\n{method}, {of}\n{table.round(3).to_string()}")
    similarity = layer_similarity(states, alignments=times)
    print(probe.table.round(3).T.to_string(), similarity.round(3).to_string(), sep="\n")
    report = {
        "recordings": len(files),
        "voices": len(set(voices.values())),
        "samples": arguments.samples,
        "seconds_of_probes": round(time.process_time() - start, 1),
        "probe": probe.table.to_dict("records"),
        "rare": probe.rare,
        "salient": salient,
        "cka": similarity.to_dict("index"),
        "versions": versions(),
    }
    _write(arguments.out, report)


def _explained(arguments, model, processor, files, times):
    """Time profiles by method, of sentences and of words; made where they are missing."""
    out = arguments.out.with_suffix(".jsonl")
    found = {}
    for line in out.read_text().splitlines() if out.exists() else ():
        record = json.loads(line)
        found[record["id"], record["method"]] = record
    methods = {method.name: method for method in named_methods(arguments.methods)}
    for name, file in tqdm(files.items(), "explanations"):
        for label, method in methods.items():
            if (name, label) in found:
                continue
            start = time.process_time()
            record = {"id": name, "method": label}
            record |= _profiles(arguments, method, model, processor, file, times[name])
            record["seconds"] = round(time.process_time() - start, 2)
            found[name, label] = record
            with out.open("a") as stream:
                stream.write(json.dumps(record) + "\n")
    return {
        (label, of): {name: found[name, label][of] for name in files if found[name, label][of]}
        for label in methods
        for of in ("sentence", "words")
    }


def _profiles(arguments, method, model, processor, file, alignment):
    explainer = SpeechToTextAttribution(method.make(model), processor)
    settings = Settings.efficient(n_samples=arguments.samples, n_token_samples=0)
    is_sampled = method.name.startswith("spes")
    result = explainer.attribute(file, seed=0, **({"settings": settings} if is_sampled else {}))
    aligned = align_result(result, alignment).result
    return {of: _profile(aligned, of == "words") for of in ("sentence", "words")} | {
        "reliability": round(result.reliability().sentence, 3) if is_sampled else None
    }


def _profile(result, words):
    try:
        profile = time_profiles({"a": result}, words=words)["a"]
    except ArgumentError:
        return None
    return [[float(f"{value:.5g}") for value in part] for part in profile]


def _id(line):
    return line.get("id") or line["name"]


def _file(line):
    return line.get("audio") or line["file"]


# Seeds ----------------------------------------------------------------------------------


def measure_seeds(arguments):
    from recipes.stability.digits import make_digit_strings
    from recipes.stability.training import train_seeds

    folder = arguments.folder
    make_digit_strings(arguments.digits, folder / "digits", SIZES)
    train_seeds(
        folder / "digits/train", folder / "digits/validation", TASKS, folder / "models",
        seeds=SEEDS, sampling_rate=RATE, epochs=EPOCHS,
    )  # fmt: skip
    places = {f"seed-{seed}": folder / "models" / f"seed-{seed}" for seed in SEEDS}
    models = {name: SpeechClassifier.from_pretrained(place) for name, place in places.items()}
    accuracies = {
        name: json.loads((place / "training.json").read_text())["accuracy"]
        for name, place in places.items()
    }
    manifest = folder / "digits/test/manifest.jsonl"
    times = {name: own for name, own in read_alignments(manifest).items() if own.phones}
    files = {name: manifest.parent / f"{name}.flac" for name in times}
    labels = {utterance.id: utterance.labels for utterance in read_manifest(manifest)}
    explainers = {
        name: {
            task: SpeechClassificationAttribution(IntegratedGradients(model), task)
            for task in TASKS
        }
        for name, model in models.items()
    }
    start = time.process_time()
    states = {name: encoder_states(own[TASKS[0]], files, RATE) for name, own in explainers.items()}
    report = {
        "recordings": len(files),
        "accuracy": accuracies,
        "versions": versions(),
    }
    for task in TASKS:
        maps = {
            name: _maps(own[task], files, {n: labels[n][task] for n in files})
            for name, own in tqdm(explainers.items(), task)
        }
        reduced = {
            "cells": maps,
            "frames": {
                name: {r: one.sum(1) for r, one in own.items()} for name, own in maps.items()
            },
        }
        for unit, own in reduced.items():
            found = similar_models(states, own, alignments=times)
            print(f"\n{task}, {unit}\n{found.tests.round(3).to_string()}")
            report[f"{task}, {unit}"] = {
                "pairs": found.pairs.to_dict("records"), "tests": found.tests.to_dict("records"),
            }  # fmt: skip
    report["seconds"] = round(time.process_time() - start, 1)
    _write(arguments.out, report)


def _maps(explainer, files, classes):
    return {
        name: explainer.attribute(file, target=classes[name]).spectrogram_attr[0].abs()
        for name, file in files.items()
    }


def _write(out, report):
    out.with_suffix(".json").write_text(json.dumps(_plain(report), indent=1) + "\n")


def _plain(value):
    """In JSON's types, which know no NaN; five digits are more than intervals allow."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float):
        return round(value, 5) if np.isfinite(value) else None
    return value


if __name__ == "__main__":
    main()
