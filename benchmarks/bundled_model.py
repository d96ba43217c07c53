"""How long the bundled model takes: the command line with its defaults, and the paper's settings.

Prints, for the paper's settings, also the time of the same number of forward passes without
anything around them, in the same batches, and the ratio of the two: 1 would be an explanation
that costs nothing but its model.

    python benchmarks/bundled_model.py --out results.json
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.demo import load_demo
from captum_spes.masks.scales import PAPER_PATCHES_PER_SECOND

N_SAMPLES, N_TOKEN_SAMPLES = 20_000, 2_000  # of the paper


def command_line_seconds() -> float:
    """Start of Python, model, explanation, figures and files."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "captum_spes.cli", "explain", "--out", folder, "--quiet"]
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start


@torch.no_grad()
def forward_seconds(explainer, result, counts, batch, passes) -> float:
    """Bare passes of encoder and decoder on as many perturbed spectrograms, and of the decoder
    alone on as many perturbed previous tokens; a part of them, scaled up."""
    adapter = explainer.adapter
    speech = adapter.from_features(result.spectrogram[None])
    target = adapter.force(speech, result.output_ids, {})
    spectrograms = speech.spectrogram.expand(batch, -1, -1).contiguous()
    start = time.perf_counter()
    for _ in range(passes):
        adapter.logits(adapter.encode(speech, spectrograms), target)
    both = (time.perf_counter() - start) / passes
    states = adapter.encode(speech, spectrograms)
    start = time.perf_counter()
    for _ in range(passes):
        adapter.logits(states, target)
    decoder = (time.perf_counter() - start) / passes
    return (both * counts["n_samples"] + decoder * counts["n_token_samples"]) / batch


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--passes", type=int, default=200)
    parser.add_argument("--samples", type=int, default=N_SAMPLES)
    parser.add_argument("--token-samples", type=int, default=N_TOKEN_SAMPLES)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    counts = {"n_samples": arguments.samples, "n_token_samples": arguments.token_samples}

    model, processor, examples = load_demo()
    explainer = SpeechToTextAttribution(SPES(model), processor)
    example = min(examples, key=lambda e: abs(e.seconds - 3))
    explainer.attribute(example.path, n_samples=100, n_token_samples=100, seed=0)  # warm up
    start = time.perf_counter()
    result = explainer.attribute(
        example.path,
        patches_per_second=PAPER_PATCHES_PER_SECOND,
        perturbations_per_eval=arguments.batch_size,
        seed=0,
        **counts,
    )
    seconds = time.perf_counter() - start
    bare = forward_seconds(explainer, result, counts, arguments.batch_size, arguments.passes)
    report = {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        },
        "command_line_default_seconds": round(command_line_seconds(), 1),
        "paper_settings": {
            **counts,
            "audio_seconds": example.seconds,
            "tokens": len(result.output_tokens),
            "batch_size": arguments.batch_size,
            "seconds": round(seconds, 1),
            "bare_forward_seconds": round(bare, 1),
            "ratio": round(seconds / bare, 3),
        },
    }
    print(json.dumps(report, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
