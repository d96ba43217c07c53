"""Put the trained model of samples where the package looks for it, in half precision.

python -m recipes.waveform_ctc.bundle model
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from captum_spes.demo.frame_by_frame import WAVEFORM_FOLDER
from recipes.bundled.bundle import write_in_half_precision

TRAINING_LOG = Path(__file__).parent / "training.jsonl"
_WEIGHTS = "model.safetensors"


def bundle(model: Path, folder: Path = WAVEFORM_FOLDER, training_log: Path = TRAINING_LOG) -> None:
    """Copy the model, and the log of its training.

    Args:
        model: folder that ``train`` wrote.
        folder: where the model goes; replaced. Default: the package's.
        training_log: where the log goes. Default: beside this file.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns("training.*", _WEIGHTS))
    write_in_half_precision(model / _WEIGHTS, folder / _WEIGHTS)
    shutil.copy(model / "training.jsonl", training_log)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="folder that train wrote")
    bundle(parser.parse_args().model)


if __name__ == "__main__":
    main()
