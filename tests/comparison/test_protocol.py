"""Which runs come next, and which scale is chosen: the protocol without any training."""

from __future__ import annotations

import math

import pytest

from lrtrain.comparison import protocol
from lrtrain.comparison.evidence import analyse
from lrtrain.comparison.plan import Effort, Plan, effort_of, grid, labelled
from lrtrain.comparison.trial import Outcome, Trial
from lrtrain.errors import UsageError
from lrtrain.runs.train_config import TrainConfig
from lrtrain.workloads.headline import ACCURACY


def plan(*names: str, scales: tuple[float, ...] = (0.5, 1, 2), seeds: int = 3, **options: object) -> Plan:
    effort = Effort(scales, 2, seeds, 1)
    return Plan(labelled(names or ("constant", "sgdr")), TrainConfig(seed=5), effort=effort, **options)  # type: ignore[arg-type]


def outcome(trial: Trial, loss: float | None) -> Outcome:
    state = "finished" if loss is not None else "diverged"
    return Outcome(trial, state, None, 1, loss, 0.5, None, None, (0.1, 0.1, 0.1), 1.0)


def tuned_to(best: dict[str, float], this: Plan) -> list[Outcome]:
    """Carries the tuning out, for schedules whose loss is lowest at a known scale."""
    done: list[Outcome] = []
    while trials := protocol.tuning_trials(this, done):
        done += [outcome(t, abs(math.log2(t.scale) - math.log2(best[t.label])) + 0.01 * t.seed) for t in trials]
    return done


def test_every_schedule_has_the_same_scales_and_seeds() -> None:
    trials = protocol.tuning_trials(plan(), [])
    assert {(t.label, t.scale, t.seed) for t in trials} == {
        (label, scale, seed) for label in ("constant", "sgdr") for scale in (0.5, 1, 2) for seed in (5, 6)
    }
    assert {t.stage for t in trials} == {"tune"}


def test_a_best_scale_inside_ends_the_tuning() -> None:
    done = tuned_to({"constant": 1, "sgdr": 1}, plan())
    assert len(done) == 12
    assert {label: each.best for label, each in protocol.tuned(plan(), done).items()} == {"constant": 1, "sgdr": 1}


@pytest.mark.parametrize("best", [4.0, 0.25, 8.0])
def test_a_best_scale_on_the_edge_extends_the_grid_and_all_get_as_many_trials(best: float) -> None:
    done = tuned_to({"constant": best, "sgdr": 1}, plan())
    each = protocol.tuned(plan(), done)
    assert each["constant"].best == best
    assert not each["constant"].on_edge
    counts = {label: sum(o.trial.label == label for o in done) for label in ("constant", "sgdr")}
    assert counts["constant"] == counts["sgdr"]


def test_the_tuning_ends_for_a_schedule_that_wants_ever_more() -> None:
    done = tuned_to({"constant": 2.0**30, "sgdr": 1}, plan())
    constant = protocol.tuned(plan(), done)["constant"]
    assert constant.on_edge
    assert constant.extended == protocol.MOST_EXTENSIONS
    assert len(constant.losses) == 3 + 2 * protocol.MOST_EXTENSIONS


def test_a_diverged_run_is_the_worst_and_the_median_counts() -> None:
    this = plan(scales=(0.5, 1, 2, 4))
    losses = {0.5: (2.0, 2.0), 1: (1.5, 1.5), 2: (0.1, None), 4: (None, None)}
    done = [outcome(t, losses[t.scale][t.seed - 5]) for t in protocol.tuning_trials(this, [])]
    assert protocol.tuning_trials(this, done) == []
    assert protocol.tuned(this, done)["sgdr"].best == 1


def test_a_schedule_that_always_fails_ends_the_tuning() -> None:
    done = [outcome(t, None if t.label == "sgdr" else abs(t.scale - 1)) for t in protocol.tuning_trials(plan(), [])]
    assert protocol.tuning_trials(plan(), done) == []
    assert protocol.tuned(plan(), done)["sgdr"].hopeless
    assert protocol.baseline(plan(), protocol.tuned(plan(), done)) == "constant"


def test_the_measurement_is_paired_on_fresh_seeds_at_the_best_scale() -> None:
    done = tuned_to({"constant": 2**0.5, "sgdr": 1}, plan())
    trials = protocol.missing(plan(), done)
    seeds = {label: [t.seed for t in trials if t.label == label] for label in ("constant", "sgdr")}
    assert seeds["constant"] == seeds["sgdr"]
    assert len(seeds["sgdr"]) == 3
    assert not set(seeds["sgdr"]) & {o.trial.seed for o in done}
    assert {t.scale for t in trials if t.label == "sgdr"} == {1}
    rest = protocol.missing(plan(), [*done, *(outcome(t, 1.0) for t in trials[:4])])
    assert rest == trials[4:]


def test_the_reference_is_the_best_of_the_tuning_unless_one_is_named() -> None:
    done = [outcome(t, abs(t.scale - 1) + (t.label == "constant")) for t in protocol.tuning_trials(plan(), [])]
    assert protocol.baseline(plan(), protocol.tuned(plan(), done)) == "sgdr"
    assert protocol.baseline(plan(baseline="constant"), protocol.tuned(plan(baseline="constant"), done)) == "constant"


@pytest.mark.parametrize(
    ("all_pairs", "pairs"),
    [
        (False, [("constant", "sgdr"), ("wsd", "sgdr")]),
        (True, [("constant", "sgdr"), ("constant", "wsd"), ("sgdr", "wsd")]),
    ],
)
def test_each_is_compared_with_the_baseline_or_with_every_other(all_pairs: bool, pairs: list[tuple[str, str]]) -> None:
    this = plan("constant", "sgdr", "wsd", baseline="sgdr", all_pairs=all_pairs)
    done = tuned_to({"constant": 1, "sgdr": 1, "wsd": 1}, this)
    done += [outcome(t, 1.0) for t in protocol.missing(this, done)]
    found = protocol.tuned(this, done)
    evidence = analyse(this, ACCURACY, found, protocol.measured(this, done, found))
    assert [(pair.first, pair.second) for pair in evidence.differences] == pairs
    assert len(pairs) == this.family


def test_as_is_trains_each_once() -> None:
    this = plan(protocol="as-is", holdout=0)
    assert protocol.tuning_trials(this, []) == []
    assert [(t.label, t.scale, t.seed) for t in protocol.missing(this, [])] == [
        ("constant", 1, 5),
        ("sgdr", 1, 5),
    ]


def test_a_plan_survives_json() -> None:
    this = plan("constant", "sgdr(cycles=2)", "sgdr(cycles=3)", baseline="constant", all_pairs=True)
    assert Plan.from_json(this.to_json()) == this
    assert this.family == 3
    assert [row.label for row in this.rows] == ["constant", "sgdr(cycles=2)", "sgdr(cycles=3)"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ("sgdr",)}, "at least two schedules, and 1 is given"),
        ({"names": ("sgdr", "sgdr")}, "two schedules are called 'sgdr'"),
        ({"scales": ()}, "scales is empty"),
        ({"scales": (1, 0)}, "scale 0 is refused: expected a number above 0"),
        ({"scales": (1, math.nan)}, "scale nan is refused"),
        ({"scales": (1, 1.0)}, "given twice"),
        ({"seeds": 0}, "seeds=0 is refused: expected a whole number from 1"),
        ({"baseline": "sgd"}, r"the baseline 'sgd' is none of the schedules \(did you mean 'sgdr'\?\)"),
    ],
)
def test_what_no_comparison_can_have(changes: dict[str, object], message: str) -> None:
    names = changes.pop("names", ("constant", "sgdr"))
    with pytest.raises(UsageError, match=message):
        plan(*names, **changes).check()  # type: ignore[arg-type, misc]


def test_grid() -> None:
    assert grid(5) == (0.25, 0.5, 1, 2, 4)
    assert len(grid(7)) == 7
    assert all(high / low == 2 for low, high in zip(grid(7), grid(7)[1:], strict=False))


@pytest.mark.parametrize(
    ("workload_epochs", "epochs"), [(10, [3, 10, 20]), (5, [2, 5, 10]), (1, [1, 1, 2]), (30, [9, 30, 60])]
)
def test_a_budget_counts_in_epochs_of_the_workload(workload_epochs: int, epochs: list[int]) -> None:
    budgets = ("quick", "standard", "thorough")
    assert [effort_of(budget, workload_epochs).epochs for budget in budgets] == epochs
    assert [effort_of(budget, workload_epochs, epochs=7).epochs for budget in budgets] == [7, 7, 7]
