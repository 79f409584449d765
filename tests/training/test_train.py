"""`lrtrain.train` from end to end on a small data set: what it writes, what it applies, what hooks see and do."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrtrain
from lrtrain.data import load_dataset
from lrtrain.errors import RunDirError, TrainingError, UsageError
from lrtrain.plugins.loading import activate
from lrtrain.runs import read_run
from lrtrain.schedules.table import build_table, make_context
from tests.lab import last_position

STEPS_PER_EPOCH = 5
"""Of 72 examples in batches of 16: four whole ones and one of 8."""


@pytest.fixture
def train(tiny: Path, tmp_path: Path) -> Callable[..., lrtrain.RunResult]:
    def run(*plugins: str, run_dir: str = "run", **options: Any) -> lrtrain.RunResult:
        defaults = {"dataset": "tiny", "data_dir": tiny, "batch_size": 16, "epochs": 3}
        return lrtrain.train(*plugins, run_dir=tmp_path / run_dir, **(defaults | options))

    return run


def steps_of(result: lrtrain.RunResult) -> list[dict[str, str]]:
    with (result.run_dir / "steps.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def rates_of(result: lrtrain.RunResult) -> list[np.float32]:
    return [np.float32(row["learning_rate"]) for row in steps_of(result)]


def epochs_of(result: lrtrain.RunResult) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (result.run_dir / "metrics.jsonl").read_text().splitlines()]


def test_run_directory_is_as_documented(train: Callable[..., lrtrain.RunResult]) -> None:
    result = train("linear(init_value=0.01)")
    names = {path.name for path in result.run_dir.iterdir()}
    assert names == {"config.json", "metrics.jsonl", "steps.csv", "learning_rate.png", "checkpoints"}
    assert (result.run_dir / "steps.csv").read_text().startswith("step,epoch,learning_rate,loss\n0,0,0.01,")
    assert (result.run_dir / "learning_rate.png").read_bytes().startswith(b"\x89PNG")
    keys = [
        "epoch",
        "step",
        "train_loss",
        "test_loss",
        "test_accuracy",
        "learning_rate",
        "seconds",
        "examples_per_second",
    ]
    assert [list(epoch) for epoch in epochs_of(result)] == [keys] * 3
    assert [epoch["step"] for epoch in epochs_of(result)] == [5, 10, 15]


def test_config_resolves_every_option(train: Callable[..., lrtrain.RunResult]) -> None:
    result = train("linear(init_value=0.01)", epochs=1, settings=["end_value=0.001"])
    config = json.loads((result.run_dir / "config.json").read_text())
    (plugin,) = config["plugins"]
    given = {"plugin": "linear", "init_value": 0.01, "end_value": 0.001}
    assert given.items() <= plugin.items()
    assert {"transition_steps", "transition_begin"} <= plugin.keys()
    assert config["train"]["batch_size"] == 16
    assert config["device"]["count"] == 1, "a batch of 16 is for one core"
    assert {"python", "lrtrain", "lrtrain-linear", "jax", "jaxlib", "optax"} <= config["versions"].keys()
    assert len(config["schedule"]["fingerprint"]) == 64


def test_steps_have_the_learning_rates_of_the_table(train: Callable[..., lrtrain.RunResult]) -> None:
    spec = "cosine-decay(init_value=0.01)"
    result = train(spec)
    table = build_table(activate([spec]), make_context(15, STEPS_PER_EPOCH)).values
    np.testing.assert_array_equal(rates_of(result), table)
    np.testing.assert_array_equal(result.learning_rates, table)
    rows = steps_of(result)
    assert [int(row["step"]) for row in rows] == list(range(15))
    assert [int(row["epoch"]) for row in rows] == [step // STEPS_PER_EPOCH for step in range(15)]


def reference_losses(tiny: Path, rates: list[float], batch: int) -> list[float]:
    """Trains in file order without jit, scan or any code of lrtrain's engine, and returns the mean losses."""
    data = load_dataset("tiny", data_dir=tiny).train
    from lrtrain.nn.model import CNN

    model = CNN(3)
    params = model.init(jax.random.PRNGKey(0), jnp.zeros((1, 6, 6, 3)))["params"]

    def forward(params: Any, images: jax.Array) -> jax.Array:
        for layer in ("CONV1", "CONV2"):
            convolved = jax.lax.conv_general_dilated(
                images, params[layer]["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            images = jnp.maximum(convolved + params[layer]["bias"], 0)
        return images.reshape(len(images), -1) @ params["DENSE"]["kernel"] + params["DENSE"]["bias"]

    def loss(params: Any, images: Any, labels: Any) -> jax.Array:
        logits = forward(params, jnp.asarray(images, jnp.float32) / 255)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).sum()

    losses = []
    for step, rate in enumerate(rates):
        part = slice(step * batch, (step + 1) * batch)
        value, gradient = jax.value_and_grad(loss)(params, data.inputs[part], data.targets[part])
        params = jax.tree.map(lambda p, g, rate=rate: p - rate * g, params, gradient)
        losses.append(float(value) / len(data.targets[part]))
    return losses


def test_step_n_applies_the_learning_rate_of_step_n(train: Callable[..., lrtrain.RunResult], tiny: Path) -> None:
    result = train("piecewise-constant(init_value=0.02, boundaries_and_scales={2: 0.1})", epochs=1, shuffle=False)
    schedule = optax.piecewise_constant_schedule(0.02, {2: 0.1})
    expected = reference_losses(tiny, [float(schedule(step)) for step in range(STEPS_PER_EPOCH)], 16)
    np.testing.assert_allclose([float(row["loss"]) for row in steps_of(result)], expected, rtol=2e-5)
    mean = np.average(expected, weights=[16, 16, 16, 16, 8])
    assert epochs_of(result)[0]["train_loss"] == pytest.approx(mean, rel=2e-5)


def test_it_learns(train: Callable[..., lrtrain.RunResult]) -> None:
    schedule = "warmup-cosine-decay(init_value=0, peak_value=0.005, end_value=0)"
    result = train(schedule, epochs=12, optimizer="adam", loss_reduction="mean")
    assert result.test_accuracy > 0.9
    assert result.history[-1].train_loss < result.history[0].train_loss
    assert result.test_accuracy == epochs_of(result)[-1]["test_accuracy"]


def test_mean_reduction_is_sum_at_a_learning_rate_times_the_batch(train: Callable[..., lrtrain.RunResult]) -> None:
    # 48 of the 72 examples, so that every batch has 16.
    whole = train("constant(value=0.01)", train_size=48)
    mean = train("constant(value=0.16)", train_size=48, loss_reduction="mean", run_dir="mean")
    losses = [[float(row["loss"]) for row in steps_of(result)] for result in (whole, mean)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_last_three_checkpoints_and_the_best_are_kept(
    train: Callable[..., lrtrain.RunResult], install_plugin: Callable[..., str]
) -> None:
    # Learns at first, and then unlearns: the first epoch is the best.
    source = """
@dataclass(frozen=True)
class Plugin:
    "Good, then bad."
    @hookimpl
    def build_schedule(self, context):
        return lambda step: 0.01 if step < 20 else 0.5
"""
    result = train(install_plugin("good-then-bad", source), epochs=9, checkpoint_every="1ep")
    accuracies = [epoch.test_accuracy for epoch in result.history]
    best = (accuracies.index(max(accuracies)) + 1) * STEPS_PER_EPOCH
    kept = sorted(int(path.name.split("_")[1]) for path in (result.run_dir / "checkpoints").glob("step_*"))
    assert best < 35, "or this test shows nothing"
    # Of several equally good ones any may stay.
    assert kept[-3:] == [35, 40, 45]
    assert len(kept) == 4
    assert accuracies[kept[0] // STEPS_PER_EPOCH - 1] == max(accuracies)


RECORDER = """
seen = []
@dataclass(frozen=True)
class Plugin:
    "Records what it sees."
    @hookimpl
    def on_step(self, run, step):
        seen.append((run, step))
    @hookimpl
    def on_epoch_end(self, run, epoch, history):
        seen.append((run, epoch, history))
"""


def test_observers_see_every_step_and_epoch_in_order(
    train: Callable[..., lrtrain.RunResult], install_plugin: Callable[..., str]
) -> None:
    result = train("linear(init_value=0.01)", install_plugin("recorder", RECORDER))
    import test_recorder_recorder

    steps = [entry[1] for entry in test_recorder_recorder.seen if len(entry) == 2]
    assert [(step.step, step.epoch) for step in steps] == [(step, step // 5) for step in range(15)]
    rows = steps_of(result)
    assert [np.float32(step.learning_rate) for step in steps] == rates_of(result)
    assert [np.float32(step.loss) for step in steps] == [np.float32(row["loss"]) for row in rows]
    epochs = [entry for entry in test_recorder_recorder.seen if len(entry) == 3]
    assert [len(history) for _, _, history in epochs] == [1, 2, 3]
    assert all(history[-1] is epoch for _, epoch, history in epochs)
    assert tuple(epochs[-1][2]) == result.history
    run = epochs[0][0]
    assert (run.directory, run.total_steps, run.steps_per_epoch, run.epochs) == (result.run_dir, 15, 5, 3)
    assert run.config["train"]["epochs"] == 3
    order = ["step" if len(entry) == 2 else "epoch" for entry in test_recorder_recorder.seen]
    assert order == (["step"] * 5 + ["epoch"]) * 3


SCALER = """
@dataclass(frozen=True)
class Plugin:
    "Halves the learning rate after each epoch."
    @hookimpl
    def on_epoch_end(self):
        return ScaleLearningRate(0.5)
"""


def test_scale_acts_from_the_next_epoch_on(
    train: Callable[..., lrtrain.RunResult], install_plugin: Callable[..., str]
) -> None:
    result = train("constant(value=0.01)", install_plugin("scaler", SCALER))
    expected = np.repeat(np.float32([0.01, 0.005, 0.0025]), 5)
    np.testing.assert_array_equal(rates_of(result), expected)
    assert [epoch.learning_rate for epoch in result.history] == [float(rate) for rate in expected[::5]]
    np.testing.assert_array_equal(result.learning_rates, np.full(15, 0.01, np.float32))


def stopper(hook: str, condition: str) -> str:
    return f"""
@dataclass(frozen=True)
class Plugin:
    "Stops."
    @hookimpl
    def {hook}(self, {hook.removeprefix("on_").removesuffix("_end")}):
        return Stop("enough") if {condition} else None
"""


def test_stop_at_the_end_of_an_epoch(
    train: Callable[..., lrtrain.RunResult], install_plugin: Callable[..., str]
) -> None:
    result = train("constant(value=0.01)", install_plugin("stopper", stopper("on_epoch_end", "epoch.epoch == 1")))
    assert result.stopped == "stopper: enough"
    assert result.steps == 10
    assert len(epochs_of(result)) == 2


def test_stop_in_the_middle_of_an_epoch_leaves_a_checkpoint_of_that_step(
    train: Callable[..., lrtrain.RunResult], install_plugin: Callable[..., str]
) -> None:
    # 72 examples in batches of 2 are 36 steps, so that there is a chunk after the one that asks.
    plugin = install_plugin("stopper", stopper("on_step", "step.step == 3"))
    result = train("constant(value=0.001)", plugin, batch_size=2)
    assert result.stopped == "stopper: enough"
    assert 3 < result.steps < 36, "it acts at a chunk boundary"
    assert len(steps_of(result)) == result.steps
    assert epochs_of(result) == []
    position, _ = last_position(result.run_dir)
    assert position.step == result.steps
    assert len(position.epoch_losses) == result.steps


def test_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(
    train: Callable[..., lrtrain.RunResult], install_plugin: Callable[..., str], tmp_path: Path
) -> None:
    source = """
@dataclass(frozen=True)
class Plugin:
    "Explodes in the second epoch."
    @hookimpl
    def build_schedule(self, context):
        return lambda step: 0.01 if step < 5 else 1e30
"""
    with pytest.raises(TrainingError, match=r"the loss is nan at step [6-9], at a learning rate of 1e\+30") as error:
        train(install_plugin("explode", source))
    assert "checkpoint of step 5 is kept" in str(error.value)
    assert error.value.exit_code == 1
    position, _ = last_position(tmp_path / "run")
    assert position.step == 5
    last = (tmp_path / "run" / "steps.csv").read_text().splitlines()[-1]
    assert math.isnan(float(last.split(",")[3]))


def test_observer_that_raises_is_named_and_the_checkpoint_is_valid(
    train: Callable[..., lrtrain.RunResult], install_plugin: Callable[..., str], tmp_path: Path
) -> None:
    source = """
@dataclass(frozen=True)
class Plugin:
    "Raises."
    @hookimpl
    def on_step(self, step):
        if step.step == 7:
            raise KeyError("oops")
"""
    with pytest.raises(TrainingError, match=r"plugin 'raiser' raised in on_step at step 7: KeyError: 'oops'"):
        train("constant(value=0.01)", install_plugin("raiser", source))
    position, table = last_position(tmp_path / "run")
    assert position.step == 5
    assert len(table) == 15


def test_a_run_whose_observer_raises_at_its_end_is_not_finished(
    train: Callable[..., lrtrain.RunResult], install_plugin: Callable[..., str], tmp_path: Path
) -> None:
    source = """
@dataclass(frozen=True)
class Plugin:
    "Raises."
    @hookimpl
    def on_epoch_end(self):
        raise KeyError("oops")
"""
    with pytest.raises(TrainingError, match="there is no checkpoint yet"):
        train("constant(value=0.01)", install_plugin("raiser", source), epochs=1)
    run = read_run(tmp_path / "run")
    assert (run.state, run.epochs) == ("interrupted", ())


@pytest.mark.parametrize("answer", ["42", "ScaleLearningRate(float('nan'))", "ScaleLearningRate(-1)", "'stop'"])
def test_answer_that_is_nonsense_is_refused(
    train: Callable[..., lrtrain.RunResult], install_plugin: Callable[..., str], answer: str
) -> None:
    source = f"""
@dataclass(frozen=True)
class Plugin:
    "Answers nonsense."
    @hookimpl
    def on_epoch_end(self):
        return {answer}
"""
    with pytest.raises(TrainingError, match=r"plugin 'nonsense' answered .* in on_epoch_end of epoch 0: expected None"):
        train("constant(value=0.01)", install_plugin("nonsense", source))


def test_nothing_is_written_when_something_is_refused(
    train: Callable[..., lrtrain.RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for plugin, options, message in [
        ("constant", {"epochs": 0}, r"epochs=0 is refused: expected a whole number from 1 to 1000000"),
        ("constant", {"batch_size": 0}, "batch_size=0 is refused"),
        ("constant", {"batch_size": 73}, "batch_size=73 is more than the 72 training examples"),
        ("constant", {"train_size": 100}, "100"),
        ("constant", {"dataset": "tinny"}, "did you mean 'tiny'"),
        ("constant", {"model": "os:path"}, "is a builtins.module: expected a Flax module"),
        ("constant", {"optimizer": "adm"}, "did you mean 'adam'"),
        ("constant", {"loss_reduction": "max"}, "expected one of sum, mean"),
        ("constant", {"seed": -1}, "seed=-1 is refused"),
        ("constant", {"devices": 99}, "--devices 99: there are"),
        ("constnat", {}, "did you mean 'constant'"),
        ("wsd(warmup_steps=80%, decay_steps=30%)", {}, "make one of them shorter"),
        ("constant(value=1e39)", {}, r"gives 1e\+39 at step 0"),
    ]:
        with pytest.raises(UsageError, match=message) as error:
            train(plugin, **options)
        assert error.value.exit_code == 2
        assert "\n" not in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_directory_with_something_in_it_is_left_alone(
    train: Callable[..., lrtrain.RunResult], tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    with pytest.raises(RunDirError, match="run is not empty: give another --run-dir"):
        train("constant")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]
    (tmp_path / "file").touch()
    with pytest.raises(RunDirError, match="file is a file"):
        train("constant", run_dir="file")


def test_default_directories_of_runs_in_one_second_differ(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options: dict[str, Any] = {"dataset": "tiny", "data_dir": tiny, "batch_size": 36, "epochs": 1}
    directories = {lrtrain.train("constant", **options).run_dir for _ in range(3)}
    assert len(directories) == 3
    assert all(path.parent == tmp_path / "runs" and path.name.startswith("constant-") for path in directories)


def test_users_own_model(
    train: Callable[..., lrtrain.RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_model.py").write_text(
        "import flax.linen as nn\n"
        "class Small(nn.Module):\n"
        "    num_classes: int\n"
        "    @nn.compact\n"
        "    def __call__(self, x):\n"
        "        x = nn.relu(nn.Conv(4, (3, 3))(x))\n"
        "        return nn.Dense(self.num_classes)(x.reshape(x.shape[0], -1))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    result = train("constant(value=0.01)", model="my_model:Small", epochs=12, optimizer="adam", loss_reduction="mean")
    assert result.test_accuracy > 0.9


@pytest.mark.parametrize("optimizer", ["momentum", "adamw", "lion"])
def test_other_optimizers(train: Callable[..., lrtrain.RunResult], optimizer: str) -> None:
    result = train("constant(value=0.002)", optimizer=optimizer, epochs=8, loss_reduction="mean")
    assert result.history[-1].train_loss < result.history[0].train_loss


def test_one_seed_gives_one_run_and_another_seed_another(train: Callable[..., lrtrain.RunResult]) -> None:
    one, same, other = (
        [row["loss"] for row in steps_of(train("constant(value=0.01)", seed=seed, run_dir=name))]
        for seed, name in ((0, "one"), (0, "same"), (1, "other"))
    )
    assert one == same
    assert one != other


def test_epochs_differ_in_order_unless_asked_not_to(
    train: Callable[..., lrtrain.RunResult],
) -> None:
    # At a learning rate of 0 nothing changes, so equal batches have equal losses.
    shuffled = [row["loss"] for row in steps_of(train("constant(value=0)", epochs=2))]
    in_order = [row["loss"] for row in steps_of(train("constant(value=0)", epochs=2, shuffle=False, run_dir="order"))]
    assert shuffled[:5] != shuffled[5:]
    assert in_order[:5] == in_order[5:]
