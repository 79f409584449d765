"""Schedules that each have one fault; apart from it they are as they should be."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from lrtrain import Doc, Duration, LearningRate, Piece, Schedule, ScheduleContext, Share, Traits, hookimpl


@dataclass(frozen=True)
class Default:
    """Constant. Reference: none."""

    @hookimpl
    def build_schedule(self, context: ScheduleContext | None = None) -> Schedule:
        """Has a default argument, which is never used."""
        return lambda step: 0.1


@dataclass(frozen=True)
class Undocumented:
    value: LearningRate = 0.1

    @hookimpl
    def build_schedule(self) -> Schedule:
        """Builds the schedule."""
        return lambda step: self.value


@dataclass(frozen=True)
class Untyped:
    """Constant. Reference: none."""

    value: Annotated[Any, Doc("anything")] = 0.1

    @hookimpl
    def build_schedule(self) -> Schedule:
        """Builds the schedule."""
        return lambda step: 0.1


@dataclass(frozen=True)
class Nan:
    """A square root that goes below 0 near the end of a long run. Reference: none."""

    @hookimpl
    def build_schedule(self) -> Schedule:
        """Builds the schedule."""
        import jax.numpy as jnp

        return lambda step: jnp.sqrt(2000.0 - step)


@dataclass(frozen=True)
class Short:
    """Divides by what is 0 in a run of one step. Reference: none."""

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule."""
        slope = 0.1 / (context.total_steps - 1)
        return lambda step: 0.1 - slope * step / 2


@dataclass(frozen=True)
class WrongTraits:
    """Falls, and says that it rises. Reference: none."""

    traits: ClassVar[Traits] = Traits(may_rise=True)

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule."""
        return lambda step: 0.1 * (1 - step / (2 * context.total_steps))


@dataclass(frozen=True)
class DependsOnTracing:
    """Another value when it is called without jit. Reference: none."""

    @hookimpl
    def build_schedule(self) -> Schedule:
        """Builds the schedule."""
        import jax

        return lambda step: 0.1 if isinstance(step, jax.core.Tracer) else 0.2


@dataclass(frozen=True)
class Overflow:
    """Multiplies the count by more than int32 holds. Reference: none."""

    @hookimpl
    def build_schedule(self) -> Schedule:
        """Builds the schedule."""
        return lambda step: 0.1 + abs(step * 2**25) / 2.0**36


@dataclass(frozen=True)
class Recompiled:
    """A function of its own for each call. Reference: none."""

    @hookimpl
    def build_schedule(self) -> Schedule:
        """Builds the schedule."""
        import jax

        def schedule(step: Any) -> Any:
            return jax.jit(lambda count: 0.1 / (1.0 + count))(step)

        return schedule


@dataclass(frozen=True)
class Random:
    """Another height in each run. Reference: none."""

    @hookimpl
    def build_schedule(self) -> Schedule:
        """Builds the schedule."""
        height = random.SystemRandom().random() + 0.1
        return lambda step: height


@dataclass(frozen=True)
class Late:
    """Halves in each fifth of the run, by a division of floats. Reference: none."""

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule."""
        import optax

        return optax.exponential_decay(0.1, max(1, context.total_steps // 5), 0.5, staircase=True)


@dataclass(frozen=True)
class FloatShare:
    """Drops at a share of the run, by a product of floats. Reference: none."""

    drop: Annotated[Share, Doc("where it drops")] = 0.5

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule."""
        import jax.numpy as jnp

        boundary = int(self.drop * context.total_steps)
        return lambda step: jnp.where(step < boundary, 0.1, 0.05)


@dataclass(frozen=True)
class FloatDuration:
    """Drops at a duration that it reads itself, rounded to the nearest step. Reference: none."""

    drop: Annotated[Duration, Doc("where it drops")] = Duration("25%")

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule."""
        import jax.numpy as jnp

        share = float(self.drop.amount) / 100
        boundary = round(share * context.total_steps) if self.drop.unit == "%" else context.steps(self.drop)
        return lambda step: jnp.where(step < boundary, 0.1, 0.05)


@dataclass(frozen=True)
class Crash:
    """Divides by an option that may be 0. Reference: none."""

    scale: Annotated[LearningRate, Doc("what the value is divided by")] = 1.0

    @hookimpl
    def build_schedule(self) -> Schedule:
        """Builds the schedule."""
        value = 0.1 / self.scale
        return lambda step: value


CALLS = itertools.count(1)


@dataclass(frozen=True)
class Once:
    """Answers twice and then no more. Reference: none."""

    @hookimpl
    def build_schedule(self) -> Schedule | None:
        """Builds the schedule."""
        return (lambda step: 0.1) if next(CALLS) <= 2 else None


@dataclass(frozen=True)
class WrongFormula:
    """Constant, and says that it falls. Reference: none."""

    def formula(self, context: ScheduleContext) -> list[Piece]:
        """Is not what it builds."""
        return [Piece(None, f"0.1 - t / {10000 * context.total_steps}")]

    @hookimpl
    def build_schedule(self) -> Schedule:
        """Builds the schedule."""
        return lambda step: 0.1
