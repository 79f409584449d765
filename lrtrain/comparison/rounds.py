"""Training what a comparison still lacks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lrtrain.comparison import protocol
from lrtrain.comparison.plan import Plan
from lrtrain.comparison.reporter import CompareReporter, Forecast
from lrtrain.comparison.store import Store
from lrtrain.comparison.trial import Outcome, Trial
from lrtrain.comparison.wave_file import WaveFile
from lrtrain.engine.processes import Processes

if TYPE_CHECKING:
    from lrtrain.comparison.trainer import Trainer


class Work:
    """Trains what is missing, stage after stage, and notes every run as soon as it is done.

    Of several processes each trains its share, and all come to know all outcomes before the next stage begins.
    """

    def __init__(
        self, plan: Plan, store: Store, trainer: Trainer, reporter: CompareReporter, processes: Processes
    ) -> None:
        """Asks the first process which runs are done."""
        self._plan, self._store, self._trainer, self._reporter = plan, store, trainer, reporter
        self._processes = processes
        # All have to plan the same runs, and a file may be seen later by one process than by another.
        texts = processes.gathered(lambda: list(map(_text, store.outcomes())) if processes.is_main else [])
        self._outcomes = list(map(_outcome, texts))

    def run(self) -> list[Outcome]:
        """Tunes and measures; returns all runs."""
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
        self._reporter.tuned(tuned, protocol.reference(self._plan, tuned))

    def _train(self, trials: Sequence[Trial], later: int) -> None:
        """Trains this process's share of some runs, and takes note of what has come of all of them."""
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
        self._outcomes += [*mine, *theirs]

    def _share(self, trials: Sequence[Trial]) -> list[Trial]:
        """Returns this process's share of some runs, as `share` says."""
        index = self._processes.index

        def begun() -> list[str]:
            return [json.dumps([index, vars(trial)]) for trial in WaveFile(self._store.wave(index)).trials()]

        # What one process cannot read, all of them hear of.
        texts = self._processes.gathered(begun)
        claims: dict[Trial, int] = {}
        for text in texts:
            claimant, values = json.loads(text)
            claims.setdefault(Trial(**values), claimant)
        return share(trials, claims, index, self._processes.count)


def share(trials: Sequence[Trial], claims: Mapping[Trial, int], index: int, count: int) -> list[Trial]:
    """Returns which of some runs a process trains: those that it was training when it was cut off, then others.

    Args:
      trials: the runs.
      claims: which process was training a run.
      index: the process.
      count: how many processes there are.
    """
    free = [trial for trial in trials if trial not in claims]
    return [trial for trial in trials if claims.get(trial) == index] + free[index::count]


def _text(outcome: Outcome) -> str:
    return json.dumps(outcome.to_json())


def _outcome(text: str) -> Outcome:
    return Outcome.from_json(json.loads(text))
