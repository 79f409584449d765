"""GreedyLR on made-up metrics: by hand, and beside transformers where it is installed."""

import numpy as np
import pytest
from lrtrain_greedy import Greedy

import lrtrain
from lrtrain.plugins.loading import activate
from lrtrain.testing import PluginSuite


class TestGreedy(PluginSuite):
    plugin = "greedy"


def rates(rule: Greedy, values: list[float]) -> list[float]:
    """Returns the learning rate after each epoch; each call sees a history that was built again, as after a resume."""
    history: list[lrtrain.EpochInfo] = []
    rate, result = 0.1, []
    for index, value in enumerate(values):
        history.append(lrtrain.EpochInfo(index, 5 * index + 5, value, value, value, rate, 1.0))
        request = Greedy(**vars(rule)).on_epoch_end(tuple(history))
        rate *= request.factor if request else 1
        result.append(rate)
    return result


@pytest.mark.parametrize(("values", "given", "expected"), [
    ([5, 4, 3, 2, 1], {"patience": 1}, [1, 2, 2, 4, 4]),
    ([1, 1, 1, 1, 1], {"patience": 1}, [1, 1, 0.5, 0.5, 0.25]),
    # A change of direction begins the count again.
    ([5, 6, 4, 5, 3], {"patience": 1}, [1, 1, 1, 1, 1]),
    # After a rise one epoch is not counted, and 3 does not become the best.
    ([5, 3, 4, 2], {"patience": 0, "warmup": 1}, [2, 2, 4, 4]),
    ([5, 6, 1, 4], {"patience": 0, "cooldown": 1}, [2, 1, 1, 2]),
    # The mean of two epochs: 4, 3, 3.5, 5.
    ([4, 2, 5, 5], {"patience": 0, "window_size": 2}, [2, 4, 2, 1]),
    ([5, 4, 3], {"patience": 0, "max_lr": 0.3}, [2, 3, 3]),
    ([1, 1, 1, 1], {"patience": 0, "min_lr": 0.06}, [2, 1, 0.6, 0.6]),
    ([0.5, 0.6, 0.6], {"patience": 0, "metric": "test_accuracy"}, [2, 4, 2]),
    ([-1, -1, -1], {"patience": 0, "threshold_mode": "rel"}, [2, 1, 0.5]),
])  # fmt: skip
def test_counted_by_hand(values, given, expected):
    assert rates(Greedy(factor=0.5, **given), values) == pytest.approx([0.1 * each for each in expected])


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize("counts", [(0, 0, 0, 1), (1, 2, 0, 1), (1, 1, 3, 4)], ids=str)
def test_like_transformers(mode, threshold_mode, counts):
    patience, cooldown, warmup, window_size = counts
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; the session parity has it")
    optimization = pytest.importorskip("transformers.optimization", reason="transformers is not installed")
    # It drifts to the better and back, so that there are rises and reductions.
    drift = np.sin(np.arange(200) / 12) + np.random.default_rng(1).normal(0, 0.1, 200)
    values = (3 + drift - np.arange(200) / 100 * (1 if mode == "min" else -1)).round(3).tolist()
    given = {"mode": mode, "threshold_mode": threshold_mode, "patience": patience, "cooldown": cooldown}
    given |= {"warmup": warmup, "factor": 0.8, "threshold": 1e-3, "min_lr": 0.0, "max_lr": 0.2}
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = optimization.GreedyLR(optimizer, eps=0, smooth=window_size > 1, window_size=window_size, **given)
    expected = []
    for value in values:
        theirs.step(value)
        expected.append(optimizer.param_groups[0]["lr"])
    assert len(set(expected)) > 5
    np.testing.assert_allclose(rates(Greedy(window_size=window_size, **given), values), expected, rtol=1e-12)


@pytest.mark.parametrize(("given", "message"), [
    ("factor=1", "factor=1 is refused: expected number > 0 and < 1"),
    ("factor=0", "factor=0 is refused: expected number > 0 and < 1"),
    ("min_lr=0.2, max_lr=0.1", "min_lr=0.2 is over max_lr=0.1: give a lower one"),
    ("window_size=0", "window_size=0 is refused: expected whole number >= 1"),
])  # fmt: skip
def test_refused(given, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        activate([f"greedy({given})"])
