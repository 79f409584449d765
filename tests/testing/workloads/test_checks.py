"""The checks of workloads: each one finds the workload that breaks it, and passes the right ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lrtrain.testing import CheckFailed, WorkloadSuite
from lrtrain.testing.checks import outcomes, run
from lrtrain.testing.workloads.checks import CHECKS, FIRST
from lrtrain.testing.workloads.subject import WorkloadSubject
from tests.lab import cli

BROKEN = Path(__file__).with_name("broken.py")
FAULTS = [
    ("NoSuch", "loads_alone", "fails to import: AttributeError: .*NoSuch"),
    ("Plain", "is_a_workload", "names <class .*>: a plugin is a class with @dataclass"),
    ("Thawed", "is_a_workload", "is a dataclass that is not frozen: write"),
    ("Stranger", "is_a_workload", "is not derived from lrtrain.Workload: write class Stranger"),
    ("NoDefaults", "is_a_workload", r"has defaults = .*: write defaults: ClassVar\[Defaults\] = Defaults\(...\)"),
    ("Direction", "defaults_are_valid", "headline of .* has mode='higher': expected min or max"),
    ("Rates", "defaults_are_valid", "the default learning rate of .* is -1.0: expected a number over 0"),
    ("Optimizer", "defaults_are_valid", "defaults of .* are no options of training: unknown optimizer 'sdg'"),
    ("Undocumented", "is_documented", "has no docstring: say in one line what it does"),
    ("Untyped", "wrong_types_are_refused", "option 'depth' of .* takes anything: give it a type"),
    ("Example", "examples_run", "an example of workload .* is wrong: .*3.*2"),
    ("Unequal", "data_can_be_used", "the training examples have unequal lengths, 95 and 96: the first axis"),
    ("Empty", "data_can_be_used", "there are no training examples"),
    ("Texts", "data_can_be_used", "the training examples have an array of type <U.*: expected numbers"),
    ("Lists", "data_can_be_used", "the training examples have float among them: expected arrays of NumPy"),
    ("Pair", "data_can_be_used", "the data of the workload Pair is tuple: expected lrtrain.Dataset"),
    ("Unsplit", "data_can_be_used", r"has tuple as its train: expected lrtrain.Split\(inputs, targets\)"),
    ("Unloadable", "data_can_be_used", "the data of the workload Unloadable fails: FileNotFoundError: .*points.npz"),
    ("Labels", "labels_are_classes", "the training labels are from 1 to 3, and the network has 3 outputs: expected"),
    ("Fractions", "labels_are_classes", "the training targets are of type float32: labels are whole numbers"),
    ("Drawn", "data_is_the_same_each_time", "loaded twice has two sets of data: load the same examples"),
    ("Hashed", "data_is_the_same_each_time", "has other data in another process: load the same examples"),
    ("Parameterless", "network_can_be_used", "has no parameters, so there is nothing to train"),
    ("Dropping", "network_can_be_used", "draws random numbers when it is evaluated: give its __call__ an argument"),
    ("Raising", "network_can_be_used", "the network of the workload Raising fails: RuntimeError: out of neurons"),
    ("Failing", "network_can_be_used", r"on inputs float32\[batch, 3\] fails: TypeError: dot_general"),
    ("Nothing", "network_can_be_used", "cannot be used: TypeError: a builtins.NoneType is no Flax module"),
    ("Fewer", "every_example_is_measured", r"maps 2 examples to float32\[2, 2\], not to logits float32\[2, 3\]"),
    ("MeanLoss", "every_example_is_measured", r"the loss .* is one number, float32\[\], for 2 examples: expected one"),
    (
        "NoLoss",
        "every_example_is_measured",
        "the workload NoLoss has no loss: give a method loss, or derive it from a kind with one",
    ),
    ("WideMetric", "every_example_is_measured", r"the metric accuracy .* is float32\[2, 3\] for 2 examples"),
    ("ListMetrics", "every_example_is_measured", r"the metrics .* are list: expected \{name: float32\[batch\]\}"),
    ("NanMetric", "every_example_is_measured", "the metric ratio of .* is nan for test example 0: return a number"),
    ("Unmeasured", "every_example_is_measured", r"is 'acuracy' \(did you mean 'accuracy'\?\), and it measures loss"),
    ("Ranked", "examples_are_independent", "the metric rank of .* for test example .* among others: compute it from"),
    ("NoisyInputs", "inputs_are_pure", "inputs of .* called twice gives two results: draw nothing in it"),
    ("NoisyAugment", "augment_is_pure", "augment of .* called twice with the same key gives two results"),
    ("WideAugment", "augment_is_pure", r"makes float32\[1, 3\] of float32\[3\]: keep the shapes and types"),
    ("Unlearning", "loss_falls", "the training loss of .* goes from .* in 15 steps with its defaults, sgd and"),
    ("Counting", "training_is_resumed_exactly", "resumed from a saved state is trained to other parameters"),
    ("Centred", "devices_change_nothing", "at step 0 is .* on one device and .* on two, in micro-batches"),
]
# Found by the tests of plugins, which share them.
SHARED = {
    "discovered",
    "imports_nothing_heavy",
    "imports_fast",
    "touches_nothing_on_import",
    "readme_has_the_options",
    "unknown_options_are_refused",
}


def subject(cls: str) -> WorkloadSubject:
    file = BROKEN.with_name("broken_example.py") if cls == "Example" else BROKEN
    return WorkloadSubject(f"{file}:{cls}")


@pytest.mark.parametrize(("cls", "check", "sentence"), FAULTS, ids=[f"{cls}-{check}" for cls, check, _ in FAULTS])
def test_what_each_check_finds(cls: str, check: str, sentence: str) -> None:
    (found,) = [each for each in CHECKS if each.__name__ == check]
    with pytest.raises(CheckFailed, match=sentence) as caught:
        run(found, subject(cls))
    assert "\n" not in str(caught.value)


def test_every_check_finds_something() -> None:
    assert {check for _, check, _ in FAULTS} == {check.__name__ for check in CHECKS} - SHARED


@pytest.mark.parametrize("cls", ["Right", "Numbers"])
def test_a_workload_that_is_right_passes(cls: str) -> None:
    assert [each for each in outcomes(subject(cls), CHECKS, FIRST) if each.state == "failed"] == []


def test_a_workload_that_is_not_there_is_not_discovered() -> None:
    first, *others = outcomes(WorkloadSubject("fashion-mnist-cn"), CHECKS, FIRST)
    assert (first.check, first.state) == ("discovered", "failed")
    assert "(did you mean 'fashion-mnist-cnn'?)" in first.reason
    assert {each.state for each in others} == {"skipped"}


def test_the_suite_has_a_test_for_every_check() -> None:
    tests = [name for name in vars(WorkloadSuite) if name.startswith("test_")]
    assert tests == [f"test_{check.__name__}" for check in CHECKS]


def test_the_suite_refuses_what_does_nothing() -> None:
    with pytest.raises(TypeError, match=r"sets 'plugin', which the suite does not have.*it has overrides, workload"):
        type("TestIt", (WorkloadSuite,), {"plugin": "digits"})
    with pytest.raises(TypeError, match="TestIt replaces test_loss_falls of the suite: say why in overrides"):
        type("TestIt", (WorkloadSuite,), {"workload": "digits", "test_loss_falls": None})


class TestRight(WorkloadSuite):
    workload = f"{BROKEN}:Right(width=3)"


# -------------------------------------------------------------------------------------------------------- the command


def test_the_command_says_what_failed_and_why() -> None:
    result = cli("workloads", "check", f"{BROKEN}:Unequal")
    assert result.exit_code == 1
    assert f"unequal  ({BROKEN})" in result.stdout
    assert (
        "failed   data can be used: the arrays of the training examples have unequal lengths, 95 and 96"
        in result.stdout
    )
    assert f"4 passed, 1 failed, {len(CHECKS) - 5} skipped" in result.stdout


def test_the_command_gives_json() -> None:
    result = cli("workloads", "check", f"{BROKEN}:Raising", "--json")
    shown = json.loads(result.stdout)
    assert result.exit_code == 1
    assert shown["workload"] == "raising"
    assert [each["state"] for each in shown["checks"][:5]] == ["passed"] * 5


def test_no_such_workload() -> None:
    result = cli("workloads", "check", "fashion-mnist-cn")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no workload 'fashion-mnist-cn' is installed (did you mean 'fashion-mnist-cnn'?)" in result.stderr
