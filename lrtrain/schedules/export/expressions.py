"""Expressions as the code of a target: its own functions, short lines, and no detour by way of a zero."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lrtrain.plugins.formula import FUNCTIONS

# What `ruff format` takes without settings; a line of `Lines` is never longer.
WIDTH = 88


@dataclass(frozen=True)
class Dialect:
    """How a target writes what a formula has.

    Args:
      functions: the target's name of each function of a formula.
      pi: its name of pi.
      constant: its name of an option, from the option's name in upper case.
    """

    functions: Mapping[str, str]
    pi: str
    constant: Callable[[str], str] = str

    def __post_init__(self) -> None:
        assert self.functions.keys() == FUNCTIONS.keys()


@dataclass
class Writer:
    """Writes expressions of one dialect; those that are too long are taken apart.

    Args:
      dialect: how the target writes things.
      lines: assignments to variables that later expressions use, in order.
    """

    dialect: Dialect
    lines: list[str] = field(default_factory=list)

    def text(self, tree: ast.expr, width: int, indent: int = 4) -> str:
        """Returns an expression in at most ``width`` characters; its parts may become ``lines`` indented so far."""
        tree = _Simple().visit(_Translated(self.dialect).visit(copy.deepcopy(tree)))
        while len(code(tree)) > width:
            part = _part(tree, len(code(tree)) - width, WIDTH - indent - len("x99 = "))
            name = f"x{len(self.lines) + 1}"
            self.lines.append(f"{name} = {code(part)}")
            tree = _replaced(tree, part, ast.Name(name))
        return code(tree)


def code(tree: ast.expr) -> str:
    """Returns an expression as `ruff format` has it: as `ast.unparse`, but for ``x**2`` without spaces."""
    return ast.unparse(_Tight().visit(copy.deepcopy(tree)))


def listed(items: list[str], before: str, after: str, indent: int) -> list[str]:
    """Returns a list as `ruff format` has it: on one line if it fits, else with an item on each and a comma at the end.

    Args:
      items: what the list holds, in code.
      before: what stands before the first, its bracket included.
      after: what stands after the last, its bracket included.
      indent: spaces before the first line.
    """
    line = f"{' ' * indent}{before}{', '.join(items)}{after}"
    if len(line) <= WIDTH:
        return [line]
    return [f"{' ' * indent}{before}", *(f"{' ' * indent}    {item}," for item in items), f"{' ' * indent}{after}"]


def names(tree: ast.expr) -> set[str]:
    """Returns the names that an expression uses."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def bounded(tree: ast.expr, bound: Callable[[ast.expr], ast.expr]) -> ast.expr:
    """Returns the expression with ``bound(t)`` where t stands."""
    return _Bounded(bound).visit(copy.deepcopy(tree))  # type: ignore[no-any-return]


def _part(tree: ast.expr, excess: int, longest: int) -> ast.expr:
    """Returns the part to take out: the shortest that is enough, else the longest that fits on a line."""
    inner = [node for node in ast.walk(tree) if node is not tree and isinstance(node, ast.expr)]
    # Of a call without operations in it, such as maximum(t, 1.7373708634137301), only a number can go.
    compound: list[ast.expr] = [node for node in inner if isinstance(node, ast.BinOp | ast.Call)]
    parts = compound or [node for node in inner if isinstance(node, ast.Constant)]
    lengths = {len(code(part)): part for part in parts}
    fits = {length: part for length, part in lengths.items() if length <= longest}
    # What depends on the step says more to a reader than a difference of two options.
    fitting = [length for length, part in fits.items() if "t" in names(part)] or list(fits)
    enough = [length for length in fitting if length >= excess + len("(x99)")]
    return lengths[min(enough) if enough else max(fitting)]


class _Translated(ast.NodeTransformer):
    """Puts the names of the target where those of a formula stand."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id == "pi":
            return ast.Name(self.dialect.pi)
        return ast.Name(self.dialect.constant(node.id)) if node.id.isupper() else node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        function = self.dialect.functions[node.func.id]  # type: ignore[attr-defined]  # a name, in a formula
        return ast.Call(ast.Name(function), [self.visit(each) for each in node.args], [])


class _Simple(ast.NodeTransformer):
    """Leaves out what changes nothing: + 0, - 0, * 1, / 1 and ** 1; a power of 2.0 is one of 2."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        left, right = _number(node.left), _number(node.right)
        if isinstance(node.op, ast.Add | ast.Sub) and right == 0:
            return node.left
        if (isinstance(node.op, ast.Add) and left == 0) or (isinstance(node.op, ast.Mult) and left == 1):
            return node.right
        if isinstance(node.op, ast.Mult | ast.Div | ast.Pow) and right == 1:
            return node.left
        if isinstance(node.op, ast.Pow) and right is not None and right == int(right):
            node.right = ast.Constant(int(right))
        return node


def _number(node: ast.expr) -> float | None:
    return node.value if isinstance(node, ast.Constant) else None  # type: ignore[return-value]


def _replaced(tree: ast.expr, old: ast.expr, new: ast.expr) -> ast.expr:
    return _Replaced(old, new).visit(tree)  # type: ignore[no-any-return]  # as ast declares it


class _Replaced(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, old: ast.expr, new: ast.expr) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> Any:
        return self.new if node is self.old else super().visit(node)


class _Bounded(ast.NodeTransformer):
    def __init__(self, bound: Callable[[ast.expr], ast.expr]) -> None:
        self.bound = bound

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.bound(node) if node.id == "t" else node


class _Tight(ast.NodeTransformer):
    """Writes powers of what is short as one word, in parentheses below a sign or another power."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.op, ast.Pow):
            node.left = _enclosed(node.left)
            if _is_word(node.left) and _is_word(_unsigned(node.right)):
                return ast.Name(f"{ast.unparse(node.left)}**{ast.unparse(node.right)}")
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        node.operand = _enclosed(node.operand)
        return node


def _enclosed(node: ast.expr) -> ast.expr:
    return ast.Name(f"({node.id})") if isinstance(node, ast.Name) and "**" in node.id else node


def _unsigned(node: ast.expr) -> ast.expr:
    return node.operand if isinstance(node, ast.UnaryOp) else node


def _is_word(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and "(" not in node.id)
