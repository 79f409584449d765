"""`train`: from plugins and options to a trained network and its run directory."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtrain.engine.canary import check_jaxlib
from lrtrain.engine.devices import select_devices
from lrtrain.engine.processes import (
    Distributed,
    Processes,
    losses_named,
    refusals_told,
)
from lrtrain.errors import RunDirError, UsageError
from lrtrain.plugins.context import EpochInfo, RunInfo
from lrtrain.plugins.observers import Observers
from lrtrain.plugins.spec import Spec
from lrtrain.runs.conditions import Code, check_data, codes_of, other_code, other_versions
from lrtrain.runs.config import TrainOptions
from lrtrain.runs.directory import RunDir
from lrtrain.runs.log_repair import lost_steps
from lrtrain.runs.logs import count_epochs
from lrtrain.runs.run_config import RunConfig
from lrtrain.signals import Ending, endings_noted
from lrtrain.system_refusal import check_files
from lrtrain.training.checkpoint_rule import CheckpointRule
from lrtrain.training.checkpoints import Checkpoints, Restored
from lrtrain.training.facts import facts_found, facts_of_job
from lrtrain.training.job import Job, new_job, resumed_job
from lrtrain.training.loop import Loop, agreement
from lrtrain.training.plan import (
    ON_SCHEDULE_CHANGE,
    OnScheduleChange,
    Planned,
    check_same,
    plan_before,
    plan_new,
    plan_resumed,
)
from lrtrain.training.position import Progress
from lrtrain.training.prepare import Found, found_in, join_processes, keep_compiled, load_data, make_engine, stream_of
from lrtrain.training.recorder import Recorder
from lrtrain.training.reporter import Begin, Reporter, Silent
from lrtrain.training.run_files import claim, current_versions, describe, hold, open_checkpoints, open_logs, write_head

if TYPE_CHECKING:
    import jax
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from lrtrain.engine.engine import TrainState


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a run has come to.

    Args:
      run_dir: where its files are.
      history: its epochs, those before a resume included.
      test_accuracy: share of the test set that is classified right at the end, 0 to 1.
      test_loss: cross-entropy on the test set at the end, mean per example.
      learning_rates: the schedule's table, float32[total_steps]; what was applied stands in ``steps.csv``.
      steps: optimizer updates done.
      seconds: time that this call took.
      stopped: the reason that a hook gave to end the run early, if one did.
    """

    run_dir: Path
    history: tuple[EpochInfo, ...]
    test_accuracy: float
    test_loss: float
    learning_rates: NDArray[np.float32]
    steps: int
    seconds: float
    stopped: str | None


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
    """Trains a network under a learning-rate schedule, with a checkpoint after every epoch or more often.

    Ctrl-C and SIGTERM end it after the steps that the devices have been given, with a checkpoint of the last one.

    Args:
      *plugins: specs, as text (``"sgdr(cycles=4)"``), tables or `Spec`. Exactly one builds the schedule, the others
        observe. With ``resume`` they may be left out: the run's own are taken.
      settings: further options of plugins, ``"NAME=VALUE"`` or ``"PLUGIN.NAME=VALUE"``.
      run_dir: where to write; empty or not there yet. None for ``runs/<plugin>-<date>-<time>``.
      resume: continue the run in ``run_dir`` instead, to the same bits as if it had never stopped (on the same machine
        with the same number of devices).
      on_schedule_change: what a resumed run does whose schedule is no longer the same. ``"keep"`` goes on with the one
        it has, its last learning rate held if the run is longer now; ``"restart"`` begins the new one, built for the
        steps that are left. None: it is an error.
      accept_code_change: whether a resumed run goes on although the code of a plugin that observes, or of the model,
        is no longer that which the run has begun with. It is an error else.
      checkpoint_every: ``200`` steps, ``"30s"``, ``"5min"`` or ``"1h"``, besides the checkpoint after every epoch; or
        ``"3ep"`` for one after every third. None for ``"1ep"``, or what a resumed run had. It changes no result.
      reporter: receives what happens; None for silence.
      distributed: this process is one of several that train together and all make this call; see
        `lrtrain.Distributed`. The first one writes the run directory, which all of them must see, calls the hooks that
        observe, and reports.
      **options: the fields of `lrtrain.runs.config.TrainConfig`: epochs, batch_size, optimizer, loss_reduction, seed,
        dataset, data_dir, train_size, shuffle, devices, micro_batch, model, data_on_device.

    Returns:
      The accuracy, the history and where the files are.

    Raises:
      UsageError: what is asked for cannot be done; nothing has been written.
      TrainingError: the loss is not finite, a plugin raised, the directory cannot be written any more, or another
        process of a distributed run has gone; the checkpoints so far are kept.
      KeyboardInterrupt: Ctrl-C has ended it, and ``resume`` continues it. For SIGTERM it is
        `lrtrain.signals.Terminated`, a `SystemExit` with code 143.

    Example:
      ```python
      import lrtrain

      result = lrtrain.train("sgdr(cycles=2)", epochs=2, run_dir="runs/two-cycles")
      print(result.test_accuracy, [epoch.train_loss for epoch in result.history])
      ```
    """
    began = time.perf_counter()
    if on_schedule_change not in (None, *ON_SCHEDULE_CHANGE):
        raise UsageError(f"on_schedule_change={on_schedule_change} is refused: expected keep or restart")
    if distributed is not None:
        distributed.check()
    with refusals_told(distributed):
        check_files()
        rule = None if checkpoint_every is None else CheckpointRule.parse(checkpoint_every)
        make = resumed_job if resume else new_job
        job = make(plugins, settings, run_dir, options)
        job = dataclasses.replace(job, rule=rule or job.rule)
        facts = facts_of_job(job, resume, on_schedule_change, run_dir) if distributed is not None else {}
    reporter = reporter or Silent()
    processes = join_processes(distributed, facts, job.config.devices, job.config.batch_size, reporter.phase)
    job = dataclasses.replace(job, run_dir=RunDir(Path(processes.from_main(lambda: str(job.run_dir.path)))))
    resumption = Resumption(on_schedule_change, accept_code_change)
    with losses_named(processes, lambda: _how_to_go_on(job.run_dir if resume else None)):
        return _run(job, processes, resumption, reporter if processes.is_main else Silent(), began)


@dataclass(frozen=True)
class Resumption:
    """What a run that goes on does where something has changed: its schedule, or the code of its plugins or model."""

    schedule: OnScheduleChange | None
    code: bool


def _how_to_go_on(run_dir: RunDir | None) -> str:
    if run_dir is not None and run_dir.config.is_file():
        return f"the same command with --resume --run-dir {run_dir.path} continues the run"
    return "nothing has been trained yet, so the run has to begin again"


def _run(job: Job, processes: Processes, resumption: Resumption, reporter: Reporter, began: float) -> RunResult:
    from lrtrain.data import find_dataset

    reporter.phase(f"loading {job.config.dataset}")
    with processes.together():
        source = find_dataset(job.config.dataset, data_dir=job.config.data_dir)
    with contextlib.ExitStack() as held:
        reporter.phase("starting JAX")
        keep_compiled()
        if job.stored is not None:
            hold(job, processes, held)
        devices = select_devices(job.config.devices, job.config.batch_size, distributed=not processes.alone)
        with processes.together():
            check_jaxlib(devices)
            data = load_data(source, job.config, devices, reporter)
            found = found_in(data, job.config)
            _check_found(job, found, resumption)
        processes.check_alike(facts_found(found.data, found.program))
        engine = make_engine(job.config, data, devices)
        stream, sizes = stream_of(data), (len(data.train), len(data.test))
        # The devices have their own copy.
        del data
        state = engine.init(job.config.seed)
        if job.stored is None:
            planned, progress = _plan(job, found.steps_per_epoch, None, resumption.schedule)
            job = dataclasses.replace(job, run_dir=claim(job, processes, held))
        held.enter_context(losses_named(processes, lambda: _how_to_go_on(job.run_dir)))
        checkpoints = held.enter_context(open_checkpoints(job.run_dir, processes))
        restored = _restored(job, checkpoints, state)
        if job.stored is not None:
            planned, progress = _plan(job, found.steps_per_epoch, restored, resumption.schedule)
        state = restored.state if restored is not None else state
        config = describe(job, planned, progress, devices, found)
        lines = write_head(job, config, progress, processes)
        if restored is not None and restored.unsound:
            checkpoints.set_aside_after(progress.step, processes)
        note = _note(job, config, restored, progress, lines)
        run = RunInfo(
            job.run_dir.path,
            config.to_json(),
            len(planned.values),
            found.steps_per_epoch,
            job.config.epochs,
            planned.values,
        )
        reporter.phase("compiling the training step")
        engine.compile()
        reporter.begin(Begin(run, progress.step, _in_words(devices), sizes, note))
        early = functools.partial(engine.compile_evaluation, state)
        with (
            open_logs(job.run_dir, planned, found.steps_per_epoch, processes, early) as (logs, meanwhile),
            _ending(processes) as ending,
        ):
            recorder = Recorder(
                run,
                Observers(job.active),
                logs,
                engine.chunk_steps,
                progress,
                agreed=agreement(processes, checkpoints, run),
            )
            loop = Loop(
                config=job.config,
                sizes=sizes,
                engine=engine,
                state=state,
                step=progress.step,
                recorder=recorder,
                checkpoints=checkpoints,
                rule=job.rule,
                reporter=reporter,
                processes=processes,
                meanwhile=meanwhile,
                ending=ending,
                stream=stream,
            )
            stopped = loop.train()
            test_loss, test_accuracy = loop.evaluate()
    seconds = time.perf_counter() - began
    return RunResult(
        job.run_dir.path, recorder.history, test_accuracy, test_loss, planned.values, loop.step, seconds, stopped
    )


def _check_found(job: Job, found: Found, resumption: Resumption) -> None:
    """Raises RunDirError when a run that goes on would be trained on other data, or with other code."""
    if job.stored is None:
        return
    check_data(job.stored.data, found.data, "run")
    if job.stored.steps_per_epoch != found.steps_per_epoch:
        raise RunDirError(
            f"the run has {job.stored.steps_per_epoch} steps in an epoch, and its data gives "
            f"{found.steps_per_epoch} now: put the data of the run back, or start a new run"
        )
    then = Code(job.stored.code, job.stored.program, job.stored.versions)
    now = Code(codes_of(job.active.plugins), found.program, current_versions(job))
    if (changed := other_code(then, now)) and not resumption.code:
        raise RunDirError(f"{changed}: put it back, start a new run, or go on with it by --accept-code-change")


@contextlib.contextmanager
def _ending(processes: Processes) -> Iterator[Ending]:
    """Yields what notes signals; in a distributed run they act at once: its processes would stop at different steps."""
    if not processes.alone:
        yield Ending()
        return
    with endings_noted() as ending:
        yield ending


def _restored(job: Job, checkpoints: Checkpoints, state: TrainState) -> Restored | None:
    """Returns the newest sound checkpoint; None for a run that begins, or died before it had one."""
    if job.stored is None:
        return None
    # The second checkpoint waits for the first one, so with the epoch after it there must have been one.
    if not checkpoints.has_any() and count_epochs(job.run_dir) < job.rule.epochs + 2:
        return None
    return checkpoints.restore_newest(state)


def _note(job: Job, config: RunConfig, restored: Restored | None, progress: Progress, lines: int) -> str | None:
    """Returns what the user should know of a run that goes on, if there is anything."""
    if job.stored is None or restored is None:
        return None
    said, step, run_dir = [], progress.step, job.run_dir
    if restored.unsound:
        said.append(f"not sound and left out: {', '.join(restored.unsound)}; the run goes on from step {step}")
    if lost := lost_steps(run_dir, step):
        said.append(f"{run_dir.steps.name} has been damaged: {lost} of its {step} lines are missing, and stay so")
    if lines:
        said.append(f"{run_dir.metrics.name} has been damaged: {lines} of its lines are restored from the checkpoint")
    if versions := other_versions(job.stored.versions, config.versions):
        said.append(versions)
    if job.stored.device != config.device:
        said.append(
            f"it was trained on {job.stored.device}, and goes on with {config.device}: sums are taken in another "
            "order, so last digits may differ"
        )
    if progress.stopped is not None:
        said.append(f"{progress.stopped}: this has stopped the run; other plugins (--plugin) or more epochs train on")
    return "; ".join(said) or None


def _plan(
    job: Job, steps_per_epoch: int, restored: Restored | None, change: OnScheduleChange | None
) -> tuple[Planned, Progress]:
    """Returns the learning rates of the run and where it begins."""
    if job.stored is None or restored is None:
        planned = plan_new(job.active, steps_per_epoch, job.config.epochs)
        if job.stored is not None and change != "restart":
            check_same(planned, job.stored)
        return planned, Progress(0, 1.0, job.config.seed)
    progress = restored.progress
    before = plan_before(restored.table, job.stored)
    planned = plan_resumed(job.active, steps_per_epoch, job.config.epochs, progress.step, before, change)
    return planned, dataclasses.replace(progress, stopped=None) if job.goes_past(progress.step) else progress


def _in_words(devices: list[jax.Device]) -> str:
    processes = len({device.process_index for device in devices})
    said = f"{len(devices)} x {devices[0].device_kind}"
    return said if processes == 1 else f"{said} in {processes} processes"
