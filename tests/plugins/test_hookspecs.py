"""That the documentation of the hooks is whole, and that each example in it is a plugin that works."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pluggy
import pytest

import lrtrain
from lrtrain import EpochInfo, RunInfo, ScaleLearningRate, ScheduleContext, StepInfo, Stop
from lrtrain.plugins import hookspecs
from lrtrain.plugins.loading import HOOKS, check_class, hooks_of
from lrtrain.plugins.options import options_of
from tests.markdown import blocks

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "writing-plugins.md"
PARTS = ["When", "Args", "Returns", "Order", "Example"]


def parts(hook: str) -> dict[str, str]:
    """Returns the sections of a hook's docstring by their titles."""
    text = inspect.getdoc(getattr(hookspecs, hook)) or ""
    found = re.split(rf"^({'|'.join(PARTS)}):", text, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def example(hook: str) -> type:
    """Returns the class that the example of a hook's docstring defines, run as a reader would run it."""
    (code,) = blocks(textwrap.dedent(parts(hook)["Example"]), "python")
    module = types.ModuleType(f"example_of_{hook}")
    sys.modules[module.__name__] = module  # where `dataclass` and the reader of options look names up
    exec(code.text, vars(module))
    (defined,) = [each for each in vars(module).values() if getattr(each, "__module__", "") == module.__name__]
    return cast("type", defined)


def answers(hook: str, **arguments: object) -> list[Any]:
    """Registers the example of a hook with a plugin manager and calls the hook."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(example(hook)())
    manager.check_pending()
    given: list[Any] = getattr(manager.hook, hook)(**arguments)
    return given


@pytest.fixture
def run(tmp_path: Path) -> RunInfo:
    return RunInfo(tmp_path, {}, 20, 10, 2, np.full(20, 0.1, np.float32))


def epoch(number: int, test_loss: float) -> EpochInfo:
    return EpochInfo(number, 10 * (number + 1), 1.0, test_loss, 0.5, 0.1, 1.0)


def test_the_hooks_are_those_that_the_loader_knows() -> None:
    marked = [name for name, each in vars(hookspecs).items() if hasattr(each, f"{hookspecs.PROJECT}_spec")]
    assert tuple(marked) == HOOKS


@pytest.mark.parametrize("hook", HOOKS)
def test_the_docstring_says_when_with_what_and_in_which_order(hook: str) -> None:
    assert list(parts(hook)) == PARTS
    assert all(text.strip() for text in parts(hook).values())


@pytest.mark.parametrize("hook", HOOKS)
def test_every_argument_is_typed_and_described(hook: str) -> None:
    signature = inspect.signature(getattr(hookspecs, hook))
    described = re.findall(r"^  (\w+): ", parts(hook)["Args"], flags=re.MULTILINE)
    assert described == list(signature.parameters)
    assert all(each.annotation is not each.empty for each in signature.parameters.values())
    assert signature.return_annotation is not signature.empty


@pytest.mark.parametrize("hook", HOOKS)
def test_the_example_is_a_plugin_with_that_hook(hook: str) -> None:
    plugin = check_class(example(hook), "the example")
    assert hooks_of(plugin) == (hook,)
    assert all(option.doc for option in options_of(plugin))
    assert inspect.getdoc(plugin)


def test_the_example_of_build_schedule() -> None:
    (schedule,) = answers("build_schedule", context=ScheduleContext(20, 10, 2))
    assert [schedule(step) for step in (0, 9, 10, 19)] == [1e-4, 1e-4, 5e-5, 5e-5]


def test_the_example_of_on_step(run: RunInfo) -> None:
    assert answers("on_step", run=run, step=StepInfo(3, 0, 0.1, 2.0)) == []
    assert answers("on_step", run=run, step=StepInfo(3, 0, 0.1, 123.4)) == [Stop("loss 123 at step 3")]


def test_the_example_of_on_epoch_end(run: RunInfo) -> None:
    def ask(*losses: float) -> list[Any]:
        history = tuple(epoch(number, loss) for number, loss in enumerate(losses))
        return answers("on_epoch_end", run=run, epoch=history[-1], history=history)

    assert ask(1.0) == ask(1.0, 0.9) == []
    assert ask(0.9, 1.0) == [ScaleLearningRate(0.5)]


@pytest.mark.parametrize("hook", HOOKS)
def test_the_guide_shows_every_hook(hook: str) -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert re.search(rf"@hookimpl\n    def {hook}\(self", text)
    assert re.search(rf"`{hook}`", text)


def test_hooks_are_marked_with_the_public_marker() -> None:
    marker: Callable[..., Any] = lrtrain.hookimpl
    assert marker is hookspecs.hookimpl
