"""`train`: from plugins and options to a trained network and its run directory."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from lrtrain.engine.canary import check_jaxlib
from lrtrain.engine.connection import Distributed, named_process_loss, refusals_told
from lrtrain.engine.devices import keep_compiled, select_devices
from lrtrain.engine.optimizers import optimizer
from lrtrain.engine.processes import Processes
from lrtrain.errors import UsageError
from lrtrain.plugins.context import EpochInfo, RunInfo
from lrtrain.plugins.observers import Observers, unmeasured
from lrtrain.plugins.spec import Spec
from lrtrain.runs.command import how_to_go_on
from lrtrain.runs.directory import RunDir
from lrtrain.runs.reading import best_epoch, read_run
from lrtrain.runs.train_config import TrainOptions
from lrtrain.signals import Ending, endings_noted
from lrtrain.system_refusal import check_files
from lrtrain.training.advice import after_training, before_training
from lrtrain.training.checkpoint_rule import CheckpointRule
from lrtrain.training.checkpoints import read_checkpoint
from lrtrain.training.fastest_devices import loaded_on_fastest
from lrtrain.training.job import Job, job_of
from lrtrain.training.loop import Loop, agreement
from lrtrain.training.prepare import Found, Loaded, find_data, join_processes, load_data, loaded_on, task_of
from lrtrain.training.rates import OnScheduleChange
from lrtrain.training.recorder import Recorder
from lrtrain.training.reporter import Begin, NullReporter, Reporter
from lrtrain.training.run_files import claim, describe, hold, open_checkpoints, open_logs, write_run_config, write_test
from lrtrain.training.start import check_found, note_of, start_new, start_resumed

if TYPE_CHECKING:
    import jax
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Unpack


@dataclass(frozen=True, eq=False)
class RunResult:
    """The result of a run.

    Args:
      run_dir: the directory with its files.
      history: its epochs, those before a resume included.
      test_accuracy: share of the test set that is classified right at the end, 0 to 1; NaN where there are no classes.
      test_loss: loss on the test set at the end, mean per example.
      learning_rates: the schedule's table, float32[total_steps]; ``steps.csv`` has those that were applied.
      steps: optimizer updates done.
      seconds: the time that this call took.
      stopped: the reason that a hook gave to end the run early, if one did.
      note: what the user should know about the loss; None if there is nothing.
      test_metrics: the workload's metrics on the test set at the end, by name.
    """

    run_dir: Path
    history: tuple[EpochInfo, ...]
    test_accuracy: float
    test_loss: float
    learning_rates: NDArray[np.float32] = dataclasses.field(repr=False)
    steps: int
    seconds: float
    stopped: str | None
    note: str | None = None
    test_metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def params(self) -> Any:
        """The parameters at the end: arrays of NumPy in nested dictionaries, read from the last checkpoint."""
        return self._arrays["params"]

    @property
    def average(self) -> Any:
        """The moving average of the parameters at the end, which is evaluated in their place; None without ``ema``."""
        return self._arrays.get("average") or None

    @property
    def state(self) -> Any:
        """The network's other arrays at the end, such as the averages of batch normalisation; None for none."""
        return self._arrays.get("network") or None

    @property
    def best(self) -> EpochInfo | None:
        """The epoch of the best checkpoint by the workload's headline; None before the first one."""
        return best_epoch(read_run(self.run_dir))

    @functools.cached_property
    def _arrays(self) -> dict[str, Any]:
        return read_checkpoint(RunDir(self.run_dir).checkpoints / f"step_{self.steps}")[1]


def train(  # noqa: PLR0913
    *plugins: Spec | str | Mapping[str, Any],
    settings: Sequence[str] = (),
    run_dir: str | Path | None = None,
    resume: bool = False,
    on_schedule_change: OnScheduleChange | None = None,
    accept_code_change: bool = False,
    checkpoint_every: str | int | None = None,
    reporter: Reporter | None = None,
    distributed: Distributed | None = None,
    **options: Unpack[TrainOptions],
) -> RunResult:
    """Trains a network under a learning-rate schedule, with checkpoints from which it can be resumed.

    Ctrl-C and SIGTERM end it after the steps that have already been sent to the devices, with a checkpoint.

    Args:
      *plugins: specs, as text (``"sgdr(cycles=4)"``), tables or `Spec`. Exactly one builds the schedule, the others
        observe. With ``resume`` they may be left out: the run's own are taken.
      settings: further options of plugins, ``"NAME=VALUE"`` or ``"PLUGIN.NAME=VALUE"``.
      run_dir: the directory to write to, empty or not yet there; None for ``runs/<plugin>-<date>-<time>``.
      resume: continue the run in ``run_dir`` instead, to the same bits as if it had never stopped (on the same machine
        with the same number of devices).
      on_schedule_change: what to do when the schedule of a resumed run has changed. ``"keep"`` continues with the old
        one, whose last learning rate holds if the run is longer now; ``"restart"`` begins the new one, built for the
        steps that are left. None: a changed schedule is an error.
      accept_code_change: whether to continue a run when the code of a plugin that observes, or of the model, has
        changed; else this is an error.
      checkpoint_every: ``200`` steps, ``"30s"``, ``"5min"`` or ``"1h"``, besides the checkpoint after every epoch; or
        ``"3ep"`` for one after every third. None for ``"auto"``, or the rule of a resumed run: one after every epoch,
        of which those are held back that take less than 5 s and end less than 30 s after the last one was written. The
        newest and the best of them are written with the next one, and at the end of the run, also if that is an error.
        It changes no result.
      reporter: receives the events of the run; None for no output.
      distributed: given when several processes train together and all make this call; see `lrtrain.Distributed`. The
        first one writes the run directory, which all of them must see, calls the hooks that observe, and reports.
      **options: the fields of `lrtrain.runs.train_config.TrainConfig`, such as ``epochs`` and ``batch_size``.

    Returns:
      The result of the run: accuracy, history and the directory with its files.

    Raises:
      UsageError: the call cannot be carried out; nothing has been written.
      TrainingError: the loss is not finite, a plugin raised, the directory can no longer be written, or another
        process of a distributed run has ended; the checkpoints so far are kept.
      KeyboardInterrupt: Ctrl-C has ended the run, and ``resume`` continues it. For SIGTERM it is
        `lrtrain.signals.Terminated`, a `SystemExit` with code 143.

    Example:
      ```python
      import lrtrain

      result = lrtrain.train("sgdr(cycles=2)", epochs=2, run_dir="runs/two-cycles")
      print(result.test_accuracy, [epoch.train_loss for epoch in result.history])
      ```
    """
    began = time.perf_counter()
    if on_schedule_change not in (None, *get_args(OnScheduleChange)):
        raise UsageError(f"on_schedule_change={on_schedule_change} is refused: expected keep or restart")
    if distributed is not None:
        distributed.check()
    with refusals_told(distributed):
        check_files()
        rule = None if checkpoint_every is None else CheckpointRule.parse(checkpoint_every)
        job = job_of(
            *(plugins, settings, run_dir, options, rule),
            resume=resume,
            on_schedule_change=on_schedule_change,
            accept_code_change=accept_code_change,
        )
        facts = job.facts(run_dir) if distributed is not None else {}
    reporter = reporter or NullReporter()
    processes = join_processes(distributed, facts, job.config.devices, job.config.batch_size, reporter.phase)
    job = dataclasses.replace(job, run_dir=RunDir(Path(processes.from_main(lambda: str(job.run_dir.path)))))
    with named_process_loss(processes, lambda: _how_to_go_on(job.run_dir if resume else None)):
        return _run(job, processes, reporter if processes.is_main else NullReporter(), began)


def _how_to_go_on(run_dir: RunDir | None) -> str:
    begun = run_dir.path if run_dir is not None and run_dir.config.is_file() else None
    return how_to_go_on(begun, command="the same command with")


def _run(job: Job, processes: Processes, reporter: Reporter, began: float) -> RunResult:
    """Loads the data, starts or restores the run, trains it and evaluates it."""
    with contextlib.ExitStack() as held:
        loaded, found = _load(job, processes, reporter, held)
        if job.stored is None:
            start = start_new(job, found, loaded.engine)
            job = dataclasses.replace(job, run_dir=claim(job, processes, held))
        held.enter_context(named_process_loss(processes, lambda: _how_to_go_on(job.run_dir)))
        checkpoints = held.enter_context(open_checkpoints(job.run_dir, processes, job.chosen.workload.headline))
        if job.stored is not None:
            start = start_resumed(job, job.stored, found, loaded.engine, checkpoints)
        config = describe(job, start, loaded.devices, found)
        lines = write_run_config(job, config, start.position, processes)
        if start.damaged:
            checkpoints.set_aside_after(start.position.step, processes)
        table = start.rates.values
        run = RunInfo(job.run_dir.path, config.to_json(), len(table), config.steps_per_epoch, job.config.epochs, table)
        reporter.phase("compiling the training step")
        loaded.engine.compile()
        held_out = None if loaded.validation is None else len(loaded.validation)
        said = [note_of(start, job, config, lines)]
        if job.stored is None:
            said += before_training(job.config, job.chosen, job.active.schedule_plugin(), float(table.max()))
        note = "; ".join(filter(None, said)) or None
        devices = str(config.device) if config.processes == 1 else f"{config.device} in {config.processes} processes"
        reporter.begin(Begin(run, start.position.step, devices, loaded.sizes, note, held_out))
        early = functools.partial(loaded.engine.compile_evaluation, start.state)
        logs, meanwhile = held.enter_context(open_logs(job.run_dir, start.rates, run.steps_per_epoch, processes, early))
        # Signals end a distributed run at once, as its processes would stop at different steps.
        ending = held.enter_context(endings_noted()) if processes.alone else Ending()
        agreed = agreement(processes, checkpoints, run)
        how: Any = {"measured_on": found.measured_on, "agreed": agreed}
        recorder = Recorder(run, Observers(job.active), logs, loaded.engine.chunk_steps, start.position, **how)
        loop = Loop(job, loaded, start, recorder, checkpoints, reporter, processes, meanwhile, ending)
        stopped = loop.train()
        means = loop.test()
        if found.measured_on == "validation":
            write_test(job.run_dir, loop.step, means, processes)
    seconds = time.perf_counter() - began
    loss = means.pop("loss")
    accuracy = means.get("accuracy", math.nan)
    path, history = job.run_dir.path, recorder.history
    note = after_training(loss, loaded.guess)
    return RunResult(path, history, accuracy, loss, table, loop.step, seconds, stopped, note, means)


def _load(job: Job, processes: Processes, reporter: Reporter, held: contextlib.ExitStack) -> tuple[Loaded, Found]:
    """Loads the data and makes the engine; a continued run is locked first, and must find its own data and code."""
    reporter.phase(f"loading the data of {job.chosen.name}")
    with processes.together():
        source = find_data(job.chosen, job.config)
    reporter.phase("starting JAX")
    keep_compiled()
    if job.stored is not None:
        hold(job, processes, held)
    devices = _devices(job, processes)
    with processes.together():
        check_jaxlib(devices)
        # What cannot be used is refused before the data is loaded.
        optimizer(job.config.optimizer)
        data = load_data(source, job.config, devices, reporter)
        task = task_of(job.chosen, data, job.config)
        check_found(job, task.found)
        if said := unmeasured(job.active, task.measured):
            raise UsageError(said)
    processes.check_alike(task.found.facts())
    if job.stored is None and processes.alone:
        return loaded_on_fastest(devices, task, job.config, reporter.phase), task.found
    return loaded_on(devices, task, job.config), task.found


def _devices(job: Job, processes: Processes) -> list[jax.Device]:
    """Returns the devices of a run; one that is continued on CPU keeps its number, unless the user gives another."""
    devices = select_devices(job.config.devices, job.config.batch_size, distributed=not processes.alone)
    stored = job.stored
    if stored is None or job.config.devices is not None or not processes.alone or stored.processes > 1:
        return devices
    kinds = {devices[0].platform, devices[0].device_kind, stored.device.kind}
    return devices[: stored.device.count] if kinds == {"cpu"} else devices
