"""`TrainConfig`: what it refuses, and that JSON keeps it whole."""

from __future__ import annotations

import dataclasses
import json
import typing
from pathlib import Path
from typing import Any

import pytest

from lrtrain.engine.optimizers import OPTIMIZERS
from lrtrain.errors import UsageError
from lrtrain.runs.config import LOSS_REDUCTIONS, MAX_EPOCHS, TrainConfig

WHOLE = "expected a whole number, at least"


def test_the_defaults_are_the_tutorials() -> None:
    config = TrainConfig()
    config.check()
    assert (config.epochs, config.batch_size, config.optimizer, config.loss_reduction) == (10, 256, "sgd", "sum")
    assert (config.dataset, config.shuffle, config.seed) == ("fashion_mnist", True, 0)


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 1, "batch_size": 1, "train_size": 1, "devices": 1, "micro_batch": 1},
        {"epochs": MAX_EPOCHS, "seed": 2**32 - 1},
        *({"optimizer": name} for name in OPTIMIZERS),
        *({"loss_reduction": name} for name in LOSS_REDUCTIONS),
    ],
)
def test_accepted(values: dict[str, Any]) -> None:
    TrainConfig(**values).check()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        *(
            ({name: value}, f"{name}={value} is refused: {WHOLE} 1")
            for name in ("epochs", "batch_size", "train_size", "devices", "micro_batch")
            for value in (0, -1, 2.0, 2.5, True, "3", float("nan"))
        ),
        ({"epochs": None}, f"epochs=None is refused: {WHOLE} 1"),
        ({"seed": -1}, f"seed=-1 is refused: {WHOLE} 0"),
        ({"seed": 1.5}, f"seed=1.5 is refused: {WHOLE} 0"),
        (
            {"seed": 2**32},
            "epochs=10 and seed=4294967296: at most 1000000 and 4294967295 are taken",
        ),
        ({"epochs": MAX_EPOCHS + 1}, "epochs=1000001 and seed=0: at most 1000000 and 4294967295 are taken"),
        (
            {"optimizer": "adm"},
            "optimizer=adm is refused (did you mean 'adam'?): expected one of adagrad, adam, adamw, lamb, lion, "
            "momentum, nadam, nesterov, rmsprop, sgd",
        ),
        ({"optimizer": None}, f"optimizer=None is refused: expected one of {', '.join(OPTIMIZERS)}"),
        (
            {"data_on_device": "neer"},
            "data_on_device=neer is refused (did you mean 'never'?): expected one of auto, always, never",
        ),
        ({"loss_reduction": "men"}, "loss_reduction=men is refused (did you mean 'mean'?): expected one of sum, mean"),
    ],
)
def test_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        TrainConfig(**values).check()
    assert str(caught.value) == message


def test_a_batch_that_is_larger_than_the_data() -> None:
    TrainConfig(batch_size=100).check_data(100)
    with pytest.raises(UsageError) as caught:
        TrainConfig(batch_size=101).check_data(100)
    assert str(caught.value) == "batch_size=101 is more than the 100 training examples: give at most that"


@pytest.mark.parametrize(("examples", "steps"), [(60_000, 235), (256, 1), (257, 2), (59_904, 234), (1, 1)])
def test_steps_per_epoch(examples: int, steps: int) -> None:
    assert TrainConfig().steps_per_epoch(examples) == steps


def test_json_keeps_everything() -> None:
    values: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 32,
        "optimizer": "adam",
        "loss_reduction": "mean",
        "seed": 5,
        "dataset": "cifar10",
        "data_dir": Path("a") / "b",
        "train_size": 1000,
        "shuffle": False,
        "devices": 2,
        "micro_batch": 16,
        "model": "a.b:C",
    }
    config = TrainConfig(**values)
    changed = [field.name for field in dataclasses.fields(config) if getattr(config, field.name) != field.default]
    assert changed == list(values), "every field is tested with another value than its default"
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert TrainConfig.from_json(json.loads(json.dumps(TrainConfig().to_json()))) == TrainConfig()


def test_json_of_another_version() -> None:
    assert TrainConfig.from_json({"epochs": 3, "unknown": 5}) == TrainConfig(epochs=3)


def test_the_options_of_train_are_the_fields() -> None:
    from lrtrain.runs.config import TrainOptions

    fields = typing.get_type_hints(TrainConfig)
    assert typing.get_type_hints(TrainOptions) == fields
    assert TrainOptions.__required_keys__ == frozenset()


def test_the_options_of_the_command_are_the_fields() -> None:
    from lrtrain.cli.train import command

    fields = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    names = {parameter.name for parameter in command.params}
    assert {"no_shuffle" if name == "shuffle" else name for name in fields} <= names
    shown = {each.name: each.default for each in command.params if isinstance(each.default, int | str)}
    shared = {name: fields[name] for name in shown if name in fields}
    assert shared == {name: shown[name] for name in shared}
    assert set(shared) == {"epochs", "batch_size", "optimizer", "loss_reduction", "seed", "dataset", "data_on_device"}


def test_a_directory_may_be_a_text() -> None:
    assert TrainConfig(data_dir="somewhere") == TrainConfig(data_dir=Path("somewhere"))  # type: ignore[arg-type]
