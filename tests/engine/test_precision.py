"""A network that computes in bfloat16, with parameters, statistics, loss and updates in float32."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lrtrain
from lrtrain.engine.optimizers import optimizer
from lrtrain.engine.population import Population
from lrtrain.errors import TrainingError, UsageError
from tests.engine.test_networks import BATCH, NETS, RATES, STEPS, TEST, TRAIN, arrays, make, order_of, trained
from tests.lab import SPEC, Dies, Killed, cli, refusal, same_run


def narrow(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), tree)


def test_a_step_is_that_of_a_network_with_narrow_parameters() -> None:
    """The reference takes all of a batch at once, with optax alone; it rounds at the same places."""
    model = NETS["linen"]()
    engine = make(model, precision="bf16")
    order, weights = order_of()
    params, expected = jax.device_get(engine.init(0).params), []
    state = optax.trace(0.9).init(params)

    def loss(params: Any, images: Any, labels: Any, real: Any) -> jax.Array:
        logits = model.apply({"params": narrow(params)}, narrow(images), train=True).astype(jnp.float32)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return jnp.sum(losses * real) / jnp.sum(real)

    for step in range(STEPS):
        images, labels = TRAIN.inputs[order[step]], TRAIN.targets[order[step]]
        value, gradients = jax.value_and_grad(loss)(params, images, labels, weights[step])
        updates, state = optax.trace(0.9).update(gradients, state)
        params = jax.tree.map(lambda p, u, rate=RATES[step]: p - rate * u, params, updates)
        expected.append(float(value))
    losses, end = trained(engine)
    np.testing.assert_allclose(losses, expected, rtol=2e-3)
    for ours, reference in zip(arrays(end.params), arrays(params), strict=True):
        np.testing.assert_allclose(ours, reference, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("kind", NETS)
def test_everything_that_is_kept_stays_float32(kind: str) -> None:
    engine = make(NETS[kind](norm=True, rate=0.2), devices=2, ema=0.9, precision="bf16")
    losses, state = trained(engine)
    kept = (state.params, state.opt_state, state.network, state.average)
    assert {leaf.dtype for leaf in arrays(kept) if leaf.dtype.kind == "f"} == {np.dtype(np.float32)}
    wide = make(NETS[kind](norm=True, rate=0.2), devices=2, ema=0.9)
    expected, _ = trained(wide)
    assert (losses != expected).any()
    np.testing.assert_allclose(losses, expected, rtol=3e-2)
    measured, of_wide = (jax.device_get(each.evaluate(state)) for each in (engine, wide))
    assert measured["loss"].dtype == np.float32
    assert measured["loss"] != of_wide["loss"]
    np.testing.assert_allclose(measured["loss"], of_wide["loss"], rtol=3e-2)


def test_a_population_is_its_runs_alone() -> None:
    population = Population(
        NETS["linen"](), optimizer("momentum"), TRAIN, TEST, batch_size=BATCH, loss_reduction="mean",
        devices=jax.devices("cpu")[:2], chunk_steps=STEPS, precision="bf16",
    )  # fmt: skip
    order, weights = order_of()
    both = [np.stack([each] * 2) for each in (order, weights, RATES)]
    _, losses = population.run_steps(population.init([0, 0]), *both)
    alone, _ = trained(make(NETS["linen"](), precision="bf16"))
    np.testing.assert_allclose(np.asarray(losses), np.stack([alone] * 2), rtol=1e-5)


def test_a_run_keeps_its_precision(tiny: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"dataset": "tiny", "data_dir": tiny, "batch_size": 8, "epochs": 3, "precision": "bf16"}
    lrtrain.train(SPEC, run_dir=tmp_path / "whole", **options)
    assert json.loads((tmp_path / "whole" / "config.json").read_text())["train"]["precision"] == "bf16"
    with pytest.raises(Killed):
        lrtrain.train(SPEC, run_dir=tmp_path / "torn", reporter=Dies(epoch=1), **options)
    said = refusal(cli("--resume", f"--run-dir={tmp_path / 'torn'}", "--precision=float32"))
    assert said.startswith("the run was made with precision=bf16, and precision=float32 is given")
    lrtrain.train(run_dir=tmp_path / "torn", resume=True)
    same_run(tmp_path / "whole", tmp_path / "torn")


def test_a_precision_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^precision=fp8 is refused: expected one of float32, bf16$"):
        lrtrain.train("wsd", precision="fp8", run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_network_that_overflows_is_a_sentence(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"^the loss is (nan|inf) at step \d+, at a learning rate of 1e\+30"):
        lrtrain.train(
            "constant(value=1e30)", run_dir=tmp_path / "run", dataset="tiny", data_dir=tiny, batch_size=8, epochs=1,
            precision="bf16",
        )  # fmt: skip
