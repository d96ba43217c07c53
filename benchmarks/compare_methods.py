"""Table 1 of the paper on the bundled model (recognition, German, Spanish) and on Whisper.

Each part is one `captum-spes evaluate`, which is printed, goes on where it was stopped, and
leaves its command, versions and machine in `run.json`. Small files of finished parts are copied
into a folder of results.

    python -m recipes.bundled.synthesize build/corpus --train 0 --validation 0 --test 80
    python benchmarks/compare_methods.py bundled_en bundled_de bundled_es
    python benchmarks/compare_methods.py whisper
    python benchmarks/compare_methods.py bundled_en_samples
    python benchmarks/compare_methods.py bundled_en_removals

In bfloat16, which halves the time; on the bundled model the sentence maps of 500 samples had a
rank correlation of 0.99 with those in float32 at the same masks (two recordings).
"""

from __future__ import annotations

import argparse
import gzip
import shutil
from pathlib import Path

from captum_spes.cli import main as captum_spes

CORPUS = "build/corpus/test/manifest.jsonl"
SPEECH = "../shared/speech/manifest.jsonl"
WHISPER = "../shared/models/whisper-tiny.en"

BASELINES = "spes,feature-wise,bubble-noise"
ABLATIONS = "spes-single-level,spes-grid,spes-fixed-patches,spes-probability"
# Tables 3 and 4, which the paper has for recognition only.
VARIANTS = "spes-unnormalized,spes-joint"
OTHERS = "saliency,integrated-gradients,cross-attention,energy,random"

# The paper's patches and beam; 1,000 samples are its Bubble Noise's number, a twentieth of SPES's.
_BUNDLED = (
    f"{CORPUS} --limit 50 --scheme paper --samples 1000 --token-samples 200 "
    "--num-beams 5 --dtype bfloat16 --seed 0"
).split()
_STEPS = ["--method-args", '{"integrated-gradients": {"n_steps": 20}}']

PARTS = {
    "bundled_en": [
        *_BUNDLED, *_STEPS, "--methods", ",".join([BASELINES, ABLATIONS, VARIANTS, OTHERS]),
    ],
    **{
        f"bundled_{language}": [
            *_BUNDLED, *_STEPS, "--target-language", language, "--reference", language,
            "--methods", ",".join([BASELINES, ABLATIONS, OTHERS]),
        ]
        for language in ("de", "es")
    },
    # What more samples change.
    "bundled_en_samples": (
        f"{CORPUS} --limit 50 --scheme paper --samples 5000 --token-samples 1000 "
        "--num-beams 5 --dtype bfloat16 --seed 0 --methods spes,spes-grid"
    ).split(),
    # Whether methods rank alike whatever takes the place of what is removed.
    "bundled_en_removals": [
        *_BUNDLED, "--methods", "spes,spes-grid,saliency,energy,random",
        "--removal", "mean,silence,noise,neighbours,other", "--own-tokens",
    ],
    # Larger patches, as 200 samples are too few for the paper's.
    "whisper": (
        f"{SPEECH} --model {WHISPER} --limit 20 --scheme paper --samples 200 --token-samples 100 "
        "--patches-per-second 60 120 --max-new-tokens 60 --normalize-text --dtype bfloat16 "
        "--seed 0 --methods spes,feature-wise,bubble-noise,saliency,cross-attention,energy,random"
    ).split(),
}  # fmt: skip
KEPT = ("table.csv", "table.md", "settings.json", "run.json", "deletion.png")
# Of parts that were asked for them.
KEPT_IF_THERE = ("differences.csv", "differences.md")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--work", type=Path, default=Path("build/compare"))
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    parsed = parser.parse_args()
    for part in parsed.parts:
        work, kept = parsed.work / part, parsed.results / f"compare_{part}"
        print(f"captum-spes evaluate {' '.join(PARTS[part])} --out {work}")
        status = captum_spes(["evaluate", *PARTS[part], "--out", str(work)])
        if status:
            raise SystemExit(status)
        kept.mkdir(parents=True, exist_ok=True)
        there = [name for name in KEPT_IF_THERE if (work / name).exists()]
        for name in (*KEPT, *there):
            shutil.copy(work / name, kept)
        # A fixed time stamp, so that equal scores make equal files.
        scores = gzip.compress((work / "scores.jsonl").read_bytes(), mtime=0)
        (kept / "scores.jsonl.gz").write_bytes(scores)


if __name__ == "__main__":
    main()
