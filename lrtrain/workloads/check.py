"""Whether the data, the network and the rules of a workload fit together; of the network, only shapes are computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from lrtrain.data.source import DatasetSource, InMemory
from lrtrain.data.types import Dataset, Split, leaves_of, map_leaves, shape_of
from lrtrain.errors import DataError, LrtrainError, ModelError, UsageError, cause, nearest
from lrtrain.workloads.workload import DataContext, Workload

if TYPE_CHECKING:
    from lrtrain.data.stream import StreamedDataset
    from lrtrain.nn.network import Network

T = TypeVar("T")
_FEW = 2


def source_of(workload: Workload, context: DataContext) -> DatasetSource:
    """Returns where the examples of a workload come from; those in memory have been checked.

    Raises:
      DataError: the method that loads them fails, or what it returns are no examples.
    """
    title = f"the data of the workload {type(workload).__name__}"
    source = _called(title, lambda: workload.source(context), DataError)
    if isinstance(source, DatasetSource):
        return source
    check_examples(title, source)
    return InMemory(source)


def check_fit(
    workload: Workload, data: Dataset | StreamedDataset, model: Any = None
) -> tuple[Network, tuple[str, ...]]:
    """Returns the network of a workload, or of the ``model`` in its place, after it is found to fit the data.

    The names of what is measured follow, ``loss`` the first.

    Raises:
      DataError: a label is none of the classes.
      ModelError: the network cannot be made or fails on the data, or the loss is not one number an example.
    """
    if workload.has_classes:
        _check_label_types(data)
    network = made_network(workload, data, model)
    check_augment(workload, data.test)
    outputs = check_network(network, workload, data.test)
    measured = check_rules(workload, outputs, data.test, data.num_classes)
    if workload.has_classes:
        check_labels(data, outputs.shape[-1])
    return network, measured


def splits_of(data: Dataset | StreamedDataset) -> dict[str, Split]:
    """Returns the splits that are in memory, by their names in sentences."""
    splits = {"training": data.train, "validation": data.validation, "test": data.test}
    return {name: split for name, split in splits.items() if isinstance(split, Split)}


def check_examples(title: str, data: Any) -> None:
    """Raises DataError unless these are a training and a test set of arrays that are equally long."""
    if not isinstance(data, Dataset):
        raise DataError(f"{title} is {type(data).__name__}: expected lrtrain.Dataset(name, version, train, test)")
    for name, split in {"train": data.train, "test": data.test, "validation": data.validation}.items():
        if not isinstance(split, Split) and (split is not None or name != "validation"):
            raise DataError(
                f"{title} has {type(split).__name__} as its {name}: expected lrtrain.Split(inputs, targets)"
            )
    for name, split in splits_of(data).items():
        for leaf in leaves_of((split.inputs, split.targets)):
            _check_type(name, leaf)
        _check_lengths(name, split)


def _check_type(name: str, leaf: Any) -> None:
    kind = getattr(leaf, "dtype", None)
    if kind is None:
        raise DataError(f"the {name} examples have {type(leaf).__name__} among them: expected arrays of NumPy")
    # Booleans, whole numbers and floats, those of JAX's ml_dtypes among them.
    if kind.kind not in "biufV" or kind.names is not None:
        raise DataError(f"the {name} examples have an array of type {kind}: expected numbers")


def _check_lengths(name: str, split: Split) -> None:
    lengths = [len(leaf) if getattr(leaf, "ndim", 0) else 0 for leaf in leaves_of((split.inputs, split.targets))]
    if not lengths or not all(lengths):
        raise DataError(f"there are no {name} examples, or an array of theirs has no axis of examples")
    if len(set(lengths)) > 1:
        raise DataError(
            f"the arrays of the {name} examples have unequal lengths, {' and '.join(map(str, sorted(set(lengths))))}: "
            "the first axis of each is the example"
        )


def _check_label_types(data: Dataset | StreamedDataset) -> None:
    for name, split in splits_of(data).items():
        kind = getattr(split.targets, "dtype", None)
        if kind is None or kind.kind not in "iu":
            said = f"of type {kind}" if kind is not None else "no single array"
            raise DataError(f"the {name} targets are {said}: labels are whole numbers, and a regression takes others")


def check_labels(data: Dataset | StreamedDataset, classes: int) -> None:
    """Raises DataError unless all targets are whole numbers from 0 to one less than ``classes``."""
    _check_label_types(data)
    for name, split in splits_of(data).items():
        _check_labels(name, split.targets, classes)


def _check_labels(name: str, labels: Any, classes: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise DataError(
            f"the {name} labels are from {low} to {high}, and the network has {classes} outputs: expected labels from "
            f"0 to {classes - 1}"
        )


def made_network(workload: Workload, data: Any, model: Any = None) -> Network:
    """Returns the network of a workload, or of the ``model`` in its place; raises ModelError if that fails."""
    from lrtrain.nn.network import network_of

    title = "the model" if model is not None else f"the network of the workload {type(workload).__name__}"
    made = model if model is not None else _called(title, lambda: workload.network(data))
    try:
        network = network_of(made)
    except LrtrainError:
        raise
    except Exception as error:
        raise ModelError(f"{title} cannot be used: {cause(error)}") from error
    try:
        # It is an argument of what is compiled.
        hash(network)
    except TypeError as error:
        raise ModelError(
            f"{title} cannot be used: a field of it, or of a module in it, is a list, a dictionary or an array, which "
            "cannot be hashed: give a tuple or numbers"
        ) from error
    return network


def _called(title: str, function: Callable[[], T], error: type[UsageError] = ModelError) -> T:
    """Returns the result of a user's function; raises the error with the cause in it when it raises."""
    try:
        return function()
    except LrtrainError:
        raise
    except Exception as raised:
        raise error(f"{title} fails: {cause(raised)}") from raised


def check_network(network: Network, workload: Workload, split: Split) -> Any:
    """Returns the shapes of the outputs for two examples.

    Raises:
      ModelError: the network fails, has no parameters, or draws random numbers when it is evaluated.
    """
    import jax

    from lrtrain.nn.network import NeedsKeyError

    raw = _few(split.inputs)
    title = f"model {network.name} on inputs {shape_of(split.inputs)}"

    def outputs(raw: Any) -> tuple[Any, Any]:
        inputs = workload.inputs(raw)
        variables = network.init(jax.random.PRNGKey(0), inputs)
        return variables[0], network.apply(*variables, inputs)[0]

    try:
        params, found = _called(title, lambda: jax.eval_shape(outputs, raw))
    except ModelError as error:
        if isinstance(error.__cause__, NeedsKeyError):
            raise ModelError(
                f"model {network.name} draws random numbers when it is evaluated: give its __call__ an argument train, "
                "and have it draw only where that is true"
            ) from error
        raise
    if not jax.tree.leaves(params):
        raise ModelError(f"model {network.name} has no parameters, so there is nothing to train")
    return found


def _few(tree: Any) -> Any:
    import jax

    types = map_leaves(lambda leaf: jax.dtypes.canonicalize_dtype(leaf.dtype), tree)
    return jax.tree.map(lambda leaf, kind: jax.ShapeDtypeStruct((_FEW, *leaf.shape[1:]), kind), tree, types)


def check_augment(workload: Workload, split: Split) -> None:
    """Raises ModelError unless `augment` keeps the shapes and types of the inputs of an example."""
    import jax

    raw, title = _few(split.inputs), f"augment of the workload {type(workload).__name__}"
    keys = jax.ShapeDtypeStruct((_FEW, 2), "uint32")
    found = _called(title, lambda: jax.eval_shape(jax.vmap(workload.augment), raw, keys))
    before, after = ([f"{leaf.dtype}{list(leaf.shape[1:])}" for leaf in jax.tree.leaves(tree)] for tree in (raw, found))
    if before != after:
        raise ModelError(f"{title} makes {', '.join(after)} of {', '.join(before)}: keep the shapes and types")


def check_rules(workload: Workload, outputs: Any, split: Split, classes: int | None) -> tuple[str, ...]:
    """Returns the names of loss and metrics.

    Raises ModelError unless each is one number for each example, and the headline is among them.
    """
    import jax

    title, targets = f"of the workload {type(workload).__name__}", _few(split.targets)
    if workload.has_classes:
        _check_logits(outputs, (*targets.shape, classes or getattr(outputs, "shape", (0,))[-1]))

    def measured(rule: Callable[[Any, Any], Any], name: str) -> Any:
        return _called(f"the {name} {title}", lambda: jax.eval_shape(rule, outputs, targets))

    for rule, name in ((workload.loss, "loss"), (workload.training_loss, "training_loss")):
        _check_each(f"the {name} {title}", measured(rule, name))
    metrics = measured(workload.metrics, "metrics")
    if not isinstance(metrics, Mapping):
        raise ModelError(f"the metrics {title} are {_text(metrics)}: expected {{name: float32[batch]}}")
    for name, found in metrics.items():
        _check_each(f"the metric {name} {title}", found)
    named, known = workload.headline.name, ("loss", *metrics)
    if named not in known:
        raise ModelError(
            f"the headline {title} is '{named}'{nearest(named, known)}, and it measures {', '.join(known)}"
        )
    return known


def _check_logits(outputs: Any, shape: tuple[int, ...]) -> None:
    import jax
    import jax.numpy as jnp

    if getattr(outputs, "shape", None) != shape or not jnp.issubdtype(outputs.dtype, jnp.floating):
        got = jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", outputs)
        raise ModelError(f"the model maps {_FEW} examples to {got}, not to logits float32{list(shape)}")


def _check_each(title: str, found: Any) -> None:
    if getattr(found, "shape", None) != (_FEW,):
        raise ModelError(
            f"{title} is {_text(found)} for {_FEW} examples: expected one number for each, float32[{_FEW}]"
        )


def _text(found: Any) -> str:
    """Returns what a function returned for two examples, in words."""
    if not hasattr(found, "dtype"):
        return type(found).__name__
    return shape_of(found, str(found.shape[0])) if found.shape else f"one number, {found.dtype}[],"
