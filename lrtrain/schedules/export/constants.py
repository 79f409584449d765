"""Which numbers of a formula are options of the plugin, so that code can have them by name, in one place."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Sequence
from typing import Any

from lrtrain.plugins.context import ScheduleContext
from lrtrain.plugins.formula import Piece, ask_formula, parse
from lrtrain.plugins.loading import Plugin

# Too little for any schedule to mind, and enough that no number is rounded back to what it was.
_NUDGE = 2.0**-12


def name_options(
    plugin: Plugin, context: ScheduleContext, pieces: Sequence[Piece], trees: Sequence[ast.expr]
) -> tuple[list[ast.expr], dict[str, float]]:
    """Returns the trees of the pieces with options by name in upper case, and the values of those options.

    An option is found by asking for the formula again with the option a little higher. It gets its name where all
    numbers that have changed were its value and are its new value: whoever edits it then changes all that depends on
    it. A number that only happens to equal an option keeps its digits.
    """
    names: dict[int, str] = {}
    constants: dict[str, float] = {}
    for option in dataclasses.fields(plugin.instance):
        value = getattr(plugin.instance, option.name)
        if not isinstance(value, float):
            continue
        places = _places(plugin, context, pieces, trees, option.name)
        if places:
            constants[option.name.upper()] = value
            names |= {id(place): option.name.upper() for place in places}
    return [_Named(names).visit(tree) for tree in trees], constants


def _places(
    plugin: Plugin, context: ScheduleContext, pieces: Sequence[Piece], trees: Sequence[ast.expr], option: str
) -> list[ast.Constant]:
    """Returns the numbers of the trees that are this option and nothing else; none where others depend on it too."""
    value = getattr(plugin.instance, option)
    higher = value * (1 + _NUDGE) or _NUDGE
    try:
        instance = dataclasses.replace(plugin.instance, **{option: higher})
        moved = ask_formula(instance, plugin.entry.name, context) or ()
    except Exception:  # noqa: BLE001  # the plugin refuses the value, and its numbers stay without a name
        return []
    if [piece.until for piece in moved] != [piece.until for piece in pieces]:
        return []
    pairs = [_pairs(tree, parse(piece.expression)) for tree, piece in zip(trees, moved, strict=True)]
    changed = [(old, new) for each in pairs for old, new in each if old.value != new.value]
    return [old for old, _ in changed] if all((o.value, n.value) == (value, higher) for o, n in changed) else []


def _pairs(before: ast.expr, after: ast.expr) -> list[tuple[Any, Any]]:
    """Returns the numbers of two trees side by side; a pair that cannot be an option where they are built otherwise."""
    nodes, others = list(ast.walk(before)), list(ast.walk(after))
    if [_kind(node) for node in nodes] != [_kind(node) for node in others]:
        return [(ast.Constant(None), ast.Constant(0))]
    return [(one, other) for one, other in zip(nodes, others, strict=True) if isinstance(one, ast.Constant)]


def _kind(node: ast.AST) -> tuple[type, str]:
    return type(node), getattr(node, "id", "")


class _Named(ast.NodeTransformer):
    """Puts names where the numbers stand that have one."""

    def __init__(self, names: dict[int, str]) -> None:
        self.names = names

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return ast.Name(self.names[id(node)]) if id(node) in self.names else node
