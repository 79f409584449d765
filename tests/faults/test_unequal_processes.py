"""Processes of one distributed run that were not given the same: each ends with one sentence, and nothing is mixed."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import Tally
from tests.faults.lab import MANY, Lab, full_only
from tests.lab import SPEC, ended

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
_OTHER_PLUGIN = "constant(value=0.01)"
# What process 1 is given besides, and how the sentence names it.
_TRAIN = {
    "seed": (["--seed=1"], "seed=1 in process 1 and seed=0 in process 0"),
    "batch size": (["--batch-size=4"], "batch_size=4"),
    "epochs": (["--epochs=2"], "epochs=2"),
    "optimizer": (["--optimizer=sgd"], "optimizer=sgd"),
    "loss reduction": (["--loss-reduction=mean"], "loss_reduction=mean"),
    "train size": (["--train-size=40"], "train_size=40"),
    "order": (["--no-shuffle"], "shuffle=False"),
    "model": (["--model=small_model:Other"], "model=small_model:Other"),
    "micro batch": (["--micro-batch=1"], "micro_batch=1"),
    "data on device": (["--data-on-device=always"], "data_on_device=always"),
    "directory": (["--run-dir=another"], "run_dir=another"),
    "checkpoints": (["--checkpoint-every=20"], "checkpoint_every=20"),
    "schedule change": (["--on-schedule-change=keep"], "on_schedule_change=keep"),
    "learning rate": ([f"--plugin={SPEC.replace('0.01', '0.02')}"], "sgdr.peak_value=0.02"),
    "plugins": ([f"--plugin={_OTHER_PLUGIN}"], ""),
    "no such plugin": (["--plugin=nope"], "no plugin 'nope' is installed"),
    "no such option": (["--set=peak=0.02"], "has no option 'peak'"),
    "process id": (["--process-id=0"], "--process-id 0 is given twice"),
    "processes": (["--num-processes=3"], "--num-processes 3"),
}
_COMPARE = {
    "seed": (["--seed=1"], "seed=1 in process 1 and seed=0 in process 0"),
    "seeds": (["--seeds=3"], "seeds=3"),
    "scales": (["--lr-scales=1,2"], "lr_scales=[1.0, 2.0]"),
    "tuning seeds": (["--tuning-seeds=2"], "tuning_seeds=2"),
    "holdout": (["--holdout=10"], "holdout=10"),
    "epochs": (["--epochs=2"], "epochs=2"),
    "all pairs": (["--all-pairs"], "all_pairs=True"),
    "a third schedule": (["--plugin=cosine-decay"], "schedules="),
    "no such plugin": (["--plugin=nope"], "no plugin 'nope' is installed"),
    "a bad plan": (["--holdout=0"], "holdout=0 is refused"),
}
_SHORT = {("train", "train size"), ("train", "no such plugin"), ("compare", "seed")}
_ALL = [(command, name) for command, table in (("train", _TRAIN), ("compare", _COMPARE)) for name in table]
_MATRIX = [each for each in _ALL if MANY or each in _SHORT]


@pytest.mark.parametrize(("command", "what"), _MATRIX, ids=[f"{command}-{what}" for command, what in _MATRIX])
def test_one_process_was_given_something_else(lab: Lab, tally: Tally, command: str, what: str) -> None:
    own, named = (_TRAIN if command == "train" else _COMPARE)[what]
    with tally.expecting("A process of a distributed run is given something else"):
        common = lab.command("run") if command == "train" else comparison(lab)
        # A second schedule is refused before anything else is.
        first = [word for word in common if not (what in {"plugins", "learning rate"} and word == f"--plugin={SPEC}")]
        given = {0: common, 1: [*first, *own]}
        said = together(lab, given)
        # Those that JAX would abort end with 134.
        assert [code for code, _ in said] == [2, 2], said
        for _, lines in said:
            (sentence,) = (line for line in lines if line.startswith("Error: "))
            assert named in sentence
        assert not (lab.directory / "run").exists()


def test_a_schedule_of_the_same_label_is_another(lab: Lab, tally: Tally) -> None:
    with tally.expecting("A process of a distributed run is given something else"):
        common = comparison(lab)
        other = [word.replace("value=0.01", "value=0.02") for word in common]
        said = together(lab, {0: common, 1: other})
        assert [code for code, _ in said] == [2, 2], said
        assert all("constant.value=0.02 in process 1 and constant.value=0.01" in lines[-1] for _, lines in said), said


@pytest.mark.parametrize("command", ["train", pytest.param("compare", marks=full_only)])
def test_the_data_of_one_process_is_other_data(
    lab: Lab, tally: Tally, make_tiny: Callable[..., Path], command: str
) -> None:
    with tally.expecting("A process of a distributed run has other data"):
        other = make_tiny(lab.directory / "other", seeds=(1, 3))
        common = lab.command("run") if command == "train" else comparison(lab)
        said = together(lab, {0: common, 1: [*common, f"--data-dir={other}"]})
        assert [code for code, _ in said] == [2, 2], said
        assert all("(test of the data=" in lines[-1] for _, lines in said), said
        assert not (lab.directory / "run").exists()


def comparison(lab: Lab) -> list[str]:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in lab.options(epochs=1).items()]
    plan = ["--plugin=constant(value=0.01)", "--plugin=linear(init_value=0.02)", "--holdout=20", "--lr-scales=1"]
    return ["compare", *plan, "--tuning-seeds=1", "--seeds=2", *options, "--run-dir=run"]


def together(lab: Lab, given: dict[int, list[str]]) -> list[tuple[int, list[str]]]:
    """Runs two processes to their end; what is given to one may replace its number."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    where = ["--distributed", "--coordinator", address, "--num-processes", "2", "--devices", "1"]
    started = [lab.start([words[0], *where, "--process-id", str(index), *words[1:]]) for index, words in given.items()]
    return [ended(process) for process in started]
