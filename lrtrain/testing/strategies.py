"""What hypothesis draws for an option, from the type of its field."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from hypothesis import strategies as st

from lrtrain.plugins.duration import Duration
from lrtrain.plugins.options import Begins
from lrtrain.plugins.spec import Spec

# Wide enough to find mistakes, and not so wide that all values overflow.
_WIDEST = 1000
_MOST_ITEMS = 4


def options(plugin: type, parts: Sequence[Spec]) -> st.SearchStrategy[dict[str, Any]]:
    """Draws some of a plugin's options; the others keep their defaults.

    Args:
      plugin: the plugin's class.
      parts: what is drawn for an option that is a spec.
    """
    hints = typing.get_type_hints(plugin, include_extras=True)
    fields = [field for field in dataclasses.fields(plugin) if field.init]
    drawn = {field.name: value_of(hints[field.name], parts) for field in fields}
    required = {
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    return st.fixed_dictionaries(
        {name: drawn[name] for name in required},
        optional={name: each for name, each in drawn.items() if name not in required},
    )


def value_of(hint: Any, parts: Sequence[Spec] = ()) -> st.SearchStrategy[Any]:
    """Draws a value of a type, as it could stand in a spec.

    Example:
      >>> value_of(bool)
      booleans()
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _bounded(arguments[0], arguments[1:], parts)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([value_of(each, parts) for each in arguments])
    if origin in (list, tuple, Sequence, set, frozenset):
        return st.lists(value_of(arguments[0], parts), max_size=_MOST_ITEMS)
    if origin in (dict, Mapping):
        keys, values = (value_of(each, parts) for each in arguments)
        return st.dictionaries(keys.map(str), values, max_size=_MOST_ITEMS)
    return _plain(hint, parts)


def _plain(hint: Any, parts: Sequence[Spec]) -> st.SearchStrategy[Any]:
    if hint is Duration:
        return durations()
    if hint is Spec:
        return st.sampled_from(list(parts)) if parts else st.nothing()
    if hint in (int, float):
        return _bounded(hint, (), parts)
    # Text of any kind is for the grammar's own tests; here a plugin should see what a user would write.
    return st.text("abc -", max_size=8) if hint is str else st.from_type(hint)


def durations() -> st.SearchStrategy[str | int]:
    """Draws a number of steps, a share of the run, or epochs."""
    shares = st.sampled_from(["0%", "100%", "29%", "33.3%", "0.5%"]) | st.integers(0, 100).map("{}%".format)
    epochs = st.sampled_from(["0.5ep", "1ep", "3ep"])
    return st.integers(0, _WIDEST) | shares | epochs


def _bounded(hint: Any, extras: Sequence[Any], parts: Sequence[Spec]) -> st.SearchStrategy[Any]:
    if prefixes := [f"{each.word}_" for each in extras if isinstance(each, Begins)]:
        return value_of(hint, parts).map(lambda text: f"{prefixes[0]}{text}")
    if hint not in (int, float):
        return value_of(hint, parts)
    low, high = (_limit(extras, kinds, other) for kinds, other in (((Ge, Gt), -_WIDEST), ((Le, Lt), _WIDEST)))
    if hint is int:
        lowest = int(low) + any(isinstance(each, Gt) for each in extras)
        highest = int(high) - any(isinstance(each, Lt) for each in extras)
        # A plugin may make one operation for each, and hundreds of operations take seconds to evaluate.
        return st.integers(lowest, min(highest, lowest + 5)) | st.sampled_from(sorted({lowest, highest}))
    apart = {
        "exclude_min": any(isinstance(each, Gt) for each in extras),
        "exclude_max": any(isinstance(each, Lt) for each in extras),
    }
    ends = [end for end, kind in ((low, Ge), (high, Le)) if any(isinstance(each, kind) for each in extras)]
    usual = st.sampled_from([*ends, *(value for value in (1e-4, 0.1, 0.5, 0.9) if low < value < high)] or [low])
    return usual | st.floats(low, high, allow_nan=False, width=32, allow_subnormal=False, **apart)


def _limit(extras: Sequence[Any], kinds: tuple[type, ...], other: float) -> float:
    for each in extras:
        if isinstance(each, kinds):
            return float(getattr(each, type(each).__name__.lower()))
    return other
