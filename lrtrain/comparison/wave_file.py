"""The file of a wave: an interrupted comparison continues from the end of the last epoch that is in it.

The directories of trials have no checkpoints: trials are short, and only their results count. Instead a process has one
file for the wave that it trains, which it replaces at the ends of epochs and removes when the wave is done.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrain.comparison.trial import Trial
from lrtrain.files import digest, write_whole

_VERSION = 1
# Short epochs take less time to train again than to save.
SECONDS_BETWEEN_SAVES = 5.0


@dataclass(frozen=True, eq=False)
class Saved:
    """A wave at the end of an epoch.

    Args:
      trials: its trials, in the order of their places.
      epochs: the number of epochs done.
      seconds: the time that they took.
      positions: the position of each trial, from `ActiveTrial.to_json`.
      arrays: all leaves of the training state, on the host, each with a leading axis of places.
    """

    trials: Sequence[Trial]
    epochs: int
    seconds: float
    positions: Sequence[dict[str, Any]]
    arrays: Sequence[NDArray[Any]]


@dataclass(frozen=True)
class WaveFile:
    """The file of the wave that a process trains."""

    path: Path

    def save(self, saved: Saved) -> None:
        """Replaces the file."""
        values = {
            "version": _VERSION,
            "trials": [dict(vars(trial)) for trial in saved.trials],
            "epochs": saved.epochs,
            "seconds": saved.seconds,
            "members": list(saved.positions),
        }
        sealed = {**values, "sha256": digest(json.loads(json.dumps(values)), saved.arrays)}
        # As bytes, since NumPy's format does not have every type of JAX.
        raw = [np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in saved.arrays]
        buffer = io.BytesIO()
        np.savez(buffer, np.frombuffer(json.dumps(sealed).encode(), np.uint8), *raw)
        self._sweep()
        write_whole(self.path, buffer.getvalue())

    def trials(self) -> list[Trial]:
        """Returns the trials in it; none if there is no file, or if it is damaged; OSError if it cannot be read now."""
        head = self._read(0)
        return _trials(head[0]) if head is not None else []

    def load(self, like: Sequence[NDArray[Any]]) -> Saved | None:
        """Returns the wave in it; None if there is no file, or if it is damaged.

        ``like`` has arrays of the types and shapes of the state, except for the number of places.
        """
        read = self._read(len(like))
        if read is None:
            return None
        values, raw = read
        try:
            arrays = [one.view(other.dtype).reshape(-1, *other.shape[1:]) for one, other in zip(raw, like, strict=True)]
        except ValueError:
            return None
        seal, trials = values.pop("sha256"), _trials(values)
        if seal != digest(values, arrays) or any(len(array) < len(trials) for array in arrays):
            return None
        return Saved(trials, values["epochs"], values["seconds"], values["members"], arrays)

    def remove(self) -> None:
        """Removes the file, and the incomplete files of killed processes."""
        self.path.unlink(missing_ok=True)
        self._sweep()

    def _sweep(self) -> None:
        for path in self.path.parent.glob(f".{self.path.name}.*"):
            path.unlink(missing_ok=True)

    def _read(self, arrays: int) -> tuple[dict[str, Any], list[NDArray[np.uint8]]] | None:
        # A disk that cannot be read at the moment has damaged nothing: the error ends the command, and the file stays.
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                # NumPy's names for arrays without names.
                values = json.loads(file["arr_0"].tobytes())
                raw = [file[f"arr_{index + 1}"] for index in range(arrays)]
        except Exception:  # noqa: BLE001  # whatever NumPy raises for a damaged file; the trials begin again
            return None
        return (values, raw) if isinstance(values, dict) and values.get("version") == _VERSION else None


def _trials(values: dict[str, Any]) -> list[Trial]:
    return [Trial(**trial) for trial in values["trials"]]
