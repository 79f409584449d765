"""Observers: who is called, in which order, and what becomes of the answers."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lrtrain import EpochInfo, RunInfo, ScaleLearningRate, StepInfo, Stop
from lrtrain.errors import TrainingError
from lrtrain.plugins.loading import activate
from lrtrain.plugins.observers import Observers, Requests, unmeasured

Install = Callable[..., str]

RUN = RunInfo(Path("run"), {"seed": 0}, 10, 5, 2, np.zeros(10, np.float32))
STEP = StepInfo(7, 1, 0.1, 2.5)
EPOCHS = [EpochInfo(index, 5 * index + 5, 1.0, 1.0, 0.5, 0.1, 1.0) for index in range(2)]

WATCHING = """
@dataclass(frozen=True)
class Plugin:
    mark: str = ""

    @hookimpl
    def {hook}(self, {arguments}):
        {body}
"""


def watching(body: str, hook: str = "on_step", arguments: str = "run, step") -> str:
    return WATCHING.format(hook=hook, arguments=arguments, body=body)


def observers(*specs: str) -> Observers:
    return Observers(activate(specs))


def step(body: str, install: Install) -> Requests:
    install("watch", watching(body))
    return observers("watch").step(RUN, STEP)


# ------------------------------------------------------------------------------------------------------- requests


def test_requests_add_up() -> None:
    assert Requests() == Requests(1.0, None)
    assert Requests(0.5) + Requests(0.25, "first") + Requests(2, "second") == Requests(0.25, "first")
    assert Requests(0.5, "first") + Requests() == Requests() + Requests(0.5, "first") == Requests(0.5, "first")


# --------------------------------------------------------------------------------------------------- who is called


def test_nobody_watches() -> None:
    nobody = observers("sgdr")
    assert not nobody.watch_steps
    assert nobody.step(RUN, STEP) == nobody.epoch_end(RUN, EPOCHS[0], EPOCHS[:1]) == Requests()


def test_each_hook_is_called_for_itself(install_plugin: Install) -> None:
    install_plugin("steps", watching("return Stop('step')"))
    install_plugin("epochs", watching("return Stop('epoch')", "on_epoch_end", "run, epoch, history"))
    only_epochs = observers("sgdr", "epochs")
    assert not only_epochs.watch_steps
    assert only_epochs.step(RUN, STEP) == Requests()
    both = observers("epochs", "steps")
    assert both.watch_steps
    assert both.step(RUN, STEP) == Requests(stop="steps: step")
    assert both.epoch_end(RUN, EPOCHS[0], EPOCHS[:1]) == Requests(stop="epochs: epoch")


def test_arguments(install_plugin: Install) -> None:
    install_plugin("steps", watching("raise ScheduleError(repr((run.directory.name, step)))"))
    body = "raise ScheduleError(repr((run.total_steps, epoch.epoch, type(history), [each.epoch for each in history])))"
    install_plugin("epochs", watching(body, "on_epoch_end", "run, epoch, history"))
    with pytest.raises(TrainingError) as caught:
        observers("steps").step(RUN, STEP)
    assert str(caught.value.__cause__) == "('run', StepInfo(step=7, epoch=1, learning_rate=0.1, loss=2.5))"
    with pytest.raises(TrainingError) as caught:
        observers("epochs").epoch_end(RUN, EPOCHS[1], EPOCHS)
    assert str(caught.value.__cause__) == "(10, 1, <class 'tuple'>, [0, 1])"


def test_a_hook_takes_the_arguments_it_names(install_plugin: Install) -> None:
    install_plugin("steps", watching("return Stop(f'{step.loss}')", arguments="step"))
    assert observers("steps").step(RUN, STEP) == Requests(stop="steps: 2.5")


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_the_order_is_that_of_the_command_line(install_plugin: Install, order: str) -> None:
    body = "step.seen.append('{0}'); return Stop('{0}')"
    for name in "ab":
        install_plugin(name, watching(body.format(name)))

    step = SimpleNamespace(step=0, seen=[])
    result = observers(order[0], "sgdr", order[1]).step(RUN, step)  # type: ignore[arg-type]
    assert step.seen == list(order)
    assert result == Requests(stop=f"{order[0]}: {order[0]}")


def test_options_reach_the_hook(install_plugin: Install) -> None:
    install_plugin("watch", watching("return Stop(self.mark)"))
    assert observers("watch(mark=here)").step(RUN, STEP) == Requests(stop="watch: here")


# -------------------------------------------------------------------------------------------------------- answers


def test_none_is_no_request(install_plugin: Install) -> None:
    assert step("return None", install_plugin) == Requests()


def test_factors_multiply_and_the_first_stop_is_kept(install_plugin: Install) -> None:
    install_plugin("a", watching("return ScaleLearningRate(0.5)"))
    install_plugin("b", watching("return Stop('b')"))
    install_plugin("c", watching("return ScaleLearningRate(0.1)"))
    install_plugin("d", watching("return Stop('d')"))
    result = observers("a", "b", "c", "d").step(RUN, STEP)
    assert result == Requests(0.5 * 0.1, "b: b")


@pytest.mark.parametrize("factor", [0, 0.0, 1, 2.5, np.float32(0.5), np.float64(0.5), np.int64(2), Fraction(1, 2)])
def test_factors(install_plugin: Install, factor: Any) -> None:
    body = f"import numpy as np; from fractions import Fraction; return ScaleLearningRate({factor!r})"
    result = step(body, install_plugin)
    assert result == Requests(float(factor))
    assert type(result.factor) is float


FACTORS = ["-0.1", "float('nan')", "float('inf')", "'0.5'", "None", "True", "1j"]
NO_REQUESTS = ["0.5", "'stop'", "True", "False", "[Stop('x')]", "Stop", "object"]


@pytest.mark.parametrize("answer", [*(f"ScaleLearningRate({factor})" for factor in FACTORS), *NO_REQUESTS])
def test_nonsense_is_refused(install_plugin: Install, answer: str) -> None:
    expected = eval(answer, {"ScaleLearningRate": ScaleLearningRate, "Stop": Stop})
    with pytest.raises(TrainingError) as caught:
        step(f"return {answer}", install_plugin)
    assert str(caught.value) == (
        f"plugin 'watch' answered {expected!r} in on_step at step 7: expected None, Stop(reason), or "
        "ScaleLearningRate(factor) with a factor that is finite and not negative"
    )
    assert caught.value.exit_code == 1


# --------------------------------------------------------------------------------------------------------- errors


def test_an_exception_names_plugin_and_step(install_plugin: Install) -> None:
    install_plugin("good", watching("return None"))
    install_plugin("bad", watching("raise ValueError('no\\nway')"))
    with pytest.raises(TrainingError) as caught:
        observers("good", "bad").step(RUN, STEP)
    assert str(caught.value) == "plugin 'bad' raised in on_step at step 7: ValueError: no"
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_exception_names_plugin_and_epoch(install_plugin: Install) -> None:
    install_plugin("bad", watching("return [][0]", "on_epoch_end", "history"))
    with pytest.raises(TrainingError) as caught:
        observers("bad").epoch_end(RUN, EPOCHS[1], EPOCHS)
    assert str(caught.value) == "plugin 'bad' raised in on_epoch_end of epoch 1: IndexError: list index out of range"


def test_nonsense_at_the_end_of_an_epoch(install_plugin: Install) -> None:
    install_plugin("bad", watching("return 3", "on_epoch_end", "history"))
    with pytest.raises(
        TrainingError, match=r"^plugin 'bad' answered 3 in on_epoch_end of epoch 0: expected None, Stop"
    ):
        observers("bad").epoch_end(RUN, EPOCHS[0], EPOCHS[:1])


def test_later_plugins_are_not_asked_after_an_exception(install_plugin: Install) -> None:
    install_plugin("bad", watching("raise ValueError"))
    install_plugin("later", watching("raise ScheduleError('asked')"))
    with pytest.raises(TrainingError, match=r"^plugin 'bad' raised in on_step at step 7: ValueError$"):
        observers("bad", "later").step(RUN, STEP)


# -------------------------------------------------------------------------------------------------------- its metrics


def test_a_metric_that_is_not_measured_is_named_with_its_plugin() -> None:
    active = activate(["sgdr", "early-stopping(metric=test_near)", "reduce-on-plateau(metric=train_loss)"])
    assert unmeasured(active, ["loss", "near"]) is None
    said = (
        "plugin 'early-stopping' watches test_near, which the workload does not measure: it has train_loss, test_loss"
    )
    assert unmeasured(active, ["loss"]) == said
    # A plugin of a comparison is first asked here.
    with pytest.raises(TrainingError, match="'early-stopping' watches test_near"):
        Observers(active).epoch_end(RUN, EPOCHS[0], EPOCHS[:1])
