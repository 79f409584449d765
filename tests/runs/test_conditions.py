"""The versions that a run writes down."""

from __future__ import annotations

import importlib
import json
import sys

from lrtrain.plugins.discovery import find_plugin
from lrtrain.runs.conditions import versions


def test_versions_are_those_of_the_modules() -> None:
    found = versions()
    for distribution in ("jax", "jaxlib", "flax", "optax", "numpy"):
        assert found[distribution] == importlib.import_module(distribution).__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"lrtrain", "orbax-checkpoint", "tensorflow-datasets"} <= set(found)
    assert json.loads(json.dumps(found)) == found


def test_what_brings_the_plugins_comes_last_and_once() -> None:
    wsd, sgdr = find_plugin("wsd"), find_plugin("sgdr")
    found = versions(wsd, sgdr, wsd)
    assert found == {**versions(), "lrtrain-wsd": wsd.version, "lrtrain-sgdr": sgdr.version}
    assert list(found)[-2:] == ["lrtrain-wsd", "lrtrain-sgdr"]
