"""The extras: what the core does without, and that `all` has everything."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lrtrain.extras import _PACKAGES, absent

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Clients of other programs, and what only authors of plugins need.
NOT_IN_ALL = {"mlflow", "tensorboard", "testing", "all"}


def required(texts: list[str], extras: frozenset[str] = frozenset()) -> set[tuple[str, frozenset[str]]]:
    """Returns the distributions that requirements name on this machine, with the extras that they name."""
    found = (Requirement(text) for text in texts)
    values = extras or {""}
    return {
        (canonicalize_name(each.name), frozenset(each.extras))
        for each in found
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in values)
    }


def installed_with(*extras: str) -> set[str]:
    """Returns every distribution that pip installs with lrtrain and these extras, by what is installed here."""
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in EXTRAS[extra])]
    found: set[tuple[str, frozenset[str]]] = set()
    new = required(texts)
    while new:
        found |= new
        new = {each for name, more in new for each in requirements_of(name, more)} - found
    return {name for name, _ in found}


def requirements_of(name: str, extras: frozenset[str]) -> set[tuple[str, frozenset[str]]]:
    if name == "lrtrain":
        return required([text for extra in extras for text in EXTRAS[extra]])
    try:
        return required(importlib.metadata.requires(name) or [], extras)
    except importlib.metadata.PackageNotFoundError:
        return set()


def test_the_core_has_no_data_libraries() -> None:
    core = installed_with()
    assert {"jax", "flax", "optax", "orbax-checkpoint", "matplotlib"} <= core
    assert core.isdisjoint({"tensorflow-datasets", "array-record", "pyarrow", "plotly"})


@pytest.mark.parametrize("extra", ["tfds", "all"])
def test_an_extra_with_the_data_of_the_default_workload_has_its_libraries(extra: str) -> None:
    assert {"tensorflow-datasets", "array-record", "importlib-resources", "pyarrow"} <= installed_with(extra)


def test_the_data_package_has_what_reads_it() -> None:
    data = {name for name, _ in requirements_of("lrtrain-fashion-mnist", frozenset())}
    assert {name for name, _ in required(EXTRAS["tfds"])} <= data


def test_all_has_every_extra_but_those_that_it_leaves_out() -> None:
    named = {extra for text in EXTRAS["all"] for extra in Requirement(text).extras}
    assert named == set(EXTRAS) - NOT_IN_ALL


@pytest.mark.parametrize("extra", _PACKAGES)
def test_the_modules_of_an_extra_are_those_of_its_packages(extra: str) -> None:
    distributions = importlib.metadata.packages_distributions()
    of_modules = {canonicalize_name(distributions[module][0]) for module in _PACKAGES[extra]}
    assert of_modules == {name for name, _ in required(EXTRAS[extra])}
    assert absent(extra, "x") is None


def test_every_extra_is_in_the_page_on_how_to_install() -> None:
    page = (ROOT / "docs" / "how-to" / "install.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `lrtrain\[(\w+)\]`", page, re.MULTILINE)) == set(EXTRAS)
