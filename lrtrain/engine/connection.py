"""How a process meets the others of a distributed run on JAX's own runtime, and how it leaves them."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lrtrain.engine.processes import ALONE, REFUSED, Facts, Processes
from lrtrain.engine.rendezvous import Place, Ties, meet
from lrtrain.errors import LrtrainError, TrainingError, UsageError, cause
from lrtrain.signals import PROCESS

# A process that is gone without closing its connections, such as one of a host that lost power, is found out after the
# first; the second is how long one that has ended waits for the others to end too.
_HEARTBEAT_TIMEOUT = 30
_SHUTDOWN_TIMEOUT = 60
_LOST = re.compile(r"gloo|nccl|connection (closed|reset)|socket closed|heartbeat|coordination|barrier", re.IGNORECASE)
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


@dataclass
class _Connection:
    """The ties over which process 0 says that it ends, and the processes, once they are connected."""

    ties: Ties = field(default_factory=Ties)
    processes: Processes = ALONE


# There is one in a process, as there is one JAX.
_connection = _Connection()


def connect(
    options: Distributed, facts: Facts, phase: Callable[[str], None], before_jax_starts: Callable[[], object]
) -> Processes:
    """Connects this process with the others of a distributed run; call it before JAX is used for anything else.

    A program that has called `jax.distributed.initialize` itself keeps what it has set up. The facts are compared here
    where the coordinator is given, because JAX itself aborts processes that do not fit.

    Raises:
      UsageError: JAX finds no cluster, the address cannot be used, or the processes are not those of one run.
    """
    PROCESS.how_to_go_on = lambda: "the processes of this run had not come together yet"
    if options.process_id in (0, None):
        phase("waiting for the other processes")
    if not is_connected():
        place = options.place()
        if place is not None:
            _connection.ties = meet(place, facts)
            PROCESS.let_go = _let_go
        _initialize(options)
        if options.process_id:
            threading.Thread(target=_end_with_the_first, name="process 0", daemon=True).start()
    PROCESS.let_go = _let_go
    before_jax_starts()
    import jax

    # It starts when it is asked for the number of this process.
    _connection.processes = Processes(jax.process_index(), jax.process_count())
    return _connection.processes


@contextlib.contextmanager
def refusals_told(options: Distributed | None) -> Iterator[None]:
    """Lets the other processes know when this one ends before it meets them: they would wait for it for minutes.

    Without options it trains alone.
    """
    try:
        yield
    except Exception as error:
        if options is not None and not is_connected():
            with contextlib.suppress(LrtrainError):
                options.check()
                if place := options.place():
                    meet(place, {REFUSED: str(error)}, _UNTIL_STARTED)
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


def is_connected() -> bool:
    """Returns whether this process is one of a distributed run."""
    return "jax" in sys.modules and bool(sys.modules["jax"].distributed.is_initialized())


def is_main() -> bool:
    """Returns whether this process speaks for its run, as the only one or the first; for use when a run has begun."""
    return not is_connected() or bool(sys.modules["jax"].process_index() == 0)


def _let_go() -> None:
    """Lets the others of a distributed run end before this process does: JAX aborts those that lose process 0."""
    if not is_connected():
        return
    if _connection.processes.agreed_to_end:
        with contextlib.suppress(Exception):
            sys.modules["jax"].distributed.shutdown()
    else:
        _connection.ties.say_ending(_LEAVE)


@contextlib.contextmanager
def named_process_loss(processes: Processes, go_on: Callable[[], str]) -> Iterator[None]:
    """Raises TrainingError, with how the run is continued, for what JAX and Orbax raise when a process has gone."""
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
        # Without the place in the source that gloo names.
        brief = re.sub(r"\[\S*\.cc:\d+\] ", "", cause(error))[:200]
        raise TrainingError(f"a process of this distributed run has gone ({brief}); {go_on()}") from error
