"""The public names and the hooks, from their docstrings; the columns of a comparison's table."""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path

import lrtrain
from lrtrain.comparison.table import COLUMNS
from lrtrain.option_fields import OptionField, option_fields
from lrtrain.plugins import hookspecs
from lrtrain.plugins.loading import HOOKS
from lrtrain.runs.train_config import TrainConfig

_TITLES = ("When", "Args", "Returns", "Order", "Example")


def api() -> str:
    """Returns autodoc's directive for every public name: functions first, then classes, then the types of options."""
    names = sorted(lrtrain.__all__, key=lambda name: (_rank(getattr(lrtrain, name)), name.lower()))
    return "\n".join(map(_entry, names))


def _rank(value: object) -> int:
    return 0 if inspect.isfunction(value) else 1 if inspect.isclass(value) else 2


def _entry(name: str) -> str:
    kind = ("autofunction", "autoclass", "autodata")[_rank(getattr(lrtrain, name))]
    return f"```{{eval-rst}}\n.. {kind}:: lrtrain.{name}\n```\n"


def hooks() -> str:
    """Returns a section for each hook: signature, then the parts of its docstring."""
    return "\n".join(map(_hook, HOOKS))


def _hook(name: str) -> str:
    function = getattr(hookspecs, name)
    summary, *rest = re.split(rf"^({'|'.join(_TITLES)}):", inspect.getdoc(function) or "", flags=re.MULTILINE)
    parts = [_part(title, text) for title, text in zip(rest[::2], rest[1::2], strict=True)]
    return f"## {name}\n\n```python\ndef {name}{signature(name)}\n```\n\n{summary}\n" + "\n".join(parts)


def columns() -> str:
    """Returns a table of the columns that a comparison's table has."""
    rows = "\n".join(f"| {column.title} | {column.help} |" for column in COLUMNS)
    return f"| column | what it is |\n|---|---|\n{rows}\n"


def signature(name: str) -> str:
    """Returns the arguments and the answer of a hook as its source has them."""
    return str(inspect.signature(getattr(hookspecs, name))).replace("'", "")


def _part(title: str, text: str) -> str:
    first, _, rest = text.partition("\n")
    first = first.strip()
    body = f"{first[:1].upper()}{first[1:]}\n{textwrap.dedent(rest)}".strip().replace(
        "``", "`" if "```" not in text else "``"
    )
    if title == "Args":
        body = re.sub(r"^(\w+): ", r"- `\1`: ", body, flags=re.MULTILINE)
    return f"**{title}.** {body}\n" if title not in ("Args", "Example") else f"**{title}.**\n\n{body}\n"


def training_options() -> str:
    """Returns a table of the options of training: in Python and TOML, on the command line, default, meaning."""
    rows = [
        f"| `{field.name}` | `{field.flag}` | {_taken(field)} | `{field.default}` | {field.help} |"
        for field in option_fields(TrainConfig)
    ]
    return "\n".join(["| name | option | value | default | meaning |", "|---|---|---|---|---|", *rows])


def _taken(field: OptionField) -> str:
    if field.choices:
        return ", ".join(f"`{each}`" for each in field.choices)
    words = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path"}[field.kind]
    bounds = [f"{sign} {bound}" for sign, bound in (("≥", field.least), ("≤", field.most)) if bound is not None]
    return " ".join([words, *bounds])
