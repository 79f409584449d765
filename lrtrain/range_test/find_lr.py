"""`find_lr`: a learning-rate range test, on a temporary network."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrain.engine.canary import check_jaxlib
from lrtrain.engine.devices import keep_compiled, select_devices
from lrtrain.engine.optimizers import is_proportional_to_the_gradient, optimizer
from lrtrain.engine.order import epoch_order
from lrtrain.errors import TrainingError, UsageError
from lrtrain.option_fields import check_number
from lrtrain.plugins.context import StepInfo
from lrtrain.plugins.loading import activate
from lrtrain.plugins.spec import Spec
from lrtrain.range_test.curve import Curve, Recorder, Suggestion, obstacle, suggest
from lrtrain.runs.train_config import TrainConfig, TrainOptions
from lrtrain.schedules.table import build_table, make_context
from lrtrain.training.chunks import chunks
from lrtrain.training.configure import configured
from lrtrain.training.prepare import Loaded, find_data, load_data, loaded_on, task_of
from lrtrain.training.reporter import NullReporter, Reporter

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from lrtrain.engine.engine import Examples

STEPS = 400
LEAST_STEPS, MOST_STEPS = 10, 100_000
_LEAST_RATE, _HIGHEST_RATE = 1e-30, 1e30


@dataclass(frozen=True, eq=False)
class RangeTest:
    """The result of a learning-rate range test.

    Args:
      spec: the schedule that the suggestion is for, with all options resolved.
      peak: the highest learning rate of that schedule.
      config: the conditions; ``epochs`` is the length of the run that the schedule was built for.
      start_lr: the first learning rate.
      end_lr: the last one, if the loss does not diverge before.
      steps: optimizer updates from one to the other.
      curve: the losses.
    """

    spec: Spec
    peak: float
    config: TrainConfig
    start_lr: float
    end_lr: float
    steps: int
    curve: Curve

    @property
    def obstacle(self) -> str | None:
        """Why nothing is suggested and what to change, in a sentence; None if there is a suggestion."""
        return obstacle(self.curve)

    @property
    def suggestions(self) -> tuple[Suggestion, ...]:
        """The suggestion of each rule, the recommended one first; none where there is an obstacle."""
        return () if self.obstacle else suggest(self.curve)

    @property
    def suggestion(self) -> Suggestion:
        """The recommended suggestion; raises TrainingError where there is an obstacle."""
        if self.obstacle:
            raise TrainingError(self.obstacle)
        return self.suggestions[0]

    def scale(self, suggestion: Suggestion) -> float | None:
        """Returns the factor that makes the schedule's highest learning rate the suggested one; None if it is 0."""
        return suggestion.learning_rate / self.peak if self.peak > 0 else None

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as JSON holds them; the first suggestion is the recommended one."""
        curve = self.curve
        return {
            "schedule": {"plugin": str(self.spec), "highest_learning_rate": self.peak},
            "suggestions": [{**vars(each), "scale": self.scale(each)} for each in self.suggestions],
            "obstacle": self.obstacle,
            "start_lr": self.start_lr,
            "end_lr": self.end_lr,
            "steps": self.steps,
            "stopped": curve.stopped,
            "window": curve.window,
            "learning_rates": curve.learning_rates.tolist(),
            "losses": curve.losses.tolist(),
            "smoothed_learning_rates": curve.smoothed_learning_rates.tolist(),
            "smoothed_losses": curve.smoothed_losses.tolist(),
            "train": self.config.to_json(),
        }


def find_lr(
    *plugins: Spec | str | Mapping[str, Any],
    settings: Sequence[str] = (),
    start_lr: float | None = None,
    end_lr: float | None = None,
    steps: int = STEPS,
    reporter: Reporter | None = None,
    **options: Unpack[TrainOptions],
) -> RangeTest:
    """Tests which learning rates a network can be trained with, and suggests one for a schedule.

    Fresh parameters are trained at learning rates that grow exponentially from one update to the next, until the loss
    diverges (Smith 2015, https://arxiv.org/abs/1506.01186). All of it stays in memory: no run is made or touched, and
    no hook but ``build_schedule`` is called.

    Args:
      *plugins: specs as of `lrtrain.train`; exactly one builds the schedule, whose own learning rates are not applied.
      settings: further options of plugins, ``"NAME=VALUE"`` or ``"PLUGIN.NAME=VALUE"``.
      start_lr: the first learning rate; None for what `default_range` says.
      end_lr: the last one, at least twice as high.
      steps: optimizer updates from one to the other; after an epoch the next one begins.
      reporter: receives what happens; None for silence. It hears of phases and steps.
      **options: the fields of `lrtrain.runs.train_config.TrainConfig`, as in `lrtrain.train`.

    Returns:
      The curve and what is suggested, or why nothing can be.

    Raises:
      UsageError: what is asked for cannot be done.
      TrainingError: the loss is not finite before the first update.

    Example:
      ```python
      import lrtrain

      test = lrtrain.find_lr("sgdr", optimizer="adam")
      print(test.suggestion.learning_rate, test.suggestion.meaning)
      ```
    """
    config, chosen = configured(options)
    low, high = default_range(config)
    start, end = low if start_lr is None else start_lr, high if end_lr is None else end_lr
    rates = _rates(start, end, steps)
    active = activate(plugins, settings, factor=chosen.factor, headline=chosen.workload.headline)
    active.schedule_plugin()
    reporter = reporter or NullReporter()

    reporter.phase("starting JAX")
    keep_compiled()
    source = find_data(chosen, config)
    devices = select_devices(config.devices, config.batch_size)
    check_jaxlib(devices)
    # What cannot be used is refused before the data is loaded.
    optimizer(config.optimizer)
    task = task_of(chosen, load_data(source, config, devices, reporter), config)
    loaded = loaded_on(devices, task, config)
    steps_per_epoch = config.steps_per_epoch(loaded.sizes[0])
    table = build_table(active, make_context(config.epochs * steps_per_epoch, steps_per_epoch))
    reporter.phase("compiling the training step")
    loaded.engine.compile()
    reporter.phase(f"testing learning rates from {start:g} to {end:g} in {steps} steps")
    curve = _sweep(loaded, config, rates, reporter)
    return RangeTest(table.spec, float(table.values.max()), config, start, end, steps, curve)


def default_range(config: TrainConfig) -> tuple[float, float]:
    """Returns the default range of learning rates of a test.

    They are 1e-4 and 10 for an optimizer whose update is proportional to the gradient of the mean loss, those divided
    by the batch size where it is that of the sum, and 1e-6 and 1 for an optimizer that divides its update by the size
    of the gradient.
    """
    if not is_proportional_to_the_gradient(config.optimizer):
        return 1e-6, 1.0
    divisor = config.batch_size if config.loss_reduction == "sum" else 1
    return 1e-4 / divisor, 10 / divisor


def _rates(start: float, end: float, steps: int) -> NDArray[np.float32]:
    check_number("steps", steps, least=LEAST_STEPS, most=MOST_STEPS)
    for name, value in (("start-lr", start), ("end-lr", end)):
        if not _LEAST_RATE <= value <= _HIGHEST_RATE:
            raise UsageError(
                f"{name}={value:g} is refused: expected a learning rate from {_LEAST_RATE:g} to {_HIGHEST_RATE:g}"
            )
    if end < 2 * start:
        raise UsageError(f"start-lr={start:g} and end-lr={end:g} are refused: the end is at least twice the start")
    return np.geomspace(start, end, steps).astype(np.float32)


def _batches(
    loaded: Loaded, config: TrainConfig, steps: int
) -> Generator[tuple[Examples, NDArray[np.float32]], None, None]:
    """Yields the chunks of the first ``steps`` steps of a run, of as many epochs as they take."""
    for epoch in itertools.count():
        order, weights = epoch_order(config.seed, epoch, loaded.sizes[0], config.batch_size, shuffle=config.shuffle)
        with contextlib.closing(chunks(loaded, order[:steps], weights[:steps])) as parts:
            yield from parts
        steps -= len(order)
        if steps <= 0:
            return


def _sweep(loaded: Loaded, config: TrainConfig, rates: NDArray[np.float32], reporter: Reporter) -> Curve:
    """Trains new parameters at these learning rates, until the loss diverges."""
    recorder, state, step = Recorder(len(rates)), loaded.engine.init(config.seed), 0
    with contextlib.closing(_batches(loaded, config, len(rates))) as batches:
        for examples, weights in batches:
            began, applied = time.perf_counter(), rates[step : step + len(weights)]
            state, on_device = loaded.engine.run_steps(state, examples, weights, applied)
            losses = np.asarray(on_device)
            if step == 0 and not math.isfinite(losses[0]):
                raise TrainingError(
                    f"the loss is {losses[0]} before the first update, so no learning rate can be tested"
                )
            for rate, loss in zip(applied, losses, strict=True):
                recorder.add(float(rate), float(loss))
            step += len(losses)
            if recorder.stopped is not None:
                break
            epoch = (step - 1) // config.steps_per_epoch(loaded.sizes[0])
            last = StepInfo(step - 1, epoch, float(applied[-1]), float(losses[-1]))
            reporter.stepped(last, float(weights.sum()) / (time.perf_counter() - began))
    return recorder.curve()
