"""``lrtrain workloads``: what is listed and shown, a broken workload included."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab import announce, cli, completed, done, refusal

BROKEN = Path(__file__).parents[2] / "testing" / "workloads" / "broken.py"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs the workloads of `broken.py`: one that is right, and one that is no workload."""
    (tmp_path / "lab_workloads.py").write_text(BROKEN.read_text(encoding="utf-8"), encoding="utf-8")
    points = "right = lab_workloads:Right\nstranger = lab_workloads:Stranger"
    announce(tmp_path, "lab-workloads", points, group="lrtrain.workloads")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("installed")
def test_the_list_has_a_line_for_each() -> None:
    lines = [" ".join(line.split()) for line in done(cli("workloads")).splitlines()]
    assert lines[0] == "name distribution version headline summary"
    assert any(line.startswith("fashion-mnist-cnn lrtrain 0.1.0 accuracy (max) The default: Fashion") for line in lines)
    assert "right lab-workloads 1.0 accuracy (max) Points, and one linear layer." in lines
    (broken,) = [line for line in lines if line.startswith("stranger")]
    assert broken.startswith(
        "stranger lab-workloads 1.0 (broken) workload 'stranger' of lab-workloads 1.0 is not derived"
    )
    assert broken.endswith("fix it, or lrtrain plugins uninstall lab-workloads")


@pytest.mark.usefixtures("installed")
def test_the_list_for_programs() -> None:
    rows = {row["name"]: row for row in json.loads(done(cli("workloads", "list", "--json")))}
    assert rows["right"]["headline"] == {"name": "accuracy", "mode": "max"}
    assert rows["right"]["problems"] == []
    assert rows["stranger"]["headline"] is None
    assert [problem["kind"] for problem in rows["stranger"]["problems"]] == ["broken"]


@pytest.mark.usefixtures("installed")
def test_one_that_two_packages_provide(tmp_path: Path) -> None:
    announce(tmp_path, "other", "right = lab_workloads:Right", group="lrtrain.workloads")
    output = done(cli("workloads", "list"))
    assert output.count("right (duplicate)") == 2
    assert "workload 'right' is also provided by other 1.0: keep one" in output
    said = refusal(cli("workloads", "show", "right"))
    assert said == "workload 'right' is provided by lab-workloads 1.0 and other 1.0: uninstall one of the two"


def test_what_is_shown() -> None:
    output = done(cli("workloads", "show", f"{BROKEN}:Right"))
    assert output.startswith(
        f"right  ({BROKEN}; headline: accuracy, higher is better)\n\nPoints, and one linear layer.\n"
    )
    assert "width   whole number >= 1  4        neurons of the hidden layer\n" in output
    assert "  batch size: 16\n  optimizer: sgd\n  loss reduction: mean\n  learning rate: 0.1\n" in output
    assert "Sizes" not in output
    assert output.endswith(f"Example\n  lrtrain --workload '{BROKEN}:Right(width=4)' --plugin linear\n")


def test_sizes_are_measured() -> None:
    output = done(cli("workloads", "show", f"{BROKEN}:Right(width=5)", "--measure"))
    assert "  training examples: 96, float32[N, 3] to int32[N]\n" in output
    assert "  network: Sequential of 38 parameters\n" in output
    shown = json.loads(done(cli("workloads", "show", f"{BROKEN}:Right", "--measure", "--json")))
    assert shown["sizes"]["network"] == "Sequential of 31 parameters"
    assert shown["defaults"]["learning_rate"] == 0.1
    assert [option["name"] for option in shown["options"]] == ["width"]


def test_a_workload_that_is_not_there() -> None:
    assert "(did you mean 'fashion-mnist-cnn'?)" in refusal(cli("workloads", "show", "fashion-mnist-cn"))


def test_names_are_completed() -> None:
    assert "fashion-mnist-cnn" in completed("lrtrain workloads show fash", 3)
    assert "fashion-mnist-cnn" in completed("lrtrain train --workload fash", 3)
