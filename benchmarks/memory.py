"""Peak memory of an explanation for several numbers of samples, each in its own process.

The audio is repeated to 30 seconds, the longest that Whisper takes in one piece, and 100 tokens are
explained, whatever the model would write.

    python benchmarks/memory.py --model FOLDER --audio speech.flac --samples 20 200
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

_EXPLAIN = """
import json, resource, sys
import numpy as np
from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.io.audio import load_audio
from captum_spes.speech.models import load_model

model, audio, seconds, tokens, samples, scheme, batch = sys.argv[1:]
model, processor = load_model(model)
explainer = SpeechToTextAttribution(SPES(model), processor)
rate = explainer.adapter.sampling_rate
length = int(float(seconds) * rate)
samples_of_audio = np.resize(load_audio(audio, rate), length)
target = list(range(1000, 1000 + int(tokens) - 1))


def mib():
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def explain(n, n_tokens):
    explainer.attribute(samples_of_audio, rate, target=target, n_samples=n,
                        n_token_samples=n_tokens, seed=0, scheme=scheme,
                        perturbations_per_eval=int(batch))


# One bare forward: what the model itself needs for one example.
import torch
speech = explainer.adapter.from_audio(samples_of_audio)
with torch.no_grad():
    sequence = explainer.adapter.force(speech, target, {})
    explainer.adapter.encode(speech, speech.spectrogram[None])
before = mib()
explain(int(samples), int(samples))
print(json.dumps({"model": before, "explanation": mib(), "on_top": mib() - before}))
"""


def peak(arguments, samples):
    """Peak resident memory in MiB of a fresh process, before and after explaining."""
    values = (
        arguments.model, arguments.audio, arguments.seconds, arguments.tokens, samples,
        arguments.scheme, arguments.batch,
    )  # fmt: skip
    command = [sys.executable, "-W", "ignore", "-c", _EXPLAIN, *map(str, values)]
    shown = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(shown.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--samples", type=int, nargs="+", default=[20, 200])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--scheme", default="paper")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    report = {name: getattr(arguments, name) for name in ("seconds", "tokens", "scheme", "batch")}
    for samples in arguments.samples:
        report[f"{samples} samples, MiB"] = peak(arguments, samples)
        print(samples, report[f"{samples} samples, MiB"], "MiB", flush=True)
        if arguments.out:
            arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
