"""The command line."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import Any, NoReturn

from captum_spes.cli.align import add_align
from captum_spes.cli.analyse import add_analyse
from captum_spes.cli.benchmark import add_benchmark
from captum_spes.cli.check import add_check
from captum_spes.cli.corpus import add_corpus
from captum_spes.cli.evaluate import add_evaluate
from captum_spes.cli.explain import add_explain
from captum_spes.cli.export import add_export
from captum_spes.cli.listen import add_listen
from captum_spes.cli.models import add_models
from captum_spes.cli.options import tell
from captum_spes.cli.reliability import add_reliability
from captum_spes.errors import ArgumentError, ArgumentTypeError
from captum_spes.text import for_terminal, visible

# What shells report of a program that a closed pipe ended (128 and the signal's number).
_CLOSED_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 or what the command returns, 2 for an
    error, 130 for Ctrl-C, 141 where nobody reads what it prints."""
    try:
        try:
            return _status(arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where what goes wrong can still be told
    except BrokenPipeError:
        _leave_output()
        return _CLOSED_PIPE
    except OSError as error:  # a full disk behind the output
        tell(f"error: {_one_line(error)}")
        _leave_output()
        return 2


def _status(arguments: Sequence[str] | None) -> int:
    parsed = _parser().parse_args(arguments)
    parsed.arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with warnings.catch_warnings(), _shown_notes(not getattr(parsed, "quiet", False)):
            warnings.showwarning = _show_warning
            status: int | None = parsed.run(parsed)
    except KeyboardInterrupt:
        tell("interrupted")
        return 130
    except BrokenPipeError:
        raise
    except (ArgumentError, ArgumentTypeError, OSError, ImportError) as error:
        tell(f"error: {_one_line(error)}")
        return 2
    return status or 0


def _show_warning(message: Warning | str, *args: Any, **kwargs: Any) -> None:
    tell(f"warning: {' '.join(str(message).split())}")


def _leave_output() -> None:
    """Drop what could not be printed, which the interpreter would try again at its end."""
    with suppress(OSError, ValueError):  # there may be no such thing as a file behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _shown_notes(is_wanted: bool) -> Iterator[None]:
    """Print what the package logs, such as the cost of what begins."""
    logger, handler = logging.getLogger("captum_spes"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(_SafeFormatter("captum-spes: %(message)s"))
    level = logger.level
    if is_wanted:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _SafeFormatter(logging.Formatter):
    """Names of files and models move no cursor."""

    def format(self, record: logging.LogRecord) -> str:
        return for_terminal(super().format(record))


class _OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"captum-spes: error: {visible(message)} (see {self.prog} --help)\n")


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
    add_check(commands)
    add_listen(commands)
    add_corpus(commands)
    add_evaluate(commands)
    add_benchmark(commands)
    add_align(commands)
    add_analyse(commands)
    add_export(commands)
    add_reliability(commands)
    add_models(commands)
    return parser


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
