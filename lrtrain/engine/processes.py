"""The processes that train one network together, what they tell each other, and what they agree on."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from lrtrain.errors import LrtrainError, TrainingError, UsageError, cause
from lrtrain.plugins.spec import short

if TYPE_CHECKING:
    from numpy.typing import NDArray

Facts: TypeAlias = Mapping[str, Any]
"""What all processes of a run must have been given alike, by name; JSON."""

_MOST_SAID, _LONGEST = 3, 80
# The only fact of a process that was refused something before the others could hear of anything else: its error.
REFUSED = "refused"
_SMALLEST_MESSAGE = 256


@dataclass(eq=False)
class Processes:
    """The processes of a run, as one of them sees them; also those of a run of one process.

    Whatever communicates here has to be called by all processes, in one order.

    Attributes:
      index: which of them this one is, from 0.
      count: how many there are.
      agreed_to_end: whether all of them know that they end.
    """

    index: int
    count: int
    agreed_to_end: bool = False

    @property
    def alone(self) -> bool:
        """Whether this is the only process."""
        return self.count == 1

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes files, calls hooks and reports."""
        return self.index == 0

    def from_main(self, make: Callable[[], str]) -> str:
        """Returns to every process the text that the main process makes, as `gathered` does for the texts of all."""
        return self.gathered(lambda: [make()] if self.is_main else [])[0]

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Ends when all processes have reached its end, and fails in all of them when it has failed in one.

        Raises:
          TrainingError: another process has failed; this one would wait for it for ever.
        """
        with self._agreeing([]):
            yield

    def gathered(self, make: Callable[[], list[str]]) -> list[str]:
        """Returns the texts that all processes make, by process; raises TrainingError when another one has failed."""
        mine: list[str] = []
        with self._agreeing(mine) as of_all:
            mine.extend(make())
        return [text for texts in of_all for text in texts]

    def check_alike(self, facts: Facts) -> None:
        """Raises UsageError, in all processes, when they were not given the same: which one was not, and in what."""
        of_all = [json.loads(text) for text in self.gathered(lambda: [json.dumps(facts)])]
        problem = unequal(of_all, self.index)
        if problem is not None:
            self.agreed_to_end = True
            raise UsageError(problem)

    @contextlib.contextmanager
    def _agreeing(self, mine: list[str]) -> Iterator[list[list[str]]]:
        """Ends when all processes have reached its end; the list it yields then holds the texts of each of them."""
        of_all: list[list[str]] = []
        if self.alone:
            yield of_all
            of_all.append(mine)
            return
        failure = None
        try:
            yield of_all
        except Exception as error:  # noqa: BLE001  # raised again, once the others know of it
            failure = error
        told = _told(failure) if failure else None
        messages = [json.loads(text) for text in _exchange(json.dumps({"failed": told, "said": mine}))]
        self.agreed_to_end = any(message["failed"] is not None for message in messages)
        if failure is not None:
            raise failure
        for index, message in enumerate(messages):
            if message["failed"] is not None:
                raise TrainingError(f"process {index} of this distributed run has failed: {message['failed']}")
        of_all.extend(message["said"] for message in messages)


ALONE = Processes(0, 1)


def _told(error: Exception) -> str:
    return (str(error) if isinstance(error, LrtrainError) else cause(error))[:2000]


def _exchange(text: str) -> list[str]:
    """Gives a text to all processes, over their devices, and returns those of all, by process."""
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


def unequal(facts: Sequence[Facts], index: int) -> str | None:
    """Returns in what one of the processes was given something else than process 0; None when all are alike.

    The process of the index asks: the sentence is about itself, or else about the first one that differs.
    """
    others = [index, *(each for each in range(len(facts)) if each != index)]
    for process in others:
        if REFUSED in facts[process]:
            return f"process {process} cannot take part: {facts[process][REFUSED]}"
    for process in others:
        found = list(_differences(facts[process], facts[0], process))
        if found:
            more = f" and {len(found) - _MOST_SAID} more" if len(found) > _MOST_SAID else ""
            return (
                f"process {process} was not given the same as process 0 ({'; '.join(found[:_MOST_SAID])}{more}): give "
                "every process the same command, but for --process-id"
            )
    return None


def _differences(theirs: Facts, first: Facts, process: int) -> Iterator[str]:
    for name in {**first, **theirs}:
        if name not in theirs or name not in first:
            yield f"{name} in process {process if name in theirs else 0} only"
        elif theirs[name] != first[name]:
            here, there = (f"{name}={short(str(facts[name]), _LONGEST)}" for facts in (theirs, first))
            yield f"{here} in process {process} and {there} in process 0"
