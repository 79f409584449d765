"""The code for each target: optax in jax.numpy, PyTorch in plain Python, Keras as a class; and the table as CSV."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lrtrain.plugins.formula import FUNCTIONS
from lrtrain.schedules.export.expressions import WIDTH, Dialect, Writer
from lrtrain.schedules.export.pieces import Arrays, comment, constant_lines, listed, over_arrays, table_lines
from lrtrain.schedules.export.source import ScheduleSource

_OPTAX = Arrays(
    Dialect({name: f"jnp.{name}" for name in (*FUNCTIONS, "pi")}),
    t="t = jnp.asarray(count, float)",
    step="count",
    select="jnp.select",
    constant="jnp.full(jnp.shape(count), {})",
)
_KERAS = Arrays(
    Dialect({**{name: f"ops.{name}" for name in FUNCTIONS}, "pi": "math.pi"}, constant=lambda name: f"self.{name}"),
    t='t = ops.cast(step, "float32")',
    step="t",
    select="ops.select",
    constant='ops.cast({}, "float32")',
)
_TORCH = Dialect({name: f"math.{name}" for name in (*FUNCTIONS, "pi")} | {"minimum": "min", "maximum": "max"})
_TORCH_REST = '''
def multiplier(step: int) -> float:
    """Returns what LambdaLR multiplies the optimizer's learning rate by."""
    return learning_rate(step) / BASE_LR


def make_scheduler(optimizer: Optimizer) -> LambdaLR:
    """Returns the scheduler for an optimizer that was made with lr=BASE_LR.

    Call its step() after every optimizer.step(), not once in an epoch.
    """
    return LambdaLR(optimizer, multiplier)
'''


def csv(source: ScheduleSource) -> list[str]:
    """Returns a line for each step, with the shortest number that is read back as the same float32."""
    return ["step,learning_rate", *(f"{step},{value!s}" for step, value in enumerate(source.values))]


def optax(source: ScheduleSource) -> list[str]:
    """Returns the lines of a module with an optax schedule, for `jit`, `vmap` and any integer count."""
    if source.pieces is None:
        table = [*table_lines(source, "optax"), "LEARNING_RATES = np.array(TABLE.split(), np.float32)", "", ""]
        body = ["    return jnp.asarray(LEARNING_RATES)[jnp.clip(count, 0, len(LEARNING_RATES) - 1)]"]
    else:
        table, body = [], over_arrays(source, _OPTAX, indent=4)
    return [
        *comment(source),
        "",
        "import jax.numpy as jnp",
        *(["import numpy as np"] if table else []),
        "",
        *(table or constant_lines(source)),
        "def schedule(count):",
        '    """Returns the learning rate of an update, counted from 0: optax.sgd(schedule)."""',
        *body,
    ]


def keras(source: ScheduleSource) -> list[str]:
    """Returns the lines of a module with a serializable schedule; its learning rates are arguments."""
    if source.pieces is None:
        table = [*table_lines(source, "keras"), 'LEARNING_RATES = np.array(TABLE.split(), "float32")', ""]
        body = [
            '        index = ops.clip(ops.cast(step, "int32"), 0, len(LEARNING_RATES) - 1)',
            "        return ops.take(LEARNING_RATES, index)",
        ]
    else:
        table, body = [], over_arrays(source, _KERAS, indent=8)
    name = "".join(part[:1].upper() + part[1:] for part in re.split(r"[-_.]", source.spec.name))
    return [
        *comment(source),
        "",
        *_math(body),
        "import keras",
        *(["import numpy as np"] if table else []),
        "from keras import ops",
        "",
        *table,
        "",
        '@keras.saving.register_keras_serializable(package="lrtrain")',
        f"class {name}(keras.optimizers.schedules.LearningRateSchedule):",
        '    """The learning rate of an update, counted from 0, for any optimizer of Keras."""',
        "",
        *_keras_init(source),
        "    def __call__(self, step):",
        *body,
        "",
        *_keras_config(source),
    ]


def _keras_init(source: ScheduleSource) -> Iterator[str]:
    if not source.constants:
        return
    arguments = [f"{name}={value}" for name, value in source.constants.items()]
    yield from listed("def __init__(", ["self", *arguments], "):", 4)
    yield from (f"        self.{name} = {name}" for name in source.constants)
    yield ""


def _keras_config(source: ScheduleSource) -> Iterator[str]:
    yield "    def get_config(self):"
    items = [f'"{name}": self.{name}' for name in source.constants]
    yield from listed("return {", items, "}", 8) if items else ["        return {}"]


def torch(source: ScheduleSource) -> list[str]:
    """Returns the lines of a module with a multiplier in plain Python, and PyTorch's LambdaLR with it."""
    body = list(_torch_body(source))
    table = [] if source.pieces is not None else table_lines(source, "torch")
    return [
        *comment(source),
        "",
        *_math(body),
        "from torch.optim import Optimizer",
        "from torch.optim.lr_scheduler import LambdaLR",
        "",
        "# The highest learning rate: make the optimizer with lr=BASE_LR.",
        f"BASE_LR = {float(str(source.values.max())) or 1.0!r}",
        *table,
        *(["LEARNING_RATES = [float(value) for value in TABLE.split()]"] if table else []),
        *(constant_lines(source) if source.constants else ["", ""]),
        "def learning_rate(t: int) -> float:",
        '    """Returns the learning rate of update t, counted from 0."""',
        *body,
        "",
        "",
        *_TORCH_REST.strip().splitlines(),
    ]


def _torch_body(source: ScheduleSource) -> Iterator[str]:
    if source.pieces is None:
        yield "    return LEARNING_RATES[min(t, len(LEARNING_RATES) - 1)]"
    for piece in source.pieces or ():
        writer, indent = Writer(_TORCH), 4 if piece.until is None else 8
        value = writer.text(piece.tree(), WIDTH - indent - len("return "), indent)
        if piece.until is not None:
            yield f"    if t < {piece.until}:"
        yield from (f"{' ' * indent}{line}" for line in [*writer.lines, f"return {value}"])


def _math(body: list[str]) -> list[str]:
    return ["import math", ""] if any("math." in line for line in body) else []
