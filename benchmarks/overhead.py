"""How much of the time of an explanation is not the model's own forward.

Runs explanations and, in the same run, adds up the time inside the model's encoder and
decoder passes by hooks; the rest is ours. Prints the shares of several runs.

    python benchmarks/overhead.py --model FOLDER --audio speech.flac --out results.json
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.speech.models import load_model


class ForwardTime:
    """Seconds spent inside calls of modules, while registered."""

    def __init__(self, *modules):
        self.seconds = 0.0
        self._handles = [
            handle
            for module in modules
            for handle in (
                module.register_forward_pre_hook(self._start, with_kwargs=True),
                module.register_forward_hook(self._stop, with_kwargs=True),
            )
        ]

    def _start(self, module, args, kwargs):
        self._started = time.perf_counter()

    def _stop(self, module, args, kwargs, output):
        self.seconds += time.perf_counter() - self._started

    def remove(self):
        for handle in self._handles:
            handle.remove()


def measure(explainer, audio, text, **settings):
    """Seconds in all and inside the model, of the part after the audio is read."""
    model = explainer.attr_method.forward_func
    inside = ForwardTime(model.get_encoder(), model)
    start = time.perf_counter()
    explainer.attribute(audio, target=text, seed=0, **settings)
    total = time.perf_counter() - start
    inside.remove()
    return total, inside.seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()

    model, processor = load_model(arguments.model)
    explainer = SpeechToTextAttribution(SPES(model), processor)
    probe = explainer.attribute(arguments.audio, n_samples=1, n_token_samples=0, seed=0)
    report = {
        "machine": {"processor": platform.processor() or platform.machine(),
                    "threads": torch.get_num_threads(), "torch": torch.__version__},
        "audio_seconds": probe.seconds,
        "tokens": len(probe.output_tokens),
        "samples": arguments.samples,
        "sides": {},
    }  # fmt: skip
    sides = {
        "spectrogram": {"n_samples": arguments.samples, "n_token_samples": 0},
        "previous tokens": {"n_samples": 1, "n_token_samples": 4 * arguments.samples},
    }
    for name, settings in sides.items():
        runs = []
        for _ in range(arguments.runs):
            total, inside = measure(explainer, arguments.audio, probe.text, **settings)
            samples = max(settings.values())
            runs.append(
                {
                    "ms_per_sample": round(1000 * total / samples, 2),
                    "ms_outside_per_sample": round(1000 * (total - inside) / samples, 2),
                    "share_outside": round(1 - inside / total, 4),
                }
            )
        shares = [run["share_outside"] for run in runs]
        report["sides"][name] = {"runs": runs, "median_share_outside": statistics.median(shares)}
        print(name, json.dumps(report["sides"][name]), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
