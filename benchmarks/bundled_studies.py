"""Take what the third tutorial reads from the study of reliability: two groups of real speech.

python benchmarks/reliability.py
python benchmarks/bundled_studies.py
"""

from __future__ import annotations

import shutil
from pathlib import Path

from captum_spes.demo import STUDIES

MADE = Path("build/reliability/studies")
TAKEN = {
    "digits": MADE / "digits" / "spectrogram",
    "speaker": MADE / "speaker" / "spectrogram",
    "digits-cost": MADE / "digits" / "cost",
}


def main() -> None:
    for name, folder in TAKEN.items():
        target = STUDIES / name / "attributions"
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "settings.json", target.parent)
        for file in (folder / "attributions").glob("[!.]*.npz"):
            shutil.copy(file, target)


if __name__ == "__main__":
    main()
