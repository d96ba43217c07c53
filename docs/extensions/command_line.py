"""The page of the command line: what every command says of itself, and the model families."""

from __future__ import annotations

import io
import re
import textwrap
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from captum_spes.cli import main

PAGE = Path(__file__).resolve().parents[1] / "api" / "command_line.rst"
_WIDTH = "88"


def _printed(*arguments: str) -> str:
    """What a command prints."""
    told = io.StringIO()
    settings = {"COLUMNS": _WIDTH, "NO_COLOR": "1", "PYTHON_COLORS": "0"}
    with redirect_stdout(told), suppress(SystemExit), patch.dict("os.environ", settings):
        main(arguments)
    return told.getvalue().rstrip()


def _commands() -> list[str]:
    """The names of all commands, in the order of the help."""
    listed = re.findall(r"^    ([a-z-]+)\b", _printed("--help"), re.MULTILINE)
    if not listed:
        raise ValueError("captum-spes --help lists no commands")
    return listed


def _block(text: str) -> str:
    return ".. code-block:: text\n\n" + textwrap.indent(text, "   ") + "\n"


def _write(app: Any, config: Any) -> None:
    parts = ["Command line\n============\n", "What ``captum-spes COMMAND --help`` prints.\n"]
    for name in _commands():
        title = f"captum-spes {name}"
        parts += [f"{title}\n{'-' * len(title)}\n", _block(_printed(name, "--help"))]
    parts += ["Model families\n--------------\n", "What ``captum-spes models`` prints.\n"]
    parts += [_block(_printed("models"))]
    text = "\n".join(parts)
    PAGE.parent.mkdir(exist_ok=True)
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        PAGE.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Write the page behind those of the reference."""
    app.connect("config-inited", _write, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
