"""Choose and shrink the explanations that the second tutorial reads.

    python -m recipes.bundled.synthesize build/corpus --train 0 --validation 0 --test 600
    python benchmarks/plausibility.py explain english german doubtful
    python tutorials/results/make.py

Numbers keep the eight binary digits that the model's own (bfloat16) have, and of the patches only
one level: together a sixth of the size.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from captum_spes import SpeechToTextAttributionResult

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build"
SHARED = Path(os.environ.get("CAPTUM_SPES_SHARED", HERE.parents[2] / "shared"))
N_OF_EACH_WORD = 10
GERMAN_KINDS = {"purpose": 8, "quotation": 3, "question": 3}
# Recordings of LibriVox and of speechocean762, both free to use, cut after half their time.
CUT = ("librivox-0930", "so-021700362", "so-022510190", "so-010270368", "so-024020291")


def main() -> None:
    lines = (BUILD / "corpus" / "test" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    english = []
    for wanted in ("so", "no"):
        holding = [e for e in entries if wanted in {w[0].lower() for w in e["words"]}]
        english += [e for e in holding if e not in english][:N_OF_EACH_WORD]
    german = [
        entry
        for kind, number in GERMAN_KINDS.items()
        for entry in [e for e in entries[:300] if e["kind"] == kind][:number]
    ]
    for language, chosen in (("english", english), ("german", german)):
        folder = HERE / language
        folder.mkdir(exist_ok=True)
        for entry in chosen:
            shrink(BUILD / "plausibility" / language / "spes-efficient", folder, entry["name"])
    (HERE / "cut").mkdir(exist_ok=True)
    for name in CUT:
        shrink(BUILD / "plausibility" / "doubtful" / "cut", HERE / "cut", name, "Whisper tiny.en")
    speech = (SHARED / "speech" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    cut = [entry for entry in map(json.loads, speech) if entry["id"] in CUT]
    fields = ("id", "name", "text", "gender", "words", "phones")
    times = [
        json.dumps({field: entry[field] for field in fields if field in entry})
        for entry in [*english, *cut]
    ]
    (HERE / "times.jsonl").write_text("\n".join(times) + "\n", encoding="utf-8")


def shrink(source: Path, target: Path, name: str, model: str = "the bundled model") -> None:
    result = SpeechToTextAttributionResult.load(source / f"{name}.npz")
    replace(
        result,
        spectrogram_attr=rounded(result.spectrogram_attr),
        spectrogram=rounded(result.spectrogram),
        feature_masks=result.feature_masks[:1],
        model_id=model,
    ).save(target / f"{name}.npz")


def rounded(values: Tensor) -> Tensor:
    return values.bfloat16().float()


if __name__ == "__main__":
    main()
