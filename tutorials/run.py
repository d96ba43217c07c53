"""Execute the tutorials from top to bottom; exit with an error where a cell fails.

    python tutorials/run.py            # check
    python tutorials/run.py --write    # check and keep the outputs in the notebooks
    python tutorials/run.py 02         # those whose names start so

They need the extra `docs` and what is in the package, no clone of the repository.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep the outputs")
    parser.add_argument("start", nargs="?", default="", help="of the names of those to run")
    arguments = parser.parse_args()
    for path in sorted(HERE.glob(f"{arguments.start}*.ipynb")):
        start = time.perf_counter()
        notebook = nbformat.read(path, as_version=4)
        client = NotebookClient(notebook, timeout=600, kernel_name="python3")
        # Elsewhere, so that none reads a file that lies beside it.
        with tempfile.TemporaryDirectory() as folder:
            client.execute(cwd=folder)
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
