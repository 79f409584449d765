"""The rounds of a comparison: in each, the trials that are missing are trained, until none is."""

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


class Rounds:
    """Trains the missing trials, stage after stage, and stores each outcome as soon as it is known.

    Each of several processes trains its share, and all know all outcomes before the next round begins.
    """

    def __init__(
        self, plan: Plan, store: Store, trainer: Trainer, reporter: CompareReporter, processes: Processes
    ) -> None:
        """Asks the first process which trials are done."""
        self._plan, self._store, self._trainer, self._reporter = plan, store, trainer, reporter
        self._processes = processes
        # All processes must plan the same trials, and on a shared disk one may see a file later than another.
        texts = processes.gathered(lambda: list(map(_text, store.outcomes())) if processes.is_main else [])
        self._outcomes = list(map(_outcome, texts))

    def run(self) -> list[Outcome]:
        """Tunes and measures; returns the outcomes of all trials."""
        plan = self._plan
        tuning, measuring = protocol.planned(plan)
        self._reporter.phase("compiling and timing a step")
        done, width = len(self._outcomes), self._trainer.width * self._processes.count
        waves = -(-max(0, tuning + measuring - done) // width)
        seconds = waves * self._trainer.seconds_per_wave() if waves else 0.0
        self._reporter.planned(plan, Forecast(tuning, measuring, done, width, seconds, self._store.path))
        while trials := protocol.tuning_trials(plan, self._outcomes):
            self._train(trials, measuring)
        if tuned := protocol.tuned(plan, self._outcomes):
            self._reporter.tuned(tuned, protocol.baseline(plan, tuned))
        self._train(protocol.measuring_trials(plan, self._outcomes), 0)
        return self._outcomes

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
        self._outcomes += [*mine, *theirs]

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

    Args:
      trials: the trials to share.
      claims: the process that was training a trial.
      index: the number of the process, from 0.
      count: the number of processes.
    """
    free = [trial for trial in trials if trial not in claims]
    return [trial for trial in trials if claims.get(trial) == index] + free[index::count]


def _text(outcome: Outcome) -> str:
    return json.dumps(outcome.to_json())


def _outcome(text: str) -> Outcome:
    return Outcome.from_json(json.loads(text))
