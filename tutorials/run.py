"""Execute the tutorials from top to bottom; exit with an error where a cell fails.

    python tutorials/run.py            # check
    python tutorials/run.py --write    # check and keep the outputs in the notebooks
    python tutorials/run.py 02         # those whose names start so

Tutorials that read CAPTUM_SPES_MODEL and CAPTUM_SPES_AUDIO get a model and a recording from beside
the repository where these are not set, and are skipped where there are none. The others use the
bundled model.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
SHARED = Path(os.environ.get("CAPTUM_SPES_SHARED", HERE.parents[1] / "shared"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep the outputs")
    parser.add_argument("start", nargs="?", default="", help="of the names of those to run")
    arguments = parser.parse_args()
    os.environ.setdefault("CAPTUM_SPES_MODEL", str(SHARED / "models" / "whisper-tiny.en"))
    os.environ.setdefault("CAPTUM_SPES_AUDIO", str(SHARED / "speech" / "librivox-0930.flac"))
    missing = [
        p for p in ("CAPTUM_SPES_MODEL", "CAPTUM_SPES_AUDIO") if not Path(os.environ[p]).exists()
    ]
    for path in sorted(HERE.glob(f"{arguments.start}*.ipynb")):
        if missing and "CAPTUM_SPES_MODEL" in path.read_text(encoding="utf-8"):
            print(f"{path.name} skipped: set {' and '.join(missing)} to a model and a recording")
            continue
        start = time.perf_counter()
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(notebook, timeout=1200, kernel_name="python3").execute(cwd=str(HERE))
        print(f"{path.name}: {time.perf_counter() - start:.0f} s", flush=True)
        if arguments.write:
            for cell in notebook.cells:
                _without_traces_of_this_machine(cell)
            nbformat.write(notebook, path)
    return 0


def _without_traces_of_this_machine(cell) -> None:
    """Drop execution times and standard error: progress bars, and warnings with paths."""
    cell.get("metadata", {}).pop("execution", None)
    if cell.cell_type == "code":
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]


if __name__ == "__main__":
    sys.exit(main())
