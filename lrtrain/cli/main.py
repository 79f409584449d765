"""The group of all commands: their names, ``train`` as the default, and how errors are shown."""

from __future__ import annotations

import errno
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import click

from lrtrain.cli.signal_watchdog import (
    leave,
    leave_the_end_to_the_watcher,
    threads_left_behind,
    watch_signals,
    words,
)
from lrtrain.cli.streams import guard_streams
from lrtrain.cli.terminal import printable
from lrtrain.errors import LrtrainError, nearest
from lrtrain.plugins.spec import short
from lrtrain.signals import PROCESS, Terminated, exit_code

# Each command is imported when it is named or listed; none of their modules imports what takes time.
_COMMANDS = {
    "train": "lrtrain.cli.train",
    "compare": "lrtrain.cli.compare.command",
    "report": "lrtrain.cli.report",
    "verdict": "lrtrain.cli.verdict",
    "plot": "lrtrain.cli.plot",
    "export": "lrtrain.cli.export",
    "find-lr": "lrtrain.cli.find_lr",
    "evaluate": "lrtrain.cli.evaluate",
    "predict": "lrtrain.cli.predict",
    "plugins": "lrtrain.cli.plugins.group",
    "workloads": "lrtrain.cli.workloads.group",
    "runs": "lrtrain.cli.runs.group",
    "doctor": "lrtrain.cli.doctor",
    "completion": "lrtrain.cli.completion",
}
_DEFAULT = "train"
# What looking at a path that the user has given may end in.
_REFUSED = (errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG, errno.EPERM)
_OF_THE_GROUP = ("--help", "-h", "--version")


class _Group(click.Group):
    """Finds commands by name, takes ``train`` when the first word is an option, and prints errors as one sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name]).command
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        args = args or ["--help"]
        if args[0].startswith("-") and args[0] not in _OF_THE_GROUP:
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not ctx.resilient_parsing:
            raise click.UsageError(
                f"no command '{args[0]}'{nearest(args[0], _COMMANDS)}; the commands are {', '.join(_COMMANDS)}, "
                "and a plugin is named with --plugin",
                ctx,
            )
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Runs a command; that of the process ends with it."""
        # A program that calls the command with arguments, such as a test, goes on after it.
        is_the_process = not args and kwargs.get("args") is None
        with threads_left_behind() if is_the_process else nullcontext():
            if is_the_process:
                guard_streams()
            if isinstance(sys.stdout, io.TextIOWrapper):
                # A terminal of another encoding than UTF-8 shows question marks rather than a traceback.
                sys.stdout.reconfigure(errors="replace")
            return self._run(is_the_process, *args, **kwargs)

    def _run(self, is_the_process: bool, *args: Any, **kwargs: Any) -> Any:
        """Runs a command; an error that the user can fix is one sentence, and only a bug of ours shows a traceback."""
        try:
            if is_the_process:
                watch_signals()
            return super().main(*args, **{**kwargs, "standalone_mode": False})
        except click.exceptions.Exit as stop:
            sys.exit(stop.exit_code)
        except click.ClickException as error:
            _fail(error.format_message(), error.exit_code, getattr(error, "ctx", None))
        except LrtrainError as error:
            if os.environ.get("LRTRAIN_TRACEBACK") == "1":
                raise
            _fail(str(error), error.exit_code)
        except (KeyboardInterrupt, click.Abort, Terminated) as stop:
            number = signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT
            _fail(words(number), exit_code(number))
        except OSError as error:
            _end(error, args[0] if args else kwargs.get("args"))
            raise


def _end(error: OSError, words: Sequence[str] | None) -> None:
    """Ends the process with one sentence if the user can fix the error; without ``words`` the process has its own."""
    if isinstance(error, BrokenPipeError):
        # The reader, such as `head`, has ended; nothing more can be printed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    if isinstance(error, FileNotFoundError):
        try:
            os.getcwd()
        except FileNotFoundError:
            _fail("the working directory has been removed: change to one that is there", 2)
    path = os.fsdecode(error.filename or "")
    given = [word.rpartition("=")[2] for word in (sys.argv[1:] if words is None else words)]
    # An error at a path of lrtrain or of a library is not the user's.
    if error.errno in _REFUSED and any(os.path.normpath(os.path.expanduser(word)) in path for word in given if word):
        _fail(f"{short(path)} cannot be looked at ({error.strerror}): give another path", 2)
    if error.errno in (errno.EMFILE, errno.ENFILE):
        _fail(
            f"{short(path) or 'a file'} could not be opened ({error.strerror}): allow more, as with `ulimit -n 1024`",
            1,
        )


def _fail(message: str, code: int, ctx: click.Context | None = None) -> None:
    line = printable(" ".join(part.strip() for part in message.splitlines()))
    leave_the_end_to_the_watcher()
    click.echo(click.style("Error: ", fg="red", bold=True) + line, err=True)
    PROCESS.said = True
    if ctx is not None:
        click.echo(f"'{ctx.command_path} --help' lists what can be given.", err=True)
    leave(code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="lrtrain", message="lrtrain %(version)s", help="Show the version.")
def main() -> None:
    """Train a network under a learning-rate schedule; every schedule is a plugin.

    `lrtrain --plugin sgdr` is short for `lrtrain train --plugin sgdr`.

    `lrtrain plugins list` shows the schedules that are installed.
    """
