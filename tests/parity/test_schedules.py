"""Every schedule of PyTorch, transformers and timm beside the spec of ours that has the same learning rates."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.parity.pairs import ANOTHER_KIND, LENGTHS, PAIRS, Pair, numbers
from tests.schedule_examples import values_of

REASON = "it is compared where it is installed: `uv run nox --session parity`"
torch = pytest.importorskip("torch", reason=REASON)


def library(name: str) -> types.ModuleType:
    """Returns the module that has a library's schedulers; skips the test where it is not installed."""
    if name == "torch":
        return importlib.import_module("torch.optim.lr_scheduler")
    if name not in sys.modules and importlib.util.find_spec(name) is None:
        pytest.skip(REASON)
    if name == "timm":
        _without_its_models("timm")
        return importlib.import_module("timm.scheduler")
    return importlib.import_module("transformers.optimization")


def _without_its_models(name: str) -> None:
    """Makes a package's modules importable without its own ``__init__``, which would need torchvision."""
    if name not in sys.modules:
        package = types.ModuleType(name)
        package.__path__ = list(importlib.util.find_spec(name).submodule_search_locations)
        sys.modules[name] = package


def learning_rates(pair: Pair, total_steps: int) -> np.ndarray:
    """Returns what their scheduler has the optimizer apply at each update."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    names = {**vars(library(pair.library)), **numbers(total_steps), "optimizer": optimizer}
    return np.array(list(_applied(optimizer, eval(pair.theirs, names), total_steps)))


def _applied(optimizer: Any, scheduler: Any, total_steps: int) -> Iterator[float]:
    for step in range(total_steps):
        if hasattr(scheduler, "step_update"):
            scheduler.step_update(step)
        yield float(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if not hasattr(scheduler, "step_update") and step < total_steps - 1:
            scheduler.step()


@pytest.mark.parametrize("total_steps", LENGTHS)
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.theirs[:60])
def test_same_learning_rates(pair: Pair, total_steps: int) -> None:
    """PyTorch multiplies from step to step, and its rounding errors add up: near 0 the peak is the measure."""
    theirs, ours = learning_rates(pair, total_steps), values_of(pair.spec(total_steps), total_steps)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)


def schedulers(name: str) -> set[str]:
    """Returns all the schedulers that a library has, by name."""
    module = library(name)
    if name == "transformers":
        return {function.__name__ for function in module.TYPE_TO_SCHEDULER_FUNCTION.values()}
    base = module.LRScheduler if name == "torch" else importlib.import_module("timm.scheduler.scheduler").Scheduler
    classes = [each for each in vars(module).values() if inspect.isclass(each) and issubclass(each, base)]
    return {each.__name__ for each in classes if each is not base and not each.__name__.startswith("_")}


@pytest.mark.parametrize("name", ["torch", "transformers", "timm"])
def test_none_is_left_out(name: str) -> None:
    known = {pair.name for pair in PAIRS if pair.library == name} | {
        each for library, each in ANOTHER_KIND if library == name
    }
    assert schedulers(name) - known == set()
