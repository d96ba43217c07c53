"""From parsed options to models and arguments."""

from __future__ import annotations

import argparse
from typing import Any

from captum_spes.cli.options import (
    DEFAULT_PATCHES,
    DEFAULT_SAMPLES,
    DEFAULT_TOKEN_SAMPLES,
    DEMO,
    DEMO_SAMPLES,
    DEMO_TOKEN_SAMPLES,
    EFFICIENT_SAMPLES,
)
from captum_spes.errors import ArgumentError


def use_defaults(parsed: argparse.Namespace) -> None:
    """Fill in what was not given: the bundled model, sample counts."""
    is_demo = parsed.model in (None, DEMO)
    if is_demo and parsed.language not in (None, "en", "English"):
        raise ArgumentError(
            f"the bundled model hears English only, got --language {parsed.language}; its output "
            "is chosen with --target-language."
        )
    if parsed.samples is None:
        parsed.samples = DEMO_SAMPLES if is_demo else DEFAULT_SAMPLES
    if parsed.token_samples is None:
        parsed.token_samples = DEMO_TOKEN_SAMPLES if is_demo else DEFAULT_TOKEN_SAMPLES
    parsed.model = DEMO if is_demo else parsed.model
    if hasattr(parsed, "method"):
        _choose_method(parsed)
    parsed.patches_per_second = parsed.patches_per_second or DEFAULT_PATCHES


def _choose_method(parsed: argparse.Namespace) -> None:
    """The efficient scheme, unless what is asked for is the paper's."""
    if parsed.method is None:
        is_paper = parsed.patches_per_second or parsed.samples > EFFICIENT_SAMPLES
        parsed.method = "spes" if is_paper else "spes-efficient"
    elif parsed.method == "spes-efficient" and parsed.patches_per_second:
        raise ArgumentError(
            "spes-efficient has patches of its own: leave out --patches-per-second, or take "
            "--method spes."
        )


def load(parsed: argparse.Namespace) -> tuple[Any, Any]:
    import torch

    from captum_spes.demo import load_demo
    from captum_spes.speech.models import load_model

    _quiet_transformers()
    dtype = getattr(torch, parsed.dtype)
    if parsed.model == DEMO:
        model, processor, _ = load_demo(parsed.device)
        model = model.to(dtype)
    else:
        model, processor = load_model(parsed.model, parsed.device, dtype)
    if parsed.compile:
        model.get_encoder().compile()
    return model, processor


def attribute_arguments(parsed: argparse.Namespace) -> dict[str, Any]:
    return {
        "n_samples": parsed.samples,
        "n_token_samples": parsed.token_samples,
        "patches_per_second": parsed.patches_per_second,
        "baselines": parsed.baselines,
        "perturbations_per_eval": parsed.batch_size,
        "seed": parsed.seed,
    }


def generation_arguments(parsed: argparse.Namespace) -> dict[str, Any]:
    arguments = {
        "num_beams": parsed.num_beams,
        "language": parsed.language,
        "task": parsed.task,
        "target_language": parsed.target_language,
        "max_new_tokens": getattr(parsed, "max_new_tokens", None),
    }
    return {name: value for name, value in arguments.items() if value is not None}


def _quiet_transformers() -> None:
    try:
        from huggingface_hub.utils import logging as hub_logging
        from transformers.utils import logging
    except ImportError:
        return  # load_model says what to install
    hub_logging.set_verbosity_error()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
