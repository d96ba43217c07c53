"""Is the reliability that one explanation claims what two explanations with other seeds show?

    python benchmarks/split_half.py --out benchmarks/results/split_half.json

Explains the bundled recordings with three seeds and compares, for each number of samples, the
reliability of token and sentence maps with the correlation of the maps of two seeds. The exponent
of the odds (`GaussianProcess.odds_exponent`) was fitted to the first four recordings; the others
check it.
"""

from __future__ import annotations

import argparse
import json
from itertools import combinations
from pathlib import Path

import torch

from captum_spes import SPES, SpeechToTextAttribution
from captum_spes.demo import load_demo, load_examples

FITTED = ("test-00205", "test-00121", "test-00303", "test-00345")
SEEDS = (0, 1, 2)


def explained(explainer, path, scheme, n_samples, seed):
    """Maps of tokens and of the sentence, ``(maps, cells)``, and their claimed reliabilities."""
    result = explainer.attribute(
        path, scheme=scheme, n_samples=n_samples, n_token_samples=300, seed=seed,
        perturbations_per_eval=16,
    )  # fmt: skip
    reliability = result.reliability()
    tokens = result.spectrogram_attr.flatten(1).double()
    sentence = result.sentence_attr().spectrogram_attr.flatten()[None].double()
    claimed = (reliability.spectrogram.double(), torch.tensor([reliability.sentence]).double())
    return (tokens, sentence), claimed


def correlation(first, second):
    first, second = (maps - maps.mean(1, keepdim=True) for maps in (first, second))
    return (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1))


def bias(explainer, path, scheme, n_samples):
    """Claimed minus actual, the mean over tokens; the same of the sentence."""
    found = [explained(explainer, path, scheme, n_samples, seed) for seed in SEEDS]
    biases = []
    for kind in (0, 1):
        claimed = torch.stack([claims[kind] for _, claims in found]).mean(0)
        pairs = combinations([maps[kind] for maps, _ in found], 2)
        actual = torch.stack([correlation(*pair) for pair in pairs]).mean(0)
        biases.append(round(float((claimed - actual).mean()), 4))
    return {"tokens": biases[0], "sentence": biases[1]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--schemes", nargs="+", default=["efficient", "paper"])
    parser.add_argument("--samples", type=int, nargs="+", default=[200, 500, 1000, 2000])
    parser.add_argument("--limit", type=int, default=None, help="recordings")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    model, processor, _ = load_demo()
    explainer = SpeechToTextAttribution(SPES(model), processor)
    rows = []
    for scheme in arguments.schemes:
        for example in load_examples()[: arguments.limit]:
            for n_samples in arguments.samples:
                row = {"scheme": scheme, "recording": example.name, "samples": n_samples}
                row["fitted"] = example.name in FITTED
                row |= bias(explainer, example.path, scheme, n_samples)
                rows.append(row)
                print(json.dumps(row), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
