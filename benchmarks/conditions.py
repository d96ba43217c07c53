"""Which settings hold outside clean speech?

Clean recordings are brought into other conditions, explained, and measured: what the model writes,
deletion by each token's own map and by the sentence's (divergence, the output forced), size,
split-half reliability, and how far the map is that of the clean recording. The output that is
explained is what the model writes in that condition. What is measured is named here:

* ``conditions``: methods on `REPORT`, bundled model, in all of `CONDITIONS`;
* ``parameters``: the paper's settings, one changed at a time, in three of them;
* ``samples``: more samples on few clean recordings;
* ``boundaries``: whether maps become salient at the boundaries of phones, on `SPOKEN`;
* ``accents``: learners of English beside natives, Whisper tiny.en.

    python -m recipes.bundled.synthesize build/corpus --train 0 --validation 0 --test 140
    python benchmarks/conditions.py run conditions build/corpus/test/manifest.jsonl --out results
    python benchmarks/conditions.py run accents ../shared/speech/manifest.jsonl \\
        --model ../shared/models/whisper-tiny.en --out results
    python benchmarks/conditions.py tables results

One line per recording, condition and setting is added to ``results/conditions_PART.jsonl``; what is
there is not computed again. Maps of clean recordings are kept beside it, in ``maps``.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from conditions_tables import write_tables
from scipy import stats
from scipy.interpolate import make_interp_spline
from tqdm import tqdm

from captum_spes import Settings, SpeechToTextAttribution, slic_feature_mask
from captum_spes.alignment import read_alignments
from captum_spes.analysis import phone_boundary_agreement
from captum_spes.corpus import RecordingCondition, read_manifest
from captum_spes.corpus.runner import seed_of
from captum_spes.demo import load_demo
from captum_spes.errors import ArgumentError
from captum_spes.io.audio import load_audio
from captum_spes.masks import describe_levels
from captum_spes.metrics import own_token_deletion, size_curve
from captum_spes.speech import named_methods
from captum_spes.speech.models import load_model

RATE, STEP, BATCH = 16_000, 0.1, 16
# The first of the corpus's test part that have no noise of their own and last 2 to 4 s.
REPORT = tuple(
    f"test-{number:05}" for number in (4, 5, 12, 13, 22, 29, 31, 32, 36, 37, 39, 40)
)  # fmt: skip
CONDITIONS = (
    "clean",
    *(f"{kind}:{level}" for kind in ("noise", "speech-noise") for level in (20, 10, 5, 0)),
    "reverberation:0.4", "reverberation:0.8", "telephone", "rate:0.7", "rate:1.4",
)  # fmt: skip
# How far maps of the clean recording agree whose masks differ, as they do in other conditions.
AGAIN = "clean, another seed"
THREE = ("clean", "noise:10", "reverberation:0.8")
# Of phones there are times whatever the noise of the recording itself.
SPOKEN = tuple(f"test-{number:05}" for number in range(1, 31))
# In turn, so that a part of them has both; the short ones first. Learners, whose first language is
# Mandarin, were chosen by the collection so that Whisper tiny.en makes no error.
ACCENTS = (
    "librivox-0880", "so-021700362", "librivox-0930", "so-022510190", "librivox-0890",
    "so-022440139", "librivox-0920", "so-010270377", "librivox-0870", "so-022080294", "jfk",
    "so-021290068", "so-024020291", "so-024300135", "so-013620210", "so-024300330",
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """A way to explain: a method and what is changed of its settings, of the scheme's and of the
    patches."""

    name: str
    method: str = "spes"
    scheme: str = "paper"
    changes: tuple = ()
    patches: tuple = ()

    def of(self, adapter, samples):
        """The method, and settings for a recording."""
        (method,) = named_methods([self.method])
        scheme = Settings.efficient if self.scheme == "efficient" else Settings.paper
        common = {"n_token_samples": 0, "perturbations_per_eval": BATCH}
        settings = method.settings(scheme(**{**common, **dict(self.changes)}))
        if self.patches:
            spectrogram = adapter.from_audio(samples).spectrogram
            mask = slic_feature_mask(
                spectrogram, frame_rate=adapter.frame_rate, **dict(self.patches)
            )
            settings = settings.replace(feature_mask=mask)
        return method, settings


def _paper(name, n_samples=1_000, patches=(), **changes):
    return Setting(name, changes=(("n_samples", n_samples), *changes.items()), patches=patches)


METHODS = (
    Setting("spes-efficient", "spes-efficient", "efficient"),
    _paper("paper, 1,000 samples"),
    Setting("integrated-gradients", "integrated-gradients", changes=(
        ("method_args", {"n_steps": 20}),
    )),
    Setting("energy", "energy"),
    Setting("random", "random"),
)  # fmt: skip
PARAMETERS = (
    _paper("paper"),
    *(_paper(f"removal probability {p}", perturb_prob=p) for p in (0.3, 0.4, 0.6, 0.7)),
    *(_paper(f"compactness {c}", patches=(("compactness", c),)) for c in (0.01, 1.0)),
    *(_paper(f"sigma {s}", patches=(("sigma", s),)) for s in (1.0, 3.0)),
    *(_paper(f"{n} patches per second", patches_per_second=(n,)) for n in (60, 200, 1000)),
)
SAMPLES = tuple(_paper(f"{n:,} samples", n) for n in (1_000, 5_000, 20_000, 40_000))
PARTS = {
    "conditions": (REPORT[:10], (*CONDITIONS, AGAIN), METHODS),
    "parameters": (REPORT[:8], THREE, PARAMETERS),
    "samples": (REPORT[:2], ("clean",), SAMPLES),
    "boundaries": (SPOKEN, THREE, (METHODS[0], *METHODS[2:])),
    "accents": (ACCENTS, ("clean",), (METHODS[0], METHODS[3])),
}


class Runner:
    """Explains and measures."""

    def __init__(self, model, processor, manifest, maps):
        self.model, self.processor, self.maps = model, processor, maps
        self.utterances = {own.id: own for own in read_manifest(manifest)}
        self.alignments = read_alignments(manifest)

    def record(self, name, condition_name, setting):
        """A line of the results."""
        condition = RecordingCondition("clean" if condition_name == AGAIN else condition_name)
        samples, explainer, result, spent = self._explained(
            name, condition, setting, seed=int(condition_name != "clean")
        )
        utterance = self.utterances[name]
        found = own_token_deletion(explainer, [(samples, utterance.text, result)], STEP)
        reliability = _reliability(result)
        return {
            "reference": utterance.text,
            "written": result.text,
            "tokens": len(result.output_tokens),
            "seconds": result.seconds,
            "spent": spent,
            "patches": _patches(result),
            "own": list(found.own.y),
            "others": list(found.others.y),
            "sentence": list(found.sentence.y),
            "size": size_curve(result).auc,
            "reliability": reliability and reliability.sentence,
            "token_reliability": reliability and float(reliability.tokens.nanmean()),
            "agreement": self._agreement(name, condition, setting, result, condition_name),
        }

    def boundaries(self, name, condition_name, setting):
        """A line of onsets of the sentence's map and of those of all tokens against phones."""
        condition = RecordingCondition(condition_name)
        result = self._explained(name, condition, setting, int(condition_name != "clean"))[2]
        spoken = {name: condition.aligned(self.alignments[name])}
        found = {"written": result.text}
        for kind, tokens in (("sentence", False), ("tokens", True)):
            findings = phone_boundary_agreement(
                {name: result}, spoken, tokens=tokens, keep_noise=True
            )
            row = findings.table.drop(columns="utterance").iloc[0]
            found[kind] = {
                key: None if np.isnan(value) else float(value) for key, value in row.items()
            }
        return found

    def _explained(self, name, condition, setting, seed):
        samples = load_audio(self.utterances[name].file, RATE)
        samples = condition.applied(samples, RATE, seed=seed_of(0, name))
        # The adapter of any method makes the same spectrogram, which patches are cut from.
        adapter = SpeechToTextAttribution(
            named_methods(["energy"])[0].make(self.model), self.processor
        ).adapter
        method, settings = setting.of(adapter, samples)
        explainer = SpeechToTextAttribution(method.make(self.model), self.processor)
        start = time.process_time()
        result = explainer.attribute(samples, settings=settings, seed=seed)
        return samples, explainer, result, time.process_time() - start

    def _agreement(self, name, condition, setting, result, condition_name):
        """Spearman's rank correlation with the maps of the clean recording, of the sentence and the
        mean of the tokens; None where the model writes something else."""
        file = self.maps / f"{name}.{setting.name.replace(' ', '_')}.npz"
        if condition_name == "clean":
            self.maps.mkdir(parents=True, exist_ok=True)
            _keep(file, result)
            return None
        if not file.exists():  # what was measured elsewhere is there without its maps
            _keep(file, self._explained(name, RecordingCondition("clean"), setting, 0)[2])
        clean = np.load(file)
        if str(clean["text"]) != result.text:
            return None
        times = np.array([condition.seconds(t) for t in clean["times"]])
        maps = np.concatenate([_sentence(result)[None], result.spectrogram_attr.numpy()])
        own_times = result.frame_times.double().numpy()
        shared = (times >= own_times[0]) & (times <= own_times[-1])
        if condition.kind == "rate":
            maps = make_interp_spline(own_times, maps, k=1, axis=1)(times[shared])
        else:
            maps = maps[:, : len(times)]
        found = [
            float(stats.spearmanr(one.ravel(), other[shared].ravel()).statistic)
            for one, other in zip(maps, clean["maps"], strict=True)
        ]
        return {"sentence": found[0], "tokens": float(np.nanmean(found[1:]))}


def _reliability(result):
    try:
        return result.reliability()
    except ValueError:  # a method without halves
        return None


def _patches(result):
    if result.method != "SPES":
        return None
    return list(describe_levels(list(result.feature_masks)).n_patches)


def _sentence(result):
    return result.sentence_attr().spectrogram_attr.numpy()


def _keep(file, result):
    maps = np.concatenate([_sentence(result)[None], result.spectrogram_attr.numpy()])
    times = result.frame_times.double().numpy()
    np.savez_compressed(file, maps=maps.astype(np.float32), times=times, text=result.text)


def run(parsed):
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", ".*sampling noise")
    names, conditions, settings = asked_for(parsed)
    if parsed.model is None:
        model, processor, _ = load_demo()
    else:
        model, processor = load_model(parsed.model, dtype=torch.float32)
    runner = Runner(model, processor, parsed.manifest, parsed.out / "maps" / parsed.part)
    parsed.out.mkdir(parents=True, exist_ok=True)
    file = parsed.out / f"conditions_{parsed.part}.jsonl"
    known = set()
    if file.exists():
        known = {_key(json.loads(line)) for line in file.read_text().splitlines()}
    asked = [
        {"id": name, "condition": condition, "setting": setting.name}
        for name in names
        for condition in conditions
        for setting in settings
    ]
    by_name = {setting.name: setting for setting in settings}
    measure = runner.boundaries if parsed.part == "boundaries" else runner.record
    for one in tqdm([one for one in asked if _key(one) not in known], mininterval=10):
        try:
            found = measure(one["id"], one["condition"], by_name[one["setting"]])
        except ArgumentError as error:  # for example, only the end of the sentence is written
            found = {"error": str(error)}
        with file.open("a") as lines:
            lines.write(json.dumps(_rounded(one | found)) + "\n")


def asked_for(parsed):
    """Recordings, conditions and settings: those of the part, or what is asked for of them."""
    names, conditions, settings = PARTS[parsed.part]
    if parsed.settings:
        settings = [setting for setting in settings if setting.name in parsed.settings]
    return (parsed.ids or names)[: parsed.limit], parsed.conditions or conditions, settings


def _key(record):
    return record["id"], record["condition"], record["setting"]


def _rounded(value):
    """Five digits are more than repeats."""
    if isinstance(value, dict):
        return {key: _rounded(own) for key, own in value.items()}
    if isinstance(value, list):
        return [_rounded(own) for own in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    add = commands.add_parser("run")
    add.add_argument("part", choices=PARTS)
    add.add_argument("manifest", type=Path)
    add.add_argument("--model", help="name or folder; default: the bundled one")
    add.add_argument("--limit", type=int, help="the first N recordings only")
    add.add_argument("--ids", nargs="+", help="of recordings; default: those of the part")
    add.add_argument("--conditions", nargs="+", choices=(*CONDITIONS, AGAIN))
    named = {setting.name: setting for *_, settings in PARTS.values() for setting in settings}
    add.add_argument("--settings", nargs="+", choices=named, metavar="NAME", help="of the part's")
    add.add_argument("--out", type=Path, required=True, help="folder")
    add.set_defaults(function=run)
    add = commands.add_parser("tables")
    add.add_argument("folder", type=Path)
    add.add_argument("--out", type=Path, help="Markdown file; default: conditions.md in the folder")
    add.add_argument("--page", type=Path, help="a page whose tables are made anew")
    add.set_defaults(function=lambda own: write_tables(own.folder, own.out, own.page))
    parsed = parser.parse_args()
    parsed.function(parsed)


if __name__ == "__main__":
    main()
