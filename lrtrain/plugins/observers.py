"""Calling the observers, and collecting what they ask for."""

from __future__ import annotations

import copy
import dataclasses
import math
import numbers
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrtrain.errors import LrtrainError, TrainingError, cause
from lrtrain.plugins.context import EpochInfo, RunInfo, ScaleLearningRate, StepInfo, Stop
from lrtrain.plugins.improvement import metrics_watched
from lrtrain.plugins.isolation import plugin_called
from lrtrain.plugins.loading import ActivePlugins, hooks_of
from lrtrain.signals import Terminated

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Requests:
    """What hooks have asked for: a factor for the learning rate, and a reason to stop."""

    factor: float = 1.0
    stop: str | None = None

    def __add__(self, other: Requests) -> Requests:
        return Requests(self.factor * other.factor, self.stop or other.stop)


class Observers:
    """The plugins that implement ``on_step`` or ``on_epoch_end``, each called through pluggy and by its name."""

    def __init__(self, active: ActivePlugins) -> None:
        self._on_step = _callers(active, "on_step")
        self._on_epoch_end = _callers(active, "on_epoch_end")
        # If no plugin wants to see steps, steps cost nothing.
        self.watch_steps, self.watch_epochs = bool(self._on_step), bool(self._on_epoch_end)
        self._active = active
        self._seen: tuple[RunInfo, RunInfo] | None = None

    def step(self, run: RunInfo, step: StepInfo) -> Requests:
        """Calls ``on_step`` of every plugin that has it."""
        return _ask(self._on_step, f"on_step at step {step.step}", run=self._shown(run), step=step)

    def epoch_end(self, run: RunInfo, epoch: EpochInfo, history: Sequence[EpochInfo]) -> Requests:
        """Calls ``on_epoch_end`` of every plugin that has it."""
        if said := unmeasured(self._active, epoch.means):
            raise TrainingError(said)
        title = f"on_epoch_end of epoch {epoch.epoch}"
        return _ask(self._on_epoch_end, title, run=self._shown(run), epoch=epoch, history=tuple(history))

    def _shown(self, run: RunInfo) -> RunInfo:
        """Returns a copy of the run for hooks, made once: a hook that changes it does not change the run itself."""
        if self._seen is None or self._seen[0] is not run:
            config, rates = copy.deepcopy(run.config), _read_only(run.learning_rates)
            self._seen = run, dataclasses.replace(run, config=config, learning_rates=rates)
        return self._seen[1]


def unmeasured(active: ActivePlugins, measured: Iterable[str]) -> str | None:
    """Returns a sentence on the first metric that a plugin watches and that is not measured; None if all are.

    Args:
      active: the plugins of a run.
      measured: the names of what the workload measures, ``loss`` among them.

    Returns:
      The plugin, the metric, and those that there are.
    """
    known = ["train_loss", *(f"test_{name}" for name in measured)]
    watched = ((each.entry.name, metric) for each in active.plugins for metric in metrics_watched(each.instance))
    for name, metric in watched:
        if metric not in known:
            return f"plugin '{name}' watches {metric}, which the workload does not measure: it has {', '.join(known)}"
    return None


def _read_only(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns a copy whose memory is bytes, which no flag makes writable."""
    import numpy as np

    exact = np.asarray(values, np.float32)
    return np.ndarray(exact.shape, np.float32, buffer=exact.tobytes())


def _callers(active: ActivePlugins, hook: str) -> list[tuple[str, Callable[..., list[Any]]]]:
    """Returns a caller for each plugin that implements the hook: one for all would not say which plugin raised."""
    registered = active.manager.list_name_plugin()
    names = [plugin.entry.name for plugin in active.plugins if hook in hooks_of(type(plugin.instance))]
    return [
        (name, active.manager.subset_hook_caller(hook, [each for other, each in registered if other != name]))
        for name in names
    ]


def _ask(callers: Sequence[tuple[str, Callable[..., list[Any]]]], title: str, **arguments: Any) -> Requests:
    total = Requests()
    for name, call in callers:
        try:
            with plugin_called():
                answers = call(**arguments)
        except Terminated:
            raise
        except (Exception, SystemExit) as error:
            said = str(error) if isinstance(error, LrtrainError) else cause(error)
            raise TrainingError(f"plugin '{name}' raised in {title}: {said}") from error
        for answer in answers:
            total += _request(name, title, answer)
    return total


def _request(name: str, title: str, answer: object) -> Requests:
    if isinstance(answer, Stop):
        return Requests(stop=f"{name}: {answer.reason}")
    if isinstance(answer, ScaleLearningRate):
        factor = answer.factor
        if isinstance(factor, numbers.Real) and not isinstance(factor, bool) and 0 <= float(factor) < math.inf:
            return Requests(factor=float(factor))
    raise TrainingError(
        f"plugin '{name}' answered {answer!r} in {title}: expected None, Stop(reason), or ScaleLearningRate(factor) "
        "with a factor that is finite and not negative"
    )
