"""Whether the data, the network and the rules of a workload fit together; shapes are computed, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from lrtrain.data.types import Dataset, Split, leaves_of, map_leaves
from lrtrain.errors import DataError, LrtrainError, ModelError, cause
from lrtrain.workloads.workload import Workload

if TYPE_CHECKING:
    from lrtrain.data.stream import StreamedDataset
    from lrtrain.nn.network import Network

T = TypeVar("T")
_FEW = 2


def check_fit(workload: Workload, data: Dataset | StreamedDataset, model: Any = None) -> Network:
    """Returns the network of a workload, or of the ``model`` in its place, after it is found to fit the data.

    Raises:
      DataError: examples have unequal numbers of inputs and targets, there are none, or a label is none of the classes.
      ModelError: the network cannot be made or fails on the data, or the loss is not one number an example.
    """
    train = data.train if isinstance(data.train, Split) else None
    splits = {"training": train, "validation": data.validation, "test": data.test}
    for name, split in splits.items():
        if split is not None:
            _check_lengths(name, split)
    network = _network(workload, data, model)
    outputs = _check_network(network, workload, data.test)
    _check_rules(workload, outputs, data.test, data.num_classes)
    if workload.has_classes:
        for name, split in splits.items():
            if split is not None:
                _check_labels(name, split.targets, outputs.shape[-1])
    return network


def shape_of(tree: Any, first: str = "batch") -> str:
    """Returns the types and shapes of a tree of arrays in words, such as ``uint8[batch, 28, 28, 1]``."""

    def text(leaf: Any) -> str:
        return f"{leaf.dtype}[{', '.join([first, *map(str, leaf.shape[1:])])}]"

    if len(leaves_of(tree)) == 1 and hasattr(tree, "dtype"):
        return text(tree)
    return str(map_leaves(text, tree)).replace("'", "")


def _check_lengths(name: str, split: Split) -> None:
    lengths = [len(leaf) if getattr(leaf, "ndim", 0) else 0 for leaf in leaves_of((split.inputs, split.targets))]
    if not lengths or not all(lengths):
        raise DataError(f"there are no {name} examples, or an array of theirs has no axis of examples")
    if len(set(lengths)) > 1:
        raise DataError(
            f"the arrays of the {name} examples have unequal lengths, {' and '.join(map(str, sorted(set(lengths))))}: "
            "the first axis of each is the example"
        )


def _check_labels(name: str, labels: Any, classes: int) -> None:
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"the {name} targets are of type {labels.dtype}: labels are whole numbers")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise DataError(
            f"the {name} labels are from {low} to {high}, and the network has {classes} outputs: expected labels from "
            f"0 to {classes - 1}"
        )


def _network(workload: Workload, data: Any, model: Any) -> Network:
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


def _called(title: str, function: Callable[[], T]) -> T:
    """Returns the result of a user's function; raises ModelError when it raises."""
    try:
        return function()
    except LrtrainError:
        raise
    except Exception as error:
        first_line = next(iter(str(error).splitlines()), "")
        raise ModelError(f"{title} fails: {type(error).__name__}: {first_line}") from error


def _check_network(network: Network, workload: Workload, split: Split) -> Any:
    """Returns the shapes of the outputs for two examples."""
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


def _check_rules(workload: Workload, outputs: Any, split: Split, classes: int | None) -> None:
    import jax

    title, targets = f"of the workload {type(workload).__name__}", _few(split.targets)
    if workload.has_classes:
        _check_logits(outputs, (*targets.shape, classes or getattr(outputs, "shape", (0,))[-1]))

    def measured(rule: Callable[[Any, Any], Any], name: str) -> Any:
        return _called(f"the {name} {title}", lambda: jax.eval_shape(rule, outputs, targets))

    for rule, name in ((workload.loss, "loss"), (workload.training_loss, "training_loss")):
        _check_each(f"the {name} {title}", measured(rule, name))
    metrics = measured(workload.metrics, "metrics")
    for name, found in metrics.items():
        _check_each(f"the metric {name} {title}", found)
    known = ["loss", *metrics]
    if workload.headline.name not in known:
        raise ModelError(f"the headline {title} is '{workload.headline.name}', and it measures {', '.join(known)}")


def _check_logits(outputs: Any, shape: tuple[int, ...]) -> None:
    import jax
    import jax.numpy as jnp

    if getattr(outputs, "shape", None) != shape or not jnp.issubdtype(outputs.dtype, jnp.floating):
        got = jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", outputs)
        raise ModelError(f"the model maps {_FEW} examples to {got}, not to logits float32{list(shape)}")


def _check_each(title: str, found: Any) -> None:
    if getattr(found, "shape", None) != (_FEW,):
        got = shape_of(found, "2") if hasattr(found, "dtype") and found.shape else str(getattr(found, "dtype", found))
        raise ModelError(f"{title} is {got} for {_FEW} examples: expected one number for each, float32[{_FEW}]")
