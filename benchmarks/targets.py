"""The targets of lrtrain's speed, and whether they are met."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.table import Table, number


@dataclass(frozen=True)
class Target:
    """A figure and the bound that it should keep.

    Args:
      name: what is measured, with the bound in words.
      value: the figure; None if it was not measured.
      bound: what it is compared with.
      relation: how they are compared.
      unit: of both.
    """

    name: str
    value: float | None
    bound: float
    relation: Literal["at most", "at least", "exactly"]
    unit: str

    @property
    def met(self) -> bool | None:
        """Whether the figure keeps the bound; None if it was not measured."""
        if self.value is None:
            return None
        compare = {"at most": operator.le, "at least": operator.ge, "exactly": operator.eq}[self.relation]
        return bool(compare(self.value, self.bound))

    def cells(self) -> list[str]:
        """Returns the columns of its line."""
        said = {True: "met", False: "**missed**", None: "not measured"}[self.met]
        value = "" if self.value is None else f"{number(self.value)} {self.unit}"
        bound = f"{self.relation} {self.bound:g} {self.unit}"
        return [self.name, bound, value, said]


def at_most(name: str, value: float | None, bound: float, unit: str) -> Target:
    """Returns a target with an upper bound."""
    return Target(name, value, bound, "at most", unit)


def at_least(name: str, value: float | None, bound: float, unit: str) -> Target:
    """Returns a target with a lower bound."""
    return Target(name, value, bound, "at least", unit)


def exactly(name: str, value: float | None, bound: float, unit: str) -> Target:
    """Returns a target that is met by one value alone."""
    return Target(name, value, bound, "exactly", unit)


@dataclass(frozen=True)
class Measured:
    """The result of a group of rows.

    Args:
      tables: in order.
      targets: those of a CPU.
      on_accelerator: those of anything else.
    """

    tables: Sequence[Table]
    targets: Sequence[Target] = ()
    on_accelerator: Sequence[Target] = ()
