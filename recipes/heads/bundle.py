"""Put a trained CTC layer, or transducer, where the package looks for it.

    python -m recipes.heads.bundle ctc model
    python -m recipes.heads.bundle transducer model

The encoder is the bundled model's and not stored a second time. Weights are stored in half
precision.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from captum_spes.demo.frame_by_frame import CTC_FOLDER, TRANSDUCER_FOLDER
from recipes.bundled.bundle import write_without_encoder

_HERE = Path(__file__).parent
FOLDERS = {"ctc": CTC_FOLDER, "transducer": TRANSDUCER_FOLDER}
_WEIGHTS = "model.safetensors"


def bundle(model: Path, folder: Path, training_log: Path) -> None:
    """Copy what is not the encoder's, and the log of the training.

    Args:
        model: folder that ``train`` wrote.
        folder: where the model goes; replaced.
        training_log: where the log goes.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns("training.*", _WEIGHTS))
    write_without_encoder(model / _WEIGHTS, folder / _WEIGHTS)
    shutil.copy(model / "training.jsonl", training_log)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("head", choices=FOLDERS)
    parser.add_argument("model", type=Path, help="folder that train wrote")
    parsed = parser.parse_args()
    bundle(parsed.model, FOLDERS[parsed.head], _HERE / f"training_{parsed.head}.jsonl")


if __name__ == "__main__":
    main()
