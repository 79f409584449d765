"""``lrtrain verdict`` and ``lrtrain.verdict``: results from any training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

import lrtrain
from tests.lab import cli, done, refusal

SEEDS = range(8)
RNG = np.random.default_rng(0)
GOOD = [round(float(value), 4) for value in 0.92 + RNG.normal(0, 0.002, 8)]
POOR = [round(float(value), 4) for value in 0.88 + RNG.normal(0, 0.002, 8)]


@pytest.fixture
def csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Writes a CSV file in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def write(*lines: str, header: str = "label,seed,value") -> str:
        Path("results.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
        return "results.csv"

    return write


def lines(**labels: list[float]) -> list[str]:
    return [f"{label},{seed},{value}" for label, values in labels.items() for seed, value in enumerate(values)]


def test_the_table_and_the_words(csv: Callable[..., str]) -> None:
    said = done(cli("verdict", csv(*lines(wsd=GOOD, constant=POOR))))
    assert said.splitlines()[0].split() == ["label", "value", "95%", "interval", "median", "sd", "n"]
    assert "wsd is better than constant." in said
    assert f"{np.mean(GOOD):.5g}" in said
    low, high = stats.t.interval(0.95, 7, np.mean(GOOD), np.std(GOOD, ddof=1) / np.sqrt(8))
    assert f"{low:.5g} to {high:.5g}" in said


def test_the_order_of_the_rows_does_not_matter(csv: Callable[..., str]) -> None:
    given = lines(wsd=GOOD, constant=POOR)
    first = json.loads(done(cli("verdict", csv(*given), "--json")))
    wsd, constant = given[:8], given[8:]
    second = json.loads(done(cli("verdict", csv(*wsd, *reversed(constant)), "--json")))
    assert first == second


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
def test_another_delimiter(csv: Callable[..., str], delimiter: str) -> None:
    given = [line.replace(",", delimiter) for line in lines(wsd=GOOD, constant=POOR)]
    assert "wsd is better" in done(cli("verdict", csv(*given, header=delimiter.join(("label", "seed", "value")))))


def test_columns_by_name_and_which_is_better(csv: Callable[..., str]) -> None:
    given = csv(*lines(wsd=GOOD, constant=POOR), header="name,run,test_loss")
    columns = ("--label", "name", "--seed", "run", "--value", "test_loss")
    assert "constant is better than wsd." in done(cli("verdict", given, *columns))
    assert "wsd is better than constant." in done(cli("verdict", given, *columns, "--better", "higher"))


def test_an_accuracy_is_in_points(csv: Callable[..., str]) -> None:
    given = csv(*lines(wsd=GOOD, constant=POOR), header="label,seed,accuracy")
    assert "points of accuracy" in done(cli("verdict", given, "--value", "accuracy"))
    percent = csv(*lines(wsd=[100 * v for v in GOOD], constant=[100 * v for v in POOR]), header="label,seed,accuracy")
    assert "accuracy, as given" in done(cli("verdict", percent, "--value", "accuracy"))


def test_a_baseline_and_a_margin(csv: Callable[..., str]) -> None:
    given = csv(*lines(wsd=GOOD, linear=GOOD[::-1], constant=POOR))
    said = done(cli("verdict", given, "--baseline", "constant"))
    assert said.splitlines()[0].split()[:4] == ["label", "value", "verdict", "difference"]
    assert "wsd and linear" not in said.replace("wsd or linear", "")
    assert "wsd and constant were not distinguished" in done(cli("verdict", given, "--margin", "0.2"))
    assert "none of the labels (did you mean 'constant'?)" in refusal(cli("verdict", given, "--baseline", "constants"))


def test_workloads_are_judged_one_by_one(csv: Callable[..., str]) -> None:
    given = [f"digits,{line}" for line in lines(wsd=GOOD, constant=POOR)]
    given += [f"text,{line}" for line in lines(wsd=POOR, constant=GOOD)]
    said = done(cli("verdict", csv(*given, header="on,label,seed,value"), "--workload", "on"))
    first, second = said.split("on: text")
    assert "wsd is better than constant" in first
    assert "constant is better than wsd" in second


def test_unpaired(csv: Callable[..., str]) -> None:
    given = csv(*[f"a,{n},{v}" for n, v in enumerate(GOOD)], *[f"b,{n + 50},{v}" for n, v in enumerate(POOR[:6])])
    assert "has the seed 0 and 'b' has not" in refusal(cli("verdict", given))
    found = json.loads(done(cli("verdict", given, "--unpaired", "--json")))
    (pair,) = found["workloads"][""]["differences"]
    assert pair["p"] == pytest.approx(stats.ttest_ind(GOOD, POOR[:6], equal_var=False).pvalue)
    assert (found["paired"], pair["verdict"]) == (False, "better")


def test_page_and_picture(csv: Callable[..., str]) -> None:
    given = csv(*lines(wsd=GOOD, constant=POOR))
    for name in ("page.html", "picture.png", "picture.svg"):
        assert name in done(cli("verdict", given, "--output", name))
    page = Path("page.html").read_text(encoding="utf-8")
    assert "wsd is better than constant." in page
    assert "figure-final" in page
    assert "figure-differences" in page
    assert "is there already" in refusal(cli("verdict", given, "--output", "page.html"))
    assert "expected a name that ends in .html" in refusal(cli("verdict", given, "--output", "page.pdf"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a,0,good", "b,0,1"], "results.csv, line 2: the value 'good' is refused: expected a number"),
        (["a,0,1", "b,0,nan"], "line 3: the value nan is refused: a run without a result is the worst one"),
        (["a,0,1", "a,0,2", "b,0,1"], "line 3: 'a' has a value for the seed 0 already, in results.csv, line 2"),
        (["a,0,1", "b,0,1"], "'a' has one run: without a second one nobody knows how much is chance"),
        (["a,0,1", "a,1,1"], "there is one label, 'a': two or more can be compared"),
        (["a,0,1", ",1,1"], "line 3: the label '' is refused: expected a line of printable text"),
        ([], "results.csv has no results: expected a header, and below it a line for each run"),
        (['a,0,"1', "b"], "is no CSV"),
    ],
)
def test_bad_rows(csv: Callable[..., str], given: list[str], message: str) -> None:
    assert message in refusal(cli("verdict", csv(*given)))


def test_the_loss_is_in_the_json_by_its_name(csv: Callable[..., str]) -> None:
    given = csv(*lines(wsd=GOOD, constant=POOR), header="label,seed,loss")
    (wsd, _) = json.loads(done(cli("verdict", given, "--value", "loss", "--json")))["workloads"][""]["schedules"]
    assert (wsd["label"], wsd["loss"]["n"]) == ("wsd", 8)
    assert wsd["loss"]["mean"] == pytest.approx(np.mean(GOOD))


def test_two_columns_of_one_name(csv: Callable[..., str]) -> None:
    given = csv("a,0,1,2", header="label,seed,value,value")
    assert "has two columns that are called 'value': rename one of them" in refusal(cli("verdict", given))


def test_a_column_that_is_not_there(csv: Callable[..., str]) -> None:
    given = csv(*lines(a=GOOD, b=POOR), header="label,sed,value")
    assert "there is no column 'seed' (did you mean 'sed'?): there is label, sed, value" in refusal(
        cli("verdict", given)
    )
    assert "there is no file nothing.csv" in refusal(cli("verdict", "nothing.csv"))
    assert "Is a directory" in refusal(cli("verdict", "."))
    Path("bytes.csv").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in refusal(cli("verdict", "bytes.csv"))


COLUMNS = {"label": ["wsd"] * 8 + ["constant"] * 8, "seed": [*SEEDS, *SEEDS], "value": GOOD + POOR}


class TestPython:
    """`lrtrain.verdict`."""

    @pytest.mark.parametrize("frame", [COLUMNS, pd.DataFrame(COLUMNS), pl.DataFrame(COLUMNS)], ids=["dict", "pd", "pl"])
    def test_frames(self, frame: object) -> None:
        found = lrtrain.verdict(frame)
        (pair,) = found.evidence[""].differences
        assert pair.verdict == "better"
        assert pair.mean == pytest.approx(np.mean(GOOD) - np.mean(POOR))
        assert "wsd is better than constant." in repr(found)
        assert "<table>" in found._repr_html_()

    def test_what_is_refused(self) -> None:
        with pytest.raises(lrtrain.UsageError, match="better=best is refused"):
            lrtrain.verdict(COLUMNS, better="best")
        with pytest.raises(lrtrain.UsageError, match="margin=-1 is refused"):
            lrtrain.verdict(COLUMNS, margin=-1)
        with pytest.raises(lrtrain.UsageError, match="row 1: the value 'x' is refused"):
            lrtrain.verdict({**COLUMNS, "value": ["x"] * 16})
        with pytest.raises(lrtrain.UsageError, match="the frame has no results"):
            lrtrain.verdict({})
        for given in ("results.csv", [{"label": "a"}], {"label": 1}):
            with pytest.raises(lrtrain.UsageError, match="is no frame: expected a data frame, or a dictionary"):
                lrtrain.verdict(given)
        with pytest.raises(lrtrain.UsageError, match="row 3: the label '' is refused"):
            lrtrain.verdict({**COLUMNS, "label": ["a", "a", None, *"b" * 13]})
