"""What was trained can be used: the arrays of a run, its network, predictions and evaluations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import nnx

import lrtrain
from lrtrain.errors import LrtrainError
from lrtrain.runs import read_run
from lrtrain.runs.reading import best_epoch
from lrtrain.workloads.workload import DataContext
from tests.lab import contents
from tests.training.blobs import Blobs, Net, NnxNet

FILE = Path(__file__).parent / "blobs.py"
RATE = "constant(value=0.03)"
INPUTS = np.random.default_rng(1).normal(size=(75, 20)).astype(np.float32)


def trained_run(tmp_path: Path, kind: str, **options: Any) -> lrtrain.RunResult:
    return lrtrain.train(RATE, workload=f"{FILE}:Blobs(kind={kind})", run_dir=tmp_path / "run", **options)


def leaves(tree: Any) -> dict[str, np.ndarray]:
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(where, simple=True, separator="."): np.asarray(leaf) for where, leaf in flat}


def test_a_linen_module_is_loaded_as_flax_takes_it(tmp_path: Path) -> None:
    result = trained_run(tmp_path, "linen")
    before = contents(tmp_path)
    loaded = lrtrain.load(result.run_dir, best=False)
    assert (loaded.step, loaded.epoch) == (result.steps, read_run(result.run_dir).last)
    assert type(loaded.model).__name__ == "Net"
    assert set(loaded.variables) == {"params", "batch_stats"}
    direct = Net().apply(loaded.variables, INPUTS, train=False)
    np.testing.assert_allclose(loaded.predict(INPUTS, batch_size=32), direct, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(loaded.module()(INPUTS, train=False), direct, rtol=1e-5, atol=1e-5)
    assert loaded.predict(INPUTS[:1]).shape == (1, 10)
    assert loaded.predict(INPUTS.astype(np.float64)).dtype == np.float32
    assert leaves(loaded.params).keys() == leaves(result.params).keys()
    for name, leaf in leaves(result.params).items():
        np.testing.assert_array_equal(leaf, leaves(loaded.params)[name])
    assert leaves(result.state).keys() == {"batch_stats.BatchNorm_0.mean", "batch_stats.BatchNorm_0.var"}
    assert result.average is None
    assert contents(tmp_path) == before, "nothing is changed on disk"


def test_an_nnx_module_is_ready_to_be_called(tmp_path: Path) -> None:
    result = trained_run(tmp_path, "nnx", ema=0.9)
    loaded = lrtrain.load(result.run_dir, best=False)
    own = NnxNet(nnx.Rngs(0))
    own.eval()
    for index in range(2):
        for name in ("kernel", "bias"):
            getattr(own.layers[index], name)[...] = loaded.params["layers"][str(index)][name]
    own.norm.scale[...], own.norm.bias[...] = (loaded.params["norm"][name] for name in ("scale", "bias"))
    own.norm.mean[...], own.norm.var[...] = (loaded.variables["state"]["norm"][name] for name in ("mean", "var"))
    expected = own(INPUTS)
    for outputs in (loaded.predict(INPUTS), loaded.module()(INPUTS), loaded.model(INPUTS)):
        np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)
    # What is evaluated is the moving average.
    average, last = leaves(result.average), leaves(result.params)
    for name, leaf in leaves(loaded.params).items():
        np.testing.assert_array_equal(leaf, average[name])
        assert not np.array_equal(leaf, last[name])


@pytest.mark.parametrize("kind", ["linen", "nnx"])
@pytest.mark.parametrize("ema", [None, 0.9])
def test_what_is_evaluated_is_what_was_logged(tmp_path: Path, kind: str, ema: float | None) -> None:
    result = trained_run(tmp_path, kind, ema=ema, checkpoint_every="1ep")
    for epoch in result.history:
        loaded = lrtrain.load(result.run_dir, step=epoch.step)
        assert loaded.evaluate() == epoch.means
    best = max(result.history, key=lambda epoch: epoch.accuracy)
    assert result.best is not None
    assert result.best.step == lrtrain.load(result.run_dir).step == best.step
    data = Blobs().data(DataContext())
    means = lrtrain.load(result.run_dir, best=False).evaluate(data.test)
    assert means == lrtrain.load(result.run_dir, best=False).evaluate((data.test.inputs, data.test.targets))
    assert means == result.history[-1].means
    train = lrtrain.load(result.run_dir).evaluate("train")
    assert train["accuracy"] > 0.3


def test_the_network_is_made_without_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = trained_run(tmp_path, "linen", epochs=1)
    shapes = json.loads((result.run_dir / "config.json").read_text())["shapes"]
    assert shapes == {"inputs": "float32[examples, 20]", "targets": "int64[examples]"}

    def unwanted(*_: object) -> None:
        raise AssertionError("the data is loaded")

    monkeypatch.setattr("lrtrain.training.trained.find_data", unwanted)
    assert lrtrain.load(result.run_dir).predict(INPUTS).shape == (75, 10)


def test_a_run_without_shapes_loads_its_data(tmp_path: Path) -> None:
    result = trained_run(tmp_path, "linen", epochs=1)
    expected = lrtrain.load(result.run_dir).predict(INPUTS)
    file = result.run_dir / "config.json"
    values = json.loads(file.read_text())
    del values["shapes"]
    file.write_text(json.dumps(values))
    np.testing.assert_array_equal(lrtrain.load(result.run_dir).predict(INPUTS), expected)
    values["shapes"] = {"inputs": "float32[examples, 21]", "targets": "int64[examples]"}
    file.write_text(json.dumps(values))
    np.testing.assert_array_equal(lrtrain.load(result.run_dir).predict(INPUTS), expected)


def test_inputs_that_do_not_fit_are_refused_with_both_shapes(tmp_path: Path) -> None:
    loaded = lrtrain.load(trained_run(tmp_path, "linen", epochs=1).run_dir)
    for inputs, said in (
        (INPUTS[:, :19], r"float32\[N, 19\], and the network takes float32\[N, 20\]"),
        (INPUTS[0], r"float32\[N\], and the network takes"),
        (np.float32(3), "numbers without an axis of examples, and the network takes"),
        ({"x": INPUTS}, r"\{x: float32\[N, 20\]\}, and the network takes"),
        (INPUTS.astype(np.complex64), r"complex64\[N, 20\], and the network takes"),
        (INPUTS[:0], "at least one example"),
    ):
        with pytest.raises(lrtrain.UsageError, match=said):
            loaded.predict(inputs)
    with pytest.raises(lrtrain.UsageError, match="batch_size=0 is refused"):
        loaded.predict(INPUTS, batch_size=0)
    with pytest.raises(lrtrain.UsageError, match="no validation examples"):
        loaded.evaluate("validation")
    with pytest.raises(lrtrain.UsageError, match="'tset' are refused"):
        loaded.evaluate("tset")
    with pytest.raises(lrtrain.UsageError, match="has data of its own"):
        loaded.evaluate(dataset="mnist")
    with pytest.raises(LrtrainError, match="labels are from 0 to 10, and the network has 10 outputs"):
        loaded.evaluate((INPUTS[:11], np.arange(11)))


def test_what_is_no_run_or_has_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LrtrainError, match="holds no run to load"):
        lrtrain.load(tmp_path)
    result = trained_run(tmp_path, "linen", epochs=1)
    with pytest.raises(LrtrainError, match="no checkpoint of step 3: there are those of 8"):
        lrtrain.load(result.run_dir, step=3)
    state = result.run_dir / "checkpoints" / "step_8" / "state"
    for file in (each for each in state.rglob("*") if each.is_file() and each.parent.name == "d"):
        file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(LrtrainError, match=r"step_8 is damaged .*: give another one"):
        lrtrain.load(result.run_dir)
    (result.run_dir / "checkpoints").rename(tmp_path / "elsewhere")
    with pytest.raises(LrtrainError, match="has no checkpoint"):
        lrtrain.load(result.run_dir)


def test_code_that_has_changed_is_refused_unless_accepted(tmp_path: Path) -> None:
    file = tmp_path / "blobs.py"
    text = FILE.read_text(encoding="utf-8")
    file.write_text(text, encoding="utf-8")
    result = lrtrain.train(RATE, workload=f"{file}:Blobs", run_dir=tmp_path / "run", epochs=1)
    file.write_text(text.replace("nn.relu(x)", "nn.tanh(x)"), encoding="utf-8")
    with pytest.raises(LrtrainError, match="computes something else than it did: put it back"):
        lrtrain.load(result.run_dir)
    loaded = lrtrain.load(result.run_dir, accept_code_change=True)
    assert loaded.predict(INPUTS).shape == (75, 10)
    file.write_text(text.replace("width: int = 16", "width: int = 17"), encoding="utf-8")
    with pytest.raises(LrtrainError, match=r"does not fit the network: params.BatchNorm_0.bias is float32\[16\] in it"):
        lrtrain.load(result.run_dir, accept_code_change=True)


def test_what_was_made_in_python_is_given_again(tmp_path: Path) -> None:
    class Own(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            return nn.Dense(1)(x)

    targets = INPUTS.sum(axis=1, keepdims=True)
    workload = lrtrain.Regression(train=(INPUTS, targets), test=(INPUTS[:20], targets[:20]))
    result = lrtrain.train(RATE, workload=workload, model=Own(), run_dir=tmp_path / "run", epochs=2, batch_size=25)
    with pytest.raises(LrtrainError, match="the workload Regression was made in Python"):
        lrtrain.load(result.run_dir)
    with pytest.raises(LrtrainError, match="the model Own was made in Python"):
        lrtrain.load(result.run_dir, workload=workload)
    loaded = lrtrain.load(result.run_dir, workload=workload, model=Own())
    assert loaded.evaluate() == loaded.epoch.means  # type: ignore[union-attr]
    # The headline is the loss, so the lowest is best.
    best = best_epoch(read_run(result.run_dir))
    assert best is not None
    assert best.loss == min(epoch.loss for epoch in result.history)
