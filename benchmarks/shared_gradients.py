"""What do gradient methods save that share forward passes over tokens?

    python benchmarks/shared_gradients.py --model ../shared/models/whisper-tiny.en \\
        --audio ../shared/speech/librivox-0880.flac --steps 4 --out shared_gradients.json

Integrated Gradients of all tokens, with one forward pass a step for all of them, beside the same
with passes for each token, in turn, and beside those of a window without most of the padding
(``gradients_with_padding=False``), whose maps are compared with the others'. Without ``--model``
the bundled model and recording.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from captum.attr import IntegratedGradients

from captum_spes import SpeechToTextAttribution
from captum_spes.attr.captum_compat import compute_gradients
from captum_spes.demo import load_demo
from captum_spes.speech.models import load_model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--audio", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.model is None:
        model, processor, examples = load_demo()
        audio = examples[0].path
    else:
        model, processor = load_model(arguments.model)
        audio = arguments.audio
    found = {"threads": torch.get_num_threads(), "steps": arguments.steps, "rounds": []}
    for _ in range(arguments.repeats):
        shared, maps = measured(IntegratedGradients(model), processor, audio, arguments)
        by_token, expected = measured(unshared(model), processor, audio, arguments)
        short, of_short = measured(
            IntegratedGradients(model), processor, audio, arguments, gradients_with_padding=False
        )
        found["tokens"] = len(maps)
        found["equal"] = bool(torch.equal(maps, expected))
        found["rounds"].append({
            "seconds": round(shared, 2), "by token": round(by_token, 2),
            "times faster": round(by_token / shared, 3), "without padding": round(short, 2),
            "times faster without padding": round(by_token / short, 3),
        })  # fmt: skip
        found["correlation without padding"] = round(correlation(maps, of_short), 3)
        print(json.dumps(found["rounds"][-1]), flush=True)
    print(json.dumps(found, indent=1))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")


def unshared(model):
    """A gradient function of the user's own is called for each token."""
    method = IntegratedGradients(model)
    method.gradient_func = lambda *args, **kwargs: compute_gradients(*args, **kwargs)
    return method


def correlation(maps, others):
    """Mean over tokens of the correlation of their maps."""
    pairs = zip(maps.flatten(1), others.flatten(1), strict=True)
    return float(torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in pairs]).mean())


def measured(method, processor, audio, arguments, **changes):
    """Seconds of processor time, so that other jobs do not count, and the maps."""
    explainer = SpeechToTextAttribution(method, processor)
    start = time.process_time()
    result = explainer.attribute(
        audio, seed=0, n_token_samples=0, perturbations_per_eval=arguments.batch_size,
        method_args={"spectrogram": {"n_steps": arguments.steps}}, **changes,
    )  # fmt: skip
    return time.process_time() - start, result.spectrogram_attr


if __name__ == "__main__":
    main()
