"""The learning-rate range test: rules on curves of known shape, a real test on a small data set, the command."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from lrtrain_linear_regression import LinearRegression, expected_losses

import lrtrain
from lrtrain.cli.find_lr import command
from lrtrain.errors import TrainingError, UsageError
from lrtrain.plugins.spec import Spec
from lrtrain.range_test.curve import Curve, Recorder, obstacle, suggest
from lrtrain.range_test.find_lr import STEPS, RangeTest, default_range
from lrtrain.range_test.picture import draw_range_test
from lrtrain.runs.train_config import TrainConfig
from tests.lab import cli, contents

RATES = np.geomspace(1e-6, 1, 601)
CONDITIONS = ["--dataset", "tiny", "--batch-size", "16"]


def recorded(losses: np.ndarray, rates: np.ndarray = RATES) -> Curve:
    recorder = Recorder(len(rates))
    for rate, loss in zip(rates, losses, strict=True):
        recorder.add(rate, loss)
    return recorder.curve()


def valley(rates: np.ndarray) -> np.ndarray:
    """Returns a parabola in the decimal logarithm: 1 at its bottom at 1e-3, 10 at 1e-6 and 1."""
    return 1 + (np.log10(rates) + 3) ** 2


def range_test_of(curve: Curve, peak: float = 0.5) -> RangeTest:
    return RangeTest(Spec.of("sgdr"), peak, TrainConfig(), 1e-6, 1.0, len(RATES), curve)


# --------------------------------------------------------------------------------------------------------- smoothing


def test_the_average_is_that_of_the_definition() -> None:
    losses = np.random.default_rng(0).normal(3, 0.3, len(RATES))
    curve = recorded(losses)
    window = 0.05 * len(RATES)
    for step in (0, 1, 17, 600):
        weights = (1 - 1 / window) ** np.arange(step, -1, -1.0)
        weights /= weights.sum()
        assert curve.smoothed_losses[step] == pytest.approx(weights @ losses[: step + 1], rel=1e-12)
        assert math.log(curve.smoothed_learning_rates[step]) == pytest.approx(
            weights @ np.log(RATES[: step + 1]), rel=1e-12
        )
    np.testing.assert_array_equal(curve.losses, losses)
    np.testing.assert_array_equal(curve.learning_rates, RATES)


def test_a_line_in_the_logarithm_stays_where_it_is() -> None:
    line = 5 - 0.7 * np.log10(RATES)
    curve = recorded(line)
    np.testing.assert_allclose(
        curve.smoothed_losses, 5 - 0.7 * np.log10(curve.smoothed_learning_rates), rtol=0, atol=1e-12
    )


def test_few_steps_are_not_smoothed() -> None:
    rates = np.geomspace(1e-3, 1, 10)
    losses = np.linspace(3, 2, 10)
    curve = recorded(losses, rates)
    np.testing.assert_allclose(curve.smoothed_losses, losses)
    np.testing.assert_allclose(curve.smoothed_learning_rates, rates)


# ------------------------------------------------------------------------------------------------------------- rules


def test_the_minimum_of_a_valley() -> None:
    by_rule = {each.rule: each.learning_rate for each in suggest(recorded(valley(RATES)))}
    assert list(by_rule) == ["minimum / 10", "steepest"]
    # A point of the smoothed curve every hundredth of a decade.
    assert math.log10(by_rule["minimum / 10"]) == pytest.approx(-4, abs=0.02)


def test_the_steepest_of_a_logistic_fall() -> None:
    x = np.log10(RATES)
    losses = 2.3 - 1.5 / (1 + np.exp(-6 * (x + 4))) + np.maximum(x + 1, 0) * 2
    by_rule = {each.rule: each.learning_rate for each in suggest(recorded(losses))}
    assert math.log10(by_rule["steepest"]) == pytest.approx(-4, abs=0.2), "the inflection, at 1e-4"
    assert by_rule["steepest"] < 10 * by_rule["minimum / 10"]


def test_a_recovery_is_not_the_steepest_fall() -> None:
    x = np.log10(RATES)
    fall = 2.3 - 1.5 / (1 + np.exp(-6 * (x + 4)))
    bump = 3 * np.exp(-(((x + 2) / 0.2) ** 2))
    losses = fall + bump + np.maximum(x + 1, 0) * 2 - 0.1 * np.maximum(x + 2, 0)
    curve = recorded(losses)
    slopes = np.gradient(curve.smoothed_losses, np.log(curve.smoothed_learning_rates))
    assert curve.smoothed_learning_rates[np.argmin(slopes)] > 1e-2, "else this would show nothing"
    assert math.log10(suggest(curve)[1].learning_rate) == pytest.approx(-4, abs=0.25)


def test_noise_moves_the_minimum_little() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, len(RATES))
    (first, _) = suggest(recorded(valley(RATES) + noise))
    assert math.log10(first.learning_rate) == pytest.approx(-4, abs=0.4)


def test_it_stops_where_the_smoothed_loss_is_four_times_its_lowest() -> None:
    losses = np.where(RATES < 1e-2, 2 - 0.25 * (np.log10(RATES) + 6), 100.0)
    curve = recorded(losses)
    assert curve.stopped == "the smoothed loss is over 4 times its lowest"
    lowest = curve.smoothed_losses.min()
    assert curve.smoothed_losses[-1] > 4 * lowest
    assert curve.smoothed_losses[:-1].max() <= 4 * lowest
    assert len(curve.losses) < len(RATES)
    assert obstacle(curve) is None


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_it_stops_at_a_loss_that_is_not_finite(loss: float) -> None:
    losses = 3 + np.cos(np.linspace(0, 2, len(RATES)))
    losses[400] = loss
    curve = recorded(losses)
    assert (len(curve.losses), curve.stopped) == (400, f"the loss is {loss}")
    assert np.isfinite(curve.smoothed_losses).all()
    assert obstacle(curve) is None


@pytest.mark.parametrize(
    ("losses", "what"),
    [
        (np.full(601, 2.3), "the loss changes by less than 10% (from 1e-06 to 1): give a higher --end-lr"),
        (
            3 - np.linspace(0, 2, 601),
            "the loss does not rise again below the highest learning rate (from 1e-06 to 1): give a higher --end-lr",
        ),
        (
            1 + np.linspace(0, 2, 601),
            "the loss falls by less than 10% before it rises (from 1e-06 to 1): give a lower --start-lr",
        ),
        (
            np.append([2.0] * 5, [np.nan] * 596),
            "the loss diverged within 5 steps (from 1e-06 to 1.1e-06): give a lower --start-lr",
        ),
    ],
)
def test_no_minimum_no_suggestion(losses: np.ndarray, what: str) -> None:
    test = range_test_of(recorded(losses))
    assert test.obstacle == f"no learning rate can be suggested, as {what} or more --steps"
    assert test.suggestions == ()
    assert test.to_json()["suggestions"] == []
    with pytest.raises(TrainingError, match="no learning rate can be suggested"):
        _ = test.suggestion


def test_the_factor_for_the_schedule() -> None:
    curve = recorded(valley(RATES))
    test = range_test_of(curve, peak=0.5)
    assert test.scale(test.suggestion) == test.suggestion.learning_rate / 0.5
    assert range_test_of(curve, peak=0.0).scale(test.suggestion) is None


@pytest.mark.parametrize(
    ("optimizer", "reduction", "expected"),
    [
        ("sgd", "mean", (1e-4, 10)),
        ("nesterov", "sum", (1e-4 / 32, 10 / 32)),
        ("adam", "sum", (1e-6, 1)),
        ("lion", "mean", (1e-6, 1)),
    ],
)
def test_default_range(optimizer: str, reduction: str, expected: tuple[float, float]) -> None:
    config = TrainConfig(optimizer=optimizer, loss_reduction=reduction, batch_size=32)
    assert default_range(config) == expected


# ----------------------------------------------------------------------------------------------------- a real test


@pytest.fixture
def find(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs ``lrtrain find-lr`` on the small data set, in an empty directory."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    data = ["--data-dir", str(tiny), *CONDITIONS]
    return lambda *arguments: cli("find-lr", *data, *arguments)


Find = Callable[..., Result]


def done(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def real(tiny: Path) -> RangeTest:
    return lrtrain.find_lr("constant(value=0.02)", dataset="tiny", data_dir=tiny, batch_size=16, steps=120)


def test_it_finds_a_minimum(real: RangeTest) -> None:
    assert real.obstacle is None
    assert real.start_lr < real.suggestion.learning_rate < real.end_lr
    assert real.peak == float(np.float32(0.02))
    assert real.steps == 120
    assert str(real.spec).startswith("constant(value=0.02")


def test_the_learning_rates_grow_exponentially(real: RangeTest) -> None:
    expected = np.geomspace(real.start_lr, real.end_lr, 120).astype(np.float32)
    np.testing.assert_array_equal(real.curve.learning_rates, expected[: len(real.curve.losses)])


def test_its_losses_are_those_of_a_run_at_the_same_learning_rates(
    tiny: Path, tmp_path: Path, install_plugin: Callable[..., str]
) -> None:
    """Over several epochs of five steps, the last one of half a batch."""
    name = install_plugin(
        "sweep",
        "import numpy as np\n@dataclass(frozen=True)\nclass Plugin:\n    @hookimpl\n"
        "    def build_schedule(self, context):\n"
        "        return lambda step: float(np.geomspace(1e-4, 1e-1, 15)[int(step)])\n",
    )
    options: dict[str, Any] = {"dataset": "tiny", "data_dir": tiny, "batch_size": 16, "epochs": 3, "devices": 1}
    run = lrtrain.train(name, run_dir=tmp_path / "run", **options)
    with (run.run_dir / "steps.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    test = lrtrain.find_lr("constant", start_lr=1e-4, end_lr=1e-1, steps=15, **options)
    assert len(test.curve.losses) >= 11, "more than two epochs"
    for row, rate, loss in zip(rows, test.curve.learning_rates, test.curve.losses, strict=False):
        assert np.float32(row["learning_rate"]) == np.float32(rate)
        assert np.float32(row["loss"]) == np.float32(loss)


def test_streamed_examples_give_the_same_curve(tiny: Path, real: RangeTest) -> None:
    streamed = lrtrain.find_lr(
        "constant", dataset="tiny", data_dir=tiny, batch_size=16, steps=120, data_on_device="never"
    )
    np.testing.assert_array_equal(streamed.curve.losses, real.curve.losses)


def test_only_build_schedule_is_called(tiny: Path, install_plugin: Callable[..., str]) -> None:
    fails = "        raise RuntimeError('called')\n"
    name = install_plugin(
        "watcher",
        "@dataclass(frozen=True)\nclass Plugin:\n    @hookimpl\n    def on_step(self, run, step):\n"
        f"{fails}    @hookimpl\n    def on_epoch_end(self, run, epoch, history):\n{fails}",
    )
    test = lrtrain.find_lr("constant", name, dataset="tiny", data_dir=tiny, batch_size=16, steps=20)
    assert len(test.curve.losses) > 5, "past the end of an epoch"


def test_a_model_that_gives_nan(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nan_model.py").write_text(
        "import flax.linen as nn\n\nclass Model(nn.Module):\n    @nn.compact\n    def __call__(self, images):\n"
        "        return nn.Dense(3)(images.reshape(len(images), -1)) * float('nan')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(TrainingError, match=r"^the loss is nan before the first update"):
        lrtrain.find_lr("constant", dataset="tiny", data_dir=tiny, batch_size=16, model="nan_model:Model")


def test_no_run_is_touched(find: Find, tiny: Path) -> None:
    lrtrain.train("constant", dataset="tiny", data_dir=tiny, batch_size=16, epochs=1, run_dir="runs/a")
    before = contents(Path())
    assert before
    done(find("--plugin", "constant", "--steps", "120"))
    assert contents(Path()) == before


# ------------------------------------------------------------------------------------------------------- the command


def test_the_summary(find: Find) -> None:
    text = done(find("--plugin", "constant", "--set", "value=0.02", "--steps", "120", "--quiet"))
    lines = text.splitlines()
    assert lines[0].split() == ["learning", "rate", "smoothed", "loss"]
    assert {"minimum / 10", "steepest", "minimum"} <= {" ".join(line.split()[2:]) for line in lines}
    suggestion, also, schedule = lines[-3:]
    assert "(minimum / 10: a tenth of the learning rate at which the smoothed loss is lowest)" in suggestion
    assert also.startswith("also ")
    assert schedule.startswith("schedule    the highest learning rate of constant is 0.02; a factor of ")
    assert list(Path().iterdir()) == [], "nothing is written"


def test_a_schedule_of_zeros(find: Find) -> None:
    text = done(find("--plugin", "constant(value=0)", "--steps", "120"))
    assert "the learning rate of constant is 0 throughout, and no factor changes that" in text


def test_json(find: Find) -> None:
    found = json.loads(done(find("--plugin", "constant(value=0.02)", "--steps", "120", "--json")))
    assert list(found) == [
        "schedule", "suggestions", "obstacle", "start_lr", "end_lr", "steps", "stopped", "window", "learning_rates",
        "losses", "smoothed_learning_rates", "smoothed_losses", "train",
    ]  # fmt: skip
    first, second = found["suggestions"]
    assert [list(first), first["rule"], second["rule"]] == [
        ["rule", "learning_rate", "meaning", "scale"],
        "minimum / 10",
        "steepest",
    ]
    assert first["scale"] == pytest.approx(first["learning_rate"] / 0.02)
    columns = ("learning_rates", "losses", "smoothed_learning_rates", "smoothed_losses")
    assert len({len(found[name]) for name in columns}) == 1
    assert (found["obstacle"], found["train"]["dataset"]) == (None, "tiny")


def test_csv(find: Find) -> None:
    text = done(find("--plugin", "constant", "--steps", "40", "--output", "range.csv", "--json"))
    found = json.loads(text)
    with Path("range.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["step", "learning_rate", "loss", "smoothed_learning_rate", "smoothed_loss"]
    values = np.array(rows, float)
    assert values[:, 0].tolist() == list(range(len(rows)))
    assert values[:, 1].tolist() == found["learning_rates"]
    assert values[:, 4].tolist() == found["smoothed_losses"]


def test_png_of_the_command(find: Find) -> None:
    text = done(find("--plugin", "constant", "--steps", "120", "--output", "range.png"))
    assert text.splitlines()[-1] == "file        range.png"
    assert Path("range.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_no_suggestion_is_exit_code_1_and_the_picture_is_written(find: Find) -> None:
    sweep = ["--start-lr", "1e-12", "--end-lr", "1e-11", "--steps", "20"]
    result = find("--plugin", "constant", *sweep, "--output", "range.svg", "--quiet")
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: no learning rate can be suggested, as the loss changes by less than 10% (from 1e-12 to 1e-11): "
        "give a higher --end-lr or more --steps\n",
    )
    assert Path("range.svg").is_file()


def test_the_default_number_of_steps_is_one() -> None:
    (option,) = (each for each in command.params if each.name == "steps")
    assert option.default == STEPS


# ---------------------------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_test_gives_the_same_picture(tmp_path: Path, suffix: str) -> None:
    test = range_test_of(recorded(valley(RATES)))
    for name in ("a", "b"):
        draw_range_test(test, tmp_path / f"{name}.{suffix}")
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_svg_has_its_labels_as_text(tmp_path: Path) -> None:
    test = range_test_of(recorded(valley(RATES)))
    draw_range_test(test, tmp_path / "range.svg")
    root = ET.parse(tmp_path / "range.svg").getroot()
    found = {"".join(each.itertext()).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")}
    rate = f"{test.suggestion.learning_rate:.2e}"
    assert {
        "learning rate",
        "training loss (cross-entropy, mean per example)",
        "loss of each batch",
        "smoothed loss",
        f"suggestion, minimum / 10: {rate}",
        rate,
        "highest learning rate of sgdr: 5.00e-01",
    } <= found


@pytest.mark.parametrize("losses", [np.full(601, 2.3), np.zeros(601), np.append([2.0], np.full(600, np.nan))])
def test_a_picture_without_a_suggestion(tmp_path: Path, losses: np.ndarray) -> None:
    draw_range_test(range_test_of(recorded(losses), peak=0.0), tmp_path / "range.svg")
    assert "suggestion" not in (tmp_path / "range.svg").read_text()


# ----------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "9"], "steps=9 is refused: expected a whole number from 10 to 100000"),
        (["--steps", "100001"], "steps=100001 is refused: expected a whole number from 10 to 100000"),
        (["--start-lr", "0"], "start-lr=0 is refused: expected a learning rate from 1e-30 to 1e+30"),
        (["--start-lr", "-1"], "start-lr=-1 is refused: expected a learning rate from 1e-30 to 1e+30"),
        (["--start-lr", "nan"], "start-lr=nan is refused: expected a learning rate from 1e-30 to 1e+30"),
        (["--end-lr", "inf"], "end-lr=inf is refused: expected a learning rate from 1e-30 to 1e+30"),
        (
            ["--start-lr", "1", "--end-lr", "1"],
            "start-lr=1 and end-lr=1 are refused: the end is at least twice the start",
        ),
        (["--start-lr", "1", "--end-lr", "0.1"], "start-lr=1 and end-lr=0.1 are refused: the end is at least twice"),
        (["--output", "range.jpg"], "--output range.jpg: expected a name that ends in .png, .svg, .csv"),
        (["--batch-size", "0"], "batch_size=0 is refused: expected a whole number, at least 1"),
        (["--plugin", "sgdr"], "plugins constant and sgdr both build a schedule"),
        (["--dataset", "nosuch"], "there is no data set 'nosuch'"),
    ],
)
def test_refused(find: Find, arguments: list[str], message: str) -> None:
    result = find("--plugin", "constant", "--quiet", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {message}")
    assert list(Path().iterdir()) == [], "nothing is written"


def test_a_file_that_is_there_is_kept(find: Find) -> None:
    Path("range.csv").write_text("kept")
    refused = find("--plugin", "constant", "--output", "range.csv")
    assert (refused.exit_code, refused.stderr) == (
        2,
        "Error: --output range.csv is there already: give another name, or --force to overwrite it\n",
    )
    assert Path("range.csv").read_text() == "kept"
    done(find("--plugin", "constant", "--steps", "120", "--output", "range.csv", "--force"))
    assert Path("range.csv").read_text().startswith("step,learning_rate,")


def test_the_number_of_steps_is_a_number() -> None:
    for steps in (True, 20.0, "20"):
        with pytest.raises(UsageError, match="is refused: expected a whole number from 10 to 100000"):
            lrtrain.find_lr("constant", steps=steps)  # type: ignore[arg-type]


@pytest.mark.parametrize("arguments", [["--help"], ["--plugin", "constant", "--steps", "3"], ["--plugin", "nosuch"]])
def test_an_error_of_usage_comes_before_the_libraries(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\nfrom lrtrain.cli import main\n"
        "try: main(['find-lr', *sys.argv[1:]])\n"
        "finally: print('loaded', *{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert run.returncode == (0 if arguments == ["--help"] else 2)
    imported = set(run.stderr.splitlines()[-1].split())
    assert "loaded" in imported
    assert imported.isdisjoint({"jax", "flax", "optax", "orbax", "matplotlib", "tensorflow_datasets", "rich"})


# ------------------------------------------------------------------------------------------------------ complete runs

REGRESSION = "linear-regression(dim=20, examples=1600)"


@pytest.fixture(scope="module")
def tested() -> RangeTest:
    return lrtrain.find_lr("linear", workload=REGRESSION, epochs=1)


class TestVerify:
    """Complete runs around a suggestion, on a problem whose expected loss has a closed form."""

    def test_the_best_learning_rate_is_that_of_theory(self, tested: RangeTest) -> None:
        verified = lrtrain.verify_lr(tested, seeds=3)
        workload = LinearRegression(dim=20, examples=1600)
        steps = workload.examples // workload.defaults.batch_size
        table = lrtrain.schedule(tested.spec, total_steps=steps)
        rates = np.array([float(table(step)) for step in range(steps)])

        def lost(scale: float) -> float:
            return float(expected_losses(workload, scale * rates)[-1])

        best = min(lost(scale) for scale in np.geomspace(verified.scale / 8, verified.scale * 8, 49))
        assert lost(verified.scale) < 1.5 * best
        assert verified.learning_rate == pytest.approx(verified.scale * tested.peak)
        assert verified.headline.name == "loss"
        assert not verified.on_edge
        assert sum(len(point.values) for point in verified.points) >= 5 + 5 * 3
        assert [point.learning_rate for point in verified.points] == sorted(
            point.learning_rate for point in verified.points
        )

    def test_the_runs_are_around_the_suggestion(self, tested: RangeTest) -> None:
        rates = [point.learning_rate for point in lrtrain.verify_lr(tested).points]
        for factor in (0.25, 0.5, 1, 2, 4):
            assert np.min(np.abs(np.array(rates) / (factor * tested.suggestion.learning_rate) - 1)) < 1e-3

    def test_the_command(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        said = done(cli("find-lr", "--plugin", "linear", "--workload", REGRESSION, "--verify", "--quiet"))
        assert "highest learning rate  loss on held-out examples" in said
        lines = said.splitlines()
        assert lines[-2].startswith("verified    ")
        assert "complete runs of 1 epoch" in lines[-2]
        assert f"makes that {lines[-2].split()[1]}" in lines[-1]
        assert list(tmp_path.iterdir()) == []
        values = json.loads(done(cli("find-lr", "--plugin", "linear", "--workload", REGRESSION, "--verify", "--json")))
        assert values["verified"]["learning_rate"] == pytest.approx(float(lines[-2].split()[1]), rel=0.01)
        assert values["verified"]["headline"] == {"name": "loss", "mode": "min"}

    def test_without_a_suggestion_nothing_is_trained(self) -> None:
        test = range_test_of(recorded(np.ones(len(RATES))))
        with pytest.raises(TrainingError, match="no learning rate can be suggested"):
            lrtrain.verify_lr(test)
        flat = RangeTest(
            Spec.of("constant(value=0)"), 0.0, TrainConfig(), 1e-6, 1.0, len(RATES), recorded(valley(RATES))
        )
        with pytest.raises(TrainingError, match="is 0 throughout"):
            lrtrain.verify_lr(flat)
