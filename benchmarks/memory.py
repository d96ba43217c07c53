"""Peak memory of an explanation for several numbers of samples, each in its own process.

python benchmarks/memory.py --model FOLDER --audio speech.flac --samples 100 2000
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path


def peak(arguments, samples):
    """Peak resident memory in MiB of a fresh process, before and after explaining."""
    code = (
        "import resource, json\n"
        "from captum_spes import SPES, SpeechToTextAttribution\n"
        "from captum_spes.speech.models import load_model\n"
        f"model, processor = load_model({arguments.model!r})\n"
        "explainer = SpeechToTextAttribution(SPES(model), processor)\n"
        "def mib(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        f"explainer.attribute({str(arguments.audio)!r}, n_samples=1, n_token_samples=0, seed=0)\n"
        "before = mib()\n"
        f"explainer.attribute({str(arguments.audio)!r}, n_samples={samples},\n"
        f"    n_token_samples={samples}, seed=0)\n"
        "print(json.dumps({'before': round(before), 'after': round(mib())}))\n"
    )
    shown = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    return json.loads(shown.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--samples", type=int, nargs="+", default=[100, 2000])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    report = {}
    for samples in arguments.samples:
        report[str(samples)] = peak(arguments, samples)
        print(samples, report[str(samples)], "MiB", flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
