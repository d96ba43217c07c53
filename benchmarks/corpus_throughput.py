"""What does the runner of corpora cost?

    python benchmarks/corpus_throughput.py --out corpus_throughput.json

Explanations per second of ``explain_corpus`` with one and two workers, in processes and on Ray,
beside a bare loop over the same recordings with one thread, in the same run, without the time for
loading. Nothing else should run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

from captum_spes import SPES, Settings, SpeechToTextAttribution
from captum_spes.corpus import ExplanationStore, RayWorkers, Utterance, explain_corpus
from captum_spes.corpus.runner import seed_of
from captum_spes.demo import load_demo, load_examples
from captum_spes.io.samples import read_ahead


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=500)
    # Some longer work for each worker, so that starting counts for little.
    parser.add_argument("--copies", type=int, default=4, help="of each recording")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = Settings.efficient(
        n_samples=arguments.samples, n_token_samples=0, perturbations_per_eval=16
    )
    utterances = [
        Utterance(f"{own.name} {copy}", own.path, own.text)
        for copy in range(arguments.copies)
        for own in load_examples()
    ]
    found = {"utterances": len(utterances), "samples": arguments.samples, "rounds": []}
    for _ in range(arguments.repeats):
        bare = bare_rate(utterances, settings)
        own = {"bare loop, per second": round(bare, 4)}
        for name, workers in {
            "one worker": 1, "two workers": 2, "two workers of Ray's": RayWorkers("local", 2)
        }.items():  # fmt: skip
            own[name] = round(rate(utterances, settings, workers) / bare, 4)
        found["rounds"].append(own)
        print(json.dumps(own), flush=True)
    found["reading a recording, ms"] = round(1000 * seconds_of_reading(utterances), 2)
    print(json.dumps(found, indent=1))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


def demo():
    return load_demo()[:2]


def bare_rate(utterances, settings):
    model, processor = demo()
    explainer = SpeechToTextAttribution(SPES(model), processor)
    start = time.perf_counter()
    for own in utterances:
        explainer.attribute(
            own.audio, settings=settings, seed=seed_of(0, own.id), show_progress=False
        )
    return len(utterances) / (time.perf_counter() - start)


def rate(utterances, settings, workers):
    """Explanations per second, from when each worker has done one to the last."""
    times = []

    class Timed(ExplanationStore):
        def _add_packed(self, explanations):
            super()._add_packed(explanations)
            times.extend([time.perf_counter()] * len(explanations))

    first = 1 if workers == 1 else 2
    with tempfile.TemporaryDirectory() as folder, Timed(Path(folder) / "maps.h5") as store:
        explain_corpus(
            utterances, store, model=demo, settings=settings, workers=workers, show_progress=False
        )
    return (len(times) - first) / (times[-1] - times[first - 1])


def seconds_of_reading(utterances):
    start = time.perf_counter()
    for own in utterances:
        read_ahead(own.audio, 16_000)
    return (time.perf_counter() - start) / len(utterances)


if __name__ == "__main__":
    main()
