"""The command line."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, NoReturn

from captum_spes.cli.align import add_align
from captum_spes.cli.analyse import add_analyse
from captum_spes.cli.evaluate import add_evaluate
from captum_spes.cli.explain import add_explain
from captum_spes.cli.reliability import add_reliability
from captum_spes.errors import ArgumentError, ArgumentTypeError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 2 for an error, 130 for Ctrl-C."""
    parsed = _parser().parse_args(arguments)
    parsed.arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with warnings.catch_warnings(), _shown_notes(not getattr(parsed, "quiet", False)):
            warnings.showwarning = _show_warning
            parsed.run(parsed)
    except KeyboardInterrupt:
        print("captum-spes: interrupted", file=sys.stderr)
        return 130
    except (ArgumentError, ArgumentTypeError, OSError, ImportError) as error:
        print(f"captum-spes: error: {_one_line(error)}", file=sys.stderr)
        return 2
    return 0


def _show_warning(message: Warning | str, *args: Any, **kwargs: Any) -> None:
    print(f"captum-spes: warning: {' '.join(str(message).split())}", file=sys.stderr)


@contextmanager
def _shown_notes(is_wanted: bool) -> Iterator[None]:
    """Print what the package logs, such as the cost of what begins."""
    logger, handler = logging.getLogger("captum_spes"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("captum-spes: %(message)s"))
    level = logger.level
    if is_wanted:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"captum-spes: error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(
        prog="captum-spes",
        description="Explain every token that a speech-to-text model writes.",
    )
    parser.add_argument(
        "--version", action="version", version=f"captum-spes {version('captum-spes')}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_explain(commands)
    add_evaluate(commands)
    add_align(commands)
    add_analyse(commands)
    add_reliability(commands)
    return parser


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
