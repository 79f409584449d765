"""Interrupts that come at a bad moment."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lrtrain.plugins.context import EpochInfo, RunInfo, StepInfo
from lrtrain.plugins.loading import activate
from lrtrain.plugins.observers import Observers
from lrtrain.schedules.table import build_table, make_context, schedule
from lrtrain.signals import Terminated, interrupts_held_back, raise_for
from lrtrain.training.checkpoints import Checkpoints
from lrtrain.training.position import Position
from tests.lab import last_position


def test_an_interrupt_waits_for_the_end() -> None:
    done: list[str] = []

    def work() -> None:
        with interrupts_held_back():
            signal.raise_signal(signal.SIGINT)
            done.append("the rest")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["the rest"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_fails_meanwhile_still_fails() -> None:
    with pytest.raises(OSError, match="disk"), interrupts_held_back():
        raise OSError("disk")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_user_who_ignores_interrupts_is_heeded() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_held_back():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_has_nothing_to_hold_back() -> None:
    def work() -> bool:
        with interrupts_held_back():
            return True

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result()


def test_a_checkpoint_is_whole_when_an_interrupt_comes_while_it_is_begun(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    manager = checkpoints._open()
    save = manager.save

    def interrupted(*args: object, **named: object) -> object:
        signal.raise_signal(signal.SIGINT)
        return save(*args, **named)

    manager.save = interrupted
    state, table = {"kernel": np.arange(6.0, dtype=np.float32)}, np.full(4, 0.1, np.float32)
    checkpoints.save(state, table, Position(2, 1.0, 0))
    with pytest.raises(KeyboardInterrupt):
        checkpoints.write()
    checkpoints.close()
    position, values = last_position(tmp_path)
    assert position.to_json() == Position(2, 1.0, 0).to_json()
    np.testing.assert_array_equal(values, table)


# ------------------------------------------------------------------------------------- in the middle of a plugin's code

# `sys.exit` in a plugin is an error of the plugin's, and a signal that comes meanwhile is none, though both are a
# SystemExit. Taken for one, it went unheeded, and the schedule was evaluated step by step, to other bits.
SIGNALLED = """
import signal

def send(*_):
    signal.raise_signal(signal.SIGTERM)
    return 1e-3

{before}

@dataclass(frozen=True)
class Plugin:
    "Is interrupted."
    def __post_init__(self):
        {making}

    @hookimpl
    def build_schedule(self, context):
        {building}
        return {schedule}

    @hookimpl
    def on_step(self, step):
        send()

    @hookimpl
    def on_epoch_end(self, history):
        send()
"""
PLACES = {
    "imported": {"before": "send()"},
    "made": {"making": "send()"},
    "building": {"building": "send()"},
    "traced": {"schedule": "send"},
    "called": {"schedule": "lambda step: send() if isinstance(step, int) else float(step)"},
    "called within another": {"schedule": "lambda step: send() if isinstance(step, int) else float(step)"},
}


@pytest.fixture
def _signals_are_raised() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, raise_for)
    yield
    signal.signal(signal.SIGTERM, before)


def signalled(install_plugin: Callable[..., str], **where: str) -> str:
    nowhere = {"before": "", "making": "pass", "building": "pass", "schedule": "lambda step: 1e-3"}
    return install_plugin("signalled", SIGNALLED.format(**{**nowhere, **where}))


@pytest.mark.usefixtures("_signals_are_raised")
@pytest.mark.parametrize("place", PLACES)
def test_a_signal_is_heeded_while_a_plugin_is(place: str, install_plugin: Callable[..., str]) -> None:
    spec = signalled(install_plugin, **PLACES[place])
    if "within" in place:
        spec = f"join(schedules=[{spec}, constant], boundaries=[2])"
    with pytest.raises(Terminated):
        build_table(activate([spec]), make_context(10, 5))


@pytest.mark.usefixtures("_signals_are_raised")
def test_a_signal_is_heeded_while_a_schedule_of_ones_own_is_built(install_plugin: Callable[..., str]) -> None:
    with pytest.raises(Terminated):
        schedule(signalled(install_plugin, schedule="send"), total_steps=10)


@pytest.mark.usefixtures("_signals_are_raised")
def test_a_signal_is_heeded_in_a_hook(install_plugin: Callable[..., str], tmp_path: Path) -> None:
    observers = Observers(activate([signalled(install_plugin)]))
    run = RunInfo(tmp_path, {}, 10, 5, 2, ())
    with pytest.raises(Terminated):
        observers.step(run, StepInfo(0, 0, 1e-3, 2.0))
    epoch = EpochInfo(0, 5, 2.0, 2.0, 0.1, 1e-3, 1.0)
    with pytest.raises(Terminated):
        observers.epoch_end(run, epoch, [epoch])
