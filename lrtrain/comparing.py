"""`compare`: from schedules and conditions to trained runs, their evidence, and the directory that keeps both."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtrain.alike import Facts, facts_found, facts_of_plan
from lrtrain.comparison import protocol
from lrtrain.comparison.conditions import check_conditions, conditions
from lrtrain.comparison.data import load_data
from lrtrain.comparison.plan import HOLDOUT, Plan, effort_of, labelled
from lrtrain.comparison.reporter import CompareReporter, Unheard
from lrtrain.comparison.store import Store, claimed, new_store
from lrtrain.comparison.trial import Outcome, Trial
from lrtrain.comparison.work import Work
from lrtrain.conditions import other_versions
from lrtrain.config import TrainConfig, TrainOptions
from lrtrain.devices import present_devices, select_devices
from lrtrain.discovery import files_below
from lrtrain.distributed import (
    ALONE,
    Distributed,
    Processes,
    connect,
    is_main,
    losses_named,
    processes_connected,
    refusals_told,
)
from lrtrain.errors import RunDirError, UsageError
from lrtrain.run_dir import refusals_named
from lrtrain.spec import Spec

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from lrtrain.comparison.analysis import Evidence
    from lrtrain.comparison.trainer import Trainer


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

    with refusals_told(distributed):
        check_extras()
        specs = [Spec.of(schedule) for schedule in schedules]
        for spec in specs:
            activate([spec]).schedule_plugin()
        epochs = options.get("epochs")
        effort = effort_of(budget, scales=lr_scales, tuning_seeds=tuning_seeds, seeds=seeds, epochs=epochs)
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
    with refusals_told(distributed):
        store, plan, about = _opened(plan, directory, resume)
        plan.check()
        outcomes = store.outcomes() if resume else []
        missing = protocol.missing(plan, outcomes)
        if resume:
            _check_plugins(plan, missing)
        facts = facts_of_plan(plan, resume, directory) if distributed is not None else {}
    if distributed is None and not missing:
        store.sweep()
        return Comparison(plan, tuple(outcomes), store.path, about)
    processes = _join(distributed, facts, plan, reporter)
    store = Store(Path(processes.from_main(lambda: str(store.path))))
    with losses_named(processes, lambda: _how_to_go_on(store if resume else None)):
        job = _Job(plan, store, resume, directory is not None)
        return _run(job, processes, reporter if processes.is_main else Unheard())


def _check_plugins(plan: Plan, trials: Sequence[Trial]) -> None:
    """Raises UsageError for a plugin that is no longer right: it would be noted as the end of all its runs."""
    from lrtrain.plugins import activate

    labels = {trial.label for trial in trials}
    with files_below(plan.folder):
        for row in plan.rows:
            if row.label in labels:
                activate([row.spec]).schedule_plugin()


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


def _join(distributed: Distributed | None, facts: Facts, plan: Plan, reporter: CompareReporter) -> Processes:
    from lrtrain.from_config import keep_compiled

    keep_compiled()
    if distributed is None:
        return ALONE
    if distributed.process_id in (0, None):
        reporter.phase("waiting for the other processes")
    connect(distributed, facts)
    # JAX starts when it is asked which process this is, and then has the devices that it has.
    present_devices(plan.train.devices, None)
    processes = processes_connected()
    processes.check_alike(facts)
    with processes.together():
        select_devices(plan.train.devices, None)
    return processes


def _how_to_go_on(store: Store | None) -> str:
    if store is not None and store.plan.is_file():
        return f"lrtrain compare --resume --run-dir {store.path} goes on from there"
    return "nothing has been trained yet, so the comparison has to begin again"


@dataclass(frozen=True, eq=False)
class _Job:
    plan: Plan
    store: Store
    resume: bool
    named: bool


def _run(job: _Job, processes: Processes, reporter: CompareReporter) -> Comparison:
    plan = job.plan
    with processes.together():
        trainer = _trainer(plan, reporter)
    processes.check_alike(facts_found(trainer.data.identity, trainer.program))
    with contextlib.ExitStack() as held:
        store = Store(Path(processes.from_main(lambda: str(_held(job, trainer, processes.count, held).path))))
        held.enter_context(losses_named(processes, lambda: _how_to_go_on(store)))
        held.enter_context(refusals_named(store.path))
        with processes.together():
            # The plan, too, of a new comparison.
            about = store.read()[1]
            if job.resume:
                _check_conditions(job, about, trainer, reporter)
        outcomes = Work(plan, store, trainer, reporter, processes).run()
        with processes.together():
            if processes.is_main:
                store.sweep()
    return Comparison(plan, tuple(outcomes), store.path, about)


def _held(job: _Job, trainer: Trainer, processes: int, held: contextlib.ExitStack) -> Store:
    """Keeps other processes from working on the comparison; makes the directory of a new one and writes its plan."""
    with refusals_named(job.store.path):
        if job.resume:
            held.enter_context(job.store.locked())
            return job.store
        store = claimed(job.store, held, named=job.named)
        store.create(job.plan, {**conditions(job.plan, trainer), "processes": processes})
        return store


def _check_conditions(job: _Job, about: Mapping[str, Any], trainer: Trainer, reporter: CompareReporter) -> None:
    now = conditions(job.plan, trainer)
    check_conditions(about, now)
    if said := other_versions(about.get("versions", {}), now["versions"]):
        reporter.noted(said)


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
