"""How the outcome of a trial is judged: by the headline of its workload, and a run without a result is the worst."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lrtrain.comparison.trial import Outcome
from lrtrain.workloads.headline import ACCURACY, Headline, headline_in

# Of the room between a guess and the best that is possible: a result that is no more above the guess is a collapse.
_SHARE = 0.01


@dataclass(frozen=True)
class Judge:
    """The number that trials are judged by.

    Args:
      headline: the name of that number, and which value is better.
      guess: the loss and metrics of the best answer that is the same for all examples, as far as they are known.
    """

    headline: Headline = ACCURACY
    guess: Mapping[str, float] = field(default_factory=dict, hash=False)

    @classmethod
    def noted(cls, about: Mapping[str, Any]) -> Judge:
        """Returns the judge of a comparison, as its conditions have it."""
        return cls(headline_in(about), about.get("guess") or {})

    def cost(self, outcome: Outcome) -> float:
        """Returns a number of the validation examples that is lowest for the best outcome; infinity for one without."""
        return self.headline.rank(outcome.validation(self.headline.name))

    def on_loss(self) -> Judge:
        """Returns a judge of the loss."""
        return Judge(Headline(), self.guess)

    def collapsed(self, outcome: Outcome) -> bool:
        """Returns whether an outcome has a result that is no better than that of a guess, or hardly."""
        value, guess = outcome.value(self.headline.name), self.guess.get(self.headline.name, math.nan)
        room = 1 - guess if self.headline == ACCURACY else abs(guess)
        return self.headline.sign * (value - guess) <= _SHARE * room

    def results(self, outcomes: Sequence[Outcome], seen: Iterable[Outcome]) -> list[float]:
        """Returns the headline of outcomes, where one without a result has the worst one: that of a guess.

        Where no guess is known, it is the worst that ``seen`` has; NaN where there is none.
        """
        worst = self.guess.get(self.headline.name, math.nan)
        if math.isnan(worst):
            found = [value for each in seen if math.isfinite(value := each.validation(self.headline.name))]
            worst = min(found, key=lambda value: self.headline.sign * value, default=math.nan)
        values = (outcome.value(self.headline.name) for outcome in outcomes)
        return [value if math.isfinite(value) else worst for value in values]

    def at_worst(self, results: Sequence[float]) -> list[float]:
        """Returns results where none is worse than that of a guess, as a run without a result has that."""
        guess = self.guess.get(self.headline.name, math.nan)
        if math.isnan(guess):
            return list(results)
        best_of = max if self.headline.sign > 0 else min
        return [best_of(value, guess) for value in results]
