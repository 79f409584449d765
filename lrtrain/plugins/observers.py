"""Calling the observers, and collecting what they ask for."""

from __future__ import annotations

import copy
import dataclasses
import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrtrain.errors import LrtrainError, TrainingError, cause
from lrtrain.plugins.context import EpochInfo, RunInfo, ScaleLearningRate, StepInfo, Stop
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
        self._seen: tuple[RunInfo, RunInfo] | None = None

    @property
    def watch_steps(self) -> bool:
        """Whether any plugin wants to see steps; if none does, steps cost nothing."""
        return bool(self._on_step)

    @property
    def watch_epochs(self) -> bool:
        """Whether any plugin wants to see epochs."""
        return bool(self._on_epoch_end)

    def step(self, run: RunInfo, step: StepInfo) -> Requests:
        """Calls ``on_step`` of every plugin that has it."""
        return _ask(self._on_step, f"on_step at step {step.step}", run=self._shown(run), step=step)

    def epoch_end(self, run: RunInfo, epoch: EpochInfo, history: Sequence[EpochInfo]) -> Requests:
        """Calls ``on_epoch_end`` of every plugin that has it."""
        title = f"on_epoch_end of epoch {epoch.epoch}"
        return _ask(self._on_epoch_end, title, run=self._shown(run), epoch=epoch, history=tuple(history))

    def _shown(self, run: RunInfo) -> RunInfo:
        """Returns a copy of the run for hooks, made once: a hook that changes it does not change the run itself."""
        if self._seen is None or self._seen[0] is not run:
            config, rates = copy.deepcopy(run.config), _read_only(run.learning_rates)
            self._seen = run, dataclasses.replace(run, config=config, learning_rates=rates)
        return self._seen[1]


def _read_only(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns a copy whose memory is bytes, which no flag makes writable."""
    import numpy as np

    exact = np.asarray(values, np.float32)
    return np.ndarray(exact.shape, np.float32, buffer=exact.tobytes())


def _callers(active: ActivePlugins, hook: str) -> list[tuple[str, Callable[..., list[Any]]]]:
    """Returns a caller for each plugin that implements the hook: one for all would not say which plugin raised."""
    return [
        (plugin.entry.name, active.manager.subset_hook_caller(hook, _others(active, plugin.entry.name)))
        for plugin in active.plugins
        if hook in hooks_of(type(plugin.instance))
    ]


def _others(active: ActivePlugins, name: str) -> list[Any]:
    return [registered for other, registered in active.manager.list_name_plugin() if other != name]


def _ask(callers: Sequence[tuple[str, Callable[..., list[Any]]]], title: str, **arguments: Any) -> Requests:
    total = Requests()
    for name, call in callers:
        try:
            with plugin_called():
                answers = call(**arguments)
        except LrtrainError as error:
            raise TrainingError(f"plugin '{name}' raised in {title}: {error}") from error
        except Terminated:
            raise
        except (Exception, SystemExit) as error:
            raise TrainingError(f"plugin '{name}' raised in {title}: {cause(error)}") from error
        for answer in answers:
            total += _request(name, title, answer)
    return total


def _request(name: str, title: str, answer: object) -> Requests:
    if isinstance(answer, Stop):
        return Requests(stop=f"{name}: {answer.reason}")
    if isinstance(answer, ScaleLearningRate) and _is_factor(answer.factor):
        return Requests(factor=float(answer.factor))
    raise TrainingError(
        f"plugin '{name}' answered {answer!r} in {title}: expected None, Stop(reason), or ScaleLearningRate(factor) "
        "with a factor that is finite and not negative"
    )


def _is_factor(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and 0 <= float(value) < math.inf
