"""``lrtrain plugins new``: what it makes is whole, clean and works; it refuses names and overwrites nothing."""

from __future__ import annotations

import doctest
import importlib.util
import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

import lrtrain
from lrtrain.plugins.discovery import find_plugin
from lrtrain.plugins.loading import load_class
from lrtrain.plugins.options import options_of
from lrtrain.plugins.scaffold.package import NOBODY, author_from_git
from tests.lab import cli

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def new(*arguments: str) -> Result:
    return cli("plugins", "new", *arguments)


def made(name: str, *arguments: str) -> Path:
    result = new(name, *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return Path(f"lrtrain-{name}")


def test_the_files_and_the_next_commands() -> None:
    result = new("My_Saw")
    lines = result.stdout.splitlines()
    folder = Path("lrtrain-my-saw")
    files = ["pyproject.toml", "lrtrain_my_saw.py", "tests/test_my_saw.py", "README.md", "LICENSE"]
    assert lines[:5] == [str(folder / file) for file in files]
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == sorted(folder / file for file in files)
    commands = [shlex.split(line) for line in lines if line.startswith("  lrtrain")]
    assert [command[:2] for command in commands] == [["lrtrain", "plugins"]] * 2 + [
        ["lrtrain", "plot"],
        ["lrtrain", "--plugin"],
    ]
    assert not any("$" in (folder / file).read_text() for file in files)


def test_the_metadata_is_like_that_of_the_packages_of_lrtrain() -> None:
    folder = made("saw", "--author", "Zoë Ö")
    data = tomllib.loads((folder / "pyproject.toml").read_text())
    ours = tomllib.loads((ROOT / "plugins" / "lrtrain-wsd" / "pyproject.toml").read_text())
    assert data["build-system"] == ours["build-system"]
    for field in ("version", "readme", "license", "license-files", "requires-python"):
        assert data["project"][field] == ours["project"][field]
    assert data["project"]["dependencies"][0] == ours["project"]["dependencies"][0]
    assert data["project"]["authors"] == [{"name": "Zoë Ö"}]
    assert data["project"]["entry-points"] == {"lrtrain.plugins": {"saw": "lrtrain_saw:Saw"}}
    assert "Zoë Ö\n" in (folder / "LICENSE").read_text()
    text = (folder / "LICENSE").read_text().splitlines()
    assert sum(a != b for a, b in zip(text, (ROOT / "LICENSE").read_text().splitlines(), strict=True)) == 1


@pytest.mark.parametrize("name", ["saw", "learning-rate", "doc", "a1-b2", "x" * 60])
def test_the_schedule_is_its_formula(name: str) -> None:
    folder = made(name)
    module = folder / f"lrtrain_{name.replace('-', '_')}.py"
    cls = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"]["lrtrain.plugins"][name]
    spec = f"{module}:{cls.rpartition(':')[2]}(init_value=1, end_value=0.5, power=2)"
    rate = lrtrain.schedule(spec, total_steps=10)
    expected = [0.5 + 0.5 * (1 - step / 10) ** 2 for step in range(10)]
    np.testing.assert_allclose([float(rate(step)) for step in range(10)], expected, rtol=1e-6)


def test_the_readme_has_the_options() -> None:
    folder = made("saw")
    readme = (folder / "README.md").read_text()
    for option in options_of(load_class(find_plugin(f"{folder}/lrtrain_saw.py:Saw"))):
        assert f"| `{option.name}` | {option.type} | `{option.default}` | {option.doc} |" in readme


def test_the_package_is_clean() -> None:
    folder = made("my-saw")
    module = str(folder / "lrtrain_my_saw.py")
    config = ["--config", str(ROOT / "pyproject.toml")]
    subprocess.run([sys.executable, "-m", "ruff", "check", *config, module], check=True)
    subprocess.run([sys.executable, "-m", "ruff", "check", "--isolated", str(folder)], check=True)
    subprocess.run([sys.executable, "-m", "ruff", "format", "--check", *config, str(folder)], check=True)


@pytest.mark.slow
def test_the_types_are_right() -> None:
    folder = made("my-saw")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", str(folder / "lrtrain_my_saw.py")]
    subprocess.run(command, check=True)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("lrtrain.testing") is None, reason="the kit that its test inherits from is not there"
)
def test_its_own_tests_pass_unchanged(tmp_path: Path) -> None:
    folder = made("my-saw")
    target = tmp_path / "target"
    subprocess.run(["uv", "build", "--quiet", "--wheel", "--out-dir", str(target), str(folder)], check=True)
    (file,) = target.glob("*.whl")
    site = tmp_path / "site"
    install = ["uv", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(file)]
    subprocess.run(install, check=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"],
                          cwd=folder, env=environment, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sgdr", "the name 'sgdr' is taken by lrtrain-sgdr"),
        ("SGDR", "the name 'sgdr' is taken by lrtrain-sgdr"),
        ("cosine_decay", "the name 'cosine-decay' is taken by lrtrain-cosine-decay"),
        ("fashion-mnist", "lrtrain-fashion-mnist 0.1.0 is installed already"),
        ("", "'' is no name for a plugin"),
        ("2fast", "'2fast' is no name for a plugin"),
        ("-saw", "'-saw' is no name for a plugin"),
        ("a b", "'a b' is no name for a plugin"),
        ("a/b", "'a/b' is no name for a plugin"),
        ("../saw", "is no name for a plugin"),
        ("säge", "is no name for a plugin"),
        ("x" * 61, "is no name for a plugin: expected at most 60"),
        ("class", "'class' is a word of Python"),
        ("none", "'none' is a word of Python or of specs"),
        ("lrtrain-saw", "begins with lrtrain, as the package does anyway: give the rest, such as saw"),
    ],
)
def test_names_that_are_refused(name: str, said: str) -> None:
    result = new("--", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(Path().iterdir()) == []


def test_a_name_that_any_distribution_has(install_plugin: object) -> None:
    install_plugin("saw", "", distribution="somebodys-saws")  # type: ignore[operator]
    assert "the name 'saw' is taken by somebodys-saws 1.0" in new("saw", "--directory", "x").stderr


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_nothing_is_overwritten(kind: str) -> None:
    there = Path("lrtrain-saw")
    {"folder": there.mkdir, "file": there.touch, "dangling link": lambda: there.symlink_to("gone")}[kind]()
    result = new("saw")
    assert result.exit_code == 2
    assert "lrtrain-saw is there already, and nothing in it is overwritten: give --directory" in result.stderr
    assert [path.name for path in Path().rglob("*")] == ["lrtrain-saw"]
    assert new("saw", "--directory", "deep/other").exit_code == 0
    assert Path("deep/other/lrtrain_saw.py").is_file()


def test_a_folder_that_cannot_be_made() -> None:
    Path("file").touch()
    result = new("saw", "--directory", "file/saw")
    assert (result.exit_code, result.stderr) == (2, "Error: file/saw cannot be made: Not a directory\n")


def test_one_of_several_processes_makes_it() -> None:
    command = [sys.executable, "-m", "lrtrain", "plugins", "new", "saw"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]  # type: ignore[call-overload]
    said = [process.communicate(timeout=60) for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 2, 2, 2], said
    assert len(list(Path("lrtrain-saw").rglob("*.*"))) == 4, "and LICENSE"
    assert all("lrtrain-saw is there already" in err for _, err in said if err)


def test_one_that_cannot_be_written_whole_is_not_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    written = Path.write_text

    def full(path: Path, *arguments: object, **options: object) -> int:
        if path.name == "README.md":
            raise OSError(28, "No space left on device")
        return written(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "write_text", full)
    result = new("saw")
    assert (result.exit_code, result.stderr) == (2, "Error: lrtrain-saw cannot be made: No space left on device\n")
    assert list(Path().iterdir()) == []
    monkeypatch.setattr(Path, "write_text", written)
    assert new("saw").exit_code == 0


@pytest.mark.parametrize("author", ['a"b', "a\nb", " ", "\x1b[2J", "a\\b"])
def test_authors_that_are_refused(author: str) -> None:
    result = new("saw", "--author", author)
    assert (result.exit_code, list(Path().iterdir())) == (2, [])
    assert "--author" in result.stderr


def test_the_author_is_gits(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Path("gitconfig").absolute()
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    config.write_text("[user]\n  name = Ada L\n")
    assert author_from_git() == "Ada L"
    config.write_text("")
    assert author_from_git() == NOBODY
    monkeypatch.setenv("PATH", "")
    assert author_from_git() == NOBODY


def test_the_example_in_its_docstring_is_true(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = load_class(find_plugin(f"{made('saw')}/lrtrain_saw.py:Saw"))
    text = (plugin.__doc__ or "").replace('"saw(', '"./lrtrain-saw/lrtrain_saw.py:Saw(')
    test = doctest.DocTestParser().get_doctest(text, {}, "saw", None, 0)
    assert doctest.DocTestRunner().run(test) == doctest.TestResults(0, 3)
