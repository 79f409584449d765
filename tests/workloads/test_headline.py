"""Workloads that are judged by another number than the accuracy: what leads, and what is read of runs and pages."""

from __future__ import annotations

import dataclasses
import html
import json
import math
import re
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrtrain
from lrtrain.comparison.merging import merge
from lrtrain.comparison.result import Comparison, read_comparison
from lrtrain.comparison.statistics import compare_pairs
from lrtrain.comparison.verdict import verdict
from lrtrain.errors import UsageError
from lrtrain.plugins.context import EpochInfo
from lrtrain.plugins.loading import activate
from lrtrain.report.write import write_results
from lrtrain.runs import read_run
from lrtrain.workloads.headline import ACCURACY, Headline
from tests.lab import cli, done

SOURCE = '''
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from lrtrain import Dataset, Defaults, Headline, Regression, Split


@dataclass(frozen=True, kw_only=True)
class Line(Regression):
    """Numbers that depend on four others, with noise."""

    defaults: ClassVar[Defaults] = Defaults(epochs=2, batch_size=16, loss_reduction="mean", learning_rate=0.05)

    def data(self, context):
        rng = np.random.default_rng(0)

        def split(count):
            inputs = rng.normal(size=(count, 4)).astype(np.float32)
            return Split(inputs, (inputs @ np.arange(1, 5) + rng.normal(size=count)).astype(np.float32)[:, None])

        return Dataset("line", "1", split(96), split(64))

    def network(self, data):
        import flax.linen as nn

        return nn.Dense(1)


class Missing(Line):
    """The same, judged by a metric of which lower is better."""

    headline: ClassVar[Headline] = Headline("mean_miss", "min")

    def metrics(self, outputs, targets):
        import jax.numpy as jnp

        miss = jnp.abs(outputs - targets)[:, 0]
        return {"mean_miss": miss, "near": miss < 1}


class Near(Missing):
    """The same, judged by a share of which higher is better."""

    headline: ClassVar[Headline] = Headline("near", "max")
'''
JUDGED = {"Line": Headline(), "Missing": Headline("mean_miss", "min"), "Near": Headline("near", "max")}
BETTER, WORSE = "constant(value=0.1)", "linear(init_value=0.0005, end_value=0.0001)"
OPTIONS: dict[str, Any] = {"lr_scales": [1.0], "tuning_seeds": 1, "seeds": 6, "epochs": 2, "holdout": 16}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("workload") / "line.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def compared(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Comparison]:
    """A comparison for each headline; the worse schedule comes first, so that the order is no accident.

    Their networks and losses are the same: what one has trained is what the others would have.
    """
    place = tmp_path_factory.mktemp("compared")
    trained = lrtrain.compare(WORSE, BETTER, workload=f"{source}:Missing", run_dir=place / "Missing", **OPTIONS)
    others = [like(trained.directory, name) for name in JUDGED if name != "Missing"]
    for path in others:
        write_results(read_comparison(path))
    return {path.name: read_comparison(path) for path in (trained.directory, *others)}


def like(path: Path, name: str) -> Path:
    """Copies a run or a comparison of ``Missing`` as one of another workload."""
    copy = path.parent / name
    shutil.copytree(path, copy)
    for file in (*copy.rglob("config.json"), *copy.rglob("comparison.json")):
        values = json.loads(file.read_text(encoding="utf-8"))
        values["train"]["workload"] = values["train"]["workload"].replace(":Missing", f":{name}")
        values.get("about", values)["headline"] = vars(JUDGED[name])
        file.write_text(json.dumps(values), encoding="utf-8")
    return copy


@pytest.fixture(scope="module")
def runs(source: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a run of each headline, and one that is judged by its accuracy."""
    place = tmp_path_factory.mktemp("runs")
    lrtrain.train(BETTER, workload=f"{source}:Missing", run_dir=place / "Missing")
    for name in ("Line", "Near"):
        like(place / "Missing", name)
    data: dict[str, Any] = {"dataset": "tiny", "data_dir": tiny, "batch_size": 36}
    lrtrain.train("constant", run_dir=place / "Usual", epochs=1, **data)
    return place


def finals(comparison: Comparison, name: str) -> dict[str, list[float]]:
    """Returns the values that are reported, read from the files of the trials alone."""
    found = defaultdict(list)
    for path in sorted(comparison.directory.glob("runs/measure-*/outcome.json")):
        outcome = json.loads(path.read_text(encoding="utf-8"))
        value = outcome["test_loss"] if name == "loss" else outcome["test_metrics"][name]
        found[outcome["trial"]["label"]].append(value)
    return found


# ------------------------------------------------------------------------------------------------------- a comparison


@pytest.mark.parametrize("name", JUDGED)
def test_what_leads_is_what_has_the_better_headline(name: str, compared: dict[str, Comparison]) -> None:
    comparison, headline = compared[name], JUDGED[name]
    evidence, found = comparison.evidence, finals(compared[name], headline.name)
    means = {label: float(np.mean(values)) for label, values in found.items()}
    assert (means["constant"] < means["linear"]) == (headline.mode == "min")
    assert evidence.headline == headline
    assert evidence.leaders == ("constant",)
    assert {label: evidence.row(label).score.mean for label in means} == pytest.approx(means)
    (pair,) = evidence.differences
    difference = means[pair.first] - means[pair.second]
    assert pair.mean == pytest.approx(difference)
    assert pair.verdict == ("better" if pair.first == "constant" else "worse")
    sentence = verdict(evidence)[-1]
    amount, unit, low, high = re.findall(r" by (\S+) of (\w+) \(95% interval (\S+) to (\S+),", sentence)[0]
    assert (amount, unit) == (f"{abs(difference):.3g}", headline.name)
    assert 0 < float(low) <= float(amount) <= float(high)
    assert sentence.startswith("constant is better than linear by ")


@pytest.mark.parametrize("name", JUDGED)
def test_its_files_have_the_headline_by_its_name(name: str, compared: dict[str, Comparison]) -> None:
    directory, headline = compared[name].directory, JUDGED[name]
    results = json.loads((directory / "results.json").read_text(encoding="utf-8"))
    assert results["headline"] == results["about"]["headline"] == vars(headline)
    for row in results["schedules"]:
        assert row[headline.name]["mean"] == pytest.approx(np.mean(finals(compared[name], headline.name)[row["label"]]))
        assert row["loss"]["n"] == 6
        assert {"accuracy", "score"}.isdisjoint(row)
    pictures = {path.stem for path in (directory / "pictures").glob("*.png")}
    assert pictures == {"learning-rates", "validation", "headline", "basin", "differences"}


@pytest.mark.parametrize("name", JUDGED)
def test_its_page_and_its_pictures_name_the_headline(name: str, compared: dict[str, Comparison]) -> None:
    directory, headline = compared[name].directory, JUDGED[name]
    text = html.unescape((directory / "report.html").read_text(encoding="utf-8").partition("<script")[0])
    assert f"<title>2 learning-rate schedules on {name.lower()}</title>" in text
    assert f">{headline.name}</button>" in text
    assert f"Final {headline.name}" in text
    assert not re.search(r"accuracy|images|cross-entropy|\bnan\b", text, re.IGNORECASE), text
    heads = re.findall(r'title="[^"]*">([^<]*)</button>', text)
    assert heads.count("loss") == 1
    assert [cell for cell in re.findall(r'<td class="text"[^>]*>([^<]*)', text) if cell in {"constant", "linear"}] == [
        "constant",
        "linear",
    ]
    drawn = "".join(path.read_text(encoding="utf-8") for path in (directory / "pictures").glob("*.svg"))
    assert f">{headline.name} after the last step<" in drawn
    assert f">row minus column ({headline.name})<" in drawn
    assert not re.search(r">[^<]*(accuracy|cross-entropy|percent)", drawn)


@pytest.mark.parametrize("name", JUDGED)
@pytest.mark.parametrize("sort", ["given", "headline", "accuracy", "loss"])
def test_the_terminal_sorts_by_the_headline(name: str, sort: str, compared: dict[str, Comparison]) -> None:
    headline = JUDGED[name]
    by = headline.name if sort == "headline" else sort
    lines = done(cli("compare", "--resume", "--run-dir", compared[name].directory, "--sort", by)).splitlines()
    titles = re.split(r"  +", lines[0])
    assert titles[:2] == ["schedule", headline.name]
    assert titles.count("loss") == 1
    assert [line.split()[0] for line in lines[1:3]] == (
        ["linear", "constant"] if sort == "given" else ["constant", "linear"]
    )
    values = {line.split()[0]: line.split()[1] for line in lines[1:3]}
    means = {label: float(np.mean(each)) for label, each in finals(compared[name], headline.name).items()}
    assert values == {label: f"{mean:.5g}" for label, mean in means.items()}
    assert not re.search(r"accuracy|\bnan\b", "\n".join(lines))


def test_an_order_by_another_number_is_refused(compared: dict[str, Comparison]) -> None:
    result = cli("compare", "--resume", "--run-dir", compared["Line"].directory, "--sort", "mean_miss")
    assert result.exit_code == 2
    assert "'mean_miss' is not one of 'given', 'accuracy', 'loss', 'seconds'" in result.stderr


def test_it_is_read_without_its_workload(compared: dict[str, Comparison], source: Path) -> None:
    whole = compared["Missing"]
    hidden = source.rename(source.with_suffix(".gone"))
    try:
        found = read_comparison(whole.directory)
        assert found.evidence.leaders == ("constant",)
        assert found.evidence.to_json() == whole.evidence.to_json()
        assert cli("report", whole.directory).exit_code == 0
    finally:
        hidden.rename(source)


def test_other_workloads_are_not_merged(compared: dict[str, Comparison], tmp_path: Path) -> None:
    paths = [compared[name].directory for name in ("Line", "Missing")]
    with pytest.raises(UsageError, match=r"Line and Missing cannot be merged: workload is .*:Line in one and"):
        merge(paths, tmp_path / "no")


def test_the_direction_of_a_pair() -> None:
    values = {"low": [0.1, 0.2, 0.15, 0.12, 0.11, 0.13], "high": [0.3, 0.35, 0.4, 0.33, 0.31, 0.3]}
    ((least,), (most,)) = (compare_pairs(values, [("low", "high")], sign) for sign in (-1, 1))
    assert (least.verdict, most.verdict) == ("better", "worse")
    assert dataclasses.replace(least, verdict="worse") == most
    # One that diverged more often is never better.
    values["low"][0] = math.nan
    (pair,) = compare_pairs(values, [("low", "high")], -1)
    assert pair.verdict == "tie"


# --------------------------------------------------------------------------------------------------------------- runs


@pytest.mark.parametrize("name", ["Line", "Near"])
def test_a_run_says_its_headline_as_it_goes(name: str, source: Path, tmp_path: Path) -> None:
    headline = JUDGED[name]
    result = cli("--plugin", BETTER, "--workload", f"{source}:{name}", "--run-dir", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    values = [epoch.value(headline.name) for epoch in read_run(tmp_path / "run").epochs]
    first = result.stdout.splitlines()[0]
    best = min(values) if headline.mode == "min" else max(values)
    assert first.startswith(f"test {headline.name} {values[-1]:.5g} (best {best:.5g}), ")
    assert first.count("loss") == 1
    assert f"epoch   1  test {headline.name} {values[0]:.5g}  " in result.stderr
    assert "examples/s" in result.stderr
    assert "96 training and 64 test examples" in result.stderr
    assert not re.search(r"accuracy|\bnan\b|img|images", result.stdout + result.stderr)


def test_runs_of_several_headlines_are_listed(runs: Path) -> None:
    lines = done(cli("runs", "list", "--dir", runs, "--sort", "accuracy")).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["Usual", "Line", "Missing", "Near"]
    for name, headline in JUDGED.items():
        (line,) = [line for line in lines if line.startswith(name)]
        assert f"  {read_run(runs / name).score:.5g} {headline.name}  " in line
    assert "nan" not in "".join(lines)
    values = {row["name"]: row for row in json.loads(done(cli("runs", "list", "--dir", runs, "--json")))}
    assert "headline" not in values["Usual"]
    for name, headline in JUDGED.items():
        assert values[name]["accuracy"] is None
        assert values[name]["headline"] == {**vars(headline), "value": read_run(runs / name).score}


def test_the_best_run_comes_first(source: Path, tmp_path: Path) -> None:
    for name, plugin in {"a": WORSE, "b": BETTER}.items():
        lrtrain.train(plugin, workload=f"{source}:Line", run_dir=tmp_path / name)
    lines = done(cli("runs", "list", "--dir", tmp_path, "--sort", "accuracy")).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["b", "a"]
    assert cli("report", tmp_path, "--output", tmp_path / "page.html").exit_code == 0
    page = html.unescape((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert f"The lowest loss is {read_run(tmp_path / 'b').score:.5g}, of b." in page


@pytest.mark.parametrize("name", JUDGED)
def test_a_run_is_shown(name: str, runs: Path) -> None:
    headline, run = JUDGED[name], read_run(runs / name)
    text = done(cli("runs", "show", name, "--dir", runs))
    (header,) = [line for line in text.splitlines() if line.startswith("epoch ")]
    assert re.split(r"  +", header)[:2] == ["epoch", headline.name]
    assert header.split().count("loss") == 2, "one of them that of training"
    assert header.endswith("examples/s")
    assert re.search(rf"^ +1 +{re.escape(headline.text(run.epochs[0].value(headline.name)))} ", text, re.MULTILINE)
    assert "--workload" in text
    history = json.loads(done(cli("runs", "show", name, "--dir", runs, "--json")))["history"]
    assert [epoch.get("metrics", {}) for epoch in history] == [epoch.metrics for epoch in run.epochs]


def test_runs_of_other_workloads_are_not_compared_silently(runs: Path) -> None:
    text = done(cli("runs", "compare", "Line", "Missing", "--dir", runs))
    assert "note: not trained under equal conditions: workload is " in text
    assert f"  {read_run(runs / 'Missing').score:.5g} mean_miss" in text
    page = runs / "page.html"
    assert cli("report", runs, "--output", page).exit_code == 0
    text = html.unescape(page.read_text(encoding="utf-8").partition("<script")[0])
    assert "These runs train different workloads" in text
    assert "their results cannot be compared" in text
    assert not re.search(r"accuracy|mean_miss|>near<", text)


# ------------------------------------------------------------------------------------------------------------ plugins


@pytest.mark.parametrize(
    ("given", "headline", "metric", "mode"),
    [
        ("metric=headline", ACCURACY, "test_accuracy", "auto"),
        ("metric=headline", Headline(), "test_loss", "auto"),
        ("metric=headline", Headline("near", "max"), "test_near", "max"),
        ("metric=headline, mode=min", Headline("near", "max"), "test_near", "min"),
        ("metric=test_near", Headline("near", "max"), "test_near", "max"),
        ("metric=test_near", Headline("mean_miss", "min"), "test_near", "auto"),
        ("metric=train_loss", Headline("near", "max"), "train_loss", "auto"),
    ],
)
def test_a_plugin_watches_the_headline(given: str, headline: Headline, metric: str, mode: str) -> None:
    (plugin,) = activate([f"early-stopping({given})"], headline=headline).plugins
    assert (plugin.instance.metric, plugin.instance.mode) == (metric, mode)


def test_a_rule_acts_on_a_metric_of_the_workload(source: Path, tmp_path: Path) -> None:
    rule = "early-stopping(metric=headline, patience=1, min_delta=1000)"
    workload = f"{source}:Missing"
    result = lrtrain.train(BETTER, rule, workload=workload, epochs=4, run_dir=tmp_path / "run")
    assert str(result.stopped).startswith("early-stopping: test_mean_miss has not improved for 1 epoch, best ")


def test_a_metric_that_the_workload_lacks_is_refused_before_anything_is_written(source: Path, tmp_path: Path) -> None:
    run = ("--workload", f"{source}:Missing", "--plugin", BETTER, "--run-dir", tmp_path / "run")
    result = cli(*run, "--plugin", "early-stopping(metric=test_accuracy)")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == (
        "Error: plugin 'early-stopping' watches test_accuracy, which the workload does not measure: it has train_loss, "
        "test_loss, test_mean_miss, test_near"
    )
    assert not (tmp_path / "run").exists()


def test_a_metric_is_an_attribute_of_an_epoch() -> None:
    epoch = EpochInfo(0, 10, 1.0, 2.0, math.nan, 0.1, 1.0, metrics={"near": 0.5})
    assert getattr(epoch, "test_near") == epoch.value("near") == 0.5  # noqa: B009  # no field of the class
    assert dataclasses.asdict(epoch)["metrics"] == {"near": 0.5}
    assert math.isnan(epoch.value("accuracy"))


def test_numbers_in_words() -> None:
    assert ACCURACY.amount(0.00517) == "0.52 points of accuracy"
    assert Headline("bits", "min").amount(0.0123) == "0.0123 of bits"
    assert Headline("bits", "min").best([2.5, math.nan, 2.0]) == 2.0
    assert ACCURACY.best([0.5, 0.75]) == 0.75
    assert math.isnan(Headline().best([]))
