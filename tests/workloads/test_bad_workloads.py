"""A workload that cannot be trained ends the command with one sentence, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import cli

BROKEN = Path(__file__).parents[1] / "testing" / "workloads" / "broken.py"
REFUSED = [
    ("MeanLoss", "the loss of the workload MeanLoss is one number, float32[], for 2 examples: expected one number for"),
    (
        "WideMetric",
        "the metric accuracy of the workload WideMetric is float32[2, 3] for 2 examples: expected one number",
    ),
    ("ListMetrics", "the metrics of the workload ListMetrics are list: expected {name: float32[batch]}"),
    ("Unmeasured", "is 'acuracy' (did you mean 'accuracy'?), and it measures loss, accuracy"),
    ("Unequal", "the arrays of the training examples have unequal lengths, 95 and 96"),
    ("Empty", "there are no training examples, or an array of theirs has no axis of examples"),
    ("Texts", "expected numbers"),
    ("Lists", "the training examples have float among them: expected arrays of NumPy"),
    ("Pair", "the data of the workload Pair is tuple: expected lrtrain.Dataset(name, version, train, test)"),
    ("Unsplit", "the data of the workload Unsplit has tuple as its train: expected lrtrain.Split(inputs, targets)"),
    ("Unloadable", "the data of the workload Unloadable fails: FileNotFoundError: [Errno 2] No such file"),
    ("Labels", "the training labels are from 1 to 3, and the network has 3 outputs: expected labels from 0 to 2"),
    ("Fractions", "the training targets are of type float32: labels are whole numbers"),
    ("Parameterless", "model Sequential has no parameters, so there is nothing to train"),
    ("Dropping", "model Sequential draws random numbers when it is evaluated: give its __call__ an argument train"),
    ("Raising", "the network of the workload Raising fails: RuntimeError: out of neurons"),
    ("Failing", "model Sequential on inputs float32[batch, 3] fails: TypeError: dot_general"),
    ("Nothing", "the network of the workload Nothing cannot be used: TypeError: a builtins.NoneType is no Flax module"),
    ("Fewer", "the model maps 2 examples to float32[2, 2], not to logits float32[2, 3]"),
    ("WideAugment", "augment of the workload WideAugment makes float32[1, 3] of float32[3]: keep the shapes and types"),
    (
        "NoLoss",
        "the workload NoLoss has no loss: give a method loss, or derive it from a kind with one, such as lrtrain.",
    ),
    ("Plain", "a workload is a class with @dataclass(frozen=True)"),
    ("Thawed", "is a dataclass that is not frozen: write @dataclass(frozen=True)"),
    ("Stranger", "is not derived from lrtrain.Workload: write class Stranger(lrtrain.Workload)"),
    ("NoDefaults", "write defaults: ClassVar[Defaults] = Defaults(...)"),
    ("Rates", "the default learning rate of workload 'rates' is -1.0: expected a number over 0"),
    ("Direction", "the headline of workload 'direction' has mode='higher': expected min or max"),
    ("Optimizer", "unknown optimizer 'sdg' (did you mean 'sgd'?)"),
    ("Rigth", "fails to import: AttributeError: it has no class 'Rigth' (did you mean 'Right'?)"),
    ("Right(widht=3)", "workload 'right' has no option 'widht' (did you mean 'width'?); it has width"),
    ("Right(width=0)", "workload 'right': width=0 is refused: expected whole number >= 1"),
    ("Right(model=3)", "workload 'right' has no option 'model'"),
]


def sentence(tmp_path: Path, workload: str, *arguments: str) -> str:
    """Returns what a run ends with; it has written nothing."""
    run = ("--workload", workload, "--plugin", "constant", "--run-dir", str(tmp_path / "run"))
    result = cli(*run, *arguments)
    *phases, said = result.stderr.splitlines()
    assert (result.exit_code, result.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert all(phase.endswith(" ...") for phase in phases), result.stderr
    assert said.startswith("Error: ")
    return said.removeprefix("Error: ")


@pytest.mark.parametrize(("workload", "said"), REFUSED, ids=[workload for workload, _ in REFUSED])
def test_what_is_refused(tmp_path: Path, workload: str, said: str) -> None:
    assert said in sentence(tmp_path, f"{BROKEN}:{workload}")


@pytest.mark.parametrize(("name", "said"), [
    ("fashion-mnist-cn", "no workload 'fashion-mnist-cn' is installed (did you mean 'fashion-mnist-cnn'?)"),
    ("fashion-mnist-cnn(width=3)", "workload 'fashion-mnist-cnn' has no option 'width'; it has none"),
    ("./no-such.py:Points", "no-such.py: No such file or directory"),
    ("python:Points", "the workload Points was made in Python: give it again, as workload=Points(...)"),
])  # fmt: skip
def test_a_workload_that_is_not_there(tmp_path: Path, name: str, said: str) -> None:
    assert said in sentence(tmp_path, name)


def test_options_that_a_workload_does_not_take(tmp_path: Path) -> None:
    said = sentence(tmp_path, f"{BROKEN}:Right", "--dataset", "fashion_mnist")
    assert said == (
        "dataset=fashion_mnist is refused: the workload right has data of its own, so leave it out, or give the path "
        "of a .npz file or a folder"
    )
    said = sentence(tmp_path, f"{BROKEN}:Numbers", "--label-smoothing", "0.1")
    assert said == "label_smoothing=0.1 is refused: the targets of the workload Numbers are no classes"


def test_a_metric_that_is_not_finite_ends_a_run(tmp_path: Path) -> None:
    """Only training shows it; the run stays, with the reason."""
    run = ("--workload", f"{BROKEN}:NanMetric", "--plugin", "constant", "--run-dir", str(tmp_path / "run"))
    result = cli(*run)
    assert result.exit_code == 1
    (last,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert "the test ratio is nan after step 5" in last
