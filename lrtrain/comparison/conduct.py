"""Conducts a comparison: from its plan to trained trials, in its own directory and on all its processes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtrain.comparison.conditions import check_conditions, conditions, facts_of_plan
from lrtrain.comparison.holdout import load_data
from lrtrain.comparison.plan import Plan
from lrtrain.comparison.protocol import Standing, planned
from lrtrain.comparison.reporter import CompareReporter, Forecast, NullReporter
from lrtrain.comparison.result import Comparison
from lrtrain.comparison.store import Store, claimed, new_store
from lrtrain.comparison.trial import Outcome, Trial
from lrtrain.comparison.wave_file import WaveFile
from lrtrain.engine.connection import Distributed, named_process_loss, refusals_told
from lrtrain.engine.devices import keep_compiled
from lrtrain.engine.processes import Processes
from lrtrain.errors import UsageError
from lrtrain.plugins.discovery import files_below
from lrtrain.runs.command import how_to_go_on
from lrtrain.runs.conditions import other_versions
from lrtrain.runs.directory import refusals_named
from lrtrain.training.prepare import join_processes, task_of

if TYPE_CHECKING:
    from lrtrain.comparison.trainer import Trainer


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
      directory: as for `new_directory`, None for ``runs/compare-<date>-<time>``; with ``resume``, that of the
        comparison to continue.
      resume: whether to continue the comparison in ``directory``.
      reporter: receives what happens; None for silence.
      distributed: the place of this process among several, all of which make this call and see the directory.

    Raises:
      UsageError: what is asked for cannot be done; nothing has been written. A directory that is in use, is not empty
        or cannot be read is its `RunDirError`.
      TrainingError: another process of a distributed comparison has failed or ended; finished trials are kept.
    """
    reporter = reporter or NullReporter()
    if distributed is not None:
        distributed.check()
    with refusals_told(distributed):
        store, plan, about = _opened(plan, directory, resume)
        plan.check()
        outcomes = store.outcomes() if resume else []
        missing = Standing.of(plan, about, outcomes).missing
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


def tune_plan(plan: Plan, directory: str | Path, reporter: CompareReporter | None = None) -> Comparison:
    """Tunes the schedules of a plan, one or more, in an empty directory, and measures nothing.

    Raises:
      UsageError: what is asked for cannot be done; nothing has been written.
    """
    reporter = reporter or NullReporter()
    plan.check(least=1)
    processes = join_processes(None, {}, plan.train.devices, None, reporter.phase)
    return _run(_Job(plan, new_store(directory), resume=False, named=True, measures=False), processes, reporter)


def _check_plugins(plan: Plan, trials: Sequence[Trial]) -> None:
    """Raises UsageError for a plugin that no longer loads: each of its trials would be recorded as failed."""
    labels = {trial.label for trial in trials}
    with files_below(plan.folder):
        for row in plan.rows:
            if row.label in labels:
                row.check()


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
    measures: bool = True


def _run(job: _Job, processes: Processes, reporter: CompareReporter) -> Comparison:
    plan = job.plan
    keep_compiled()
    with processes.together():
        reporter.phase(f"loading the data of {plan.workload.name}")
        data, held_out = load_data(plan)
        reporter.phase("starting JAX")
        # This imports JAX, which has to know by then where compiled programs are kept.
        from lrtrain.comparison.trainer import Trainer
        from lrtrain.engine.devices import select_devices

        # First: a network that is examined starts JAX.
        devices = select_devices(plan.train.devices, None)
        task = task_of(plan.workload, data, plan.train)
        trainer = Trainer(plan, data, task, devices, max(planned(plan)))
        now = conditions(plan, task.found, trainer.device, task.workload.guesses(data.test.targets), held_out)
    processes.check_alike(task.found.facts())
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
        outcomes = _Rounds(Standing.of(plan, about, []), store, trainer, reporter, processes).run(measure=job.measures)
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


class _Rounds:
    """Trains the missing trials, stage after stage, and stores each outcome as soon as it is known.

    Each of several processes trains its share, and all know all outcomes before the next round begins.
    """

    def __init__(
        self, begun: Standing, store: Store, trainer: Trainer, reporter: CompareReporter, processes: Processes
    ) -> None:
        """Asks the first process which trials are done; ``begun`` is the comparison without any."""
        self._begun, self._plan, self._store, self._trainer = begun, begun.plan, store, trainer
        self._reporter, self._processes = reporter, processes
        # All processes must plan the same trials, and on a shared disk one may see a file later than another.
        texts = processes.gathered(lambda: list(map(_text, store.outcomes())) if processes.is_main else [])
        self._outcomes = list(map(_outcome, texts))

    def run(self, *, measure: bool = True) -> list[Outcome]:
        """Tunes and measures; returns the outcomes of all trials."""
        plan = self._plan
        tuning, measuring = planned(plan)
        measuring *= measure
        done, seconds = len(self._outcomes), 0.0
        if self._standing().missing:
            self._trainer.choose_width(self._reporter)
            self._reporter.phase("compiling and timing a step")
            seconds = self._trainer.seconds_per_wave(self._reporter)
        width = self._trainer.width * self._processes.count
        seconds *= -(-max(0, tuning + measuring - done) // width)
        self._reporter.planned(plan, Forecast(tuning, measuring, done, width, seconds, self._store.path))
        while trials := self._agreed((standing := self._standing()).to_tune):
            self._train(trials, max(0, self._still_to_tune(tuning) - len(trials)) + measuring)
        if standing.tuned:
            self._reporter.tuned(standing)
        while measure and (trials := self._agreed(self._standing().to_measure)):
            self._train(trials, 0)
        return self._outcomes

    def _agreed(self, trials: Sequence[Trial]) -> list[Trial]:
        """Returns the trials of the first process: another processor may compute other last digits of a scale."""
        texts = self._processes.from_main(lambda: json.dumps(list(map(vars, trials))))
        return [Trial(**values) for values in json.loads(texts)]

    def _standing(self) -> Standing:
        return dataclasses.replace(self._begun, done=self._outcomes)

    def _still_to_tune(self, tuning: int) -> int:
        done = sum(outcome.trial.stage == "tune" for outcome in self._outcomes)
        return max(0, tuning - done)

    def _train(self, trials: Sequence[Trial], later: int) -> None:
        """Trains this process's share of the trials, and collects the outcomes of all of them."""
        before, total = len(self._outcomes), len(self._outcomes) + len(trials) + later
        mine: list[Outcome] = []
        ours = self._share(trials)

        def train() -> list[str]:
            for outcomes in self._trainer.train(ours, self._store, self._processes.index, self._reporter):
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
        # In the order of the plan, however they were trained.
        place = {trial: index for index, trial in enumerate(trials)}
        self._outcomes += sorted([*mine, *theirs], key=lambda outcome: place[outcome.trial])

    def _share(self, trials: Sequence[Trial]) -> list[Trial]:
        """Returns this process's share of the trials; see `share`."""
        index = self._processes.index
        begun = WaveFile(self._store.wave(index))
        claims: dict[Trial, int] = {}
        # An error of one process is raised in all of them.
        for text in self._processes.gathered(lambda: [json.dumps([index, vars(each)]) for each in begun.trials()]):
            claimant, values = json.loads(text)
            claims.setdefault(Trial(**values), claimant)
        return share(trials, claims, index, self._processes.count)


def share(trials: Sequence[Trial], claims: Mapping[Trial, int], index: int, count: int) -> list[Trial]:
    """Returns the trials that a process trains: those that it was training when it was interrupted, then others.

    ``claims`` has the process that was training a trial, ``index`` is the number of this one of ``count``, from 0.
    """
    free = [trial for trial in trials if trial not in claims]
    return [trial for trial in trials if claims.get(trial) == index] + free[index::count]


def _text(outcome: Outcome) -> str:
    return json.dumps(outcome.to_json())


def _outcome(text: str) -> Outcome:
    return Outcome.from_json(json.loads(text))
