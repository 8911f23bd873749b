"""The command line: parses flags and the command, and runs the command with its overrides."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from segtrain.commands import COMMANDS, SWEEPS
from segtrain.commands.distributed import is_distributed
from segtrain.config.groups import Groups
from segtrain.errors import ConfigError, ElsewhereError, SegtrainError, StorageError
from segtrain.storage import refusal
from segtrain.terminal import manual
from segtrain.terminal.arguments import Arguments, show
from segtrain.terminal.other_tools import flag_problem, remedy
from segtrain.version import __version__

AUTO_DATA = "data=auto"
"""The word that stands for the format of the data, whichever that is."""
_SECONDS_TO_SAY_WHY = 2.0  # torchrun ends all ranks with the first that ends: not before the one that knows the reason


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # argparse would print its usage and exit: our errors have one line and a remedy
        raise ConfigError(f"{message}; `segtrain --help` lists the flags")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="segtrain", add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("-c", "--cfg", choices=["job"])
    parser.add_argument("-cd", "--config-dir", type=Path)
    return parser


def _split_command(words: list[str]) -> tuple[str | None, list[str]]:
    """Split the command from the words; None where the first word is an override."""
    if not words or "=" in words[0] or words[0].startswith("~"):
        return None, words
    if words[0] not in COMMANDS:
        raise ConfigError(f"{words[0]}: neither a command nor key=value{remedy(words[0], COMMANDS)}")
    return words[0], words[1:]


def let_import_from(folder: Path) -> None:
    """Make a folder importable, for a user's own ``my_package.MyDecoder``."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last: its files must not hide installed packages


def run(arguments: Sequence[str]) -> int:
    """Run one command line; raises `SegtrainError` for what the user can fix."""
    parser = _parser()
    found, unknown = parser.parse_known_intermixed_args(arguments)
    if unknown:
        flags = [flag for action in parser._actions for flag in action.option_strings]
        raise ConfigError("\n".join(flag_problem(word, flags) for word in unknown))
    if found.version:
        show(f"segtrain {__version__}")
        return 0
    if found.config_dir is not None:
        let_import_from(found.config_dir.absolute().parent)
    command, words = _split_command(found.words)
    if found.help:
        show(manual.page(command, Groups.find(found.config_dir)))
        return 0
    command = command or "train"
    if found.multirun and command not in SWEEPS:
        raise ConfigError(f"-m: sweeps are for {', '.join(SWEEPS)}, not for {command}")
    # only the module of the command: help and zoo answer without torch
    module = import_module((SWEEPS if found.multirun else COMMANDS)[command])
    if AUTO_DATA in words:
        from segtrain.build.auto_data import with_format  # imports torch, as all that opens data

        words = list(with_format(words, found.config_dir))
    code: int = module.run(Arguments(command, tuple(words), found.config_dir, found.multirun, found.cfg))
    return code


def main(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code: 0, 2 for a user's mistake, 128 + the signal when stopped by one."""
    try:
        return run(arguments)
    except SegtrainError as error:
        if isinstance(error, ElsewhereError):
            time.sleep(_SECONDS_TO_SAY_WHY)
        for line in str(error).splitlines():
            sys.stderr.write(f"segtrain: {line}\n")
        return error.exit_code
    except BrokenPipeError:  # the reader of the pipe has ended, such as `| head`
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("segtrain: stopped\n")
        return 130
    except OSError as error:
        if refusal(error) is None:
            raise
        where = error.filename or "output"
        sys.stderr.write(f"segtrain: {where}: cannot be written ({error.strerror}); free space, then start again\n")
        return StorageError.exit_code


def entry_point() -> NoReturn:
    """Run the command line of this process and exit."""
    let_import_from(Path.cwd())  # as ``python -m`` does: the installed script cannot import from there
    _start_over_in_utf8()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for file names that the terminal cannot show
    code = main(sys.argv[1:])
    if code and is_distributed():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # threads that torch leaves behind may abort the interpreter's own end
    sys.exit(code)


def _start_over_in_utf8() -> None:
    """Restart in Python's UTF-8 mode if the locale has another encoding.

    Words and file names with other characters could not be read otherwise. Output stays in the
    encoding of the terminal.
    """
    if sys.getfilesystemencoding().lower() != "utf-8":
        os.environ["PYTHONUTF8"] = "1"
        os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
