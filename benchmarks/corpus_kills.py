"""Is anything lost when a run over a corpus is killed, and what does the runner cost?

    python benchmarks/corpus_kills.py kills --kills 100 --out corpus_kills.json
    python benchmarks/corpus_kills.py throughput --out corpus_throughput.json

kills       The bundled recordings are explained by ``captum-spes corpus`` with two workers, and
            killed (SIGKILL) at random moments, in turn the writing process with all that it started
            and one worker alone, each time followed by a run that goes on. At the end every id must
            be there once, each explanation equal bit for bit to that of a run that nobody
            disturbed.
throughput  Explanations per second of the runner with one and two workers beside a bare loop over
            the same recordings with one thread, in the same run, without the time for loading.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from captum_spes import SPES, Settings, SpeechToTextAttribution
from captum_spes.corpus import ExplanationStore, Utterance, explain_corpus
from captum_spes.corpus.runner import seed_of
from captum_spes.demo import load_demo, load_examples

OPTIONS = ["--samples", "60", "--token-samples", "0", "--quiet", "--workers", "2"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    kills = commands.add_parser("kills")
    kills.add_argument("--kills", type=int, default=100)
    kills.add_argument("--seed", type=int, default=0)
    kills.add_argument("--out", type=Path)
    kills.set_defaults(run=run_kills)
    throughput = commands.add_parser("throughput")
    throughput.add_argument("--samples", type=int, default=500)
    throughput.add_argument("--repeats", type=int, default=3)
    throughput.add_argument("--out", type=Path)
    throughput.set_defaults(run=run_throughput)
    arguments = parser.parse_args()
    found = arguments.run(arguments)
    print(json.dumps(found, indent=1))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


# Killed runs ----------------------------------------------------------------------------


def run_kills(arguments):
    generator = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        manifest = folder / "manifest.jsonl"
        lines = [{"id": e.name, "audio": str(e.path), "text": e.text} for e in load_examples()]
        manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
        start = time.perf_counter()
        run(manifest, folder / "whole.h5")
        seconds = time.perf_counter() - start
        whole = contents(folder / "whole.h5")
        found = {"kills": 0, "stores": 0, "recordings": len(lines), "journals": 0, "differing": 0}
        with tqdm(total=arguments.kills) as progress:
            while found["kills"] < arguments.kills:
                store = folder / f"{found['stores']}.h5"
                done = until_complete(manifest, store, generator, seconds, arguments.kills, found)
                progress.update(done)
                if contents(store) != whole:
                    found["differing"] += 1
                found["stores"] += 1
                store.unlink()
        return found


def until_complete(manifest, store, generator, seconds, most, found):
    """Kill runs into one store until it is complete; how many were killed."""
    done = 0
    while missing(store, manifest) and found["kills"] < most:
        process = start_run(manifest, store)
        time.sleep(float(generator.uniform(0.3, 0.9)) * seconds)
        if process.poll() is None:
            if found["kills"] % 2:
                kill_worker(process, generator)
                process.wait()
            else:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            found["kills"] += 1
            done += 1
            found["journals"] += (store.parent / f".{store.name}.journal").exists()
    run(manifest, store)
    with ExplanationStore(store) as opened:
        assert opened.verify() == {}
    return done


def kill_worker(process, generator):
    """One of the processes that a run started, as long as there is one."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(process.pid)], capture_output=True, text=True
    ).stdout.splitlines()
    workers = [int(line.split()[0]) for line in listed if "spawn_main" in line]
    if workers:
        os.kill(int(generator.choice(workers)), signal.SIGKILL)


def missing(store, manifest):
    count = len(manifest.read_text().splitlines())
    if not store.exists():
        return count
    with ExplanationStore(store) as opened:
        return count - len(opened)


def command(manifest, store):
    return [sys.executable, "-m", "captum_spes.cli", "corpus", str(manifest), *OPTIONS,
            "--store", str(store)]  # fmt: skip


def start_run(manifest, store):
    return subprocess.Popen(
        command(manifest, store), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def run(manifest, store):
    subprocess.run(command(manifest, store), check=True, stdout=subprocess.DEVNULL)


def contents(path):
    """What is stored, by id."""
    with ExplanationStore(path) as store:
        found = {}
        for id_, result in store.items():
            arrays, text = result._stored()
            found[id_] = text, {name: values.tobytes() for name, values in arrays.items()}
        return found


# Throughput -----------------------------------------------------------------------------


def demo():
    return load_demo()[:2]


def run_throughput(arguments):
    torch.set_num_threads(1)
    settings = Settings.efficient(
        n_samples=arguments.samples, n_token_samples=0, perturbations_per_eval=16
    )
    # Some longer work for each worker, so that starting counts for little.
    utterances = [
        Utterance(f"{e.name} {n}", e.path, e.text) for n in range(4) for e in load_examples()
    ]
    model, processor = demo()
    explainer = SpeechToTextAttribution(SPES(model), processor)
    found = {"utterances": len(utterances), "samples": arguments.samples, "rounds": []}
    for _ in range(arguments.repeats):
        start = time.perf_counter()
        for own in utterances:
            explainer.attribute(
                own.audio, settings=settings, seed=seed_of(0, own.id), show_progress=False
            )
        bare = len(utterances) / (time.perf_counter() - start)
        one, two = (rate(utterances, settings, workers) for workers in (1, 2))
        found["rounds"].append(
            {"bare loop, per second": bare, "one worker": one / bare, "two workers": two / bare}
        )
    return found


def rate(utterances, settings, workers):
    """Explanations per second, from the first that is there to the last."""
    times = []

    class Timed(ExplanationStore):
        def _add_stored(self, *stored):
            super()._add_stored(*stored)
            times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder, Timed(Path(folder) / "maps.h5") as store:
        explain_corpus(
            utterances, store, model=demo, settings=settings, workers=workers, show_progress=False
        )
    return (len(times) - workers) / (times[-1] - times[workers - 1])


if __name__ == "__main__":
    main()
