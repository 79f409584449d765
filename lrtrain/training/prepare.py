"""From a configuration to the data, loaded or to be streamed, and to the engine that trains the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrtrain.engine.connection import Distributed, connect
from lrtrain.engine.devices import fits, keep_compiled, present_devices, select_devices
from lrtrain.engine.processes import ALONE, Facts, Processes
from lrtrain.runs.train_config import TrainConfig
from lrtrain.training.reporter import Reporter

if TYPE_CHECKING:
    import jax

    from lrtrain.data import Dataset, DatasetSource
    from lrtrain.data.stream import Stream, StreamedDataset
    from lrtrain.engine.engine import Engine


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


def load_data(
    source: DatasetSource, config: TrainConfig, devices: list[jax.Device], reporter: Reporter
) -> Dataset | StreamedDataset:
    """Loads a data set, or opens it to be streamed, as the configuration says; see `lrtrain.data.load_dataset`."""
    from lrtrain.data.stream import grain

    kept = config.data_on_device
    if kept == "always" or (kept == "auto" and fits(source.train_bytes(), devices)):
        reporter.phase(f"loading {config.dataset}")
        data: Dataset | StreamedDataset = source.load(config.train_size, config.seed)
    else:
        reporter.phase(f"opening {config.dataset}, to be streamed")
        grain()
        data = source.stream(config.train_size, config.seed)
    config.check_data(len(data.train))
    return data


@dataclass(frozen=True)
class Found:
    """The facts about the data and the model that a run stores besides its options.

    ``program`` is None for the default model, which the version of lrtrain determines.
    """

    steps_per_epoch: int
    data: Mapping[str, Any]
    program: str | None

    def facts(self) -> dict[str, Any]:
        """Returns what must be the same in all processes of a run, by name."""
        facts = {f"{name} of the data": value for name, value in self.data.items()}
        return {**facts, "program of the model": self.program}


def found_in(data: Dataset | StreamedDataset, config: TrainConfig) -> Found:
    """Returns the facts about the data and the model that a run stores."""
    from lrtrain.nn.model import load_model
    from lrtrain.runs.conditions import program_of

    model = None if config.model is None else load_model(config.model, data.num_classes)
    program = None if model is None else program_of(model, data.test.images.shape[1:])
    return Found(config.steps_per_epoch(len(data.train)), data.identity(), program)


@dataclass(frozen=True, eq=False)
class Loaded:
    """Data and network on the devices: ``sizes`` are the numbers of training and test examples.

    ``stream`` gives the training examples if the devices do not hold them.
    """

    engine: Engine
    devices: list[jax.Device]
    stream: Stream | None
    sizes: tuple[int, int]


def loaded_on(devices: list[jax.Device], data: Dataset | StreamedDataset, config: TrainConfig) -> Loaded:
    """Puts the data on the devices, ready to train the network that the configuration names."""
    from lrtrain.data import Split
    from lrtrain.engine.engine import Engine
    from lrtrain.engine.optimizers import optimizer
    from lrtrain.nn.model import check_model, load_model

    model = load_model(config.model, data.num_classes)
    train, stream = (data.train, None) if isinstance(data.train, Split) else (None, data.train)
    if config.model is not None:
        check_model(model, data.test.images.shape[1:], data.num_classes)
    engine = Engine(
        model,
        optimizer(config.optimizer),
        train,
        data.test,
        batch_size=config.batch_size,
        loss_reduction=config.loss_reduction,
        devices=devices,
        micro_batch=config.micro_batch,
    )
    return Loaded(engine, devices, stream, (len(data.train), len(data.test)))
