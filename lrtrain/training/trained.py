"""What a run has trained: the network with its arrays, to predict and to evaluate."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrain.data.examined import with_channels
from lrtrain.data.types import Split, leaves_of, map_leaves, shape_of
from lrtrain.errors import UsageError
from lrtrain.files import is_path
from lrtrain.option_fields import check_number
from lrtrain.plugins.context import EpochInfo
from lrtrain.runs.run_config import RunConfig
from lrtrain.runs.train_config import path_or_name
from lrtrain.training.configure import check_data_dir, check_takes
from lrtrain.training.prepare import find_data, held_out, optimizer_of
from lrtrain.workloads.check import check_fit
from lrtrain.workloads.loading import Chosen
from lrtrain.workloads.workload import Workload

if TYPE_CHECKING:
    import jax
    from numpy.typing import NDArray

    from lrtrain.data import Dataset
    from lrtrain.nn.network import Network

_BATCH = 256
_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Trained:
    """What a run has trained, as one of its checkpoints holds it.

    Args:
      run_dir: the directory of the run.
      step: the updates that had been done.
      epoch: what the run logged after that step; None for a checkpoint amid an epoch.
      workload: what was trained: its loss, its metrics, what it does to inputs.
      params: the parameters that are evaluated, arrays of NumPy in nested dictionaries; with ``ema``, their average.
      state: the other arrays of the network, such as the running averages of batch normalisation; () for none.
    """

    run_dir: Path
    step: int
    epoch: EpochInfo | None
    workload: Workload
    params: Any = field(repr=False)
    state: Any = field(repr=False)
    _network: Network = field(repr=False)
    _chosen: Chosen = field(repr=False)
    _config: RunConfig = field(repr=False)
    _like: Split = field(repr=False)

    @property
    def model(self) -> Any:
        """The Flax module: of Linen as the user made it, of nnx with its arrays, as `module` returns it."""
        from lrtrain.nn.network import Linen

        return self._network.module if isinstance(self._network, Linen) else self.module()

    @property
    def variables(self) -> dict[str, Any]:
        """The arrays: of Linen, what ``model.apply`` takes; of nnx, the ``params`` and the other ``state`` by names."""
        from lrtrain.nn.network import Linen

        state = self.state if isinstance(self._network, Linen) else {"state": self.state}
        return {"params": self.params, **dict(state)}

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the arrays that its inputs are made of; none where they are one array."""
        return tuple(self._like.inputs) if isinstance(self._like.inputs, dict) else ()

    def module(self) -> Any:
        """Returns a new module with its arrays, to be called: of nnx, one that evaluates; of Linen, a bound one."""
        return self._network.with_arrays(self.params, self.state)

    def predict(self, inputs: Any, *, batch_size: int = _BATCH) -> Any:
        """Returns the network's outputs, arrays of NumPy, for raw inputs as the workload's data has them.

        Raises UsageError when the inputs are not of the shape and type that the run was trained on.
        """
        import jax

        check_number("batch_size", batch_size, least=1)
        inputs = self._checked(inputs)
        total = len(leaves_of(inputs)[0])
        parts = [
            self._outputs(inputs, slice(first, min(first + batch_size, total)), min(batch_size, total))
            for first in range(0, total, batch_size)
        ]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    def _outputs(self, inputs: Any, part: slice, size: int) -> Any:
        """Returns the outputs of a part of the inputs, filled up to a size: one compilation serves all parts."""
        count = part.stop - part.start

        def whole(leaf: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate([leaf[part], leaf[: size - count]])

        outputs = self._apply(self.params, self.state, map_leaves(whole, inputs))
        return map_leaves(lambda leaf: np.asarray(leaf)[:count], outputs)

    def evaluate(
        self, examples: str | Split | tuple[Any, Any] = "test", *, dataset: Any = None, data_dir: Any = None
    ) -> dict[str, float]:
        """Returns the mean loss and the metrics of the workload, by name.

        Args:
          examples: ``"test"``, ``"validation"`` or ``"train"`` of the run's own data; or inputs and targets.
          dataset: another data set: a path, or a name where the workload takes one.
          data_dir: where it is prepared; None for where the run found its data.

        Raises:
          UsageError: there are no such examples, or they do not fit the network.
          DataError: the data is not there.
        """
        if isinstance(examples, str):
            split = self._split(examples, path_or_name(dataset), data_dir)
        else:
            split = examples if isinstance(examples, Split) else Split(*examples)
            split = Split(*map_leaves(np.asarray, (split.inputs, split.targets)))
            self._check_fit(split)
        return self._measured(split)

    @functools.cached_property
    def _apply(self) -> jax.stages.Wrapped:
        import jax

        def outputs(params: Any, state: Any, raw: Any) -> Any:
            return self._network.apply(params, state, self.workload.inputs(raw))[0]

        return jax.jit(outputs)

    def _checked(self, inputs: Any) -> Any:
        """Returns inputs with the types that the run was trained on."""
        import jax

        inputs, wanted = map_leaves(np.asarray, inputs), self._like.inputs
        if isinstance(wanted, np.ndarray) and wanted.shape[3:] == (1,):
            inputs = map_leaves(with_channels, inputs)
        said = f"the inputs are {shape_of(inputs, 'N') if _has_axes(inputs) else 'numbers without an axis of examples'}"
        if str(jax.tree.structure(inputs)) != str(jax.tree.structure(wanted)) or not _has_axes(inputs):
            raise UsageError(f"{said}, and the network takes {shape_of(wanted, 'N')}")
        pairs = list(zip(leaves_of(inputs), leaves_of(wanted), strict=True))
        if len({len(leaf) for leaf, _ in pairs}) > 1 or not len(pairs[0][0]):
            raise UsageError(f"{said}: expected at least one example, and as many in each array")
        if not all(_is_like(leaf, other) for leaf, other in pairs):
            raise UsageError(f"{said}, and the network takes {shape_of(wanted, 'N')}")
        return jax.tree.map(lambda leaf, other: leaf.astype(other.dtype, copy=False), inputs, wanted)

    def _split(self, name: str, dataset: str | None, data_dir: Any) -> Split:
        if name not in _SPLITS:
            raise UsageError(f"the examples '{name}' are refused: expected one of {', '.join(_SPLITS)}, or a Split")
        data = data_of(self._chosen, self._config, dataset, data_dir)
        split = {"train": data.train, "validation": data.validation, "test": data.test}[name]
        if split is None and dataset is not None:
            raise UsageError(f"'{data.name}' has no {name} examples: give another split")
        if split is None:
            raise UsageError(f"the run has no {name} examples: it was trained without --holdout")
        if dataset is not None:
            self._check_fit(split, data.name)
        return split

    def _check_fit(self, split: Split, name: str = "") -> None:
        split = Split(self._checked(split.inputs), split.targets)
        self._check_targets(split.targets)
        classes = (self._config.data or {}).get("classes")
        data: Any = dataclasses.replace(_blank_dataset(split), name=name, num_classes=classes)
        check_fit(self.workload, data, self._network)

    def _check_targets(self, targets: Any) -> None:
        """Raises UsageError unless targets are of the shape and kind of those that the run was trained on."""
        import jax

        wanted, said = self._like.targets, "numbers without an axis of examples"
        if _has_axes(targets):
            said = shape_of(targets, "N")
            pairs = list(zip(leaves_of(targets), leaves_of(wanted), strict=False))
            same = str(jax.tree.structure(targets)) == str(jax.tree.structure(wanted))
            if same and all(_is_like(leaf, other) for leaf, other in pairs):
                return
        raise UsageError(f"the targets are {said}, and those of the run are {shape_of(wanted, 'N')}")

    def _measured(self, split: Split) -> dict[str, float]:
        import jax

        from lrtrain.engine.devices import chooses_command_buffers
        from lrtrain.engine.engine import Engine, TrainState

        config = self._config.train
        # As many devices as the run had: they add up in the same order.
        devices = jax.local_devices()[: self._config.device.count]
        network, rules = self._network, self.workload
        optimizer, size = optimizer_of(config), config.batch_size
        engine = Engine(
            network,
            optimizer,
            None,
            split,
            workload=rules,
            devices=devices,
            batch_size=size,
            command_buffers=chooses_command_buffers(),
        )
        state = engine.place(TrainState(self.params, (), jax.numpy.int32(self.step), self.state))
        means = engine.exact(engine.evaluate(state), len(split))
        return {name: float(means[name]) for name in sorted(means, key=lambda name: (name != "loss", name))}


def data_of(chosen: Chosen, config: RunConfig, dataset: str | None = None, data_dir: Any = None) -> Dataset:
    """Returns the data of a run, found where it was or in another directory; or another data set for its network."""
    train, data_dir = config.train, None if data_dir is None else Path(data_dir)
    check_data_dir(dataset or train.dataset, data_dir)
    if data_dir is not None:
        train = dataclasses.replace(train, data_dir=data_dir)
    if dataset is None:
        return held_out(find_data(chosen, train).load(), train)
    if not is_path(dataset):
        check_takes(chosen, dataset)
    return find_data(chosen, train, dataset).load()


def _is_like(leaf: NDArray[Any], other: NDArray[Any]) -> bool:
    return leaf.shape[1:] == other.shape[1:] and bool(np.can_cast(leaf.dtype, other.dtype, "same_kind"))


def _has_axes(tree: Any) -> bool:
    return all(getattr(leaf, "ndim", 0) for leaf in leaves_of(tree))


def _blank_dataset(split: Split) -> Dataset:
    from lrtrain.data import Dataset

    return Dataset("", "", split, split)
