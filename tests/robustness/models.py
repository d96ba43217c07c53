"""Folders of small models, whole and damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"


def saved(folder: Path, model, processor) -> Path:
    """A model with its processor, also where that is no object of transformers'."""
    for part in (model, processor.feature_extractor, processor.tokenizer):
        part.save_pretrained(folder)
    # What is made from the configuration is made from it again, and would be read from nowhere.
    changed(folder, "generation_config.json", _from_model_config=False)
    return folder


def changed(folder: Path, file: str, **values) -> None:
    """Change entries of a JSON file, made if need be."""
    path = folder / file
    found = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**found, **values}))


def with_weights(folder: Path, change) -> None:
    """Let a function change the weights by name."""
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def pickled(folder: Path, name: str = "pytorch_model.bin") -> None:
    """Keep the weights as older programs do."""
    torch.save(load_file(folder / WEIGHTS), folder / name)
    (folder / WEIGHTS).unlink()


def with_code(folder: Path, witness: Path) -> None:
    """Let every configuration name code of the folder, which leaves a file when it runs."""
    (folder / "own.py").write_text(f"open({str(witness)!r}, 'w').write('ran')\n")
    names = ("Config", "Model", "ModelForSpeechSeq2Seq", "Processor", "FeatureExtractor")
    names += ("ModelForAudioClassification",)
    auto_map = {f"Auto{name}": "own.Own" for name in names}
    auto_map["AutoTokenizer"] = ["own.Own", "own.Own"]
    for file in folder.glob("*config.json"):
        changed(folder, file.name, auto_map=auto_map)


def copied(source: Path, folder: Path) -> Path:
    """A copy that can be written to, whatever the source."""
    folder.mkdir()
    for file in source.iterdir():
        shutil.copyfile(file, folder / file.name)
    return folder
