"""SGDR, stochastic gradient descent with warm restarts, as a plugin of lrtrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Annotated, ClassVar, TypedDict

from lrtrain import (
    Doc,
    Duration,
    LearningRate,
    Piece,
    PositiveFloat,
    PositiveInt,
    Schedule,
    ScheduleContext,
    ScheduleError,
    Traits,
    hookimpl,
)

_MOST_STEPS = 2**31 - 1
# The defaults before the cycles were equal: the configurations of runs have them, for fewer than three cycles too.
_EARLIER = ((3e-4, 2e-4, 1e-4), (4e-4, 3e-4, 2e-4), (2e-4, 1e-4, 5e-5))


class _Cycle(TypedDict):
    """One cycle in optax's words; here ``decay_steps`` includes the warmup."""

    init_value: float
    peak_value: float
    warmup_steps: int
    decay_steps: int
    end_value: float


@dataclass(frozen=True)
class SGDR:
    r"""Cosine decay that starts again: each cycle falls along half a cosine, and is followed by the next.

    .. math::
        \eta_t = \begin{cases}
          \text{init}_i + (\text{peak}_i - \text{init}_i) \, \tau / W & \tau < W \\
          \text{end}_i + (\text{peak}_i - \text{end}_i) \,
          \tfrac{1}{2} (1 + \cos(\pi (\tau - W) / (C_i - W))) & \tau \ge W
        \end{cases}

    where cycle i began :math:`\tau` steps ago, is :math:`C_i` steps long and warms up for W of them. By default W is 0:
    a cycle begins at its peak, as in the paper, and ``init_value`` is not used. A learning rate may be one number for
    all cycles or a list with one for each; where a list is shorter than ``cycles``, its last number stays. A cycle ends
    one step short of its ``end_value``: that step is the first of the next cycle. With ``decay_steps`` given, cycles
    that do not fit in the run are cut off, and what is left after the last one holds its ``end_value``. With
    ``init_value=0`` and a warmup, the first step of a cycle is an update that changes nothing.

    In the paper's words :math:`T_0` is ``decay_steps`` and :math:`T_\text{mult}` is ``cycle_mult``: cycle i is
    :math:`C_i = T_0 \, T_\text{mult}^i` steps long. Without ``decay_steps`` the cycles share the run in these
    proportions. With ``peak_decay`` the peak of each cycle is that factor times the peak before it.

    Raises:
      ScheduleError: more cycles than fit in the run, a warmup that fills its cycle, a list longer than ``cycles``, a
        ``peak_decay`` beside a list of peaks, or a cycle with an ``end_value`` over a ``peak_value`` of 0 (optax would
        fall to 0 instead).

    Example:
      >>> import lrtrain
      >>> rate = lrtrain.schedule("sgdr(cycles=2, peak_value=1, warmup_steps=10)", total_steps=100)
      >>> [round(float(rate(step)), 3) for step in (0, 5, 10, 30, 50, 60)]
      [0.0, 0.5, 1.0, 0.5, 0.0, 1.0]

    References: Loshchilov and Hutter, arXiv 1608.03983; `optax.sgdr_schedule`.
    """

    traits: ClassVar[Traits] = Traits(reaches_zero=True, may_rise=True, min_steps=3)

    cycles: Annotated[PositiveInt, Doc("number of cycles")] = 3
    init_value: Annotated[
        LearningRate | tuple[LearningRate, ...], Doc("learning rate at the beginning of a warmup, for all or for each")
    ] = 0.0
    peak_value: Annotated[
        LearningRate | tuple[LearningRate, ...], Doc("highest learning rate of a cycle, for all or for each")
    ] = 3e-4
    end_value: Annotated[
        LearningRate | tuple[LearningRate, ...], Doc("learning rate that a cycle falls to, for all or for each")
    ] = 0.0
    decay_steps: Annotated[
        Duration | None, Doc("length of the first cycle, its warmup included; none: the cycles fill the run")
    ] = None
    warmup_steps: Annotated[
        Duration | None,
        Doc("length of each warmup; 0: cycles begin at their peaks; none: a tenth of the shortest cycle"),
    ] = Duration("0")
    cycle_mult: Annotated[PositiveInt, Doc("factor from the length of a cycle to that of the next")] = 1
    peak_decay: Annotated[PositiveFloat, Doc("factor from the peak of a cycle to that of the next")] = 1.0

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        """Builds the schedule; every cycle is checked here, before optax sees it."""
        lengths = self._lengths(context)
        warmup = self._warmup(context, lengths)
        if warmup >= min(lengths):
            raise ScheduleError(
                f"warmup_steps={self.warmup_steps} is {warmup} steps, and the shortest cycle has {min(lengths)}: "
                "a warmup is shorter than its cycle"
            )
        init, peak, end = self._each("init_value"), self._peaks(), self._each("end_value")
        if any(p == 0 and e > 0 for p, e in zip(peak, end, strict=True)):
            raise ScheduleError(
                f"peak_value={self.peak_value} has a 0 where end_value={self.end_value} has not: "
                "give each cycle a peak_value over 0"
            )
        import optax

        if warmup == 0:
            # optax.sgdr_schedule gives the same, and logs for each cycle that it is constant, which it is not.
            falls = [
                optax.cosine_decay_schedule(p, length, e / p if p else 0.0)
                for p, e, length in zip(peak, end, lengths, strict=True)
            ]
            return optax.join_schedules(falls, list(accumulate(lengths[:-1])))
        return optax.sgdr_schedule(
            [
                _Cycle(init_value=i, peak_value=p, warmup_steps=warmup, decay_steps=length, end_value=e)
                for i, p, e, length in zip(init, peak, end, lengths, strict=True)
            ]
        )

    def formula(self, context: ScheduleContext) -> Sequence[Piece]:
        """Returns the schedule's closed form."""
        lengths = self._lengths(context)
        warmup, start, pieces = self._warmup(context, lengths), 0, []
        values = zip(lengths, self._terms("init_value"), self._peak_terms(), self._terms("end_value"), strict=True)
        for length, init, peak, end in values:
            top, fall = start + warmup, length - warmup
            pieces += [
                Piece(top, f"{init} + ({peak} - {init}) * (t - {start}) / {warmup}", self),
                Piece(top + fall, f"{end} + ({peak} - {end}) * (1 + cos(pi * (t - {top}) / {fall})) / 2", self),
            ]
            start += length
        return [*pieces, Piece(None, end, self)]

    def _terms(self, name: str) -> list[str]:
        """Returns an option for each cycle as the formula contains it: its name, if it is one number."""
        return [str(value) if isinstance(getattr(self, name), tuple) else name for value in self._each(name)]

    def _peak_terms(self) -> list[str]:
        if self.peak_decay == 1:
            return self._terms("peak_value")
        return [f"peak_value * peak_decay ** {cycle}" for cycle in range(self.cycles)]

    def _warmup(self, context: ScheduleContext, lengths: Sequence[int]) -> int:
        return min(lengths) // 10 if self.warmup_steps is None else context.steps(self.warmup_steps)

    def _lengths(self, context: ScheduleContext) -> list[int]:
        total, parts = context.total_steps, self._first_cycles()
        if self.decay_steps is not None:
            length = context.steps(self.decay_steps)
            if length < 1:
                raise ScheduleError(f"decay_steps={self.decay_steps} is 0 steps of {total}: a cycle has at least 1")
            if parts * length > _MOST_STEPS:
                raise ScheduleError(
                    f"{self._named()} of {length} steps end after step {_MOST_STEPS}: give fewer cycles"
                )
            return [length * self.cycle_mult**cycle for cycle in range(self.cycles)]
        if parts > total:
            raise ScheduleError(f"{self._named()} do not fit in {total} steps: a cycle has at least 1")
        ends = accumulate((self.cycle_mult**cycle for cycle in range(self.cycles)), initial=0)
        return [after - before for before, after in pairwise(total * end // parts for end in ends)]

    def _first_cycles(self) -> int:
        """Returns how many times as long as the first cycle all of them are together."""
        if self.cycle_mult == 1:
            return self.cycles
        # 32 cycles are more than any run has steps for, and a power for all of them may be too large to compute.
        return (self.cycle_mult ** min(self.cycles, 32) - 1) // (self.cycle_mult - 1)

    def _named(self) -> str:
        return f"cycles={self.cycles}" + (f" with cycle_mult={self.cycle_mult}" if self.cycle_mult > 1 else "")

    def _peaks(self) -> list[float]:
        if self.peak_decay == 1:
            return self._each("peak_value")
        if isinstance(self.peak_value, tuple):
            raise ScheduleError(
                f"peak_decay={self.peak_decay} with peak_value={list(self.peak_value)} is refused: "
                "give one number as peak_value, that of the first cycle"
            )
        if self.peak_decay > 1:
            raise ScheduleError(f"peak_decay={self.peak_decay} is refused: give at most 1")
        return [self.peak_value * self.peak_decay**cycle for cycle in range(self.cycles)]

    def _each(self, name: str) -> list[float]:
        value = getattr(self, name)
        values = value if isinstance(value, tuple) else (value,)
        if not values or (len(values) > self.cycles and values not in _EARLIER):
            raise ScheduleError(
                f"{name}={list(values)} has {len(values)} numbers: {self.cycles} cycles take 1 to {self.cycles}"
            )
        return [values[min(cycle, len(values) - 1)] for cycle in range(self.cycles)]
