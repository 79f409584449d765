"""What the processes of one distributed run must have been given alike, as facts to compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from lrtrain.plugins.spec import short

Facts: TypeAlias = Mapping[str, Any]

_MOST_SAID, _LONGEST = 3, 80
# The fact of a process that was refused something before the others could hear of anything else.
_REFUSED = "refused"


def facts_of_refusal(error: Exception) -> dict[str, Any]:
    """Returns the facts of a process that cannot take part, because of an error."""
    return {_REFUSED: str(error)}


def unequal(facts: Sequence[Facts], index: int) -> str | None:
    """Returns in what a process was given something else than process 0, as a sentence; None when all are alike.

    Args:
      facts: those of each process.
      index: the process that asks: it hears of itself, or else of the first one that differs.
    """
    others = [index, *(each for each in range(len(facts)) if each != index)]
    for process in others:
        if _REFUSED in facts[process]:
            return f"process {process} cannot take part: {facts[process][_REFUSED]}"
    for process in others:
        found = list(_differences(facts[process], facts[0], process))
        if found:
            more = f" and {len(found) - _MOST_SAID} more" if len(found) > _MOST_SAID else ""
            return (
                f"process {process} was not given the same as process 0 ({'; '.join(found[:_MOST_SAID])}{more}): give "
                "every process the same command, but for --process-id"
            )
    return None


def _differences(theirs: Facts, first: Facts, process: int) -> Iterator[str]:
    for name in {**first, **theirs}:
        if name not in theirs or name not in first:
            yield f"{name} in process {process if name in theirs else 0} only"
        elif theirs[name] != first[name]:
            yield f"{name}={_short(theirs[name])} in process {process} and {name}={_short(first[name])} in process 0"


def _short(value: Any) -> str:
    return short(str(value), _LONGEST)
