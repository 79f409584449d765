"""``lrtrain predict``: the outputs of what a run has trained, for the inputs in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrtrain.cli.evaluate import accept_option, checkpoint_option
from lrtrain.cli.output import check_output, force_option, output_option, whole_file
from lrtrain.cli.runs.group import complete_run, directory_option
from lrtrain.cli.terminal import printable, shown_path
from lrtrain.errors import UsageError

if TYPE_CHECKING:
    from lrtrain.training.trained import Trained

_INPUTS = "inputs"


@click.command("predict", short_help="Predict with what a run has trained.")
@click.argument("run", shell_complete=complete_run)
@click.argument("file", type=click.Path(path_type=Path))
@output_option("The .npz file to write. [default: FILE with -outputs before its suffix]")
@checkpoint_option
@accept_option
@directory_option
@force_option
def command(
    run: str,
    file: Path,
    output: Path | None,
    checkpoint: dict[str, Any],
    accept_code_change: bool,
    directory: Path,
    force: bool,
) -> None:
    """Write the outputs of a checkpoint of RUN for the inputs in FILE, a file of NumPy (.npz).

    The inputs are its array `inputs`, or its only array, as the data of the run has them; where these have several
    arrays, those of their names. What is written is the array `outputs` and, of classes, the most likely `labels`.

    \b
    Examples:
      lrtrain predict runs/sgdr-20260101-120000 images.npz
      lrtrain predict sgdr-2026 images.npz --output labels.npz --checkpoint last
    """
    import numpy as np

    from lrtrain.data.npz import read_arrays

    output = output or file.with_name(f"{file.stem}-outputs.npz")
    check_output(output, force=force, suffixes=(".npz",))
    arrays = read_arrays(file)
    from lrtrain.runs.reading import pick_run

    path = pick_run(run, directory).path
    from lrtrain.training.load import load

    trained = load(path, accept_code_change=accept_code_change, **checkpoint)
    found = _named(trained, trained.predict(_inputs(trained, arrays, file)))
    with whole_file(output, force=force) as path, path.open("wb") as opened:
        np.savez(opened, **found)
    shapes = ", ".join(f"{name} {value.dtype}{list(value.shape)}" for name, value in found.items())
    click.echo(printable(f"{shapes}, with the checkpoint of step {trained.step}"))
    click.echo(f"{'file':12}{shown_path(output)}")


def _inputs(trained: Trained, arrays: dict[str, Any], file: Path) -> Any:
    wanted = trained.input_names
    if wanted:
        if missing := [name for name in wanted if name not in arrays]:
            raise UsageError(f"{file} has no array '{missing[0]}': the network takes {', '.join(wanted)}")
        return {name: arrays[name] for name in wanted}
    if _INPUTS not in arrays and len(arrays) > 1:
        raise UsageError(f"{file} has the arrays {', '.join(arrays)}, and none is called '{_INPUTS}': rename one")
    return arrays.get(_INPUTS, next(iter(arrays.values())))


def _named(trained: Trained, outputs: Any) -> dict[str, Any]:
    """Returns outputs by names: of a tree of arrays, those of its parts."""
    import jax

    leaves = jax.tree_util.tree_flatten_with_path(outputs)[0]
    named = {
        ".".join(filter(None, ["outputs", jax.tree_util.keystr(where, simple=True, separator=".")])): leaf
        for where, leaf in leaves
    }
    if trained.workload.has_classes and list(named) == ["outputs"]:
        named["labels"] = named["outputs"].argmax(-1)
    return named
