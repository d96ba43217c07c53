"""Options that commands share, and the types of their values."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

# Patches several times larger than the paper's: at a few hundred samples they give maps
# that the paper's patches need thousands for.
DEFAULT_PATCHES = (60.0, 120.0)
DEFAULT_SAMPLES = 500
# What spes-efficient takes at most.
EFFICIENT_SAMPLES = 10_000
DEFAULT_TOKEN_SAMPLES = 300
AUTO = "auto"
# Steps of deletion per forward pass, where the batch of perturbed inputs is found automatically.
STEPS_PER_EVAL = 8
# The bundled model is a hundred times smaller than Whisper. With so many samples of the efficient
# scheme its maps delete as well as with the paper's 20,000 (benchmarks/sample_efficiency.py).
DEMO_SAMPLES = 1000
DEMO_TOKEN_SAMPLES = 1000
DEMO = "demo"
# Written out, so that --help need not load torch.
METHODS = (
    "spes, spes-efficient, feature-wise, bubble-noise, spes-single-level, spes-grid, "
    "spes-fixed-patches, spes-probability, spes-unnormalized, spes-joint, saliency, "
    "input-x-gradient, integrated-gradients, gradient-shap, feature-ablation, occlusion, "
    "shapley-value-sampling, kernel-shap, lime, cross-attention, cross-attention-rollout, "
    "energy, random"
)
DEFAULT_METHODS = "spes,feature-wise,bubble-noise,saliency,energy,random"


def add_model_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add(
        "--model",
        metavar="NAME_OR_DIR",
        help="a Whisper, Speech2Text or Canary model, or demo for the bundled one (the default, "
        "unless explain is given AUDIO)",
    )
    add(
        "--samples",
        type=positive,
        metavar="N",
        help=f"perturbed spectrograms (default: {DEFAULT_SAMPLES}; demo: {DEMO_SAMPLES})",
    )
    add(
        "--token-samples",
        type=not_negative,
        metavar="N",
        help="perturbed previous tokens; 0 leaves them out (default: "
        f"{DEFAULT_TOKEN_SAMPLES}; demo: {DEMO_TOKEN_SAMPLES})",
    )
    add(
        "--patches-per-second",
        type=float,
        nargs="+",
        metavar="N",
        help="size of the patches, one value per segmentation level (default: 60 120; "
        "spes-efficient has its own)",
    )
    add(
        "--baselines",
        choices=("mean", "silence"),
        help="what removed cells become (default: mean for Whisper, 0 for features normalised "
        "per utterance)",
    )
    add(
        "--num-beams",
        type=positive,
        metavar="N",
        help="beam search with N beams (default: the model's own setting)",
    )
    add("--language", help="spoken language, for multilingual Whisper and Canary")
    add(
        "--target-language",
        metavar="LANGUAGE",
        help="language to write, for Canary; the bundled model writes en, de and es",
    )
    add("--task", choices=("transcribe", "translate"), help="task, for multilingual Whisper")
    add("--seed", type=int, default=0, metavar="N", help="seed of all masks (default: %(default)s)")
    add(
        "--batch-size",
        type=batch_size,
        default=AUTO,
        metavar="N",
        help="perturbed inputs per forward pass, or auto: what is fastest and fits in memory, for "
        "SPES (default: %(default)s)",
    )
    add("--device", choices=("cpu", "cuda", "mps"), help="where the model runs (default: cpu)")
    add(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        default="float32",
        help="precision of the model (default: %(default)s)",
    )
    add(
        "--compile",
        action="store_true",
        help="compile the encoder with torch.compile, which takes up to a minute and pays for long "
        "runs on some machines",
    )
    add("--quiet", action="store_true", help="show no progress bars")


def json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {error}") from error
    if not isinstance(value, dict) or not all(isinstance(v, dict) for v in value.values()):
        raise argparse.ArgumentTypeError(f"{text!r} is no object of methods and arguments")
    return value


def positive(text: str) -> int:
    return _integer(text, 1)


def batch_size(text: str) -> int | str:
    return text if text == AUTO else positive(text)


def share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number between 0 and 1")
    return value


def not_negative(text: str) -> int:
    return _integer(text, 0)


def _integer(text: str, lowest: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = lowest - 1
    if value < lowest:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {lowest}")
    return value


def print_text(text: str) -> None:
    """Print, with a question mark for what the terminal's encoding lacks."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, errors="replace").decode(encoding))
