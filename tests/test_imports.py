"""What is imported when, and by whom: the start is fast, and the arrows between modules run one way."""

from __future__ import annotations

import ast
import functools
import inspect
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from itertools import pairwise
from pathlib import Path

import pytest

import lrtrain

PACKAGE = Path(lrtrain.__file__).parent
ROOT = Path(__file__).parent.parent
HEAVY = ["jax", "orbax", "tensorflow_datasets", "flax", "optax", "matplotlib", "pydantic", "rich", "numpy"]
# What is compiled, and what it must not know: files, plugins, the command line, and whatever of ours knows those.
COMPILED = [
    "lrtrain/engine/engine",
    "lrtrain/engine/evaluation",
    "lrtrain/engine/training_step",
    "lrtrain/nn/conv",
    "lrtrain/nn/winograd",
]
FOREIGN = ["click", "io", "orbax", "os", "pathlib", "pluggy", "rich", "tensorflow_datasets"]
MODULES = sorted(path.relative_to(PACKAGE.parent).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py"))
# From the ground up; what is on one line knows nothing of the others there.
ROOMS = """
    errors
    files host cache
    extras figures option_fields signals strict_json system_refusal text_table
    plugins
    data nn
    workloads
    engine schedules
    runs
    training
    range_test comparison
    report
    comparing judging verifying
    testing doctor
    cli
    __main__ lrtrain
"""
FLOORS = {name: floor for floor, line in enumerate(ROOMS.split("\n")) for name in line.split()}
PLUGINS = sorted([*ROOT.glob("plugins/*/lrtrain_*.py"), *ROOT.glob("plugins/*/lrtrain_*/*.py")])


def imports(path: Path) -> Iterator[str]:
    """Yields every module that a file imports anywhere, `from a import b` as ``a.b``; only for types is not counted."""
    yield from _imports(ast.parse(path.read_text(encoding="utf-8")))


def _imports(tree: ast.AST, *, for_types: bool = False) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        only_types = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        if only_types and not for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from _imports(node, for_types=for_types)


@functools.cache
def module(name: str) -> set[str]:
    return set(imports(PACKAGE.parent / f"{name}.py"))


def begins(names: set[str], *prefixes: str) -> set[str]:
    """Returns those names that are one of the modules, or inside one."""
    return {name for name in names for prefix in prefixes if f"{name}.".startswith(f"{prefix}.")}


# --------------------------------------------------------------------------------------------------- what a start costs


def loaded(statement: str, *arguments: str) -> list[str]:
    """Returns which of the heavy modules a new process has loaded after the statement."""
    code = f"""
import sys
sys.argv[1:] = {list(arguments)!r}
try:
    {statement}
except SystemExit:
    pass
print("loaded", *sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, text=True, capture_output=True)
    return done.stderr.splitlines()[-1].split()[1:]


def test_the_measure_sees_an_import() -> None:
    assert loaded("import lrtrain.figures, optax") != []


@pytest.mark.parametrize("statement", ["import lrtrain", "import lrtrain.cli", "from lrtrain import Spec, hookimpl"])
def test_importing_is_light(statement: str) -> None:
    assert loaded(statement) == []


@pytest.mark.parametrize("arguments", [
    ["--help"],
    ["--version"],
    ["train", "--help"],
    ["plot", "--help"],
    ["export", "--help"],
    ["find-lr", "--help"],
    ["evaluate", "--help"],
    ["predict", "--help"],
    ["plugins", "list"],
    ["plugins", "list", "--json"],
    ["runs"],
    ["runs", "list", "--json"],
    ["runs", "show", "nosuch"],
    ["completion", "bash"],
    [],
    ["nosuch"],
])  # fmt: skip
def test_a_command_that_trains_nothing_is_light(arguments: list[str]) -> None:
    assert loaded("from lrtrain.cli import main; main()", *arguments) == []


def test_workloads_are_listed_without_jax() -> None:
    assert loaded("from lrtrain.cli import main; main()", "workloads", "list") == ["numpy"]


@pytest.mark.parametrize(
    "arguments", [["--plugin", "nosuch"], ["--plugin", "sgdr("], ["--epochs", "0"], ["evaluate", "nosuch"]]
)
def test_an_error_of_usage_comes_before_the_libraries(arguments: list[str]) -> None:
    assert set(loaded("from lrtrain.cli import main; main()", *arguments)) <= {"numpy"}


def test_a_data_set_is_looked_up_before_jax_is_imported() -> None:
    assert "jax" not in loaded("from lrtrain.cli import main; main()", "--plugin", "constant", "--dataset", "nosuch")


# ------------------------------------------------------------------------------------------------ what is imported when


COMMAND_LINE = {"click", "lrtrain"}
"""All that a command without training needs; everything else is Python's own."""
BEFORE_THE_FIRST_STEP = COMMAND_LINE | {
    "absl",  # optax
    "annotated_types",  # the bounds of options
    "cloudpickle",  # jax, where it is installed
    "etils",  # jax, where it is installed
    "filelock",  # jax, where it is installed
    "flatbuffers",  # jax, where it is installed
    "flax",
    "jax",
    "jaxlib",
    "lrtrain_linear",
    "ml_dtypes",  # jax
    "msgpack",  # flax
    "msgspec",  # the files of a run
    "numpy",
    "opt_einsum",  # jax
    "optax",
    "platformdirs",  # the cache directory, where no variable names it
    "pluggy",
    "pydantic",  # the types of options
    "pydantic_core",
    "pygments",  # jax's debugger
    "rich",  # flax, for summaries of models
    "typing_extensions",
    "typing_inspection",  # pydantic
    "yaml",  # flax, for summaries of models
    "zstandard",  # jax, where it is installed, to compress what it compiles
}
AFTER = {"orbax", "matplotlib"}


@functools.cache
def installed_packages() -> set[str]:
    """Returns the public top-level names that distributions bring, but for Python's own and jax's for accelerators."""
    names = {name for name in packages_distributions() if not name.startswith(("_", "jax_", "nvidia"))}
    return names - set(sys.stdlib_module_names)


def import_times(*arguments: str) -> list[str]:
    """Returns what a command writes to stderr, among it a line for every import as ``-X importtime`` gives it."""
    command = [sys.executable, "-X", "importtime", "-m", "lrtrain", *arguments]
    done = subprocess.run(command, check=True, text=True, capture_output=True)
    return done.stderr.splitlines()


def imported(lines: list[str]) -> set[str]:
    """Returns the installed packages among the imports of such lines, those that were not found left out."""
    modules = [line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")]
    return {name.partition(".")[0] for name in modules} & installed_packages()


@pytest.mark.parametrize("arguments", [["--help"], ["plugins", "list"]])
def test_a_command_without_training_imports_click_alone(arguments: list[str]) -> None:
    assert imported(import_times(*arguments)) <= COMMAND_LINE


def test_runs_are_listed_with_click_and_what_checks_their_files(tmp_path: Path) -> None:
    assert imported(import_times("runs", "list", "--dir", str(tmp_path))) <= COMMAND_LINE | {
        "msgspec",
        "typing_extensions",
    }


def test_checkpoints_of_which_none_was_taken_import_nothing() -> None:
    # The loop asks with every piece of an epoch, the first one included, where the devices would wait for the import.
    calls = "checkpoints.write(); checkpoints.wait(); checkpoints.close()"
    names = "from pathlib import Path; from lrtrain.training.checkpoints import Checkpoints"
    made = f"{names}; checkpoints = Checkpoints(Path('no'))"
    assert loaded(f"{made}; {calls}") == ["numpy"]


@pytest.mark.slow
def test_nothing_unneeded_is_imported_before_the_first_step(tiny: Path, tmp_path: Path) -> None:
    """Once the data is prepared and read: neither tensorflow-datasets nor Orbax nor matplotlib, nor what they bring."""
    run = ["--plugin", "linear", "--dataset", "tiny", "--data-dir", str(tiny), "--epochs", "1", "--batch-size", "32"]
    import_times(*run, "--run-dir", str(tmp_path / "cold"))
    lines = import_times(*run, "--run-dir", str(tmp_path / "warm"))
    (begins,) = [number for number, line in enumerate(lines) if line.startswith("linear: 1 epochs")]
    assert imported(lines[:begins]) - BEFORE_THE_FIRST_STEP == set()
    assert imported(lines[begins:]) >= AFTER
    assert "tensorflow_datasets" not in imported(lines)


# ----------------------------------------------------------------------------------------------------------- the arrows


def test_the_files_are_found() -> None:
    assert len(MODULES) > 30
    assert len(PLUGINS) >= 28


@pytest.mark.parametrize("name", COMPILED)
def test_what_is_compiled_knows_neither_plugins_nor_files_nor_click(name: str) -> None:
    for each in reached(name):
        assert begins(module(each), *FOREIGN) == set(), each


def reached(name: str) -> set[str]:
    """Returns the modules of ours that a module imports, itself and by way of others included."""
    found, new = set(), {name}
    while new:
        found |= new
        names = {each for one in new for each in module(one)}
        new = {each for each in MODULES if begins(names, each.replace("/", "."))} - found
    return found


def test_reached_follows_imports() -> None:
    known = {"lrtrain/engine/engine", "lrtrain/plugins/loading", "lrtrain/plugins/spec"}
    assert known <= reached("lrtrain/training/train")


@pytest.mark.parametrize("name", [each for each in MODULES if not each.startswith("lrtrain/cli/")])
def test_nobody_imports_the_command_line(name: str) -> None:
    allowed = {"lrtrain.cli.main"} if name == "lrtrain/__main__" else set()
    assert begins(module(name), "lrtrain.cli", "click", "rich") == allowed


def test_only_checkpoints_import_orbax() -> None:
    assert [name for name in MODULES if begins(module(name), "orbax")] == ["lrtrain/training/checkpoints"]


def test_only_hookspecs_and_loading_import_pluggy() -> None:
    found = [name for name in MODULES if begins(module(name), "pluggy")]
    assert found == ["lrtrain/plugins/hookspecs", "lrtrain/plugins/loading"]


@functools.cache
def arrows() -> dict[str, set[str]]:
    """Returns for every module of ours those that it imports anywhere in it, for types alone included.

    The public names of `lrtrain` and `lrtrain.runs` are imported when they are first used, and are not counted.
    """
    files = {name.replace("/", ".").removesuffix(".__init__"): PACKAGE.parent / f"{name}.py" for name in MODULES}
    found = {}
    for module_name, path in files.items():
        names = set(_imports(ast.parse(path.read_text(encoding="utf-8")), for_types=True))
        found[module_name] = {name if name in files else name.rpartition(".")[0] for name in names} & set(files)
    return {**found, "lrtrain.runs": set()}


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else name


@pytest.mark.parametrize("name", arrows())
def test_no_import_points_up(name: str) -> None:
    others = {each for each in arrows()[name] if room(each) != room(name)}
    allowed = {each for each in others if FLOORS[room(each)] < FLOORS[room(name)]}
    assert others == allowed


def test_no_modules_import_each_other() -> None:
    # Public names are imported when they are first used.
    graph = {name: others for name, others in arrows().items() if name != "lrtrain"}
    TopologicalSorter({name: others & set(graph) for name, others in graph.items()}).prepare()


def test_a_module_that_is_no_room_lies_on_the_ground_or_above_all() -> None:
    flat = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert flat | rooms | {"lrtrain"} == set(FLOORS)


def folders(root: Path) -> set[str]:
    """Returns the folders below a directory that have Python in them, but for the directory itself."""
    return {path.parent.relative_to(root).as_posix() for path in root.rglob("*.py")} - {"."}


def test_the_tests_lie_in_the_rooms_that_they_test() -> None:
    rooms, tests = folders(PACKAGE), folders(ROOT / "tests")
    # What belongs to no one room.
    apart = {"broken_plugins", "faults", "fixtures", "parity", "third_party"}
    assert {each for each in tests if each.partition("/")[0] not in apart} <= rooms
    assert {each.partition("/")[0] for each in rooms} <= tests
    assert not apart & rooms


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_plugins_import_only_public_names(path: Path) -> None:
    assert begins(set(imports(path)), "lrtrain") <= {"lrtrain", *(f"lrtrain.{name}" for name in lrtrain.__all__)}


def test_what_is_imported_from_lrtrain_is_there() -> None:
    """In every file beside the package: mypy reads the package alone, and few of these run where all tests do."""
    files = [path for folder in ("plugins", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    names = {(path, name.removeprefix("lrtrain.")) for path in files for name in begins(set(imports(path)), "lrtrain")}
    names -= {(path, "lrtrain") for path in files}
    rooms = {name.split("/")[1] for name in MODULES}
    assert {(path, name) for path, name in names if name.partition(".")[0] not in {*lrtrain.__all__, *rooms}} == set()
    assert len(names) > 100


# ----------------------------------------------------------------------------------------------------- the public names


def test_all_is_sorted_and_complete() -> None:
    """The names for type checkers, the table of their homes and `__all__` are one list."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    for_types = {
        alias.asname: f"{node.module}"
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert lrtrain.__all__ == sorted(lrtrain.__all__)
    assert {name: home.removeprefix("lrtrain.") for name, home in for_types.items()} == lrtrain._HOME
    assert sorted(for_types) == lrtrain.__all__


@pytest.mark.parametrize("name", lrtrain.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(lrtrain, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        documentation = inspect.getdoc(value) or ""
        # A dataclass without a docstring has its signature in its place.
        assert documentation
        assert not documentation.startswith(f"{name}(")
    else:
        assert name in documented_assignments()


@functools.cache
def documented_assignments() -> set[str]:
    """Returns the names that are assigned in some module of the package and have a text right below."""
    found = {"hookimpl"}  # pluggy's marker; the docstring of `lrtrain.plugins.hookspecs` says what it does
    for name in MODULES:
        body = ast.parse((PACKAGE.parent / f"{name}.py").read_text(encoding="utf-8")).body
        for before, after in pairwise(body):
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                targets = before.targets if isinstance(before, ast.Assign) else [getattr(before, "target", None)]
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'lrtrain' has no attribute 'scheduel'"):
        getattr(lrtrain, "scheduel")  # noqa: B009
