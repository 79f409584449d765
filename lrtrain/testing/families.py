"""Schedules of many lengths as one program: they do the same operations with other numbers.

Compiled one by one, hundreds of small programs take minutes. Here the numbers that differ become arrays, an element for
each schedule, which stay constants of the program: XLA makes a division by a constant array a product with its
reciprocals, as it does for a constant number, so a boundary that is late alone is late here too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrain.plugins.context import Schedule

if TYPE_CHECKING:
    from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn
    from numpy.typing import NDArray

_LITERAL = re.compile(r"\S+:(?=\w+\[\])")


class Family:
    """Schedules whose programs differ in their numbers alone.

    Args:
      program: the program of one of them.
    """

    def __init__(self, program: ClosedJaxpr) -> None:
        self.places: list[int] = []
        self._program = program
        self._numbers: list[list[NDArray[Any]]] = []

    def add(self, place: int, program: ClosedJaxpr) -> None:
        """Adds the schedule at a place of the sequence that `families` was given."""
        self.places.append(place)
        self._numbers.append([*map(np.asarray, program.consts), *_literals(program.jaxpr)])

    def values(self, counts: NDArray[Any]) -> Any:
        """Returns the values ``[places, counts]``; inside ``jax.jit`` their numbers are constants of the program."""
        import jax

        rows = [np.stack(each) for each in zip(*self._numbers, strict=True)]
        # What is the same for all stays one number, which XLA simplifies further: to a power of 2, say.
        axes = [0 if (row != row[:1]).any() else None for row in rows]
        given = [row if axis == 0 else row[0] for row, axis in zip(rows, axes, strict=True)]

        def member(_: Any, numbers: list[Any]) -> Any:
            return jax.vmap(lambda count: self._value(count, numbers))(counts)

        return jax.vmap(member, (0, axes))(np.arange(len(self.places)), given)

    def _value(self, count: Any, numbers: list[Any]) -> Any:
        consts = len(self._program.consts)
        (value,) = _run(self._program.jaxpr, numbers[:consts], iter(numbers[consts:]), [count])
        return value


def families(schedules: Sequence[Schedule], kind: Callable[[int], Any]) -> list[Family]:
    """Returns the families of schedules, traced for counts of a kind; schedules in plain Python are in none."""
    import jax

    found: dict[tuple[str, ...], Family] = {}
    for place, built in enumerate(schedules):
        try:
            program = jax.make_jaxpr(built)(kind(0))
        except Exception:  # noqa: BLE001  # plain Python
            continue
        key = (_LITERAL.sub("", str(program)), *_opaque(program.jaxpr))
        found.setdefault(key, Family(program)).add(place, program)
    return list(found.values())


def _inner(equation: JaxprEqn) -> list[ClosedJaxpr]:
    """Returns the programs within an operation whose numbers may differ; a loop is taken as it is."""
    if equation.primitive.name in {"jit", "pjit"}:
        return [equation.params["jaxpr"]]
    return list(equation.params["branches"]) if equation.primitive.name == "cond" else []


def _opaque(program: Jaxpr) -> Iterator[str]:
    for equation in program.eqns:
        inner = _inner(equation)
        for each in inner:
            yield from map(str, each.consts)
            yield from _opaque(each.jaxpr)
        if not inner:
            yield str(equation.params)


def _literals(program: Jaxpr) -> Iterator[NDArray[Any]]:
    """Yields the numbers of a program, in the order in which `_run` reads them."""
    for equation in program.eqns:
        yield from _numbers_of(equation.invars)
        for inner in _inner(equation):
            yield from _literals(inner.jaxpr)
    yield from _numbers_of(program.outvars)


def _numbers_of(variables: Sequence[Any]) -> list[NDArray[Any]]:
    from jax.extend.core import Literal

    literals: list[Any] = [each for each in variables if isinstance(each, Literal)]
    return [np.asarray(each.val, each.aval.dtype) for each in literals]


def _run(program: Jaxpr, consts: Sequence[Any], numbers: Iterator[Any], given: Sequence[Any]) -> list[Any]:
    """Runs a program operation by operation, with other numbers in the place of its own."""
    from jax import lax
    from jax.extend.core import Literal

    known = dict(zip([*program.constvars, *program.invars], [*consts, *given], strict=True))

    def read(variables: Sequence[Any]) -> list[Any]:
        return [next(numbers) if isinstance(each, Literal) else known[each] for each in variables]

    for equation in program.eqns:
        values, inner = read(equation.invars), _inner(equation)
        if not inner:
            bound = equation.primitive.get_bind_params(equation.params)
            # A pair until JAX 0.9, with the functions that are called.
            parts, params = bound if isinstance(bound, tuple) else ((), bound)
            results = equation.primitive.bind(*parts, *values, **params)
            results = results if equation.primitive.multiple_results else [results]
        elif equation.primitive.name == "cond":
            index, *operands = values
            branches = [_run(each.jaxpr, each.consts, numbers, operands) for each in inner]
            results = [lax.select_n(index, *each) for each in zip(*branches, strict=True)]
        else:
            results = _run(inner[0].jaxpr, inner[0].consts, numbers, values)
        known.update(zip(equation.outvars, results, strict=True))
    return read(program.outvars)
