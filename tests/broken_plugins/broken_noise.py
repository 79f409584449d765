"""Looks a host up when it is imported, and imports another distribution's plugin."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass

import lrtrain_constant

from lrtrain import Schedule, hookimpl

with contextlib.suppress(OSError):
    socket.getaddrinfo("localhost", 80)


@dataclass(frozen=True)
class Broken:
    """Constant. Reference: none."""

    @hookimpl
    def build_schedule(self) -> Schedule:
        """Builds the schedule."""
        return lrtrain_constant.Constant().build_schedule()
