"""From a configuration to the data, loaded or to be streamed, and to the engine that trains the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrtrain.data.load import find_dataset
from lrtrain.data.source import DatasetSource, InMemory
from lrtrain.engine.connection import Distributed, connect
from lrtrain.engine.devices import chooses_command_buffers, fits, keep_compiled, present_devices, select_devices
from lrtrain.engine.processes import ALONE, Facts, Processes
from lrtrain.errors import UsageError
from lrtrain.files import is_path
from lrtrain.plugins.context import MeasuredOn
from lrtrain.plugins.discovery import DEFAULT_WORKLOAD
from lrtrain.runs.train_config import DEFAULT_DATASET, TrainConfig
from lrtrain.training.reporter import Reporter
from lrtrain.workloads.check import check_fit, source_of
from lrtrain.workloads.loading import Chosen
from lrtrain.workloads.workload import DataContext, Workload

if TYPE_CHECKING:
    import jax
    import optax

    from lrtrain.data import Dataset, Split
    from lrtrain.data.stream import Stream, StreamedDataset
    from lrtrain.engine.engine import Engine
    from lrtrain.nn.network import Network


def join_processes(
    distributed: Distributed | None,
    facts: Facts,
    devices: int | None,
    batch_size: int | None,
    phase: Callable[[str], None],
) -> Processes:
    """Returns the processes of a run or comparison, after all have connected and have the same facts.

    Without a ``batch_size``, each of the ``devices`` has its own steps; with one, all share a step. Raises UsageError
    when the facts differ, or a process has fewer devices than asked for.
    """
    if distributed is None:
        return ALONE
    keep_compiled()
    processes = connect(distributed, facts, phase, lambda: present_devices(devices, batch_size))
    processes.check_alike(facts)
    with processes.together():
        select_devices(devices, batch_size, distributed=batch_size is not None)
    return processes


def find_data(chosen: Chosen, config: TrainConfig, other: str | None = None) -> DatasetSource:
    """Finds the examples of a workload, to be loaded or streamed; raises DataError when they are not there.

    Those at a path take the place of the workload's own, as those do that are given in Python. ``other`` is a data set
    in the place of the configuration's.
    """
    if is_path(other or config.dataset):
        return find_dataset(other or config.dataset)
    named = other or named_dataset(chosen.workload, config)
    source = source_of(chosen.workload, DataContext(named, config.data_dir))
    return source if not isinstance(source, InMemory) else source.named(chosen.name, chosen.version)


def named_dataset(workload: Workload, config: TrainConfig) -> str | None:
    """Returns the name of the data set that a workload is to take; None where the user named none.

    The default of the option stands for that, where the workload has no default of its own.
    """
    has_own = workload.takes_dataset and workload.dataset is not None
    return config.dataset if has_own or config.dataset != DEFAULT_DATASET else None


def load_data(
    source: DatasetSource, config: TrainConfig, devices: list[jax.Device], reporter: Reporter
) -> Dataset | StreamedDataset:
    """Loads a data set, or opens it to be streamed, as the configuration says; see `lrtrain.data.load_dataset`."""
    kept = config.data_on_device
    if kept == "always" or (kept == "auto" and fits(source.train_bytes(), devices)):
        reporter.phase(f"loading {source.name}")
        data: Dataset | StreamedDataset = held_out(source.load(), config)
    elif config.holdout:
        raise UsageError(
            f"holdout={config.holdout} is refused: the training examples of {source.name} are streamed from the disk, "
            "and only those in memory are held out; --data-on-device always loads them",
            key="holdout",
        )
    else:
        reporter.phase(f"opening {source.name}, to be streamed")
        data = source.stream(config.train_size, config.seed)
    config.check_data(len(data.train))
    return data


def held_out(data: Dataset, config: TrainConfig) -> Dataset:
    """Returns data without the training examples that a configuration holds out, or leaves out.

    Without ``holdout``, its own validation examples stay, if it has any; with 0, it has none.
    """
    from lrtrain.data.source import hold_out, subset

    if config.holdout is not None:
        data, validation = hold_out(data, config.holdout, config.seed)
        data = dataclasses.replace(data, validation=validation)
    return data if config.train_size is None else subset(data, config.train_size, config.seed)


@dataclass(frozen=True)
class Found:
    """The facts about the data and the model that a run stores besides its options.

    ``program`` is None for the default model, which the version of lrtrain determines; ``shapes`` are those of the
    examples, None where they cannot be noted.
    """

    steps_per_epoch: int
    data: Mapping[str, Any]
    program: str | None
    measured_on: MeasuredOn = "test"
    shapes: Mapping[str, Any] | None = None

    def facts(self) -> dict[str, Any]:
        """Returns what must be the same in all processes of a run, by name."""
        facts = {f"{name} of the data": value for name, value in self.data.items()}
        return {**facts, "program of the model": self.program}


@dataclass(frozen=True, eq=False)
class Task:
    """What is trained: the data, the network and the rules of the workload, before anything is on the devices.

    ``measured`` are the names of the loss and of the metrics.
    """

    data: Dataset | StreamedDataset
    network: Network
    workload: Workload
    found: Found
    measured: tuple[str, ...]


def task_of(chosen: Chosen, data: Dataset | StreamedDataset, config: TrainConfig) -> Task:
    """Returns what is trained; raises ModelError when the network, the data and the loss do not fit together."""
    from lrtrain.runs.conditions import program_of
    from lrtrain.training.shapes import shapes_of

    workload = chosen.workload.smoothed(config.label_smoothing) if config.label_smoothing else chosen.workload
    named = chosen.model.network(data.num_classes) if chosen.model else None
    network, measured = check_fit(workload, data, named)
    is_default = chosen.spec == DEFAULT_WORKLOAD and named is None
    program = None if is_default else program_of(network, workload, data.test)
    measured_on: MeasuredOn = "test" if data.validation is None else "validation"
    steps_per_epoch = config.steps_per_epoch(len(data.train))
    found = Found(steps_per_epoch, data.identity(), program, measured_on, shapes_of(data))
    return Task(data, network, workload, found, measured)


@dataclass(frozen=True, eq=False)
class Loaded:
    """Data and network on the devices: ``sizes`` are the numbers of training and test examples.

    ``stream`` gives the training examples if the devices do not hold them. The epochs are measured on the
    ``validation`` examples; where there are none, on those of the ``test`` set.
    """

    engine: Engine
    devices: list[jax.Device]
    stream: Stream | None
    sizes: tuple[int, int]
    test: Split
    validation: Split | None
    guess: float | None
    """The mean test loss of the best answer that is the same for all examples; None where it is not known."""

    @property
    def measured(self) -> Split:
        """The examples that the epochs are measured on."""
        return self.test if self.validation is None else self.validation


def loaded_on(devices: list[jax.Device], task: Task, config: TrainConfig) -> Loaded:
    """Puts the data on the devices, ready to train the network."""
    from lrtrain.data.types import Split
    from lrtrain.engine.engine import Engine

    data = task.data
    train, stream = (data.train, None) if isinstance(data.train, Split) else (None, data.train)
    engine = Engine(
        task.network,
        optimizer_of(config),
        train,
        data.test if data.validation is None else data.validation,
        workload=task.workload,
        devices=devices,
        **engine_options(config),
    )
    guess = task.workload.guess(data.test.targets)
    return Loaded(engine, devices, stream, (len(data.train), len(data.test)), data.test, data.validation, guess)


def engine_options(config: TrainConfig) -> dict[str, Any]:
    """Returns the options of training that an engine, and a population, have under the same names."""
    names = ("batch_size", "loss_reduction", "accumulate", "ema", "micro_batch", "precision")
    return {**{name: getattr(config, name) for name in names}, "command_buffers": chooses_command_buffers()}


def optimizer_of(config: TrainConfig) -> optax.GradientTransformation:
    """Returns the optimizer of a configuration; the same object for equal ones."""
    from lrtrain.engine.optimizers import changed_gradients, optimizer

    return changed_gradients(optimizer(config.optimizer), config.clip_norm, config.weight_decay)
