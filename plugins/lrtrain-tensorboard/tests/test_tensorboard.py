"""What is written is read back with TensorBoard's own reader; a resumed run shows no update twice."""

import gc
from pathlib import Path

import pytest
from lrtrain_tensorboard import TensorBoard
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import lrtrain
from lrtrain.plugins.loading import activate
from lrtrain.plugins.observers import Observers
from lrtrain.testing import PluginSuite


class TestTensorBoard(PluginSuite):
    plugin = "tensorboard"


STEPS = 10


def observe(directory: Path, first: int, last: int, plugin: str = "tensorboard(interval=2)", loss: float = 0.0) -> None:
    """Shows the plugin the steps of a run of three epochs as a process does, which then ends."""
    directory.mkdir(exist_ok=True)
    run = lrtrain.RunInfo(directory, {}, 3 * STEPS, STEPS, 3, ())
    observers = Observers(activate([plugin]))
    for step in range(first, last):
        observers.step(run, lrtrain.StepInfo(step, step // STEPS, 0.5 / (step + 1), step + loss))
        if (step + 1) % STEPS == 0:
            epoch = lrtrain.EpochInfo(step // STEPS, step + 1, 2.0, 1.0 + loss, 0.75, 0.1, 1.0)
            observers.epoch_end(run, epoch, [epoch])
    del observers
    gc.collect()


def read(directory: Path, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(directory))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_every_scalar_is_read_back(tmp_path):
    observe(tmp_path / "run", 0, 3 * STEPS)
    written = tmp_path / "run" / "tensorboard"
    assert read(written, "step/loss") == [(step, step) for step in range(0, 30, 2)]
    rates = read(written, "step/learning_rate")
    assert [step for step, _ in rates] == list(range(0, 30, 2))
    assert [rate for _, rate in rates] == pytest.approx([0.5 / (step + 1) for step in range(0, 30, 2)])
    assert read(written, "epoch/test_loss") == [(9, 1), (19, 1), (29, 1)]
    assert read(written, "epoch/train_loss") == [(9, 2), (19, 2), (29, 2)]
    assert read(written, "epoch/test_accuracy") == [(9, 0.75), (19, 0.75), (29, 0.75)]


@pytest.mark.parametrize(("ended", "resumed"), [(10, 10), (16, 10), (16, 16), (20, 10)])
def test_resumed(tmp_path, ended, resumed):
    observe(tmp_path / "run", 0, ended)
    observe(tmp_path / "run", resumed, 3 * STEPS, loss=0.5)
    written = tmp_path / "run" / "tensorboard"
    expected = [(step, step + 0.5 * (step >= resumed)) for step in range(0, 30, 2)]
    assert read(written, "step/loss") == expected
    assert read(written, "epoch/test_loss") == [(last, 1 + 0.5 * (last >= resumed)) for last in (9, 19, 29)]
    assert len(list(written.iterdir())) == 2, "no file is written over"


def test_all_is_on_disk_after_an_epoch(tmp_path):
    run = lrtrain.RunInfo(tmp_path, {}, 3 * STEPS, STEPS, 3, ())
    plugin = TensorBoard(interval=1)
    for step in range(STEPS):
        plugin.on_step(run, lrtrain.StepInfo(step, 0, 0.1, 1.0))
    plugin.on_epoch_end(run, lrtrain.EpochInfo(0, STEPS, 2.0, 1.0, 0.75, 0.1, 1.0))
    assert len(read(tmp_path / "tensorboard", "step/loss")) == STEPS
    assert len(read(tmp_path / "tensorboard", "epoch/test_loss")) == 1


def test_one_directory_for_all_runs(tmp_path):
    for name in ("one", "two"):
        observe(tmp_path / name, 0, STEPS, f"tensorboard(log_dir='{tmp_path / 'all'}', interval=5)")
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["one", "two"]
    assert read(tmp_path / "all" / "two", "step/loss") == [(0, 0), (5, 5)]
    assert not list((tmp_path / "two").iterdir())


def test_refused():
    with pytest.raises(lrtrain.UsageError, match="interval=0 is refused: expected whole number >= 1"):
        activate(["tensorboard(interval=0)"])
