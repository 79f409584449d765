"""The formula of a schedule as text: `lrtrain export` writes it as code, and checks compare it with the table."""

from __future__ import annotations

import ast
import math
import operator
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
        tree = _Shift(steps, self.options()).visit(self.tree())
        return Piece(None if self.until is None else self.until + steps, ast.unparse(tree))


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
    """Returns the pieces of a plugin's formula that hold for some step, or None when it has no formula.

    Raises:
      PluginError: its ``formula`` raises, or what it returns is no formula; the sentence names the plugin.
    """
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
    """Returns the tree of an expression, every node of which is allowed; nothing is executed.

    Args:
      expression: the text.
      options: the names of options that it may contain.

    Raises:
      PluginError: the text is no expression, or contains something that a formula may not.
    """
    if not isinstance(expression, str) or len(expression) > MAX_LENGTH:
        raise PluginError(f"the expression {short(repr(expression))} is not a text of at most {MAX_LENGTH} characters")
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise PluginError(f"'{short(expression)}' is not an expression: {_ALLOWED}") from None
    _check(tree, (*NAMES, *options), expression, 0)
    return tree


def _check(node: ast.expr, names: Collection[str], expression: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise PluginError(f"'{short(expression)}' is nested more than {MAX_DEPTH} levels deep")
    problem = _problem(node, names)
    if problem:
        raise PluginError(f"'{short(expression)}' has {problem}: {_ALLOWED}")
    for inner in operands(node):
        _check(inner, names, expression, depth + 1)


def operands(node: ast.expr) -> list[ast.expr]:
    """Returns what a node of a checked tree is computed from."""
    if isinstance(node, ast.BinOp):
        return [node.left, node.right]
    if isinstance(node, ast.UnaryOp):
        return [node.operand]
    return list(node.args) if isinstance(node, ast.Call) else []


def _problem(node: ast.expr, names: Collection[str]) -> str:
    """Returns what a formula may not have in this node, its operands left aside; empty if there is nothing."""
    if isinstance(node, ast.Constant):
        return "" if _is_number(node.value) else f"{short(repr(node.value))}, which is no finite number"
    if isinstance(node, ast.Name):
        return "" if node.id in names else f"the name '{short(node.id)}'{nearest(node.id, names)}"
    if isinstance(node, ast.Call):
        return _call_problem(node)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return ""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        return ""
    return f"'{short(ast.unparse(node))}'"


def _call_problem(node: ast.Call) -> str:
    name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
    if not isinstance(node.func, ast.Name) or name not in FUNCTIONS:
        return f"the function '{short(name)}'{nearest(name, FUNCTIONS)}"
    if node.keywords or any(isinstance(each, ast.Starred) for each in node.args) or len(node.args) != FUNCTIONS[name]:
        return (
            f"'{short(ast.unparse(node))}', where {name} takes {FUNCTIONS[name]} argument{'s' * (FUNCTIONS[name] > 1)}"
        )
    return ""


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """Computes a checked tree from the values of its names."""
    import numpy as np

    if isinstance(node, ast.Constant):
        return np.float64(node.value)  # type: ignore[arg-type]  # a number, as has been checked
    if isinstance(node, ast.Name):
        return names[node.id]
    inner = [_value(each, names) for each in operands(node)]
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](*inner)
    if isinstance(node, ast.UnaryOp):
        return -inner[0] if isinstance(node.op, ast.USub) else inner[0]
    assert isinstance(node, ast.Call)
    return getattr(np, node.func.id)(*inner)  # type: ignore[attr-defined]  # a name, as has been checked


class _Shift(ast.NodeTransformer):
    """Replaces t by ``t - steps``, and options by their numbers."""

    def __init__(self, steps: int, options: Mapping[str, float]) -> None:
        self.steps, self.options = steps, options

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.options:
            return parse(str(self.options[node.id]))
        return ast.BinOp(node, ast.Sub(), ast.Constant(self.steps)) if node.id == "t" and self.steps else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        """Adds to a number that is subtracted: ``t - 10``, shifted by 50, is ``t - 60``."""
        count = _count(node.right)
        if isinstance(node.op, ast.Sub) and _is_step(node.left) and count is not None:
            return ast.BinOp(node.left, ast.Sub(), ast.Constant(count + self.steps))
        self.generic_visit(node)
        return node


def _is_step(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "t"


def _count(node: ast.expr) -> int | None:
    return node.value if isinstance(node, ast.Constant) and type(node.value) is int else None
