"""Shrink the study of reliability to what the third tutorial reads.

    python benchmarks/reliability.py
    python tutorials/results/make_reliability.py

takes the groups of real speech. Scores are divided by their largest one and keep eleven binary
digits, which changes no agreement by more than a hundredth.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from captum_spes.reliability.attributions import ModelAttributions, Record

HERE = Path(__file__).resolve().parent
STUDIES = HERE.parents[1] / "build" / "reliability" / "studies"
TAKEN = {
    "digits": STUDIES / "digits" / "spectrogram",
    "speaker": STUDIES / "speaker" / "spectrogram",
    "digits-cost": STUDIES / "digits" / "cost",
}


def main() -> None:
    for name, folder in TAKEN.items():
        target = HERE / "reliability" / name
        (target / "attributions").mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "settings.json", target)
        for file in sorted((folder / "attributions").glob("[!.]*.npz")):
            model = ModelAttributions.load(file)
            model.records = [shrunk(record) for record in model.records]
            model.save(target / "attributions" / file.name)


def shrunk(record: Record) -> Record:
    """The same ranks, in half the space."""
    largest = np.abs(record.scores).max(-1, keepdims=True)
    scores = record.scores / np.where(largest > 0, largest, 1)
    return replace(record, scores=scores.astype(np.float16))


if __name__ == "__main__":
    main()
