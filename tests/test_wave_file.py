"""A comparison that is cut off within a wave goes on from the last epoch that was saved, to the same bits."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from lrtrain.comparing import Comparison, compare_plan
from lrtrain.comparison import trainer
from lrtrain.comparison.member import Member
from lrtrain.comparison.plan import Plan, labelled
from lrtrain.comparison.reporter import Unheard
from lrtrain.comparison.trial import Trial
from lrtrain.comparison.wave_file import Wave, WaveFile
from lrtrain.config import TrainConfig

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


class CutOff(Unheard):
    """Interrupts in the middle of an epoch."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def stepped(self, steps: int) -> None:
        self.left -= steps
        if self.left <= 0:
            raise KeyboardInterrupt


@pytest.fixture
def delivered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collects the first step of each chunk that is trained."""
    steps: list[int] = []
    deliver = Member.deliver

    def noted(self: Member, first: int, rates: Any, losses: Any) -> None:
        steps.append(first)
        deliver(self, first, rates, losses)

    monkeypatch.setattr(Member, "deliver", noted)
    monkeypatch.setattr(trainer, "SECONDS_BETWEEN_SAVES", 0.0)
    return steps


def cut_off(plan: Plan, directory: Path, epochs: int) -> Path:
    """Interrupts a comparison of one wave after so many epochs; returns the file of the wave."""
    with pytest.raises(KeyboardInterrupt):
        compare_plan(plan, directory=directory, reporter=CutOff(epochs * STEPS_PER_EPOCH + 1))
    return directory / ".wave-0.npz"


def without_clock(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in ("seconds", "examples_per_second")}


def files(comparison: Comparison) -> dict[str, Any]:
    """Returns what the runs have written, times left out."""
    found: dict[str, Any] = {}
    for path in sorted((comparison.directory / "runs").iterdir()):
        lines = (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        outcome = json.loads((path / "outcome.json").read_text(encoding="utf-8"))
        found[path.name] = (
            (path / "steps.csv").read_bytes(),
            [without_clock(json.loads(line)) for line in lines],
            without_clock(outcome),
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
    again = compare_plan(None, directory=tmp_path / "torn", resume=True)
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
    WaveFile(file).save(Wave([Trial("measure", "constant", 1.0, 3)], 2, [{}], [np.zeros(3)]))


@pytest.mark.parametrize("harm", [damage, truncate, lose_lines, put_another_wave, Path.unlink])
def test_what_is_not_sound_begins_anew(
    plan: Plan, tmp_path: Path, delivered: list[int], harm: Callable[[Path], None]
) -> None:
    whole = compare_plan(plan, directory=tmp_path / "whole")
    harm(cut_off(plan, tmp_path / "torn", 2))
    delivered.clear()
    again = compare_plan(None, directory=tmp_path / "torn", resume=True)
    assert min(delivered) == 0
    assert files(again) == files(whole)


def test_a_schedule_that_has_changed_begins_anew(
    plan: Plan, tmp_path: Path, delivered: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(plan, tmp_path / "torn", 2)
    delivered.clear()
    monkeypatch.setenv("RATE", "0.03")
    compare_plan(None, directory=tmp_path / "torn", resume=True)
    assert min(delivered) == 0


ARRAYS = [np.asarray(jnp.arange(6, dtype=jnp.bfloat16).reshape(2, 3)), np.float32([1.5, np.nan]), np.int32(7)]
TRIALS = [Trial("tune", "wsd", 0.5, 0), Trial("tune", "wsd", 0.5, 1)]


def test_every_type_comes_back(tmp_path: Path) -> None:
    file = WaveFile(tmp_path / "wave.npz")
    file.save(Wave(TRIALS, 3, [{"factor": 0.1}, {"factor": float("inf")}], ARRAYS))
    wave = file.load(TRIALS, [np.zeros_like(array) for array in ARRAYS])
    assert wave is not None
    assert (wave.epochs, wave.members) == (3, [{"factor": 0.1}, {"factor": float("inf")}])
    for mine, saved in zip(wave.arrays, ARRAYS, strict=True):
        assert mine.dtype == saved.dtype
        assert mine.tobytes() == saved.tobytes()
    assert file.load(TRIALS[:1], ARRAYS) is None
    assert file.load(TRIALS, [*ARRAYS, np.zeros(1)]) is None
    assert file.load(TRIALS, [ARRAYS[0].astype(np.float32), *ARRAYS[1:]]) is None


def test_nothing_in_it_is_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "run",)

    np.savez(tmp_path / "wave.npz", np.array([Trap()], object), *ARRAYS, allow_pickle=True)
    assert WaveFile(tmp_path / "wave.npz").load(TRIALS, ARRAYS) is None
    (tmp_path / "wave.npz").write_bytes(pickle.dumps(Trap()))
    assert WaveFile(tmp_path / "wave.npz").load(TRIALS, ARRAYS) is None
    assert not (tmp_path / "run").exists()
