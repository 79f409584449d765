"""``lrtrain plugins install`` and ``uninstall``, in real environments made with pip and with uv."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from lrtrain.plugins import installer as environment
from tests.lab import cli

Install = Callable[..., str]

MODULE = """
from dataclasses import dataclass
from lrtrain import hookimpl

@dataclass(frozen=True)
class Plugin:
    '''A constant.'''
    value: float = {value}
    @hookimpl
    def build_schedule(self, context):
        return lambda step: self.value
"""
PROJECT = """
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"
[project]
name = "{name}"
version = "{version}"
{points}
[tool.hatch.build.targets.wheel]
include = ["*.py"]
"""


def run(*arguments: str, **options: str) -> Result:
    return cli("plugins", *arguments, **options)


def project(folder: Path, name: str, plugins: tuple[str, ...], version: str = "1.0") -> Path:
    """Makes a package with those plugins, all of one class."""
    folder.mkdir(exist_ok=True)
    module = name.replace("-", "_")
    points = "".join(f'{plugin} = "{module}:Plugin"\n' for plugin in plugins)
    points = f'[project.entry-points."lrtrain.plugins"]\n{points}' if plugins else ""
    (folder / "pyproject.toml").write_text(PROJECT.format(name=name, version=version, points=points))
    (folder / f"{module}.py").write_text(MODULE.format(value=float(version)))
    return folder


# --------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("command", ["install", "uninstall"])
@pytest.mark.parametrize("argument", ["--index-url=http://x", "-r", "-", "", "a\nb"])
def test_options_for_the_installer_are_refused(command: str, argument: str) -> None:
    result = run(command, "--", "sgdr", argument)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is neither a package nor a path: it would be read as an option" in result.stderr


def test_neither_pip_nor_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)
    result = run("install", "x")
    assert result.exit_code == 2
    assert "neither pip nor uv is here to install with: " in result.stderr
    assert "-m ensurepip installs pip" in result.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no-such-thing", "no plugin and no package 'no-such-thing' is installed"),
        ("lrtrain", "lrtrain does not uninstall itself"),
        ("LRTrain", "lrtrain does not uninstall itself"),
    ],
)
def test_what_cannot_be_uninstalled(name: str, said: str) -> None:
    result = run("uninstall", "--yes", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_a_name_that_two_packages_bring(install_plugin: Install) -> None:
    install_plugin("twin", "", distribution="test-a")
    install_plugin("twin", "", distribution="test-b")
    assert "'twin' is test-a and test-b: name one of these packages" in run("uninstall", "twin", "--yes").stderr


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("", 2)])
def test_nothing_goes_unasked(install_plugin: Install, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    install_plugin("mine", "")
    monkeypatch.setattr(environment.Installer, "run", lambda *_: pytest.fail("uninstalled"))
    result = run("uninstall", "mine", input=answer)
    assert result.exit_code == code
    assert result.stdout.startswith("test-mine 1.0 provides plugin mine\n")
    assert ("nothing was uninstalled" if answer else "--yes uninstalls without asking") in result.stderr


# ----------------------------------------------------------------------------------------------- real environments


class Environment:
    """An environment of its own, in which lrtrain and what it needs are found beside what is installed."""

    def __init__(self, folder: Path, *flags: str) -> None:
        uv = shutil.which("uv")
        assert uv is not None
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, *flags, str(folder)], check=True)
        self.python = folder / "bin" / "python"
        (site,) = folder.glob("lib/python*/site-packages")
        # Not the packages as such, so that nothing of the tests' own environment could be uninstalled.
        (site / "beside.pth").write_text(f"{sysconfig.get_path('purelib')}\n{Path(__file__).parents[3]}\n")

    def lrtrain(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [self.python, "-P", "-m", "lrtrain", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ}, timeout=250)

    def done(self, *arguments: str) -> str:
        result = self.lrtrain(*arguments)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv, to make environments")
@pytest.mark.parametrize("flags", [(), ("--seed",)], ids=["uv", "pip"])
def test_the_life_of_a_package(tmp_path: Path, flags: tuple[str, ...]) -> None:
    there = Environment(tmp_path / "env", *flags)
    folder = project(tmp_path / "two plugins", "stranger", ("stranger-a", "stranger-b"))
    assert there.done("plugins", "install", str(folder)) == "stranger 1.0 provides plugins stranger-a, stranger-b\n"
    assert "stranger-b  stranger  " in " ".join(there.done("plugins", "list").split()).replace(" ", "  ")
    project(folder, "stranger", ("stranger-a",), version="2.0")
    upgraded = there.done("plugins", "install", "--upgrade", str(folder))
    assert upgraded == "stranger 2.0 provides plugin stranger-a\n"
    assert "2.0" in there.done("plugins", "show", "stranger-a", "--json")
    assert there.done("plugins", "install", "--editable", str(folder)) == upgraded
    (folder / "stranger.py").write_text(MODULE.format(value=3.5))
    assert "3.5" in there.done("plugins", "show", "stranger-a")
    nothing = there.lrtrain("plugins", "install", str(project(tmp_path / "plain", "plain-package", ())))
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert nothing.stderr.splitlines()[-1] == (
        "Error: plain-package has no lrtrain plugin and stays installed: "
        "lrtrain plugins uninstall plain-package takes it away"
    )
    gone = there.done("plugins", "uninstall", "--yes", "stranger-a", "plain-package")
    assert gone.splitlines() == [
        "stranger 2.0 provides plugin stranger-a",
        "plain-package 1.0 provides no plugin",
        "stranger and plain-package are uninstalled",
    ]
    assert "stranger" not in there.done("plugins", "list")
    failed = there.lrtrain("plugins", "install", str(tmp_path / "no such folder"))
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].endswith("has failed, for the reason above: nothing may have changed")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv, to make environments")
@pytest.mark.parametrize("flags", [(), ("--seed",)], ids=["uv", "pip"])
def test_a_name_that_is_taken_is_refused_and_nothing_stays(tmp_path: Path, flags: tuple[str, ...]) -> None:
    there = Environment(tmp_path / "env", *flags)
    before = there.done("plugins", "list")
    taken = there.lrtrain("plugins", "install", str(project(tmp_path / "second", "second", ("fresh", "linear"))))
    assert (taken.returncode, taken.stdout) == (1, ""), taken.stderr
    last = taken.stderr.splitlines()[-1]
    assert last.startswith("Error: plugin 'linear' is provided by "), last
    assert "second 1.0" in last
    assert "lrtrain-linear " in last
    assert last.endswith("what was installed is uninstalled again; uninstall the other first, or rename yours")
    assert there.done("plugins", "list") == before


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv, to make environments")
def test_an_upgrade_to_a_name_that_is_taken_is_said(tmp_path: Path) -> None:
    there = Environment(tmp_path / "env")
    folder = project(tmp_path / "stranger", "stranger", ("stranger-a",))
    there.done("plugins", "install", str(folder))
    upgraded = there.lrtrain(
        "plugins", "install", "--upgrade", str(project(folder, "stranger", ("stranger-a", "linear"), version="2.0"))
    )
    assert (upgraded.returncode, upgraded.stdout) == (1, "")
    assert "Error: plugin 'linear' is provided by " in upgraded.stderr
    assert upgraded.stderr.endswith(": lrtrain plugins uninstall takes one of these packages away\n")
