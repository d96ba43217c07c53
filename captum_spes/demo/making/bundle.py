"""Put a trained model and chosen test recordings where the package looks for them.

    python -m captum_spes.demo.making.bundle corpus model test-00001 test-00002

replaces what is there; a name that the corpus lacks stops it before anything is replaced.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from captum_spes.demo import MANIFEST, MODEL_FOLDER
from captum_spes.demo.making.synthesize import read_manifest


def bundle(corpus: Path, model: Path, names: Sequence[str]) -> None:
    """Copy the model without what only training needs, its log, and recordings by name."""
    lines = {line["name"]: line for line in read_manifest(corpus / "test")}
    chosen = [lines[name] for name in names]
    for folder in (MODEL_FOLDER, MANIFEST.parent):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model, MODEL_FOLDER, ignore=shutil.ignore_patterns("training.*"))
    shutil.copy(model / "training.log", MODEL_FOLDER.parent / "training.jsonl")
    MANIFEST.parent.mkdir()
    for line in chosen:
        shutil.copy(corpus / "test" / line["audio"], MANIFEST.parent)
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in chosen)
    MANIFEST.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpus", type=Path, help="folder that synthesize wrote")
    parser.add_argument("model", type=Path, help="folder that train wrote")
    parser.add_argument("names", nargs="+", help="of test recordings, the first one shown first")
    parsed = parser.parse_args()
    bundle(parsed.corpus, parsed.model, parsed.names)


if __name__ == "__main__":
    main()
