"""What each way of spending forward passes buys, as a function of their number.

For every recording, scheme and number of samples: deletion by the sentence's map (word error rate,
and graded: KL divergence and token accuracy with the output forced), size, split-half reliability,
and whether the maximum of a word's map lies within the time in which it is spoken (pointing).
Models run in bfloat16, which processors without instructions for it run several times slower
than `--dtype float32`; `tf32`, for GPUs, multiplies with TensorFloat-32's 10 bits of mantissa and
adds in float32. 20,000 passes of Whisper tiny take hours on a processor and 15 s on a large GPU.

    python -m recipes.bundled.synthesize build/corpus --train 0 --validation 0 --test 80
    python benchmarks/sample_efficiency.py run demo build/corpus/test/manifest.jsonl \\
        --samples 300 1000 --limit 20 --out efficiency.jsonl
    python benchmarks/sample_efficiency.py run demo build/corpus/test/manifest.jsonl \\
        --schemes paper --samples 20000 --limit 20 --out efficiency.jsonl
    python benchmarks/sample_efficiency.py run openai/whisper-tiny.en manifest.jsonl --dtype tf32 \\
        --device cuda --batch-size 64 --schemes efficient --samples 300 1000 --out efficiency.jsonl
    python benchmarks/sample_efficiency.py run openai/whisper-tiny.en manifest.jsonl \\
        --dtype float32 --schemes "with gradients" --samples 40 --out efficiency.jsonl
    python benchmarks/sample_efficiency.py table efficiency.jsonl --reference paper:20000

One line per recording, scheme and number is added to the file; what it holds is not computed
again, so schemes and numbers can be added, also by several processes with files of their own.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from transformers.models.whisper.english_normalizer import BasicTextNormalizer

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.demo import load_demo
from captum_spes.metrics import size_curve
from captum_spes.metrics.perturbation import (
    Hearing,
    explained_sequence,
    graded_curve,
    perturbed,
    text_curve,
)
from captum_spes.speech.inputs import read_speech
from captum_spes.speech.models import load_model

SCHEMES = {
    "paper": {"patches_per_second": (400, 500, 600)},
    "middle": {"patches_per_second": (60, 120)},
    "coarse": {"patches_per_second": (20, 40, 60)},
    "pyramid": {"patches_per_second": (15, 45, 135, 400)},
    # Without the gradients that the scheme starts from by default.
    "efficient": {"scheme": "efficient", "prior": None},
    "efficient, patches of the paper": {
        "scheme": "efficient",
        "prior": None,
        "patches_per_second": (400, 500, 600),
    },
    "with gradients": {"scheme": "efficient"},
}
PERCENTAGES = tuple(range(0, 101, 5))
MEASURES = ("wer", "kl", "token_accuracy", "size", "reliability", "pointing", "seconds")
_NORMALIZE = BasicTextNormalizer()


def run(parsed: argparse.Namespace) -> None:
    torch.set_float32_matmul_precision("high" if parsed.dtype == "tf32" else "highest")
    dtype = torch.float32 if parsed.dtype == "tf32" else getattr(torch, parsed.dtype)
    model, processor = _load(parsed.model, dtype)
    model = model.to(parsed.device)
    explainer = SpeechToTextAttribution(SPES(model), processor)
    clips = _clips(parsed.manifest)
    known = set()
    if parsed.out.exists():
        known = {_key(record) for record in _records([parsed.out])}
    for clip in clips[: parsed.limit]:
        for scheme in parsed.schemes:
            for samples in parsed.samples:
                asked = {
                    "id": clip["id"], "scheme": scheme, "samples": samples, "seed": parsed.seed,
                    "dtype": parsed.dtype,
                }  # fmt: skip
                if _key(asked) in known:
                    continue
                record = asked | measure(
                    explainer, clip, scheme, samples, parsed.seed, parsed.batch_size
                )
                with parsed.out.open("a") as file:
                    file.write(json.dumps(record) + "\n")
                print(clip["id"], scheme, samples, round(record["seconds"], 1), flush=True)


def _key(record):
    """Early records are of seed 0 and in bfloat16, and do not say so."""
    names = ("id", "scheme", "samples", "seed", "dtype")
    return tuple({"seed": 0, "dtype": "bfloat16", **record}[name] for name in names)


def measure(explainer, clip, scheme, samples, seed, batch_size):
    start = time.perf_counter()
    result = explainer.attribute(
        clip["audio"], n_samples=samples, n_token_samples=0, perturbations_per_eval=batch_size,
        seed=seed, **SCHEMES[scheme],
    )  # fmt: skip
    seconds = time.perf_counter() - start
    adapter = explainer.adapter
    speech = read_speech(adapter, clip["audio"], adapter.sampling_rate)
    steps = perturbed(speech, result.sentence_attr().spectrogram_attr, result.removed, PERCENTAGES)
    hearing = Hearing(adapter, speech, steps, batch_size)
    graded = hearing.graded(explained_sequence(result))
    return {
        "seconds": round(seconds, 2),
        "reference": clip["text"],
        "written": hearing.transcripts({"max_new_tokens": 60}),
        "kl": graded["kl"].mean(1).tolist(),
        "token_accuracy": graded["token_accuracy"].mean(1).tolist(),
        "size": size_curve(result).auc,
        "reliability": result.reliability().sentence,
        "token_reliability": float(result.reliability().spectrogram.nanmean()),
        "pointing": _pointing(result, clip["words"]),
    }


def _pointing(result, spoken):
    """Of words that were heard as they were said: does the map's maximum lie within their time?"""
    heard = [_NORMALIZE(word.word).strip() for word in result.words]
    rows = [row for row, word in enumerate(heard) if word]  # punctuation is no word
    said = [(_NORMALIZE(word).strip(), start, end) for word, start, end in spoken]
    if [heard[row] for row in rows] != [word for word, _, _ in said]:
        return None
    maps, times = result.word_attr().spectrogram_attr[rows], result.frame_times
    hits = []
    for saliency, (_, start, end) in zip(maps, said, strict=True):
        if start is not None:
            peak = float(times[int(saliency.amax(1).argmax())])
            hits.append(start <= peak <= end)
    return hits


def table(parsed: argparse.Namespace) -> None:
    records = _records(parsed.files)
    values: dict[tuple[str, int], dict[str, dict[str, float]]] = {}
    for record in records:
        key = (record["scheme"], record["samples"])
        values.setdefault(key, {})[record["id"]] = _measures(record)
    scheme, samples = parsed.reference.rsplit(":", 1)
    reference = values[scheme, int(samples)]
    print("| scheme | samples | recordings | " + " | ".join(MEASURES) + " |")
    print("|---" * (3 + len(MEASURES)) + "|")
    for (scheme, samples), of_clips in sorted(values.items(), key=lambda item: item[0][::-1]):
        cells = [_cell(name, of_clips, reference) for name in MEASURES]
        print(f"| {scheme} | {samples:,} | {len(of_clips)} | " + " | ".join(cells) + " |")
    print(
        f"\nMeans over recordings; in brackets the paired difference from {parsed.reference} with "
        "its 95 % bootstrap interval, over the recordings that both have."
    )


def _measures(record):
    wer = text_curve(
        "deletion", "wer_capped", PERCENTAGES, [_NORMALIZE(record["reference"])],
        [[_NORMALIZE(text) for text in record["written"]]],
    ).auc  # fmt: skip
    graded = {
        name: graded_curve("deletion", name, PERCENTAGES, [record[name]]).auc
        for name in ("kl", "token_accuracy")
    }
    pointing = record["pointing"]
    return {
        "wer": wer,
        **graded,
        "size": record["size"],
        "reliability": record["reliability"],
        "pointing": 100 * np.mean(pointing) if pointing else np.nan,
        "seconds": record["seconds"],
    }


def _cell(name, of_clips, reference):
    digits = 2 if name in ("kl", "reliability") else 1
    mean = np.nanmean([values[name] for values in of_clips.values()])
    both = [clip for clip in of_clips if clip in reference]
    pairs = np.array([(of_clips[clip][name], reference[clip][name]) for clip in both])
    differences = (pairs[:, 0] - pairs[:, 1])[~np.isnan(pairs).any(1)] if len(both) else []
    if name == "seconds" or len(differences) < 2 or not np.any(differences):
        return f"{mean:.{digits}f}"
    draws = np.random.default_rng(0).integers(0, len(differences), (5000, len(differences)))
    low, high = np.quantile(differences[draws].mean(1), [0.025, 0.975])
    difference = f"{differences.mean():+.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{mean:.{digits}f} ({difference})"


def _records(files):
    return [json.loads(line) for file in files for line in file.read_text().splitlines() if line]


def _clips(manifest):
    """Recordings with word times; of both kinds of manifest."""
    clips = []
    for line in manifest.read_text().splitlines():
        entry = json.loads(line)
        words = [
            (word["word"], word["start"], word["end"]) if isinstance(word, dict) else tuple(word)
            for word in entry["words"] or []
        ]
        name, audio = entry.get("id") or entry["name"], entry.get("file") or entry["audio"]
        clip = {"id": name, "audio": manifest.parent / audio, "text": entry["text"], "words": words}
        clips.append(clip)
    return clips


def _load(name, dtype):
    if name == "demo":
        model, processor, _ = load_demo()
        return model.to(dtype), processor
    return load_model(name, dtype=dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    add = commands.add_parser("run")
    add.add_argument("model")
    add.add_argument("manifest", type=Path)
    add.add_argument("--schemes", nargs="+", choices=SCHEMES, default=list(SCHEMES))
    add.add_argument("--samples", nargs="+", type=int, default=[300, 1000])
    add.add_argument("--limit", type=int, default=20)
    add.add_argument("--seed", type=int, default=0)
    add.add_argument("--dtype", choices=["bfloat16", "float32", "tf32"], default="bfloat16")
    add.add_argument("--device", default="cpu")
    add.add_argument("--batch-size", type=int, default=4, help="a GPU is fast with 64")
    add.add_argument("--out", type=Path, required=True)
    add.set_defaults(function=run)
    add = commands.add_parser("table")
    add.add_argument("files", nargs="+", type=Path)
    add.add_argument("--reference", default="paper:20000")
    add.set_defaults(function=table)
    parsed = parser.parse_args()
    parsed.function(parsed)


if __name__ == "__main__":
    main()
