"""Take what the third tutorial reads from the study of reliability: two groups of real speech.

python benchmarks/reliability.py
python tutorials/results/make_reliability.py
"""

from __future__ import annotations

import shutil
from pathlib import Path

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
        for file in (folder / "attributions").glob("[!.]*.npz"):
            shutil.copy(file, target / "attributions")


if __name__ == "__main__":
    main()
