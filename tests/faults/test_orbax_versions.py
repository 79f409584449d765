"""A checkpoint that the oldest supported Orbax has written is read by the one that is installed."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.faults.conftest import Tally
from tests.faults.lab import Lab, full_only
from tests.lab import ended, until

ROOT = Path(__file__).parents[2]


def oldest() -> str:
    """Returns the lowest version that pyproject.toml allows."""
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    found = re.search(r"orbax-checkpoint>=([\d.]+)", " ".join(dependencies))
    assert found
    return f"{found[1]}.0" if found[1].count(".") == 1 else found[1]


@full_only
@pytest.mark.timeout(1200)
def test_the_oldest_orbax_writes_and_the_newest_reads(lab: Lab, hooks: str, tally: Tally) -> None:
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv installs the oldest Orbax beside the other packages")
    version, old = oldest(), lab.directory / "old"
    installed = importlib.metadata.version("orbax-checkpoint")
    wanted = ["--no-deps", f"orbax-checkpoint=={version}"]
    subprocess.run(
        [uv, "pip", "install", "--quiet", f"--python={sys.executable}", f"--target={old}", *wanted], check=True
    )
    lab.complete("whole")
    steps = lab.directory / "run" / "checkpoints"
    process = lab.start(lab.command("run"), site="old")
    assert until(process, lambda: (steps / "step_100").is_dir() or (steps / "step_110").is_dir())
    process.kill()
    ended(process)
    config = json.loads((lab.directory / "run" / "config.json").read_text(encoding="utf-8"))
    assert config["versions"]["orbax-checkpoint"] == version
    assert version != installed
    with tally.expecting(f"A run begun with orbax-checkpoint {version} is continued with {installed}"):
        lab.complete("run")
        lab.assert_same("whole", "run")
        config = json.loads((lab.directory / "run" / "config.json").read_text(encoding="utf-8"))
        assert config["resumed"][0]["step"] >= 100
        assert config["versions"]["orbax-checkpoint"] == installed
