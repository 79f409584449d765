"""Expressions as the code of a target: its own functions, short lines, and no term that changes nothing."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lrtrain.plugins.formula import FUNCTIONS

# What black and `ruff format` take without settings.
WIDTH = 88


@dataclass(frozen=True)
class Dialect:
    """How a target writes the parts of a formula.

    Args:
      functions: the target's name of each function of a formula.
      pi: the target's name of pi.
      constant: the target's name of an option.
    """

    functions: Mapping[str, str]
    pi: str
    constant: Callable[[str], str] = str.upper

    def __post_init__(self) -> None:
        assert self.functions.keys() == FUNCTIONS.keys()


@dataclass
class Writer:
    """Writes expressions in one dialect; parts of an expression that is too long become variables.

    Args:
      dialect: how the target writes the parts of a formula.
      lines: assignments to variables that later expressions use, in order.
    """

    dialect: Dialect
    lines: list[str] = field(default_factory=list)

    def text(self, tree: ast.expr, width: int, indent: int = 4) -> str:
        """Returns an expression in at most ``width`` characters; its parts may become ``lines`` indented by ``indent``.

        It is longer only where names are so long that no part of it fits on a line.
        """
        tree = _Simple().visit(_Translated(self.dialect).visit(copy.deepcopy(tree)))
        while len(ast.unparse(tree)) > width:
            part = _longest_part(tree, WIDTH - indent - len("x99 = "))
            if part is None:
                break
            name = f"x{len(self.lines) + 1}"
            self.lines.append(f"{name} = {part}")
            tree = _Replaced(part, name).visit(tree)
        return ast.unparse(tree)


def names(tree: ast.expr) -> set[str]:
    """Returns the names that an expression uses."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def bounded(tree: ast.expr, bound: Callable[[ast.expr], ast.expr]) -> ast.expr:
    """Returns the expression with ``bound(t)`` in place of t."""
    made: ast.expr = _Bounded(bound).visit(copy.deepcopy(tree))
    return made


def _longest_part(tree: ast.expr, longest: int) -> str | None:
    """Returns the longest part of an expression that fits on a line and is longer than the name of a variable."""
    functions = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    inner = [node for node in ast.walk(tree) if isinstance(node, ast.expr) and node not in (tree, *functions)]
    parts = [part for part in map(ast.unparse, inner) if len("(x99)") < len(part) <= longest]
    return max(parts, key=len, default=None)


class _Translated(ast.NodeTransformer):
    """Replaces the names of a formula by those of the target."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id == "pi":
            return ast.Name(self.dialect.pi)
        return node if node.id == "t" else ast.Name(self.dialect.constant(node.id))

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
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, int | float) else None


class _Replaced(ast.NodeTransformer):
    """Replaces each part that has this text by a variable."""

    def __init__(self, part: str, name: str) -> None:
        self.part, self.name = part, name

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.expr) and ast.unparse(node) == self.part:
            return ast.Name(self.name)
        return super().visit(node)


class _Bounded(ast.NodeTransformer):
    def __init__(self, bound: Callable[[ast.expr], ast.expr]) -> None:
        self.bound = bound

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.bound(node) if node.id == "t" else node
