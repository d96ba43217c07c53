"""How long does a corpus take on a cluster? Simulated, with measured times.

    pip install simpy
    python benchmarks/corpus_plan.py --manifest ../shared/speech/manifest.jsonl \\
        --out corpus_plan.json

100,000 utterances, whose lengths are drawn from those of a manifest, are explained by 1 to 1,000
workers. The process that hands out work and writes does one thing at a time, and each worker has
one task waiting, as in ``captum_spes.corpus.team``. One try in a thousand ends with the death of
its worker, which then has to be loaded again, and is repeated. Compared are the order (longest
first, or as it comes), whether workers die, and one store with several.
"""

from __future__ import annotations

import argparse
import json
from collections import deque
from pathlib import Path

import numpy as np
import simpy
from tqdm import tqdm

UTTERANCES = 100_000
WORKERS = (1, 10, 100, 1000)
DEATHS = 0.001
# Seconds per explanation, as a constant and per second of audio, and of loading a model. See
# results/README.md for where they were measured.
MODELS = {
    "bundled model, a CPU thread, 100 samples": (0.0, 0.33, 5.0),
    "Whisper tiny.en, a CPU thread, 500 samples": (240.0, 0.0, 15.0),
    "Whisper tiny.en, an H200, 500 samples": (1.2, 0.0, 15.0),
}
# Seconds of the process that hands out: to read a recording and hand it out; to commit, and for
# each explanation that is in the commit, as many as wait.
READING, COMMIT, WRITING = 0.002, 0.0015, 0.0033
MOST_IN_COMMIT = 32


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manifest", type=Path, required=True, help="for its field seconds")
    parser.add_argument("--utterances", type=int, default=UTTERANCES)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lines = arguments.manifest.read_text().splitlines()
    lengths = np.array([json.loads(line)["seconds"] for line in lines])
    drawn = np.random.default_rng(0).choice(lengths, arguments.utterances)
    rows = []
    for model, times in MODELS.items():
        for workers in tqdm(WORKERS, desc=model):
            for name, changes in VARIANTS.items():
                rows.append({"model": model, "workers": workers, "what": name,
                             **simulated(drawn, times, workers, **changes)})  # fmt: skip
                print(json.dumps(rows[-1]), flush=True)
    found = {"utterances": arguments.utterances, "mean seconds": round(float(drawn.mean()), 2),
             "reading": READING, "commit": COMMIT, "writing": WRITING, "deaths": DEATHS,
             "rows": rows}  # fmt: skip
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


VARIANTS = {
    "as it is": {},
    "no worker dies": {"deaths": 0.0},
    "in the order of the manifest": {"is_sorted": False},
    "four stores": {"stores": 4},
}


def simulated(lengths, times, workers, *, deaths=DEATHS, is_sorted=True, stores=1):
    """Hours, and shares of the time in which workers and the writing process work; with several
    stores, each a run of its own over its share, until the last of them ends."""
    if stores > 1:
        if workers % stores:
            return {}
        parts = [simulated(lengths[n::stores], times, workers // stores, deaths=deaths)
                 for n in range(stores)]  # fmt: skip
        return {
            "hours": max(part["hours"] for part in parts),
            "workers busy": round(float(np.mean([part["workers busy"] for part in parts])), 3),
            "writer busy": max(part["writer busy"] for part in parts),
            "deaths": sum(part["deaths"] for part in parts),
        }
    run = Run(sorted(lengths, reverse=True) if is_sorted else list(lengths), times, deaths)
    return run.done(workers)


class Run:
    def __init__(self, lengths, times, deaths):
        self.environment = simpy.Environment()
        self.left, self.count = deque(lengths), len(lengths)
        self.constant, self.slope, self.loading = times
        self.deaths, self.died, self.busy, self.writing = deaths, 0, 0.0, 0.0
        self.results = simpy.Store(self.environment)
        self.generator = np.random.default_rng(1)

    def done(self, workers):
        inboxes = [simpy.Store(self.environment) for _ in range(workers)]
        for inbox in inboxes:
            self.environment.process(self.worker(inbox))
        end = self.environment.process(self.hand_out(inboxes))
        self.environment.run(end)
        now = self.environment.now
        return {
            "hours": round(now / 3600, 3),
            "workers busy": round(self.busy / now / workers, 3),
            "writer busy": round(self.writing / now, 3),
            "deaths": self.died,
        }

    def worker(self, inbox):
        yield self.environment.timeout(self.loading)
        while True:
            length = yield inbox.get()
            seconds = self.constant + self.slope * length
            if self.generator.random() < self.deaths:
                self.died += 1
                yield self.environment.timeout(seconds * self.generator.random() + self.loading)
                yield self.results.put((inbox, length, False))
            else:
                self.busy += seconds
                yield self.environment.timeout(seconds)
                yield self.results.put((inbox, length, True))

    def hand_out(self, inboxes):
        """The process that hands out tasks and writes what comes."""
        for _ in range(2):
            for inbox in inboxes:
                yield from self.send(inbox)
        done = waiting = 0
        while done < self.count:
            inbox, length, is_there = yield self.results.get()
            if not is_there:
                self.left.appendleft(length)
            yield from self.send(inbox)
            waiting += is_there
            if waiting and (waiting == MOST_IN_COMMIT or not self.results.items):
                seconds = COMMIT + WRITING * waiting
                self.writing += seconds
                yield self.environment.timeout(seconds)
                done, waiting = done + waiting, 0

    def send(self, inbox):
        if self.left:
            self.writing += READING
            yield self.environment.timeout(READING)
            yield inbox.put(self.left.popleft())


if __name__ == "__main__":
    main()
