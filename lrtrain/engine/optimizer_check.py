"""A few updates of small parameters by an optimizer, to see whether lrtrain can use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lrtrain.errors import LrtrainError, UsageError, cause

if TYPE_CHECKING:
    import optax

# The learning rate of each update: some rules differ only between large and small ones.
_RATES = (1.0, 1e3, 1e-3, 30.0)
_TOLERANCE = 1e-3


def check_linear(
    title: str, unit: optax.GradientTransformation, make: Callable[[Any], optax.GradientTransformation]
) -> None:
    """Raises UsageError unless the update of ``make(rate)`` is -rate times that of ``unit``, also if the rate changes.

    The engine multiplies the update by the learning rate of each step, so nothing else may depend on it.
    """
    import jax.numpy as jnp
    import numpy as np

    expected = _updates(title, unit)
    try:
        found = [(_updates(title, make(lambda step: jnp.asarray(_RATES)[step])), np.asarray(_RATES))]
    except LrtrainError:
        # It takes no schedule, and perhaps a number.
        found = [(_updates(title, make(rate)), np.full(len(_RATES), rate)) for rate in _RATES[1:3]]
    for updates, rates in found:
        for ours, theirs in zip(expected, updates, strict=True):
            largest = np.abs(ours).max(initial=1e-30)
            if not np.allclose(theirs.T / rates / largest, -ours.T / largest, rtol=0, atol=_TOLERANCE):
                raise UsageError(
                    f"{title} is refused: its update is not proportional to the learning rate, and lrtrain multiplies "
                    "each update by the schedule's learning rate, so what it derives from the rate could not be scaled"
                )


def check_updates(title: str, transformation: object) -> None:
    """Raises UsageError unless the function of a user has returned an optimizer that lrtrain can use."""
    import numpy as np
    import optax

    if not isinstance(transformation, optax.GradientTransformation):
        raise UsageError(
            f"{title} returns {type(transformation).__name__}, and not an optax.GradientTransformation, such as "
            "optax.scale_by_adam()"
        )
    updates = _updates(title, transformation)
    along = sum(np.vdot(update[0], gradient[0]) for update, gradient in zip(updates, _gradients(), strict=True))
    if along < 0:
        raise UsageError(
            f"{title} is refused: its update points against the gradient, and lrtrain subtracts it, multiplied by the "
            "learning rate: leave the learning rate out, as in optax.scale_by_adam()"
        )


def _gradients() -> list[Any]:
    """Returns the gradients of a vector and a matrix, each with a leading axis of steps."""
    import numpy as np

    vector = np.asarray([0.7, -0.4, 0.25], np.float32)
    matrix = np.linspace(-0.9, 1.3, 12, dtype=np.float32).reshape(4, 3)
    sizes = np.linspace(1, 0.3, len(_RATES), dtype=np.float32)
    return [np.multiply.outer(sizes, each) for each in (vector, matrix)]


def _updates(title: str, transformation: optax.GradientTransformation) -> list[Any]:
    """Returns the updates of a vector and a matrix, each with a leading axis of steps; half the squares are the loss.

    Raises UsageError when an update fails, has another shape than its parameter, or is not finite.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    bias, kernel = _gradients()
    # The names are those that Flax gives.
    params = {"DENSE": {"bias": bias, "kernel": kernel}}
    whole = optax.with_extra_args_support(transformation)

    def step(state: Any, params: Any) -> Any:
        loss = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)) / 2
        updates, state = whole.update(params, state, params, value=loss, grad=params)
        return state, updates

    try:
        first = jax.tree.map(lambda leaf: leaf[0], params)
        updates = jax.jit(lambda: jax.lax.scan(step, whole.init(first), params)[1])()
        found = [np.asarray(leaf, np.float32) for leaf in jax.tree.leaves(updates)]
    except Exception as error:
        raise UsageError(
            f"{title} is refused: its update fails with gradients, parameters, value= and grad=: {cause(error)}"
        ) from error
    if [each.shape for each in found] != [bias.shape, kernel.shape] or not all(
        np.isfinite(each).all() for each in found
    ):
        raise UsageError(f"{title} is refused: the updates of a small network are not finite, or have other shapes")
    return found
