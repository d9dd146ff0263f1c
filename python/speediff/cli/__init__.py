"""The `speediff` command line: parser, exit codes and errors. Each sub-command has its own module."""

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
from . import classifier, compare, evaluate, generate, methods, plan, train

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Subparsers = argparse._SubParsersAction[Any]

COMMANDS: dict[str, Callable[[Subparsers], None]] = {
    "train": train.add_to,
    "generate": generate.add_to,
    "evaluate": evaluate.add_to,
    "compare": compare.add_to,
    "classifier": classifier.add_to,
    "plan": plan.add_to,
    "methods": methods.add_to,
}
"""Each sub-command with the function that adds its parser. The parser's `run` default runs it."""

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
    "∞": "inf",
    "∝": "in proportion to",
    "⁻²": "^-2",
    "²": "^2",
    "₀": "0",
    "–": "-",
}


class _Parser(argparse.ArgumentParser):
    """Reports errors in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"speediff: {message}\n")


class _Version(argparse.Action):
    """Also prints the library's path. argparse's own action would wrap it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(f"speediff {__version__}\nlibrary {library_path()}")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    0: success. 1: the reader of the output closed it, as `head` does. 2: an error, with one line on stderr.
    130: stopped by Ctrl-C, SIGTERM or SIGHUP.

    Args:
        argv: The arguments; None: `sys.argv`.
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
    """Raises OSError if part of the output could not be written."""
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
    """Replaces symbols that the output's encoding lacks with ASCII."""
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
