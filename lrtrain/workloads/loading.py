"""From the name of a workload to the workload; only what is named is imported."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from lrtrain.errors import PluginError, UsageError
from lrtrain.plugins.discovery import DEFAULT_WORKLOAD, IN_PYTHON, WORKLOADS, Entry, find_plugin
from lrtrain.plugins.loading import check_dataclass, load
from lrtrain.plugins.options import make, resolved
from lrtrain.plugins.spec import Spec, normal_name
from lrtrain.workloads.headline import Headline
from lrtrain.workloads.images import FashionMnistCnn
from lrtrain.workloads.models import ChosenModel, load_model
from lrtrain.workloads.workload import Defaults, Workload


@dataclass(frozen=True)
class Chosen:
    """A workload that has been loaded: its spec, as a configuration holds it, and where it comes from.

    ``entry`` is None for the default, which is a part of lrtrain, and for one that was made in Python. ``model`` is in
    the place of its network, if the user has given one.
    """

    spec: str
    workload: Workload
    entry: Entry | None = None
    model: ChosenModel | None = None

    @property
    def name(self) -> str:
        """Its name without options."""
        return self.spec.removeprefix(IN_PYTHON) if self.entry is None else self.entry.name

    @property
    def version(self) -> str:
        """The version of its package, or the digest of its file; empty for one that was made in Python."""
        return self.entry.version if self.entry else ""

    @property
    def factor(self) -> float:
        """What the default learning rates of schedules are multiplied by."""
        return self.workload.defaults.learning_rate / Workload.defaults.learning_rate


def choose(workload: str | Spec | Workload, model: Any) -> Chosen:
    """Returns a workload and the model in the place of its network; errors are those of `load_workload`.

    Raises ModelError besides, when the text of a model names none.
    """
    return dataclasses.replace(load_workload(workload), model=load_model(model))


def load_workload(given: str | Spec | Workload) -> Chosen:
    """Returns a workload by its spec, as ``"char-lm(width=128)"`` or ``"./file.py:Class"``, or one made in Python.

    Raises:
      SpecError: the spec cannot be read.
      PluginError: the workload is unknown or broken, or two distributions provide it.
      OptionError: an option is unknown or its value is refused.
      UsageError: the workload was made in Python, and only its name is given.
    """
    if isinstance(given, Workload):
        return Chosen(f"{IN_PYTHON}{type(given).__name__}", given)
    if isinstance(given, str) and given.startswith(IN_PYTHON):
        name = given.removeprefix(IN_PYTHON)
        raise UsageError(f"the workload {name} was made in Python: give it again, as workload={name}(...)")
    spec = Spec.of(given)
    if normal_name(spec.name) == DEFAULT_WORKLOAD and not spec.options:
        return Chosen(DEFAULT_WORKLOAD, FashionMnistCnn())
    entry = find_plugin(spec.name, WORKLOADS)
    loaded = load_workload_class(entry)
    check_declared(entry, loaded)
    workload = make(loaded, entry.title, spec.options)
    options = {name: value for name, value in resolved(workload).items() if name in spec.options}
    return Chosen(str(Spec(entry.reference, options)), workload, entry)


def check_declared(entry: Entry, workload: type[Workload]) -> None:
    """Raises PluginError when a workload's learning rate or the direction of its headline is none."""
    rate, mode = workload.defaults.learning_rate, workload.headline.mode
    if not (isinstance(rate, int | float) and math.isfinite(rate) and rate > 0):
        raise PluginError(f"the default learning rate of {entry.title} is {rate!r}: expected a number over 0")
    if mode not in ("min", "max"):
        raise PluginError(f"the headline of {entry.title} has mode={mode!r}: expected min or max")


def load_workload_class(entry: Entry) -> type[Workload]:
    """Imports one workload; PluginError unless it is a frozen dataclass that is derived from `Workload`."""
    title = f"{entry.title} of {entry.origin()}"
    loaded = check_dataclass(load(entry), title, "workload")
    if not issubclass(loaded, Workload):
        raise PluginError(
            f"{title} is not derived from lrtrain.Workload: write class {loaded.__name__}(lrtrain.Workload)"
        )
    for name, kind in (("defaults", Defaults), ("headline", Headline)):
        if not isinstance(declared := getattr(loaded, name), kind):
            raise PluginError(
                f"{title} has {name} = {declared!r}: write {name}: ClassVar[{kind.__name__}] = {kind.__name__}(...)"
            )
    return loaded
