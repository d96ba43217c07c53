"""How few forward passes give a map as good as the paper's 20,000, and what else gives one.

Every way of making maps is judged on the same recordings: deletion by each token's own map
(divergence of that token, its output forced; "lost", the percentage of its probability that is
gone; "other", the probability in percent of the likeliest other token), deletion by the sentence's
map (divergence, and the word error rate of what is written anew), pointing, size, split-half
reliability. The cost is the time of one thread, in plain forward passes of the same run, backward
passes and regression included.

Ways were tuned on `TUNE` and are reported on `REPORT`, which were fixed before the first trial.
A way is a name and a number: samples of "paper", "lime" and "kernel-shap", steps of
"integrated-gradients", and of "efficient" samples, beside which gradients cost as much again;
"efficient-four" has four groups of tokens, as the default had, and so has "efficient-gradients";
"efficient-samples" leaves the gradients out, "efficient-misled" shifts them by half of the time,
"efficient-padded" computes them with all of Whisper's padding, "efficient-gradients" at twice as
many masks as by default; "integrated-gradients-short" leaves the padding out.

    python -m recipes.bundled.synthesize build/corpus --train 0 --validation 0 --test 140
    python benchmarks/few_passes.py run demo build/corpus/test/manifest.jsonl --set report \\
        --ways paper:20000 efficient:150 random: --out few_passes.jsonl
    python benchmarks/few_passes.py table few_passes.jsonl --reference paper:20000

One line per recording, way and seed is added to the file; what it holds is not computed again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from sample_efficiency import _NORMALIZE, PERCENTAGES, _clips, _load, _pointing, _records

from captum_spes import SPES, Settings, SpeechToTextAttribution, SpeechToTextAttributionResult
from captum_spes.attr import Prior
from captum_spes.metrics import size_curve
from captum_spes.metrics.perturbation import (
    Hearing,
    explained_sequence,
    graded_curve,
    perturbed,
    text_curve,
)
from captum_spes.speech import GradientPrior, named_methods
from captum_spes.speech.inputs import read_speech

TUNE = {
    "demo": tuple(f"test-{number:05}" for number in range(101, 111)),
    "openai/whisper-tiny.en": (
        "so-022420086", "so-024500250", "so-022510300",
        "so-010330129", "so-010290260", "so-013720070",
    ),
}  # fmt: skip
REPORT = {
    "demo": tuple(f"test-{number:05}" for number in range(1, 21)),
    "openai/whisper-tiny.en": (
        "so-021700362", "so-022510190", "so-022440139", "so-010270377", "so-022080294",
        "so-021290068", "so-024020291", "so-024300135", "so-013620210", "so-024300330",
        "librivox-0880", "librivox-0930", "librivox-0890", "librivox-0920", "librivox-0870", "jfk",
    ),
}  # fmt: skip
OWN_PERCENTAGES = tuple(range(0, 101, 10))
MEASURES = ("own", "lost", "other", "sentence", "wer", "pointing", "reliability", "size")
KEYS = {"../shared/models/whisper-tiny.en": "openai/whisper-tiny.en"}
BATCH = 16


class Misled:
    """The gradients of another time."""

    def of(self, side, run):
        prior = GradientPrior().of(side, run)
        maps = (prior.maps, *prior.halves)
        whole, *halves = (own.roll(own.shape[2] // 2, 2) for own in maps)
        return Prior(whole, tuple(halves))


def settings_of(way: str) -> tuple[str, Settings]:
    """The method and the settings of a way such as "efficient:150" or "lime:300"."""
    name, _, number = way.partition(":")
    count = int(number or 0)
    efficient = {"n_samples": count, "n_token_samples": 0}
    if name == "paper":
        return "spes", Settings.paper(**efficient)
    if name == "efficient":
        return "spes", Settings.efficient(**efficient)
    if name == "efficient-four":
        return "spes", Settings.efficient(**efficient, prior=GradientPrior(n_groups=4))
    if name == "efficient-samples":
        return "spes", Settings.efficient(**efficient, prior=None)
    if name == "efficient-padded":
        return "spes", Settings.efficient(**efficient, prior=GradientPrior(with_padding=True))
    if name == "efficient-gradients":
        return "spes", Settings.efficient(**efficient, prior=GradientPrior(count // 3, n_groups=4))
    if name == "efficient-misled":
        return "spes", Settings.efficient(**efficient, prior=Misled())
    if name.startswith("integrated-gradients"):
        args = {"n_steps": count, "gradients_with_padding": not name.endswith("-short")}
        return "integrated-gradients", Settings.paper(n_token_samples=0, method_args=args)
    return name, Settings.paper(
        n_samples=max(1, count), n_token_samples=0, patches_per_second=(60,), max_seconds=None
    )


def explained(model, processor, clip, way, seed):
    name, settings = settings_of(way)
    (method,) = named_methods([name])
    explainer = SpeechToTextAttribution(method.make(model), processor)
    start = time.process_time()
    result = explainer.attribute(clip["audio"], settings=method.settings(settings), seed=seed)
    return explainer.adapter, result, time.process_time() - start


def judged(adapter, result, clip):
    speech = read_speech(adapter, clip["audio"], adapter.sampling_rate)
    sequence = explained_sequence(result)
    steps = perturbed(speech, result.sentence_attr().spectrogram_attr, result.removed, PERCENTAGES)
    hearing = Hearing(adapter, speech, steps, BATCH)
    own, kept, other = [], [], []
    for token, token_map in enumerate(result.spectrogram_attr):
        steps = perturbed(speech, token_map, result.removed, OWN_PERCENTAGES)
        own_hearing = Hearing(adapter, speech, steps, BATCH)
        own.append(own_hearing.graded(sequence)["kl"][:, token])
        kept.append(own_hearing.scores(sequence, probability)[:, token])
        other.append(own_hearing.scores(sequence, probability_of_another)[:, token])
    try:
        reliability = result.reliability().sentence
    except ValueError:  # a method without halves
        reliability = None
    return {
        "reference": clip["text"],
        "written": hearing.transcripts({"max_new_tokens": 60}),
        "kl": hearing.graded(sequence)["kl"].mean(1).tolist(),
        "own": np.mean(own, 0).tolist(),
        "lost": np.mean([1 - np.minimum(1, p / p[0]) for p in kept], 0).tolist(),
        "other": np.mean(other, 0).tolist(),
        "size": size_curve(result).auc,
        "reliability": reliability,
        "pointing": _pointing(result, clip["words"]),
    }


def probability(logits, ids):
    """Of each token that was written, ``(batch, tokens)``."""
    return logits.softmax(-1)[:, torch.arange(len(ids)), ids]


def probability_of_another(logits, ids):
    """Of the likeliest token that was not written there."""
    others = logits.softmax(-1)
    others[:, torch.arange(len(ids)), ids] = 0
    return others.amax(-1)


def seconds_of_a_pass(adapter, clip, count=8):
    """A perturbed spectrogram through encoder and decoder, in batches as SPES has them."""
    speech = read_speech(adapter, clip["audio"], adapter.sampling_rate)
    with torch.no_grad(), adapter.evaluation_mode():
        sequence = adapter.generate(speech, {})
        batch = speech.spectrogram.expand(4, *speech.spectrogram.shape)
        start = time.process_time()
        for _ in range(count // 4):
            adapter.output_layer(adapter.decode(adapter.encode(speech, batch), sequence))
    return (time.process_time() - start) / count


def run(parsed: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    model, processor = _load(parsed.model, torch.float32)
    of_models = TUNE if parsed.set == "tune" else REPORT
    names = parsed.ids or of_models[KEYS.get(parsed.model, parsed.model)]
    clips = {clip["id"]: clip for clip in _clips(parsed.manifest)}
    known = {_key(record) for record in _records([parsed.out])} if parsed.out.exists() else set()
    for name in names[: parsed.limit]:
        for way in parsed.ways:
            asked = {"id": name, "way": way, "seed": parsed.seed, "set": parsed.set}
            if _key(asked) in known:
                continue
            clip, path = clips[name], None
            if parsed.maps is not None:
                path = parsed.maps / f"{name}.{way.replace(':', '')}.npz"
            if path is not None and path.exists():  # what took hours
                result = SpeechToTextAttributionResult.load(path)
                adapter, seconds = SpeechToTextAttribution(SPES(model), processor).adapter, None
            else:
                adapter, result, seconds = explained(model, processor, clip, way, parsed.seed)
            cost = {"seconds": seconds, "pass": seconds_of_a_pass(adapter, clip)}
            record = asked | cost | judged(adapter, result, clip)
            with parsed.out.open("a") as file:
                file.write(json.dumps(record) + "\n")
            print(name, way, seconds, flush=True)


def _key(record):
    return record["id"], record["way"], record["seed"]


def table(parsed: argparse.Namespace) -> None:
    """Means over recordings, of seeds first, beside the reference and in shares of its gain."""
    values: dict[str, dict[str, list[dict[str, float]]]] = {}
    for record in _records(parsed.files):
        of_clips = values.setdefault(record["way"], {})
        of_clips.setdefault(record["id"], []).append(_measures(record))
    means = {
        way: {clip: _mean_of(own) for clip, own in of_clips.items()}
        for way, of_clips in values.items()
    }
    reference, chance = means[parsed.reference], means["random:"]
    print("| way | passes | recordings | " + " | ".join(MEASURES) + " |")
    print("|---" * (3 + len(MEASURES)) + "|")
    for way, of_clips in means.items():
        both = [clip for clip in of_clips if clip in reference]
        cells = [_cell(name, of_clips, reference, chance, both) for name in MEASURES]
        passes = np.nanmean([own["passes"] for own in of_clips.values()])
        print(f"| {way} | {passes:,.0f} | {len(both)} | " + " | ".join(cells) + " |")
    print(
        f"\nIn brackets the paired difference from {parsed.reference} with its 95 % bootstrap "
        "interval; of deletion in percent of what the reference gains over a random map."
    )


def _measures(record):
    words = [_NORMALIZE(text) for text in record["written"]]
    wer = text_curve(
        "deletion", "wer_capped", PERCENTAGES, [_NORMALIZE(record["reference"])], [words]
    ).auc
    own = graded_curve("deletion", "kl", OWN_PERCENTAGES, [record["own"]]).auc
    # Files of earlier runs lack what becomes of the token itself.
    lost, other = (
        graded_curve("deletion", "kl", OWN_PERCENTAGES, [record[name]]).auc
        if name in record
        else np.nan
        for name in ("lost", "other")
    )
    sentence = graded_curve("deletion", "kl", PERCENTAGES, [record["kl"]]).auc
    pointing, spent = record["pointing"], record["seconds"]
    return {
        "own": own,
        "lost": 100 * lost,
        "other": 100 * other,
        "sentence": sentence,
        "wer": wer,
        "pointing": 100 * np.mean(pointing) if pointing else np.nan,
        "reliability": np.nan if record["reliability"] is None else record["reliability"],
        "size": record["size"],
        "passes": np.nan if spent is None else spent / record["pass"],
    }


def _mean_of(records):
    return {name: float(np.mean([own[name] for own in records])) for name in records[0]}


def _cell(name, of_clips, reference, chance, both):
    digits = 1 if name in ("lost", "other", "wer", "size", "pointing") else 2
    mean = np.nanmean([of_clips[clip][name] for clip in both])
    pairs = np.array([(of_clips[clip][name], reference[clip][name]) for clip in both])
    differences = (pairs[:, 0] - pairs[:, 1])[~np.isnan(pairs).any(1)]
    if len(differences) < 2 or not np.any(differences):
        return f"{mean:.{digits}f}"
    scale = 1.0
    if name in ("own", "sentence", "wer"):
        scale = 100 / np.mean([reference[clip][name] - chance[clip][name] for clip in both])
    draws = np.random.default_rng(0).integers(0, len(differences), (5000, len(differences)))
    low, high = scale * np.quantile(differences[draws].mean(1), [0.025, 0.975])
    digits_of_difference = digits if scale == 1 else 0
    difference = (
        f"{scale * differences.mean():+.{digits_of_difference}f} "
        f"[{low:.{digits_of_difference}f}, {high:.{digits_of_difference}f}]"
    )
    return f"{mean:.{digits}f} ({difference}{'' if scale == 1 else ' %'})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    add = commands.add_parser("run")
    add.add_argument("model")
    add.add_argument("manifest", type=Path)
    add.add_argument("--set", choices=["tune", "report"], required=True)
    add.add_argument("--ways", nargs="+", required=True)
    add.add_argument("--seed", type=int, default=0)
    add.add_argument("--limit", type=int)
    add.add_argument("--ids", nargs="+", help="of recordings; default: those of the set")
    add.add_argument("--maps", type=Path, help="folder of explanations made before")
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
