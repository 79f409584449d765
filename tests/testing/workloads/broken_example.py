"""A workload whose example is wrong."""

from dataclasses import dataclass

from lrtrain import Classification


@dataclass(frozen=True, kw_only=True)
class Example(Classification):
    """Has an example.

    Example:
      >>> 1 + 1
      3
    """
