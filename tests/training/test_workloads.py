"""`lrtrain.train` and `lrtrain.compare` with other workloads: data in memory, own networks and own rules."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import nnx

import lrtrain
from lrtrain import Classification, Defaults, Doc, Headline, Regression
from lrtrain.errors import DataError, ModelError, RunDirError, TrainingError, UsageError
from lrtrain.training.reporter import NullReporter

Arrays = tuple[np.ndarray, np.ndarray]


class Net(nn.Module):
    classes: int = 4

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(8)(x))
        return nn.Dense(self.classes)(nn.Dropout(0.2, deterministic=not train)(nn.relu(x)))


class NnxNet(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(6, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.last = nnx.Linear(8, 4, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.last(self.dropout(nnx.relu(self.norm(self.first(x)))))


def examples(count: int, seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    return (4 * np.eye(4, 6)[labels] + rng.normal(size=(count, 6))).astype(np.float32), labels


@dataclass(frozen=True, kw_only=True)
class Own(Classification):
    defaults: ClassVar[Defaults] = Defaults(
        epochs=3, batch_size=32, optimizer="momentum", loss_reduction="mean", learning_rate=0.02
    )


TRAIN, TEST = examples(150, 0), examples(60, 1)


def workload(model: Any = None, **others: Any) -> Own:
    return Own(**{"model": model or Net(), "train": TRAIN, "test": TEST, **others})


def leaves(result: lrtrain.RunResult) -> list[tuple[str, str]]:
    """Returns the losses of all steps, to the last digit."""
    rows = (line.split(",") for line in (result.run_dir / "steps.csv").read_text().splitlines()[1:])
    return [(row[0], row[3]) for row in rows]


def config_of(result: lrtrain.RunResult) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((result.run_dir / "config.json").read_text())
    return values


@pytest.mark.parametrize("model", [Net(), NnxNet], ids=["linen", "nnx"])
def test_arrays_and_a_module_are_enough(model: Any, tmp_path: Path) -> None:
    result = lrtrain.train("wsd", workload=workload(model), run_dir=tmp_path / "run")
    assert result.steps == 3 * 5
    assert result.test_accuracy > 0.5
    assert result.test_metrics == {"accuracy": result.test_accuracy}
    config = config_of(result)
    assert config["train"] | {"workload": "python:Own", "batch_size": 32, "loss_reduction": "mean"} == config["train"]
    assert config["data"]["name"] == "Own"
    assert "headline" not in config


@pytest.mark.parametrize("model", [Net(), NnxNet], ids=["linen", "nnx"])
def test_killed_within_an_epoch_and_resumed_to_the_same_bits(model: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {"workload": workload(model), "ema": 0.9, "weight_decay": 1e-3, "clip_norm": 1.0}
    whole = lrtrain.train("wsd", run_dir=tmp_path / "whole", **options)

    class Killed(NullReporter):
        def epoch_ended(self, epoch: lrtrain.EpochInfo, examples_per_second: float) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lrtrain.train("wsd", run_dir=tmp_path / "cut", reporter=Killed(), checkpoint_every=2, **options)
    with pytest.raises(UsageError, match=r"the workload Own was made in Python: give it again, as workload=Own"):
        lrtrain.train(run_dir=tmp_path / "cut", resume=True)
    resumed = lrtrain.train(run_dir=tmp_path / "cut", resume=True, workload=options["workload"])
    assert leaves(resumed) == leaves(whole)
    assert (resumed.test_loss, resumed.test_accuracy) == (whole.test_loss, whole.test_accuracy)


def test_other_data_is_refused_with_both_digests(tmp_path: Path) -> None:
    lrtrain.train("wsd", workload=workload(), epochs=1, run_dir=tmp_path / "run")
    other = workload(train=(TRAIN[0] + 1, TRAIN[1]))
    with pytest.raises(RunDirError, match=r"train examples of SHA-256 \w{12}\), and there is .* SHA-256 \w{12}\) now"):
        lrtrain.train(run_dir=tmp_path / "run", resume=True, workload=other, epochs=2)


def test_another_network_is_refused(tmp_path: Path) -> None:
    lrtrain.train("wsd", workload=workload(), epochs=1, run_dir=tmp_path / "run")

    class Other(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            return nn.Dense(4)(x)

    with pytest.raises(RunDirError, match="the model computes something else"):
        lrtrain.train(run_dir=tmp_path / "run", resume=True, workload=workload(Other()), epochs=2)


def test_defaults_are_the_workloads_and_options_take_precedence(tmp_path: Path) -> None:
    first = lrtrain.train("constant", workload=workload(), run_dir=tmp_path / "first", epochs=1)
    other = lrtrain.train("constant", workload=workload(), run_dir=tmp_path / "other", epochs=1, batch_size=50)
    assert (first.steps, other.steps) == (5, 3)
    assert config_of(first)["train"]["optimizer"] == "momentum"


def test_default_learning_rates_are_multiplied_and_given_ones_are_not(tmp_path: Path) -> None:
    def rates(spec: str) -> np.ndarray:
        name = f"run-{len(list(tmp_path.iterdir()))}"
        return lrtrain.train(spec, workload=workload(), run_dir=tmp_path / name, epochs=1).learning_rates

    # The factor is 0.02 / 1e-4.
    np.testing.assert_allclose(rates("constant"), 1e-4 * 200, rtol=1e-6)
    np.testing.assert_allclose(rates("constant(value=1e-4)"), 1e-4, rtol=1e-6)
    ours, theirs = rates("wsd"), lrtrain.schedule("wsd", total_steps=5)(np.arange(5))
    np.testing.assert_allclose(ours, 200 * np.asarray(theirs), rtol=1e-5)
    joined = rates("join(schedules=[constant, constant(value=0.5)], boundaries=[2])")
    np.testing.assert_allclose(joined, [0.02, 0.02, 0.5, 0.5, 0.5], rtol=1e-6)


def test_a_resumed_run_keeps_its_learning_rates(tmp_path: Path) -> None:
    whole = lrtrain.train("wsd", workload=workload(), run_dir=tmp_path / "a")
    lrtrain.train("wsd", workload=workload(), run_dir=tmp_path / "b")
    again = lrtrain.train(run_dir=tmp_path / "b", resume=True, workload=workload())
    np.testing.assert_array_equal(again.learning_rates, whole.learning_rates)


def test_a_loss_no_better_than_a_guess_is_said(tmp_path: Path) -> None:
    good = lrtrain.train("constant", workload=workload(), run_dir=tmp_path / "good")
    bad = lrtrain.train("constant(value=0)", workload=workload(), run_dir=tmp_path / "bad", epochs=1)
    assert good.note is None
    shares = np.bincount(TEST[1]) / len(TEST[1])
    entropy = -(shares * np.log(shares)).sum()
    assert bad.note is not None
    assert f"is not below {entropy:.4g}" in bad.note


@dataclass(frozen=True, kw_only=True)
class Squares(Regression):
    headline: ClassVar[Headline] = Headline("absolute", "min")
    defaults: ClassVar[Defaults] = Defaults(epochs=2, batch_size=50, loss_reduction="mean", learning_rate=0.05)

    slope: Annotated[float, Doc("factor on the inputs")] = 2.0

    def data(self, context: lrtrain.DataContext) -> lrtrain.Dataset:
        x = np.linspace(-1, 1, 200, dtype=np.float32)[:, None]
        train, test = (lrtrain.Split(part, self.slope * part) for part in (x, x[::3]))
        return lrtrain.Dataset("", "", train, test, validation=lrtrain.Split(x[1::7], self.slope * x[1::7]))

    def network(self, data: lrtrain.Dataset) -> nn.Module:
        return nn.Dense(1)

    def metrics(self, outputs: Any, targets: Any) -> dict[str, Any]:
        return {"absolute": abs(outputs - targets)[:, 0]}


def test_regression_has_a_headline_of_its_own(tmp_path: Path) -> None:
    result = lrtrain.train("constant", workload=Squares(), run_dir=tmp_path / "run", batch_size=10)
    lines = [json.loads(line) for line in (result.run_dir / "metrics.jsonl").read_text().splitlines()]
    assert not [name for name in lines[0] if name.endswith("_accuracy")]
    assert lines[-1]["validation_absolute"] == result.history[-1].metrics["absolute"]
    test = Squares().data(lrtrain.DataContext()).test
    layer = result.params
    errors = test.inputs @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"]) - test.targets
    assert result.test_metrics["absolute"] == pytest.approx(abs(errors).mean(), rel=1e-4)
    assert np.isnan(result.test_accuracy)
    assert config_of(result)["headline"] == {"name": "absolute", "mode": "min"}
    again = lrtrain.train(run_dir=tmp_path / "run", resume=True, workload=Squares(), epochs=2)
    assert again.test_metrics == result.test_metrics


def test_the_best_checkpoint_is_that_of_the_headline(tmp_path: Path) -> None:
    """It is kept with the last three, although a far too high learning rate makes the later ones worse."""

    file = tmp_path / "worse.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom lrtrain import hookimpl\n\n\n@dataclass(frozen=True)\nclass Worse:\n"
        "    @hookimpl\n    def build_schedule(self, context):\n"
        "        return lambda step: 0.1 if step < context.steps_per_epoch else 1.03\n"
    )
    options: Any = {"run_dir": tmp_path / "run", "epochs": 6, "batch_size": 10, "checkpoint_every": "1ep"}
    result = lrtrain.train(f"{file}:Worse", workload=Squares(), **options)
    best = min(result.history, key=lambda epoch: epoch.metrics["absolute"])
    kept = sorted(int(path.name.removeprefix("step_")) for path in (result.run_dir / "checkpoints").iterdir())
    assert best.epoch < 3
    assert kept == sorted({best.step, *(epoch.step for epoch in result.history[-3:])})


def test_compare_uses_the_workloads_validation_examples(tmp_path: Path) -> None:
    comparison = lrtrain.compare(
        "constant", "wsd", workload=Squares(), run_dir=tmp_path / "compared", budget="quick",
        lr_scales=[1.0], tuning_seeds=1, seeds=2,
    )  # fmt: skip
    outcomes = [each for each in comparison.outcomes if each.trial.stage == "measure"]
    assert all(each.test_loss is not None and each.test_metrics["absolute"] > 0 for each in outcomes)
    config = json.loads(next((tmp_path / "compared" / "runs").glob("measure*/config.json")).read_text())
    # 200 / 7, rounded up: those that it brings.
    assert config["comparison"]["holdout"] == 29


def test_compare_trains_a_network_that_draws_and_has_statistics(tmp_path: Path) -> None:
    comparison = lrtrain.compare(
        "constant", "wsd", workload=workload(), run_dir=tmp_path / "compared", budget="quick",
        lr_scales=[1.0], tuning_seeds=1, seeds=2,
    )  # fmt: skip
    accuracies = [each.test_accuracy for each in comparison.outcomes if each.trial.stage == "measure"]
    assert len(accuracies) == 4
    assert min(accuracies) > 0.5


def refused(message: str, error: type[Exception], tmp_path: Path, chosen: lrtrain.Workload, **options: Any) -> None:
    with pytest.raises(error, match=message) as caught:
        lrtrain.train("constant", workload=chosen, run_dir=tmp_path / "run", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


class NoParameters(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return x[:, :4]


class AlwaysDraws(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(4)(nn.Dropout(0.5, deterministic=False)(x))


class AlwaysDrawsNnx(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.layer = nnx.Linear(6, 4, rngs=rngs)
        self.rngs = rngs.fork()

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.layer(x) + jax.random.normal(self.rngs.noise(), (4,))


class Raises(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        raise ValueError("the inputs are too small\nby far")


BAD: list[tuple[Callable[[], lrtrain.Workload], type[Exception], str]] = [
    (
        lambda: workload(train=(TRAIN[0], TRAIN[1][:-1])),
        DataError,
        "training examples have unequal lengths, 149 and 1",
    ),
    (lambda: workload(test=(TEST[0], TEST[1] + 1)), DataError, "the test labels are from 1 to 4, .* from 0 to 3"),
    (lambda: workload(train=(TRAIN[0], TRAIN[1] - 1)), DataError, "the training labels are from -1 to 2"),
    (lambda: workload(train=(TRAIN[0], TRAIN[1] / 2)), DataError, "labels are whole numbers"),
    (lambda: workload(train=None), UsageError, r"the workload Own has no data: give train=\(inputs, targets\)"),
    (lambda: workload(NoParameters()), ModelError, "model NoParameters has no parameters"),
    (lambda: workload(AlwaysDraws()), ModelError, "AlwaysDraws draws random numbers when it is evaluated: .* train"),
    (lambda: workload(AlwaysDrawsNnx), ModelError, "AlwaysDrawsNnx draws random numbers when it is evaluated"),
    (
        lambda: workload(Raises()),
        ModelError,
        "Raises on inputs float32.batch, 6. fails: ValueError: the inputs",
    ),
    (lambda: workload(object()), ModelError, "is no Flax module"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD)
def test_refused_in_one_sentence_and_nothing_is_written(
    make: Callable[[], lrtrain.Workload], error: type[Exception], message: str, tmp_path: Path
) -> None:
    refused(message, error, tmp_path, make())


def test_rules_that_are_refused(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class MeanLoss(Own):
        def loss(self, outputs: Any, targets: Any) -> Any:
            return super().loss(outputs, targets).mean()

    @dataclass(frozen=True, kw_only=True)
    class WideMetric(Own):
        def metrics(self, outputs: Any, targets: Any) -> Any:
            return {"accuracy": outputs > 0}

    @dataclass(frozen=True, kw_only=True)
    class NoSuchHeadline(Own):
        headline: ClassVar[Headline] = Headline("f1", "max")

    own = {field.name: getattr(workload(), field.name) for field in dataclasses.fields(Own)}
    refused(
        "the loss of the workload MeanLoss is one number, float32\\[\\], for 2 examples: expected one number for each",
        ModelError,
        tmp_path,
        MeanLoss(**own),
    )
    refused(r"metric accuracy of the workload WideMetric is bool\[2, 4\]", ModelError, tmp_path, WideMetric(**own))
    refused("headline .* is 'f1', and it measures loss, accuracy", ModelError, tmp_path, NoSuchHeadline(**own))
    refused("label_smoothing=0.1 is refused", UsageError, tmp_path, Squares(), label_smoothing=0.1)
    refused("dataset=mnist is refused: the workload Own has data", UsageError, tmp_path, workload(), dataset="mnist")
    refused("in memory, so it cannot be streamed", DataError, tmp_path, workload(), data_on_device="never")


def test_a_metric_that_is_not_a_number_ends_the_run(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Undefined(Own):
        def metrics(self, outputs: Any, targets: Any) -> Any:
            return {"accuracy": outputs[:, 0] * np.nan}

    own = {field.name: getattr(workload(), field.name) for field in dataclasses.fields(Own)}
    with pytest.raises(TrainingError, match="the test accuracy is nan after step 4"):
        lrtrain.train("constant", workload=Undefined(**own), run_dir=tmp_path / "run")
