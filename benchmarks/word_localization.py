"""Is the saliency of a word higher while the word is spoken than in the rest of the clip?

For every word of at least three letters: mean over the frames inside the word's time, and
over the frames outside, of the maximum over frequency of the word's map. Also how far the
maps of two seeds agree, beside the maps of different tokens. Writes one JSON file, after
every clip, and goes on where it stopped.

    python benchmarks/word_localization.py --model FOLDER --manifest manifest.jsonl \
        --clips 12 --samples 300 --out benchmarks/results/word_localization.json
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import combinations
from pathlib import Path

import torch

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.speech.models import load_model


def main() -> None:
    arguments = _parser().parse_args()
    clips = _clips(arguments.manifest, arguments.clips)
    model, processor = load_model(arguments.model)
    explainer = SpeechToTextAttribution(SPES(model), processor)
    settings = {
        "n_samples": arguments.samples,
        "n_token_samples": arguments.token_samples,
        "patches_per_second": arguments.patches_per_second,
        "baselines": arguments.baselines,
        "perturbations_per_eval": 2,
    }
    report = _load(arguments.out, settings)
    for clip in clips:
        if clip["id"] in report["clips"]:
            continue
        report["clips"][clip["id"]] = _measure(explainer, clip, arguments, settings)
        report["summary"] = _summary(report["clips"])
        arguments.out.write_text(json.dumps(report, indent=1))
        print(clip["id"], report["summary"], flush=True)


def _measure(explainer, clip, arguments, settings):
    audio = arguments.manifest.parent / clip["file"]
    start = time.perf_counter()
    results = [explainer.attribute(audio, seed=seed, **settings) for seed in (0, 1)]
    measured = {"seconds_per_run": (time.perf_counter() - start) / 2, "text": results[0].text}
    measured["words"] = _words(results[0], clip["words"])
    maps = [result.normalized().spectrogram_attr.flatten(1) for result in results]
    same = [_correlation(a, b) for a, b in zip(*maps, strict=True)]
    other = [_correlation(maps[0][i], maps[1][j]) for i, j in combinations(range(len(same)), 2)]
    measured["same_token_two_seeds"] = sum(same) / len(same)
    measured["two_tokens_two_seeds"] = sum(other) / len(other)
    measured["tokens_above_other_tokens"] = sum(s > sum(other) / len(other) for s in same) / len(
        same
    )
    return measured


def _words(result, aligned):
    """Match words in order; hypothesis and reference are the same words in these clips."""
    maps = result.word_attr().spectrogram_attr
    spoken = iter(word for word in aligned or [])
    rows = []
    for word, saliency in zip(result.words, maps, strict=True):
        letters = "".join(c for c in word.word.lower() if c.isalnum() or c == "'")
        if not letters:
            continue
        match = next(spoken, None)
        if match is None or match["word"].strip("'") != letters.strip("'"):
            raise ValueError(f"{letters!r} does not match the alignment {match}")
        if len(letters) < 3 or match["start"] is None:
            continue
        profile = saliency.amax(1)
        times = result.frame_times
        inside = (times >= match["start"]) & (times <= match["end"])
        rows.append(
            {
                "word": letters,
                "inside": float(profile[inside].mean()),
                "outside": float(profile[~inside].mean()),
                "maximum_inside": bool(inside[int(profile.argmax())]),
            }
        )
    return rows


def _summary(clips):
    words = [word for clip in clips.values() for word in clip["words"]]
    share = sum(word["inside"] > word["outside"] for word in words) / max(1, len(words))
    pointing = sum(word["maximum_inside"] for word in words) / max(1, len(words))
    return {
        "clips": len(clips),
        "words": len(words),
        "share_of_words_higher_inside": round(share, 4),
        "share_of_words_with_maximum_inside": round(pointing, 4),
        **{
            name: round(sum(clip[name] for clip in clips.values()) / len(clips), 4)
            for name in ("same_token_two_seeds", "two_tokens_two_seeds")
        },
        "seconds_per_run": round(
            sum(clip["seconds_per_run"] for clip in clips.values()) / len(clips), 1
        ),
    }


def _correlation(a, b):
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1])


def _clips(manifest, count):
    clips = [json.loads(line) for line in manifest.read_text().splitlines()]
    usable = [clip for clip in clips if clip["words"] and clip["wer_tiny_en"] == 0]
    return usable[:count]


def _load(path, settings):
    if path.exists():
        report = json.loads(path.read_text())
        if report["settings"] != json.loads(json.dumps(settings)):
            raise SystemExit(f"{path} holds other settings: {report['settings']}")
        return report
    return {"settings": settings, "torch": torch.__version__, "clips": {}}


def _parser():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--token-samples", type=int, default=0)
    parser.add_argument("--patches-per-second", type=float, nargs="+", default=[400, 500, 600])
    parser.add_argument("--baselines", default=None)
    parser.add_argument("--out", type=Path, required=True)
    return parser


if __name__ == "__main__":
    main()
