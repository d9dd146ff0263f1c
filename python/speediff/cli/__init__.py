"""The command line, `speediff`: its front end and its errors. Each sub-command has a module of its own."""

from __future__ import annotations

import argparse
import codecs
import io
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from .._native.library import library_path
from .._support import messages, streams
from .._support.version import __version__
from ..errors import SpeeDiffError, unknown_name
from . import compare, generate, methods, plan, train

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Subparsers = argparse._SubParsersAction[Any]

COMMANDS: dict[str, Callable[[Subparsers], None]] = {
    "train": train.add_to,
    "generate": generate.add_to,
    "compare": compare.add_to,
    "plan": plan.add_to,
    "methods": methods.add_to,
}
"""Every sub-command, by name, with what adds its parser; the parser's `run` default runs it."""

SPELLINGS = {
    "ᾱ": "alpha_bar",
    "β": "beta",
    "ε": "epsilon",
    "λ": "lambda",
    "π": "pi",
    "σ": "sigma",
    "τ": "tau",
    "·": "*",
    "×": "x",
    "√": "sqrt ",
    "≤": "<=",
    "∝": "in proportion to",
    "⁻²": "^-2",
    "²": "^2",
    "₀": "0",
    "–": "-",
}


class _Parser(argparse.ArgumentParser):
    """Reports in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"speediff: {message}\n")


class _Version(argparse.Action):
    """Tells also which library is in use. argparse's own would break its path into lines."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(f"speediff {__version__}\nlibrary {library_path()}")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and gives its exit code.

    0: done. 1: whoever reads the output has gone, as `head` does. 2: an error, after one line on stderr.
    130: stopped by Ctrl-C, SIGTERM or SIGHUP.

    Args:
        argv: The arguments; None: those of the process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="speediff.spell_out")
    with streams.unfailing() as out:
        try:
            return _run(arguments, out)
        except BrokenPipeError:
            return 1
        except OSError as error:
            return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        except (SpeeDiffError, MemoryError) as error:
            return _fail(str(error) or type(error).__name__)
        except KeyboardInterrupt:
            return 130


def _run(arguments: Sequence[str], out: streams.Stream) -> int:
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        raise unknown_name("command", arguments[0], COMMANDS)
    try:
        options = _parse(arguments)
    except SystemExit as error:
        if not error.code:  # --help and --version print, and exit.
            _check_printed(out)
        raise
    options.run(options)
    if options.prints:
        _check_printed(out)
    return 0


def _check_printed(out: streams.Stream) -> None:
    """Raises OSError if a part of the result could not be printed."""
    out.flush()
    if out.error is not None:
        out.error.filename = "standard output"
        raise out.error


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    try:
        return _parser().parse_args(arguments)
    except SystemExit as error:
        if error.code and arguments[:1] == ["train"]:
            train.refuse()
        raise


def _spell_out(error: UnicodeError) -> tuple[str, int]:
    """Writes what the output's encoding lacks in letters that every encoding has."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    for symbol, spelling in SPELLINGS.items():
        text = text.replace(symbol, spelling)
    return "".join(letter if letter.isascii() else "?" for letter in text), error.end


codecs.register_error("speediff.spell_out", _spell_out)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="speediff",
        description="Choose the noise levels a diffusion model trains on, and their weights.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and the library in use")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add_to in COMMANDS.values():
        add_to(subparsers)
    return parser


def _fail(message: str) -> int:
    messages.tell(f"speediff: {' '.join(message.split())}")
    return 2
