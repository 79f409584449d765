"""Texts that all processes of a distributed run give each other, over their devices."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SMALLEST_MESSAGE = 256


def exchange(text: str) -> list[str]:
    """Gives a text to all processes and returns those of all, by process."""
    import jax
    import numpy as np

    data = np.frombuffer(text.encode(), np.uint8)
    with _without_stdout():
        lengths = _gather(np.array([len(data)], np.int32))
    # Few shapes, because each is compiled.
    row = np.zeros(max(_SMALLEST_MESSAGE, 1 << (int(lengths.max()) - 1).bit_length()), np.uint8)
    row[: len(data)] = data
    rows = _gather(row)
    found = {
        device.process_index: bytes(values[: int(length[0])]).decode()
        for device, values, length in zip(jax.devices(), rows, lengths, strict=True)
    }
    return [found[index] for index in sorted(found)]


def _gather(row: NDArray[Any]) -> NDArray[Any]:
    """Returns the rows of all devices, in their order; each process gives the same row for all of its own."""
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    # Not `multihost_utils.process_allgather`: it wants equally many devices in each process.
    devices = jax.devices()
    mesh = Mesh(np.asarray(devices), ("devices",))
    sharded, everywhere = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("devices",), ()))
    rows = jax.make_array_from_callback((len(devices), len(row)), sharded, lambda _: row[np.newaxis])
    return np.asarray(jax.jit(lambda values: values, out_shardings=everywhere)(rows))


@contextlib.contextmanager
def _without_stdout() -> Iterator[None]:
    """Drops what gloo prints on stdout when it connects, which it does in the first collective."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
