"""``lrtrain workloads new``: the package that it makes is whole, clean and works."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lrtrain.plugins.discovery import WORKLOADS, find_plugin
from lrtrain.plugins.options import options_of
from lrtrain.workloads.loading import load_workload_class
from tests.lab import cli, done, refusal

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(name: str) -> Path:
    done(cli("workloads", "new", name, "--author", "Ada L"))
    return Path(f"lrtrain-{name}")


def test_the_files_and_the_next_commands() -> None:
    lines = done(cli("workloads", "new", "My_Rings")).splitlines()
    folder = Path("lrtrain-my-rings")
    files = ["pyproject.toml", "lrtrain_my_rings.py", "tests/test_my_rings.py", "README.md", "LICENSE"]
    assert lines[:5] == [str(folder / file) for file in files]
    commands = [shlex.split(line) for line in lines if line.startswith("  lrtrain")]
    assert [command[1:3] for command in commands] == [
        ["plugins", "install"],
        ["workloads", "check"],
        ["--workload", "my-rings"],
    ]
    assert not any("$" in (folder / file).read_text() for file in files)


def test_the_metadata() -> None:
    project = tomllib.loads((made("rings") / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {"lrtrain.workloads": {"rings": "lrtrain_rings:Rings"}}
    assert project["dependencies"][0] == "lrtrain>=0.1,<0.2"


@pytest.mark.parametrize("name", ["rings", "dataset", "split"])
def test_the_class_and_its_readme(name: str) -> None:
    folder = made(name)
    points = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"]
    cls = points["lrtrain.workloads"][name].partition(":")[2]
    workload = load_workload_class(find_plugin(f"{folder}/lrtrain_{name}.py:{cls}", WORKLOADS))
    readme = (folder / "README.md").read_text()
    for option in options_of(workload):
        assert f"| `{option.name}` | {option.type} | `{option.default}` | {option.doc} |" in readme


def test_the_package_is_clean() -> None:
    folder = made("my-rings")
    module = str(folder / "lrtrain_my_rings.py")
    config = ["--config", str(ROOT / "pyproject.toml")]
    subprocess.run([sys.executable, "-m", "ruff", "check", "--isolated", str(folder)], check=True)
    subprocess.run([sys.executable, "-m", "ruff", "format", "--check", *config, str(folder)], check=True)
    subprocess.run([sys.executable, "-m", "ruff", "check", *config, "--ignore", "ARG002", module], check=True)


@pytest.mark.parametrize(("name", "said"), [
    ("fashion-mnist-cnn", "the name 'fashion-mnist-cnn' is taken by lrtrain 0.1.0: choose another"),
    ("linear", "lrtrain-linear 0.1.0 is installed already: choose another name than 'linear'"),
    ("a b", "'a b' is no name for a workload: expected at most 60 letters, digits and -, a letter first"),
])  # fmt: skip
def test_names_that_are_refused(name: str, said: str) -> None:
    assert said in refusal(cli("workloads", "new", name))
    assert list(Path().iterdir()) == []


@pytest.mark.slow
def test_the_types_are_right() -> None:
    module = str(made("my-rings") / "lrtrain_my_rings.py")
    subprocess.run([sys.executable, "-m", "mypy", "--strict", "--config-file=", module], check=True)


@pytest.mark.slow
def test_its_own_tests_pass_unchanged(tmp_path: Path) -> None:
    folder = made("my-rings")
    target, site = tmp_path / "target", tmp_path / "site"
    subprocess.run(["uv", "build", "--quiet", "--wheel", "--out-dir", str(target), str(folder)], check=True)
    (file,) = target.glob("*.whl")
    subprocess.run(["uv", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(file)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(site), "JAX_NUM_CPU_DEVICES": "2"}
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
