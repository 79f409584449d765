"""What the runs that train together have come to, in one file: a comparison that was cut off goes on from there.

Run directories of a comparison have no checkpoints: the runs are short, and only their ends count. So there is one file
for the wave that is being trained, written anew at the ends of epochs, and removed when its runs are done.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrain.comparison.trial import Trial
from lrtrain.digest import digest
from lrtrain.run_dir import write_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VERSION = 1


@dataclass(frozen=True, eq=False)
class Wave:
    """Runs at the end of an epoch.

    Args:
      trials: the runs, in the order of their places.
      epochs: passes over the training set that they have done.
      members: what each has come to, as `Member.to_json` gives it.
      arrays: what is trained: all leaves of the state, on the host.
    """

    trials: Sequence[Trial]
    epochs: int
    members: Sequence[dict[str, Any]]
    arrays: Sequence[NDArray[Any]]


@dataclass(frozen=True)
class WaveFile:
    """The place of a wave on disk."""

    path: Path

    def save(self, wave: Wave) -> None:
        """Writes a wave, in place of the one before."""
        values = {**_head(wave.trials), "epochs": wave.epochs, "members": list(wave.members)}
        sealed = {**values, "sha256": digest(_as_read(values), wave.arrays)}
        buffer = io.BytesIO()
        np.savez(buffer, np.frombuffer(json.dumps(sealed).encode(), np.uint8), *map(_raw, wave.arrays))
        write_whole(self.path, buffer.getvalue())

    def load(self, trials: Sequence[Trial], like: Sequence[NDArray[Any]]) -> Wave | None:
        """Returns the wave of these runs; None if there is none, or none that is sound.

        Args:
          trials: the runs that are to be trained together.
          like: arrays of the types and shapes that the state has.
        """
        try:
            with np.load(io.BytesIO(self.path.read_bytes()), allow_pickle=False) as file:
                # As NumPy names what it is given without names.
                sealed = json.loads(file["arr_0"].tobytes())
                raw = [file[f"arr_{index + 1}"] for index in range(len(like))]
            arrays = [one.view(other.dtype).reshape(other.shape) for one, other in zip(raw, like, strict=True)]
            seal = sealed.pop("sha256")
            if seal != digest(sealed, arrays) or any(sealed[key] != value for key, value in _head(trials).items()):
                return None
            return Wave(trials, sealed["epochs"], sealed["members"], arrays)
        except Exception:  # noqa: BLE001  # whatever NumPy makes of a damaged file; these runs begin anew
            return None

    def remove(self) -> None:
        """Removes the file, and what a killed process has left of one."""
        for path in (self.path, *self.path.parent.glob(f".{self.path.name}.*")):
            path.unlink(missing_ok=True)


def _head(trials: Sequence[Trial]) -> dict[str, Any]:
    """Returns what tells one wave from another."""
    return {"version": _VERSION, "trials": [dict(vars(trial)) for trial in trials]}


def _as_read(values: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(json.dumps(values))
    return read


def _raw(array: NDArray[Any]) -> NDArray[np.uint8]:
    # As bytes: NumPy's format does not know every type of JAX.
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
