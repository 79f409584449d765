"""Results, pictures and pages of comparisons that were really trained, in a real browser where it matters."""

from __future__ import annotations

import html
import importlib
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner

import lrtrain
from lrtrain.cli import main
from lrtrain.cli.compare import progress
from lrtrain.comparison.conduct import compare_plan
from lrtrain.comparison.plan import Effort, Plan
from lrtrain.comparison.result import Comparison, read_comparison
from lrtrain.comparison.rows import Row
from lrtrain.comparison.table import COLUMNS, Cell, Column, Table, number
from lrtrain.figures import look
from lrtrain.plugins.spec import Spec
from lrtrain.report.comparison_page import compare_command, page_of_comparison
from lrtrain.report.numbers import differences, final_scores, measured_runs, tunings
from lrtrain.report.write import write_results
from lrtrain.runs.train_config import TrainConfig
from tests.lab import ROOT

EVIL = "<img src=x onerror=alert(1)>$x_1$ </script><script>alert(2)</script>"
ROWS = {"constant": "constant(value=0.05)", EVIL: "linear(init_value=0.1)", "hot": "constant(value=1e30)"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def compared(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """A comparison with a label that attacks, and a schedule that diverges, reported."""
    rows = tuple(Row(label, Spec.of(spec)) for label, spec in ROWS.items())
    train = TrainConfig(epochs=2, batch_size=16, dataset="tiny", data_dir=tiny, loss_reduction="mean")
    plan = Plan(rows, train, effort=Effort((0.5, 1.0, 2.0), 2, 3, 2), holdout=20)
    comparison = compare_plan(plan, directory=tmp_path_factory.mktemp("compared") / "c")
    write_results(comparison)
    return comparison


def test_results_are_those_of_the_runs(compared: Comparison) -> None:
    results = json.loads((compared.directory / "results.json").read_text())
    for schedule in results["schedules"]:
        measured = compared.measured(schedule["label"])
        if schedule["label"] == "hot":
            assert schedule["accuracy"]["diverged"] == 3
            assert schedule["accuracy"]["mean"] is None
        else:
            values = [outcome.test_accuracy for outcome in measured]
            assert schedule["accuracy"]["mean"] == pytest.approx(np.mean(np.array(values, float)))
    assert results["verdict"]


def test_tables_behind_the_pictures(compared: Comparison) -> None:
    finals = final_scores(compared)
    assert list(finals) == list(ROWS)
    assert np.isnan(finals["hot"]).all()
    table = differences(compared.evidence, compared.standing.results)
    assert set(table.labels) == {"constant", EVIL}
    expected = np.mean(finals[table.labels[0]] - finals[table.labels[1]])
    np.testing.assert_allclose(table.means, [[np.nan, expected], [-expected, np.nan]])
    assert expected >= 0, "the best mean is on top"
    for tuning in tunings(compared):
        highest = {"constant": 0.05, EVIL: 0.1, "hot": 1e30}[tuning.label]
        assert {0.5, 1.0, 2.0} <= set((tuning.rates / highest).round(5))
        assert tuning.failed.all() == (tuning.label == "hot")
        assert np.isfinite(tuning.losses).all() == (tuning.label != "hot")


def test_table_of_the_page_says_each_number_as_the_terminal_does(compared: Comparison) -> None:
    table = page_of_comparison(compared, measured_runs(compared)).table
    heads = [column.title for column in table.columns]
    for cells in table.rows:
        row = dict(zip(heads, cells, strict=True))
        values = final_scores(compared)[row["schedule"].text]
        assert row["n"].text == "3"
        if row["schedule"].text != "hot":
            assert row["accuracy"].text == f"{np.mean(values):.4f}"
            assert row["sd"].text == f"{np.std(values, ddof=1):.4f}"


def cells_of_page(report: Path) -> list[list[str]]:
    table = re.search("<table>.*</table>", report.read_text(encoding="utf-8"), re.DOTALL)
    assert table is not None
    rows = re.findall("<tr>(.*?)</tr>", table[0], re.DOTALL)
    return [
        [html.unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall("<t[hd].*?</t[hd]>", row)] for row in rows
    ]


def assert_terminal_and_page_agree(comparison: Comparison, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """Compares their tables cell by cell, and returns the page's rows."""
    progress.show(comparison, write_results(comparison), sort="accuracy", as_json=False)
    page = cells_of_page(comparison.report)
    # What stands between two columns, a row of the terminal has too, apart from the alignment.
    printed = capsys.readouterr().out.splitlines()[: len(page)]
    assert ["".join(line.split()) for line in printed] == ["".join("".join(row).split()) for row in page]
    return page


def test_terminal_and_page_show_the_same_cells(compared: Comparison, capsys: pytest.CaptureFixture[str]) -> None:
    heads, *rows = assert_terminal_and_page_agree(compared, capsys)
    assert heads == [column.title for column in COLUMNS] + ["problem"]
    results = {
        schedule["label"]: schedule
        for schedule in json.loads((compared.directory / "results.json").read_text())["schedules"]
    }
    for cells in rows:
        row, result = dict(zip(heads, cells, strict=True)), results[cells[0]]
        accuracy = result["accuracy"]
        assert row["scale"] == f"{result['scale']:.3g}{' (edge)' if result['on_edge'] else ''}"
        assert (row["n"], row["failed"]) == (str(accuracy["n"]), str(accuracy["diverged"] + accuracy["collapsed"]))
        assert row["accuracy"] == ("-" if accuracy["mean"] is None else f"{accuracy['mean']:.4f}")
        assert row["peak lr"] == f"{result['rates'][1]:.3g}"
        assert row["problem"] == (result["problem"] or "-")
        points = re.search(r"([-+][\d.]+) \(", row["difference"])
        pair = [
            each for each in map(vars, compared.evidence.differences) if cells[0] in {each["first"], each["second"]}
        ]
        if points and points[1] != "+0.00":
            sign = 1 if pair[0]["first"] == cells[0] else -1
            assert float(points[1]) == pytest.approx(100 * sign * pair[0]["mean"], abs=0.006)


def test_the_documentation_says_what_each_column_is(monkeypatch: pytest.MonkeyPatch) -> None:
    docs = ROOT / "docs"
    monkeypatch.syspath_prepend(str(docs / "_ext"))
    made = importlib.import_module("from_code").columns()
    assert [line.split(" | ")[0].strip("| ") for line in made.splitlines()[2:]] == [each.title for each in COLUMNS]
    assert "<!-- generated: columns -->" in (docs / "how-to" / "comparing.md").read_text(encoding="utf-8")


def test_what_a_narrow_terminal_leaves_out_are_columns() -> None:
    assert {*progress._DISPENSABLE} <= {column.title for column in COLUMNS} | {"first lr", "last lr"}


def test_the_table_sorts_what_has_no_value_last() -> None:
    columns = (Column("schedule", "", numeric=False), Column("accuracy", ""), Column("loss", ""))
    rows = [("a", 0.5, 2.0), ("b", math.nan, math.nan), ("c", 0.75, 3.0)]
    table = Table(columns, tuple((Cell(name, name), number(a, ".2f"), number(b, ".1f")) for name, a, b in rows))
    assert [row[0].text for row in table.sorted_by("accuracy").rows] == ["c", "a", "b"]
    assert [row[0].text for row in table.sorted_by("loss").rows] == ["a", "c", "b"]
    assert [cell.text for cell in table.rows[1]] == ["b", "-", "-"]


def test_pictures_are_whole_and_the_same_each_time(compared: Comparison) -> None:
    pictures = compared.directory / "pictures"
    names = ("learning-rates", "validation", "accuracy", "basin", "differences")
    assert {path.name for path in pictures.iterdir()} == {f"{name}.{end}" for name in names for end in ("png", "svg")}
    before = {path.name: path.read_bytes() for path in pictures.iterdir()}
    write_results(compared)
    assert {path.name: path.read_bytes() for path in pictures.iterdir()} == before
    texts = {
        name: " ".join(ElementTree.fromstring(before[f"{name}.svg"]).itertext()) for name in names
    }  # fmt: skip
    assert "learning rate" in texts["learning-rates"]
    assert "validation loss (mean cross-entropy)" in texts["validation"]
    assert "validation accuracy (percent)" in texts["validation"]
    assert "accuracy after the last step (percent)" in texts["accuracy"]
    assert "diverged" in texts["accuracy"]
    assert "highest learning rate of the schedule" in texts["basin"]
    assert "row minus column (points of accuracy)" in texts["differences"]
    assert all("<img src=x" in texts[name] for name in names), "labels are shown as they are"
    assert all(len(content) > 10_000 for name, content in before.items() if name.endswith(".png"))


def test_lines_are_told_apart_in_grey() -> None:
    assert len({(line.style, line.marker) for line in map(look, range(28))}) == 28


def test_a_page_names_what_the_comparison_says(compared: Comparison) -> None:
    text = compared.report.read_text(encoding="utf-8")
    head = text[: text.index('<script type="application/json"')]
    assert "<img src=x" not in head
    assert "&lt;img src=x onerror=alert(1)&gt;" in head
    assert not re.search(r'(src|href)="?(https?:)?//', head)
    for sentence in json.loads((compared.directory / "results.json").read_text())["verdict"]:
        assert sentence.split("<")[0] in head
    # Two scripts of ours, plotly's, and the data: the label has added none.
    assert text.count("</script>") == 3


@pytest.fixture
def browser() -> Iterator[Any]:
    """A real browser, as CI installs it."""
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser: Any, report: Path, width: int, scheme: str = "light") -> tuple[Any, list[str], list[str]]:
    """Opens a report; returns the page, what it has complained of, and the requests that it made."""
    page = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_function("document.querySelectorAll('.chart .main-svg').length > 0")
    return page, complaints, requests


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_reads_well(browser: Any, compared: Comparison, width: int, scheme: str) -> None:
    page, complaints, requests = opened(browser, compared.report, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    charts = page.evaluate("[...document.querySelectorAll('.chart')].map((each) => each.getBoundingClientRect().width)")
    assert len(charts) == 6
    assert all(200 < chart <= width for chart in charts)
    drawn = page.evaluate(
        "[...document.querySelectorAll('.chart')].map((each) => each.querySelectorAll('path').length)"
    )
    assert all(drawn)
    # Text against its background, after WCAG: 4.5 is the least for body text.
    ink, paper = page.evaluate(
        "['color', 'backgroundColor'].map((name) => getComputedStyle(document.body)[name].match(/\\d+/g).map(Number))"
    )
    assert contrast(ink, paper) > 7
    label = page.evaluate("getComputedStyle(document.querySelector('.chart .xtitle')).fill.match(/\\d+/g).map(Number)")
    assert contrast(label, paper) > 4.5
    assert page.locator("td").first.bounding_box()["width"] >= 100
    assert complaints == []
    assert requests == [compared.report.as_uri()]


def contrast(first: list[int], second: list[int]) -> float:
    def luminance(colour: list[int]) -> float:
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.slow
def test_sorting_and_hiding_work(browser: Any, compared: Comparison) -> None:
    page, complaints, _ = opened(browser, compared.report, 1400)

    def column(number: int) -> list[str]:
        texts: list[str] = page.locator(f"tbody td:nth-child({number})").all_inner_texts()
        return texts

    accuracy = page.locator("th", has_text="accuracy").first
    accuracy.locator("button").click()
    assert accuracy.get_attribute("aria-sort") == "descending"
    shown = [float(text) for text in column(2) if text != "-"]
    assert shown == sorted(shown, reverse=True)
    assert column(2)[-1] == "-", "what has no result stays at the end"
    accuracy.locator("button").click()
    assert [float(text) for text in column(2) if text != "-"] == shown[::-1]
    assert column(2)[-1] == "-"
    page.locator("th button").first.click()
    assert column(1) == sorted(column(1), key=str.lower)

    def lines() -> dict[str, list[str]]:
        found: dict[str, list[str]] = page.evaluate(
            "Object.fromEntries([...document.querySelectorAll('.chart')].map((each) => "
            "[each.id, each.data.filter((trace) => trace.visible !== false).map((trace) => trace.meta)]))"
        )
        return found

    before = lines()
    page.get_by_role("checkbox").nth(1).uncheck()
    after = lines()
    assert all(EVIL in before[name] and EVIL not in after[name] for name in before if name != "differences")
    assert all("constant" in after[name] for name in before if name != "differences")
    page.get_by_role("checkbox").nth(1).check()
    assert lines() == before
    assert complaints == []


def test_a_report_of_a_comparison_and_of_runs(compared: Comparison, tmp_path: Path) -> None:
    shutil.copytree(compared.directory, tmp_path / "c")
    (tmp_path / "c" / "report.html").unlink()
    result = CliRunner().invoke(main, ["report", str(tmp_path / "c")], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.strip() == str(tmp_path / "c" / "report.html")
    assert (tmp_path / "c" / "report.html").read_bytes() == compared.report.read_bytes()

    runs = sorted(str(path) for path in (tmp_path / "c" / "runs").glob("measure-*"))
    output = tmp_path / "runs.html"
    result = CliRunner().invoke(main, ["report", *runs, "--output", str(output)], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    text = output.read_text()
    assert all(Path(run).name in text for run in runs)
    assert "The highest accuracy is" in text
    result = CliRunner().invoke(main, ["report", *runs, "--output", str(output)])
    assert result.exit_code == 2
    assert "is there already: give another name, or --force" in result.stderr


STOPS = """
@dataclass(frozen=True)
class Plugin:
    "Stops at once."
    @hookimpl
    def build_schedule(self, context):
        return lambda step: 1e-3
    @hookimpl
    def on_step(self, step):
        return Stop("enough")
"""


def test_a_run_that_was_stopped_within_its_first_epoch_is_reported(
    tiny: Path, tmp_path: Path, install_plugin: Callable[..., str]
) -> None:
    rows = (Row("stops", Spec.of(install_plugin("stops", STOPS))), Row("constant", Spec.of("constant(value=0.01)")))
    train = TrainConfig(epochs=2, batch_size=1, dataset="tiny", data_dir=tiny)
    comparison = compare_plan(Plan(rows, train, "as-is", holdout=0), directory=tmp_path / "c")
    write_results(comparison)
    (stopped,) = comparison.measured("stops")
    assert (stopped.state, stopped.steps) == ("stopped", 32)
    assert not (tmp_path / "c" / "runs" / stopped.trial.directory(0) / "metrics.jsonl").read_text()
    assert "stops" in comparison.report.read_text(encoding="utf-8")


def test_a_run_without_steps_has_a_page(compared: Comparison, tmp_path: Path) -> None:
    run = next((compared.directory / "runs").glob("measure-*"))
    shutil.copytree(run, tmp_path / "run")
    steps = tmp_path / "run" / "steps.csv"
    steps.write_text(steps.read_text().splitlines()[0] + "\n")
    CliRunner().invoke(main, ["report", str(tmp_path / "run"), "-o", str(tmp_path / "r.html")], catch_exceptions=False)
    assert "run" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_page_of_runs_opens(browser: Any, compared: Comparison, tmp_path: Path) -> None:
    output = tmp_path / "runs.html"
    CliRunner().invoke(main, ["report", str(compared.directory / "runs"), "-o", str(output)], catch_exceptions=False)
    page, complaints, requests = opened(browser, output, 1400)
    assert page.locator("tbody tr").count() == len(list((compared.directory / "runs").iterdir()))
    assert complaints == []
    assert requests == [output.as_uri()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is no directory: give the directory of a run or of a comparison"),
        (["."], "holds neither a run nor a comparison"),
        ([".", "-o", "page.pdf"], "expected a name that ends in .html"),
        ([".", "-o", "nowhere/page.html"], "the directory nowhere does not exist"),
    ],
)
def test_what_no_page_can_be_made_of(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["report", *arguments])
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_comparison_that_lacks_runs_has_no_report(compared: Comparison, tmp_path: Path) -> None:
    shutil.copytree(compared.directory, tmp_path / "c")
    next((tmp_path / "c").rglob("outcome.json")).unlink()
    result = CliRunner().invoke(main, ["report", str(tmp_path / "c")])
    assert result.exit_code == 2
    assert f"lrtrain compare --resume --run-dir {tmp_path / 'c'} trains them" in result.stderr


def test_comparing_from_python(tiny: Path, tmp_path: Path) -> None:
    comparison = lrtrain.compare(
        "constant(value=0.05)", "linear(init_value=0.1)", budget="quick", lr_scales=[1], tuning_seeds=1, seeds=2,
        holdout=20, run_dir=tmp_path / "c", epochs=1, batch_size=16, dataset="tiny", data_dir=tiny,
        loss_reduction="mean",
    )  # fmt: skip
    assert comparison.report.stat().st_size > 1_000_000
    assert len(comparison.outcomes) == 2 * (1 + 2)
    again = read_comparison(tmp_path / "c")
    assert again.evidence == comparison.evidence
    command = compare_command(comparison.plan)
    assert command is not None
    assert command.startswith("lrtrain compare --plugin 'constant(value=0.05)' --plugin 'linear(init_value=0.1)' ")
    with pytest.raises(lrtrain.UsageError, match="budget=fast is refused"):
        lrtrain.compare("constant", "linear", budget="fast")


def test_the_command_on_a_page_makes_the_same_plan(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shlex

    seen: list[Plan] = []

    def note(plan: Plan, **options: Any) -> Any:
        seen.append(plan)
        raise lrtrain.UsageError("enough")

    monkeypatch.setattr("lrtrain.comparison.conduct.compare_plan", note)
    words = ["compare", "--plugin", "constant", "--plugin", "wsd(decay_steps=20%)", "--budget", "quick", "--seeds", "3"]
    words += [
        "--lr-scales",
        "0.1,1",
        "--holdout",
        "9",
        "--baseline",
        "constant",
        "--all-pairs",
        "--data-dir",
        str(tiny),
    ]
    words += ["--no-shuffle", "--optimizer", "adam", "--epochs", "1"]
    CliRunner().invoke(main, words)
    (plan,) = seen
    command = compare_command(plan)
    assert command is not None
    CliRunner().invoke(main, shlex.split(command)[1:])
    assert seen == [plan, plan]


def test_a_listing_has_a_page_without_intervals(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tuple(Row(name, Spec.of(spec)) for name, spec in [("A", "constant(value=0.05)"), ("B", "linear")])
    train = TrainConfig(epochs=1, batch_size=16, dataset="tiny", data_dir=tiny, loss_reduction="mean")
    comparison = compare_plan(Plan(rows, train, "as-is", holdout=0), directory=tmp_path / "c")
    write_results(comparison)
    names = {path.stem for path in (tmp_path / "c" / "pictures").iterdir()}
    assert names == {"learning-rates", "validation", "accuracy"}
    text = comparison.report.read_text()
    assert "no basis for choosing a schedule" in text
    assert "95% interval</button>" not in text
    heads, *_ = assert_terminal_and_page_agree(comparison, capsys)
    assert heads == ["schedule", "accuracy", "loss", "first lr", "peak lr", "last lr", "seconds"]
    assert "test accuracy (percent)" in text
