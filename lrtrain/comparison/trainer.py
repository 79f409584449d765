"""Training the trials of a comparison in waves; a trial that fails does not affect the others of its wave."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lrtrain.comparison import group_size, wave_file
from lrtrain.comparison.active_trial import ActiveTrial
from lrtrain.comparison.plan import Plan
from lrtrain.comparison.protocol import paired, planned
from lrtrain.comparison.reporter import CompareReporter
from lrtrain.comparison.store import Store
from lrtrain.comparison.trial import Outcome, Trial
from lrtrain.comparison.wave_file import Saved, WaveFile
from lrtrain.comparison.waves import in_waves
from lrtrain.data import Dataset
from lrtrain.engine.canary import check_jaxlib
from lrtrain.engine.engine import Losses, TrainState
from lrtrain.engine.order import epoch_order
from lrtrain.engine.population import Population
from lrtrain.engine.state import Means
from lrtrain.errors import LrtrainError
from lrtrain.runs.run_config import Device
from lrtrain.training.kept_choice import KeptChoice
from lrtrain.training.prepare import Task, engine_options, optimizer_of

if TYPE_CHECKING:
    import jax

# A chunk of steps on the devices: its first step, its learning rates, float32[trials, steps], and its losses.
_Sent: TypeAlias = tuple[int, NDArray[np.float32], Losses]


@dataclass(frozen=True, eq=False)
class _Wave:
    """Trials that train together: their state, the epochs done, and the time of the clock at which they began."""

    active: Sequence[ActiveTrial]
    state: TrainState
    epochs: int
    began: float


class Trainer:
    """Trains the trials of one plan on one data set; everything is compiled once.

    It puts the data on the devices, for up to ``runs`` trials at once. `device` is the kind and number of the devices.
    """

    def __init__(self, plan: Plan, data: Dataset, task: Task, devices: Sequence[jax.Device], runs: int) -> None:
        config = plan.train
        self._plan, self._data, self._task, self._epochs = plan, data, task, config.epochs
        assert data.validation is not None, "held out, or the workload's own"
        self._validation = data.validation
        self._steps_per_epoch = config.steps_per_epoch(len(data.train))
        check_jaxlib(devices)
        self.device = Device(devices[0].device_kind, len(devices))
        self._population = Population(
            task.network,
            optimizer_of(config),
            data.train,
            self._validation,
            workload=task.workload,
            devices=devices,
            runs=runs,
            **engine_options(config),
        )

    @property
    def width(self) -> int:
        """The number of trials that it trains at once."""
        return self._population.width

    def choose_width(self, reporter: CompareReporter) -> None:
        """Has each device train as many trials side by side as is fastest, if it can have several and that matters."""
        plan, most = self._plan, self._population.runs_per_device
        runs, of_a_seed = max(zip(planned(plan), paired(plan), strict=True))
        if most == 1 or runs * self._epochs * self._steps_per_epoch < group_size.FEWEST_STEPS:
            return
        facts = {"device": vars(self.device), "runs": runs, "paired": of_a_seed, "shapes": self._task.found.shapes}
        kept = KeptChoice("runs_per_device", self._task, plan.train, facts)
        self._population = group_size.with_fastest_size(
            self._population, kept, of_a_seed, len(self._data.train), reporter
        )

    def seconds_per_wave(self, reporter: CompareReporter) -> float:
        """Returns the time that a wave will take, estimated from a chunk and an evaluation of a temporary state.

        If there is not the memory for them, fewer trials are trained at once from then on.
        """
        self._population, seconds = group_size.halved_until_it_fits(
            self._population, self._seconds_per_wave, reporter.noted
        )
        return seconds

    def _seconds_per_wave(self, population: Population) -> float:
        seeds = [self._plan.train.seed] * population.width
        steps = min(population.chunk_steps, self._steps_per_epoch)
        shared = population.shared_seeds(seeds)
        order, weights = (each[:, :steps] for each in self._orders(shared or seeds, 0))
        rates = np.zeros((population.width, steps))
        state = population.init(seeds)
        marks = []
        # Twice, since the first call compiles.
        for _ in range(2):
            marks = [time.perf_counter()]
            state, losses = population.run_steps(state, order, weights, rates, shared=shared is not None)
            losses.block_until_ready()
            marks.append(time.perf_counter())
            np.asarray(population.evaluate(state)["loss"])
            marks.append(time.perf_counter())
        stepping, evaluating = np.diff(marks)
        return float(self._epochs * (self._steps_per_epoch * stepping / steps + evaluating))

    def train(
        self, trials: Sequence[Trial], store: Store, process: int, reporter: CompareReporter
    ) -> Iterator[list[Outcome]]:
        """Trains trials, wave after wave, and yields the outcomes of each wave.

        The wave that was interrupted continues, and comes first; the reporter is told which of its trials begin again.
        """
        file, left, tick = WaveFile(store.wave(process)), list(trials), reporter.stepped
        wave = self._continued(file, left, store, reporter.noted)
        if wave is not None:
            tick(wave.epochs * self._steps_per_epoch)
            yield self._finish(wave, file, tick)
            left = [trial for trial in left if trial not in {each.trial for each in wave.active}]
        for together in in_waves(left, self._population.devices, self._population.runs_per_device):
            # The logs begin again, so they are no longer those of the saved wave.
            file.remove()
            wave, outcomes = self._begun(together, store)
            yield outcomes + (self._finish(wave, file, tick) if wave.active else [])
        file.remove()

    def _begun(self, trials: Sequence[Trial], store: Store) -> tuple[_Wave, list[Outcome]]:
        """Begins a wave; a trial whose schedule cannot be built has an outcome instead."""
        began, active, outcomes = time.perf_counter(), [], []
        for trial in trials:
            try:
                ready = self._prepared(trial, store)
            except LrtrainError as error:
                outcomes.append(Outcome(trial, "failed", str(error), 0, None, None, None, None, None, 0.0))
            else:
                active.append(ready)
            store.remove_unfinished(self._plan, trial)
        for each in active:
            each.begin()
        state = self._population.init([each.trial.seed for each in active] or [self._plan.train.seed])
        return _Wave(active, state, 0, began), outcomes

    def _continued(
        self, file: WaveFile, wanted: Sequence[Trial], store: Store, note: Callable[[str], None]
    ) -> _Wave | None:
        """Returns the wave that was interrupted, without the trials that cannot continue; None if there is none."""
        if not file.path.exists():
            return None
        began = time.perf_counter()
        like = self._population.init([self._plan.train.seed])
        saved = file.load(self._population.leaves(like))
        if saved is None:
            note(f"{file.path} is damaged or of another version: the runs that were being trained begin again")
            return None
        places = [place for place, trial in enumerate(saved.trials) if trial in wanted]
        found = [(place, self._fitting(saved.trials[place], saved.positions[place], store)) for place in places]
        fitting = [(place, each) for place, each in found if each is not None][: self.width]
        if lost := len(places) - len(fitting):
            note(
                f"{lost} of the {len(places)} runs that were being trained begin again: their logs, schedules or "
                f"versions are no longer those of {file.path}, or fewer than then are trained at once"
            )
        if not fitting:
            return None
        for place, each in fitting:
            each.continue_from(saved.positions[place])
        state = self._population.from_leaves(saved.arrays, [place for place, _ in fitting], like)
        spent = saved.seconds * len(fitting) / len(saved.trials)
        return _Wave([each for _, each in fitting], state, saved.epochs, began - spent)

    def _fitting(self, trial: Trial, values: Mapping[str, Any], store: Store) -> ActiveTrial | None:
        try:
            ready = self._prepared(trial, store)
        except LrtrainError:
            return None
        return ready if ready.can_continue(values) else None

    def _prepared(self, trial: Trial, store: Store) -> ActiveTrial:
        path, chunk = store.place(self._plan, trial), self._population.chunk_steps
        return ActiveTrial(self._plan, trial, path, self._data, chunk, self.device.kind)

    def _finish(self, wave: _Wave, file: WaveFile, tick: Callable[[int], None]) -> list[Outcome]:
        with ExitStack() as files:
            for each in wave.active:
                files.enter_context(each.opened())
            tests = self._train(wave, file, tick)
        seconds = (time.perf_counter() - wave.began) / len(wave.active)
        return [each.outcome(test, seconds) for each, test in zip(wave.active, tests, strict=False)]

    def _train(self, wave: _Wave, file: WaveFile, tick: Callable[[int], None]) -> list[dict[str, float] | None]:
        """Trains a wave to its end; returns the means of each on the test set, None where that is not used."""
        active, state, saved = wave.active, wave.state, time.perf_counter()
        for epoch in range(wave.epochs, self._epochs):
            began = time.perf_counter()
            state = self._epoch(active, state, epoch, tick)
            trained = time.perf_counter() - began
            results = self._results(self._population.evaluate(state), len(self._validation))
            for each, means in zip(active, results, strict=False):
                each.end_epoch(epoch, means, time.perf_counter() - began, trained)
            if all(each.over for each in active):
                break
            if epoch + 1 < self._epochs and time.perf_counter() - saved >= wave_file.SECONDS_BETWEEN_SAVES:
                self._save(_Wave(active, state, epoch + 1, wave.began), file)
                saved = time.perf_counter()
        if active[0].trial.stage != "measure" or self._plan.protocol != "fair":
            return [None] * len(active)
        return list(self._results(self._population.evaluate_on(state, self._data.test), len(self._data.test)))

    def _save(self, wave: _Wave, file: WaveFile) -> None:
        trials, values = [each.trial for each in wave.active], [each.to_json() for each in wave.active]
        seconds, arrays = time.perf_counter() - wave.began, self._population.leaves(wave.state)
        file.save(Saved(trials, wave.epochs, seconds, values, arrays))

    def _results(self, means: Means, examples: int) -> Iterator[dict[str, float]]:
        """Yields the loss and the metrics of each trial."""
        exact = self._population.exact(means, examples)
        for place in range(self.width):
            yield {name: float(values[place]) for name, values in exact.items()}

    def _epoch(
        self, active: Sequence[ActiveTrial], state: TrainState, epoch: int, tick: Callable[[int], None]
    ) -> TrainState:
        """Sends an epoch to the devices chunk by chunk, and records each chunk while the next one runs."""
        seeds = [each.trial.seed for each in active]
        shared = self._population.shared_seeds(seeds)
        order, weights = self._orders(shared or seeds, epoch)
        waiting: _Sent | None = None
        first = epoch * self._steps_per_epoch
        for begin in range(0, self._steps_per_epoch, self._population.chunk_steps):
            part = slice(begin, min(begin + self._population.chunk_steps, self._steps_per_epoch))
            rates = np.stack([each.rates(first + part.start, first + part.stop) for each in active])
            batches = order[:, part], weights[:, part]
            state, losses = self._population.run_steps(state, *batches, rates, shared=shared is not None)
            self._deliver(active, waiting)
            waiting = first + begin, rates, losses
            tick(part.stop - part.start)
        self._deliver(active, waiting)
        return state

    def _deliver(self, active: Sequence[ActiveTrial], sent: _Sent | None) -> None:
        if sent is not None:
            first, all_rates, all_losses = sent
            for each, rates, losses in zip(active, all_rates, np.asarray(all_losses), strict=True):
                each.deliver(first, rates, losses)

    def _orders(self, seeds: Sequence[int], epoch: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        config = self._plan.train
        each = {
            seed: epoch_order(seed, epoch, len(self._data.train), config.batch_size, shuffle=config.shuffle)
            for seed in set(seeds)
        }
        return np.stack([each[seed][0] for seed in seeds]), np.stack([each[seed][1] for seed in seeds])
