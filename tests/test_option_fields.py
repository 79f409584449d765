"""The options of training from one place: one that is added in a copy of lrtrain is there in every place."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lrtrain
from lrtrain.option_fields import option_fields
from lrtrain.runs.train_config import WORKLOADS_OWN, TrainConfig
from tests.lab import ROOT, cli, done

FIELD = """
    momentum_decay: float = option(0.5, "How fast the momentum decays.", metavar="DECAY", least=0, most=1)
    fixed_order: bool = option(False, "Draw one order for all epochs.")
"""
ASKED = (
    """
import json
import lrtrain
from lrtrain.comparison.plan import Plan
from lrtrain.comparison.plan_file import parse_plan
from lrtrain.runs.command import train_options
from lrtrain.runs.train_config import TrainConfig
from lrtrain.strict_json import decode, path_of

def refused(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except lrtrain.UsageError as error:
        return str(error)

TEXT = """
    + '"""'
    + """
[train]
momentum_decay = {}
fixed_order = true

[[schedules]]
plugin = "constant"

[[schedules]]
plugin = "linear"
"""
    + '"""'
    + """
plan = parse_plan(TEXT.format(0.25), "a file")
print(json.dumps({
    "refused": [
        refused(lrtrain.train, "constant", momentum_decay=2),
        refused(lrtrain.find_lr, "constant", momentum_decay="1"),
        refused(lrtrain.compare, "constant", "linear", momentum_decay=-1),
        refused(parse_plan, TEXT.format(3), "a file"),
    ],
    "toml": [plan.train.momentum_decay, plan.train.fixed_order],
    "config.json": plan.train.to_json(),
    "read": Plan.from_json(plan.to_json()) == plan,
    "command": list(train_options(plan.train)),
}))
"""
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a directory with a copy of lrtrain that has two options more."""
    folder = tmp_path_factory.mktemp("copy")
    package = Path(lrtrain.__file__).parent
    shutil.copytree(package, folder / "lrtrain", ignore=shutil.ignore_patterns("__pycache__"))
    config = folder / "lrtrain" / "runs" / "train_config.py"
    before, mark, after = config.read_text(encoding="utf-8").partition("\n    def __post_init__")
    config.write_text(before + FIELD + mark + after, encoding="utf-8")
    return folder


def python(copy: Path, *arguments: str, code: int = 0) -> str:
    """Returns what a process prints that has the copy as its lrtrain."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=copy, env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.mark.parametrize("command", ["train", "compare", "find-lr"])
def test_a_new_option_is_one_of_every_command_that_trains(copy: Path, command: str) -> None:
    page = " ".join(python(copy, "-m", "lrtrain", command, "--help").split())
    assert "--momentum-decay DECAY How fast the momentum decays. [default: 0.5]" in page
    assert "--fixed-order Draw one order for all epochs." in page
    plugins = ["--plugin", "constant", *(["--plugin", "linear"] if command == "compare" else [])]
    said = python(copy, "-m", "lrtrain", command, *plugins, "--momentum-decay", "1.5", code=2)
    assert said == "Error: momentum_decay=1.5 is refused: expected a number from 0 to 1\n"


def test_a_new_option_is_in_the_reference(copy: Path) -> None:
    made = "import sys; sys.path.insert(0, sys.argv[1]); import from_code; print(from_code.training_options())"
    table = python(copy, "-c", made, str(ROOT / "docs" / "_ext"))
    assert "| `momentum_decay` | `--momentum-decay` | number ≥ 0 ≤ 1 | `0.5` | How fast the momentum decays. |" in table
    assert "| `fixed_order` | `--fixed-order` | true or false | `False` | Draw one order for all epochs. |" in table
    assert "<!-- generated: training-options -->" in (ROOT / "docs" / "reference" / "api.md").read_text(
        encoding="utf-8"
    )


def test_a_new_option_is_one_of_python_files_and_commands_to_paste(copy: Path) -> None:
    found = json.loads(python(copy, "-c", ASKED))
    wrong = "is refused: expected a number from 0 to 1"
    assert found["refused"] == [
        f"momentum_decay=2 {wrong}",
        f"momentum_decay=1 {wrong}",
        f"momentum_decay=-1 {wrong}",
        f"a file, line 3: momentum_decay=3 {wrong}",
    ]
    assert found["toml"] == [0.25, True]
    assert (found["config.json"]["momentum_decay"], found["config.json"]["fixed_order"]) == (0.25, True)
    assert found["read"]
    assert found["command"] == ["--momentum-decay", "0.25", "--fixed-order"]


@pytest.mark.parametrize("command", ["train", "compare", "find-lr"])
def test_help_says_which_defaults_are_the_workloads(command: str) -> None:
    text = " ".join(done(cli(command, "--help", env={"COLUMNS": "300"})).split())
    # The budget of a comparison says how many epochs there are.
    own = [name for name in WORKLOADS_OWN if (command, name) != ("compare", "epochs")]
    fields = {field.name: field.default for field in option_fields(TrainConfig)}
    said = [f"[default: ({fields[name]}, or the workload's)]" for name in own]
    assert [each for each in said if each not in text] == []
    assert text.count("or the workload's)") == len(own)
