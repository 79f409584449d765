"""`lrtrain.export`: a schedule as code that needs no lrtrain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lrtrain.errors import UsageError, nearest
from lrtrain.plugins.spec import Spec

if TYPE_CHECKING:
    from lrtrain.plugins.context import ScheduleContext
    from lrtrain.plugins.loading import ActivePlugins
    from lrtrain.schedules.export.source import ScheduleSource

TARGETS = ("optax", "torch", "keras", "csv")


def export(
    spec: Spec | str | Mapping[str, Any], *, to: str, total_steps: int, steps_per_epoch: int | None = None
) -> str:
    """Returns a schedule as code that runs without lrtrain, for a run of ``total_steps``.

    The code is written from the plugin's formula, after a check that the formula agrees with the table at every step.
    For a plugin without a formula it holds the numbers of the table.

    Args:
      spec: the plugin and its options, as text, table or `Spec`.
      to: ``optax``: a function ``schedule(count)`` in jax.numpy. ``torch``: a function ``make_scheduler(optimizer)``
        that returns a LambdaLR, for an optimizer made with the learning rate ``BASE_LR``. ``keras``: a
        LearningRateSchedule that is saved with its model. ``csv``: the table, a line for each step.
      total_steps: optimizer updates in the run.
      steps_per_epoch: optimizer updates in an epoch; needed only for durations in epochs (``3ep``).

    Raises:
      SpecError: the spec cannot be read.
      PluginError: the plugin is unknown or broken, or its formula is no formula or not that of its schedule.
      OptionError: an option is refused.
      ScheduleError: the schedule cannot be built for this length.
      UsageError: the target is unknown, or the plugin has no formula and the table is too long for code.

    Example:
      >>> import lrtrain
      >>> print(lrtrain.export("constant(value=0.1)", to="csv", total_steps=2), end="")
      step,learning_rate
      0,0.1
      1,0.1
    """
    if to not in TARGETS:
        raise UsageError(f"to={to!r} is no target{nearest(str(to), TARGETS)}: the targets are {', '.join(TARGETS)}")
    from lrtrain.plugins.loading import activate
    from lrtrain.schedules.table import make_context

    return export_active(activate([spec]), make_context(total_steps, steps_per_epoch), to)


def export_active(active: ActivePlugins, context: ScheduleContext, to: str) -> str:
    """Returns the code for the schedule of loaded plugins, as `export` does."""
    from lrtrain.schedules.export.source import make_source

    return write(make_source(active, context), to)


def write(source: ScheduleSource, to: str) -> str:
    """Returns the code, or the table, of a schedule for a target."""
    from lrtrain.schedules.export import targets

    writers = {"optax": targets.optax, "torch": targets.torch, "keras": targets.keras, "csv": targets.csv}
    return "\n".join([*writers[to](source), ""])
