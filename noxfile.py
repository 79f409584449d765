"""The test sessions: `uv run nox` runs those of `nox.options.sessions`, `uv run nox --list` shows all of them.

Each has an environment of its own, which uv makes in seconds by hard links into its cache; `wheels` builds for others.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from multiprocessing.pool import ThreadPool
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import nox
from uv import find_uv_bin

ROOT = Path(__file__).parent
DIST = ROOT / ".nox" / "dist"
PYTHONS = ["3.11", "3.12", "3.13"]
HERE = next((each for each in PYTHONS if sys.version.startswith(f"{each}.")), PYTHONS[0])
# Found once: `sysconfig`, which looks for it, is not made for two threads that ask it first at the same time.
UV = find_uv_bin()
NAMES = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
# The tests that run where not all do: they use all of lrtrain.
FILES = [
    "tests/cli/test_main.py",
    "tests/data/test_data.py",
    "tests/engine/test_optimizers.py",
    "tests/nn/test_model.py",
    "tests/nn/test_substitution.py",
    "tests/plugins/test_loading.py",
    "tests/plugins/test_options.py",
    "tests/plugins/test_spec.py",
    "tests/test_figures.py",
    "tests/training/test_resume.py",
    "tests/training/test_train.py",
]
# A file at a time for each of two processes, in the order that tests/conftest.py puts them in.
TOGETHER = ["--numprocesses=2", "--dist=loadscope", "--no-loadscope-reorder"]

nox.options.default_venv_backend = "uv"
nox.options.sessions = ["lint", "types", f"tests-{HERE}", "plugins", "third_party"]
# A Python that is not there is skipped, on a build machine too, and none is downloaded.
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"
# Where bytecode is switched off, as in some containers, every process of the tests would compile JAX's sources again.
os.environ["PYTHONDONTWRITEBYTECODE"] = ""
# One program is compiled by many tests: a file of tests took 38 s of a core with what it had compiled before, 104 s
# without; the kit of sgdr, whose programs are all small, 15 and 29. JAX says at length which features of the processor
# XLA chose, whenever it loads one.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".nox" / "compiled"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def sync(session: nox.Session, *options: str) -> None:
    """Makes the environment from the workspace, with the groups and extras of pyproject.toml that are named."""
    session.run_install(
        *("uv", "sync", "--quiet", "--no-default-groups", f"--python={session.virtualenv.location}", *options),
        env={"UV_PROJECT_ENVIRONMENT": session.virtualenv.location},
    )


def wheel(name: str) -> str:
    """Returns the wheel of a package that the session `wheels` has built."""
    return str(next(DIST.glob(f"{name.replace('-', '_')}-[0-9]*.whl")))


@nox.session
def lint(session: nox.Session) -> None:
    """Style and formatting."""
    sync(session, "--only-group=lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Types of the package, strictly."""
    sync(session, "--all-extras", "--group=types")
    session.run("mypy", *session.posargs)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests in tests/, or what `-- ...` says, with core and all plugins; two files at a time."""
    sync(session, "--all-extras", "--group=test")
    session.run("pytest", *TOGETHER, *(session.posargs or ["tests"]))


@nox.session(python=[each for each in PYTHONS if each != HERE])
def pythons(session: nox.Session) -> None:
    """The other Pythons, with the tests that use all of lrtrain, slow ones left out."""
    sync(session, "--all-extras", "--group=test")
    session.run("pytest", *TOGETHER, "-mnot slow", *(session.posargs or FILES))


@nox.session
def wheels(session: nox.Session) -> None:
    """Builds every package, checks what is in it, and starts lrtrain from the wheels alone."""
    shutil.rmtree(DIST, ignore_errors=True)
    session.run_install("uv", "build", "--quiet", "--all-packages", f"--out-dir={DIST}")
    for name in ["lrtrain", *NAMES]:
        check_contents(Path(wheel(name)))
    session.install(*map(wheel, ["lrtrain", *NAMES]))
    session.chdir(session.create_tmp())
    listed = "".join(
        str(session.run("lrtrain", kind, "list", *more, silent=True))
        for kind, more in (("plugins", ["--load"]), ("workloads", []))
    )
    assert "(broken)" not in listed, listed
    assert all(f" {name} " in listed for name in NAMES if name != "lrtrain-fashion-mnist"), listed


def check_contents(path: Path) -> None:
    """Refuses a wheel that lacks a module, data or its licence, or that holds tests or anything else."""
    package, files = path.name.split("-")[0], set(ZipFile(path).namelist())
    wanted = {
        "lrtrain": ["/py.typed"],
        "lrtrain_fashion_mnist": ["/idx.py", "/files/train-images-idx3-ubyte.gz"],
        "lrtrain_char_lm": ["/files/text.xz"],
        "lrtrain_digits": ["/files/digits.csv.gz"],
    }
    assert {f"{package}{end}" for end in wanted.get(package, [])} <= files, files
    assert {f"{package}.py", f"{package}/__init__.py"} & files, files
    assert any(file.endswith(".dist-info/licenses/LICENSE") for file in files), files
    assert all(file.startswith((f"{package}/", f"{package}.py", f"{package}-")) for file in files), files


@nox.session(requires=["wheels"])
@nox.parametrize("name", [nox.param(name, id=name.removeprefix("lrtrain-")) for name in NAMES])
def plugin(session: nox.Session, name: str) -> None:
    """One plugin alone beside core, from wheels, with its own tests."""
    session.install(wheel("lrtrain"), wheel(name), f"--find-links={DIST}", "--group=test")
    session.chdir(session.create_tmp())
    session.run("pytest", f"--config-file={ROOT / 'pyproject.toml'}", str(ROOT / "plugins" / name), *session.posargs)


@nox.session(requires=["wheels"], venv_backend="none")
def plugins(session: nox.Session) -> None:
    """All plugins, each as `plugin` has it, two at a time."""
    failed = []
    # Each environment is made where one was before: bytecode is kept by path, and compiling all of JAX takes 5 s.
    places: SimpleQueue[Path] = SimpleQueue()
    for each in ("one", "other"):
        places.put(ROOT / ".nox" / "alone" / each)
    with ThreadPool(2) as pool:
        for name, passed, said in pool.imap(lambda name: test_alone(name, places), NAMES):
            session.log(f"{name}\n{said}")
            failed += [] if passed else [name]
    if failed:
        session.error(f"not all tests pass of {', '.join(failed)}")


def test_alone(name: str, places: SimpleQueue[Path]) -> tuple[str, bool, str]:
    """Tests a plugin in an environment of its own; returns its name, whether all passed, and what was printed."""
    place, settings = places.get(), ROOT / "pyproject.toml"
    python = place / "bin" / "python"
    steps: list[list[str | Path]] = [
        [UV, "venv", "--quiet", "--clear", f"--python={sys.executable}", place],
        [
            UV,
            "pip",
            "install",
            "--quiet",
            f"--python={python}",
            wheel("lrtrain"),
            wheel(name),
            f"--find-links={DIST}",
            f"--group={settings}:test",
        ],
        [python, "-m", "pytest", "-q", f"--config-file={settings}", ROOT / "plugins" / name],
    ]
    env = {**os.environ, "PYTHONPYCACHEPREFIX": str(ROOT / ".nox" / "bytecode")}
    with TemporaryDirectory() as empty:
        for step in steps:
            done = subprocess.run(
                step, cwd=empty, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
            )
            if done.returncode:
                break
    places.put(place)
    return name, done.returncode == 0, done.stdout


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


@nox.session
def docs(session: nox.Session) -> None:
    """Builds the documentation into docs/_build/html; a warning is an error, and so is a script from a network."""
    sync(session, "--extra=all", "--group=docs")
    site = ROOT / "docs" / "_build" / "html"
    shutil.rmtree(site, ignore_errors=True)
    session.run(
        "sphinx-build",
        "--quiet",
        "--fail-on-warning",
        "--keep-going",
        "--doctree-dir=docs/_build/doctrees",
        "docs",
        str(site),
    )
    for page in site.rglob("*.html"):
        fetched = re.findall(
            r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//[^"]*', page.read_text(encoding="utf-8")
        )
        assert not fetched, (page, fetched)


@nox.session(python=PYTHONS[0])
def minimums(session: nox.Session) -> None:
    """The lowest versions that pyproject.toml allows, with the tests that use all; they may warn of new ones."""
    session.install("--resolution=lowest-direct", "--group=test", ".", *(f"plugins/{name}" for name in NAMES))
    session.run("pytest", *TOGETHER, "-Wignore::DeprecationWarning", *(session.posargs or FILES))


@nox.session
def fuzz(session: nox.Session) -> None:
    """10,000 wrong specs, options, files and command lines, drawn afresh each time, and 5,000 changed files."""
    sync(session, "--extra=all", "--group=test")
    many = {"LRTRAIN_FUZZ": str(10_000 // 4), "LRTRAIN_FILE_FUZZ": "5000"}
    files = ["tests/test_fuzz.py", "tests/test_file_fuzz.py"]
    session.run("pytest", *files, "--timeout=3000", *session.posargs, env=many)


@nox.session
def faults(session: nox.Session) -> None:
    """Kills a run a hundred times, damages its files, fills its disk; writes the table of explanation/durability.md."""
    sync(session, "--extra=all", "--group=test")
    table = ROOT / ".nox" / "faults.md"
    environment = {"LRTRAIN_FAULTS": "100", "LRTRAIN_FAULTS_TABLE": str(table)}
    session.run("pytest", "tests/faults", *session.posargs, env=environment)
    session.log(f"the table is {table}")


@nox.session(venv_params=["--seed"])
def bench(session: nox.Session) -> None:
    """How fast lrtrain is, beside other ways to train; no part of the default set."""
    # Inexact: what pip adds below may stay.
    sync(session, "--inexact", "--extra=all", "--group=bench")
    # Not in the group: only pip can be told where the wheel for the CPU is without a host's name in pyproject.toml.
    session.run_install("python", "-m", "pip", "install", "--quiet", "torch==2.13.0")
    # Each row compiles for itself.
    session.run("python", "-m", "benchmarks", *session.posargs, env={"JAX_COMPILATION_CACHE_DIR": None})


@nox.session(venv_params=["--seed"])
def parity(session: nox.Session) -> None:
    """Schedules and exported code beside PyTorch, transformers, timm and Keras; no part of the default set."""
    # Inexact, and outside the group, for the reasons of `bench`; timm would ask for PyTorch again.
    sync(session, "--inexact", "--extra=all", "--group=test", "--group=parity")
    session.run_install("python", "-m", "pip", "install", "--quiet", "torch==2.13.0")
    session.run_install("python", "-m", "pip", "install", "--quiet", "--no-deps", "timm>=1.0.31")
    session.run("pytest", *(session.posargs or ["tests/parity"]))
