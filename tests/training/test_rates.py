"""What a resumed run applies: the same schedule, its own kept, or a new one for the steps that are left."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrtrain import ScheduleError, Spec
from lrtrain.errors import RunDirError
from lrtrain.plugins.loading import activate
from lrtrain.runs.train_config import TrainConfig
from lrtrain.schedules.table import fingerprint
from lrtrain.training.rates import OnScheduleChange, RunRates, merge_config, rates_new, rates_resumed

# Its table for T steps is 1 - t / T, so the length that it was built for shows.
LINE = "linear(init_value=1, end_value=0, transition_begin=0)"
OFFER = "--on-schedule-change keep goes on with the run's own, restart begins the new one there"


def line(steps: int) -> np.ndarray:
    return (1 - np.arange(steps) / steps).astype(np.float32)


def new(spec: str, epochs: int) -> RunRates:
    return rates_new(activate([spec]), 5, epochs)


@dataclass(frozen=True)
class Before:
    """A run that was stopped: the updates done, and its learning rates."""

    step: int
    rates: RunRates


def stopped(rates: RunRates, step: int) -> Before:
    """Returns the run as its checkpoint and ``config.json`` have it."""
    options = activate([rates.spec]).schedule_plugin().spec().table()
    return Before(step, dataclasses.replace(rates, spec=Spec.of(options)))


def resumed(before: Before, spec: str, epochs: int, change: OnScheduleChange | None = None) -> RunRates:
    return rates_resumed(activate([spec]), 5, epochs, before.step, before.rates, change)


def stored(rates: RunRates) -> tuple[int, int, str]:
    return rates.start, rates.steps, fingerprint(rates.values)


def refusal(before: Before, spec: str, epochs: int) -> str:
    with pytest.raises(ScheduleError) as caught:
        resumed(before, spec, epochs)
    return str(caught.value)


def test_a_new_run() -> None:
    rates = new(LINE, 4)
    np.testing.assert_array_equal(rates.values, line(20))
    assert rates.spec.options["transition_steps"] is None
    assert stored(rates) == (0, 20, fingerprint(line(20)))


# -------------------------------------------------------------------------------------------------- the same schedule


@pytest.mark.parametrize("step", [0, 7, 20])
@pytest.mark.parametrize("change", [None, "keep", "restart"])
def test_the_same_schedule_goes_on(step: int, change: OnScheduleChange | None) -> None:
    rates = new(LINE, 4)
    again = resumed(stopped(rates, step), LINE, 4, change)
    assert stored(again) == stored(rates)
    assert again.spec == rates.spec
    np.testing.assert_array_equal(again.values, line(20))


def test_the_same_learning_rates_are_the_same_schedule() -> None:
    before = stopped(new(LINE, 4), 5)
    assert resumed(before, "linear(init_value=1, end_value=0, transition_begin=0, transition_steps=20)", 4).start == 0
    assert (
        resumed(before, "polynomial(init_value=1, end_value=0, transition_begin=0, power=1)", 4).spec.name
        == "polynomial"
    )


# ------------------------------------------------------------------------------------------------ a changed schedule


def test_a_changed_option() -> None:
    message = refusal(stopped(new(LINE, 4), 5), LINE[:-1] + ", transition_steps=50%)", 4)
    assert message == (
        "the schedule is not that of the checkpoint at step 5 (transition_steps=none in the run and "
        f"transition_steps=50% now; learning rate at step 1 0.95 in the run and 0.9 now): {OFFER}"
    )


def test_several_changed_options() -> None:
    message = refusal(stopped(new(LINE, 4), 5), "linear(init_value=2, end_value=0.5, transition_begin=0)", 4)
    assert (
        "(init_value=1.0 in the run and init_value=2.0 now; end_value=0.0 in the run and end_value=0.5 now; " in message
    )
    assert "learning rate at step 0 1.0 in the run and 2.0 now)" in message


def test_another_plugin() -> None:
    message = refusal(stopped(new(LINE, 4), 5), "constant(value=0.5)", 4)
    assert message == (
        "the schedule is not that of the checkpoint at step 5 (plugin linear in the run and constant now; "
        f"learning rate at step 0 1.0 in the run and 0.5 now): {OFFER}"
    )


def test_a_difference_in_the_last_bit_is_shown() -> None:
    rates = new("constant(value=0.1)", 4)
    values = rates.values.copy()
    values[3] = np.nextafter(values[3], np.float32(1))
    message = refusal(Before(5, dataclasses.replace(rates, values=values)), "constant(value=0.1)", 4)
    assert "(learning rate at step 3 0.10000001 in the run and 0.1 now)" in message


def test_more_epochs() -> None:
    message = refusal(stopped(new(LINE, 4), 5), LINE, 8)
    assert message == (
        "the schedule is not that of the checkpoint at step 5 (20 steps in the run and 40 now; "
        f"learning rate at step 1 0.95 in the run and 0.975 now): {OFFER}"
    )
    message = refusal(stopped(new("constant", 4), 5), "constant", 8)
    assert message == f"the schedule is not that of the checkpoint at step 5 (20 steps in the run and 40 now): {OFFER}"


@pytest.mark.parametrize("change", [None, "keep", "restart"])
def test_a_run_that_went_further_than_is_asked_for(change: OnScheduleChange | None) -> None:
    with pytest.raises(RunDirError) as caught:
        resumed(stopped(new(LINE, 4), 15), LINE, 2, change)
    assert str(caught.value) == "the run has done 15 steps, and epochs=2 is 10: give more epochs"


# -------------------------------------------------------------------------------------------------------------- keep


def test_keep_with_more_epochs_holds_the_last_learning_rate() -> None:
    before = stopped(new(LINE, 4), 5)
    kept = resumed(before, LINE, 6, "keep")
    expected = np.concatenate([line(20), np.full(10, line(20)[-1])])
    np.testing.assert_array_equal(kept.values, expected)
    assert (kept.start, kept.steps, kept.spec) == (0, 20, before.rates.spec)


def test_keep_with_fewer_epochs() -> None:
    kept = resumed(stopped(new(LINE, 4), 5), LINE, 2, "keep")
    np.testing.assert_array_equal(kept.values, line(20)[:10])
    assert (kept.start, kept.steps) == (0, 20)


def test_keep_with_another_schedule() -> None:
    before = stopped(new(LINE, 4), 5)
    kept = resumed(before, "constant(value=0.5)", 4, "keep")
    np.testing.assert_array_equal(kept.values, line(20))
    assert kept.spec == before.rates.spec


def test_keep_needs_no_schedule_that_fits_the_new_length() -> None:
    spec = "linear(init_value=1, end_value=0, transition_begin=0, transition_steps=10%)"
    before = stopped(new(spec, 4), 0)
    with pytest.raises(ScheduleError, match="transition_steps=10% is 0 steps in a run of 5"):
        resumed(before, spec, 1)
    np.testing.assert_array_equal(resumed(before, spec, 1, "keep").values, before.rates.values[:5])


@pytest.mark.parametrize("epochs", [2, 4, 6])
def test_after_keep_the_run_goes_on_without_a_question(epochs: int) -> None:
    kept = resumed(stopped(new(LINE, 4), 5), LINE, epochs, "keep")
    again = resumed(stopped(kept, 10), LINE, epochs)
    np.testing.assert_array_equal(again.values, kept.values)
    assert stored(again) == stored(kept)


# ----------------------------------------------------------------------------------------------------------- restart


@pytest.mark.parametrize("epochs", [2, 4, 6])
def test_restart_builds_for_the_steps_that_are_left(epochs: int) -> None:
    restarted = resumed(stopped(new("constant(value=0.5)", 4), 5), LINE, epochs, "restart")
    expected = np.concatenate([np.full(5, np.float32(0.5)), line(5 * epochs - 5)])
    np.testing.assert_array_equal(restarted.values, expected)
    assert (restarted.start, restarted.steps, restarted.spec.name) == (5, 5 * epochs - 5, "linear")


def test_after_restart_the_run_goes_on_without_a_question() -> None:
    restarted = resumed(stopped(new("constant(value=0.5)", 4), 5), LINE, 6, "restart")
    for step in (5, 10, 30):
        again = resumed(stopped(restarted, step), LINE, 6)
        np.testing.assert_array_equal(again.values, restarted.values)
        assert stored(again) == stored(restarted)


def test_after_restart_another_schedule_is_still_noticed() -> None:
    restarted = resumed(stopped(new("constant(value=0.5)", 4), 5), LINE, 6, "restart")
    message = refusal(stopped(restarted, 10), LINE[:-1] + ", transition_steps=50%)", 6)
    assert (
        "(transition_steps=none in the run and transition_steps=50% now; learning rate at step 6 0.96 in the" in message
    )


def test_restart_twice() -> None:
    first = resumed(stopped(new("constant(value=0.5)", 4), 5), LINE, 6, "restart")
    second = resumed(stopped(first, 10), "constant(value=0.25)", 6, "restart")
    expected = np.concatenate([first.values[:10], np.full(20, np.float32(0.25))])
    np.testing.assert_array_equal(second.values, expected)
    assert (second.start, second.steps) == (10, 20)


def test_restart_then_keep_with_more_epochs() -> None:
    restarted = resumed(stopped(new("constant(value=0.5)", 4), 5), LINE, 4, "restart")
    kept = resumed(stopped(restarted, 20), LINE, 6, "keep")
    np.testing.assert_array_equal(kept.values, np.concatenate([restarted.values, np.full(10, restarted.values[-1])]))
    again = resumed(stopped(kept, 25), LINE, 6)
    assert stored(again) == stored(kept)


def test_restart_with_nothing_left() -> None:
    before = stopped(new(LINE, 4), 10)
    done = resumed(before, "constant", 2, "restart")
    np.testing.assert_array_equal(done.values, line(20)[:10])
    assert (done.spec, done.start, done.steps) == (before.rates.spec, 0, 20)


# ---------------------------------------------------------------------------------------------------- configuration


def test_what_may_differ() -> None:
    given: dict[str, Any] = {"epochs": 20, "data_dir": Path("d"), "devices": 2, "micro_batch": 8}
    stored = TrainConfig(optimizer="adam", seed=3)
    assert merge_config(stored, given) == TrainConfig(optimizer="adam", seed=3, **given)
    assert merge_config(stored, {}) == stored


@pytest.mark.parametrize(
    "given",
    [
        {"batch_size": 64},
        {"optimizer": "adam"},
        {"loss_reduction": "mean"},
        {"seed": 1},
        {"dataset": "mnist"},
        {"train_size": 100},
        {"shuffle": False},
        {"model": "a:B"},
    ],
)
def test_what_may_not_differ(given: dict[str, Any]) -> None:
    ((name, value),) = given.items()
    stored = TrainConfig()
    with pytest.raises(RunDirError) as caught:
        merge_config(stored, {"epochs": 20, **given})
    assert str(caught.value) == (
        f"the run was made with {name}={getattr(stored, name)}, and {name}={value} is given: "
        "a resumed run keeps it, so leave it out or start a new run"
    )


def test_the_same_value_may_be_given_again() -> None:
    assert merge_config(TrainConfig(seed=3), {"seed": 3, "optimizer": "sgd"}) == TrainConfig(seed=3)


def other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else "other"


def test_every_field_is_decided() -> None:
    may = set()
    for name, value in vars(TrainConfig()).items():
        try:
            merge_config(TrainConfig(), {name: other(value)})
        except RunDirError:
            continue
        may.add(name)
    assert may == {"epochs", "data_dir", "devices", "micro_batch", "data_on_device"}
