"""Where the processes of a run meet before JAX connects them, which ends a process that something is wrong with.

Process 0 listens where JAX's own service will. Each of the others says who it is and what it was given, and process 0
answers when all are connected. The connections stay: over them process 0 says that it ends, before JAX finds it gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from lrtrain.engine.processes import Facts, unequal
from lrtrain.errors import UsageError, cause

# As long as JAX waits; and, once something is wrong, for the others to hear of it.
_PATIENCE = 300.0
_LINGER = 5.0
# From the first words of whoever answers at the address.
_ANSWER = 10.0
_PAUSE = 0.2
_GREETING = b"lrtrain rendezvous 1\n"
_MOST = 1_000_000
_ENDING = b"x"
# Processes that a sentence names.
_FEW = 8


@dataclass(frozen=True)
class Place:
    """Where a process stands: the coordinator's address, how many there are and which one this is."""

    address: str
    count: int
    index: int

    @property
    def at(self) -> tuple[str, int]:
        """The coordinator's host and port."""
        host, _, port = self.address.rpartition(":")
        return host.strip("[]"), int(port)


@dataclass(frozen=True)
class Ties:
    """The connections of process 0 with each of the others, or of another one with process 0."""

    sockets: tuple[socket.socket, ...] = ()
    of_the_first: bool = False

    def say_ending(self, patience: float) -> None:
        """Says in process 0 that it ends, and waits until the others have ended; does nothing in another."""
        if not self.of_the_first:
            return
        for each in self.sockets:
            with contextlib.suppress(OSError):
                each.sendall(_ENDING)
        deadline, left = time.monotonic() + patience, list(self.sockets)
        while left and (ready := select.select(left, [], [], max(0.0, deadline - time.monotonic()))[0]):
            left = [each for each in left if each not in ready]

    def first_ends(self) -> bool:
        """Waits in another process until process 0 says that it ends; returns False when it does not say so."""
        with contextlib.suppress(OSError):
            return any(each.recv(1) == _ENDING for each in self.sockets)
        return False


def meet(place: Place, facts: Facts, patience: float = _PATIENCE) -> Ties:
    """Waits until all processes are connected with the same facts, which are JSON; raises UsageError when they fail."""
    facts = json.loads(json.dumps(facts))
    return _receive(place, facts, patience) if place.index == 0 else _visit(place, facts, patience)


def _receive(place: Place, facts: Facts, patience: float) -> Ties:
    with _listener(place, facts) as listener:
        party = _Party(place, facts, listener, time.monotonic() + patience, patience)
        try:
            party.gather()
        except BaseException:
            for guest in party.guests.values():
                guest.close()
            raise
        finally:
            for stranger in party.strangers:
                stranger.close()
    return Ties(tuple(party.guests.values()), of_the_first=True)


def _listener(place: Place, facts: Facts) -> socket.socket:
    dual = socket.has_dualstack_ipv6()
    try:
        # It may listen where a run that has just ended left connections that only wait for their end, and JAX listens
        # here next.
        family = socket.AF_INET6 if dual else socket.AF_INET
        return socket.create_server(("", place.at[1]), family=family, dualstack_ipv6=dual)
    except OSError as error:
        _tell_another_first(place, facts)
        # The words of the system alone: Python adds the address that it has tried to bind.
        said = cause(OSError(error.errno, os.strerror(error.errno or 0)))
        raise UsageError(f"--distributed cannot be set up at {place.address}: {said}") from error


def _tell_another_first(place: Place, facts: Facts) -> None:
    """Asks whoever listens already; it is this run's process 0 if --process-id 0 was given twice, and then says so."""
    with contextlib.suppress(OSError, _NotOursError), socket.create_connection(("localhost", place.at[1]), 1.0) as link:
        _introduce(link, place, facts, time.monotonic() + 1.0)
        _obey(place, _line(link, time.monotonic() + _LINGER))


@dataclass(eq=False)
class _Party:
    """Process 0 and the processes that are connected to it."""

    place: Place
    facts: Facts
    listener: socket.socket
    deadline: float
    patience: float
    strangers: dict[socket.socket, bytes] = field(default_factory=dict)
    guests: dict[int, socket.socket] = field(default_factory=dict)
    told: dict[int, Facts] = field(default_factory=dict)
    fault: str | None = None

    def gather(self) -> None:
        while len(self.guests) < self.place.count - 1:
            left = self.deadline - time.monotonic()
            if left <= 0:
                self._blame(self._missing())
                break
            for ready in select.select([self.listener, *self.strangers, *self.guests.values()], [], [], left)[0]:
                if ready is self.listener:
                    self._greet()
                elif ready in self.strangers:
                    self._hear(ready)
                else:
                    self._lose(ready)
        for index, guest in self.guests.items():
            _answer(guest, self._fault_for(index))
        if self.fault is not None:
            raise UsageError(self._fault_for(0) or self.fault)

    def _greet(self) -> None:
        with contextlib.suppress(OSError):
            stranger, _ = self.listener.accept()
            # Whoever says nothing, such as what looks for open ports, keeps nobody waiting.
            stranger.setblocking(False)
            self.strangers[stranger] = b""
            stranger.send(_GREETING)

    def _hear(self, stranger: socket.socket) -> None:
        try:
            data = stranger.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        heard = self.strangers.pop(stranger) + data
        if not data or len(heard) > _MOST:
            stranger.close()
        elif heard.endswith(b"\n"):
            self._admit(stranger, heard)
        else:
            self.strangers[stranger] = heard

    def _admit(self, stranger: socket.socket, heard: bytes) -> None:
        try:
            said = json.loads(heard)
            index, count, facts = int(said["index"]), int(said["count"]), dict(said["facts"])
        except (ValueError, KeyError, TypeError):
            stranger.close()
            return
        problem = self._problem(index, count)
        if problem is not None:
            self._blame(problem)
            _answer(stranger, problem)
            stranger.close()
            return
        stranger.setblocking(True)
        self.guests[index], self.told[index] = stranger, facts
        unlike = unequal(self._all_facts(), index)
        if unlike is not None:
            self._blame(unlike)

    def _problem(self, index: int, count: int) -> str | None:
        if count != self.place.count:
            return (
                f"process {index} was started with --num-processes {count} and process 0 with {self.place.count}: "
                "give every process the same number"
            )
        if index == 0 or index in self.guests:
            return f"--process-id {index} is given twice: give each process a number of its own, from 0"
        return None

    def _lose(self, guest: socket.socket) -> None:
        (index,) = (each for each, its in self.guests.items() if its is guest)
        guest.close()
        del self.guests[index]
        self._blame(f"process {index} has ended before all the others had come: start the run again")

    def _blame(self, fault: str) -> None:
        """Ends the meeting soon: those that are about to come hear of it too."""
        if self.fault is None:
            self.fault = fault
            self.deadline = min(self.deadline, time.monotonic() + _LINGER)

    def _missing(self) -> str:
        absent = [index for index in range(1, self.place.count) if index not in self.guests]
        named = ", ".join(map(str, absent[:_FEW])) + (" and others" if len(absent) > _FEW else "")
        return (
            f"of {self.place.count} processes these have not connected to {self.place.address} within "
            f"{self.patience:.0f} s: {named}; start each with its --process-id and this --coordinator"
        )

    def _all_facts(self) -> list[Facts]:
        return [self.facts, *(self.told.get(index, self.facts) for index in range(1, self.place.count))]

    def _fault_for(self, index: int) -> str | None:
        """Returns the fault in the words for one process: one that differs itself hears in what."""
        return self.fault and (unequal(self._all_facts(), index) or self.fault)


class _NotOursError(Exception):
    """Something else than a process 0 that waits has answered."""


def _visit(place: Place, facts: Facts, patience: float) -> Ties:
    deadline = time.monotonic() + patience
    with contextlib.ExitStack() as failed:
        link = failed.enter_context(_reached(place, deadline, patience))
        try:
            _introduce(link, place, facts, min(deadline, time.monotonic() + _ANSWER))
            # Process 0 may have begun to wait later.
            verdict = _line(link, deadline + patience)
        except (OSError, _NotOursError) as error:
            raise UsageError(
                f"what answers at {place.address} is no process 0 that waits for this one: end what listens there, and "
                f"see that no other process has --process-id {place.index} or another --num-processes"
            ) from error
        _obey(place, verdict)
        link.settimeout(None)
        failed.pop_all()
    return Ties((link,))


def _reached(place: Place, deadline: float, patience: float) -> socket.socket:
    while True:
        try:
            link = socket.create_connection(place.at, _ANSWER)
            # Where nobody listens, a port may be given to this very connection, as its own end.
            if link.getsockname() != link.getpeername():
                return link
            link.close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise UsageError(
                    f"process 0 has not answered at {place.address} within {patience:.0f} s ({cause(error)}): start it "
                    "there, with this --coordinator"
                ) from error
            time.sleep(_PAUSE)


def _introduce(link: socket.socket, place: Place, facts: Facts, deadline: float) -> None:
    if _line(link, deadline) != _GREETING:
        raise _NotOursError
    said: dict[str, Any] = {"index": place.index, "count": place.count, "facts": facts}
    link.sendall(json.dumps(said).encode() + b"\n")


def _obey(place: Place, verdict: bytes) -> None:
    """Raises UsageError where process 0 has found a fault."""
    if not verdict.endswith(b"\n"):
        raise UsageError(
            f"process 0 at {place.address} has ended before all processes had come: see what it says, and start the "
            "run again"
        )
    fault = json.loads(verdict)["fault"]
    if fault is not None:
        raise UsageError(fault)


def _answer(guest: socket.socket, fault: str | None) -> None:
    with contextlib.suppress(OSError):
        guest.sendall(json.dumps({"fault": fault}).encode() + b"\n")


def _line(link: socket.socket, deadline: float) -> bytes:
    """Returns what comes up to the end of a line or of the connection; raises OSError when nothing comes for long."""
    heard = b""
    while not heard.endswith(b"\n") and len(heard) < _MOST:
        link.settimeout(max(0.01, deadline - time.monotonic()))
        data = link.recv(1)
        if not data:
            break
        heard += data
    return heard
