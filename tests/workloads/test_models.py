"""Models as a user gives them: by their place, with options, and made in Python."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lrtrain
from lrtrain.comparison.plan_file import parse_plan
from lrtrain.errors import LrtrainError
from lrtrain.workloads.check import check_fit
from lrtrain.workloads.models import load_model
from tests.lab import cli, done, refusal

NETS = """
from __future__ import annotations
from typing import Any, Callable, Sequence
import flax.linen as nn
from flax import nnx


class Net(nn.Module):
    num_classes: int = 10
    width: int = 4
    drop: float = 0.0
    sizes: Sequence[int] = ()
    activation: Callable[..., Any] = nn.relu

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(self.width)(x.reshape(len(x), -1))
        for size in self.sizes:
            x = nn.Dense(size)(x)
        x = nn.Dropout(self.drop, deterministic=not train)(self.activation(x))
        return nn.Dense(self.num_classes)(x)


class NeedsWidth(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.width)(x)


class Nnx(nnx.Module):
    def __init__(self, width: int, num_classes: int, *, rngs: nnx.Rngs):
        self.first = nnx.Linear(6, width, rngs=rngs)
        self.last = nnx.Linear(width, num_classes, rngs=rngs)

    def __call__(self, x):
        return self.last(nnx.relu(self.first(x)))


def wide(factor: int = 2, num_classes: int = 1):
    return Net(num_classes, width=4 * factor)


def raises():
    raise RuntimeError("no such day")


class Normalised(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train)(nn.Conv(8, (3, 3))(x))
        return nn.Dense(self.num_classes)(nn.max_pool(x, (2, 2), (2, 2)).mean((1, 2)))


class NormalisedNnx(nnx.Module):
    def __init__(self, num_classes: int, *, rngs: nnx.Rngs):
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.last = nnx.Linear(3, num_classes, rngs=rngs)

    def __call__(self, x):
        return self.last(self.norm(x).mean((1, 2)))


made = Net(3, 5)
number = 3
helper = len
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a file of models, which is also the module ``nets_of_a_user``."""
    file = tmp_path / "nets_of_a_user.py"
    file.write_text(NETS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return file


def network(given: Any, num_classes: int | None = 7) -> Any:
    chosen = load_model(given)
    assert chosen is not None
    return chosen.network(num_classes)


@pytest.mark.parametrize("place", ["nets_of_a_user", "./nets_of_a_user.py"])
def test_by_their_place_with_options(nets: Path, place: str) -> None:
    net = network(f"{place}:Net(width=3, sizes=[4, 5])")
    assert (net.num_classes, net.width, net.sizes) == (7, 3, (4, 5))
    assert network(f"{place}:Net(num_classes=2)").num_classes == 2
    assert network(f"{place}:Net(drop=1)").drop == 1.0
    assert network(f"{place}:wide(factor=3)").width == 12
    assert network(f"{place}:wide").num_classes == 7
    assert network(f"{place}:made").width == 5
    module = network(f"{place}:Nnx(width=3)")(nnx.Rngs(0))
    assert module.last.kernel.shape == (3, 7)


def test_the_text_of_a_configuration_is_absolute_and_in_one_order(nets: Path) -> None:
    texts = [f"./{nets.name}:Net(width=3, drop=0.5)", f"{nets}:Net(drop=0.5, width=3)"]
    assert {load_model(text).spec for text in texts} == {f"{nets}:Net(drop=0.5, width=3)"}  # type: ignore[union-attr]
    assert load_model("nets_of_a_user:Net").spec == "nets_of_a_user:Net"  # type: ignore[union-attr]
    assert load_model(None) is None


def test_made_in_python() -> None:
    class Own(nn.Module):
        num_classes: int = 2

        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            return nn.Dense(self.num_classes)(x)

    class OwnNnx(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.layer = nnx.Linear(6, 7, rngs=rngs)

    def of_rngs(random: nnx.Rngs) -> OwnNnx:
        return OwnNnx(random)

    chosen = [load_model(each) for each in (Own, Own(), OwnNnx, of_rngs, lambda: Own(5))]
    assert [each.spec for each in chosen if each] == [
        *("python:Own", "python:Own", "python:OwnNnx", "python:of_rngs", "python:<lambda>")
    ]
    assert network(Own).num_classes == 7
    assert network(Own()).num_classes == 2
    assert network(lambda: Own(5)).num_classes == 5
    assert network(functools.partial(Own, num_classes=4)).num_classes == 4
    for each in (OwnNnx, of_rngs):
        assert network(each)(nnx.Rngs(0)).layer.kernel.shape == (6, 7)
    instance = OwnNnx(nnx.Rngs(0))
    assert network(instance) is instance


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nocolon", "'nocolon' is not of the form package.module:Class or ./file.py:Class"),
        ("nets of a user:Net", "model 'nets of a user:Net' is refused: cannot read"),
        ("no_such_module:Net", "fails to import: ModuleNotFoundError: No module named 'no_such_module'"),
        ("./no_file.py:Net", "no_file.py: No such file or directory; put the file there, or name it where it is"),
        ("nets_of_a_user:Nett", "nets_of_a_user has no 'Nett' .did you mean 'Net'"),
        ("./nets_of_a_user.py:Nett", "nets_of_a_user.py:Nett' fails to import: .*did you mean 'Net'"),
        ("nets_of_a_user:number", "is a builtins.int: expected a Flax module .* its class, or a function"),
        ("nets_of_a_user:helper", "cannot be made: TypeError: len"),
        ("nets_of_a_user:NeedsWidth", "needs its option 'width': give width="),
        ("nets_of_a_user:Net(widht=3)", "has no option 'widht' .did you mean 'width'..; it has num_classes, width"),
        ("nets_of_a_user:Net(width=wide)", "width=wide is refused: expected whole number"),
        ("nets_of_a_user:Net(width=2.5)", "width=2.5 is refused: expected whole number"),
        ("nets_of_a_user:Net(sizes=[1, x])", "sizes=.1, x. is refused: expected list of whole number"),
        ("nets_of_a_user:Nnx(width=true)", "width=true is refused"),
        ("nets_of_a_user:made(width=3)", "is made already, so it takes no options"),
        ("nets_of_a_user:raises", "cannot be made: RuntimeError: no such day"),
        ("python:Net", "the model Net was made in Python: give it again, as model=Net"),
        (3, "is a builtins.int: expected a Flax module"),
        (dict, "is a class that is no Flax module"),
        (np.zeros(3), "is a numpy.ndarray: expected a Flax module"),
        (lambda: 3, "returns a int: expected a Flax module"),
    ],
)
@pytest.mark.usefixtures("nets")
def test_what_is_no_model_is_refused_in_one_sentence(given: Any, message: str) -> None:
    with pytest.raises(LrtrainError, match=message) as caught:
        network(given)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_module_that_is_a_file_here_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in_this_folder.py").write_text("Net = 3\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LrtrainError, match=r"write \./in_this_folder.py:Net for the file here"):
        network("in_this_folder:Net")


class Listed(nn.Module):
    sizes: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(3)(x)


def returns_an_array(rngs: nnx.Rngs) -> jax.Array:
    return jnp.zeros(3)


def fails(rngs: nnx.Rngs) -> nnx.Module:
    raise ValueError("two\nlines")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Listed([[1]]), "the model cannot be used: .*a field of Listed cannot be hashed: give a tuple"),
        (returns_an_array, "the model cannot be used: TypeError: it returns a .*, and no module of flax.nnx"),
        (fails, "the model cannot be used: ValueError: two"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_sentence(model: Any, message: str) -> None:
    split = lrtrain.Split(np.zeros((8, 6), np.float32), np.zeros(8, np.int32))
    with pytest.raises(LrtrainError, match=message) as caught:
        check_fit(lrtrain.Classification(), lrtrain.Dataset("d", "1", split, split, 3), network(model))
    assert "\n" not in str(caught.value)


def test_a_run_in_python_needs_its_model_again(tiny: Path, tmp_path: Path) -> None:
    class Own(nn.Module):
        num_classes: int = 2
        width: int = 4

        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            return nn.Dense(self.num_classes)(nn.relu(nn.Dense(self.width)(x.reshape(len(x), -1))))

    options: Any = {"dataset": "tiny", "data_dir": tiny, "batch_size": 8, "devices": 1}
    run = tmp_path / "run"
    first = lrtrain.train("constant(value=1e-3)", model=Own, run_dir=run, epochs=1, **options)
    assert '"model": "python:Own"' in (run / "config.json").read_text()
    with pytest.raises(lrtrain.UsageError, match="the model Own was made in Python: give it again"):
        lrtrain.train(run_dir=run, resume=True, epochs=2)
    with pytest.raises(lrtrain.UsageError, match="the model computes something else than it did"):
        lrtrain.train(run_dir=run, resume=True, epochs=2, model=Own(width=5, num_classes=3))
    more: Any = {"resume": True, "epochs": 2, "on_schedule_change": "keep"}
    again = lrtrain.train(run_dir=run, model=Own(num_classes=3), **more)
    assert again.steps == 2 * first.steps
    assert "No single command trains it again: its model was made in Python" in done(cli("runs", "show", run))


PLAN = """
[train]
model = "{}"

[[schedules]]
plugin = "constant"

[[schedules]]
plugin = "linear"
"""


def test_the_file_of_a_comparison_names_a_model_beside_it(nets: Path) -> None:
    plan = parse_plan(PLAN.format(f"./{nets.name}:Net(width=3)"), "plan.toml", nets.parent)
    assert plan.train.model == f"{nets}:Net(width=3)"
    with pytest.raises(lrtrain.UsageError, match=r"^plan.toml, line 3: model 'nocolon' is not of the form"):
        parse_plan(PLAN.format("nocolon"), "plan.toml")


def test_a_comparison_trains_a_model_with_options(nets: Path, tiny: Path) -> None:
    options: Any = {"dataset": "tiny", "data_dir": tiny, "batch_size": 18, "epochs": 1, "run_dir": "compared"}
    effort: Any = {"lr_scales": (1,), "tuning_seeds": 1, "seeds": 2}
    lrtrain.compare("constant", "linear", model=f"./{nets.name}:Net(width=3)", **effort, **options)
    (config, *_) = sorted((nets.parent / "compared" / "runs").glob("*/config.json"))
    assert f'"model": "{nets}:Net(width=3)"' in config.read_text()
    assert f'"model {nets}:Net"' in config.read_text()


def test_a_model_in_a_file_from_the_command_line(nets: Path, tiny: Path) -> None:
    words = ["--plugin", "constant(value=1e-3)", "--dataset", "tiny", "--data-dir", tiny, "--batch-size", 8]
    words += ["--devices", 1, "--epochs", 1, "--quiet", "--run-dir", "run"]
    done(cli(*words, "--model", "./nets_of_a_user.py:Net(width=3)"))
    config = (nets.parent / "run" / "config.json").read_text()
    assert f'"model": "{nets}:Net(width=3)"' in config
    assert f'"model {nets}:Net"' in config
    resume = ("--resume", "--run-dir", "run", "--epochs", 2, "--on-schedule-change", "keep", "--quiet")
    assert "was made with model=" in refusal(cli(*resume, "--model", "./nets_of_a_user.py:Net(width=4)"))
    nets.write_text(NETS + "# changed\n", encoding="utf-8")
    said = refusal(cli(*resume))
    assert "the file of model" in said
    assert "--accept-code-change" in said
    done(cli(*resume, "--accept-code-change"))


@pytest.mark.parametrize("name", ["Normalised", "NormalisedNnx"])
def test_batch_statistics_in_the_default_workload(
    name: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(NETS, encoding="utf-8")
    options = ["--dataset=tiny", f"--data-dir={tiny}", "--batch-size=32"]
    for more in (
        ["--plugin=constant", f"--model=./nets.py:{name}", "--epochs=1", *options],
        ["--resume", "--epochs=2", "--on-schedule-change=restart"],
    ):
        result = cli(*more, "--run-dir=run")
        assert result.exit_code == 0, result.stderr
    trained = lrtrain.load("run")
    assert jax.tree.leaves(trained.state), "the averages"
