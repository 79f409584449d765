"""``lrtrain plugins list --load``: what is wrong with each plugin, and the cure."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab import cli

Install = Callable[..., str]

WATCHING = """
@dataclass(frozen=True)
class Plugin:
    '''Watches.'''
    @hookimpl
    def on_step(self, step): ...
"""


def listed(*arguments: str) -> str:
    result = cli("plugins", "list", "--load", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def row(distribution: str) -> dict[str, Any]:
    (found,) = (each for each in json.loads(listed("--json")) if each["distribution"] == distribution)
    return dict(found)


def requires(tmp_path: Path, *requirements: str) -> None:
    (info,) = (tmp_path / "site").glob("*.dist-info")
    with (info / "METADATA").open("a") as file:
        file.writelines(f"Requires-Dist: {each}\n" for each in requirements)


@pytest.mark.parametrize("requirement", ["lrtrain<0.1", "lrtrain (>=9)", "LRTrain[stream]>=9; python_version>'3'"])
def test_made_for_another_lrtrain(install_plugin: Install, tmp_path: Path, requirement: str) -> None:
    install_plugin("watch", WATCHING)
    requires(tmp_path, "not a requirement at all!", "click<1", requirement)
    (problem,) = row("test-watch")["problems"]
    assert problem["kind"] == "incompatible"
    running = importlib.metadata.version("lrtrain")
    assert problem["text"].startswith("test-watch 1.0 needs lrtrain")
    assert problem["text"].endswith(f", and this is lrtrain {running}")
    assert problem["cure"] == ("lrtrain plugins install --upgrade test-watch, or lrtrain plugins uninstall test-watch")
    (line,) = (line for line in listed().splitlines() if line.startswith("watch "))
    assert "(incompatible)" in line
    assert f"{problem['text']}: {problem['cure']}" in line


@pytest.mark.parametrize("requirement", ["lrtrain", "lrtrain>=0.0.1", "lrtrain>=9; extra == 'x'", "lrtrain-x>=9"])
def test_made_for_this_lrtrain(install_plugin: Install, tmp_path: Path, requirement: str) -> None:
    install_plugin("watch", WATCHING)
    requires(tmp_path, requirement)
    assert (row("test-watch")["problems"], row("test-watch")["hooks"]) == ([], ["on_step"])


def test_broken_and_duplicate(install_plugin: Install) -> None:
    install_plugin("watch", "raise ValueError('no')")
    install_plugin("watch", WATCHING, distribution="another")
    broken, twice = row("test-watch")["problems"]
    assert (broken["kind"], broken["cure"]) == ("broken", "fix it, or lrtrain plugins uninstall test-watch")
    assert twice == {
        "kind": "duplicate",
        "text": "plugin 'watch' is also provided by another 1.0",
        "cure": "keep one: lrtrain plugins uninstall test-watch removes this one",
    }
    assert [each["kind"] for each in row("another")["problems"]] == ["duplicate"]
    assert row("lrtrain-sgdr")["problems"] == []
