"""What is logged is read back with MLflow's own client from a real database; a resumed run goes on with its run."""

import gc
import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

import lrtrain
from lrtrain import TrainingError
from lrtrain.plugins.loading import activate
from lrtrain.plugins.observers import Observers
from lrtrain.testing import PluginSuite


class TestMLflow(PluginSuite):
    plugin = "mlflow"


# Making the database takes most of it.
pytestmark = pytest.mark.slow

STEPS = 10
CONFIG = {
    "plugins": [{"plugin": "constant", "value": 0.001}, {"plugin": "mlflow", "tracking_uri": "secret"}],
    "train": {"epochs": 3, "shuffle": True, "model": None, "data_dir": "x" * 7000},
    "versions": {f"package-{number}": "1.0" for number in range(120)},
}


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> str:
    """Returns the address of a database, which takes MLflow some seconds to make."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(autouse=True)
def _usual_place(database, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)


def observe(directory: Path, first: int, last: int, plugin: str = "mlflow(interval=2)") -> None:
    """Shows the plugin the steps of a run of three epochs as a process does, which then ends."""
    directory.mkdir(exist_ok=True)
    run = lrtrain.RunInfo(directory, CONFIG, 3 * STEPS, STEPS, 3, ())
    observers = Observers(activate([plugin]))
    for step in range(first, last):
        observers.step(run, lrtrain.StepInfo(step, step // STEPS, 0.5, float(step)))
        if (step + 1) % STEPS == 0:
            epoch = lrtrain.EpochInfo(step // STEPS, step + 1, 2.0, 1.0, 0.75, 0.1, 1.0)
            observers.epoch_end(run, epoch, [epoch])
    del observers
    gc.collect()


def run_id(directory: Path) -> str:
    return json.loads((directory / "mlflow" / "run.json").read_text())["run_id"]


def history(directory: Path, metric: str) -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in MlflowClient().get_metric_history(run_id(directory), metric)]


def test_parameters_and_metrics_are_read_back(tmp_path, database):
    observe(tmp_path / "run", 0, 3 * STEPS, f"mlflow(interval=2, experiment=mine, tracking_uri='{database}')")
    run = MlflowClient(tracking_uri=database).get_run(run_id(tmp_path / "run"))
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "run"
    assert MlflowClient().get_experiment(run.info.experiment_id).name == "mine"
    parameters = run.data.params
    assert parameters["plugins"] == "constant, mlflow"
    assert parameters["constant.value"] == "0.001"
    assert (parameters["train.epochs"], parameters["train.shuffle"], parameters["train.model"]) == ("3", "true", "null")
    assert len(parameters) == 2 + 4 + 120
    assert "secret" not in parameters.values()
    assert history(tmp_path / "run", "loss") == [(step, step) for step in range(0, 30, 2)]
    assert history(tmp_path / "run", "learning_rate") == [(step, 0.5) for step in range(0, 30, 2)]
    assert history(tmp_path / "run", "train_loss") == [(9, 2), (19, 2), (29, 2)]
    assert history(tmp_path / "run", "test_loss") == [(9, 1), (19, 1), (29, 1)]
    assert history(tmp_path / "run", "test_accuracy") == [(9, 0.75), (19, 0.75), (29, 0.75)]


@pytest.mark.parametrize(("ended", "resumed"), [(10, 10), (16, 10), (16, 16), (20, 10)])
def test_resumed_goes_on_with_the_same_run(tmp_path, ended, resumed):
    observe(tmp_path / "run", 0, ended)
    first = run_id(tmp_path / "run")
    assert MlflowClient().get_run(first).info.status == "KILLED"
    observe(tmp_path / "run", resumed, 3 * STEPS)
    assert run_id(tmp_path / "run") == first
    assert MlflowClient().get_run(first).info.status == "FINISHED"
    assert history(tmp_path / "run", "loss") == [(step, step) for step in range(0, 30, 2)]
    assert [step for step, _ in history(tmp_path / "run", "test_loss")] == [9, 19, 29]


def test_a_run_that_mlflow_no_longer_has(tmp_path):
    directory = tmp_path / "run" / "mlflow"
    directory.mkdir(parents=True)
    (directory / "run.json").write_text('{"run_id": "00000000000000000000000000000000"}')
    with pytest.raises(TrainingError, match=r"plugin 'mlflow' raised in on_step at step 5: .*not found"):
        observe(tmp_path / "run", 5, 6)


def test_refused():
    with pytest.raises(lrtrain.UsageError, match="interval=0 is refused: expected whole number >= 1"):
        activate(["mlflow(interval=0)"])
