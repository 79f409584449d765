"""Imports JAX and uses a device when it is imported, and takes long."""

from __future__ import annotations

import time
from dataclasses import dataclass

import jax

from lrtrain import Schedule, hookimpl

jax.devices()
time.sleep(3)


@dataclass(frozen=True)
class Broken:
    """Constant. Reference: none."""

    @hookimpl
    def build_schedule(self) -> Schedule:
        """Builds the schedule."""
        return lambda step: 0.1
