"""Early stopping on made-up metrics, counted by hand."""

import pytest
from lrtrain_early_stopping import EarlyStopping

import lrtrain
from lrtrain.plugins.loading import activate
from lrtrain.testing import PluginSuite


class TestEarlyStopping(PluginSuite):
    plugin = "early-stopping"


def stopped(values: list[float], **given) -> tuple[int | None, str]:
    """Returns the first epoch that ends the run, and the reason."""
    epochs = [lrtrain.EpochInfo(i, 5 * i + 5, value, value, value, 0.1, 1.0) for i, value in enumerate(values)]
    for end in range(1, len(epochs) + 1):
        request = EarlyStopping(**given).on_epoch_end(tuple(epochs[:end]))
        if request:
            return end - 1, request.reason
    return None, ""


@pytest.mark.parametrize(("values", "given", "expected"), [
    ([3, 2, 1], {"patience": 1}, None),
    ([3, 3], {"patience": 1}, 1),
    ([3, 4, 2, 2, 2], {"patience": 2}, 4),
    ([3, 2.5, 1.9], {"patience": 1, "min_delta": 0.5}, 1),
    ([3, 2.4, 1.9], {"patience": 2, "min_delta": 0.5}, None),
    ([0.5, 0.6, 0.6], {"patience": 1, "metric": "test_accuracy"}, 2),
    ([0.5, 0.6, 0.7], {"patience": 2, "metric": "test_accuracy", "mode": "min"}, 2),
    ([3, 2, 1.5], {"patience": 2, "baseline": 1}, 1),
    ([3, 0.5, 0.6], {"patience": 2, "baseline": 1}, None),
    ([-1, -1], {"patience": 1}, 1),
])  # fmt: skip
def test_counted_by_hand(values, given, expected):
    assert stopped(values, **given)[0] == expected


def test_reasons():
    assert stopped([3, 3], patience=1)[1] == "test_loss has not improved for 1 epoch, best 3 in epoch 1"
    baseline = stopped([3, 2], patience=2, baseline=1)[1]
    assert baseline == "test_loss has not beaten the baseline 1 in 2 epochs"


@pytest.mark.parametrize(("given", "message"), [
    ("patience=0", "patience=0 is refused: expected whole number >= 1"),
    ("min_delta=-1", "min_delta=-1 is refused: expected number >= 0"),
    ("mode=low", "mode=low is refused: expected auto or min or max"),
])  # fmt: skip
def test_refused(given, message):
    with pytest.raises(lrtrain.UsageError, match=message):
        activate([f"early-stopping({given})"])
