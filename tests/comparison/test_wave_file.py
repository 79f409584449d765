"""A comparison that is cut off within a wave goes on from the last epoch that was saved, to the same bits."""

from __future__ import annotations

import errno
import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrtrain.comparison import wave_file
from lrtrain.comparison.active_trial import ActiveTrial
from lrtrain.comparison.conduct import compare_plan, share
from lrtrain.comparison.holdout import load_data
from lrtrain.comparison.plan import Plan
from lrtrain.comparison.reporter import NullReporter
from lrtrain.comparison.result import Comparison
from lrtrain.comparison.rows import labelled
from lrtrain.comparison.store import Store
from lrtrain.comparison.trainer import Trainer
from lrtrain.comparison.trial import Outcome, Trial
from lrtrain.comparison.wave_file import Saved, WaveFile
from lrtrain.errors import RunDirError, TrainingError, UsageError
from lrtrain.runs.train_config import TrainConfig
from lrtrain.training.prepare import task_of
from tests.lab import CLOCK, metrics, without

EPOCHS, STEPS_PER_EPOCH = 5, 9
SCALES = """
@dataclass(frozen=True)
class Plugin:
    "Scales its learning rate after some steps and every epoch, and ends its run after the fourth epoch."

    @hookimpl
    def build_schedule(self, context):
        import os
        rate = float(os.environ.get("RATE", "0.02"))
        return lambda step: rate

    @hookimpl
    def on_step(self, step):
        return ScaleLearningRate(0.97) if step.step % 5 == 3 else None

    @hookimpl
    def on_epoch_end(self, history):
        if len(history) == 4:
            return Stop("enough")
        return ScaleLearningRate(1.3 if history[-1].train_loss > 0.5 else 1.1)
"""


@pytest.fixture
def plan(tiny: Path, install_plugin: Callable[..., str]) -> Plan:
    config = TrainConfig(
        epochs=EPOCHS, batch_size=8, dataset="tiny", data_dir=tiny, loss_reduction="mean", optimizer="adam", devices=2
    )
    return Plan(labelled([install_plugin("scales", SCALES), "constant(value=0.01)"]), config, "as-is", holdout=0)


class CutOff(NullReporter):
    """Interrupts in the middle of an epoch."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def stepped(self, steps: int) -> None:
        self.left -= steps
        if self.left <= 0:
            raise KeyboardInterrupt


class Noting(NullReporter):
    """Keeps what a user is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def noted(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collects the first step of each chunk that is trained."""
    steps: list[int] = []
    deliver = ActiveTrial.deliver

    def noted(self: ActiveTrial, first: int, rates: Any, losses: Any) -> None:
        steps.append(first)
        deliver(self, first, rates, losses)

    monkeypatch.setattr(ActiveTrial, "deliver", noted)
    monkeypatch.setattr(wave_file, "SECONDS_BETWEEN_SAVES", 0.0)
    return steps


def cut_off(plan: Plan, directory: Path, epochs: int) -> Path:
    """Interrupts a comparison of one wave after so many epochs; returns the file of the wave."""
    with pytest.raises(KeyboardInterrupt):
        compare_plan(plan, directory=directory, reporter=CutOff(epochs * STEPS_PER_EPOCH + 1))
    return directory / ".wave-0.npz"


def files(comparison: Comparison) -> dict[str, Any]:
    """Returns what the runs have written, times left out."""
    found: dict[str, Any] = {}
    for path in sorted((comparison.directory / "runs").iterdir()):
        outcome = json.loads((path / "outcome.json").read_text(encoding="utf-8"))
        found[path.name] = (
            (path / "steps.csv").read_bytes(),
            metrics(path),
            without(outcome, *CLOCK),
        )
    return found


@pytest.mark.parametrize("epochs", [1, 3, 4])
def test_it_goes_on_from_the_last_epoch_to_the_same_bits(
    plan: Plan, tmp_path: Path, delivered: list[int], epochs: int
) -> None:
    whole = compare_plan(plan, directory=tmp_path / "whole")
    assert not (tmp_path / "whole" / ".wave-0.npz").exists()
    assert [outcome.state for outcome in whole.outcomes] == ["stopped", "finished"]
    file = cut_off(plan, tmp_path / "torn", epochs)
    (file.parent / f".{file.name}.1234").touch()
    delivered.clear()
    reporter = Noting()
    again = compare_plan(None, directory=tmp_path / "torn", resume=True, reporter=reporter)
    assert reporter.notes == []
    assert min(delivered) == epochs * STEPS_PER_EPOCH
    assert files(again) == files(whole)
    assert not list(file.parent.glob("*wave*"))


def test_short_epochs_are_not_saved(plan: Plan, tmp_path: Path) -> None:
    assert not cut_off(plan, tmp_path / "torn", 3).exists()


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 16
    file.write_bytes(content)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-200])


def lose_lines(file: Path) -> None:
    steps = next(file.parent.glob("runs/*constant*")) / "steps.csv"
    steps.write_text("".join(steps.read_text(encoding="utf-8").splitlines(keepends=True)[:5]), encoding="utf-8")


def put_another_wave(file: Path) -> None:
    WaveFile(file).save(Saved([Trial("measure", "constant", 1.0, 3)], 2, 1.0, [{}], [np.zeros(3)]))


@pytest.mark.parametrize("harm", [damage, truncate, put_another_wave, Path.unlink])
def test_what_is_not_sound_begins_anew(
    plan: Plan, tmp_path: Path, delivered: list[int], harm: Callable[[Path], None]
) -> None:
    whole = compare_plan(plan, directory=tmp_path / "whole")
    file = cut_off(plan, tmp_path / "torn", 2)
    harm(file)
    delivered.clear()
    reporter = Noting()
    again = compare_plan(None, directory=tmp_path / "torn", resume=True, reporter=reporter)
    said = f"{file} is damaged or of another version: the runs that were being trained begin again"
    assert reporter.notes == ([] if harm is Path.unlink else [said])
    assert min(delivered) == 0
    assert files(again) == files(whole)


def test_what_cannot_be_read_for_the_moment_is_not_thrown_away(
    plan: Plan, tmp_path: Path, delivered: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = cut_off(plan, tmp_path / "torn", 2)
    content, read = file.read_bytes(), Path.read_bytes

    def refused(path: Path) -> bytes:
        if path.name == file.name:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refused)
        with pytest.raises(TrainingError, match=os.strerror(errno.EIO)):
            compare_plan(None, directory=tmp_path / "torn", resume=True)
    assert file.read_bytes() == content
    delivered.clear()
    compare_plan(None, directory=tmp_path / "torn", resume=True)
    assert min(delivered) == 2 * STEPS_PER_EPOCH


def test_a_run_that_is_done_leaves_the_others(
    plan: Plan, tmp_path: Path, delivered: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the notes that the runs of a wave are done, the rest of it goes on from where it was saved."""
    whole = compare_plan(plan, directory=tmp_path / "whole")
    add = Store.add

    def killed(self: Store, plan: Plan, outcome: Outcome) -> None:
        if outcome.trial.label == "constant":
            raise KeyboardInterrupt
        add(self, plan, outcome)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            compare_plan(plan, directory=tmp_path / "torn")
    delivered.clear()
    again = compare_plan(None, directory=tmp_path / "torn", resume=True)
    assert min(delivered) == (EPOCHS - 1) * STEPS_PER_EPOCH
    assert files(again) == files(whole)


def test_lost_logs_of_one_run_leave_the_others(plan: Plan, tmp_path: Path, delivered: list[int]) -> None:
    whole = compare_plan(plan, directory=tmp_path / "whole")
    lose_lines(cut_off(plan, tmp_path / "torn", 2))
    delivered.clear()
    reporter = Noting()
    again = compare_plan(None, directory=tmp_path / "torn", resume=True, reporter=reporter)
    (note,) = reporter.notes
    assert note.startswith("1 of the 2 runs that were being trained begin again: their logs, schedules or versions")
    assert delivered[0] == 2 * STEPS_PER_EPOCH
    assert 0 in delivered
    assert files(again) == files(whole)


def test_time_before_the_cut_counts(plan: Plan, tmp_path: Path, delivered: list[int]) -> None:
    file = cut_off(plan, tmp_path / "torn", 2)
    wave = WaveFile(file)
    trials = wave.trials()
    assert [trial.label for trial in trials] == ["scales", "constant"]
    with np.load(file, allow_pickle=False) as stored:
        values = json.loads(stored["arr_0"].tobytes())
        arrays = [stored[f"arr_{index}"] for index in range(1, len(stored.files))]
    assert 0 < values["seconds"] < 100
    # As if it had taken an hour.
    like = trained_state(plan)
    typed = [one.view(other.dtype).reshape(-1, *other.shape[1:]) for one, other in zip(arrays, like, strict=True)]
    wave.save(Saved(trials, values["epochs"], 3600.0, values["members"], typed))
    again = compare_plan(None, directory=tmp_path / "torn", resume=True)
    assert [round(outcome.seconds) // 60 for outcome in again.outcomes] == [30, 30]


def trained_state(plan: Plan) -> list[Any]:
    """Returns arrays of the types and shapes of what is trained."""
    data, _ = load_data(plan)
    made = Trainer(plan, data, task_of(plan.workload, data, plan.train), jax.local_devices()[:2], 2)
    return made._population.leaves(made._population.init([0]))


def test_a_plugin_that_is_broken_meanwhile_costs_nothing(plan: Plan, tmp_path: Path, delivered: list[int]) -> None:
    cut_off(plan, tmp_path / "torn", 2)
    (module,) = (tmp_path / "site").glob("*scales.py")
    content = module.read_text(encoding="utf-8")
    module.write_text("def", encoding="utf-8")
    sys.modules.pop(module.stem)
    before = sorted((tmp_path / "torn").rglob("*"))
    with pytest.raises(UsageError, match=r"plugin 'scales' of test-scales 1\.0 fails to import"):
        compare_plan(None, directory=tmp_path / "torn", resume=True)
    assert sorted((tmp_path / "torn").rglob("*")) == before
    module.write_text(content, encoding="utf-8")
    delivered.clear()
    again = compare_plan(None, directory=tmp_path / "torn", resume=True)
    assert min(delivered) == 2 * STEPS_PER_EPOCH
    assert [outcome.state for outcome in again.outcomes] == ["stopped", "finished"]


def test_another_version_begins_anew(
    plan: Plan, tmp_path: Path, delivered: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(plan, tmp_path / "torn", 2)
    delivered.clear()
    monkeypatch.setattr("lrtrain.comparison.active_trial.versions", lambda *_: {"jax": "another"})
    compare_plan(None, directory=tmp_path / "torn", resume=True)
    assert min(delivered) == 0


def test_a_schedule_that_has_changed_is_refused_and_its_wave_stays(
    plan: Plan, tmp_path: Path, delivered: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(plan, tmp_path / "torn", 2)
    delivered.clear()
    with monkeypatch.context() as changed:
        changed.setenv("RATE", "0.03")
        with pytest.raises(RunDirError, match="the learning rates of 'scales' are no longer those of the comparison"):
            compare_plan(None, directory=tmp_path / "torn", resume=True)
    assert delivered == []
    compare_plan(None, directory=tmp_path / "torn", resume=True)
    assert min(delivered) == 2 * STEPS_PER_EPOCH


ARRAYS = [np.asarray(jnp.arange(6, dtype=jnp.bfloat16).reshape(2, 3)), np.float32([1.5, np.nan]), np.int32([7, 8])]
TRIALS = [Trial("tune", "wsd", 0.5, 0), Trial("tune", "wsd", 0.5, 1)]


def test_every_type_comes_back(tmp_path: Path) -> None:
    file = WaveFile(tmp_path / "wave.npz")
    assert file.trials() == []
    file.save(Saved(TRIALS, 3, 0.5, [{"factor": 0.1}, {"factor": float("inf")}], ARRAYS))
    wave = file.load([np.zeros_like(array) for array in ARRAYS])
    assert wave is not None
    assert file.trials() == wave.trials == TRIALS
    assert (wave.epochs, wave.seconds, wave.positions) == (3, 0.5, [{"factor": 0.1}, {"factor": float("inf")}])
    for mine, saved in zip(wave.arrays, ARRAYS, strict=True):
        assert mine.dtype == saved.dtype
        assert mine.tobytes() == saved.tobytes()
    # On other devices there are other numbers of places.
    assert file.load([np.zeros((9, *array.shape[1:]), array.dtype) for array in ARRAYS]) is not None
    assert file.load([*ARRAYS, np.zeros(1)]) is None
    assert file.load([ARRAYS[0].astype(np.float32), *ARRAYS[1:]]) is None
    file.save(Saved([*TRIALS, TRIALS[0]], 3, 0.5, [{}] * 3, ARRAYS))
    assert file.load(ARRAYS) is None, "there are more runs than places"


def test_nothing_in_it_is_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "run",)

    np.savez(tmp_path / "wave.npz", np.array([Trap()], object), *ARRAYS, allow_pickle=True)
    assert WaveFile(tmp_path / "wave.npz").load(ARRAYS) is None
    (tmp_path / "wave.npz").write_bytes(pickle.dumps(Trap()))
    assert WaveFile(tmp_path / "wave.npz").load(ARRAYS) is None
    assert WaveFile(tmp_path / "wave.npz").trials() == []
    assert not (tmp_path / "run").exists()


def test_each_process_goes_on_with_what_it_has_begun() -> None:
    trials = [Trial("measure", "constant", 1.0, seed) for seed in range(7)]
    claims = {trials[4]: 0, trials[5]: 0, trials[1]: 1, trials[3]: 1}
    shares = [share(trials, claims, index, 3) for index in range(3)]
    assert [each[:2] for each in shares[:2]] == [trials[4:6], [trials[1], trials[3]]]
    assert sorted((trial for each in shares for trial in each), key=lambda trial: trial.seed) == trials
    assert [share(trials, {}, index, 2) for index in range(2)] == [trials[::2], trials[1::2]]
