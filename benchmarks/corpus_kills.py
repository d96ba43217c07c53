"""Is anything lost when a run over a corpus is killed?

    python benchmarks/corpus_kills.py --kills 80 --ray-kills 20 --out corpus_kills.json

The bundled recordings, several times over, are explained by ``captum-spes corpus`` with two
workers, first in processes, then on Ray, and killed (SIGKILL) at random moments: one worker, the
process that writes, all processes together, and of Ray's its head and what keeps its machine. A run
that ends by it is started again into the same store, until all is explained; then every id must be
there once, each explanation equal bit for bit to that of a run that nobody disturbed.
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
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from captum_spes.corpus import ExplanationStore
from captum_spes.demo import load_examples

OPTIONS = ["--samples", "60", "--token-samples", "0", "--quiet", "--workers", "2"]
COPIES = 4
# What is killed, by what is in the command of its process; None is the process that writes.
VICTIMS = {
    "processes": {"worker": "spawn_main", "writer": None, "all": None},
    "ray": {"worker": "ray::_Actor", "writer": None, "all": None, "head": "gcs_server",
            "machine": "raylet/raylet"},
}  # fmt: skip
# Seconds between two kills, on the average, from when the first explanation can be there.
PAUSE = 3.0
# A process whose head of Ray's is gone ends itself after a minute.
PATIENCE = 150


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=80)
    parser.add_argument("--ray-kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    generator = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        manifest = written_manifest(Path(folder))
        run(manifest, Path(folder) / "whole.h5", "processes")
        whole = contents(Path(folder) / "whole.h5")
        found = {"utterances": len(whole)}
        for where, kills in (("processes", arguments.kills), ("ray", arguments.ray_kills)):
            found[where] = kills_in(where, kills, manifest, whole, generator)
            if arguments.out is not None:
                arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def written_manifest(folder):
    manifest = folder / "manifest.jsonl"
    lines = [
        {"id": f"{own.name} {copy}", "audio": str(own.path), "text": own.text}
        for own in load_examples()
        for copy in range(COPIES)
    ]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest


def kills_in(where, most, manifest, whole, generator):
    """Kill runs into one store after another, and compare each that is complete."""
    found = {"kills": Counter(), "runs": 0, "stores": 0, "journals": 0, "differing": 0}
    with tqdm(total=most, desc=where) as progress:
        while sum(found["kills"].values()) < most:
            store = manifest.parent / f"{where}.h5"
            until_complete(manifest, store, where, generator, most, found, progress)
            if contents(store) != whole:
                found["differing"] += 1
            found["stores"] += 1
            store.unlink()
    return found


def until_complete(manifest, store, where, generator, most, found, progress):
    """Start runs into one store until it is complete, and kill as many as are left to kill."""
    while missing(store, manifest):
        process = start_run(manifest, store, where)
        found["runs"] += 1
        wait_for_one_more(store, process)
        while process.poll() is None and sum(found["kills"].values()) < most:
            time.sleep(float(generator.exponential(PAUSE)))
            victim = str(generator.choice(list(VICTIMS[where])))
            if process.poll() is None and kill(process, where, victim, generator):
                found["kills"][victim] += 1
                found["journals"] += (store.parent / f".{store.name}.journal").exists()
                progress.update()
                if victim != "worker":
                    break
        started = descendants(process.pid)
        try:
            process.wait(PATIENCE)
        finally:  # what it had started may live on
            end([*started, process.pid])
    with ExplanationStore(store) as opened:
        assert opened.verify() == {}


def wait_for_one_more(store, process):
    """Loading is no moment at which anything could be lost."""
    before = count(store)
    while process.poll() is None and count(store) == before:
        time.sleep(0.2)


def kill(process, where, victim, generator):
    """Whether there was something to kill."""
    mark, everything = VICTIMS[where][victim], descendants(process.pid)
    if victim == "all":
        found = [*everything, process.pid]
    elif victim == "writer":
        found = [process.pid]
    else:
        named = [pid for pid, command in everything.items() if mark in command]
        found = [int(generator.choice(named))] if named else []
    end(found)
    return bool(found)


def end(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def descendants(pid):
    """Commands of the processes that a process started, and of those that these started."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True)
    of_parent = {}
    for line in listed.stdout.splitlines():
        own, parent, command = line.split(None, 2)
        of_parent.setdefault(int(parent), []).append((int(own), command))
    found, left = {}, [pid]
    while left:
        for own, command in of_parent.get(left.pop(), []):
            found[own] = command
            left.append(own)
    return found


def missing(store, manifest):
    return len(manifest.read_text().splitlines()) - count(store)


def count(store):
    if not store.exists():
        return 0
    with ExplanationStore(store) as opened:
        return len(opened)


def command(manifest, store, where):
    more = ["--ray", "local"] if where == "ray" else []
    return [sys.executable, "-m", "captum_spes.cli", "corpus", str(manifest), *OPTIONS, *more,
            "--store", str(store)]  # fmt: skip


def start_run(manifest, store, where):
    return subprocess.Popen(
        command(manifest, store, where), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def run(manifest, store, where):
    subprocess.run(command(manifest, store, where), check=True, stdout=subprocess.DEVNULL)


def contents(path):
    """What is stored, by id."""
    with ExplanationStore(path) as store:
        found = {}
        for id_, result in store.items():
            arrays, text = result._stored()
            found[id_] = text, {name: values.tobytes() for name, values in arrays.items()}
        assert len(found) == len(store.ids())
        return found


if __name__ == "__main__":
    main()
