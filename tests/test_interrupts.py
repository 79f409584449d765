"""Interrupts that come at a bad moment."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lrtrain.checkpoint import Checkpoints, Progress
from lrtrain.interrupts import interrupts_held_back


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
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(state, table, Progress(2, 1.0, 0))
    checkpoints.close()
    again = Checkpoints(tmp_path / "checkpoints")
    progress, values = again.restore_progress()
    assert progress.to_json() == Progress(2, 1.0, 0).to_json()
    np.testing.assert_array_equal(values, table)
    again.close()
