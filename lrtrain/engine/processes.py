"""Several processes that train one network together, on JAX's own distributed runtime."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lrtrain.engine.agreement import Facts, facts_of_refusal, unequal
from lrtrain.engine.rendezvous import Place, Ties, meet
from lrtrain.errors import LrtrainError, TrainingError, UsageError, cause
from lrtrain.signals import PROCESS

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A process that is gone without closing its connections, such as one of a host that lost power, is found out after the
# first; the second is how long one that has ended waits for the others to end too.
_HEARTBEAT_TIMEOUT = 30
_SHUTDOWN_TIMEOUT = 60
_LOST = re.compile(r"gloo|nccl|connection (closed|reset)|socket closed|heartbeat|coordination|barrier", re.IGNORECASE)
_SMALLEST_MESSAGE = 256
# What ends all processes, such as a signal, ends the others by itself in the first; process 0 waits for them longer.
_GRACE, _LEAVE = 2.0, 5.0
# Until the others of a run have started, when all of them are started together.
_UNTIL_STARTED = 10.0


@dataclass(frozen=True)
class Distributed:
    """Where a process stands in a distributed run: all three are given, or none and JAX asks the cluster.

    JAX knows SLURM, Open MPI, Kubernetes and Cloud TPU by their environment. This is no part of a run's configuration:
    the same run can go on elsewhere, with other processes.

    Args:
      coordinator: ``HOST:PORT`` where process 0 listens and all others can reach it.
      num_processes: how many processes there are.
      process_id: which one this is, from 0.
    """

    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None

    def check(self) -> None:
        """Raises UsageError for what cannot be a process of a run."""
        given = (self.coordinator, self.num_processes, self.process_id)
        if given == (None, None, None):
            return
        if None in given:
            raise UsageError("--coordinator, --num-processes and --process-id belong together: give all three or none")
        host, _, port = str(self.coordinator).rpartition(":")
        if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
            raise UsageError(f"--coordinator {self.coordinator} is refused: expected HOST:PORT, as in node1:12355")
        if not 0 <= int(self.process_id or 0) < int(self.num_processes or 0):
            raise UsageError(
                f"--process-id {self.process_id} with --num-processes {self.num_processes} is refused: "
                "expected numbers from 0 to one less than the processes"
            )

    def place(self) -> Place | None:
        """Returns where the processes of the run meet; None where that is left to JAX and the cluster."""
        if self.coordinator is None or self.num_processes is None or self.process_id is None:
            return None
        return Place(self.coordinator, self.num_processes, self.process_id)


class Processes:
    """The processes of a run, as one of them sees them; also those of a run of one process.

    Whatever communicates here has to be called by all processes, in one order.
    """

    def __init__(self, index: int, count: int) -> None:
        self._index = index
        self._count = count

    @property
    def count(self) -> int:
        """How many processes there are."""
        return self._count

    @property
    def index(self) -> int:
        """Which of them this one is, from 0."""
        return self._index

    @property
    def alone(self) -> bool:
        """Whether this is the only process."""
        return self._count == 1

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes files, calls hooks and reports."""
        return self._index == 0

    def from_main(self, make: Callable[[], str]) -> str:
        """Returns to every process the text that the main process makes.

        Raises:
          TrainingError: in all other processes, when making it has failed; the main process raises what it raised.
        """
        if self.alone:
            return make()
        text = ""
        with self.together() as said:
            if self.is_main:
                said.append(make())
        (text,) = said
        return text

    @contextlib.contextmanager
    def together(self) -> Iterator[list[str]]:
        """Ends when all processes have come to its end, and fails in all of them when it has failed in one.

        Yields:
          A list: what the main process puts in it, the list of every process holds at the end.

        Raises:
          TrainingError: another process has failed; this one would wait for it for ever.
        """
        said: list[str] = []
        with self._agreeing(said) as of_all:
            yield said
        said[:] = of_all[0]

    def gathered(self, make: Callable[[], list[str]]) -> list[str]:
        """Returns the texts that all processes make, those of the first process first.

        Raises:
          TrainingError: making them has failed in another process.
        """
        mine: list[str] = []
        with self._agreeing(mine) as of_all:
            mine.extend(make())
        return [text for texts in of_all for text in texts]

    def check_alike(self, facts: Facts) -> None:
        """Ends all processes when they were not given the same.

        Args:
          facts: what all must have been given alike, by name; JSON.

        Raises:
          UsageError: they differ, in all processes: says which one does, and in what.
        """
        if self.alone:
            return
        of_all = [json.loads(text) for text in self.gathered(lambda: [json.dumps(facts)])]
        problem = unequal(of_all, self.index)
        if problem is not None:
            _connection.agreed_to_end = True
            raise UsageError(problem)

    @contextlib.contextmanager
    def _agreeing(self, mine: list[str]) -> Iterator[list[list[str]]]:
        """Ends when all processes have come to its end; the list it yields then holds the texts of each of them."""
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
        _connection.agreed_to_end = any(message["failed"] is not None for message in messages)
        if failure is not None:
            raise failure
        for index, message in enumerate(messages):
            if message["failed"] is not None:
                raise TrainingError(f"process {index} of this distributed run has failed: {message['failed']}")
        of_all.extend(message["said"] for message in messages)


ALONE = Processes(0, 1)


@dataclass
class _Connection:
    """How this process is connected with the others.

    Args:
      ties: the connections over which process 0 says that it ends.
      agreed_to_end: whether all processes know that they end.
    """

    ties: Ties = field(default_factory=Ties)
    agreed_to_end: bool = False


# There is one in a process, as there is one JAX.
_connection = _Connection()


def connect(options: Distributed, facts: Facts) -> None:
    """Connects this process with the others of a distributed run; call it before JAX is used for anything else.

    A program that has called `jax.distributed.initialize` itself keeps what it has set up.

    Args:
      options: where this process stands.
      facts: what all processes must have been given alike; compared here where the coordinator is given, because JAX
        itself aborts processes that do not fit.

    Raises:
      UsageError: JAX finds no cluster, the address cannot be used, or the processes are not those of one run.
    """
    PROCESS.how_to_go_on = lambda: "the processes of this run had not come together yet"
    if not is_connected():
        _meet_the_others(options, facts)
    PROCESS.let_go = _let_go


def _meet_the_others(options: Distributed, facts: Facts) -> None:
    place = options.place()
    if place is not None:
        _connection.ties = meet(place, facts)
    _initialize(options)
    if options.process_id:
        threading.Thread(target=_end_with_the_first, name="process 0", daemon=True).start()


@contextlib.contextmanager
def refusals_told(options: Distributed | None) -> Iterator[None]:
    """Lets the other processes know when this one ends before it meets them: they would wait for it for minutes.

    Args:
      options: where this process stands; None if it trains alone.
    """
    try:
        yield
    except Exception as error:
        if options is not None and not is_connected():
            with contextlib.suppress(LrtrainError):
                options.check()
                if place := options.place():
                    meet(place, facts_of_refusal(error), _UNTIL_STARTED)
        raise


def _initialize(options: Distributed) -> None:
    import jax

    # It would take SIGTERM for itself, and end nothing.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            options.coordinator,
            options.num_processes,
            options.process_id,
            heartbeat_timeout_seconds=_HEARTBEAT_TIMEOUT,
            shutdown_timeout_seconds=_SHUTDOWN_TIMEOUT,
        )
    except (ValueError, KeyError) as error:
        raise UsageError(
            f"--distributed finds no cluster ({cause(error)}): give --coordinator HOST:PORT, --num-processes N and "
            "--process-id I, or start the processes with srun or mpirun"
        ) from error
    except RuntimeError as error:
        where = f" at {options.coordinator}" if options.coordinator else ""
        raise UsageError(f"--distributed cannot be set up{where}: {cause(error)}") from error


def _end_with_the_first() -> None:
    """Ends this process soon after process 0 says that it ends: it may wait for it in a collective."""
    if not _connection.ties.first_ends():
        return
    # What ends all of them ends this one in its own words.
    time.sleep(_GRACE)
    if is_connected():
        said = f"Error: process 0 of this distributed run has ended; {PROCESS.how_to_go_on()}\n"
        os.write(2, said.encode(errors="replace"))
        os._exit(1)


def processes_connected() -> Processes:
    """Returns the processes that JAX has connected, after `connect`; this starts JAX with the devices it then has."""
    import jax

    return Processes(jax.process_index(), jax.process_count())


def is_connected() -> bool:
    """Tells whether this process is one of a distributed run."""
    return "jax" in sys.modules and bool(sys.modules["jax"].distributed.is_initialized())


def is_main() -> bool:
    """Tells whether this process speaks for its run, as the only one or the first; for use when a run has begun."""
    return not is_connected() or bool(sys.modules["jax"].process_index() == 0)


def _let_go() -> None:
    """Lets the others of a distributed run end before this process does: JAX aborts those that lose process 0."""
    if not is_connected():
        return
    if _connection.agreed_to_end:
        with contextlib.suppress(Exception):
            sys.modules["jax"].distributed.shutdown()
    else:
        _connection.ties.say_ending(_LEAVE)


@contextlib.contextmanager
def losses_named(processes: Processes, go_on: Callable[[], str]) -> Iterator[None]:
    """Turns what JAX and Orbax raise when a process has gone into one sentence.

    Args:
      processes: those of the run.
      go_on: says how the run is continued.

    Raises:
      TrainingError: a process has gone.
    """
    # A process that is no part of a distributed run has better words of its own.
    if PROCESS.let_go is not None:
        PROCESS.how_to_go_on = go_on
    try:
        yield
    except LrtrainError:
        raise
    except Exception as error:
        if processes.alone or not _LOST.search(str(error)):
            raise
        raise TrainingError(f"a process of this distributed run has gone ({_brief(error)}); {go_on()}") from error


def _brief(error: Exception) -> str:
    """Returns the first line without the place in the source that gloo names."""
    return re.sub(r"\[\S*\.cc:\d+\] ", "", cause(error))[:200]


def _told(error: Exception) -> str:
    return (str(error) if isinstance(error, LrtrainError) else cause(error))[:2000]


def _exchange(text: str) -> list[str]:
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
