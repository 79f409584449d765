"""Conducts a comparison: from its plan to trained trials, in its own directory and on all its processes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrtrain.comparison import protocol
from lrtrain.comparison.conditions import check_conditions, conditions, facts_of_plan
from lrtrain.comparison.holdout import load_data
from lrtrain.comparison.plan import Plan
from lrtrain.comparison.reporter import CompareReporter, NullReporter
from lrtrain.comparison.result import Comparison
from lrtrain.comparison.rounds import Rounds
from lrtrain.comparison.store import Store, claimed, new_store
from lrtrain.comparison.trial import Trial
from lrtrain.engine.connection import Distributed, named_process_loss, refusals_told
from lrtrain.engine.processes import Processes
from lrtrain.errors import UsageError
from lrtrain.plugins.discovery import files_below
from lrtrain.runs.command import how_to_go_on
from lrtrain.runs.conditions import other_versions
from lrtrain.runs.directory import refusals_named
from lrtrain.training.facts import facts_found
from lrtrain.training.prepare import found_in, join_processes, keep_compiled


def compare_plan(
    plan: Plan | None,
    *,
    directory: str | Path | None = None,
    resume: bool = False,
    reporter: CompareReporter | None = None,
    distributed: Distributed | None = None,
) -> Comparison:
    """Trains all trials of a plan, or those that an interrupted comparison lacks.

    Args:
      plan: what to compare; None with ``resume``, which reads the plan from the directory.
      directory: its directory; new or empty, unless it is resumed. None for ``runs/compare-<date>-<time>``.
      resume: whether to continue the comparison in ``directory``.
      reporter: receives what happens; None for silence.
      distributed: the place of this process among several that share the trials, all of which make this call and see
        the directory; see `lrtrain.Distributed`.

    Raises:
      UsageError: what is asked for cannot be done; nothing has been written.
      RunDirError: the directory is not empty, cannot be read, or another process is working on it.
      TrainingError: another process of a distributed comparison has failed or ended; finished trials are kept.
    """
    reporter = reporter or NullReporter()
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
    processes = join_processes(distributed, facts, plan.train.devices, None, reporter.phase)
    store = Store(Path(processes.from_main(lambda: str(store.path))))
    with named_process_loss(processes, lambda: _how_to_go_on(store if resume else None)):
        job = _Job(plan, store, resume, directory is not None)
        return _run(job, processes, reporter if processes.is_main else NullReporter())


def _check_plugins(plan: Plan, trials: Sequence[Trial]) -> None:
    """Raises UsageError for a plugin that no longer loads: each of its trials would be recorded as failed."""
    from lrtrain.plugins.loading import activate

    labels = {trial.label for trial in trials}
    with files_below(plan.folder):
        for row in plan.rows:
            if row.label in labels:
                activate([row.spec]).schedule_plugin()


def _opened(plan: Plan | None, directory: str | Path | None, resume: bool) -> tuple[Store, Plan, dict[str, Any]]:
    if not resume:
        if plan is None:
            raise UsageError("there is nothing to compare: name two schedules or more")
        return new_store(directory), plan, {}
    if directory is None:
        raise UsageError("to resume a comparison, say which: its directory is missing")
    store = Store(Path(directory).expanduser().absolute())
    stored, about = store.read()
    if plan is not None and plan != stored:
        raise UsageError(f"{directory} holds another comparison than the one asked for: resume it without options")
    return store, stored, about


def _how_to_go_on(store: Store | None) -> str:
    return how_to_go_on(store.path if store is not None and store.plan.is_file() else None, "comparison")


@dataclass(frozen=True, eq=False)
class _Job:
    plan: Plan
    store: Store
    resume: bool
    named: bool


def _run(job: _Job, processes: Processes, reporter: CompareReporter) -> Comparison:
    plan = job.plan
    keep_compiled()
    with processes.together():
        reporter.phase(f"loading {plan.train.dataset}")
        data = load_data(plan)
        reporter.phase("starting JAX")
        # This imports JAX, which has to know by then where compiled programs are kept.
        from lrtrain.comparison.trainer import Trainer

        trainer = Trainer(plan, data, max(protocol.planned(plan)))
        found = found_in(data, plan.train)
        now = conditions(plan, found, trainer.device)
    processes.check_alike(facts_found(found.data, found.program))
    with contextlib.ExitStack() as held:
        begun = {**now, "processes": processes.count}
        store = Store(Path(processes.from_main(lambda: str(_held(job, begun, held).path))))
        held.enter_context(named_process_loss(processes, lambda: _how_to_go_on(store)))
        held.enter_context(refusals_named(store.path))
        with processes.together():
            # A new comparison reads its own file too.
            about = store.read()[1]
            if job.resume:
                check_conditions(about, now)
                if said := other_versions(about.get("versions", {}), now["versions"]):
                    reporter.noted(said)
        outcomes = Rounds(plan, store, trainer, reporter, processes).run()
        with processes.together():
            if processes.is_main:
                store.sweep()
    return Comparison(plan, tuple(outcomes), store.path, about)


def _held(job: _Job, about: dict[str, Any], held: contextlib.ExitStack) -> Store:
    """Locks the comparison against other processes; makes the directory of a new one and writes its plan."""
    with refusals_named(job.store.path):
        if job.resume:
            held.enter_context(job.store.locked())
            return job.store
        store = claimed(job.store, held, named=job.named)
        store.create(job.plan, about)
        return store
