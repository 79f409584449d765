"""Damaged files: a run goes on from the newest checkpoint that is valid, to the same bits, or stops in one sentence."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import lrtrain
from lrtrain.errors import RunDirError
from lrtrain.training.reporter import Begin, NullReporter
from tests.faults.conftest import Tally
from tests.faults.lab import Lab, dice, how_many
from tests.lab import SPEC, same_run

pytestmark = pytest.mark.timeout(7200)
LAST = 3 * 36


class Listens(NullReporter):
    """Keeps what a run says when it begins."""

    def begin(self, begin: Begin) -> None:
        self.begun = begin


@pytest.fixture
def whole(lab: Lab, hooks: str) -> Path:
    run = lab.directory / "whole"
    lrtrain.train(SPEC, hooks, run_dir=run, checkpoint_every=10, **lab.options(epochs=3))
    return run


def steps_of(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").glob("step_*"), key=lambda path: -int(path.name[5:]))


def truncate(path: Path, draw: random.Random) -> None:
    contents = path.read_bytes()
    path.write_bytes(contents[: draw.randrange(max(1, len(contents)))])


def flip(path: Path, draw: random.Random) -> None:
    contents = bytearray(path.read_bytes())
    if contents:
        contents[draw.randrange(len(contents))] ^= 1 << draw.randrange(8)
    path.write_bytes(contents)


def remove(path: Path, draw: random.Random) -> None:
    path.unlink()


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "A file of the newest checkpoint is truncated": truncate,
    "A bit of the newest checkpoint is flipped": flip,
    "A file of the newest checkpoint is removed": remove,
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", DAMAGES)
def test_a_damaged_file_loses_nothing(whole: Path, lab: Lab, tally: Tally, fault: str) -> None:
    draw = dice()
    for attempt in range(how_many(3, 0.3)):
        run = Path(shutil.copytree(whole, lab.directory / f"damaged-{attempt}"))
        newest = steps_of(run)[0]
        path = draw.choice(sorted(path for path in newest.rglob("*") if path.is_file()))
        with tally.expecting(fault):
            DAMAGES[fault](path, draw)
            listens = Listens()
            lrtrain.train(run_dir=run, resume=True, reporter=listens)
            assert_named(listens.begun, run, newest.name)
            same_run(whole, run)
        shutil.rmtree(run)


def assert_named(begun: Begin, run: Path, newest: str) -> None:
    """A checkpoint that is passed over is named, but for one that Orbax itself does not take for one any more."""
    set_aside = (run / "checkpoints" / f"damaged_{newest}").is_dir()
    assert (begun.step == LAST) == (begun.note is None and not set_aside)
    if begun.note is not None:
        assert newest in begun.note
        assert f"goes on from step {begun.step}" in begun.note
        assert "\n" not in begun.note


def test_newest_checkpoints_removed(whole: Path, lab: Lab, tally: Tally) -> None:
    for gone in (1, 2):
        run = Path(shutil.copytree(whole, lab.directory / f"removed-{gone}"))
        left = steps_of(run)[gone]
        for step in steps_of(run)[:gone]:
            shutil.rmtree(step)
        with tally.expecting("The newest checkpoint, or the two newest, are removed"):
            listens = Listens()
            lrtrain.train(run_dir=run, resume=True, reporter=listens)
            assert f"step_{listens.begun.step}" == left.name
            same_run(whole, run)


def test_no_valid_checkpoint_is_left(whole: Path, tally: Tally) -> None:
    for step in steps_of(whole):
        truncate(step / "progress" / "metadata", dice())
    logs = {path: path.read_bytes() for path in whole.iterdir() if path.is_file()}
    with tally.expecting("No valid checkpoint is left: one sentence, and the logs are not touched", lambda: 2):
        with pytest.raises(RunDirError, match="has no valid checkpoint") as error:
            lrtrain.train(run_dir=whole, resume=True)
        assert "\n" not in str(error.value)
        for step in steps_of(whole):
            shutil.rmtree(step)
        with pytest.raises(RunDirError, match="has no checkpoint"):
            lrtrain.train(run_dir=whole, resume=True)
        assert {path: path.read_bytes() for path in logs} == logs


@pytest.mark.parametrize("damage", [truncate, flip], ids=["truncated", "flipped"])
def test_a_damaged_configuration_is_one_sentence_or_does_not_matter(
    whole: Path, lab: Lab, tally: Tally, damage: Callable[[Path, random.Random], None]
) -> None:
    draw = dice()
    for attempt in range(how_many(5, 0.1)):
        run = Path(shutil.copytree(whole, lab.directory / f"config-{attempt}"))
        damage(run / "config.json", draw)
        kept = {path: path.read_bytes() for path in (run / "steps.csv", run / "metrics.jsonl")}
        with tally.expecting("config.json is damaged: one sentence, or the same bits"):
            refusals: list[str] = []
            try:
                lrtrain.train(run_dir=run, resume=True)
            except lrtrain.LrtrainError as error:
                refusals.append(str(error).strip())
            assert all("\n" not in refusal for refusal in refusals)
            assert {path: path.read_bytes() for path in kept} == kept
        shutil.rmtree(run)


@pytest.mark.parametrize("name", ["steps.csv", "metrics.jsonl"])
def test_a_torn_last_line_is_healed(whole: Path, lab: Lab, tally: Tally, name: str) -> None:
    draw = dice()
    for attempt in range(how_many(2, 0.2)):
        run = Path(shutil.copytree(whole, lab.directory / f"torn-{attempt}"))
        shutil.rmtree(steps_of(run)[0])
        contents = (run / name).read_bytes()
        # What comes after the checkpoint of step 100: eight lines and one.
        first = contents.rindex(b"\n", 0, -1) if name == "metrics.jsonl" else contents.index(b"\n100,")
        (run / name).write_bytes(contents[: draw.randint(first + 1, len(contents))])
        with tally.expecting("A log is torn in the middle of a line"):
            lrtrain.train(run_dir=run, resume=True)
            same_run(whole, run)
        shutil.rmtree(run)


def test_damage_in_the_middle_of_a_log_takes_nothing_else_away(whole: Path, lab: Lab, tally: Tally) -> None:
    run = Path(shutil.copytree(whole, lab.directory / "middle"))
    shutil.rmtree(steps_of(run)[0])
    logs = {name: (run / name).read_text().splitlines() for name in ("steps.csv", "metrics.jsonl")}
    logs["steps.csv"][40] = logs["metrics.jsonl"][0] = "damaged"
    for name, lines in logs.items():
        (run / name).write_text("\n".join([*lines, ""]))
    with tally.expecting("A line in the middle of a log is damaged: all others stay"):
        lrtrain.train(run_dir=run, resume=True)
        assert (run / "steps.csv").read_text().splitlines() == logs["steps.csv"]
        now = (run / "metrics.jsonl").read_text().splitlines()
        assert now[1:-1] == logs["metrics.jsonl"][1:-1]
        restored, lost = json.loads(now[0]), json.loads((whole / "metrics.jsonl").read_text().splitlines()[0])
        assert {**lost, **restored} == lost, "the line comes back from the checkpoint"
        assert lost.keys() - restored.keys() == {"examples_per_second"}
        assert len(now) == len(logs["metrics.jsonl"])


def test_lines_that_are_missing_are_not_passed_over_in_silence(whole: Path, tally: Tally) -> None:
    lines = (whole / "steps.csv").read_text().splitlines(keepends=True)
    (whole / "steps.csv").write_text("".join(lines[:51]))
    with tally.expecting("A log has lost its end: the run says so when it goes on"):
        listens = Listens()
        lrtrain.train(run_dir=whole, resume=True, reporter=listens)
        assert (
            listens.begun.note
            == f"steps.csv has been damaged: {LAST - 50} of its {LAST} lines are missing, and stay so"
        )
