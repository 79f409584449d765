"""An installation without the extra `tfds`: what works in it, and what a user is told who needs the extra."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import announce, done, refusal

# Neither the modules nor the metadata of the packages can be found, as if they were not installed.
HIDDEN = """
import importlib.metadata, importlib.util, sys
modules = ("tensorflow_datasets", "array_record", "importlib_resources")
sys.modules.update(dict.fromkeys(modules))
find, discover = importlib.util.find_spec, importlib.metadata.Distribution.discover
importlib.util.find_spec = lambda name, *rest: None if name in modules else find(name, *rest)
def visible(**query):
    return iter(()) if str(query.get("name")).replace("-", "_") in modules else discover(**query)
importlib.metadata.Distribution.discover = visible
from lrtrain.cli import main
main()
"""
NEEDED = "tensorflow_datasets and array_record and importlib_resources: run `pip install 'lrtrain[tfds]'`"


def lrtrain(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a process that finds no package of the extra."""
    command = [sys.executable, "-c", HIDDEN, *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=240)


def test_schedules_are_drawn_and_exported(tmp_path: Path) -> None:
    assert "step 99" in done(lrtrain(tmp_path, "plot", "--plugin", "wsd", "--steps", "100"))
    assert "def schedule" in done(lrtrain(tmp_path, "export", "--plugin", "wsd", "--steps", "100", "--to", "optax"))


def test_a_workload_with_data_of_its_own_is_trained_and_resumed(tmp_path: Path) -> None:
    run = ("--run-dir", "run", "--quiet")
    trained = lrtrain(tmp_path, "--workload", "digits", "--plugin", "linear", "--epochs", "1", *run)
    assert trained.returncode == 0, trained.stderr
    assert '"tensorflow-datasets"' not in (tmp_path / "run" / "config.json").read_text(encoding="utf-8")
    resumed = lrtrain(tmp_path, "--resume", "--on-schedule-change", "restart", "--epochs", "2", *run)
    assert resumed.returncode == 0, resumed.stderr


@pytest.mark.parametrize("name", ["cifar10", "no_such_name"])
def test_a_data_set_that_is_not_prepared(tmp_path: Path, name: str) -> None:
    said = refused(lrtrain(tmp_path, "--plugin", "linear", "--dataset", name, "--run-dir", "run"))
    assert said.startswith(f"there is no data set '{name}'")
    assert said.endswith(f"; any of tensorflow-datasets needs {NEEDED}")
    assert not (tmp_path / "run").exists()


def test_a_data_set_that_is_prepared(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Arrays that another test has decoded need no reader.
    monkeypatch.setenv("LRTRAIN_CACHE_DIR", str(tmp_path / "cache"))
    arguments = ("--plugin", "linear", "--dataset", "tiny", "--data-dir", str(tiny), "--run-dir", "run")
    assert refused(lrtrain(tmp_path, *arguments)) == f"a data set of tensorflow-datasets needs {NEEDED}"


def test_a_package_of_data_that_does_not_require_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "forgetful.py").write_text("import tensorflow_datasets\n", encoding="utf-8")
    announce(site, "forgetful", "forgetful = forgetful:Builder", group="lrtrain.datasets")
    monkeypatch.setenv("PYTHONPATH", str(site))
    arguments = ("--plugin", "linear", "--dataset", "forgetful", "--run-dir", "run")
    assert refused(lrtrain(tmp_path, *arguments)) == f"a data set of tensorflow-datasets needs {NEEDED}"


def refused(result: subprocess.CompletedProcess[str]) -> str:
    """Returns the sentence that a command ended with, after the lines that say what it was doing."""
    lines = result.stderr.splitlines(keepends=True)
    result.stderr = "".join(line for line in lines if not line.endswith(" ...\n"))
    return refusal(result)
