"""What a comparison is to do: its schedules, its conditions, and how much evidence it gathers."""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from lrtrain.comparison.rows import Row, row_of
from lrtrain.errors import LrtrainError, UsageError, nearest
from lrtrain.option_fields import check_choice, check_number
from lrtrain.plugins.discovery import files_below
from lrtrain.plugins.spec import short
from lrtrain.runs.train_config import MAX_SEED, TrainConfig
from lrtrain.strict_json import InvalidFileError, Whole, decode, path_of
from lrtrain.workloads.loading import Chosen, choose

Protocol: TypeAlias = Literal["fair", "as-is"]
PROTOCOLS: tuple[Protocol, ...] = ("fair", "as-is")
VERSION = 1
# The seeds of the measurement are as far from those of the tuning as nobody will tune.
FRESH = 10_000


@dataclass(frozen=True)
class Effort:
    """How much evidence is gathered.

    Args:
      scales: factors on the workload's learning rate that the highest one of every schedule is tuned over; without
        ``refine``, or where a schedule was given a far other one, factors on its own.
      tuning_seeds: runs at each scale near the best one, and of the grid where that is all.
      seeds: the most runs of each schedule at its best scale, on seeds that the tuning has not seen.
      epochs: passes over the training set in every run.
      refine: whether more scales are tried around the best one of the grid, and a parabola says which is best; else it
        is the one whose median loss is lowest.
      exhaustive: whether all is trained that could matter: all tuning seeds at every scale of the grid, and all seeds
        of every schedule, whatever the first of them show.
    """

    scales: tuple[float, ...]
    tuning_seeds: int
    seeds: int
    epochs: int
    # A plan of an earlier lrtrain has neither.
    refine: bool = False
    exhaustive: bool = True

    @property
    def refines(self) -> bool:
        """Whether more scales are tried; a parabola needs three scales."""
        return self.refine and len(self.scales) >= 3

    @property
    def grid_seeds(self) -> int:
        """The number of runs at each scale of the grid."""
        return self.tuning_seeds if self.exhaustive or not self.refines else 1

    @property
    def looks(self) -> tuple[int, ...]:
        """The numbers of seeds after which it is looked which pairs are decided, the last one of them all seeds."""
        earlier = () if self.exhaustive else tuple(look for look in LOOKS if look < self.seeds)
        return (*earlier, self.seeds)


def grid(points: int) -> tuple[float, ...]:
    """Returns scales around 1 (which is one of them), each twice the one before."""
    return tuple(2.0 ** (index - points // 2) for index in range(points))


# At the first of them a p of less than 1% is possible; each is about one and a half times the one before.
LOOKS = (8, 12, 18, 30)
# Their epochs are those of a workload that trains for ten by itself, as the default one does.
BUDGETS: dict[str, Effort] = {
    "quick": Effort(grid(5), 1, 8, 3, refine=True, exhaustive=False),
    "standard": Effort(grid(5), 2, 12, 10, refine=True, exhaustive=False),
    "thorough": Effort(grid(7), 5, 30, 20, refine=True, exhaustive=False),
}


def effort_of(budget: str, workload_epochs: int, **given: Any) -> Effort:
    """Returns one of `BUDGETS` with the fields of `Effort` that are given, and not None, in place of its own.

    Its epochs are three tenths of a workload's own (rounded up), all of them, or twice as many.

    Raises UsageError when there is no such budget.
    """
    check_choice("budget", budget, tuple(BUDGETS))
    chosen: dict[str, Any] = {"epochs": -(-BUDGETS[budget].epochs * workload_epochs // BUDGETS["standard"].epochs)}
    chosen |= {name: value for name, value in given.items() if value is not None}
    if "scales" in chosen:
        chosen["scales"] = tuple(chosen["scales"])
    return dataclasses.replace(BUDGETS[budget], **chosen)


@dataclass(frozen=True)
class Plan:
    """A whole comparison.

    Args:
      rows: the schedules, in the order given.
      train: everything else, equal for all; its ``seed`` is the first of the seeds.
      protocol: ``"fair"`` tunes each schedule's scale and then measures it on fresh seeds, on held-out data;
        ``"as-is"`` trains each schedule once as it stands and looks at the test set after every epoch.
      effort: the scales and numbers of seeds of the fair protocol.
      holdout: training examples that are held out for validation; None for the workload's own validation examples or,
        where it has none, a twelfth; 0 with ``"as-is"``.
      baseline: the label that the others are measured against; None for the best of the tuning.
      all_pairs: whether every schedule is compared with every other.
      chosen: the workload, where it was made in Python.
      folder: where the relative paths of plugins in files begin, whenever and wherever the comparison goes on.
    """

    rows: tuple[Row, ...]
    train: TrainConfig
    protocol: Protocol = "fair"
    effort: Effort = BUDGETS["standard"]
    holdout: int | None = None
    baseline: str | None = None
    all_pairs: bool = False
    folder: Path = field(default_factory=Path.cwd, compare=False)
    chosen: Chosen | None = field(default=None, compare=False)

    @functools.cached_property
    def workload(self) -> Chosen:
        """The workload, loaded."""
        with files_below(self.folder):
            return self.chosen or choose(self.train.workload, self.train.model)

    def check(self, least: int = 2) -> None:
        """Raises UsageError for the first thing that no comparison can have, of ``least`` schedules or more."""
        self.train.check()
        if self.train.init_from is not None:
            raise UsageError(
                f"init_from={self.train.init_from} is refused: the runs of a comparison begin with fresh parameters",
                key="init_from",
            )
        check_choice("protocol", self.protocol, PROTOCOLS)
        self._check_holdout()
        labels = [row.label for row in self.rows]
        if len(labels) < least:
            raise UsageError(
                f"a comparison needs at least two schedules, and {len(labels)} is given: add another", key="schedules"
            )
        for label in labels:
            if labels.count(label) > 1:
                raise UsageError(f"two schedules are called '{label}': leave one out, or give it other options")
            if not label.strip() or not label.isprintable():
                raise UsageError(f"the label {label!r} is refused: expected a line of printable text")
        if self.baseline is not None and self.baseline not in labels:
            raise UsageError(
                f"the baseline '{self.baseline}' is none of the schedules{nearest(self.baseline, labels)}: "
                f"they are {', '.join(labels)}",
                key="baseline",
            )
        self._check_effort()
        if self.protocol == "fair":
            # The last of the fresh seeds is a seed too.
            check_number("seed", self.train.seed, least=0, most=MAX_SEED - FRESH - self.effort.seeds + 1)

    def _check_holdout(self) -> None:
        """With 0, the fair protocol would tune on the test set."""
        value, is_fair = self.holdout, self.protocol == "fair"
        if value is None and is_fair:
            return
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not is_whole or value is None or (value < 1 if is_fair else value != 0):
            expected = "a whole number of training examples, at least 1" if is_fair else "0, as nothing is held out"
            raise UsageError(
                f"holdout={value} is refused: expected {expected} with the protocol '{self.protocol}'", key="holdout"
            )

    def _check_effort(self) -> None:
        effort = self.effort
        for name in ("tuning_seeds", "seeds"):
            check_number(name, getattr(effort, name), least=1, most=FRESH)
        if not effort.scales:
            raise UsageError("the list of learning-rate scales is empty: give at least one, such as 1", key="scales")
        for scale in effort.scales:
            if not (isinstance(scale, (int, float)) and 0 < scale < math.inf):
                raise UsageError(f"the learning-rate scale {scale} is refused: expected a number above 0", key="scales")
        if len(set(effort.scales)) < len(effort.scales):
            raise UsageError(
                f"a learning-rate scale is given twice in {', '.join(f'{s:g}' for s in effort.scales)}", key="scales"
            )

    @property
    def family(self) -> int:
        """The number of pairs that are tested together."""
        count = len(self.rows)
        return count * (count - 1) // 2 if self.all_pairs else count - 1

    def to_json(self) -> dict[str, Any]:
        """Returns all of it as JSON holds it."""
        return {
            "version": VERSION,
            "protocol": self.protocol,
            "schedules": [row.to_json() for row in self.rows],
            "train": self.train.to_json(),
            "effort": dataclasses.asdict(self.effort),
            "holdout": self.holdout,
            "baseline": self.baseline,
            "all_pairs": self.all_pairs,
            "folder": str(self.folder),
        }

    @classmethod
    def from_json(cls, values: Any, title: str = "comparison.json") -> Plan:
        """Returns the plan that `to_json` wrote; raises InvalidFileError when the values are not those of a plan."""
        if not isinstance(values, dict) or "schedules" not in values:
            raise InvalidFileError(f"{title} is not that of a comparison")
        if values.get("version") != VERSION:
            found = short(values.get("version"))
            raise InvalidFileError(f"{title} is of version {found}, and this lrtrain reads version {VERSION}")
        stored = vars(decode(values, _Stored, title, path_of))
        stored["train"].read_as_before()
        try:
            rows = tuple(row_of(table, title) for table in stored.pop("schedules"))
            # A plan of an earlier lrtrain has no folder.
            plan = cls(rows, **{**stored, "folder": stored.get("folder") or Path.cwd()})
            # One schedule is enough to be tuned; whoever compares asks for two.
            plan.check(least=1)
        except LrtrainError as error:
            raise InvalidFileError(f"{title}: {short(str(error), 300)}") from None
        return plan


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """A plan as ``comparison.json`` has it."""

    schedules: tuple[dict[str, Any], ...]
    train: TrainConfig
    protocol: Protocol
    effort: Effort
    holdout: Whole | None
    baseline: str | None
    all_pairs: bool
    folder: Path | None = None
