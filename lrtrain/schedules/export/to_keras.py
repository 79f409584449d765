"""``--to keras``: a LearningRateSchedule that is saved and loaded with its model."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lrtrain.plugins.formula import FUNCTIONS
from lrtrain.schedules.export.expressions import WIDTH, Dialect, Writer
from lrtrain.schedules.export.pieces import comment, listed, select, table_lines, uses_step
from lrtrain.schedules.export.source import ScheduleSource

DIALECT = Dialect({name: f"ops.{name}" for name in FUNCTIONS}, pi="math.pi", constant=lambda name: f"self.{name}")


def write(source: ScheduleSource) -> list[str]:
    """Returns the lines of a module with a serializable schedule; its learning rates are arguments."""
    call = list(_call(source))
    needs_math = any("math." in line for line in call)
    return [
        *comment(source),
        "",
        *(["import math", ""] if needs_math else []),
        "import keras",
        *(["import numpy as np"] if source.spans is None else []),
        "from keras import ops",
        "",
        *_table(source),
        "",
        '@keras.saving.register_keras_serializable(package="lrtrain")',
        f"class {class_name(source.spec.name)}(keras.optimizers.schedules.LearningRateSchedule):",
        '    """The learning rate of an update, counted from 0, for any optimizer of Keras."""',
        "",
        *_init(source),
        *call,
        "",
        *_config(source),
    ]


def class_name(plugin: str) -> str:
    """Returns a plugin's name as the name of a class: ``cosine-decay`` is CosineDecay."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[-_.]", plugin))


def _table(source: ScheduleSource) -> list[str]:
    if source.spans is not None:
        return []
    return [*table_lines(source, "keras"), 'LEARNING_RATES = np.array(TABLE.split(), "float32")', ""]


def _init(source: ScheduleSource) -> Iterator[str]:
    if not source.constants:
        return
    arguments = [f"{name}={value}" for name, value in source.constants.items()]
    yield from listed("def __init__(", ["self", *arguments], "):", 4)
    yield from (f"        self.{name} = {name}" for name in source.constants)
    yield ""


def _call(source: ScheduleSource) -> Iterator[str]:
    yield "    def __call__(self, step):"
    if source.spans is None:
        yield '        index = ops.clip(ops.cast(step, "int32"), 0, len(LEARNING_RATES) - 1)'
        yield "        return ops.take(LEARNING_RATES, index)"
        return
    if len(source.spans) > 1:
        yield '        t = ops.cast(step, "float32")'
        yield from select(source, DIALECT, "ops.select", "t", indent=8)
        return
    writer = Writer(DIALECT)
    before, after = ("return ", "") if uses_step(source) else ("return ops.cast(", ', "float32")')
    if uses_step(source):
        yield '        t = ops.cast(step, "float32")'
    value = writer.text(source.spans[0].tree, WIDTH - 8 - len(before + after), 8)
    yield from (f"        {line}" for line in [*writer.lines, f"{before}{value}{after}"])


def _config(source: ScheduleSource) -> Iterator[str]:
    yield "    def get_config(self):"
    items = [f'"{name}": self.{name}' for name in source.constants]
    yield from listed("return {", items, "}", 8) if items else ["        return {}"]
