"""What a perturbed copy costs beside the model, without a decoder and from samples.

    python benchmarks/frame_by_frame.py --out frame_by_frame.json

The CTC layer, the transducer and the model of samples that come with the package, a recording of
30 s (noise) with 100 tokens, batches of 8. Each kind of pass runs in a process of its own:

model   the model's own forward pass of the batch; of a transducer encoder and joint network
pass    what an explanation does for a batch: features, encoder, the explained tokens' logits
front   of that, from pictures to what the model takes

Told are the best time (of five), the ratio to the model's own pass, and by how much the process's
peak of memory exceeds what it held before, with model and recording.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from speech_llm import memory

BATCH, SECONDS, TOKENS = 8, 30, 100
MODELS, KINDS = ("ctc", "transducer", "samples"), ("model", "pass", "front")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "KIND"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measured(*arguments.one, arguments.rounds)))
        return
    report = {"batch": BATCH, "seconds_of_audio": SECONDS, "tokens": TOKENS,
              "threads": torch.get_num_threads()}  # fmt: skip
    for name in MODELS:
        report[name] = {kind: run_alone(name, kind, arguments.rounds) for kind in KINDS}
        for kind, own in report[name].items():
            own["ratio"] = own["seconds"] / report[name]["model"]["seconds"]
            print(
                f"{name:10} {kind:6} {own['seconds']:.3f} s a batch, {own['ratio']:.2f} of the "
                f"model's own pass, {own['megabytes']:.0f} MB"
            )
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


def run_alone(name, kind, rounds):
    command = [sys.executable, __file__, "--one", name, kind, "--rounds", str(rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@torch.no_grad()
def measured(name, kind, rounds):
    from captum_spes.demo import load_ctc, load_transducer, load_waveform_ctc
    from captum_spes.speech.models import adapt

    load = {"ctc": load_ctc, "transducer": load_transducer, "samples": load_waveform_ctc}[name]
    model, processor, _ = load()
    adapter = adapt(model, processor)
    noise = 0.1 * np.random.default_rng(0).standard_normal(SECONDS * 16_000)
    speech = adapter.from_audio(noise.astype(np.float32))
    ids = [5 + place % 20 for place in range(TOKENS)]
    target = adapter.force(speech, ids, {})
    pictures = speech.spectrogram.expand(BATCH, -1, -1) + torch.zeros(BATCH, 1, 1)
    features = adapter.model_features(speech, pictures)
    own = model.get_audio_features if name == "transducer" else model
    passes = {
        "model": lambda: own(features),
        "pass": lambda: adapter.logits(adapter.encode(speech, pictures), target),
        "front": lambda: adapter.model_features(speech, pictures),
    }
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        passes[kind]()
        times.append(time.perf_counter() - start)
    return {"seconds": min(times), "megabytes": memory("VmHWM") - before}


if __name__ == "__main__":
    main()
