"""The versions that a run writes down."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys

import pytest

from lrtrain.versions import versions


def test_versions_are_those_of_the_modules() -> None:
    found = versions()
    for distribution in ("jax", "jaxlib", "flax", "optax", "numpy"):
        assert found[distribution] == importlib.import_module(distribution).__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"lrtrain", "orbax-checkpoint", "tensorflow-datasets"} <= set(found)
    assert json.loads(json.dumps(found)) == found


def test_further_distributions_come_last_and_once() -> None:
    found = versions(["pytest", "jax", "pytest"])
    assert found == {**versions(), "pytest": pytest.__version__}
    assert list(found)[-1] == "pytest"


def test_a_distribution_that_is_not_there() -> None:
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        versions(["no-such-distribution"])
