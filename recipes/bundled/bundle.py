"""Put a trained model and chosen test recordings where the package looks for them.

    python -m recipes.bundled.bundle corpus model test-00001 test-00002

replaces what is there, and the log of the training beside this file; a name that the corpus
lacks stops it before anything is replaced. The weights are stored in half precision, which
halves what everybody downloads; :func:`captum_spes.demo.load_demo` reads them as float32.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from captum_spes.demo import MANIFEST, MODEL_FOLDER
from captum_spes.errors import ArgumentError
from recipes.bundled.synthesize import read_manifest

TRAINING_LOG = Path(__file__).parent / "training.jsonl"
_WEIGHTS = "model.safetensors"


def bundle(
    corpus: Path,
    model: Path,
    names: Sequence[str],
    *,
    model_folder: Path = MODEL_FOLDER,
    recordings: Path = MANIFEST.parent,
    training_log: Path = TRAINING_LOG,
) -> None:
    """Copy the model in half precision, without what only training needs, its log, and recordings.

    Args:
        corpus: folder that ``synthesize`` wrote.
        model: folder that ``train`` wrote.
        names: test recordings, the first one shown first.
        model_folder: where the model goes; replaced. Default: the package's.
        recordings: where the recordings and their manifest go; replaced. Default: the package's.
        training_log: where the log of the training goes. Default: beside this file.

    Raises:
        ArgumentError: the corpus has no such test recording.
    """
    lines = {line["name"]: line for line in read_manifest(corpus / "test")}
    unknown = [name for name in names if name not in lines]
    if unknown:
        raise ArgumentError(f"{corpus / 'test'} has no recording {unknown[0]!r}.")
    for folder in (model_folder, recordings):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model, model_folder, ignore=shutil.ignore_patterns("training.*", _WEIGHTS))
    write_in_half_precision(model / _WEIGHTS, model_folder / _WEIGHTS)
    shutil.copy(model / "training.log", training_log)
    recordings.mkdir(parents=True)
    chosen = [lines[name] for name in names]
    for line in chosen:
        shutil.copy(corpus / "test" / line["audio"], recordings)
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in chosen)
    (recordings / MANIFEST.name).write_text(text, encoding="utf-8")


def write_in_half_precision(weights: Path, out: Path) -> None:
    """Write weights with their floating-point tensors as float16, and whole numbers as they are.

    Args:
        weights: a safetensors file.
        out: the file to write.

    Raises:
        ArgumentError: a finite weight would become infinite.
    """
    from safetensors import safe_open
    from safetensors.torch import save

    halved = {}
    with safe_open(weights, framework="pt") as file:
        metadata = file.metadata()
        for name in file.keys():  # noqa: SIM118 - not a mapping
            tensor = file.get_tensor(name)
            if tensor.is_floating_point():
                if tensor.abs().max() > torch.finfo(torch.float16).max:
                    raise ArgumentError(f"{name} in {weights} is too large for half precision.")
                tensor = tensor.half()
            halved[name] = tensor
    out.write_bytes(save(halved, metadata))


def write_without_encoder(weights: Path, out: Path) -> None:
    """Write the weights that are not the bundled encoder's, in half precision.

    Args:
        weights: a safetensors file.
        out: the file to write.
    """
    from safetensors.torch import load_file, save_file

    whole = out.with_name("whole.safetensors")
    own = {n: own for n, own in load_file(weights).items() if not n.startswith("encoder.")}
    save_file(own, whole, {"format": "pt"})
    write_in_half_precision(whole, out)
    whole.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpus", type=Path, help="folder that synthesize wrote")
    parser.add_argument("model", type=Path, help="folder that train wrote")
    parser.add_argument("names", nargs="+", help="of test recordings, the first one shown first")
    parsed = parser.parse_args()
    bundle(parsed.corpus, parsed.model, parsed.names)


if __name__ == "__main__":
    main()
