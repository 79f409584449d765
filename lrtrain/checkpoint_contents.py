"""What a checkpoint holds, without restoring it: its metrics, and the names, shapes and types of its arrays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtrain.errors import RunDirError

if TYPE_CHECKING:
    from lrtrain.engine import TrainState


def is_sound_metrics(path: Path) -> bool:
    """Tells whether the metrics of a checkpoint are as they were written; one without any is sound.

    Raises:
      OSError: the system does not let them be read.
    """
    metrics = path / "metrics" / "metrics"
    try:
        return "test_accuracy" in json.loads(metrics.read_bytes())
    except FileNotFoundError:
        return True
    except (IsADirectoryError, NotADirectoryError, ValueError, TypeError):
        return False


def check_same_arrays(path: Path, like: TrainState) -> None:
    """Raises RunDirError when a checkpoint has other arrays than ``like``: it is sound, and of another network.

    What Orbax has of them is kept with checksums, so that damage does not look like this.
    """
    now = _described(like)
    try:
        there = _stored(path)
    except Exception:  # noqa: BLE001  # damaged: what restoring it raises says more
        return
    for name in now | there:
        if there.get(name) != now.get(name):
            raise RunDirError(
                f"checkpoint {path.name} is of another network or optimizer: {name} is {there.get(name, 'not there')} "
                f"in it, and {now.get(name, 'not there')} now: resume with the data, the model and the optimizer that "
                "the run began with"
            )


def _stored(path: Path) -> dict[str, str]:
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        return _described(checkpointer.metadata((path / "state").absolute()).item_metadata.tree)


def _described(tree: Any) -> dict[str, str]:
    """Returns the type and shape of every array by its name, such as ``params.Dense_0.kernel``."""
    import jax

    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {
        jax.tree_util.keystr(where, simple=True, separator="."): f"{leaf.dtype}{list(leaf.shape)}"
        for where, leaf in leaves
    }
