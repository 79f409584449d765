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
from lrtrain.runs.train_config import LOSS_REDUCTIONS, MAX_EPOCHS, TrainConfig, resolved
from lrtrain.strict_json import decode, path_of

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
            ({"epochs": value}, f"epochs={value} is refused: expected a whole number from 1 to 1000000")
            for value in (0, 2.5, True, "3", None, MAX_EPOCHS + 1)
        ),
        *(
            ({"seed": value}, f"seed={value} is refused: expected a whole number from 0 to 4294967295")
            for value in (-1, 1.5, 2**32)
        ),
        *(
            ({name: value}, f"{name}={value} is refused: {WHOLE} 1")
            for name in ("batch_size", "train_size", "devices", "micro_batch")
            for value in (0, -1, 2.0, 2.5, True, "3", float("nan"))
        ),
        (
            {"optimizer": "adamw(b1=1"},
            "cannot read 'adamw(b1=1': expected ',' or ')' after b1=1 at character 11, found the end",
        ),
        ({"optimizer": None}, "optimizer=None is refused: expected a text"),
        (
            {"data_on_device": "neer"},
            "data_on_device=neer is refused (did you mean 'never'?): expected one of auto, always, never",
        ),
        *(
            ({name: 10**400}, f"{name}={10**400} is refused: {WHOLE} 1")
            for name in ("batch_size", "train_size", "devices", "micro_batch")
        ),
        ({"shuffle": 1}, "shuffle=1 is refused: expected true or false"),
        ({"dataset": 5}, "dataset=5 is refused: expected a text"),
        ({"model": 5}, "model=5 is refused: expected a text"),
        ({"data_dir": 5}, "data_dir=5 is refused: expected a path"),
        ({"loss_reduction": "men"}, "loss_reduction=men is refused (did you mean 'mean'?): expected one of sum, mean"),
    ],
)
def test_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        TrainConfig(**values).check()
    assert str(caught.value) == message
    assert [caught.value.key] == list(values)


def test_a_users_optimizer_gets_its_one_text() -> None:
    assert resolved({"epochs": 3}) == {"epochs": 3}
    assert resolved({"epochs": 3, "optimizer": "adamw"}) == {"epochs": 3, "optimizer": "adamw(mask=matrices)"}
    with pytest.raises(UsageError, match=r"unknown optimizer 'adm' .did you mean 'adam'") as caught:
        resolved({"optimizer": "adm"})
    assert caught.value.key == "optimizer"
    with pytest.raises(UsageError, match="optimizer=5 is refused: expected a text"):
        resolved({"optimizer": 5})


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
    for each in (config, TrainConfig()):
        assert decode(json.loads(json.dumps(each.to_json())), TrainConfig, "config.json", path_of) == each


def test_json_of_another_version() -> None:
    assert decode({"epochs": 3, "unknown": 5}, TrainConfig, "config.json", path_of) == TrainConfig(epochs=3)


def test_the_options_of_train_are_the_fields() -> None:
    from lrtrain.runs.train_config import TrainOptions

    fields = typing.get_type_hints(TrainConfig)
    # In Python these may be objects too.
    assert typing.get_type_hints(TrainOptions) == fields | {"workload": typing.Any, "model": typing.Any}
    assert TrainOptions.__required_keys__ == frozenset()


def test_a_directory_may_be_a_text() -> None:
    assert TrainConfig(data_dir="somewhere") == TrainConfig(data_dir=Path("somewhere"))  # type: ignore[arg-type]
