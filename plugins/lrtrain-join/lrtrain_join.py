"""Other schedules one after another, as a plugin of lrtrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar

from lrtrain import Doc, Duration, Piece, Schedule, ScheduleContext, ScheduleError, Spec, Traits, hookimpl

if TYPE_CHECKING:
    import jax


@dataclass(frozen=True)
class Join:
    r"""Other plugins' schedules one after another, each counting its steps from its own beginning.

    .. math:: \eta_t = s_i(t - b_i) \quad \text{for} \quad b_i \le t < b_{i+1}, \quad b_0 = 0

    A share or an epoch inside a joined schedule is of that schedule's own segment: ``decay_steps=100%`` is until the
    next boundary. The last segment goes to the end of the run; boundaries that a run never reaches are allowed, so a
    shorter run is the beginning of a longer one. Unlike `optax.join_schedules`, too many schedules, too many
    boundaries and boundaries out of order are refused, and no schedule is ever asked for a step before its own
    beginning.

    Raises:
      ScheduleError: there are no schedules, or the boundaries do not fit them, or are not in order.

    Example:
      >>> import lrtrain
      >>> spec = "join(schedules=[constant(value=1), constant(value=0.5)], boundaries=[25%])"
      >>> rate = lrtrain.schedule(spec, total_steps=8)
      >>> [float(rate(step)) for step in range(4)]
      [1.0, 1.0, 0.5, 0.5]

    Reference: `optax.join_schedules`.
    """

    traits: ClassVar[Traits] = Traits(reaches_zero=True, min_steps=2)

    schedules: Annotated[tuple[Spec, ...], Doc("the schedules, in order, each a spec")] = (
        Spec("constant"),
        Spec("linear"),
    )
    boundaries: Annotated[
        tuple[Duration, ...], Doc("where each schedule after the first begins: one fewer than the schedules")
    ] = (Duration("50%"),)

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds all the schedules, each for the length of its segment."""
        starts = self._starts(context)
        built = [
            context.build(spec, total_steps=end - start)
            for spec, start, end in zip(self.schedules, starts, _ends(starts, context), strict=True)
        ]
        return _joined(built, starts)

    def formula(self, context: ScheduleContext) -> Sequence[Piece] | None:
        """Returns the closed forms of all the schedules, one after another; none where one of them has none."""
        starts = self._starts(context)
        joined: list[Piece] = []
        for spec, start, end in zip(self.schedules, starts, _ends(starts, context), strict=True):
            pieces = context.formula(spec, total_steps=end - start)
            if pieces is None:
                return None
            joined += _placed(pieces, start, None if start == starts[-1] else end)
        return joined

    def _starts(self, context: ScheduleContext) -> list[int]:
        if not self.schedules:
            raise ScheduleError("schedules=[] has no schedule: give at least one, as in [constant]")
        if len(self.boundaries) != len(self.schedules) - 1:
            raise ScheduleError(
                f"boundaries={list(map(str, self.boundaries))} are {len(self.boundaries)} for {len(self.schedules)} "
                f"schedules: there is one boundary between each two, so {len(self.schedules) - 1}"
            )
        starts = [0, *map(context.steps, self.boundaries)]
        for index, (before, after) in enumerate(pairwise(starts)):
            if after <= before:
                raise ScheduleError(
                    f"boundaries: {self.boundaries[index]} is step {after}, not after the schedule before it begins at "
                    f"step {before}: give them in rising order, and a run long enough to keep them apart"
                )
        return starts


def _ends(starts: Sequence[int], context: ScheduleContext) -> list[int]:
    return [*starts[1:], max(context.total_steps, starts[-1] + 1)]


def _placed(pieces: Sequence[Piece], start: int, end: int | None) -> list[Piece]:
    """Returns the pieces of a schedule that begins at ``start``, the one that holds at ``end`` being cut off there."""
    placed = [piece.shifted(start) for piece in pieces]
    if end is None:
        return placed
    before = [piece for piece in placed if piece.until is not None and piece.until < end]
    return [*before, replace(placed[len(before)], until=end)]


def _joined(schedules: Sequence[Schedule], starts: Sequence[int]) -> Schedule:
    import jax
    import jax.numpy as jnp

    # Over an array of counts all branches are evaluated and one is kept: none may see a count below 0.
    # They are made once: JAX compiles functions that it has not seen before, at every call without jit.
    branches = [lambda c, s=s, b=b: s(jnp.maximum(c - b, 0)) for s, b in zip(schedules, starts, strict=True)]

    def schedule(count: jax.typing.ArrayLike) -> jax.Array:
        index = jnp.searchsorted(jnp.asarray(starts), count, side="right") - 1
        return jax.lax.switch(index, branches, jnp.asarray(count))

    return schedule
