"""The formula of a schedule as text: `lrtrain export` writes it as code, and checks compare it with the table."""

from __future__ import annotations

import ast
import copy
import math
import operator
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from lrtrain.errors import PluginError, cause, nearest
from lrtrain.plugins.isolation import plugin_called
from lrtrain.plugins.spec import short

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FUNCTIONS = {"sqrt": 1, "cos": 1, "exp": 1, "log": 1, "floor": 1, "minimum": 2, "maximum": 2}
"""The functions of a formula, with the number of their arguments."""
NAMES = ("t", "pi")
"""The step, counted from the beginning of the run, and the number."""
OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
# Far more than a schedule needs; deeper, Python's own parser and `_value` would run out of stack.
MAX_LENGTH, MAX_DEPTH = 2000, 100
_ALLOWED = (
    "a formula has numbers, t, pi, options that are numbers (of the plugin that the piece is given), + - * / // % ** "
    f"and the functions {', '.join(FUNCTIONS)}"
)


@dataclass(frozen=True)
class Piece:
    """One piece of a schedule's formula: it holds from where the piece before it ends.

    Args:
      until: the first step that it no longer holds for; None for the last piece. A piece that ends where it begins
        holds for no step and is left out, so a warmup of 0 steps needs no case of its own.
      expression: the learning rate as Python arithmetic over ``t`` (the step, counted from the beginning of the run),
        numbers, ``pi`` and the functions sqrt, cos, exp, log, floor, minimum and maximum. ``t // 235`` counts exactly;
        ``floor(t / 235)``, compiled in float32, may be one step late.
      plugin: the plugin itself, if the expression names its options: exported code then has each as one constant.

    Raises:
      PluginError: ``until`` is no count of steps, or the expression contains anything else.

    Example:
      >>> Piece(until=587, expression="3e-4 * (1 + cos(pi * t / 587)) / 2").values([0, 293.5])
      array([0.0003 , 0.00015])
    """

    until: int | None
    expression: str
    plugin: Any = field(default=None, repr=False, hash=False)

    def __post_init__(self) -> None:
        if self.until is not None and (type(self.until) is not int or self.until < 0):
            raise PluginError(
                f"a piece of a formula has until={self.until!r}: expected a number of steps, or None for the last"
            )
        self.tree()

    def options(self) -> dict[str, float]:
        """Returns the options that the expression may name: those of the plugin that are numbers."""
        names = () if self.plugin is None else (each.name for each in fields(self.plugin))
        values = {name: getattr(self.plugin, name) for name in names if name not in {*NAMES, *FUNCTIONS}}
        return {name: value for name, value in values.items() if _is_number(value)}

    def tree(self) -> ast.expr:
        """Returns the tree of the expression, every node of which is allowed."""
        return parse(self.expression, self.options())

    def values(self, steps: Sequence[float] | NDArray[Any]) -> NDArray[np.float64]:
        """Returns the expression at each of the steps, in float64; what is not defined is NaN or infinite."""
        import numpy as np

        t = np.asarray(steps, np.float64)
        # All numbers are float64, so no power can take long or fill the memory.
        names = {name: np.float64(value) for name, value in {**self.options(), "pi": math.pi}.items()}
        with np.errstate(all="ignore"):
            return np.array(np.broadcast_to(_value(self.tree(), {**names, "t": t}), t.shape))

    def shifted(self, steps: int) -> Piece:
        """Returns the same piece for a schedule that begins ``steps`` later in the run, with numbers for its options.

        Example:
          >>> Piece(until=100, expression="0.1 * t / 100").shifted(50)
          Piece(until=150, expression='0.1 * (t - 50) / 100')
        """
        options = self.options()

        def change(node: ast.expr) -> ast.expr | None:
            match node:
                case ast.Name(name) if name in options:
                    return parse(str(options[name]))
                case ast.Name("t") if steps:
                    return ast.BinOp(node, ast.Sub(), ast.Constant(steps))
                # A number that is subtracted grows: `t - 10`, shifted by 50, is `t - 60`.
                case ast.BinOp(ast.Name("t") as step, ast.Sub(), ast.Constant(int(count))):
                    return ast.BinOp(step, ast.Sub(), ast.Constant(count + steps))
            return None

        expression = ast.unparse(rewritten(self.tree(), change))
        return Piece(None if self.until is None else self.until + steps, expression)


def evaluate(pieces: Sequence[Piece], steps: NDArray[Any]) -> NDArray[np.float64]:
    """Returns the learning rate at each of the steps, computed in float64 from the piece that holds there."""
    import numpy as np

    values = np.full(len(steps), np.nan)
    for begin, piece in spans(pieces):
        here = (steps >= begin) & (steps < (math.inf if piece.until is None else piece.until))
        values[here] = piece.values(steps[here])
    return values


def spans(pieces: Sequence[Piece]) -> Iterator[tuple[int, Piece]]:
    """Yields each piece with the first step that it holds for."""
    begin = 0
    for piece in pieces:
        yield begin, piece
        begin = begin if piece.until is None else piece.until


def ask_formula(plugin: object, name: str, context: object) -> tuple[Piece, ...] | None:
    """Returns the pieces of a plugin's formula that hold for some step, or None; PluginError if it cannot be used."""
    method = getattr(plugin, "formula", None)
    if method is None:
        return None
    try:
        with plugin_called():
            answer = method(context)
        return None if answer is None else checked(answer)
    except Exception as error:
        said = str(error) if isinstance(error, PluginError) else cause(error)
        raise PluginError(f"the formula of plugin '{name}' cannot be used: {said}") from error


def checked(answer: object) -> tuple[Piece, ...]:
    """Returns the pieces that hold for some step; raises PluginError when they do not follow one another to the end."""
    if not isinstance(answer, Sequence) or not answer or not all(isinstance(each, Piece) for each in answer):
        raise PluginError(f"it is {short(repr(answer))}, and a formula is a list of Piece")
    ends = [piece.until for piece in answer]
    if ends[-1] is not None or None in ends[:-1]:
        raise PluginError(f"its pieces end at {short(str(ends))}: the last one, and no other, has until=None")
    counts = [end for end in ends if end is not None]
    if counts != sorted(counts):
        raise PluginError(f"its pieces end at {short(str(ends))}: no piece ends before the one before it")
    return tuple(piece for begin, piece in spans(answer) if piece.until is None or piece.until > begin)


def parse(expression: str, options: Collection[str] = ()) -> ast.expr:
    """Returns the tree of an expression, which may name these options; PluginError for a node that no formula has."""
    if not isinstance(expression, str) or len(expression) > MAX_LENGTH:
        raise PluginError(f"the expression {short(repr(expression))} is not a text of at most {MAX_LENGTH} characters")
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise PluginError(f"'{short(expression)}' is not an expression: {_ALLOWED}") from None
    _check(tree, (*NAMES, *options), expression)
    return tree


def _check(node: ast.expr, names: Collection[str], expression: str, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise PluginError(f"'{short(expression)}' is nested more than {MAX_DEPTH} levels deep")
    if problem := _problem(node, names):
        raise PluginError(f"'{short(expression)}' has {problem}: {_ALLOWED}")
    for inner in ast.iter_child_nodes(node):
        # The name of a function is no name of a number.
        if isinstance(inner, ast.expr) and inner is not getattr(node, "func", None):
            _check(inner, names, expression, depth + 1)


def _problem(node: ast.expr, names: Collection[str]) -> str:
    """Returns what a formula may not have in this node, its operands left aside; empty if there is nothing."""
    match node:
        case ast.Constant(value):
            return "" if _is_number(value) else f"{short(repr(value))}, which is no finite number"
        case ast.Name(name):
            return "" if name in names else f"the name '{short(name)}'{nearest(name, names)}"
        case ast.Call(ast.Name(name), arguments, keywords) if name in FUNCTIONS:
            count = FUNCTIONS[name]
            fits = len(arguments) == count and not any(isinstance(each, ast.Starred) for each in arguments)
            takes = f"where {name} takes {count} argument{'s' * (count > 1)}"
            return "" if fits and not keywords else f"'{short(ast.unparse(node))}', {takes}"
        case ast.Call(function):
            name = ast.unparse(function)
            return f"the function '{short(name)}'{nearest(name, FUNCTIONS)}"
        case ast.BinOp(op=op) | ast.UnaryOp(op=op) if type(op) in {*OPERATORS, ast.UAdd, ast.USub}:
            return ""
    return f"'{short(ast.unparse(node))}'"


def _is_number(value: object) -> bool:
    # An integer may be larger than any float.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """Computes a checked tree from the values of its names."""
    import numpy as np

    match node:
        case ast.Name(name):
            return names[name]
        case ast.BinOp(left, op, right):
            return OPERATORS[type(op)](_value(left, names), _value(right, names))
        case ast.UnaryOp(op, operand):
            return -_value(operand, names) if isinstance(op, ast.USub) else _value(operand, names)
        case ast.Call(ast.Name(function), arguments):
            return getattr(np, function)(*(_value(each, names) for each in arguments))
    assert isinstance(node, ast.Constant)
    return np.float64(node.value)  # type: ignore[arg-type]  # a number, as has been checked


class _Rewriter(ast.NodeTransformer):
    def __init__(self, change: Callable[[ast.expr], ast.expr | None]) -> None:
        self.change = change

    def visit(self, node: ast.AST) -> Any:
        changed = self.change(node) if isinstance(node, ast.expr) else None
        return super().visit(node) if changed is None else changed


def rewritten(tree: ast.expr, change: Callable[[ast.expr], ast.expr | None]) -> ast.expr:
    """Returns the expression with what ``change`` returns in place of a node, where that is not None."""
    made: ast.expr = _Rewriter(change).visit(copy.deepcopy(tree))
    return made
