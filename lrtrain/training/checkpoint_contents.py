"""The contents of a checkpoint, without restoring it: its metrics, and the names, shapes and types of its arrays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtrain.errors import RunDirError

if TYPE_CHECKING:
    from lrtrain.engine.engine import TrainState


def has_valid_metrics(path: Path) -> bool:
    """Returns whether the metrics of a checkpoint can be read; a checkpoint without metrics is valid.

    Raises:
      OSError: the system refuses to read them.
    """
    metrics = path / "metrics" / "metrics"
    try:
        return "test_accuracy" in json.loads(metrics.read_bytes())
    except FileNotFoundError:
        return True
    except (IsADirectoryError, NotADirectoryError, ValueError, TypeError):
        return False


def check_same_arrays(name: str, stored: Any, like: TrainState) -> None:
    """Raises RunDirError when a checkpoint has other arrays than ``like``: it is valid, but of another network.

    Args:
      name: the name of the checkpoint.
      stored: a tree of the shapes and types of its arrays; Orbax keeps it with checksums, so damage is no difference.
      like: the training state of this run.
    """
    there, now = _described(stored), _described(like)
    for array in now | there:
        if there.get(array) != now.get(array):
            raise RunDirError(
                f"checkpoint {name} is of another network or optimizer: {array} is {there.get(array, 'not there')} in "
                f"it, and {now.get(array, 'not there')} now: resume with the data, the model and the optimizer that "
                "the run began with"
            )


def _described(tree: Any) -> dict[str, str]:
    """Returns the type and shape of every array by its name, such as ``params.Dense_0.kernel``."""
    import jax

    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {
        jax.tree_util.keystr(where, simple=True, separator="."): f"{leaf.dtype}{list(leaf.shape)}"
        for where, leaf in leaves
    }
