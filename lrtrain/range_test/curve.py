"""The curve of a learning-rate range test: its smoothing, its end, and the suggestions that are read from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIVERGED = 4.0
LEAST_CHANGE = 0.1
# A share of the whole test: the number of steps changes the noise of the curve, and not its shape.
_WINDOW = 0.05


@dataclass(frozen=True, eq=False)
class Curve:
    """The measurements of a range test.

    A smoothed point is the bias-corrected exponential moving average of the losses so far, at the same average of the
    logarithms of their learning rates: averaging the losses alone would move the curve towards higher learning rates.

    Args:
      learning_rates: float64[steps], the applied learning rates.
      losses: float64[steps], the loss of each step's batch before its update, mean per example; a last loss that is not
        finite is left out.
      smoothed_learning_rates: float64[steps].
      smoothed_losses: float64[steps].
      window: the number of steps of the moving average, whose smoothing factor is ``1 / window``.
      stopped: why the test ended before its last step; None if it did not.
    """

    learning_rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    smoothed_learning_rates: NDArray[np.float64]
    smoothed_losses: NDArray[np.float64]
    window: float
    stopped: str | None

    @property
    def first(self) -> int:
        """The first step whose smoothed loss is an average of a whole window."""
        return min(math.ceil(self.window), len(self.losses)) - 1

    @property
    def lowest(self) -> int:
        """The step of the lowest smoothed loss, from `first` on."""
        return self.first + int(np.argmin(self.smoothed_losses[self.first :]))


@dataclass(frozen=True)
class Suggestion:
    """A learning rate that a rule reads from a curve; ``meaning`` is the rule in words."""

    rule: str
    learning_rate: float
    meaning: str


class Recorder:
    """Collects the steps of a range test, and finds when its loss has diverged."""

    def __init__(self, steps: int) -> None:
        self._window = max(1.0, _WINDOW * steps)
        self._points: list[tuple[float, float, float, float]] = []
        self._rate = _MovingAverage(self._window)
        self._loss = _MovingAverage(self._window)
        self._lowest = math.inf
        self.stopped: str | None = None

    def add(self, rate: float, loss: float) -> None:
        """Adds the learning rate and the loss of the next step; once the loss has diverged, it is ignored."""
        if self.stopped is not None:
            return
        if not math.isfinite(loss):
            self.stopped = f"the loss is {loss}"
            return
        smoothed = self._loss.add(loss)
        self._points.append((rate, loss, math.exp(self._rate.add(math.log(rate))), smoothed))
        self._lowest = min(self._lowest, smoothed)
        if smoothed > DIVERGED * self._lowest:
            self.stopped = f"the smoothed loss is over {DIVERGED:g} times its lowest"

    def curve(self) -> Curve:
        """Returns the curve of the steps so far."""
        # Contiguous columns, whose functions have the same last digits as those of any array.
        rates, losses, smoothed_rates, smoothed_losses = np.array(self._points).reshape(-1, 4).T.copy()
        return Curve(rates, losses, smoothed_rates, smoothed_losses, self._window, self.stopped)


class _MovingAverage:
    """The exponential moving average of what has been added, with weights that sum to 1 from the first value on."""

    def __init__(self, window: float) -> None:
        self._keep = 1 - 1 / window
        self._total = self._weight = 0.0

    def add(self, value: float) -> float:
        self._total = self._keep * self._total + value
        self._weight = self._keep * self._weight + 1
        return self._total / self._weight


def suggest(curve: Curve) -> tuple[Suggestion, ...]:
    """Returns what each rule reads from a curve without an `obstacle`, the one to go by first.

    That is a tenth of the minimum's: where the loss falls fastest depends on how many steps the test has, because a
    sweep that is slower reaches any loss at a lower learning rate, and the minimum hardly does.
    """
    return (
        Suggestion(
            "minimum / 10",
            float(curve.smoothed_learning_rates[curve.lowest]) / 10,
            "a tenth of the learning rate at which the smoothed loss is lowest",
        ),
        Suggestion(
            "steepest",
            float(curve.smoothed_learning_rates[_steepest(curve)]),
            "where the smoothed loss falls fastest over the logarithm of the learning rate, to values not seen before",
        ),
    )


def obstacle(curve: Curve) -> str | None:
    """Returns why nothing can be suggested from a curve and what to change; None if it has a minimum inside."""
    if curve.first + 2 > len(curve.losses):
        return _after(curve, f"the loss diverged within {len(curve.losses)} steps", "lower", "start")
    begin, lowest, end = (curve.smoothed_losses[step] for step in (curve.first, curve.lowest, -1))
    least = LEAST_CHANGE * begin
    falls, rises = begin - lowest > least, curve.stopped is not None or end - lowest > least
    if falls and rises:
        return None
    if falls:
        return _after(curve, "the loss does not rise again below the highest learning rate", "higher", "end")
    if rises:
        return _after(curve, f"the loss falls by less than {LEAST_CHANGE:.0%} before it rises", "lower", "start")
    return _after(curve, f"the loss changes by less than {LEAST_CHANGE:.0%}", "higher", "end")


def _steepest(curve: Curve) -> int:
    """Returns the step at which the running minimum of the smoothed loss falls fastest."""
    reached = np.minimum.accumulate(curve.smoothed_losses)
    slopes = np.gradient(reached, np.log(curve.smoothed_learning_rates))
    return curve.first + int(np.argmin(slopes[curve.first : curve.lowest + 1]))


def _after(curve: Curve, what: str, direction: str, end: str) -> str:
    tested = f"{curve.learning_rates[0]:.3g} to {curve.learning_rates[-1]:.3g}"
    return (
        f"no learning rate can be suggested, as {what} (from {tested}): give a {direction} --{end}-lr or more --steps"
    )
