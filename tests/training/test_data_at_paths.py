"""A file of arrays and a folder of images with every command: trained, resumed, compared, evaluated, refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest

import lrtrain
from lrtrain.data import load_dataset
from lrtrain.errors import DataError, UsageError
from tests.data.striped import CLASSES, arrays, folder, npz
from tests.lab import Dies, Killed, cli, contents, done, refusal, same_run
from tests.training.blobs import Blobs

NETS = """
from dataclasses import dataclass
from typing import ClassVar

import flax.linen as nn
import jax

from lrtrain import Classification, Defaults, ImageClassification, NextToken, Regression


class Net(nn.Module):
    num_classes: int = 1

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.num_classes)(x.reshape(len(x), -1))


class Embedded(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        return nn.Embed(7, 7)(tokens)


@dataclass(frozen=True, kw_only=True)
class Numbers(Regression):
    def network(self, data):
        return Net()


@dataclass(frozen=True, kw_only=True)
class Tokens(NextToken):
    def network(self, data):
        return Embedded()


@dataclass(frozen=True, kw_only=True)
class Tiny(ImageClassification):
    dataset: ClassVar[str] = "tiny"

    def network(self, data):
        return Net(data.num_classes)
"""
QUICK = ("--model", "./nets.py:Net", "--plugin", "constant(value=1e-3)", "--batch-size", 10, "--devices", 1, "--quiet")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LRTRAIN_CACHE_DIR", str(tmp_path / "cache"))
    Path("nets.py").write_text(NETS)
    return tmp_path


def config(run: str) -> Any:
    return json.loads(Path(run, "config.json").read_text())


def evaluated(run: str, *words: object) -> Any:
    return json.loads(done(cli("evaluate", run, "--json", *words)))


def test_a_file_and_a_folder_of_the_same_images_train_to_the_same_bits(place: Path) -> None:
    made = arrays()
    sort = {part: np.argsort(made[f"y_{part}"], kind="stable") for part in ("train", "test")}
    npz(place / "flowers.npz", **{name: array[sort[name[2:]]] for name, array in made.items()})
    folder(place / "images" / "flowers")
    for run, path in (("one", "flowers.npz"), ("other", "./images/flowers")):
        done(cli("--dataset", path, "--run-dir", run, "--epochs", 2, *QUICK))
    same_run(place / "one", place / "other")
    one, other = config("one"), config("other")
    assert one["train"]["dataset"] == str(place / "flowers.npz")
    assert (one["data"]["name"], other["data"]["name"]) == ("flowers.npz", "flowers")
    assert {**one["data"], "name": ""} == {**other["data"], "name": ""}
    assert one["data"]["classes"] == len(CLASSES)


def test_a_run_is_resumed_on_its_data_wherever_that_is_and_not_on_other_data(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npz(place / "a.npz")
    done(cli("--dataset", "a.npz", "--run-dir", "whole", "--epochs", 2, "--holdout", 20, *QUICK))
    options: dict[str, Any] = {"model": "./nets.py:Net", "batch_size": 10, "devices": 1, "holdout": 20, "epochs": 2}
    with pytest.raises(Killed):
        lrtrain.train("constant(value=1e-3)", dataset="a.npz", run_dir="cut", reporter=Dies(epoch=1), **options)
    before, resume = contents(place / "cut"), ("--resume", "--run-dir", place / "cut", "--quiet")
    npz(place / "a.npz", y_test=(arrays()["y_test"] + 1) % 3)
    was, now = (config("cut")["data"]["test"][:12], load_dataset(place / "a.npz").digests["test"][:12])
    assert (
        f"which was made with a.npz (test examples of SHA-256 {was}), and there is a.npz (test examples of SHA-256 "
        f"{now}) now" in refusal(cli(*resume))
    )
    (place / "a.npz").unlink()
    assert "a.npz cannot be read: No such file" in refusal(cli(*resume))
    assert contents(place / "cut") == before
    (place / "elsewhere").mkdir()
    npz(place / "elsewhere" / "a.npz")
    monkeypatch.chdir(place / "elsewhere")
    done(cli(*resume, "--dataset", "./a.npz"))
    same_run(place / "cut", place / "whole")


def test_validation_examples_that_changed_are_noticed(place: Path) -> None:
    made = arrays()
    npz(place / "a.npz", x_val=made["x_test"], y_val=made["y_test"])
    done(cli("--dataset", "a.npz", "--run-dir", "run", "--epochs", 1, *QUICK))
    assert config("run")["measured_on"] == "validation"
    npz(place / "a.npz", x_val=made["x_test"][::-1], y_val=made["y_test"][::-1])
    assert "(validation examples of SHA-256" in refusal(cli("--resume", "--run-dir", "run", "--epochs", 2, "--quiet"))


def test_a_file_is_evaluated_predicted_and_searched(place: Path) -> None:
    made = arrays()
    npz(place / "a.npz")
    npz(place / "b.npz", x_test=made["x_train"][:12], y_test=made["y_train"][:12])
    done(cli("--dataset", "a.npz", "--run-dir", "run", "--train-size", 60, "--epochs", 1, *QUICK))
    first, other = evaluated("run"), evaluated("run", "--dataset", "./b.npz")
    loaded = lrtrain.load("run")
    assert first["loss"] == loaded.evaluate("test", dataset=place / "a.npz")["loss"] != other["loss"]
    assert other["loss"] == loaded.evaluate((made["x_train"][:12, ..., None], made["y_train"][:12]))["loss"]
    assert "'b.npz' has no validation examples" in refusal(
        cli("evaluate", "run", "--dataset", "b.npz", "--split", "validation")
    )
    np.savez("grey.npz", inputs=made["x_test"])
    done(cli("predict", "run", "grey.npz"))
    with np.load("grey-outputs.npz") as outputs:
        np.testing.assert_array_equal(outputs["outputs"], loaded.predict(made["x_test"][..., None]))
    done(cli("find-lr", *QUICK[:2], "--dataset", "a.npz", "--plugin", "constant", "--steps", 20, "--quiet",
             "--batch-size", 10, "--output", "curve.csv"))  # fmt: skip


def test_a_comparison_trains_on_a_folder_and_goes_on(place: Path) -> None:
    folder(place / "flowers")
    options = {"batch_size": 10, "model": "./nets.py:Net", "run_dir": "compared", "devices": 1}
    effort: dict[str, Any] = {"budget": "quick", "lr_scales": [1.0], "tuning_seeds": 1, "seeds": 2}
    result = lrtrain.compare("constant", "linear", dataset="./flowers", **options, **effort, epochs=1)
    assert all(each.test_loss is not None for each in result.outcomes if each.trial.stage == "measure")
    assert "schedules on flowers" in (place / "compared" / "report.html").read_text()
    Path("plan.toml").write_text(
        '[train]\ndataset = "./flowers"\nepochs = 1\n[[schedules]]\nplugin = "linear"\n[[schedules]]\nplugin = "wsd"\n'
    )
    from lrtrain.comparison.plan_file import read_plan

    assert read_plan(place / "plan.toml").train.dataset == str(place / "flowers")


def test_numbers_and_tokens_train_with_workloads_that_take_them(place: Path) -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(60, 4))
    numbers = {"x_train": inputs, "y_train": inputs[:, :1], "x_test": inputs[:20], "y_test": inputs[:20, :1]}
    np.savez("numbers.npz", **numbers)
    words = ("--plugin", "constant(value=0.01)", "--batch-size", 10, "--epochs", 2, "--devices", 1, "--quiet")
    done(cli("--workload", "./nets.py:Numbers", "--dataset", "numbers.npz", "--run-dir", "numbers", *words))
    assert evaluated("numbers")["loss"] < np.var(inputs[:20, 0])
    tokens = rng.integers(0, 7, (60, 5))
    np.savez("tokens.npz", x_train=tokens, y_train=tokens, x_test=tokens[:20], y_test=tokens[:20])
    done(cli("--workload", "./nets.py:Tokens", "--dataset", "tokens.npz", "--run-dir", "tokens", *words))
    assert config("tokens")["shapes"]["inputs"] == "int32[examples, 5]"
    flat = {**numbers, "y_train": inputs[:, 0], "y_test": inputs[:20, 0]}
    np.savez("flat.npz", **flat)
    said = refusal(cli("--workload", "./nets.py:Numbers", "--dataset", "flat.npz", "--run-dir", "flat", *words))
    assert "the network returns float32[batch, 1] for targets float32[batch]: give both one shape" in said
    assert not Path("flat").exists()


def test_a_workload_with_data_of_its_own_takes_a_path_in_its_place(place: Path) -> None:
    data = Blobs().data(lrtrain.DataContext())
    np.savez(
        "blobs.npz", x_train=data.train.inputs[:100], y_train=data.train.targets[:100], x_test=data.test.inputs,
        y_test=data.test.targets,
    )  # fmt: skip
    file = f"{Path(__file__).parent / 'blobs.py'}:Blobs"
    words = ("--workload", file, "--plugin", "constant(value=0.03)", "--epochs", 1, "--quiet")
    done(cli(*words, "--dataset", "blobs.npz", "--batch-size", 50, "--run-dir", "run"))
    assert config("run")["steps_per_epoch"] == 2
    assert evaluated("run") == evaluated("run", "--dataset", "blobs.npz")
    npz(place / "images.npz")
    assert "the inputs are uint8[N, 6, 6, 1], and the network takes float32[N, 20]" in refusal(
        cli("evaluate", "run", "--dataset", "images.npz")
    )
    floats = {"y_train": np.ones(100, np.float32), "y_test": np.ones(150, np.float32)}
    np.savez("floats.npz", x_train=data.train.inputs[:100], x_test=data.test.inputs, **floats)
    assert "the targets are float32[N], and those of the run are int32[N]" in refusal(
        cli("evaluate", "run", "--dataset", "floats.npz")
    )


def test_evaluate_measures_the_data_that_is_named_where_the_name_is_the_default(
    tiny: Path, make_tiny: Any, place: Path
) -> None:
    """Of a workload with another data set as its own, which was measured in its place."""
    options = ("--data-dir", tiny, "--plugin", "constant(value=1e-4)", "--batch-size", 8, "--epochs", 1, "--quiet")
    done(cli("--workload", "./nets.py:Tiny", "--run-dir", "run", *options))
    assert (config("run")["train"]["dataset"], config("run")["data"]["name"]) == ("tiny", "tiny")
    assert evaluated("run") == evaluated("run", "--dataset", "tiny")
    said = refusal(cli("evaluate", "run", "--dataset", "fashion_mnist", "--data-dir", place))
    assert said == "the inputs are uint8[N, 28, 28, 1], and the network takes uint8[N, 6, 6, 3]"
    said = refusal(cli("--workload", "./nets.py:Tiny", "--dataset", "fashion_mnist", "--run-dir", "no", *options[2:],
                       "--model", "./nets.py:Net", "--data-dir", place, "--batch-size", 60_001))  # fmt: skip
    assert "more than the 60000 training examples" in said


class Dense(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(3)(x.reshape(len(x), -1))


def test_examples_in_python_and_a_path_exclude_each_other(place: Path) -> None:
    file, made = npz(place / "a.npz"), arrays()
    pair = (made["x_train"], made["y_train"])
    own = lrtrain.Classification(model=Dense(), train=pair, test=pair)
    with pytest.raises(UsageError, match="the workload Classification was given its examples in Python"):
        lrtrain.train("constant", workload=own, dataset=str(file), run_dir="run")
    without = lrtrain.Classification(model=Dense())
    result = lrtrain.train("constant", workload=without, dataset=file, run_dir="run", epochs=1, batch_size=30)
    with pytest.raises(UsageError, match="was given its examples in Python"):
        lrtrain.train(run_dir="run", resume=True, workload=own, epochs=2)
    loaded = lrtrain.load(result.run_dir, workload=own)
    assert loaded.evaluate(dataset=file) == result.history[-1].means
    with pytest.raises(UsageError, match="the workload Classification has no data: give train="):
        lrtrain.train("constant", workload=without, run_dir="other")


def test_a_directory_of_data_sets_has_no_use_for_a_path(place: Path) -> None:
    file = npz(place / "a.npz")
    train = ("--dataset", file, "--model", "./nets.py:Net", "--run-dir", "run", "--batch-size", 30, "--quiet")
    train = (*train, "--plugin", "constant(value=1e-4)", "--epochs", 1)
    said = f"data_dir={place} is refused: it is where data sets are prepared that have a name, and {file} is a path"
    assert said in refusal(cli(*train, "--data-dir", place))
    assert not Path("run").exists()
    done(cli(*train))
    assert said in refusal(cli("evaluate", "run", "--data-dir", place))
    assert said in refusal(cli("evaluate", "run", "--dataset", file, "--data-dir", place))


REFUSED: list[tuple[dict[str, Any], tuple[str, ...], str]] = [
    ({name: np.ones((len(array), 4)) for name, array in arrays().items() if name[0] == "x"}, (),
     "the default network takes images [N, height, width, channels] and labels int32[N], and 'a.npz' has float32[N, 4] "
     "and int32[N]: give a network with --model, or another kind of workload with --workload"),
    ({name: array / 2 for name, array in arrays().items() if name[0] == "y"}, ("--model", "./nets.py:Net"),
     "the training targets are of type float32: labels are whole numbers, and a regression takes others"),
    ({"x_train": None}, (), "and no x_train: expected x_train"),
    ({}, ("--data-on-device", "never"), "the data of 'a.npz' is in memory, so it cannot be streamed"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "words", "said"), REFUSED)
def test_what_cannot_be_trained_on_is_one_sentence_and_nothing_is_written(
    changes: dict[str, Any], words: tuple[str, ...], said: str, place: Path
) -> None:
    npz(place / "a.npz", **changes)
    before = contents(place)
    command = ("--dataset", "./a.npz", "--plugin", "constant", "--run-dir", "run", "--batch-size", 10, *words)
    result = refusal(cli(*command, "--quiet"))
    assert said in result
    assert contents(place).keys() - before.keys() <= {name for name in contents(place) if "/cache/" in name}
    assert not Path("run").exists()


def test_a_class_that_is_missing_ends_a_command_before_anything_is_read(place: Path) -> None:
    path = folder(place / "flowers")
    (path / "test" / "left").rename(place / "left")
    said = refusal(cli("--dataset", "./flowers", "--plugin", "constant", "--run-dir", "run", "--quiet"))
    assert said == f"{path}/test has no class 'left', and {path}/train has: expected the same classes"
    with pytest.raises(DataError, match=r"is not there: expected a \.npz file of arrays, or a folder of images"):
        lrtrain.train("constant", dataset="./nothing", run_dir="run")
    assert not Path("run").exists()
