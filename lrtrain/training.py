"""`train`: from plugins and options to a trained network and its run directory."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from lrtrain.cache import compiled_dir
from lrtrain.checkpoint import Checkpoints, Progress, import_orbax
from lrtrain.config import TrainConfig
from lrtrain.context import EpochInfo, RunInfo
from lrtrain.devices import enable_compilation_cache, select_devices
from lrtrain.errors import UsageError
from lrtrain.hooks import Observers
from lrtrain.loop import Loop, Setup
from lrtrain.picture import draw_curves
from lrtrain.plugins import ActivePlugins, activate
from lrtrain.reporting import Begin, Reporter, Silent
from lrtrain.resume import ON_SCHEDULE_CHANGE, Before, OnScheduleChange, Planned, merge_config, plan_new, plan_resumed
from lrtrain.run_dir import RunDir, RunLogs, make_run_dir, new_run_dir
from lrtrain.spec import Spec
from lrtrain.versions import versions

if TYPE_CHECKING:
    import jax
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from lrtrain.data import Dataset
    from lrtrain.engine import Engine


class TrainOptions(TypedDict, total=False):
    """The options of `train`; the fields of `lrtrain.config.TrainConfig`, where they are described."""

    epochs: int
    batch_size: int
    optimizer: str
    loss_reduction: str
    seed: int
    dataset: str
    data_dir: Path | None
    train_size: int | None
    shuffle: bool
    devices: int | None
    micro_batch: int | None
    model: str | None


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


def train(
    *plugins: Spec | str | Mapping[str, Any],
    settings: Sequence[str] = (),
    run_dir: str | Path | None = None,
    resume: bool = False,
    on_schedule_change: OnScheduleChange | None = None,
    reporter: Reporter | None = None,
    **options: Unpack[TrainOptions],
) -> RunResult:
    """Trains a network under a learning-rate schedule, with a checkpoint after every epoch.

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
      reporter: receives what happens; None for silence.
      **options: the fields of `lrtrain.config.TrainConfig`: epochs, batch_size, optimizer, loss_reduction, seed,
        dataset, data_dir, train_size, shuffle, devices, micro_batch, model.

    Returns:
      The accuracy, the history and where the files are.

    Raises:
      UsageError: what is asked for cannot be done; nothing has been written.
      TrainingError: the loss is not finite, or a plugin raised; the checkpoints so far are kept.

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
    job = _resumed(plugins, settings, run_dir, options) if resume else _new(plugins, settings, run_dir, options)
    return _run(job, on_schedule_change, reporter or Silent(), began)


@dataclass(frozen=True, eq=False)
class _Job:
    """What is to be done, once it has been checked as far as it can be without data or JAX."""

    active: ActivePlugins
    config: TrainConfig
    run_dir: RunDir
    stored: dict[str, Any] | None


def _new(
    plugins: Sequence[Spec | str | Mapping[str, Any]],
    settings: Sequence[str],
    run_dir: str | Path | None,
    options: TrainOptions,
) -> _Job:
    config = TrainConfig(**options)
    config.check()
    active = activate(plugins, settings)
    name = active.schedule_plugin().entry.name
    return _Job(active, config, new_run_dir(Path(run_dir) if run_dir is not None else None, name), None)


def _resumed(
    plugins: Sequence[Spec | str | Mapping[str, Any]],
    settings: Sequence[str],
    run_dir: str | Path | None,
    options: TrainOptions,
) -> _Job:
    if run_dir is None:
        raise UsageError("--resume needs --run-dir DIR: the directory of the run to continue")
    directory = RunDir(Path(run_dir).expanduser().absolute())
    stored = directory.read_config()
    config = merge_config(TrainConfig.from_json(stored["train"]), options)
    config.check()
    active = activate(plugins or stored["plugins"], settings, override=not plugins)
    active.schedule_plugin()
    return _Job(active, config, directory, stored)


def _run(job: _Job, change: OnScheduleChange | None, reporter: Reporter, began: float) -> RunResult:
    data = _load_data(job.config, reporter)
    steps_per_epoch = job.config.steps_per_epoch(len(data.train))
    with contextlib.closing(Checkpoints(job.run_dir.checkpoints)) as checkpoints:
        reporter.phase("starting JAX")
        _keep_compiled()
        devices = select_devices(job.config.devices, job.config.batch_size)
        planned, progress = _plan(job, steps_per_epoch, checkpoints, change)
        engine = _engine(job.config, data, devices)
        state = engine.init(job.config.seed)
        if job.stored is not None:
            state = checkpoints.restore_state(progress.step, state)
        config = _write_head(job, planned, progress, devices, steps_per_epoch)
        run = RunInfo(job.run_dir.path, config, len(planned.values), steps_per_epoch, job.config.epochs, planned.values)
        reporter.phase("compiling the training step")
        engine.compile()
        reporter.begin(Begin(run, progress.step, _in_words(devices), (len(data.train), len(data.test))))
        with RunLogs(job.run_dir) as logs, ThreadPoolExecutor(1) as pool:
            # What the first steps need not wait for, in the order in which it is needed. Should one of the first two
            # fail, it does so again where it is used.
            pool.submit(engine.compile_evaluation, state)
            pool.submit(import_orbax)
            curves = {str(planned.spec): planned.values}
            picture = pool.submit(draw_curves, curves, job.run_dir.picture, steps_per_epoch)
            setup = Setup(
                job.config,
                len(data.train),
                len(data.test),
                engine,
                run,
                Observers(job.active),
                checkpoints,
                logs,
                reporter,
            )
            loop = Loop(setup, state, progress)
            stopped = loop.run()
            test_loss, test_accuracy = loop.evaluate()
            picture.result()
    seconds = time.perf_counter() - began
    return RunResult(
        job.run_dir.path, loop.history, test_accuracy, test_loss, planned.values, loop.step, seconds, stopped
    )


def _load_data(config: TrainConfig, reporter: Reporter) -> Dataset:
    from lrtrain.data import load_dataset

    reporter.phase(f"loading {config.dataset}")
    data = load_dataset(config.dataset, data_dir=config.data_dir, train_size=config.train_size, seed=config.seed)
    config.check_data(len(data.train))
    return data


def _keep_compiled() -> None:
    """Lets later processes take what this one compiles; a program that uses JAX itself keeps its own settings."""
    if "jax" not in sys.modules:
        enable_compilation_cache(compiled_dir())


def _plan(
    job: _Job, steps_per_epoch: int, checkpoints: Checkpoints, change: OnScheduleChange | None
) -> tuple[Planned, Progress]:
    """Returns the learning rates of the run and where it begins."""
    if job.stored is None:
        return plan_new(job.active, steps_per_epoch, job.config.epochs), Progress(0, 1.0, job.config.seed)
    progress, values = checkpoints.restore_progress()
    spec = Spec.of(job.stored["plugins"][job.stored["schedule"]["plugin"]])
    before = Before(progress.step, values, job.stored["schedule"], spec)
    planned = plan_resumed(job.active, steps_per_epoch, job.config.epochs, before, change)
    return planned, dataclasses.replace(progress, stopped=None)


def _engine(config: TrainConfig, data: Dataset, devices: list[jax.Device]) -> Engine:
    from lrtrain.engine import Engine
    from lrtrain.model import check_model, load_model
    from lrtrain.optimizers import optimizer

    model = load_model(config.model, data.num_classes)
    if config.model is not None:
        check_model(model, data.train.images.shape[1:], data.num_classes)
    return Engine(
        model,
        optimizer(config.optimizer),
        data.train,
        data.test,
        batch_size=config.batch_size,
        loss_reduction=config.loss_reduction,
        devices=devices,
        micro_batch=config.micro_batch,
    )


def _write_head(
    job: _Job, planned: Planned, progress: Progress, devices: list[jax.Device], steps_per_epoch: int
) -> dict[str, Any]:
    """Makes the directory of a new run, or brings that of an old one to its checkpoint; writes what comes first."""
    make_run_dir(job.run_dir)
    job.run_dir.cut_logs(progress.step)
    config = _describe(job, planned, progress, devices, steps_per_epoch)
    job.run_dir.write_config(config)
    return config


def _describe(
    job: _Job, planned: Planned, progress: Progress, devices: list[jax.Device], steps_per_epoch: int
) -> dict[str, Any]:
    specs = [plugin.spec() for plugin in job.active.plugins]
    names = [spec.name for spec in specs]
    chosen = names.index(job.active.schedule_plugin().entry.name)
    # After `--on-schedule-change keep` the run's schedule is the one it had, whatever was asked for.
    specs[chosen] = planned.spec
    described = {
        "plugins": [spec.table() for spec in specs],
        "schedule": {"plugin": chosen, **planned.to_json()},
        "train": job.config.to_json(),
        "steps_per_epoch": steps_per_epoch,
        "total_steps": len(planned.values),
        "versions": versions(plugin.entry.distribution for plugin in job.active.plugins),
        "device": {"kind": devices[0].device_kind, "count": len(devices)},
    }
    if job.stored is not None:
        was = {key: job.stored[key] for key in ("versions", "device")}
        described["resumed"] = [*job.stored.get("resumed", []), {"step": progress.step, "before": was}]
    return described


def _in_words(devices: list[jax.Device]) -> str:
    return f"{len(devices)} x {devices[0].device_kind}"
