"""Put the trained small speech LLM where the package looks for it.

    python -m recipes.speech_llm.bundle model

The encoder is the bundled model's and not stored a second time. Weights are stored in half
precision.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from captum_spes.demo import SPEECH_LLM_FOLDER
from recipes.bundled.bundle import write_without_encoder

TRAINING_LOG = Path(__file__).parent / "training.jsonl"
_WEIGHTS = "model.safetensors"
_KEPT = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")


def bundle(
    model: Path, folder: Path = SPEECH_LLM_FOLDER, training_log: Path = TRAINING_LOG
) -> None:
    """Copy the projector and the decoder, and the log of the training.

    Args:
        model: folder that ``train`` wrote.
        folder: where the model goes; replaced. Default: the package's.
        training_log: where the log goes. Default: beside this file.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in _KEPT:
        shutil.copy(model / name, folder)
    write_without_encoder(model / _WEIGHTS, folder / _WEIGHTS)
    shutil.copy(model / "training.jsonl", training_log)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="folder that train wrote")
    bundle(parser.parse_args().model)


if __name__ == "__main__":
    main()
