"""Does the map of a token fit this token better than a map that fits all of them?

Deletion by the sentence-level map asks whether what is removed matters to the sentence, and there
the loudest cells are hard to beat. Here the map of each token is removed and only that token is
looked at (mean KL divergence, and whether it still ranks first; the output is forced), which a
map that is the same for every token, as the energy of the spectrogram, cannot win by being loud.
The control are the maps of the other tokens, the mean over them; files of earlier versions lack it.

    python benchmarks/own_token_deletion.py --model ../shared/models/whisper-tiny.en \\
        --manifest ../shared/speech/manifest.jsonl --out own_token_deletion.jsonl --limit 20

One line per recording is added to the file; what it holds is not computed again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from captum_spes import Settings, SpeechToTextAttribution
from captum_spes.corpus import read_manifest
from captum_spes.metrics.own_token import OwnTokenValues
from captum_spes.metrics.perturbation import (
    GRADED,
    Hearing,
    explained_sequence,
    graded_curve,
    perturbed,
)
from captum_spes.speech import named_methods
from captum_spes.speech.inputs import read_speech
from captum_spes.speech.models import load_model

METHODS = "spes,saliency,cross-attention,energy,random"
PERCENTAGES = tuple(range(0, 101, 10))
SETTINGS = Settings.paper(n_samples=200, n_token_samples=100, patches_per_second=(60, 120))
SEED = 0


def explained(model, processor, audio, method) -> dict[str, dict[str, list[float]]]:
    """What :func:`measured` finds of a method's maps."""
    explainer = SpeechToTextAttribution(method.make(model), processor)
    result = explainer.attribute(audio, settings=method.settings(SETTINGS), seed=SEED)
    return measured(explainer.adapter, result, audio)


def measured(adapter, result, audio) -> dict[str, dict[str, list[float]]]:
    """KL divergence and token accuracy at each step, by the sentence's, by own maps and by those of
    the other tokens."""
    speech = read_speech(adapter, audio, adapter.sampling_rate)
    sequence = explained_sequence(result)

    def graded(saliency_map):
        steps = perturbed(speech, saliency_map, result.removed, PERCENTAGES)
        return Hearing(adapter, speech, steps).graded(sequence)

    maps = [*result.spectrogram_attr, result.sentence_attr().spectrogram_attr]
    scores = [graded(saliency_map) for saliency_map in maps]
    by_metric = {
        metric: OwnTokenValues.of([own[metric] for own in scores])._asdict() for metric in GRADED
    }
    return {
        name: {metric: by_metric[metric][name] for metric in GRADED}
        for name in OwnTokenValues._fields
    }


def summary(records: list[dict], methods: list[str]) -> None:
    first = methods[0]
    known = [name for name in OwnTokenValues._fields if all(name in r[first] for r in records)]
    for name in known:
        for metric in GRADED:
            curves = {
                m: graded_curve(
                    "deletion", metric, PERCENTAGES, [r[m][name][metric] for r in records]
                )
                for m in methods
            }
            for method, curve in curves.items():
                low, high = curve.interval()
                difference, ends = curve.difference(curves[methods[0]])
                print(
                    f"{name:9} {metric:15} {method:16} {curve.auc:7.2f} [{low:.2f}, {high:.2f}]  "
                    f"minus {methods[0]}: {difference:.2f} [{ends.low:.2f}, {ends.high:.2f}]"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True)
    parsed = parser.parse_args()
    model, processor = load_model(parsed.model, dtype=torch.bfloat16)
    methods = named_methods(parsed.methods.split(","))
    records = []
    if parsed.out.exists():
        records = [json.loads(line) for line in parsed.out.read_text().split("\n") if line]
    known = {record["id"] for record in records}
    for utterance in read_manifest(parsed.manifest)[: parsed.limit]:
        if utterance.id in known:
            continue
        record = {m.name: explained(model, processor, utterance.audio, m) for m in methods}
        records.append({"id": utterance.id, **record})
        with parsed.out.open("a") as file:
            file.write(json.dumps(records[-1]) + "\n")
        print(utterance.id, flush=True)
    summary(records, [method.name for method in methods])


if __name__ == "__main__":
    main()
