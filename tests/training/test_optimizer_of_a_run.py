"""The optimizer of a run: what its files hold, an older file, a function that changes, and what a command refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest

import lrtrain
from lrtrain.comparison.plan import Plan
from lrtrain.comparison.plan_file import parse_plan
from lrtrain.engine.optimizers import optimizer
from lrtrain.errors import RunDirError
from lrtrain.runs.conditions import file_versions
from lrtrain.runs.differences import differences
from lrtrain.runs.reading import read_run
from lrtrain.runs.run_config import RunConfig
from lrtrain.runs.train_config import TrainConfig
from tests.lab import cli, refusal

# Of a run that is trained for more epochs than it began with.
KEEP: dict[str, Any] = {"on_schedule_change": "keep"}
SOURCE = "import optax\n\ndef make(decay: float = 0.5):\n    return optax.trace(decay)\n"


@pytest.fixture
def options(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    return {"dataset": "tiny", "data_dir": tiny, "batch_size": 36, "epochs": 1, "loss_reduction": "mean"}


def stored(run: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((run / "config.json").read_text(encoding="utf-8"))
    return values


def test_a_run_stores_the_text_that_says_all(options: dict[str, Any]) -> None:
    run = lrtrain.train("constant", optimizer="adamw(b1=0.9)", run_dir="masked", **options).run_dir
    assert stored(run)["train"]["optimizer"] == "adamw(mask=matrices)"
    lrtrain.train(run_dir=run, resume=True, optimizer="adamw()", epochs=2, **KEEP)
    with pytest.raises(
        RunDirError, match=r"made with optimizer=adamw\(mask=matrices\), and optimizer=adamw\(mask=none"
    ):
        lrtrain.train(run_dir=run, resume=True, optimizer="adamw(mask=none)")


def test_an_older_run_keeps_its_meaning(options: dict[str, Any]) -> None:
    """It stored the name alone, and decayed all parameters."""
    run = lrtrain.train("constant", optimizer="adamw(mask=none)", run_dir="old", **options).run_dir
    values = stored(run)
    values["train"]["optimizer"] = "adamw"
    (run / "config.json").write_text(json.dumps(values), encoding="utf-8")
    config = RunConfig.from_json(values).train
    assert config.optimizer == "adamw(mask=none)"
    params = {"bias": jnp.ones(3)}
    decayed = optimizer(config.optimizer)
    updates, _ = decayed.update({"bias": jnp.zeros(3)}, decayed.init(params), params)
    assert updates["bias"].min() > 0  # type: ignore[index]  # a table, as the parameters are
    with pytest.raises(RunDirError, match=r"the run was made with optimizer=adamw.mask=none."):
        lrtrain.train(run_dir=run, resume=True, optimizer="adamw")
    lrtrain.train(run_dir=run, resume=True, epochs=2, **KEEP)
    assert stored(run)["train"]["optimizer"] == "adamw(mask=none)"
    other = lrtrain.train("constant", optimizer="adamw(mask=none)", run_dir="new", **options | {"epochs": 2}).run_dir
    assert "optimizer" not in differences([read_run(run), read_run(other)])


def test_an_older_comparison_keeps_its_meaning() -> None:
    plan = parse_plan(
        '[train]\noptimizer = "lion"\n[[schedules]]\nplugin = "constant"\n[[schedules]]\nplugin = "linear"', "f"
    )
    values = plan.to_json()
    assert values["train"]["optimizer"] == "lion(mask=matrices)"
    values["train"]["optimizer"] = "lion"
    assert Plan.from_json(values).train.optimizer == "lion(mask=none)"


def test_a_wrong_optimizer_in_a_file_is_named_with_its_line() -> None:
    rows = '[[schedules]]\nplugin = "constant"\n[[schedules]]\nplugin = "linear"'
    for text in ("adm", "adamw(b1=x)", "adamw(", "./none.py:make"):
        with pytest.raises(lrtrain.UsageError, match=r"^a file, line 2: "):
            parse_plan(f'[train]\noptimizer = "{text}"\n{rows}', "a file")


def test_a_run_goes_on_with_its_function_and_notices_another(options: dict[str, Any]) -> None:
    path = Path("own.py").absolute()
    path.write_text(SOURCE, encoding="utf-8")
    run = lrtrain.train("constant", optimizer="./own.py:make(decay=0.9)", run_dir="own", **options).run_dir
    assert stored(run)["train"]["optimizer"] == f"{path}:make(decay=0.9)"
    (digest,) = file_versions(TrainConfig(optimizer=f"{path}:make")).values()
    assert stored(run)["code"] == {f"optimizer {path}:make": digest}
    lrtrain.train(run_dir=run, resume=True, epochs=2, **KEEP)
    path.write_text(SOURCE.replace("0.5", "0.6"), encoding="utf-8")
    changed = rf"the code of optimizer {path}:make has changed \(SHA-256 {digest} then and "
    with pytest.raises(RunDirError, match=changed):
        lrtrain.train(run_dir=run, resume=True, epochs=3, **KEEP)
    lrtrain.train(run_dir=run, resume=True, epochs=3, accept_code_change=True, **KEEP)
    path.unlink()
    with pytest.raises(lrtrain.UsageError, match=r"cannot be read: .*own.py: No such file"):
        lrtrain.train(run_dir=run, resume=True, epochs=4, **KEEP)


def test_the_file_of_a_module_is_noticed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_module.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    (name,) = file_versions(TrainConfig(optimizer="own_module:make(decay=0.9)"))
    assert name == "optimizer own_module:make"
    assert "own_module" not in sys.modules
    assert file_versions(TrainConfig(optimizer="muon(mask=matrices)")) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adm", "unknown optimizer 'adm' (did you mean 'adam'?); known are "),
        ("adamw(", "cannot read 'adamw(': expected an option as NAME=VALUE at character 7, found the end"),
        ("adamw(decay=1)", "optimizer 'adamw' has no option 'decay'"),
        ("sgd(momentum=high)", "optimizer 'sgd': momentum=high is refused: expected number or none"),
        ("prodigy", "optimizer 'prodigy' is refused: its update is not proportional to the learning rate"),
        ("./none.py:make", "optimizer './none.py:make' cannot be read"),
    ],
)
@pytest.mark.parametrize("command", [("train",), ("find-lr",), ("compare", "--plugin", "linear", "--holdout", "8")])
def test_a_command_refuses_in_one_sentence(
    options: dict[str, Any], command: tuple[str, ...], text: str, message: str
) -> None:
    data = ["--dataset", "tiny", "--data-dir", options["data_dir"], "--batch-size", 32]
    assert refusal(cli(*command, "--plugin", "constant", *data, "--quiet", "--optimizer", text)).startswith(message)
    assert list(Path().iterdir()) == []
