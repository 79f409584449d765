"""The layout of a graph without circles whose arrows point down: nodes on floors, with few crossings.

An arrow that passes a floor has a point there, which is ordered and placed like a node of little width.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Node: TypeAlias = str | tuple[str, str, int]
"""A name, or a point of an arrow: from, to, floor."""

_SWEEPS = 60


@dataclass(frozen=True)
class Layers:
    """Nodes on their floors, from the top, each from left to right; and for each arrow the points that it passes."""

    floors: Sequence[Sequence[Node]]
    chains: Sequence[Sequence[Node]]
    x: Mapping[Node, float]


def place(arrows: Mapping[str, set[str]], width: float, margin: float) -> Layers:
    """Returns the places of all nodes: each node one floor below the lowest that has an arrow to it.

    Args:
      arrows: for each node those that it points to.
      width: of a node.
      margin: between two nodes, and between a node and an arrow that passes it.
    """
    depth = _depths(arrows)
    chains = [_chain(source, target, depth) for source in arrows for target in sorted(arrows[source])]
    floors: list[list[Node]] = [[] for _ in range(max(depth.values()) + 1)]
    for node in dict.fromkeys([*depth, *itertools.chain(*chains)]):
        floors[depth[node] if isinstance(node, str) else node[2]].append(node)
    near = _neighbours(chains)
    floors = _ordered(floors, near)
    return Layers(floors, chains, _placed(floors, near, width, margin))


def _depths(arrows: Mapping[str, set[str]]) -> dict[str, int]:
    """Returns for each node the number of its floor, 0 at the top."""

    def depth(node: str) -> int:
        return max((depth(above) + 1 for above in arrows if node in arrows[above]), default=0)

    return {node: depth(node) for node in sorted(arrows)}


def _chain(source: str, target: str, depth: Mapping[str, int]) -> list[Node]:
    return [source, *((source, target, floor) for floor in range(depth[source] + 1, depth[target])), target]


def _neighbours(chains: Sequence[Sequence[Node]]) -> dict[Node, list[Node]]:
    near: dict[Node, list[Node]] = {}
    for one, other in itertools.chain(*map(itertools.pairwise, chains)):
        near.setdefault(one, []).append(other)
        near.setdefault(other, []).append(one)
    return near


def _ordered(floors: list[list[Node]], near: Mapping[Node, Sequence[Node]]) -> list[list[Node]]:
    """Returns the floors in an order with few crossings: each node in the middle of its neighbours, again and again."""
    best = floors
    for sweep in range(_SWEEPS):
        for floor in range(len(floors))[:: 1 if sweep % 2 else -1]:
            at = {node: index - len(row) / 2 for row in floors for index, node in enumerate(row)}
            middle = {node: sum(at[other] for other in near[node]) / len(near[node]) for node in floors[floor]}
            floors = [*floors[:floor], sorted(floors[floor], key=middle.__getitem__), *floors[floor + 1 :]]
        best = min(best, floors, key=lambda rows: _crossings(rows, near))
    return best


def _crossings(floors: Sequence[Sequence[Node]], near: Mapping[Node, Sequence[Node]]) -> int:
    at = {node: index for row in floors for index, node in enumerate(row)}
    count = 0
    for upper, lower in itertools.pairwise(floors):
        lines = [(at[node], at[other]) for node in upper for other in near[node] if other in lower]
        count += sum((a - c) * (b - d) < 0 for (a, b), (c, d) in itertools.combinations(lines, 2))
    return count


def _placed(
    floors: Sequence[Sequence[Node]], near: Mapping[Node, Sequence[Node]], width: float, margin: float
) -> dict[Node, float]:
    """Returns the middle of each node: near its neighbours, and apart from those beside it."""
    x: dict[Node, float] = {node: index * width for row in floors for index, node in enumerate(row)}
    for sweep in range(_SWEEPS):
        for row in floors[:: 1 if sweep % 2 else -1]:
            wanted = [_middle(node, near[node], x) for node in row]
            left = _apart(row, wanted, width, margin)
            right = _apart(row[::-1], [-each for each in wanted[::-1]], width, margin)[::-1]
            x.update({node: (one - other) / 2 for node, one, other in zip(row, left, right, strict=True)})
    edge = min(x[node] - _half(node, width) for node in x) - margin
    return {node: each - edge for node, each in x.items()}


def _middle(node: Node, near: Sequence[Node], x: Mapping[Node, float]) -> float:
    """Returns the middle of a node's neighbours; an arrow is kept straight, so its own points count more."""
    weights = [1 if isinstance(node, str) or isinstance(other, str) else 8 for other in near]
    return sum(weight * x[other] for weight, other in zip(weights, near, strict=True)) / sum(weights)


def _apart(row: Sequence[Node], wanted: Sequence[float], width: float, margin: float) -> list[float]:
    """Returns the places in a row, each as wanted or as far to the right as the one before it makes it."""
    placed: list[float] = []
    for index, node in enumerate(row):
        least = placed[-1] + _half(row[index - 1], width) + margin + _half(node, width) if placed else wanted[0]
        placed.append(max(wanted[index], least))
    return placed


def _half(node: Node, width: float) -> float:
    return width / 2 if isinstance(node, str) else 0.0
