"""``lrtrain export``: the code runs where lrtrain is not, gives the table, reads well, and never overwrites a file."""

from __future__ import annotations

import ast
import csv
import io
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from hypothesis import example, given, settings
from hypothesis import strategies as st

import lrtrain
from lrtrain.plugins.formula import FUNCTIONS, Piece, parse
from lrtrain.schedules.export.api import write
from lrtrain.schedules.export.expressions import WIDTH, Dialect, Writer
from lrtrain.schedules.export.pieces import MAX_TABLE
from tests.lab import cli
from tests.schedule_examples import ALL, source_of, values_of

STEPS = 235
CODE = ("optax", "torch", "keras")
INFORMAL = """
@dataclass(frozen=True)
class Plugin:
    values: int = 7

    @hookimpl
    def build_schedule(self):
        return lambda step: 0.001 * (1 + step * step % self.values)
"""
STEPPED = """
@dataclass(frozen=True)
class Plugin:
    @hookimpl
    def build_schedule(self):
        return lambda step: 0.1 if step < 7 else 0.2 if step < 30 else 0.1
"""
CROOKED = """
@dataclass(frozen=True)
class Plugin:
    value: LearningRate = 0.5

    @hookimpl
    def build_schedule(self):
        return lambda step: self.value if step < 5 else 2 * self.value

    def formula(self, context):
        return [Piece(6, f"{self.value}"), Piece(None, f"2 * {self.value}")]
"""
HALVES = """
@dataclass(frozen=True)
class Plugin:
    peak: LearningRate = 0.5
    share: Share = 0.25

    @hookimpl
    def build_schedule(self):
        return lambda step: 0.5 * self.peak * (1 + step * self.share) / 0.25

    def formula(self, context):
        return [Piece(None, "0.5 * peak * (1 + t * share) / 0.25", self)]
"""
WITH_NUMBERS = HALVES.replace(
    '"0.5 * peak * (1 + t * share) / 0.25", self', 'f"0.5 * {self.peak} * (1 + t * {self.share}) / 0.25"'
)


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs ``lrtrain export`` in an empty directory."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return lambda *arguments: cli("export", *arguments)


def executed(text: str) -> dict:
    names: dict = {"__name__": "exported"}
    exec(compile(text, "exported.py", "exec"), names)
    return names


def without_torch(text: str) -> str:
    """Returns exported code for PyTorch without what needs PyTorch, which is not here."""
    lines = [line for line in text.splitlines() if not line.startswith("from torch")]
    return "\n".join(lines).replace("(optimizer: Optimizer) -> LambdaLR:", "(optimizer):")


# ------------------------------------------------------------------------------------------------ it runs, and is right

RUN_OPTAX = """
import sys
sys.modules["lrtrain"] = None  # importing it is an error
import importlib
import jax, jax.numpy as jnp, numpy as np, optax
jax.config.update("jax_debug_nans", True)
sys.path.insert(0, sys.argv[1])
count, steps = int(sys.argv[2]), int(sys.argv[3])
schedules = [importlib.import_module(f"exported_{index}").schedule for index in range(count)]
optimizers = [optax.sgd(schedule) for schedule in schedules]

@jax.jit
def mapped(counts):
    return [jax.vmap(schedule)(counts) for schedule in schedules]

@jax.jit
def updated(states):
    done = [optimizer.update(jnp.ones(1), state) for optimizer, state in zip(optimizers, states)]
    return [-updates[0] for updates, _ in done], [state for _, state in done]

eager = [np.broadcast_to(schedule(np.arange(steps)), steps) for schedule in schedules]
states, applied = [optimizer.init(jnp.ones(1)) for optimizer in optimizers], []
for _ in range(3):
    rates, states = updated(states)
    applied.append(rates)
np.savez(sys.argv[1] + "/found.npz", mapped=mapped(jnp.arange(steps, dtype="uint32")), eager=eager,
         applied=np.array(applied).T)
"""


@pytest.mark.slow
def test_optax_code_runs_without_lrtrain_and_gives_the_table(tmp_path: Path) -> None:
    """Computed in float32, whose rounding errors are relative to the highest learning rate."""
    for index, spec in enumerate(ALL):
        (tmp_path / f"exported_{index}.py").write_text(write(source_of(spec, STEPS), "optax"), encoding="utf-8")
    command = [sys.executable, "-W", "error", "-c", RUN_OPTAX, str(tmp_path), str(len(ALL)), str(STEPS)]
    subprocess.run(command, check=True)
    found = np.load(tmp_path / "found.npz")
    for index, spec in enumerate(ALL):
        values = source_of(spec, STEPS).values
        near = {"rtol": 0, "atol": 1e-6 * float(values.max()), "err_msg": spec}
        np.testing.assert_allclose(found["mapped"][index], values, **near)
        np.testing.assert_allclose(found["eager"][index], values, **near)
        np.testing.assert_allclose(found["applied"][index], values[:3], **near)


@pytest.mark.parametrize("spec", ALL)
def test_the_arithmetic_of_the_torch_code_gives_the_table(spec: str) -> None:
    """The function of the step is plain Python; tests/parity has it in PyTorch's own scheduler."""
    source = source_of(spec, STEPS)
    names = executed(without_torch(write(source, "torch")))
    values = [names["BASE_LR"] * names["multiplier"](step) for step in range(STEPS)]
    np.testing.assert_allclose(values, source.values, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("spec", ["sgdr", "wsd(peak_value=1)"])
def test_csv_is_the_table_to_the_last_bit(spec: str) -> None:
    header, *rows = csv.reader(io.StringIO(lrtrain.export(spec, to="csv", total_steps=STEPS)))
    assert header == ["step", "learning_rate"]
    assert [int(step) for step, _ in rows] == list(range(STEPS))
    np.testing.assert_array_equal(np.array([value for _, value in rows], np.float32), values_of(spec, STEPS))


def test_an_option_that_is_edited_changes_all_that_depends_on_it() -> None:
    edited = {
        "wsd": ("PEAK_VALUE = 0.0003", "PEAK_VALUE = 0.01", "wsd(peak_value=0.01)"),
        "warmup-exponential-decay": (
            "DECAY_RATE = 0.01",
            "DECAY_RATE = 0.5",
            "warmup-exponential-decay(decay_rate=0.5)",
        ),
        "cosine-onecycle": ("DIV_FACTOR = 25.0\n", "DIV_FACTOR = 2.0\n", "cosine-onecycle(div_factor=2)"),
    }
    for spec, (before, after, other) in edited.items():
        text = lrtrain.export(spec, to="optax", total_steps=STEPS)
        assert f"\n{before}" in text
        values = executed(text.replace(f"\n{before}", f"\n{after}"))["schedule"](np.arange(STEPS))
        expected = values_of(other, STEPS)
        np.testing.assert_allclose(values, expected, atol=1e-6 * expected.max())


def test_a_number_that_only_happens_to_equal_an_option_keeps_its_digits(install_plugin) -> None:
    text = lrtrain.export(install_plugin("halves", HALVES), to="optax", total_steps=5)
    assert "\nPEAK = 0.5\nSHARE = 0.25\n" in text
    assert "return 0.5 * PEAK * (1 + t * SHARE) / 0.25\n" in text


def test_a_formula_of_numbers_alone_keeps_its_digits(install_plugin) -> None:
    text = lrtrain.export(install_plugin("halves", WITH_NUMBERS), to="optax", total_steps=5)
    assert "return 0.5 * 0.5 * (1 + t * 0.25) / 0.25\n" in text
    assert "PEAK" not in text


# ---------------------------------------------------------------------------------------------------- without a formula


@pytest.mark.parametrize("to", ["optax", "torch"])
def test_a_plugin_without_a_formula_exports_its_table(install_plugin, to: str) -> None:
    text = lrtrain.export(install_plugin("informal", INFORMAL), to=to, total_steps=300)
    assert "\n# The plugin has no formula: these are the values of its table.\n" in text
    if to == "optax":
        values = executed(text)["schedule"](np.arange(310, dtype=np.uint32))
    else:
        names = executed(without_torch(text))
        values = [names["learning_rate"](step) for step in range(310)]
    expected = values_of("informal", 300)
    np.testing.assert_array_equal(np.float32(values), [*expected, *[expected[-1]] * 10])


@pytest.mark.parametrize("to", CODE)
def test_a_table_of_few_values_is_constant_pieces(install_plugin, to: str) -> None:
    text = lrtrain.export(install_plugin("stepped", STEPPED), to=to, total_steps=60)
    assert "TABLE" not in text
    assert "0.1" in text
    assert " < 7" in text
    assert " < 30" in text


def test_a_join_with_a_part_without_a_formula_is_a_table(install_plugin) -> None:
    spec = f"join(schedules=[linear, {install_plugin('informal', INFORMAL)}()], boundaries=[50%])"
    values = executed(lrtrain.export(spec, to="optax", total_steps=200))["schedule"](np.arange(200))
    np.testing.assert_array_equal(values, values_of(spec, 200))


def test_a_table_that_is_too_long_for_code_is_refused_but_not_for_csv(install_plugin) -> None:
    name, total = install_plugin("informal", INFORMAL), MAX_TABLE + 1
    message = f"^plugin 'informal' has no formula, and its table of {total} steps is too long .* take --to csv$"
    with pytest.raises(lrtrain.UsageError, match=message):
        lrtrain.export(name, to="keras", total_steps=total)
    assert lrtrain.export(name, to="csv", total_steps=total).count("\n") == total + 1


def test_a_formula_that_is_not_its_schedule_is_refused(install_plugin) -> None:
    message = "the formula of plugin 'crooked' gives 0.5 at step 5, and its schedule 1: one of the two is wrong"
    with pytest.raises(lrtrain.UsageError, match=f"^{message}$"):
        lrtrain.export(install_plugin("crooked", CROOKED), to="optax", total_steps=60)


# -------------------------------------------------------------------------------------------------------- how it reads


@pytest.mark.parametrize("to", CODE)
def test_all_code_is_formatted_and_free_of_lint(to: str, tmp_path: Path, install_plugin) -> None:
    texts = [write(source_of(spec, STEPS), to) for spec in ALL]
    texts += [lrtrain.export(install_plugin("informal", INFORMAL), to=to, total_steps=STEPS)]
    folder = tmp_path / "exported"
    folder.mkdir()
    for index, text in enumerate(texts):
        (folder / f"exported_{index}.py").write_text(text, encoding="utf-8")
    for arguments in (["check", "--select=E,F,I,W,B,UP", "--ignore=E501"], ["format", "--quiet"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--isolated", "--no-cache", str(folder)]
        done = subprocess.run(command, check=False, text=True, capture_output=True)
        assert (done.returncode, done.stdout.replace("All checks passed!\n", "")) == (0, ""), done.stderr
    for index, text in enumerate(texts):
        formatted = (folder / f"exported_{index}.py").read_text(encoding="utf-8")
        # `ast.unparse` writes every power with spaces, a formatter that of a name or a number without.
        assert formatted.replace(" ** ", "**") == text.replace(" ** ", "**")
        assert all(len(line) <= WIDTH for line in text.splitlines())


def test_the_documentation_shows_what_is_written() -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "export.md").read_text(encoding="utf-8")
    assert "lrtrain export --plugin 'wsd(peak_value=1e-3)' --to optax --steps 5000\n" in page
    assert f"```python\n{lrtrain.export('wsd(peak_value=1e-3)', to='optax', total_steps=5000)}```\n" in page
    assert f"up to {MAX_TABLE:,} steps" in page


def test_code_says_where_it_comes_from() -> None:
    text = lrtrain.export("linear(init_value=1)", to="optax", total_steps=100)
    assert text.splitlines()[:4] == [
        "# Learning rate over 100 steps, written by lrtrain 0.1.0:",
        "# linear(init_value=1.0, end_value=0.0, transition_steps=none, transition_begin=0,",
        "# warmup_steps=0)",
        "",
    ]
    assert "lrtrain" not in "\n".join(text.splitlines()[4:])


PYTHON = Dialect({name: f"np.{name}" for name in (*FUNCTIONS, "pi")})
leaves = st.one_of(
    st.sampled_from(["t", "pi", "0", "1", "1.0", "2.0"]),
    st.integers(0, 10**6).map(str),
    st.floats(1e-6, 1e3).map(repr),
)


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "**"]), inner)
    return st.one_of(
        pairs.map(lambda pair: f"({pair[0]}) {pair[1]} ({pair[2]})"),
        inner.map(lambda each: f"-({each})"),
        st.tuples(st.sampled_from(["sqrt", "cos", "exp", "floor"]), inner).map(lambda pair: f"{pair[0]}({pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"maximum({pair[0]}, {pair[1]})"),
    )


@example("maximum(t, 1.7373708634137301)", 30)
@settings(max_examples=150, deadline=None)
@given(st.recursive(leaves, grown, max_leaves=25), st.integers(30, WIDTH))
def test_an_expression_keeps_its_value_in_lines_however_short(expression: str, width: int) -> None:
    writer = Writer(PYTHON)
    text = writer.text(parse(expression), width)
    assert len(text) <= width
    assert all(len(line) <= WIDTH - 4 for line in writer.lines)
    steps = np.array([1.0, 2, 30, 1000])
    names = {"np": np, "t": steps}
    with np.errstate(all="ignore"):
        # Floats, as everywhere in a formula: Python's own integers would fill the memory with 9 ** 9 ** 9.
        exec(_as_floats("\n".join([*writer.lines, f"value = {text}"])), names)
    expected = Piece(None, expression).values(steps)
    np.testing.assert_allclose(np.broadcast_to(names["value"], steps.shape), expected, rtol=1e-12)


def test_names_that_no_line_is_long_enough_for_are_written_whole() -> None:
    names = ["A" * WIDTH, "B" * WIDTH]
    tree = ast.BinOp(ast.Name(names[0]), ast.Mult(), ast.Name(names[1]))
    assert Writer(PYTHON).text(tree, 80) == " * ".join(names)


def _as_floats(text: str) -> str:
    class Floats(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> ast.expr:
            return ast.parse(f"np.float64({node.value!r})", mode="eval").body

    return ast.unparse(Floats().visit(ast.parse(text)))


# ----------------------------------------------------------------------------------------------------- the command line


def test_the_command_prints_what_python_returns(export: Callable[..., Result]) -> None:
    result = export("--plugin", "wsd", "--set", "peak_value=1", "--to", "optax", "--epochs", "2")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == lrtrain.export("wsd(peak_value=1)", to="optax", total_steps=470, steps_per_epoch=235)
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [([], 2350), (["--epochs", "3", "--steps-per-epoch", "7"], 21), (["--steps", "33"], 33)],
)
def test_length_of_the_run(export: Callable[..., Result], arguments: list[str], steps: int) -> None:
    spec = "piecewise-constant(init_value=1, boundaries_and_scales={1ep: 0.5})"
    result = export("--plugin", spec, "--to", "csv", *arguments)
    assert len(result.stdout.splitlines()) == steps + 1
    first = int("7" if "7" in arguments else "235")
    assert [line.split(",")[1] for line in result.stdout.splitlines()[1:]] == ["1.0"] * min(first, steps) + ["0.5"] * (
        steps - min(first, steps)
    )


def test_output_is_a_new_file(export: Callable[..., Result]) -> None:
    result = export("--plugin", "linear", "--to", "torch", "--steps", "100", "--output", "schedule.py")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "schedule.py  (torch, 100 steps)\n", "")
    assert Path("schedule.py").read_text() == lrtrain.export("linear", to="torch", total_steps=100, steps_per_epoch=235)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "there.py"], "--output there.py is there already: give another name"),
        (["--output", "none/new.py"], "--output none/new.py cannot be written: No such file or directory"),
        (["--epochs", "2", "--steps", "5"], "--epochs and --steps both give the length of the run: give one of them"),
        (["--plugin", "wsd"], "plugins linear and wsd both build a schedule, and a run has one: name only one of them"),
        (["--set", "peak=1"], "plugin 'linear' has no option 'peak'; it has init_value, end_value, transition_steps, "),
        (["--steps", str(2**31)], "total_steps=2147483648 is refused: a run has 1 to 2147483647 steps"),
        (["--to", "jax"], "Invalid value for '--to': 'jax' is not one of 'optax', 'torch', 'keras', 'csv'."),
    ],
)
def test_refused(export: Callable[..., Result], arguments: list[str], message: str) -> None:
    Path("there.py").write_text("kept")
    result = export("--plugin", "linear", "--to", "optax", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {message}")
    assert Path("there.py").read_text() == "kept"


def test_an_unknown_target_in_python_is_refused() -> None:
    with pytest.raises(lrtrain.UsageError, match=r"^to='optx' is no target \(did you mean 'optax'\?\): the"):
        lrtrain.export("linear", to="optx", total_steps=10)
    with pytest.raises(lrtrain.UsageError, match="total_steps=0 is refused"):
        lrtrain.export("linear", to="csv", total_steps=0)


def test_a_schedule_of_zeros_has_a_base_for_torch() -> None:
    assert "\nBASE_LR = 1.0\n" in lrtrain.export("constant(value=0)", to="torch", total_steps=10)
    assert math.isclose(float(lrtrain.export("constant(value=0)", to="csv", total_steps=1).split(",")[-1]), 0)
