"""Runs the guides for authors, of plugins and of workloads, from the first line to the last, as a reader would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lrtrain import LrtrainError, train
from lrtrain.plugins.loading import activate
from lrtrain.schedules.table import build_table, make_context
from tests import markdown
from tests.lab import announce
from tests.markdown import Block

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "how-to" / "writing-plugins.md"
WORKLOADS = ROOT / "docs" / "how-to" / "writing-workloads.md"
GUIDES = pytest.mark.parametrize("guide", [GUIDE, WORKLOADS], ids=["plugins", "workloads"])
END = "--- end of the command:"


def blocks(guide: Path = GUIDE) -> list[Block]:
    return markdown.blocks(guide.read_text(encoding="utf-8"))


class Shell:
    """A shell that keeps its directory and environment from command to command."""

    def __init__(self, directory: Path, **variables: str) -> None:
        self.directory = directory
        self._process = subprocess.Popen(
            ["bash"],
            cwd=directory,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> tuple[str, int]:
        """Returns what the command prints and its exit status."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f'{{ {command}\n}} </dev/null; status=$?; echo; echo "{END} $status $PWD"\n')
        self._process.stdin.flush()
        output = ""
        for line in self._process.stdout:
            if line.startswith(END):
                status, directory = line.removeprefix(END).split(maxsplit=1)
                self.directory = Path(directory.strip())
                return output, int(status)
            output += line
        raise AssertionError(f"the shell ended in {command}:\n{output}")

    def close(self) -> None:
        """Ends the shell."""
        self._process.communicate()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    started = Shell(tmp_path, LRTRAIN=str(ROOT), PATH=path, LRTRAIN_CACHE_DIR=str(tmp_path / "cache"), PYTHONPATH="")
    yield started
    started.close()


def install_dependencies(environment: Path) -> None:
    """Puts what lrtrain needs into the new environment by way of uv's cache: pip would take a minute for it."""
    uv = shutil.which("uv")
    if uv is not None:
        command = [uv, "pip", "install", "--quiet", "--python", environment, "--extra", "tfds"]
        subprocess.run([*command, "--requirements", ROOT / "pyproject.toml"], check=True)
        (packages,) = environment.glob("lib/python*/site-packages")
        copy_bytecode(Path(pytest.__file__).parents[1], packages)


def copy_bytecode(source: Path, target: Path) -> None:
    """Saves Python from compiling the same files, which takes 10 s; it still compiles what has another time or size."""
    for compiled in source.glob("**/__pycache__/*.pyc"):
        copy = target / compiled.relative_to(source)
        if copy.parents[1].is_dir() and not copy.exists():
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(compiled, copy)


def check(command: str, expected: list[str], output: str, status: int) -> None:
    """Checks that the lines expected are among those printed, in order; ``...`` stands for anything."""
    transcript = f"$ {command}\n{output}(status {status})"
    assert status == (2 if expected and expected[0].startswith("Error: ") else 0), transcript
    lines = iter(output.splitlines())
    for line in expected:
        pattern = ".*".join(map(re.escape, line.strip().split("...")))
        assert any(re.fullmatch(pattern, printed.strip()) for printed in lines), f"no line {line!r} in\n{transcript}"


@GUIDES
def test_every_block_is_a_file_or_commands(guide: Path) -> None:
    fences = guide.read_text(encoding="utf-8").count("```")
    assert len(blocks(guide)) * 2 == fences
    for block in blocks(guide):
        assert block.title or block.language == "console"
        assert block.title or list(block.commands())


@pytest.mark.slow
@pytest.mark.timeout(1200)
@GUIDES
def test_every_file_and_command(guide: Path, shell: Shell) -> None:
    for block in blocks(guide):
        if block.title:
            (shell.directory / block.title).write_text(block.text, encoding="utf-8")
            continue
        for command, expected in block.commands():
            output, status = shell.run(command)
            check(command, expected, output, status)
            if command == "python -m venv env":
                install_dependencies(shell.directory / "env")


# ------------------------------------------------------------------------------------------------ the table of mistakes

# How each sentence of the table comes about: what is replaced in the guide's module, and what is then named.
MISTAKES = [
    ("no plugin 'sawtoth'", [], ["sawtoth"]),
    ("ModuleNotFoundError", [("import annotations\n", "import annotations\nimport scpy\n")], ["sawtooth"]),
    ("AttributeError", [("class Sawtooth", "class SawTooth")], ["sawtooth"]),
    ("a plugin is a class with", [("@dataclass(frozen=True)\n", "")], ["sawtooth"]),
    ("is a dataclass that is not frozen", [("(frozen=True)", "")], ["sawtooth"]),
    ("has a hook 'build_shedule'", [("def build_schedule", "def build_shedule")], ["sawtooth"]),
    ("has a method build_schedule", [("    @hookimpl\n", "")], ["sawtooth"]),
    ("implements no hook", [("    @hookimpl\n", ""), ("def build_schedule", "def build")], ["sawtooth"]),
    ("has 'ctx' as an argument", [("context: ScheduleContext", "ctx")], ["sawtooth"]),
    ("gives 'context'", [("context: ScheduleContext", "context: ScheduleContext = None")], ["sawtooth"]),
    ("have a type that is not defined", [("Duration, L", "L"), ('Duration("25%")', "None")], ["sawtooth"]),
    ("gives -0.1 at step 2", [("return self", "return -0.1 if step == 2 else self")], ["sawtooth"]),
    ("both build a schedule", [], ["sawtooth", "other"]),
    ("is provided by", [("", "")], ["sawtooth"]),
]


def rows(guide: Path = GUIDE) -> list[str]:
    """Returns the first column of the table."""
    table = guide.read_text(encoding="utf-8").partition("| what lrtrain says |")[2]
    return re.findall(r"^\| `(.*?)` \|", table, flags=re.MULTILINE)


def test_the_table_has_no_other_rows() -> None:
    assert len(rows()) == len(MISTAKES)
    for row, (fragment, _, _) in zip(rows(), MISTAKES, strict=True):
        assert fragment in row


@pytest.mark.parametrize(("fragment", "changes", "named"), MISTAKES, ids=[each[0] for each in MISTAKES])
def test_what_lrtrain_says(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fragment: str,
    changes: list[tuple[str, str]],
    named: list[str],
) -> None:
    (source,) = [block.text for block in blocks() if block.title == "lrtrain_sawtooth.py"]
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    (tmp_path / "lrtrain_sawtooth.py").write_text(source, encoding="utf-8")
    announce(tmp_path, "lrtrain-sawtooth", "sawtooth = lrtrain_sawtooth:Sawtooth", version="0.1.0")
    if "other" in named:
        announce(tmp_path, "other", "other = lrtrain_sawtooth:Sawtooth")
    if fragment == "is provided by":
        announce(tmp_path, "other", "sawtooth = other:Other")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "lrtrain_sawtooth", raising=False)
    with pytest.raises(LrtrainError) as caught:
        build_table(activate(named), make_context(100, 10))
    (row,) = [row for row in rows() if fragment in row]
    assert row in str(caught.value)


# What is replaced in the module of the guide for workloads, by a fragment of the sentence that it leads to.
OF_WORKLOADS = [
    ("is not derived", "class Moons(Classification)", "class Moons"),
    ("unequal lengths", "Split(points[:1000], classes[:1000])", "Split(points[:1000], classes[:999])"),
    ("labels are from 1", "classes[:1000])", "classes[:1000] + 1)"),
    ("no parameters", "nn.Sequential([nn.Dense(self.width), nn.relu, nn.Dense(2)])", "nn.Sequential([nn.relu])"),
    ("draws random", "nn.relu, nn.Dense(2)", "nn.Dropout(0.5, deterministic=False), nn.Dense(2)"),
    (
        "is one number",
        "    def network(",
        "    def loss(self, *given):\n        return super().loss(*given).mean()\n\n    def network(",
    ),
    ("did you mean 'accuracy'", "    width:", "    headline: ClassVar = Headline('acuracy', 'max')\n    width:"),
]


def test_the_table_of_workloads_has_no_other_rows() -> None:
    assert len(rows(WORKLOADS)) == len(OF_WORKLOADS)
    for row, (fragment, _, _) in zip(rows(WORKLOADS), OF_WORKLOADS, strict=True):
        assert fragment in row


@pytest.mark.parametrize(("fragment", "old", "new"), OF_WORKLOADS, ids=[each[0] for each in OF_WORKLOADS])
def test_what_lrtrain_says_of_workloads(tmp_path: Path, fragment: str, old: str, new: str) -> None:
    (source,) = [block.text for block in blocks(WORKLOADS) if block.title == "lrtrain_moons.py"]
    assert old in source
    changed = source.replace(old, new).replace("import Classification, ", "import Classification, Headline, ")
    (tmp_path / "moons.py").write_text(changed, encoding="utf-8")
    with pytest.raises(LrtrainError) as caught:
        train("constant", workload=f"{tmp_path}/moons.py:Moons", run_dir=tmp_path / "run")
    (row,) = [row for row in rows(WORKLOADS) if fragment in row]
    assert row in str(caught.value)
