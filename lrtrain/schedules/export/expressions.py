"""Expressions as the code of a target: its own functions, short lines, and no term that changes nothing."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lrtrain.plugins.formula import rewritten

# What black and `ruff format` take without settings.
WIDTH = 88


@dataclass(frozen=True)
class Dialect:
    """How a target writes the parts of a formula: functions and pi by their names there, an option by its own."""

    names: Mapping[str, str]
    constant: Callable[[str], str] = str.upper

    def translated(self, node: ast.expr) -> ast.expr | None:
        """Returns a name of a formula as the target has it; None for what stays as it is."""
        if not isinstance(node, ast.Name) or node.id == "t":
            return None
        return ast.Name(self.names[node.id] if node.id in self.names else self.constant(node.id))


@dataclass
class Writer:
    """Writes expressions in one dialect; parts of one that is too long become ``lines``, assignments before it."""

    dialect: Dialect
    lines: list[str] = field(default_factory=list)

    def text(self, tree: ast.expr, width: int, indent: int = 4) -> str:
        """Returns an expression in at most ``width`` characters; its parts may become ``lines`` indented by ``indent``.

        It is longer only where names are so long that no part of it fits on a line.
        """
        tree = _Simple().visit(rewritten(tree, self.dialect.translated))
        while len(ast.unparse(tree)) > width:
            part = _longest_part(tree, WIDTH - indent - len("x99 = "))
            if part is None:
                break
            name = f"x{len(self.lines) + 1}"
            self.lines.append(f"{name} = {part}")
            tree = _replaced(tree, part, name)
        return ast.unparse(tree)


def names(tree: ast.expr) -> set[str]:
    """Returns the names that an expression uses."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _longest_part(tree: ast.expr, longest: int) -> str | None:
    """Returns the longest part of an expression that fits on a line and is longer than the name of a variable."""
    functions = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    inner = [node for node in ast.walk(tree) if isinstance(node, ast.expr) and node not in (tree, *functions)]
    parts = [part for part in map(ast.unparse, inner) if len("(x99)") < len(part) <= longest]
    return max(parts, key=len, default=None)


def _replaced(tree: ast.expr, part: str, name: str) -> ast.expr:
    """Returns the expression with a variable in place of each part that has this text."""
    return rewritten(tree, lambda node: ast.Name(name) if ast.unparse(node) == part else None)


class _Simple(ast.NodeTransformer):
    """Leaves out what changes nothing: + 0, - 0, * 1, / 1 and ** 1; a power of 2.0 is one of 2."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        match node:
            case ast.BinOp(left, ast.Add() | ast.Sub(), ast.Constant(0)):
                return left
            case ast.BinOp(ast.Constant(0), ast.Add(), right) | ast.BinOp(ast.Constant(1), ast.Mult(), right):
                return right
            case ast.BinOp(left, ast.Mult() | ast.Div() | ast.Pow(), ast.Constant(1)):
                return left
            case ast.BinOp(_, ast.Pow(), ast.Constant(float(power))) if power.is_integer():
                node.right = ast.Constant(int(power))
        return node
