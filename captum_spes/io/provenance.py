"""What made a result: command, versions, machine."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from captum_spes.errors import ArgumentError, warn_caller
from captum_spes.io.files import made_folder, read_json, write_whole


def write_provenance(folder: Path, arguments: Sequence[str]) -> Path:
    """Add a run of ``captum-spes`` to the ``run.json`` of a folder; see :func:`record_run`."""
    return record_run(made_folder(folder) / "run.json", ["captum-spes", *arguments])


def record_run(path: Path, command: Sequence[str]) -> Path:
    """Add to a file: the command line, the commit, versions of packages, and the machine. A run
    that was continued has several entries."""
    runs = _earlier_runs(path) if path.exists() else []
    run = {
        "command": shlex.join(command),
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "versions": {"python": platform.python_version(), **versions()},
        "machine": machine(),
    }
    if run not in runs:
        write_whole(path, json.dumps([*runs, run], indent=1, ensure_ascii=False) + "\n")
    return path


def _earlier_runs(path: Path) -> list[Any]:
    """Those of the file; a damaged file is put aside, as hours of work should not end with it."""
    try:
        runs = read_json(path, "a record of runs")
    except ArgumentError:
        runs = None
    if isinstance(runs, list):
        return runs
    aside = path.with_name(f"{path.stem}.damaged.json")
    os.replace(path, aside)
    warn_caller(f"{path} was damaged and is {aside.name} now.")
    return []


def machine() -> dict[str, Any]:
    """What it runs on."""
    return {
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def commit(folder: Path = Path(__file__).parents[1]) -> str | None:
    """The commit of the git checkout that a folder belongs to, by default the package's, with "+"
    behind it where files differ from it; None where there is none, or no git."""
    try:
        # Not that of a user's project which has the environment in it.
        if not _git(folder, "ls-files", ".").strip():
            return None
        found = _git(folder, "rev-parse", "HEAD").strip()
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", ".")
    except (OSError, subprocess.SubprocessError):
        return None
    return found + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    run = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=30
    )
    return run.stdout


def versions() -> dict[str, str]:
    """Versions of the packages that results depend on."""
    found = {}
    for package in ("captum-spes", "captum", "torch", "transformers", "scikit-image"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    # On Linux only this file names the processor; elsewhere platform knows it.
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
