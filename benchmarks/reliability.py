"""Which attributions would you get again? The study across random seeds, from nothing to tables.

    python benchmarks/reliability.py

makes the corpora, trains five models per group, explains the same utterances with all of them and
writes tables, boxplots and a summary into `benchmarks/results/reliability`. Groups:

* digits: which of four spoken digits is below five, six real speakers (lexical);
* speaker: who of the six speaks them (acoustic);
* commands: action, object and location of synthetic commands (lexical);
* gender: of the voice of these commands (acoustic);
* transcription: the bundled speech-to-text model, its encoder given and its decoder trained anew.

It runs two jobs at a time, one thread each, and goes on where it was stopped. eSpeak NG and the
recordings of the Free Spoken Digit Dataset (`--digits`) are needed. All models of a group get
other initial weights and another order of the data; classifiers start from nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas

from captum_spes.demo import MODEL_FOLDER

SHARED = Path(os.environ.get("CAPTUM_SPES_SHARED", Path(__file__).parents[2] / "shared"))
SEEDS = (0, 1, 2, 3, 4)
UTTERANCES = 12
METHODS = (
    "spes@200,spes-efficient@200,saliency,integrated-gradients,feature-ablation,lime@25,lime@200"
)
UNITS = "20ms,20ms:100ms,20ms:word,100ms,patch,patch:word,phone,word"
# The other inputs cost as much each; the study's own units and methods are enough there.
OTHER_METHODS = "spes@200,saliency,integrated-gradients,feature-ablation,lime@25"
OTHER_UNITS = "20ms,20ms:word,word"
# On classifiers ablation explains the right class and SPES the whole distribution: a control
# that ablates, and scores as SPES does.
CONTROL_METHODS, CONTROL_UNITS = "feature-ablation-kl", "20ms,100ms,patch,phone,word"
# How agreement grows with the number of samples, for twenty-millisecond windows.
BUDGETS = (25, 100, 400, 1600)
COST_METHODS = ",".join(
    [f"{name}@{n}" for name in ("spes", "spes-efficient", "lime") for n in BUDGETS]
    + ["saliency", "integrated-gradients", "feature-ablation"]
)
COST_GROUPS = ("digits", "speaker")
# Sentences to train the decoder of the speech-to-text model with, and passes over them.
SENTENCES, SENTENCE_EPOCHS = 4800, 5


@dataclass(frozen=True)
class Group:
    """Models of one kind.

    Attributes:
        corpus: what they are trained and explained on.
        learned: labels that they learn together.
        explained: those that are explained.
        kind: "lexical" or "acoustic".
        sampling_rate: Hz.
    """

    corpus: str
    learned: tuple[str, ...]
    explained: tuple[str, ...]
    kind: str
    sampling_rate: int = 16_000


COMMANDS = ("action", "object", "location")
GROUPS = {
    "commands": Group("commands", COMMANDS, COMMANDS, "lexical"),
    "digits": Group("digits", ("keyword",), ("keyword",), "lexical", 8000),
    "speaker": Group("digits", ("speaker",), ("speaker",), "acoustic", 8000),
    "gender": Group("commands", ("gender",), ("gender",), "acoustic"),
}
TRANSCRIPTION = "transcription"
PLAIN_PARTS = ("spectrogram", "other-inputs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("build/reliability"))
    parser.add_argument("--digits", type=Path, default=SHARED / "speech" / "fsdd")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/reliability"))
    parser.add_argument("--jobs", type=int, default=2, help="at a time")
    parser.add_argument("--groups", nargs="+", default=[*GROUPS, TRANSCRIPTION])
    parsed = parser.parse_args()
    start = time.monotonic()
    groups = {name: GROUPS[name] for name in parsed.groups if name in GROUPS}
    with_texts = TRANSCRIPTION in parsed.groups
    for command in corpora(parsed.work, parsed.digits, with_texts):
        run(command)
    # The longest first, so that no job is left alone at the end.
    jobs = transcription_training(parsed.work) if with_texts else []
    side_by_side([*jobs, *classifier_training(parsed.work, groups)], parsed.jobs)
    trained = time.monotonic()
    jobs = [transcription_study(parsed.work)] if with_texts else []
    side_by_side([*classifier_studies(parsed.work, groups), *jobs], parsed.jobs)
    collect(parsed.work, parsed.out, groups, with_texts)
    minutes = [(trained - start) / 60, (time.monotonic() - trained) / 60]
    print(f"corpora and training {minutes[0]:.0f} min, explanations {minutes[1]:.0f} min")


def corpora(work: Path, digits: Path, with_texts: bool) -> list[list[str]]:
    commands = [
        ["recipes.stability.digits", str(digits), str(work / "digits")],
        ["recipes.stability.commands", str(work / "commands")],
    ]
    if with_texts:
        sizes = ["--train", str(SENTENCES), "--validation", "60", "--test", "60"]
        commands.append(["recipes.bundled.synthesize", str(work / "sentences"), *sizes])
    return commands


def classifier_training(work: Path, groups: dict[str, Group]) -> list[list[str]]:
    return [
        [
            "recipes.stability.training",
            str(work / group.corpus / "train"),
            *("--validation", str(work / group.corpus / "validation")),
            *("--tasks", *group.learned),
            *("--sampling-rate", str(group.sampling_rate)),
            *("--seeds", str(seed)),
            *("--out", str(work / "models" / name)),
        ]
        for name, group in groups.items()
        for seed in SEEDS
    ]


def transcription_training(work: Path) -> list[list[str]]:
    return [
        [
            "recipes.bundled.train",
            str(work / "sentences"),
            str(work / "models" / TRANSCRIPTION / f"seed-{seed}"),
            *("--epochs", str(SENTENCE_EPOCHS), "--seed", str(seed), "--start", str(MODEL_FOLDER)),
        ]
        for seed in SEEDS
    ]


def classifier_studies(work: Path, groups: dict[str, Group]) -> list[list[str]]:
    studies = []
    for name, group in groups.items():
        parts = [
            ("spectrogram", "spectrogram", METHODS, UNITS, UTTERANCES),
            ("other-inputs", "waveform,encoder", OTHER_METHODS, OTHER_UNITS, UTTERANCES),
            ("control", "spectrogram", CONTROL_METHODS, CONTROL_UNITS, UTTERANCES),
        ]
        if name in COST_GROUPS:
            parts.append(("cost", "spectrogram", COST_METHODS, "20ms", UTTERANCES // 2))
        for part, inputs, methods, units, limit in parts:
            manifest = work / group.corpus / "test" / "manifest.jsonl"
            command = study(work, name, manifest, part, methods, units)
            command += ["--inputs", inputs, "--tasks", ",".join(group.explained)]
            studies.append([*command, "--limit", str(limit)])
    return studies


def transcription_study(work: Path) -> list[str]:
    manifest = work / "sentences" / "test" / "manifest.jsonl"
    command = study(work, TRANSCRIPTION, manifest, "spectrogram", METHODS, UNITS)
    # A sentence has a dozen tokens, each with a map of its own.
    return [*command, "--limit", str(UTTERANCES // 2)]


def study(work: Path, name: str, manifest: Path, part: str, methods: str, units: str) -> list[str]:
    return [
        *("captum_spes.cli", "reliability", "--quiet"),
        *("--models", str(work / "models" / name), "--manifest", str(manifest)),
        *("--methods", methods, "--units", units),
        *("--out", str(work / "studies" / name / part)),
    ]


def side_by_side(jobs: Sequence[Sequence[str]], n_jobs: int) -> None:
    with ThreadPoolExecutor(n_jobs) as pool:
        for _ in pool.map(run, jobs):
            pass


def run(command: Sequence[str]) -> None:
    """Run a module; what it prints is shown only if it fails."""
    threads = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env={**os.environ, **threads},
        capture_output=True,
        text=True,
        check=False,
    )
    print(f"{time.monotonic() - start:6.0f} s  {' '.join(command)[:150]}", flush=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def collect(work: Path, out: Path, groups: dict[str, Group], with_texts: bool) -> None:
    """Copy reports, and put all conditions into one table."""
    kinds = {name: group.kind for name, group in groups.items()}
    if with_texts:
        kinds[TRANSCRIPTION] = "lexical"
    tables = []
    for name, kind in kinds.items():
        for folder in sorted((work / "studies" / name).iterdir(), reverse=True):
            target = out / name / folder.name
            target.mkdir(parents=True, exist_ok=True)
            for file in [*folder.glob("*.md"), *folder.glob("*.png"), folder / "settings.json"]:
                shutil.copy(file, target)
            table = pandas.read_csv(folder / "table.csv")
            table.insert(0, "part", folder.name)
            table.insert(0, "kind", kind)
            table.insert(0, "group", name)
            tables.append(table)
        copy_accuracies(work / "models" / name, out / name / "models.json")
    table = pandas.concat(tables)
    table.to_csv(out / "table.csv", index=False, float_format="%.4f")
    (out / "summary.md").write_text(overview(table), encoding="utf-8")


def overview(table: pandas.DataFrame) -> str:
    """Means over the tasks of each kind."""
    kinds = table["group"].where(table["group"] == TRANSCRIPTION, table["kind"])
    units = table["perturbed"] + " → " + table["reported"]
    columns = ["agreement", "chance", "mismatched", "ceiling", "disattenuated"]
    columns += ["of_model", "of_masks", "passes"]
    grouped = table.assign(kind=kinds, units=units).groupby(
        ["part", "input", "units", "method", "kind"], sort=False
    )
    lines = ["# Reliability across random seeds, means over tasks", ""]
    for (part, stage), means in grouped[columns].mean().groupby(level=[0, 1], sort=False):
        shown = means.reset_index()[["units", "method", "kind", *columns]]
        text = shown.to_string(index=False, float_format="{:.2f}".format)
        heading = stage if part in PLAIN_PARTS else f"{stage}, {part}"
        lines += [f"## {heading}", "", f"```\n{text}\n```", ""]
    return "\n".join(lines)


def copy_accuracies(models: Path, path: Path) -> None:
    """What training says of each model."""
    logs = {}
    for folder in sorted(models.iterdir()):
        if (folder / "training.json").exists():
            logs[folder.name] = json.loads((folder / "training.json").read_text())
        else:
            last = (folder / "training.log").read_text().splitlines()[-1]
            logs[folder.name] = json.loads(last)
    path.write_text(json.dumps(logs, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
