"""What made a result: command, versions, machine."""

from __future__ import annotations

import json
import os
import platform
import shlex
from collections.abc import Sequence
from pathlib import Path

import torch

from captum_spes.speech.parameters import versions


def write_provenance(folder: Path, arguments: Sequence[str]) -> Path:
    """Write ``run.json``: the command line, versions of packages, and the machine."""
    path = folder / "run.json"
    run = {
        "command": shlex.join(["captum-spes", *arguments]),
        "versions": {"python": platform.python_version(), **versions()},
        "machine": {
            "system": platform.system(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
    }
    path.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _processor() -> str:
    # Linux tells the model here only; elsewhere platform knows it.
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
