"""`compare`: from schedules and conditions to trained runs, their evidence, and the directory that keeps both."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lrtrain.comparison import protocol
from lrtrain.comparison.data import load_data
from lrtrain.comparison.plan import HOLDOUT, Plan, effort_of, labelled
from lrtrain.comparison.store import Store, new_store
from lrtrain.comparison.trial import Outcome, Trial
from lrtrain.config import TrainConfig, TrainOptions
from lrtrain.devices import select_devices
from lrtrain.distributed import ALONE, Distributed, Processes, connect, is_main, losses_named, processes_connected
from lrtrain.errors import RunDirError, UsageError
from lrtrain.run_dir import refusals_named
from lrtrain.spec import Spec
from lrtrain.versions import versions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from lrtrain.comparison.analysis import Evidence
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

    @functools.cached_property
    def evidence(self) -> Evidence:
        """What the runs say; see `lrtrain.comparison.analysis.Evidence`."""
        from lrtrain.comparison.analysis import analyse

        return analyse(self.plan, self.outcomes)

    @property
    def report(self) -> Path:
        """The page, once it is written."""
        return Store(self.directory).report

    def measured(self, label: str) -> list[Outcome]:
        """Returns the runs of a schedule that are reported, seed by seed."""
        return protocol.measured(self.plan, self.outcomes, label)


def compare(  # noqa: PLR0913
    *schedules: Spec | str | Mapping[str, Any],
    budget: str = "standard",
    lr_scales: Sequence[float] | None = None,
    tuning_seeds: int | None = None,
    seeds: int | None = None,
    holdout: int = HOLDOUT,
    baseline: str | None = None,
    all_pairs: bool = False,
    run_dir: str | Path | None = None,
    reporter: CompareReporter | None = None,
    distributed: Distributed | None = None,
    **options: Unpack[TrainOptions],
) -> Comparison:
    """Trains several schedules under equal conditions, says which is better, and writes a report.

    Args:
      *schedules: two or more specs, as text (``"sgdr(cycles=4)"``), tables or `Spec`.
      budget: ``"quick"``, ``"standard"`` or ``"thorough"``: sets scales, seeds and epochs that are not given.
      lr_scales: factors on the learning rate that every schedule is tuned over.
      tuning_seeds: runs at each of them.
      seeds: runs of each schedule's best scale, on seeds that the tuning has not seen.
      holdout: training images that are held out for tuning.
      baseline: the schedule that the others are measured against; None for the best of the tuning.
      all_pairs: whether every schedule is compared with every other.
      run_dir: where to write; empty or not there yet. None for ``runs/compare-<date>-<time>``.
      reporter: receives what happens; None for silence.
      distributed: this process is one of several that share the runs; see `lrtrain.Distributed`.
      **options: the fields of `lrtrain.config.TrainConfig`, as for `lrtrain.train`.

    Returns:
      The comparison; its ``evidence`` holds means, intervals and verdicts, its ``report`` is the page.

    Raises:
      UsageError: what is asked for cannot be done; nothing has been written.

    Example:
      ```python
      import lrtrain

      comparison = lrtrain.compare("constant", "sgdr", budget="quick", train_size=6000)
      print(comparison.evidence.leaders, comparison.report)
      ```

    Source:
      Protocol: Bouthillier et al., "Accounting for Variance in Machine Learning Benchmarks", arXiv 2103.03098.
    """
    from lrtrain.comparison.extras import check_extras
    from lrtrain.plugins import activate

    check_extras()
    specs = [Spec.of(schedule) for schedule in schedules]
    for spec in specs:
        activate([spec]).schedule_plugin()
    effort = effort_of(budget, scales=lr_scales, tuning_seeds=tuning_seeds, seeds=seeds, epochs=options.get("epochs"))
    train = dataclasses.replace(TrainConfig(**options), epochs=effort.epochs)
    plan = Plan(labelled(specs), train, "fair", effort, holdout, baseline, all_pairs)
    comparison = compare_plan(plan, directory=run_dir, reporter=reporter, distributed=distributed)
    if is_main():
        write_results(comparison)
    return comparison


def read_comparison(directory: str | Path) -> Comparison:
    """Returns a comparison that is complete, from its files.

    Raises:
      RunDirError: there is none, it cannot be read, or runs are missing.
    """
    store = Store(Path(directory).expanduser().absolute())
    plan, about = store.read()
    outcomes = store.outcomes()
    missing = protocol.missing(plan, outcomes)
    if missing:
        raise RunDirError(
            f"{directory} lacks {len(missing)} runs or more: lrtrain compare --resume --run-dir {directory} trains them"
        )
    return Comparison(plan, tuple(outcomes), store.path, about)


def write_results(comparison: Comparison) -> Store:
    """Writes ``results.json``, ``pictures/`` and ``report.html`` into the directory of a comparison, anew each time.

    Returns:
      The paths of its files.

    Raises:
      TrainingError: the directory cannot be written; the runs are kept.
    """
    from lrtrain.report.write import write_files

    with refusals_named(comparison.directory):
        return write_files(comparison)


def compare_plan(
    plan: Plan | None,
    *,
    directory: str | Path | None = None,
    resume: bool = False,
    reporter: CompareReporter | None = None,
    distributed: Distributed | None = None,
) -> Comparison:
    """Trains all runs of a plan, or those that an interrupted comparison lacks.

    Args:
      plan: what to compare; None with ``resume``, which takes the plan that it finds.
      directory: where its files go; new or empty, unless it is resumed. None for ``runs/compare-<date>-<time>``.
      resume: go on with the comparison in ``directory``.
      reporter: receives what happens; None for silence.
      distributed: this process is one of several that share the runs and all make this call; see
        `lrtrain.Distributed`. All of them must see the directory.

    Raises:
      UsageError: what is asked for cannot be done; nothing has been written.
      RunDirError: the directory is not empty, cannot be read, or another process works on it.
      TrainingError: another process of a distributed comparison has failed or gone; runs that are done are kept.
    """
    reporter = reporter or Unheard()
    if distributed is not None:
        distributed.check()
    store, plan, about = _opened(plan, directory, resume)
    plan.check()
    outcomes = store.outcomes() if resume else []
    if distributed is None and not protocol.missing(plan, outcomes):
        return Comparison(plan, tuple(outcomes), store.path, about)
    processes = _join(distributed, plan, reporter)
    store = Store(Path(processes.from_main(lambda: str(store.path))))
    with losses_named(processes, lambda: f"lrtrain compare --resume --run-dir {store.path} goes on from there"):
        return _run(_Job(plan, store, resume, about), processes, reporter if processes.is_main else Unheard())


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


def _join(distributed: Distributed | None, plan: Plan, reporter: CompareReporter) -> Processes:
    from lrtrain.from_config import keep_compiled

    keep_compiled()
    if distributed is None:
        return ALONE
    if distributed.process_id in (0, None):
        reporter.phase("waiting for the other processes")
    connect(distributed)
    # JAX starts when it is asked which process this is, and then has the devices that it has.
    select_devices(plan.train.devices, None)
    return processes_connected()


@dataclass(frozen=True, eq=False)
class _Job:
    plan: Plan
    store: Store
    resume: bool
    about: dict[str, Any]


def _run(job: _Job, processes: Processes, reporter: CompareReporter) -> Comparison:
    plan, store, about = job.plan, job.store, job.about
    with processes.together():
        trainer = _trainer(plan, reporter)
    with contextlib.ExitStack() as held, refusals_named(store.path):
        with processes.together():
            if processes.is_main:
                if not job.resume:
                    about = {"versions": versions(), "device": trainer.device, "processes": processes.count}
                    store.create(plan, about)
                held.enter_context(store.locked())
        with processes.together():
            # The plan, too, of a new comparison.
            about = store.read()[1]
        outcomes = _Work(plan, store, trainer, reporter, processes).run()
    return Comparison(plan, tuple(outcomes), store.path, about)


def _trainer(plan: Plan, reporter: CompareReporter) -> Trainer:
    from lrtrain.comparison.trainer import make_trainer

    reporter.phase(f"loading {plan.train.dataset}")
    data = load_data(plan)
    reporter.phase("starting JAX")
    return make_trainer(plan, data, _most(plan))


def _most(plan: Plan) -> int:
    if plan.protocol == "as-is":
        return len(plan.rows)
    return len(plan.rows) * max(len(plan.effort.scales) * plan.effort.tuning_seeds, plan.effort.seeds)


class _Work:
    """Trains what is missing, stage after stage, and notes every run as soon as it is done.

    Of several processes each trains its share, and all come to know all outcomes before the next stage begins.
    """

    def __init__(
        self, plan: Plan, store: Store, trainer: Trainer, reporter: CompareReporter, processes: Processes
    ) -> None:
        self._plan, self._store, self._trainer, self._reporter = plan, store, trainer, reporter
        self._processes = processes
        # All have to plan the same runs, and a file may be seen later by one process than by another.
        texts = processes.gathered(lambda: list(map(_text, store.outcomes())) if processes.is_main else [])
        self._outcomes = list(map(_outcome, texts))

    def run(self) -> list[Outcome]:
        plan = self._plan
        tuning = len(protocol.tuning_trials(plan, []))
        measuring = len(plan.rows) * len(protocol.fresh_seeds(plan))
        self._reporter.phase("compiling and timing a step")
        done, width = len(self._outcomes), self._trainer.width * self._processes.count
        waves = -(-max(0, tuning + measuring - done) // width)
        seconds = waves * self._trainer.seconds_per_wave() if waves else 0.0
        self._reporter.planned(plan, Forecast(tuning, measuring, done, width, seconds, self._store.path))
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
        """Trains this process's share of some runs, and takes note of what has come of all of them."""
        before, total = len(self._outcomes), len(self._outcomes) + len(trials) + later
        mine: list[Outcome] = []

        def train() -> list[str]:
            place = functools.partial(self._store.directory, self._plan)
            share = trials[self._processes.index :: self._processes.count]
            for outcomes in self._trainer.train(share, place, self._reporter.stepped):
                for outcome in outcomes:
                    self._store.add(self._plan, outcome)
                    mine.append(outcome)
                    self._reporter.finished(outcome, before + len(mine), total)
            return list(map(_text, mine))

        found = list(map(_outcome, self._processes.gathered(train)))
        known = {outcome.trial for outcome in mine}
        theirs = [outcome for outcome in found if outcome.trial not in known]
        for number, outcome in enumerate(theirs, before + len(mine) + 1):
            self._reporter.finished(outcome, number, total)
        self._outcomes += [*mine, *theirs]


def _text(outcome: Outcome) -> str:
    return json.dumps(outcome.to_json())


def _outcome(text: str) -> Outcome:
    return Outcome.from_json(json.loads(text))


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
