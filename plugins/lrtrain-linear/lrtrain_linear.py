"""A straight line between two learning rates, as a plugin of lrtrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from lrtrain import Doc, Duration, LearningRate, Piece, Schedule, ScheduleContext, ScheduleError, Traits, hookimpl


@dataclass(frozen=True)
class Linear:
    r"""A straight line from ``init_value`` to ``end_value``; constant before and after it, and a warmup if asked for.

    .. math::
        \eta_t = \begin{cases}
          \text{init} \cdot t / W & t < W \\
          \text{init} + (\text{end} - \text{init}) \, \min(\max(t - W - B, 0), S) / S & t \ge W
        \end{cases}

    W is ``warmup_steps``, B is ``transition_begin``, S is ``transition_steps``. The end is reached at step W + B + S:
    with the default, where S is the rest of the run, the last step of the run is one short of ``end_value``. The warmup
    goes up from 0, so step 0 is then an update that changes nothing.

    Linear decay to zero, D2Z, is ``linear(warmup_steps=10%)``.

    Raises:
      ScheduleError: ``transition_steps`` is less than one step, or with none, warmup and constant leave no step.

    Example:
      >>> import lrtrain
      >>> spec = "linear(init_value=1, transition_steps=50, transition_begin=20)"
      >>> rate = lrtrain.schedule(spec, total_steps=100)
      >>> [float(rate(step)) for step in (0, 20, 45, 70, 99)]
      [1.0, 1.0, 0.5, 0.0, 0.0]

    References: Bergsma et al., arXiv 2502.15938 (linear to zero); `optax.linear_schedule`.
    """

    traits: ClassVar[Traits] = Traits(reaches_zero=True)

    init_value: Annotated[LearningRate, Doc("learning rate before the line")] = 1e-4
    end_value: Annotated[LearningRate, Doc("learning rate after the line")] = 0.0
    transition_steps: Annotated[Duration | None, Doc("length of the line; none: the rest of the run")] = None
    transition_begin: Annotated[Duration, Doc("step at which the line begins, from the end of the warmup")] = Duration(
        "0"
    )
    warmup_steps: Annotated[Duration, Doc("length of the warmup from 0 to init_value; 0: none")] = Duration("0")

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule."""
        warmup, begin, steps = self._phases(context)
        import optax

        line = optax.linear_schedule(self.init_value, self.end_value, steps, begin)
        # Compiled, optax's line ends a rounding error beyond end_value, which is below 0 where end_value is 0.
        line = optax.join_schedules([line, optax.constant_schedule(self.end_value)], [begin + steps])
        if not warmup:
            return line
        return optax.join_schedules([optax.linear_schedule(0, self.init_value, warmup), line], [warmup])

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:
        """Returns the schedule's closed form."""
        warmup, begin, steps = self._phases(context)
        top = warmup + begin
        return [
            Piece(warmup, f"init_value * t / {warmup}", self),
            Piece(top, "init_value", self),
            Piece(top + steps, f"init_value + (end_value - init_value) * (t - {top}) / {steps}", self),
            Piece(None, "end_value", self),
        ]

    def _phases(self, context: ScheduleContext) -> tuple[int, int, int]:
        """Returns the lengths of the warmup, of the constant and of the line."""
        total = context.total_steps
        warmup, begin = context.steps(self.warmup_steps), context.steps(self.transition_begin)
        if self.transition_steps is None:
            if warmup + begin >= total:
                raise ScheduleError(
                    f"warmup_steps={self.warmup_steps} and transition_begin={self.transition_begin} leave no step of "
                    f"{total} for the line: make one of them shorter"
                )
            return warmup, begin, total - warmup - begin
        steps = context.steps(self.transition_steps)
        if steps < 1:
            raise ScheduleError(
                f"transition_steps={self.transition_steps} is 0 steps in a run of {total}: give at least 1 step"
            )
        return warmup, begin, steps
