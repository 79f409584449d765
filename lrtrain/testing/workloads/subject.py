"""The workload that is checked, with the results that its checks share."""

from __future__ import annotations

import functools
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from lrtrain.plugins.discovery import WORKLOADS
from lrtrain.plugins.spec import Spec, file_and_class, normal_name
from lrtrain.testing.subject import Provided
from lrtrain.training.configure import configured
from lrtrain.workloads.loading import Chosen, load_workload, load_workload_class
from lrtrain.workloads.workload import Workload

if TYPE_CHECKING:
    import jax
    from numpy.typing import NDArray

    from lrtrain.data.types import Dataset, Split
    from lrtrain.engine.engine import Engine
    from lrtrain.nn.network import Network
    from lrtrain.runs.train_config import TrainConfig

EXAMPLES = 8
"""The examples that rules are looked at with."""
BATCHES = 3
"""The batches of the small training set."""
STEPS, SAVED = 15, 11
"""The steps of a small training, and those before which its state is saved."""


class Trained(NamedTuple):
    """A small training: its state after `SAVED` steps and after all `STEPS`, on the host, and all losses."""

    saved: Any
    final: Any
    losses: NDArray[np.float32]


class WorkloadSubject(Provided):
    """A workload under check.

    Args:
      spec: the workload with its options, as ``--workload`` takes it.
    """

    group: ClassVar[str] = WORKLOADS
    inside: ClassVar[str] = "a method"
    needs: ClassVar[tuple[str, ...]] = ("lrtrain.workloads.kinds", "lrtrain.workloads.images")

    def __init__(self, spec: str) -> None:
        self.spec = Spec.of(spec)
        name = self.spec.name
        super().__init__(name if file_and_class(name) else normal_name(name))

    @cached_property
    def plugin(self) -> type[Workload]:
        """Its class."""
        return load_workload_class(self.entry)

    @cached_property
    def chosen(self) -> Chosen:
        """The workload with its options."""
        return load_workload(self.spec)

    @property
    def workload(self) -> Workload:
        """The workload itself."""
        return self.chosen.workload

    @cached_property
    def config(self) -> TrainConfig:
        """The options of training that suit it."""
        return configured({"workload": self.chosen.spec})[0]

    def load(self) -> Dataset:
        """Loads the data, as a run does."""
        from lrtrain.training.prepare import find_data

        return find_data(self.chosen, self.config).load()

    @cached_property
    def data(self) -> Dataset:
        """The data, loaded once."""
        return self.load()

    @cached_property
    def devices(self) -> list[jax.Device]:
        """Two devices of one kind, or the only one."""
        from lrtrain.engine.devices import keep_compiled, present_devices

        keep_compiled()
        present_devices(2, None)
        import jax

        return list(jax.local_devices()[:2])

    @cached_property
    def network(self) -> Network:
        """The network, made once."""
        from lrtrain.workloads.check import made_network

        _ = self.devices
        return made_network(self.workload, self.data)

    @cached_property
    def examples(self) -> Split:
        """A few test examples."""
        test = self.data.test
        return test.part(np.arange(min(EXAMPLES, len(test))))

    @cached_property
    def batch_size(self) -> int:
        """The batch size that suits it, or the whole of a training set that is smaller."""
        return min(self.config.batch_size, len(self.data.train))

    def measures(self, part: Split) -> dict[str, NDArray[np.float64]]:
        """Returns the loss and the metrics of each example, evaluated with the first parameters."""
        import jax

        workload, network = self.workload, self.network

        def measured(raw: Any, targets: Any) -> dict[str, jax.Array]:
            inputs = workload.inputs(raw)
            outputs = network.apply(*network.init(jax.random.PRNGKey(0), inputs), inputs)[0]
            return {"loss": workload.loss(outputs, targets), **workload.metrics(outputs, targets)}

        found = jax.device_get(jax.jit(measured)(part.inputs, part.targets))
        return {name: np.asarray(values, np.float64) for name, values in found.items()}

    def engine(self, devices: int = 1, *, micro_batch: int | None = None, again: bool = False) -> Engine:
        """Returns an engine for a small training set; one that is made ``again`` compiles it all once more."""
        import optax

        from lrtrain.engine.engine import Engine
        from lrtrain.training.prepare import optimizer_of

        optimizer: Any = optimizer_of(self.config)
        if again:
            # Equal to no other, so nothing that was compiled for another engine is taken.
            update = functools.partial(optax.with_extra_args_support(optimizer).update)
            optimizer = optax.GradientTransformationExtraArgs(optimizer.init, update)
        return Engine(
            self.network,
            optimizer,
            self.data.train.part(np.arange(min(BATCHES * self.batch_size, len(self.data.train)))),
            self.examples,
            workload=self.workload,
            devices=self.devices[:devices],
            batch_size=self.batch_size,
            loss_reduction=self.config.loss_reduction,
            micro_batch=micro_batch,
        )

    @cached_property
    def trained(self) -> Trained:
        """A small training with the defaults, on one device."""
        import jax

        engine = self.engine()
        state, first = self.steps(engine, engine.init(0), 0, SAVED)
        saved = jax.device_get(state)
        state, last = self.steps(engine, state, SAVED, STEPS)
        return Trained(saved, jax.device_get(state), np.concatenate([first, last]))

    def steps(self, engine: Engine, state: Any, first: int, last: int) -> tuple[Any, NDArray[np.float32]]:
        """Trains with the default learning rate; returns the state after and the losses, float32[last - first].

        Step after step takes the next batch of the small training set, and begins again at its end.
        """
        size = self.batch_size
        count = min(BATCHES * size, len(self.data.train)) // size
        batches = np.arange(first, last)[:, None] % count
        examples = batches * size + np.arange(size)
        rates = np.full(last - first, self.workload.defaults.learning_rate, np.float32)
        state, losses = engine.run_steps(state, examples, np.ones(examples.shape), rates)
        return state, np.asarray(losses)
