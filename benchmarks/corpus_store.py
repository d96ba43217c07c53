"""A store of many utterances: the memory of who writes it, its size, and how fast it is read.

    python benchmarks/corpus_store.py --utterances 1000 --store maps.h5 --out corpus_store.json

The bundled recordings, each many times, are explained with few samples by two workers. A store that
is there already is gone on with, or only read where it is complete.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from captum_spes import Settings
from captum_spes.corpus import ExplanationStore, Utterance, explain_corpus
from captum_spes.demo import load_demo, load_examples

READS = 200


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--utterances", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=30)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    found = {"utterances": arguments.utterances, **written(arguments), **read(arguments.store)}
    print(json.dumps(found, indent=1))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


def demo():
    return load_demo()[:2]


def written(arguments):
    """Memory of this process, in MB, after every hundredth explanation."""
    memory = []

    class Watched(ExplanationStore):
        def _add_packed(self, explanations):
            super()._add_packed(explanations)
            if len(self) // 100 > len(memory):
                memory.append([len(self), resident()])

    examples = load_examples()
    utterances = [
        Utterance(f"{number:05d}", examples[number % len(examples)].path, "")
        for number in range(arguments.utterances)
    ]
    settings = Settings.efficient(
        n_samples=arguments.samples, n_token_samples=0, patches_per_second=(30,)
    )
    with Watched(arguments.store) as store:
        start = time.perf_counter()
        run = explain_corpus(utterances, store, model=demo, settings=settings, workers=2)
        seconds = time.perf_counter() - start
        assert not run.failures
    return {"explained": len(run.explained), "seconds": round(seconds, 1), "writer, MB": memory}


def resident():
    """Of this process, now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 1e6, 1)


def read(path):
    generator = np.random.default_rng(0)
    with ExplanationStore(path) as store:
        ids = store.ids()
        asked = [str(generator.choice(ids)) for _ in range(READS)]
        with tempfile.TemporaryDirectory() as folder:
            sizes = []
            for number, id_ in enumerate(dict.fromkeys(asked[:20])):
                file = Path(folder) / f"{number}.npz"
                store[id_].save(file)
                sizes.append(file.stat().st_size)
        times = {
            "opening": median_ms(lambda _: ExplanationStore(path).close(), asked[:20]),
            "a token's map": median_ms(lambda id_: store.token_map(id_, 0), asked),
            "an explanation": median_ms(lambda id_: store[id_], asked),
        }
        return {
            "MB each": round(path.stat().st_size / len(ids) / 1e6, 3),
            "MB of an npz": round(sum(sizes) / len(sizes) / 1e6, 3),
            "ms": times,
        }


def median_ms(call, asked):
    times = []
    for id_ in asked:
        start = time.perf_counter()
        call(id_)
        times.append(1000 * (time.perf_counter() - start))
    return round(float(np.median(times)), 2)


if __name__ == "__main__":
    main()
