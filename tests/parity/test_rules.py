"""The rules that watch a metric, beside PyTorch's and transformers', over long histories of every kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import lrtrain

REASON = "it is compared where it is installed: `uv run nox --session parity`"
torch = pytest.importorskip("torch", reason=REASON)
Greedy = pytest.importorskip("lrtrain_greedy", reason=REASON).Greedy
ReduceOnPlateau = pytest.importorskip("lrtrain_reduce_on_plateau", reason=REASON).ReduceOnPlateau
EPOCHS = 60


def histories() -> list[list[float]]:
    """Returns metrics that fall, rise, stay, and fall with noise, whose steps are as small as a threshold, too."""
    random = np.random.default_rng(0)
    falling = np.exp(-np.arange(EPOCHS) / 20)
    noisy = [np.abs(falling + random.normal(0, size, EPOCHS)) for size in (1, 0.3, 0.1, 0.03)]
    plain = [np.linspace(2, 1, EPOCHS), np.linspace(1, 2, EPOCHS), np.ones(EPOCHS), 1 - 1e-4 * np.arange(EPOCHS)]
    return [values.tolist() for values in [*noisy, *plain]]


def theirs(scheduler: Callable[[Any], Any], values: Sequence[float]) -> list[float]:
    """Returns the learning rate after each epoch, where it begins at 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    rule, rates = scheduler(optimizer), []
    for value in values:
        optimizer.step()
        rule.step(value)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def ours(rule: Any, values: Sequence[float]) -> list[float]:
    """Returns the same of a plugin, which is given the history that a run would give it."""
    rate, history, rates = 1.0, [], []
    for epoch, value in enumerate(values):
        history.append(lrtrain.EpochInfo(epoch, epoch + 1, value, value, value, rate, 1.0))
        answer = rule.on_epoch_end(tuple(history))
        rate *= 1 if answer is None else answer.factor
        rates.append(rate)
    return rates


@pytest.mark.parametrize("values", histories(), ids=lambda values: f"{values[1]:.5f}")
@pytest.mark.parametrize("options", [
    {},
    {"factor": 0.5, "patience": 0},
    {"factor": 0.5, "patience": 2, "cooldown": 3},
    {"mode": "max", "factor": 0.7, "patience": 3},
    {"threshold": 0.02, "threshold_mode": "abs", "patience": 1},
    {"factor": 0.5, "patience": 1, "min_lr": 0.1},
])  # fmt: skip
def test_reduce_on_plateau_is_pytorchs(options: dict[str, Any], values: list[float]) -> None:
    """But for their default patience of 10, and that they ignore a change below 1e-8."""
    options = {"mode": "min", "patience": 10, **options}
    expected = theirs(lambda optimizer: torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, eps=0, **options), values)
    np.testing.assert_allclose(ours(ReduceOnPlateau(**options), values), expected, rtol=1e-6)


@pytest.mark.parametrize("values", histories(), ids=lambda values: f"{values[1]:.5f}")
@pytest.mark.parametrize("options", [
    {"patience": 10},
    {"factor": 0.5, "patience": 1},
    {"factor": 0.5, "patience": 2, "cooldown": 3, "warmup": 2},
    {"mode": "max", "factor": 0.7, "patience": 3},
    {"threshold": 0.02, "threshold_mode": "rel", "patience": 1},
])  # fmt: skip
def test_greedy_is_that_of_transformers(options: dict[str, Any], values: list[float]) -> None:
    """Without the bounds and the new start that theirs has by default, and without their smoothing."""
    optimization = pytest.importorskip("transformers.optimization", reason=REASON)
    options = {"mode": "min", **options}
    unbounded = {"min_lr": 0.0, "max_lr": math.inf, "eps": 0.0, "smooth": False}
    expected = theirs(lambda optimizer: optimization.GreedyLR(optimizer, **unbounded, **options), values)
    np.testing.assert_allclose(ours(Greedy(**options), values), expected, rtol=1e-6)


def test_the_histories_make_the_rules_act() -> None:
    for rule, least in ((ReduceOnPlateau(patience=1), 4), (Greedy(patience=1), 6)):
        assert sum(len(set(ours(rule, values))) > 1 for values in histories()) >= least
