"""``--output FILE``: a picture or a table; an existing file is overwritten with ``--force`` only."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrtrain.cli.options import F
from lrtrain.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

force_option = click.option("--force", is_flag=True, help="Overwrite --output if it is there.")


def output_option(meaning: str = "A .png, .svg or .csv file.", metavar: str = "FILE") -> Callable[[F], F]:
    """Returns the option ``--output FILE``."""
    kind = click.Path(dir_okay=False, path_type=Path)
    return click.option("--output", "-o", type=kind, metavar=metavar, help=meaning)


def check_output(output: Path, *, force: bool, suffixes: Sequence[str] = (".png", ".svg", ".csv")) -> None:
    """Raises UsageError for a file that cannot be written, or that is there already."""
    if output.suffix.lower() not in suffixes:
        raise UsageError(f"--output {output}: expected a name that ends in {', '.join(suffixes)}")
    with writable(output):
        there = output.exists()
    if there and not force:
        raise UsageError(f"--output {output} is there already: give another name, or --force to overwrite it")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"--output {output}: the directory {output.parent} does not exist")


@contextmanager
def whole_file(output: Path, *, force: bool = False) -> Iterator[Path]:
    """Yields where to write what becomes the file once it is whole; without ``force`` it takes no other's place."""
    if output.exists() and not output.is_file():
        # A device or a pipe: nothing can take its place.
        with writable(output):
            yield output
        return
    target = Path(os.path.realpath(output))
    temporary = target.with_name(f".lrtrain-{os.getpid()}{target.suffix}")
    with writable(output):
        try:
            yield temporary
            if not force:
                # Another process may have made it since it was not there.
                target.open("x").close()
            temporary.replace(target)
        except FileExistsError:
            raise UsageError(f"--output {output} is there already: give another name") from None
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def writable(output: Path) -> Iterator[None]:
    """Turns what the file system refuses into one sentence."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"--output {output} cannot be written: {error.strerror or error}") from error


def write_output(
    output: Path, columns: Mapping[str, NDArray[Any]], draw: Callable[[Path], None], *, force: bool
) -> None:
    """Writes columns into a .csv file, and draws any other."""
    with whole_file(output, force=force) as file:
        if output.suffix.lower() == ".csv":
            _write_csv(file, columns)
        else:
            draw(file)


def _write_csv(output: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Writes a row for every step: its number, and what each column has there."""
    with output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", *columns])
        writer.writerows(zip(range(len(next(iter(columns.values())))), *columns.values(), strict=True))
