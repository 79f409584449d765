"""``--plugin ./file.py:Class``: the grammar, loading from that file alone, and what a run keeps of it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import lrtrain
from lrtrain.errors import OptionError, PluginError, SpecError
from lrtrain.plugins.discovery import find_plugin
from lrtrain.plugins.loading import activate, load_class
from lrtrain.plugins.spec import Spec, format_value, normal_name, parse_spec, parse_value
from lrtrain.runs.command import reproduce
from lrtrain.runs.reading import read_run
from tests import lab

SOURCE = '''
from __future__ import annotations
from dataclasses import dataclass
from typing import Annotated
from lrtrain import Doc, LearningRate, Schedule, ScheduleContext, hookimpl

@dataclass(frozen=True)
class HalfSpeed:
    """A constant."""

    value: Annotated[LearningRate, Doc("learning rate of every step")] = 0.5

    @hookimpl
    def build_schedule(self, context: ScheduleContext) -> Schedule:
        return lambda step: self.value
'''


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # `-m` puts the current directory on the path of imports, which the command `lrtrain` does not.
    return lab.process(*arguments, PYTHONSAFEPATH="1", **environment)


# -------------------------------------------------------------------------------------------------------- the grammar


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("./mine.py:Mine", "./mine.py:Mine", {}),
        ("mine.py:Mine()", "mine.py:Mine", {}),
        ("/a/b/mine.py:Mine(cycles=4)", "/a/b/mine.py:Mine", {"cycles": 4}),
        ('"./my file (2).py:Mine"(cycles=4)', "./my file (2).py:Mine", {"cycles": 4}),
        ("'./it''s.py:Mine'", "./it's.py:Mine", {}),
        ("'./a=b,c:d.py:Mine'(x=[1, 2])", "./a=b,c:d.py:Mine", {"x": [1, 2]}),
    ],
)
def test_a_file_in_place_of_a_name(text: str, name: str, options: dict[str, object]) -> None:
    spec = parse_spec(text)
    assert spec == Spec(name, options)
    assert parse_spec(str(spec)) == spec
    assert Spec.of(spec.table()) == spec
    # As an option of another plugin, as `join` has them.
    assert parse_value(format_value([spec, 1])) == [spec, 1]


def test_a_file_among_the_values_of_a_spec() -> None:
    spec = parse_spec("join(schedules=[./mine.py:Mine, './a b.py:Mine'(x=1)], names={a: ./mine.py:Mine(x=2)})")
    assert spec.options == {
        "schedules": [Spec("./mine.py:Mine"), Spec("./a b.py:Mine", {"x": 1})],
        "names": {"a": Spec("./mine.py:Mine", {"x": 2})},
    }


@pytest.mark.parametrize(
    "text", ["./mine.py", "./mine.py:", "./mine.py:2", "./mine.py:a-b", "./my file.py:Mine", "'mine'"]
)
def test_what_names_no_class_in_a_file(text: str) -> None:
    with pytest.raises(SpecError):
        parse_spec(text)


def test_a_class_in_a_module_is_no_plugin() -> None:
    with pytest.raises(PluginError, match=r"'mine.txt:Mine' is not the name of a plugin: .* is \./file\.py:Class"):
        activate(["mine.txt:Mine"])


def test_the_sentence_says_how_a_file_is_named() -> None:
    with pytest.raises(SpecError, match=r"names no class in a file: write \./file\.py:Class, with quotes around"):
        parse_spec("./my file.py:Mine")


@pytest.mark.parametrize(
    ("cls", "name"),
    [("Mine", "mine"), ("HalfSpeed", "half-speed"), ("SGDR", "sgdr"), ("WSDCool2", "wsd-cool2"), ("a_b", "a-b")],
)
def test_it_goes_by_the_name_of_the_class(cls: str, name: str) -> None:
    assert normal_name(f"./Some_File.py:{cls}") == name


# ------------------------------------------------------------------------------------------------------------ loading


def test_it_is_a_plugin_like_any(file: Path) -> None:
    rate = lrtrain.schedule("./mine.py:HalfSpeed(value=0.25)", total_steps=4)
    assert [float(rate(step)) for step in range(4)] == [0.25] * 4
    joined = lrtrain.schedule("join(schedules=[./mine.py:HalfSpeed, mine.py:HalfSpeed(value=1)], boundaries=[2])",
                              total_steps=4)  # fmt: skip
    assert [float(joined(step)) for step in range(4)] == [0.5, 0.5, 1, 1]
    with pytest.raises(OptionError, match=r"^plugin 'half-speed' has no option 'valu' \(did you mean 'value'\?\)"):
        activate(["./mine.py:HalfSpeed(valu=1)"])
    set_by_name = activate(["./mine.py:HalfSpeed"], ["half-speed.value=0.75"])
    assert set_by_name.schedule_plugin().instance.value == 0.75


def test_the_path_is_made_absolute_and_nothing_else_can_be_imported(file: Path) -> None:
    (file.parent / "beside.py").write_text("")
    file.write_text(SOURCE + "\nimport beside\n")
    path, modules = list(sys.path), set(sys.modules)
    with pytest.raises(PluginError, match=r"of .*/mine\.py fails to import: ModuleNotFoundError: .*'beside'"):
        activate(["./mine.py:HalfSpeed"])
    assert sys.path == path
    assert not {name for name in set(sys.modules) - modules if name.startswith("_lrtrain_file")}
    file.write_text(SOURCE)
    assert activate(["./mine.py:HalfSpeed"]).schedule_plugin().spec().name == f"{file}:HalfSpeed"
    assert sorted(each.name for each in file.parent.iterdir()) == ["beside.py", "mine.py"], "no __pycache__"


def test_a_changed_file_is_read_again_at_once(file: Path) -> None:
    before = file.stat()
    first = load_class(find_plugin("mine.py:HalfSpeed"))
    assert load_class(find_plugin("mine.py:HalfSpeed")) is first
    file.write_text(SOURCE.replace("= 0.5", "= 0.7"))
    # The size and the time of the old one, by which Python would take its bytecode.
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert load_class(find_plugin("mine.py:HalfSpeed"))().value == 0.7


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("./gone.py:Mine", r"'\./gone\.py:Mine' cannot be read: .*/gone\.py: No such file or directory; put the file"),
        ("./mine.py:HalfSped", r"it has no class 'HalfSped' \(did you mean 'HalfSpeed'\?\)"),
        ("./mine.py:SOURCE", r"it has no class 'SOURCE'"),
        ("./folder.py:Mine", r"cannot be read: .*/folder\.py: Is a directory"),
    ],
)
def test_what_goes_wrong_is_one_sentence(file: Path, spec: str, said: str) -> None:
    (file.parent / "folder.py").mkdir()
    with pytest.raises(PluginError, match=said) as caught:
        activate([spec])
    assert "\n" not in str(caught.value)


def test_the_name_is_taken_by_one_plugin_of_a_run(file: Path) -> None:
    with pytest.raises(OptionError, match="'half-speed' is named twice"):
        activate(["./mine.py:HalfSpeed", f"{file}:HalfSpeed"])


# ------------------------------------------------------------------------------------------------------- the commands


def test_plot_and_show(file: Path) -> None:
    for arguments in (
        ["plot", "--plugin", "./mine.py:HalfSpeed", "--steps", "4"],
        ["plugins", "show", "mine.py:HalfSpeed"],
    ):
        done = process(*arguments)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.startswith(f"half-speed  ({file}; hooks: build_schedule)\n")
    assert f"lrtrain --plugin '{file}:HalfSpeed(value=0.5)' --epochs 3" in done.stdout


def test_nothing_is_imported_from_the_current_directory(file: Path) -> None:
    for name in ("lrtrain_sgdr.py", "sgdr.py", "numpy.py"):
        (file.parent / name).write_text("raise RuntimeError('imported from the current directory')")
    done = process("plot", "--plugin", "sgdr", "--plugin", "./mine.py:HalfSpeed", "--steps", "100")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_run_keeps_the_absolute_path(file: Path, tiny: Path) -> None:
    common = ["--dataset", "tiny", "--data-dir", str(tiny), "--batch-size", "24", "--quiet"]
    done = process("--plugin", "./mine.py:HalfSpeed(value=1e-3)", *common, "--epochs", "1", "--devices", "1")
    assert (done.returncode, done.stderr) == (0, "")
    (directory,) = (file.parent / "runs").iterdir()
    assert directory.name.startswith("half-speed-")
    config = json.loads((directory / "config.json").read_text())
    assert config["plugins"] == [{"plugin": f"{file}:HalfSpeed", "value": 1e-3}]
    assert len(config["versions"][str(file)]) == 12
    words = reproduce(read_run(directory)).words
    assert words[:3] == ("lrtrain", "--plugin", f"{file}:HalfSpeed(value=0.001)")
    assert parse_spec(shlex.split(shlex.join(words))[2]).name == f"{file}:HalfSpeed"
    resume = ["--resume", "--run-dir", str(directory), "--epochs", "2", "--on-schedule-change", "keep"]
    assert process(*resume).returncode == 0
    file.write_text(SOURCE.replace("return lambda step: self.value", "return lambda step: self.value / 2"))
    changed = process("--resume", "--run-dir", str(directory))
    assert changed.returncode == 2
    assert "learning rate at step 0 0.001 in the run and 0.0005 now" in changed.stderr
    file.unlink()
    gone = process("--resume", "--run-dir", str(directory))
    assert (gone.returncode, gone.stderr.count("\n")) == (2, 1)
    assert "mine.py: No such file or directory; put the file there, or name it where it is" in gone.stderr
    shown = process("runs", "show", str(directory))
    assert (shown.returncode, shown.stderr) == (0, "")
