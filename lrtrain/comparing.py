"""`compare`: from schedules and conditions to trained runs, their evidence, and the directory that keeps both."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lrtrain.comparison import protocol
from lrtrain.comparison.data import load_data
from lrtrain.comparison.plan import Plan
from lrtrain.comparison.store import Store, new_store
from lrtrain.comparison.trial import Outcome, Trial
from lrtrain.errors import UsageError
from lrtrain.versions import versions

if TYPE_CHECKING:
    from lrtrain.comparison.protocol import Tuned
    from lrtrain.comparison.trainer import Trainer


@dataclass(frozen=True)
class Forecast:
    """What a comparison is about to cost.

    Args:
      tuning: runs of the tuning, should no grid be extended.
      measuring: runs of the measurement.
      done: runs that are done already.
      width: runs that train at once.
      seconds: the time that the rest will take, from a measured step.
      directory: where it is kept.
    """

    tuning: int
    measuring: int
    done: int
    width: int
    seconds: float
    directory: Path


class CompareReporter(Protocol):
    """Receives what happens in a comparison, in order, on the thread that trains."""

    def phase(self, text: str) -> None:
        """Something that takes a while begins, such as loading data."""

    def planned(self, plan: Plan, forecast: Forecast) -> None:
        """Training begins."""

    def stepped(self, steps: int) -> None:
        """The runs that train at the moment have each done so many steps more."""

    def finished(self, outcome: Outcome, done: int, total: int) -> None:
        """A run is done."""

    def tuned(self, tuned: Mapping[str, Tuned], reference: str) -> None:
        """The tuning is complete; ``reference`` is what the others will be measured against."""


class Unheard:
    """A reporter that tells nothing."""

    def phase(self, text: str) -> None:
        """Tells nothing."""

    def planned(self, plan: Plan, forecast: Forecast) -> None:
        """Tells nothing."""

    def stepped(self, steps: int) -> None:
        """Tells nothing."""

    def finished(self, outcome: Outcome, done: int, total: int) -> None:
        """Tells nothing."""

    def tuned(self, tuned: Mapping[str, Tuned], reference: str) -> None:
        """Tells nothing."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """A comparison that is complete.

    Args:
      plan: what was compared, and how.
      outcomes: every run.
      directory: where its files are.
      about: versions and devices that it was made with.
    """

    plan: Plan
    outcomes: tuple[Outcome, ...]
    directory: Path
    about: Mapping[str, Any]

    def measured(self, label: str) -> list[Outcome]:
        """Returns the runs of a schedule that are reported, seed by seed."""
        return protocol.measured(self.plan, self.outcomes, label)


def compare_plan(
    plan: Plan | None,
    *,
    directory: str | Path | None = None,
    resume: bool = False,
    reporter: CompareReporter | None = None,
) -> Comparison:
    """Trains all runs of a plan, or those that an interrupted comparison lacks.

    Args:
      plan: what to compare; None with ``resume``, which takes the plan that it finds.
      directory: where its files go; new or empty, unless it is resumed. None for ``runs/compare-<date>-<time>``.
      resume: go on with the comparison in ``directory``.
      reporter: receives what happens; None for silence.

    Raises:
      UsageError: what is asked for cannot be done; nothing has been written.
      RunDirError: the directory is not empty, cannot be read, or another process works on it.
    """
    reporter = reporter or Unheard()
    store, plan, about = _opened(plan, directory, resume)
    plan.check()
    trainer, about = _trainer(plan, about, reporter)
    if not resume:
        store.create(plan, about)
    with store.locked():
        outcomes = _Work(plan, store, trainer, reporter).run()
    return Comparison(plan, tuple(outcomes), store.path, about)


def _opened(plan: Plan | None, directory: str | Path | None, resume: bool) -> tuple[Store, Plan, dict[str, Any]]:
    if not resume:
        if plan is None:
            raise UsageError("there is nothing to compare: name two schedules or more")
        return new_store(Path(directory) if directory is not None else None), plan, {}
    if directory is None:
        raise UsageError("to resume a comparison, say which: its directory is missing")
    store = Store(Path(directory).expanduser().absolute())
    stored, about = store.read()
    if plan is not None and plan != stored:
        raise UsageError(f"{directory} holds another comparison than the one asked for: resume it without options")
    return store, stored, about


def _trainer(plan: Plan, about: dict[str, Any], reporter: CompareReporter) -> tuple[Trainer, dict[str, Any]]:
    from lrtrain.comparison.trainer import make_trainer
    from lrtrain.training import keep_compiled

    reporter.phase(f"loading {plan.train.dataset}")
    data = load_data(plan)
    reporter.phase("starting JAX")
    keep_compiled()
    trainer = make_trainer(plan, data, _most(plan))
    return trainer, about or {"versions": versions([]), "device": trainer.device}


def _most(plan: Plan) -> int:
    if plan.protocol == "as-is":
        return len(plan.rows)
    return len(plan.rows) * max(len(plan.effort.scales) * plan.effort.tuning_seeds, plan.effort.seeds)


class _Work:
    """Trains what is missing, stage after stage, and notes every run as soon as it is done."""

    def __init__(self, plan: Plan, store: Store, trainer: Trainer, reporter: CompareReporter) -> None:
        self._plan, self._store, self._trainer, self._reporter = plan, store, trainer, reporter
        self._outcomes = store.outcomes()

    def run(self) -> list[Outcome]:
        plan = self._plan
        tuning = len(protocol.tuning_trials(plan, []))
        measuring = len(plan.rows) * len(protocol.fresh_seeds(plan))
        self._reporter.phase("compiling and timing a step")
        done = len(self._outcomes)
        waves = -(-max(0, tuning + measuring - done) // self._trainer.width)
        seconds = waves * self._trainer.seconds_per_wave() if waves else 0.0
        forecast = Forecast(tuning, measuring, done, self._trainer.width, seconds, self._store.path)
        self._reporter.planned(plan, forecast)
        if tuning:
            self._tune(measuring)
        self._train(protocol.measuring_trials(plan, self._outcomes), 0)
        return self._outcomes

    def _tune(self, measuring: int) -> None:
        while trials := protocol.tuning_trials(self._plan, self._outcomes):
            self._train(trials, measuring)
        tuned = protocol.tuned(self._plan, self._outcomes)
        self._reporter.tuned(tuned, protocol.reference(self._plan, self._outcomes))

    def _train(self, trials: Sequence[Trial], later: int) -> None:
        total = len(self._outcomes) + len(trials) + later
        place = functools.partial(self._store.directory, self._plan)
        for outcomes in self._trainer.train(trials, place, self._reporter.stepped):
            for outcome in outcomes:
                self._store.add(self._plan, outcome)
                self._outcomes.append(outcome)
                self._reporter.finished(outcome, len(self._outcomes), total)


def merge(directories: Sequence[str | Path], into: str | Path | None = None) -> Store:
    """Puts the runs of several comparisons into one, whose conditions are all equal.

    Args:
      directories: the comparisons.
      into: the directory of the new one; None for ``runs/compare-<date>-<time>``.

    Returns:
      The new comparison. What it lacks, such as seeds that only one of them has, is trained when it is resumed.

    Raises:
      UsageError: conditions differ; the first difference is named.
      RunDirError: one cannot be read, or the new directory is not empty.
    """
    import shutil

    stores = [Store(Path(directory).expanduser().absolute()) for directory in directories]
    plans = [store.read()[0] for store in stores]
    plan = plans[0]
    for store, other in zip(stores[1:], plans[1:], strict=True):
        _check_alike(plan, other, stores[0].path, store.path)
        rows = (*plan.rows, *(row for row in other.rows if row not in plan.rows))
        seeds = max(plan.effort.seeds, other.effort.seeds)
        plan = dataclasses.replace(plan, rows=rows, effort=dataclasses.replace(plan.effort, seeds=seeds))
    plan.check()
    merged = new_store(Path(into) if into is not None else None)
    merged.create(plan, {**stores[0].read()[1], "merged": [str(store.path) for store in stores]})
    seen: set[Trial] = set()
    for store in stores:
        for path, outcome in store.finished():
            if outcome.trial not in seen:
                seen.add(outcome.trial)
                shutil.copytree(path, merged.directory(plan, outcome.trial))
    return merged


def _check_alike(first: Plan, second: Plan, where: Path, other: Path) -> None:
    """Raises UsageError for the first condition that is not the same; schedules and seeds may differ."""
    ours, theirs = ({**plan.to_json(), **plan.train.to_json()} for plan in (first, second))
    ours["scales"], theirs["scales"] = first.effort.scales, second.effort.scales
    ours["tuning_seeds"], theirs["tuning_seeds"] = first.effort.tuning_seeds, second.effort.tuning_seeds
    free = ("schedules", "effort", "train", "baseline", "all_pairs", "devices", "micro_batch", "data_dir", "version")
    for name, value in ours.items():
        if name not in free and value != theirs[name]:
            raise UsageError(
                f"{where.name} and {other.name} cannot be merged: {name} is {value} in one "
                f"and {theirs[name]} in the other"
            )
    for row in first.rows:
        for each in second.rows:
            if row.label == each.label and row.spec != each.spec:
                raise UsageError(
                    f"{where.name} and {other.name} cannot be merged: '{row.label}' is {row.spec} in one and "
                    f"{each.spec} in the other"
                )
