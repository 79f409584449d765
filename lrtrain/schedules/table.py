"""From a spec to a schedule to the table of learning rates that a run applies."""

from __future__ import annotations

import dataclasses
import hashlib
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrain.errors import LrtrainError, ScheduleError, cause
from lrtrain.plugins.context import Schedule, ScheduleContext
from lrtrain.plugins.formula import Piece, ask_formula
from lrtrain.plugins.isolation import plugin_called
from lrtrain.plugins.loading import ActivePlugins, activate
from lrtrain.plugins.spec import Spec, short
from lrtrain.signals import Terminated

if TYPE_CHECKING:
    import jax
    from numpy.typing import NDArray

MAX_STEPS = 2**31 - 1
# Steps that are evaluated in one call: enough to be fast, and 8 MiB of float64.
_PART = 2**20


@dataclass(frozen=True, eq=False)
class ScheduleTable:
    """What a run applies: the learning rate of every step, float32, and the plugin with all options resolved."""

    spec: Spec
    values: NDArray[np.float32]


def schedule(spec: Spec | str | Mapping[str, Any], *, total_steps: int, steps_per_epoch: int | None = None) -> Schedule:
    """Returns a plugin's schedule as an optax schedule, for your own training loop.

    Args:
      spec: the plugin and its options, as text, table or `Spec`.
      total_steps: optimizer updates in the run; shares such as ``25%`` are of this.
      steps_per_epoch: optimizer updates in an epoch; needed only for durations in epochs (``3ep``).

    Returns:
      A callable from the step to the learning rate. It takes any integer count (Python, NumPy, JAX; signed or not;
      a scalar or an array of any shape), works under ``jit``, ``vmap`` and ``grad``, and gives float32. A plugin's
      schedule in plain Python, which JAX cannot trace, becomes a look-up in the table of its values; its last value
      then holds after the end of the run.

    Raises:
      SpecError: the spec cannot be read.
      PluginError: the plugin is unknown or broken.
      OptionError: an option is refused.
      ScheduleError: the schedule cannot be built for this length, or has a value that is not finite or is negative.

    Example:
      >>> import lrtrain, optax
      >>> rate = lrtrain.schedule("constant(value=0.1)", total_steps=100)
      >>> optimizer = optax.sgd(rate)
      >>> float(rate(7))
      0.10000000149011612
    """
    active = activate([spec])
    context = make_context(total_steps, steps_per_epoch)
    name = active.schedule_plugin().entry.name
    built = raw_schedule(active, context)
    values = tabulate(built, context.total_steps, name)
    return _guarded(built if _is_traceable(built) else _look_up(values))


def make_context(total_steps: int, steps_per_epoch: int | None = None) -> ScheduleContext:
    """Returns the context of a run of ``total_steps``; without ``steps_per_epoch`` durations in epochs are refused."""
    if not _is_count(total_steps):
        raise ScheduleError(f"total_steps={total_steps!r} is refused: a run has 1 to {MAX_STEPS} steps")
    if steps_per_epoch is not None and not _is_count(steps_per_epoch):
        raise ScheduleError(f"steps_per_epoch={steps_per_epoch!r} is refused: an epoch has 1 to {MAX_STEPS} steps")
    # NumPy's integers overflow where Python's do not.
    total, per_epoch = int(total_steps), int(steps_per_epoch or total_steps)
    known = steps_per_epoch is not None
    return ScheduleContext(total, per_epoch, -(-total // per_epoch), _build_inner, known, _formula_inner)


def build_table(active: ActivePlugins, context: ScheduleContext) -> ScheduleTable:
    """Builds the schedule of the active plugins and evaluates it at every step, as `tabulate` does."""
    plugin = active.schedule_plugin()
    return ScheduleTable(plugin.spec(), tabulate(raw_schedule(active, context), context.total_steps, plugin.entry.name))


def fingerprint(values: NDArray[np.float32]) -> str:
    """Returns the SHA-256 of the values as little-endian float32; runs with one fingerprint have one schedule."""
    return hashlib.sha256(values.astype("<f4").tobytes()).hexdigest()


def raw_schedule(active: ActivePlugins, context: ScheduleContext) -> Schedule:
    """Calls the hook and returns what the plugin built, after a check that it is callable."""
    name = active.schedule_plugin().entry.name
    context = dataclasses.replace(context, _factor=active.factor)
    try:
        with plugin_called():
            answers = active.manager.hook.build_schedule(context=context)
    except LrtrainError as error:
        said = str(error)
        raise type(error)(said if f"'{name}'" in said else f"plugin '{name}': {said}") from error
    except Terminated:
        raise
    except (Exception, SystemExit) as error:
        raise ScheduleError(f"plugin '{name}' cannot build its schedule: {cause(error)}") from error
    built: Schedule | None = answers[0] if answers else None
    if not callable(built):
        raise ScheduleError(
            f"plugin '{name}' built {short(repr(built))}: a schedule is a callable from the step to the learning rate"
        )
    return built


def formula(active: ActivePlugins, context: ScheduleContext) -> tuple[Piece, ...] | None:
    """Returns the formula of the active plugin that builds the schedule, or None when it has none."""
    plugin = active.schedule_plugin()
    return ask_formula(plugin.instance, plugin.entry.name, dataclasses.replace(context, _factor=active.factor))


def tabulate(built: Schedule, total_steps: int, name: str) -> NDArray[np.float32]:
    """Returns the learning rate at steps 0 to ``total_steps - 1``, float32[total_steps].

    A schedule that JAX can trace is evaluated in float64 and rounded once: in float32 compiled and uncompiled values
    differ by up to 8e-6 of the value, and neighbouring large counts are equal.

    Raises:
      ScheduleError: the schedule raises, or gives a value that is not a finite number or is negative.
    """
    import jax
    import jax.numpy as jnp

    # One function for all parts, so that it is compiled once.
    uncompiled = jax.vmap(lambda step: jnp.asarray(_no_text(built(step)), jnp.float64))
    compiled = jax.jit(uncompiled)

    def values_at(steps: NDArray[np.int64]) -> NDArray[np.float64]:
        exact = _traced_values(compiled, steps)
        if exact is not None and not np.all(exact >= 0):
            # Compiled, optax's polynomial may end at -1e-21 or NaN for 0: XLA fuses a product and a sum.
            exact = _traced_values(uncompiled, steps)
        return np.array([_number(built, step, name) for step in steps.tolist()]) if exact is None else exact

    table = np.empty(total_steps, np.float32)
    for begin in range(0, total_steps, _PART):
        steps = np.arange(begin, min(begin + _PART, total_steps), dtype=np.int64)
        with plugin_called():
            exact = values_at(steps)
        table[steps[0] : steps[-1] + 1] = _checked(exact, begin, name)
    return table


def host_device() -> jax.Device:
    """Returns the CPU, or where ``JAX_PLATFORMS`` leaves JAX none (``cuda`` alone) the device that it begins with."""
    import jax

    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return jax.local_devices()[0]


def _traced_values(vectorized: Callable[[Any], jax.Array], steps: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Returns the values at all steps by one call, or None when the schedule is plain Python that JAX cannot trace.

    The steps are int64, because JAX divides int32 in float32 even where it computes in float64.
    """
    import jax

    # Evaluated now, even inside a function that is being traced and calls for a schedule.
    with jax.ensure_compile_time_eval(), jax.enable_x64(True), jax.default_device(host_device()):
        try:
            return np.asarray(vectorized(steps))
        except Terminated:
            raise
        except (Exception, SystemExit):  # noqa: BLE001  # calling it step by step, which comes next, shows the plugin's own error
            return None


def _checked(values: NDArray[np.float64], begin: int, name: str) -> NDArray[np.float32]:
    """Returns the values from step ``begin`` on, rounded; raises ScheduleError for the first that no run can use."""
    if values.ndim != 1:
        raise ScheduleError(
            f"the schedule of plugin '{name}' gives an array of shape {values.shape[1:]} at a step: expected a number"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        table = values.astype(np.float32)
        bad = ~(np.isfinite(table) & (table >= 0))
    if bad.any():
        index = int(np.argmax(bad))
        raise ScheduleError(
            f"the schedule of plugin '{name}' gives {values[index]:g} at step {begin + index}: "
            "a learning rate is finite and not negative"
        )
    return table


def _no_text(value: Any) -> Any:
    """Returns the value, but raises TypeError for text, which JAX and Python would convert to a number."""
    if isinstance(value, str | bytes):
        raise TypeError
    return value


def _number(built: Schedule, step: int, name: str) -> float:
    try:
        value = built(step)
    except (LrtrainError, Terminated):
        raise
    except (Exception, SystemExit) as error:
        raise ScheduleError(f"the schedule of plugin '{name}' fails at step {step}: {cause(error)}") from error
    try:
        if np.ndim(_no_text(value)) > 0:
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise ScheduleError(
            f"the schedule of plugin '{name}' gives {short(repr(value))} at step {step}: expected a number"
        ) from None


def _is_count(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and 1 <= int(value) <= MAX_STEPS


def _build_inner(spec: Spec, context: ScheduleContext) -> Schedule:
    active = activate([spec], factor=context._factor)
    built = raw_schedule(active, context)
    if not _is_traceable(built):
        built = _look_up(tabulate(built, context.total_steps, active.schedule_plugin().entry.name))
    return _guarded(built)


def _formula_inner(spec: Spec, context: ScheduleContext) -> tuple[Piece, ...] | None:
    return formula(activate([spec], factor=context._factor), context)


def _is_traceable(built: Schedule) -> bool:
    import jax

    try:
        with plugin_called():
            jax.eval_shape(built, np.int32(0))
    except Terminated:
        raise
    except (Exception, SystemExit):  # noqa: BLE001  # plain Python; an error of its own shows when its table is made
        return False
    return True


def _guarded(built: Schedule) -> Schedule:
    """Makes a schedule safe for any count: unsigned counts and arrays of counts break several of optax's."""
    import jax.numpy as jnp

    def guarded(count: Any) -> Any:
        counts = jnp.asarray(count)
        if not jnp.issubdtype(counts.dtype, jnp.integer):
            raise TypeError(f"a schedule is called with the count of updates, an integer: got {counts.dtype}")
        scalar = jnp.vectorize(lambda step: jnp.asarray(built(step), jnp.result_type(float)))
        return scalar(counts.astype(jnp.result_type(int)))

    return guarded


def _look_up(values: NDArray[np.float32]) -> Schedule:
    import jax.numpy as jnp

    return lambda step: jnp.asarray(values)[jnp.clip(step, 0, len(values) - 1)]
