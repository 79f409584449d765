"""What a run has trained, read from a checkpoint: the network with its arrays, to predict and to evaluate."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrain.data.examined import with_channels
from lrtrain.data.types import Split, leaves_of, map_leaves, shape_of
from lrtrain.engine.devices import keep_compiled, present_devices
from lrtrain.errors import LrtrainError, RunDirError, UsageError
from lrtrain.files import is_path
from lrtrain.option_fields import check_number
from lrtrain.plugins.context import EpochInfo
from lrtrain.runs.conditions import other_code
from lrtrain.runs.directory import RunDir
from lrtrain.runs.reading import read_run
from lrtrain.runs.run_config import RunConfig, read_config
from lrtrain.runs.train_config import path_or_name
from lrtrain.training.checkpoints import difference
from lrtrain.training.configure import check_takes
from lrtrain.training.initial import arrays_of, checkpoint_of, pick_checkpoint
from lrtrain.training.prepare import Task, find_data, held_out, optimizer_of, task_of
from lrtrain.training.shapes import blank_data
from lrtrain.workloads.check import check_fit
from lrtrain.workloads.loading import Chosen, choose
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
        data = _data(self._chosen, self._config, dataset, data_dir)
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

        from lrtrain.engine.engine import Engine, TrainState

        config = self._config.train
        # As many devices as the run had: they add up in the same order.
        devices = jax.local_devices()[: self._config.device.count]
        network, rules = self._network, self.workload
        optimizer, size = optimizer_of(config), config.batch_size
        engine = Engine(network, optimizer, None, split, workload=rules, devices=devices, batch_size=size)
        state = engine.place(TrainState(self.params, (), jax.numpy.int32(self.step), self.state))
        means = engine.exact(engine.evaluate(state), len(split))
        return {name: float(means[name]) for name in sorted(means, key=lambda name: (name != "loss", name))}


def load(  # noqa: PLR0913  # all but two for a run whose code is not as it was
    run_dir: str | Path,
    best: bool = True,
    *,
    step: int | None = None,
    workload: Workload | None = None,
    model: Any = None,
    accept_code_change: bool = False,
) -> Trained:
    """Loads what a run has trained; neither its training data nor its optimizer is loaded.

    Args:
      run_dir: the directory of the run.
      best: whether to take the checkpoint that is best by the workload's headline; False for the newest one.
      step: the step of another checkpoint.
      workload: the workload again, where it was made in Python.
      model: the model again, where it was made in Python.
      accept_code_change: whether to go on when the code of the model has changed.

    Returns:
      The network with its arrays.

    Raises:
      RunDirError: there is no run or no such checkpoint, or it does not fit the network as its code is now.
      UsageError: the workload or the model was made in Python, and is not given; or is no longer there.

    Example:
      ```python
      import numpy as np

      import lrtrain

      trained = lrtrain.load("runs/two-cycles")
      print(trained.step, trained.evaluate())
      logits = trained.predict(np.zeros((3, 28, 28, 1), np.uint8))
      ```
    """
    path = Path(run_dir).expanduser().absolute()
    config = read_config(RunDir(path), "load")
    chosen = choose(workload or config.train.workload, model if model is not None else config.train.model)
    run = read_run(path)
    chosen_step = pick_checkpoint(path, best=best, step=step)
    keep_compiled()
    present_devices(config.train.devices, config.train.batch_size)
    task, example = _task(chosen, config)
    now = {"code": {}, "program": task.found.program, "versions": _versions(config)}
    if (changed := other_code(config.to_json(), now)) and not accept_code_change:
        raise RunDirError(f"{changed}: put it back, or load it all the same by --accept-code-change")
    params, state = arrays_of(checkpoint_of(path, chosen_step))
    _check_arrays(f"the checkpoint of step {chosen_step} in {path}", params, state, task, example)
    epoch = next((each for each in run.epochs if each.step == chosen_step), None)
    return Trained(path, chosen_step, epoch, task.workload, params, state, task.network, chosen, config, example)


def _check_arrays(title: str, params: Any, state: Any, task: Task, example: Split) -> None:
    """Raises RunDirError, naming the first array, when parameters or state are not like those of a network."""
    import jax

    def init(raw: Any) -> tuple[Any, Any]:
        return task.network.init(jax.random.PRNGKey(0), task.workload.inputs(raw))

    shapes = map_leaves(
        lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), jax.dtypes.canonicalize_dtype(leaf.dtype)),
        example.inputs,
    )
    fresh = jax.eval_shape(init, shapes)
    named = [dict(zip(("params", "state"), each, strict=True)) for each in ((params, state), fresh)]
    if different := difference(*named):
        raise RunDirError(f"{title} does not fit the network: {different}")


def _task(chosen: Chosen, config: RunConfig) -> tuple[Task, Split]:
    """Returns what was trained, and an example: from the noted shapes, or from the data where these do not do."""
    blank = blank_data(config.shapes, config.data) if config.shapes and config.data else None
    if blank is not None:
        try:
            task = task_of(chosen, blank, config.train)
        except LrtrainError:
            # A network may depend on more of the data.
            pass
        else:
            if task.found.program == config.program:
                return task, blank.test
    data = _data(chosen, config)
    return task_of(chosen, data, config.train), data.test


def _data(chosen: Chosen, config: RunConfig, dataset: str | None = None, data_dir: Any = None) -> Dataset:
    train = config.train
    if data_dir is not None:
        train = dataclasses.replace(train, data_dir=Path(data_dir))
    if dataset is None:
        return held_out(find_data(chosen, train).load(), train)
    if not is_path(dataset):
        check_takes(chosen, dataset)
    return find_data(chosen, train, dataset).load()


def _versions(config: RunConfig) -> dict[str, str]:
    from lrtrain.runs.conditions import model_version, versions

    return {**versions(), **model_version(config.train.model)}


def _is_like(leaf: NDArray[Any], other: NDArray[Any]) -> bool:
    return leaf.shape[1:] == other.shape[1:] and bool(np.can_cast(leaf.dtype, other.dtype, "same_kind"))


def _has_axes(tree: Any) -> bool:
    return all(getattr(leaf, "ndim", 0) for leaf in leaves_of(tree))


def _blank_dataset(split: Split) -> Dataset:
    from lrtrain.data import Dataset

    return Dataset("", "", split, split)
