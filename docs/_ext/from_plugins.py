"""The documentation of the installed plugins, their curves, and the installed workloads."""

from __future__ import annotations

import inspect
import re
from functools import cache
from pathlib import Path

from sphinx.ext.napoleon import Config, GoogleDocstring

from lrtrain.errors import LrtrainError
from lrtrain.plugins.discovery import WORKLOADS, Entry, find_plugins
from lrtrain.plugins.loading import activate, hooks_of, load_class
from lrtrain.plugins.options import Option, options_of
from lrtrain.plugins.spec import Spec
from lrtrain.schedules.table import build_table, make_context
from lrtrain.workloads.loading import load_workload_class

STEPS, STEPS_PER_EPOCH = 2350, 235


@cache
def plugins() -> tuple[tuple[Entry, type], ...]:
    """Returns all installed plugins with their classes, by name; one that is broken stops the build."""
    return tuple((entry, load_class(entry)) for entry in find_plugins())


def builds(plugin: type) -> bool:
    """Returns whether a plugin is a schedule."""
    return "build_schedule" in hooks_of(plugin)


def draw(folder: Path) -> None:
    """Draws the curve of each schedule with its defaults, and of each run of the tutorial."""
    folder.mkdir(exist_ok=True)
    for entry, plugin in plugins():
        if builds(plugin):
            _draw(Spec(entry.name), folder / f"{entry.name}.svg")
    for number, (_, spec) in enumerate(_runs(), start=1):
        _draw(spec, folder / f"tutorial-{number}.svg")


def _runs() -> list[tuple[str, Spec]]:
    from lrtrain.comparison.plan_file import read_preset

    return [(row.label, row.spec) for row in read_preset("tutorial").rows]


def _draw(spec: Spec, path: Path) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    try:
        values = build_table(activate([spec]), make_context(STEPS, STEPS_PER_EPOCH)).values
    except LrtrainError:
        return  # it cannot be built with its defaults, and its section has no picture
    with mpl.rc_context({"svg.hashsalt": "lrtrain", "font.size": 9, "axes.formatter.limits": (-2, 5)}):
        figure = Figure(figsize=(4.6, 2.5), layout="constrained")
        axes = figure.subplots()
        axes.plot(values, linewidth=1.8, color="#1f6fb2")
        axes.set(xlabel="step", ylabel="learning rate", ylim=(0, float(values.max()) * 1.06), xlim=(0, STEPS))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None})


def gallery() -> str:
    """Returns the curves of all schedules, each a link to its options."""
    cards = [
        f"[![Learning rate of {entry.name} over the steps](../_generated/{entry.name}.svg)](plugins.md#{entry.name})\n"
        f"[{entry.name}](plugins.md#{entry.name})"
        for entry, plugin in plugins()
        if builds(plugin)
    ]
    return _cards(cards)


def tutorial() -> str:
    """Returns the curves of the tutorial's runs, with the specs that make them."""
    return _cards(
        [
            f"![Learning rate of the run {label} over the steps](../_generated/tutorial-{number}.svg)\n"
            f"**{number} · {label}**\\\n`{spec}`"
            for number, (label, spec) in enumerate(_runs(), start=1)
        ]
    )


def _cards(cards: list[str]) -> str:
    return "::::{container} gallery\n" + "".join(f":::{{container}} card\n{card}\n:::\n" for card in cards) + "::::"


def reference() -> str:
    """Returns a section for each plugin: what it does, its options, its curve."""
    return "\n".join(map(_plugin, *zip(*plugins(), strict=True)))


def workloads() -> str:
    """Returns a section for each installed workload: what it trains, its headline, its defaults, its options."""
    return "\n".join(_workload(entry) for entry in find_plugins(WORKLOADS))


def _workload(entry: Entry) -> str:
    workload = load_workload_class(entry)
    better = {"min": "lower", "max": "higher"}[workload.headline.mode]
    defaults = "".join(f"| {name.replace('_', ' ')} | `{value}` |\n" for name, value in vars(workload.defaults).items())
    facts = f"headline: {workload.headline.name}, {better} is better"
    return _section(entry, workload, facts, f"| default of training | value |\n|---|---|\n{defaults}")


def _plugin(entry: Entry, plugin: type) -> str:
    picture = f"![Learning rate of {entry.name} over the steps](../_generated/{entry.name}.svg)\n"
    hooks = ", ".join(f"`{hook}`" for hook in hooks_of(plugin))
    return _section(entry, plugin, f"hooks: {hooks}", picture if builds(plugin) else "")


def _section(entry: Entry, plugin: type, facts: str, shown: str) -> str:
    rows = [f"| `{each.name}` | {each.type} | {_default(each)} | {_cell(each.doc)} |" for each in options_of(plugin)]
    table = "\n".join(["| option | type | default | meaning |", "|---|---|---|---|", *rows]) if rows else "No options."
    summary, _, rest = (inspect.getdoc(plugin) or "").partition("\n")
    summary, rest = summary.replace("``", "`"), _refusals(str(GoogleDocstring(rest, Config(), what="class")))
    return (
        f"## {entry.name}\n\n{summary}\n\n`pip install {entry.distribution}` · {facts}\n\n"
        f"{shown}\n{table}\n\n`````{{eval-rst}}\n{rest}\n`````\n"
    )


def _refusals(text: str) -> str:
    """Returns a docstring with its fields of exceptions as sentences: outside an object Sphinx does not know fields."""
    field = re.compile(r"^:raises (\w+): (.*(?:\n +.*)*)", re.MULTILINE)
    return field.sub(lambda found: f"Raises ``{found[1]}``: {' '.join(found[2].split())}\n", text)


def _default(option: Option) -> str:
    return "required" if option.default is None else f"`{_cell(option.default)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
