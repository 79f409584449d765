"""``--to optax``: a function of the count of updates, in jax.numpy."""

from __future__ import annotations

from lrtrain.plugins.formula import FUNCTIONS
from lrtrain.schedules.export.expressions import WIDTH, Dialect, Writer
from lrtrain.schedules.export.pieces import comment, constant_lines, select, table_lines, uses_step
from lrtrain.schedules.export.source import ScheduleSource

DIALECT = Dialect({name: f"jnp.{name}" for name in FUNCTIONS}, pi="jnp.pi")


def write(source: ScheduleSource) -> list[str]:
    """Returns the lines of a module with an optax schedule, for `jit`, `vmap` and any integer count."""
    if source.spans is None:
        return [
            *comment(source),
            "",
            "import jax.numpy as jnp",
            "import numpy as np",
            "",
            *table_lines(source, "optax"),
            "LEARNING_RATES = np.array(TABLE.split(), np.float32)",
            "",
            "",
            *_head(),
            "    return jnp.asarray(LEARNING_RATES)[jnp.clip(count, 0, len(LEARNING_RATES) - 1)]",
        ]
    return [*comment(source), "", "import jax.numpy as jnp", "", *constant_lines(source), *_head(), *_body(source)]


def _head() -> list[str]:
    return [
        "def schedule(count):",
        '    """Returns the learning rate of an update, counted from 0: optax.sgd(schedule)."""',
    ]


def _body(source: ScheduleSource) -> list[str]:
    assert source.spans is not None
    step = ["    t = jnp.asarray(count, float)"] if uses_step(source) else []
    if len(source.spans) > 1:
        return [*step, *select(source, DIALECT, "jnp.select", "count", indent=4)]
    writer = Writer(DIALECT)
    before, after = ("return ", "") if step else ("return jnp.full(jnp.shape(count), ", ")")
    value = writer.text(source.spans[0].tree, WIDTH - 4 - len(before + after))
    return [*step, *(f"    {line}" for line in writer.lines), f"    {before}{value}{after}"]
