"""The test sessions: `uv run nox` runs those of `nox.options.sessions`, `uv run nox --list` shows all of them.

Each has an environment of its own, which uv makes in a few seconds by hard links into its cache. `wheels` builds every
package once, for all sessions that install them as a user would.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import nox

ROOT = Path(__file__).parent
DIST = ROOT / ".nox" / "dist"
PYTHONS = ["3.11", "3.12", "3.13"]
HERE = "{}.{}".format(*sys.version_info)
NAMES = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))

nox.needs_version = ">=2025.10"
nox.options.default_venv_backend = "uv"
nox.options.sessions = ["lint", "types", f"tests-{HERE if HERE in PYTHONS else PYTHONS[0]}", "plugin", "third_party"]
# A Python that is not there is skipped, on a build machine too, and none is downloaded.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"

# Where bytecode is switched off, as in some containers, every process of the tests would compile JAX's sources anew.
os.environ["PYTHONDONTWRITEBYTECODE"] = ""


def sync(session: nox.Session, *options: str) -> None:
    """Makes the environment from the workspace, with the groups and extras of pyproject.toml that are named."""
    session.run_install(
        *("uv", "sync", "--quiet", "--no-default-groups", f"--python={session.virtualenv.location}", *options),
        env={"UV_PROJECT_ENVIRONMENT": session.virtualenv.location},
    )


def wheel(name: str) -> str:
    """Returns the wheel of a package that the session `wheels` has built."""
    (path,) = DIST.glob(f"{name.replace('-', '_')}-[0-9]*.whl")
    return str(path)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and formatting."""
    sync(session, "--only-group=lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Types of the package, strictly."""
    sync(session, "--group=types")
    session.run("mypy", *session.posargs)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests in tests/, or those that `-- -m "not slow"` and the like choose, with core and all plugins."""
    sync(session, "--extra=all", "--group=test")
    # Two files at a time: most of the time goes into compiling, which uses one core.
    session.run("pytest", "--numprocesses=2", "--dist=loadscope", *(session.posargs or ["tests"]))


@nox.session
def wheels(session: nox.Session) -> None:
    """Builds every package, checks what is in it, and starts lrtrain from the wheels alone."""
    shutil.rmtree(DIST, ignore_errors=True)
    session.run_install("uv", "build", "--quiet", "--all-packages", f"--out-dir={DIST}")
    for name in ["lrtrain", *NAMES]:
        check_contents(Path(wheel(name)))
    session.install(*map(wheel, ["lrtrain", *NAMES]))
    session.chdir(session.create_tmp())
    listed = str(session.run("lrtrain", "plugins", "list", "--load", silent=True))
    schedules = [name for name in NAMES if name != "lrtrain-fashion-mnist"]
    if "(broken)" in listed or any(f" {name} " not in listed for name in schedules):
        session.error(listed)


def check_contents(path: Path) -> None:
    """Raises AssertionError when a wheel lacks something, or holds something that is none of its business."""
    files = set(ZipFile(path).namelist())
    package = path.name.split("-")[0]
    wanted = {"lrtrain": ["py.typed"], "lrtrain_fashion_mnist": ["__init__.py", "files/train-images-idx3-ubyte.gz"]}
    expected = {f"{package}/{file}" for file in wanted[package]} if package in wanted else {f"{package}.py"}
    assert expected <= files, f"{path.name} lacks {expected - files}"
    assert any(file.endswith(".dist-info/licenses/LICENSE") for file in files), f"{path.name} has no licence"
    foreign = {file for file in files if not file.startswith((f"{package}/", f"{package}.py", f"{package}-"))}
    assert not foreign, f"{path.name} also holds {foreign}"


@nox.session(requires=["wheels"])
@nox.parametrize("name", [nox.param(name, id=name.removeprefix("lrtrain-")) for name in NAMES])
def plugin(session: nox.Session, name: str) -> None:
    """One plugin alone beside core, from wheels, with its own tests."""
    session.install(wheel("lrtrain"), wheel(name), "--group=test")
    session.chdir(session.create_tmp())
    session.run("pytest", f"--config-file={ROOT / 'pyproject.toml'}", str(ROOT / "plugins" / name), *session.posargs)


@nox.session(requires=["wheels"], venv_params=["--seed"])
def third_party(session: nox.Session) -> None:
    """A plugin from outside the workspace: built, installed with pip, tested, trained with, uninstalled."""
    session.install(wheel("lrtrain"), wheel("lrtrain-fashion-mnist"), "pytest")
    with TemporaryDirectory() as outside, session.chdir(outside):
        shutil.copytree(ROOT / "tests" / "third_party" / "lrtrain-zigzag", outside, dirs_exist_ok=True)
        session.run_install("uv", "build", "--quiet", "--wheel", "--out-dir=dist")
        session.run("python", "-m", "pip", "install", "--quiet", *map(str, Path("dist").glob("*.whl")))
        session.run("pytest", "-q")
        command = ("lrtrain", "--plugin=zigzag", "--train-size=2000", "--epochs=1", "--run-dir=run")
        session.run(*command, env={"LRTRAIN_CACHE_DIR": f"{outside}/cache"})
        assert len(Path("run/steps.csv").read_text().splitlines()) == 1 + 8
        session.run("python", "-m", "pip", "uninstall", "--quiet", "--yes", "lrtrain-zigzag")
        said = session.run("lrtrain", "--plugin=zigzag", success_codes=[2], silent=True)
        assert "no plugin 'zigzag' is installed" in str(said), said


@nox.session(python=PYTHONS[0])
def minimums(session: nox.Session) -> None:
    """The lowest versions that pyproject.toml allows, with the tests that use all of them."""
    session.install("--resolution=lowest-direct", "--group=test", ".", *(f"plugins/{name}" for name in NAMES))
    parts = ["data", "loader", "model", "optimizers", "options", "picture", "resume", "training"]
    files = [f"tests/test_{part}.py" for part in parts]
    # Old libraries warn of what newer ones no longer like.
    session.run("pytest", "-Wignore::DeprecationWarning", *(session.posargs or files))


@nox.session
def bench(session: nox.Session) -> None:
    """Time of a training step against two plain ways to write it; no part of the default set."""
    sync(session)
    session.run("python", "-m", "benchmarks.step", *session.posargs)
