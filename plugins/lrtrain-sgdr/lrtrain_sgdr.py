"""SGDR, stochastic gradient descent with warm restarts, as a plugin of lrtrain."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, TypedDict

from lrtrain import Doc, Duration, LearningRate, PositiveInt, Schedule, ScheduleContext, ScheduleError, Traits, hookimpl

_INIT = (3e-4, 2e-4, 1e-4)
_PEAK = (4e-4, 3e-4, 2e-4)
_END = (2e-4, 1e-4, 5e-5)


class _Cycle(TypedDict):
    """One cycle in optax's words; here ``decay_steps`` includes the warmup."""

    init_value: float
    peak_value: float
    warmup_steps: int
    decay_steps: int
    end_value: float


@dataclass(frozen=True)
class SGDR:
    r"""Cosine decay that starts again: each cycle warms up, falls along half a cosine, and hands over to the next.

    .. math::
        \eta_t = \begin{cases}
          \text{init}_i + (\text{peak}_i - \text{init}_i) \, \tau / W & \tau < W \\
          \text{end}_i + (\text{peak}_i - \text{end}_i) \,
          \tfrac{1}{2} (1 + \cos(\pi (\tau - W) / (C_i - W))) & \tau \ge W
        \end{cases}

    where cycle i has begun :math:`\tau` steps ago, is :math:`C_i` steps long and warms up for W of them. A learning
    rate may be one number for all cycles or a list with one for each; where a list is shorter than ``cycles``, its last
    number stays. A cycle ends one step short of its ``end_value``: that step is the first of the next cycle. With
    ``decay_steps`` given, cycles that do not fit in the run are cut off, and what is left after the last one holds its
    ``end_value``. With ``init_value=0`` and a warmup, the first step of a cycle is an update that changes nothing.

    Raises:
      ScheduleError: more cycles than steps, a warmup that fills its cycle, a list longer than ``cycles``, or a cycle
        with an ``end_value`` over a ``peak_value`` of 0 (optax would fall to 0 instead).

    Example:
      >>> import lrtrain
      >>> spec = "sgdr(cycles=2, init_value=0, peak_value=1, end_value=0, warmup_steps=10)"
      >>> rate = lrtrain.schedule(spec, total_steps=100)
      >>> [round(float(rate(step)), 3) for step in (0, 5, 10, 30, 50, 60)]
      [0.0, 0.5, 1.0, 0.5, 0.0, 1.0]

    References: Loshchilov and Hutter, arXiv 1608.03983; `optax.sgdr_schedule`.
    """

    traits: ClassVar[Traits] = Traits(may_rise=True, min_steps=3)

    cycles: Annotated[PositiveInt, Doc("number of cycles")] = 3
    init_value: Annotated[
        LearningRate | tuple[LearningRate, ...], Doc("learning rate at the beginning of a cycle, for all or for each")
    ] = _INIT
    peak_value: Annotated[
        LearningRate | tuple[LearningRate, ...], Doc("learning rate after the warmup of a cycle, for all or for each")
    ] = _PEAK
    end_value: Annotated[
        LearningRate | tuple[LearningRate, ...], Doc("learning rate that a cycle falls to, for all or for each")
    ] = _END
    decay_steps: Annotated[
        Duration | None, Doc("length of a cycle, its warmup included; none: the run in equal parts")
    ] = None
    warmup_steps: Annotated[Duration | None, Doc("length of each warmup; none: a tenth of the shortest cycle")] = None

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule; every cycle is checked here, before optax sees it."""
        lengths = self._lengths(context)
        warmup = min(lengths) // 10 if self.warmup_steps is None else context.steps(self.warmup_steps)
        if warmup >= min(lengths):
            raise ScheduleError(
                f"warmup_steps={self.warmup_steps} is {warmup} steps, and the shortest cycle has {min(lengths)}: "
                "a warmup is shorter than its cycle"
            )
        init, peak, end = (self._each(name) for name in ("init_value", "peak_value", "end_value"))
        if any(p == 0 and e > 0 for p, e in zip(peak, end, strict=True)):
            raise ScheduleError(
                f"peak_value={self.peak_value} has a 0 where end_value={self.end_value} has not: "
                "give each cycle a peak_value over 0"
            )
        import optax

        return optax.sgdr_schedule(
            [
                _Cycle(init_value=i, peak_value=p, warmup_steps=warmup, decay_steps=length, end_value=e)
                for i, p, e, length in zip(init, peak, end, lengths, strict=True)
            ]
        )

    def _lengths(self, context: ScheduleContext) -> list[int]:
        total = context.total_steps
        if self.decay_steps is not None:
            length = context.steps(self.decay_steps)
            if length < 1:
                raise ScheduleError(f"decay_steps={self.decay_steps} is 0 steps of {total}: a cycle has at least 1")
            return [length] * self.cycles
        if self.cycles > total:
            raise ScheduleError(f"cycles={self.cycles} do not fit in {total} steps: a cycle has at least 1")
        starts = [total * cycle // self.cycles for cycle in range(self.cycles + 1)]
        return [after - before for before, after in pairwise(starts)]

    def _each(self, name: str) -> list[float]:
        value = getattr(self, name)
        values = value if isinstance(value, tuple) else (value,)
        # The default has a number for each of three cycles, and fits fewer too; it also comes back from a run's config.
        given = value != type(self).__dataclass_fields__[name].default
        if not values or (given and len(values) > self.cycles):
            raise ScheduleError(
                f"{name}={list(values)} has {len(values)} numbers: {self.cycles} cycles take 1 to {self.cycles}"
            )
        return [values[min(cycle, len(values) - 1)] for cycle in range(self.cycles)]
