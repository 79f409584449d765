"""Which runs come next, and which scale is chosen: the protocol without any training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from lrtrain.comparison.conditions import centre_of_grid
from lrtrain.comparison.evidence import analyse
from lrtrain.comparison.judge import Judge
from lrtrain.comparison.plan import LOOKS, Effort, Plan, effort_of, grid
from lrtrain.comparison.protocol import Standing, fresh_seeds, planned
from lrtrain.comparison.rows import labelled
from lrtrain.comparison.trial import Outcome, Trial
from lrtrain.comparison.tuning import cliffs
from lrtrain.comparison.tuning_trials import MOST_EXTENSIONS, tuning_seeds
from lrtrain.comparison.verdict import verdict
from lrtrain.errors import UsageError
from lrtrain.runs.train_config import TrainConfig
from lrtrain.workloads.headline import Headline


def plan(*names: str, scales: tuple[float, ...] = (0.5, 1, 2), seeds: int = 3, **options: object) -> Plan:
    effort = Effort(scales, 2, seeds, 1)
    return Plan(labelled(names or ("constant", "sgdr")), TrainConfig(seed=5), effort=effort, **options)  # type: ignore[arg-type]


def outcome(trial: Trial, loss: float | None) -> Outcome:
    state = "finished" if loss is not None else "diverged"
    return Outcome(trial, state, None, 1, loss, 0.5, None, None, (0.1, 0.1, 0.1), 1.0)


def standing(this: Plan, done: Sequence[Outcome] = ()) -> Standing:
    return Standing(this, Judge(Headline()), done)


def tuned_to(best: dict[str, float], this: Plan) -> list[Outcome]:
    """Carries the tuning out, for schedules whose loss is lowest at a known scale."""
    done: list[Outcome] = []
    while trials := standing(this, done).to_tune:
        done += [outcome(t, abs(math.log2(t.scale) - math.log2(best[t.label])) + 0.01 * t.seed) for t in trials]
    return done


def test_every_schedule_has_the_same_scales_and_seeds() -> None:
    trials = standing(plan()).to_tune
    assert {(t.label, t.scale, t.seed) for t in trials} == {
        (label, scale, seed) for label in ("constant", "sgdr") for scale in (0.5, 1, 2) for seed in (5, 6)
    }
    assert {t.stage for t in trials} == {"tune"}


def test_a_best_scale_inside_ends_the_tuning() -> None:
    done = tuned_to({"constant": 1, "sgdr": 1}, plan())
    assert len(done) == 12
    assert {label: each.best for label, each in standing(plan(), done).tuned.items()} == {"constant": 1, "sgdr": 1}


@pytest.mark.parametrize("best", [4.0, 0.25, 8.0])
def test_a_best_scale_on_the_edge_extends_the_grid_and_all_get_as_many_trials(best: float) -> None:
    done = tuned_to({"constant": best, "sgdr": 1}, plan())
    each = standing(plan(), done).tuned
    assert each["constant"].best == best
    assert not each["constant"].on_edge
    counts = {label: sum(o.trial.label == label for o in done) for label in ("constant", "sgdr")}
    assert counts["constant"] == counts["sgdr"]


def test_the_tuning_ends_for_a_schedule_that_wants_ever_more() -> None:
    done = tuned_to({"constant": 2.0**30, "sgdr": 1}, plan())
    constant = standing(plan(), done).tuned["constant"]
    assert constant.on_edge
    assert constant.extended == MOST_EXTENSIONS
    assert len(constant.costs) == 3 + 2 * MOST_EXTENSIONS


def test_a_diverged_run_is_the_worst_and_the_median_counts() -> None:
    this = plan(scales=(0.5, 1, 2, 4))
    losses = {0.5: (2.0, 2.0), 1: (1.5, 1.5), 2: (0.1, None), 4: (None, None)}
    done = [outcome(t, losses[t.scale][t.seed - 5]) for t in standing(this).to_tune]
    assert standing(this, done).to_tune == []
    assert standing(this, done).tuned["sgdr"].best == 1


def test_a_schedule_that_always_fails_ends_the_tuning() -> None:
    done = [outcome(t, None if t.label == "sgdr" else abs(t.scale - 1)) for t in standing(plan()).to_tune]
    assert standing(plan(), done).to_tune == []
    assert standing(plan(), done).tuned["sgdr"].hopeless
    assert standing(plan(), done).baseline == "constant"


def test_the_measurement_is_paired_on_fresh_seeds_at_the_best_scale() -> None:
    done = tuned_to({"constant": 2**0.5, "sgdr": 1}, plan())
    trials = standing(plan(), done).missing
    seeds = {label: [t.seed for t in trials if t.label == label] for label in ("constant", "sgdr")}
    assert seeds["constant"] == seeds["sgdr"]
    assert len(seeds["sgdr"]) == 3
    assert not set(seeds["sgdr"]) & {o.trial.seed for o in done}
    assert {t.scale for t in trials if t.label == "sgdr"} == {1}
    rest = standing(plan(), [*done, *(outcome(t, 1.0) for t in trials[:4])]).missing
    assert rest == trials[4:]


def test_the_reference_is_the_best_of_the_tuning_unless_one_is_named() -> None:
    done = [outcome(t, abs(t.scale - 1) + (t.label == "constant")) for t in standing(plan()).to_tune]
    assert standing(plan(), done).baseline == "sgdr"
    assert standing(plan(baseline="constant"), done).baseline == "constant"


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
    done += [outcome(t, 1.0) for t in standing(this, done).missing]
    evidence = analyse(standing(this, done))
    assert [(pair.first, pair.second) for pair in evidence.differences] == pairs
    assert len(pairs) == this.family


class TestRefinement:
    """More scales around the best one of the grid."""

    @staticmethod
    def refined(*names: str, tuning_seeds: int = 2, seeds: int = 3, exhaustive: bool = False) -> Plan:
        effort = Effort(grid(5), tuning_seeds, seeds, 1, refine=True, exhaustive=exhaustive)
        return Plan(labelled(names or ("constant", "sgdr")), TrainConfig(seed=5), effort=effort)

    @pytest.mark.parametrize("best", [1.0, 0.8, 1.3, 2.3, 0.45])
    def test_without_chance_the_vertex_is_found(self, best: float) -> None:
        this = self.refined()
        done: list[Outcome] = []
        while trials := standing(this, done).to_tune:
            at = {"constant": best, "sgdr": 1.1}
            done += [outcome(t, 1 + 0.1 * (math.log2(t.scale) - math.log2(at[t.label])) ** 2) for t in trials]
        found = standing(this, done).tuned
        assert found["constant"].best == pytest.approx(best, rel=1e-3)
        assert found["sgdr"].best == pytest.approx(1.1, rel=1e-3)
        assert found["sgdr"].basin.loss == pytest.approx(0, abs=1e-6)

    def test_one_run_at_each_scale_then_five_more_scales_with_all_seeds(self) -> None:
        this = self.refined()
        done = tuned_to({"constant": 1, "sgdr": 1}, this)
        each = [outcome.trial for outcome in done if outcome.trial.label == "constant"]
        assert [trial.scale for trial in each if trial.seed == 5] == list(grid(5))
        assert len(each) == 5 + 2 * 3 + 2 * 2
        assert planned(this) == (2 * 15, 2 * 3)
        assert {trial.seed for trial in each} == set(tuning_seeds(this))
        assert not set(tuning_seeds(this)) & set(fresh_seeds(this))

    def test_exhaustive_trains_all_seeds_at_every_scale(self) -> None:
        this = self.refined(exhaustive=True)
        assert len(standing(this).to_tune) == 2 * 5 * 2
        assert planned(this)[0] == 2 * (10 + 10)
        assert this.effort.looks == (3,)

    def test_the_looks_are_those_below_the_number_of_seeds_and_that(self) -> None:
        assert [self.refined(seeds=n).effort.looks for n in (6, 8, 10, 30)] == [(6,), (8,), (8, 10), LOOKS]

    def test_grids_are_of_the_same_learning_rates(self) -> None:
        """A schedule whose own highest rate is three times the workload's begins at a third of the factors."""
        centres = {"constant": centre_of_grid(1e-4, 1e-4), "sgdr": centre_of_grid(3e-4, 1e-4)}
        first = Standing(self.refined(), Judge(Headline()), [], centres).to_tune
        scales = {label: [t.scale for t in first if t.label == label] for label in centres}
        assert scales["constant"] == list(grid(5))
        np.testing.assert_allclose(3e-4 * np.array(scales["sgdr"]), 1e-4 * np.array(grid(5)), rtol=1e-3)

    def test_a_learning_rate_that_was_given_on_purpose_is_the_centre_itself(self) -> None:
        assert [centre_of_grid(highest, 1e-4) for highest in (0.05, 1e-3, 1e-6, 0.0)] == [1.0, 1.0, 1.0, 1.0]
        assert centre_of_grid(8e-4, 1e-4) == pytest.approx(1 / 8)

    def test_a_cliff_is_kept_at_a_distance(self) -> None:
        """The loss falls up to scale 2, and every run at a higher scale diverges: the choice is one that was tried."""
        this = self.refined()
        done: list[Outcome] = []
        while trials := standing(this, done).to_tune:
            done += [outcome(t, None if t.scale > 2 else 2 - math.log2(t.scale) * 0.3) for t in trials]
        tuned = standing(this, done).tuned["sgdr"]
        assert tuned.best in tuned.costs
        assert all(map(math.isfinite, tuned.costs[tuned.best]))
        assert tuned.best > 1.4

    def test_a_schedule_that_always_fails_is_not_refined(self) -> None:
        this = self.refined()
        done: list[Outcome] = []
        while trials := standing(this, done).to_tune:
            done += [outcome(t, None if t.label == "sgdr" else (t.scale - 1) ** 2) for t in trials]
        assert sum(each.trial.label == "sgdr" for each in done) == 5
        assert standing(this, done).tuned["sgdr"].hopeless

    def test_a_round_does_not_depend_on_what_comes_after_it(self) -> None:
        """A resume finds the same trials, in whatever order the outcomes are read."""
        this = self.refined()
        done = tuned_to({"constant": 1.3, "sgdr": 0.7}, this)
        for count in range(len(done)):
            known = {each.trial for each in done[:count]}
            missing = standing(this, list(reversed(done[:count]))).to_tune
            assert missing
            assert set(missing) <= {each.trial for each in done} - known

    def test_a_grid_on_which_all_is_equal_is_not_extended(self) -> None:
        """Accuracies are whole examples, so that several scales may have the same one, or all of them."""
        this = self.refined()
        done: list[Outcome] = []
        while trials := standing(this, done).to_tune:
            done += [outcome(t, 1.0) for t in trials]
        tuned = standing(this, done).tuned["sgdr"]
        assert (tuned.best, tuned.extended, tuned.on_edge) == (1.0, 0, False)
        assert tuned.basin.loss == pytest.approx(0, abs=1e-6)
        assert cliffs(tuned.costs) == set()

    def test_scales_that_are_a_little_worse_than_equal_ones_are_no_cliff(self) -> None:
        assert cliffs({0.5: [1.01], 1.0: [1.0], 2.0: [1.0], 4.0: [1.0], 8.0: [3.0]}) == {8.0}

    def test_a_scale_that_fails_after_the_grid_makes_a_schedule_hopeless(self) -> None:
        """Every run of the grid has a result, and none of the later seeds."""
        this = self.refined()
        done: list[Outcome] = []
        while trials := standing(this, done).to_tune:
            done += [
                outcome(t, None if t.label == "sgdr" and t.seed > 5 else abs(math.log2(t.scale)) + 1) for t in trials
            ]
        tuned = standing(this, done).tuned
        assert tuned["constant"].best == 1.0
        assert math.isfinite(tuned["sgdr"].basin.cost) or tuned["sgdr"].hopeless

    def test_the_margin_is_in_the_unit_of_what_is_judged(self) -> None:
        """Without refinement the loss chooses the scale, and the accuracy says what that may cost."""
        this = plan(scales=(0.25, 0.5, 1, 2, 4))
        done = []
        for t in standing(this).to_tune:
            at = math.log2(t.scale)
            loss, accuracy = 1 + 10 * at**2 + t.seed, 0.9 - 0.001 * (at - 0.4) ** 2 - 0.0001 * (t.seed % 2)
            done.append(Outcome(t, "finished", None, 1, loss, accuracy, None, None, (0.1, 0.1, 0.1), 1.0))
        found = Standing(this, Judge(), done)
        assert found.tuned["sgdr"].best == 1
        # The accuracy is best at 0.4 octaves: 0.001 x 0.4^2 is lost.
        assert found.tuned["sgdr"].basin.loss == pytest.approx(0.00016, rel=0.2)
        assert found.margin("sgdr", "constant") == pytest.approx(2 * found.tuned["sgdr"].basin.loss)


class TestMeasuring:
    """What is measured, and what counts."""

    @staticmethod
    def measured(this: Plan, losses: Mapping[str, Callable[[int], float | None]], guess: float = 2.3) -> Standing:
        """Carries a comparison out whose tuning is the same for all; ``losses`` has the one of each seed, from 0."""
        judge, done = Judge(Headline(), {"loss": guess}), tuned_to(dict.fromkeys(losses, 1.0), this)
        while trials := Standing(this, judge, done).missing:
            first = fresh_seeds(this)[0]
            done += [outcome(t, losses[t.label](t.seed - first)) for t in trials]
        return Standing(this, judge, done)

    def test_a_schedule_that_is_decided_is_not_trained_any_further(self) -> None:
        effort = Effort((0.5, 1, 2), 1, 30, 1, exhaustive=False)
        this = Plan(labelled(("constant", "sgdr", "wsd")), TrainConfig(), effort=effort, baseline="constant")
        close = [0.6, -0.5, 0.9, 0.2, 0.4, -0.1, 0.8, 0.3]
        found = self.measured(
            this,
            {
                "constant": lambda seed: 1 + 0.01 * (seed % 3),
                "sgdr": lambda seed: 0.5 + 0.01 * (seed % 4),
                "wsd": lambda seed: 1 + 0.1 * close[seed % 8],
            },
        )
        counts = {label: len(each) for label, each in found.measured.items()}
        assert counts["sgdr"] == 8
        assert counts["constant"] == counts["wsd"] > 8
        assert [(pair.verdict, pair.n) for pair in found.differences] == [("better", 8), ("tie", counts["wsd"])]

    def test_a_run_that_diverges_counts_as_the_worst_result(self) -> None:
        found = self.measured(
            plan(seeds=10, baseline="constant"),
            {"constant": lambda seed: 1 + 0.01 * seed, "sgdr": lambda seed: 0.9 + 0.01 * seed if seed else None},
        )
        assert found.results["sgdr"][0] == 2.3
        (pair,) = found.differences
        assert (pair.n, pair.verdict) == (10, "tie")
        row = analyse(found).row("sgdr")
        assert (row.score.n, row.score.diverged) == (10, 1)
        assert row.score.mean == pytest.approx((2.3 + sum(0.9 + 0.01 * seed for seed in range(1, 10))) / 10)

    def test_without_a_guess_the_worst_is_that_of_the_tuning(self) -> None:
        this = plan(seeds=8)
        judge, done = Judge(Headline()), tuned_to({"constant": 1.0, "sgdr": 1.0}, plan(seeds=8))
        done += [outcome(t, None if t.label == "sgdr" else 0.5) for t in Standing(this, judge, done).missing]
        worst = max(each.validation_loss or 0 for each in done if each.trial.stage == "tune")
        assert set(Standing(this, judge, done).results["sgdr"]) == {worst}

    @pytest.mark.parametrize("reference", ["constant", "sgdr"])
    def test_one_whose_runs_all_diverge_is_worse_whichever_is_the_reference(self, reference: str) -> None:
        found = self.measured(
            plan("constant", "sgdr", "wsd", seeds=8, baseline=reference),
            {"constant": lambda seed: 1 + 0.01 * seed, "sgdr": lambda _: None, "wsd": lambda seed: 1.1 + 0.02 * seed},
        )
        verdicts = {frozenset((pair.first, pair.second)): pair for pair in found.differences}
        pair = verdicts[frozenset(("constant", "sgdr"))]
        assert pair.verdict == ("worse" if pair.first == "sgdr" else "better")
        assert "sgdr" not in analyse(found).leaders
        assert len(found.differences) == 2

    def test_one_whose_plugin_always_raises_is_not_tested(self) -> None:
        this = plan("constant", "sgdr", "wsd", seeds=8)
        judge, done = Judge(Headline(), {"loss": 2.3}), []
        while trials := Standing(this, judge, done).missing:
            done += [outcome(t, 1.0 + 0.001 * t.seed % 7) for t in trials if t.label != "sgdr"]
            done += [
                Outcome(t, "failed", "no", 0, None, None, None, None, None, 0.0) for t in trials if t.label == "sgdr"
            ]
        found = Standing(this, judge, done)
        assert all("sgdr" not in {pair.first, pair.second} for pair in found.differences)
        assert analyse(found).row("sgdr").problem == "failed: no"
        assert analyse(found).leaders

    def test_a_reference_whose_plugin_always_raises_leaves_nothing_to_test(self) -> None:
        this = plan("constant", "sgdr", seeds=8, baseline="sgdr")
        judge, done = Judge(Headline(), {"loss": 2.3}), []
        while trials := Standing(this, judge, done).missing:
            done += [outcome(t, 1.0) for t in trials if t.label != "sgdr"]
            done += [
                Outcome(t, "failed", "no", 0, None, None, None, None, None, 0.0) for t in trials if t.label == "sgdr"
            ]
        found = Standing(this, judge, done)
        assert found.differences == []
        assert verdict(analyse(found)) == ["No pair could be tested, because sgdr, the reference, has no result."]

    def test_a_run_that_diverges_is_never_better_than_one_that_does_not(self) -> None:
        """A finite loss above that of a guess counts as that where a run has none."""
        found = self.measured(
            plan(seeds=8, baseline="constant"),
            {"constant": lambda seed: 50.0 + seed, "sgdr": lambda _: None},
        )
        assert [pair.verdict for pair in found.differences] == ["tie"]
        assert analyse(found).row("constant").score.mean == pytest.approx(53.5)

    def test_what_is_no_better_than_a_guess_has_collapsed(self) -> None:
        found = self.measured(
            plan(seeds=8, baseline="constant"),
            {"constant": lambda seed: 1 + 0.01 * seed, "sgdr": lambda seed: 2.3026 if seed < 3 else 0.8 + 0.01 * seed},
        )
        row = analyse(found).row("sgdr")
        assert (row.score.diverged, row.score.collapsed) == (0, 3)
        assert "3 of the 8 runs of sgdr ended no better than a guess" in " ".join(verdict(analyse(found)))

    def test_a_metric_that_is_constant_is_a_tie(self) -> None:
        found = self.measured(plan(seeds=8), {"constant": lambda _: 1.0, "sgdr": lambda _: 1.0})
        assert [pair.verdict for pair in found.differences] == ["tie"]
        assert analyse(found).enough


def test_as_is_trains_each_once() -> None:
    this = plan(protocol="as-is", holdout=0)
    assert standing(this).to_tune == []
    assert [(t.label, t.scale, t.seed) for t in standing(this, []).missing] == [
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
