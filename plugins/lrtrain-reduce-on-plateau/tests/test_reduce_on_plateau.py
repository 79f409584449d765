"""The plateau rule on made-up metrics: by hand, and beside PyTorch where it is installed."""

import numpy as np
import pytest
from lrtrain_reduce_on_plateau import ReduceOnPlateau

import lrtrain
from lrtrain.plugins.loading import activate
from lrtrain.testing import PluginSuite


class TestReduceOnPlateau(PluginSuite):
    plugin = "reduce-on-plateau"


def rates(rule: ReduceOnPlateau, values: list[float], first: float = 0.1) -> list[float]:
    """Returns the learning rate after each epoch; each call sees a history that was built again, as after a resume."""
    history: list[lrtrain.EpochInfo] = []
    rate, result = first, []
    for index, value in enumerate(values):
        history.append(lrtrain.EpochInfo(index, 5 * index + 5, value, value, value, rate, 1.0))
        request = ReduceOnPlateau(**options(rule)).on_epoch_end(tuple(history))
        rate *= request.factor if request else 1
        result.append(rate)
    return result


def options(rule: ReduceOnPlateau) -> dict:
    return dict(vars(rule))


def fired(values: list[float], **given) -> list[int]:
    """Returns the epochs after which the learning rate is lower."""
    after = [0.1, *rates(ReduceOnPlateau(factor=0.5, **given), values)]
    return [index for index in range(len(values)) if after[index + 1] < after[index]]


@pytest.mark.parametrize(("values", "given", "expected"), [
    # The first epoch is the best; patience bad ones pass, the next one acts, and the count begins again.
    ([1, 1, 1, 1, 1, 1, 1, 1], {"patience": 2}, [3, 6]),
    ([1, 1, 1], {"patience": 0}, [1, 2]),
    ([1, 1, 1, 0.5, 0.5, 0.5, 0.5], {"patience": 2}, [6]),
    # A cooldown of two: epochs 2 and 3 are not counted.
    ([1, 1, 1, 1, 1, 1], {"patience": 0, "cooldown": 2}, [1, 4]),
    # 0.95 is better by 5 %, which is no more than 10 %.
    ([1, 0.95, 0.85], {"patience": 0, "threshold": 0.1}, [1]),
    ([10, 9.5, 9.3], {"patience": 0, "threshold": 0.6, "threshold_mode": "abs"}, [1]),
    ([0.5, 0.6, 0.6, 0.7], {"patience": 0, "metric": "test_accuracy"}, [2]),
    ([0.5, 0.6, 0.6, 0.7], {"patience": 0, "metric": "test_accuracy", "mode": "min"}, [1, 2, 3]),
    # A flat negative metric is no improvement, as it is with PyTorch.
    ([-1, -1, -1], {"patience": 0}, [1, 2]),
    ([-1, -1, -1], {"patience": 0, "mode": "max"}, [1, 2]),
])  # fmt: skip
def test_counted_by_hand(values, given, expected):
    assert fired(values, **given) == expected


def test_a_bound_is_reached_and_kept():
    after = rates(ReduceOnPlateau(factor=0.1, patience=0, min_lr=0.004), [1.0] * 4)
    assert after == pytest.approx([0.1, 0.01, 0.004, 0.004])
    assert rates(ReduceOnPlateau(patience=0), [1.0, 1.0], first=0.0) == [0, 0]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize(("patience", "cooldown"), [(0, 0), (2, 0), (1, 3), (5, 1)])
def test_like_pytorch(mode, threshold_mode, patience, cooldown):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; the session parity has it")
    values = (1 + np.random.default_rng(patience).normal(0, 0.3, 200)).clip(0.01).round(2).tolist()
    given = {"mode": mode, "threshold_mode": threshold_mode, "patience": patience, "cooldown": cooldown}
    given |= {"factor": 0.7, "threshold": 0.05, "min_lr": 1e-6}
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, eps=0, **given)
    expected = []
    for value in values:
        theirs.step(value)
        expected.append(optimizer.param_groups[0]["lr"])
    assert len(set(expected)) > 3
    np.testing.assert_allclose(rates(ReduceOnPlateau(**given), values), expected, rtol=1e-12)


@pytest.mark.parametrize(("given", "message"), [
    ("factor=1", "factor=1 is refused: expected number > 0 and < 1"),
    ("factor=0", "factor=0 is refused: expected number > 0 and < 1"),
    ("factor=2", "factor=2 is refused: expected number >= 0 and <= 1"),
    ("patience=-1", "patience=-1 is refused: expected whole number >= 0"),
    ("metric=loss", "metric=loss is refused: expected test_loss or train_loss or test_accuracy"),
    ("patiense=1", "no option 'patiense' .did you mean 'patience'"),
])  # fmt: skip
def test_refused(given, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        activate([f"reduce-on-plateau({given})"])
