"""Thousands of wrong inputs: each is used, or refused in one sentence; none hangs, crashes, or leaves a file behind.

``uv run nox --session fuzz`` draws 10,000 in all, afresh each time; the default set draws a few, always the same.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import hypothesis.strategies as st
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings

from lrtrain import UsageError
from lrtrain.cli import main
from lrtrain.comparison.plan import Plan
from lrtrain.comparison.plan_file import parse_plan
from lrtrain.plugins.discovery import find_plugins
from lrtrain.plugins.loading import activate, hooks_of, load_class
from lrtrain.plugins.options import options_of
from lrtrain.schedules.table import build_table, make_context

T = TypeVar("T")
_MANY = int(os.environ.get("LRTRAIN_FUZZ", "0"))
_PATIENCE = 20
FUZZ = settings(
    max_examples=_MANY or 60,
    derandomize=not _MANY,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)
OPTIONS = {
    entry.name: {option.name: option for option in options_of(load_class(entry))}
    for entry in find_plugins()
    if "build_schedule" in hooks_of(load_class(entry))
}


@contextmanager
def patience() -> Iterator[None]:
    """Fails what takes longer than any input may."""

    def fail(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"took more than {_PATIENCE} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(_PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def used_or_refused(action: Callable[[], T]) -> T | None:
    """Returns what the action returns, or None when it refuses in one sentence; all else that it raises is a bug."""
    with patience():
        try:
            return action()
        except UsageError as error:
            sentence = str(error)
            assert sentence.strip(), "a sentence says something"
            assert len(sentence) < 20_000
            return None


# ------------------------------------------------------------------------------------------------------------- grammar

KNOWN_NAMES = st.sampled_from(sorted(OPTIONS))
NAMES = st.one_of(KNOWN_NAMES, KNOWN_NAMES, KNOWN_NAMES, KNOWN_NAMES.map("{}x".format))
NUMBERS = st.one_of(
    st.sampled_from(["-0", "00", "1_000", "0x10", "1e", "1e308", "1e-320", "-1e309", ".", "+", "--1"]),
    st.sampled_from(["0", "1", "2", "3", "10", "235", "1e-3", "3e-4", "0.5", "1e309", "-1", "nan", "inf", "9" * 400]),
    st.floats(allow_nan=True).map(str),
    st.integers(-5, 5000).map(str),
)
DURATIONS = st.one_of(
    st.integers(-10, 150).map("{}%".format),
    st.floats(-1, 12, allow_nan=False).map("{}ep".format),
    st.integers(-1, 10_000).map(str),
    st.sampled_from(["%", "ep", "1e9999%", "0.0000000001%", "100%", "33.3333333333%", "1/3", "99999999999999999999"]),
)
WORDS = st.sampled_from(
    ["true", "false", "none", "linear", "cosine", "exponential", "''", '"a b"', "ünïcode", "\x1b[2J"]
)
SCALARS = st.one_of(NUMBERS, DURATIONS, WORDS)


# What an option of a type takes, most of the time.
FITTING = {
    "number >= 0": st.floats(0, 2).map(str),
    "number > 0": st.floats(0.01, 40).map(str),
    "number >= 0 and <= 1": st.floats(0, 1).map(str),
    "whole number >= 1": st.integers(1, 6).map(str),
    "duration": st.sampled_from(["1", "3", "10", "5%", "20%", "1ep", "0"]),
    "true or false": st.sampled_from(["true", "false"]),
}


def _specs(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Returns specs whose options are mostly those that the plugin has, with values that fit or with any."""

    def pair(name: str) -> st.SearchStrategy[str]:
        known = OPTIONS.get(name, {})
        fitting = [st.tuples(st.just(each), FITTING.get(option.type, values)) for each, option in known.items()]
        any_name = st.sampled_from([*known, "perod", "", "1", "plugin"])
        return st.one_of(*fitting, *fitting, st.tuples(any_name, values)).map("=".join)

    def right(name: str) -> st.SearchStrategy[list[str]]:
        """Returns what a plugin may well take, each option once: else nearly all would be refused."""
        fitting = [
            FITTING[option.type].map(f"{each}={{}}".format)
            for each, option in OPTIONS.get(name, {}).items()
            if option.type in FITTING
        ]
        if not fitting:
            return st.just([])
        return st.lists(st.one_of(fitting), max_size=2, unique_by=lambda pair: pair.partition("=")[0])

    def of(name: str) -> st.SearchStrategy[str]:
        pairs = st.one_of(st.lists(pair(name), max_size=3), right(name))
        return pairs.map(lambda pairs: f"{name}({', '.join(pairs)})")

    return NAMES.flatmap(of)


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(st.tuples(SCALARS, inner), max_size=4).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        ),
        _specs(inner),
    ),
    max_leaves=8,
)
SPECS = _specs(VALUES)


@st.composite
def damaged(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """Draws a text, and leaves out, doubles, exchanges or adds some of its characters; most texts stay whole."""
    text = list(draw(texts))
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 5]))):
        at = draw(st.integers(0, len(text)))
        new = draw(st.sampled_from(["", *"()[]{},=:%'\" \n\0é"]))
        text[at : at + draw(st.integers(0, 2))] = [new] * draw(st.integers(1, 3))
    return "".join(text)


# --------------------------------------------------------------------------------------------------------------- specs


@FUZZ
@given(text=damaged(SPECS), steps=st.sampled_from([1, 2, 3, 10, 235, 2350]), epoch=st.sampled_from([1, 7, 235]))
def test_no_spec_gives_a_learning_rate_that_is_not_one(text: str, steps: int, epoch: int) -> None:
    table = used_or_refused(lambda: build_table(activate([text]), make_context(steps, min(epoch, steps))))
    if table is not None:
        assert table.values.shape == (steps,)
        assert np.isfinite(table.values).all(), text
        assert (table.values >= 0).all(), text


@FUZZ
@given(data=st.data())
def test_no_table_of_json_gives_a_learning_rate_that_is_not_one(data: st.DataObject) -> None:
    leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), DURATIONS)
    values = st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
        max_leaves=6,
    )
    name = data.draw(NAMES)
    known = list(OPTIONS.get(name, {})) or ["value"]
    table = data.draw(st.dictionaries(st.one_of(st.sampled_from(known), st.text(max_size=6)), values, max_size=4))
    built = used_or_refused(lambda: build_table(activate([{**table, "plugin": name}]), make_context(100, 10)))
    assert built is None or (np.isfinite(built.values).all() and (built.values >= 0).all())


# ---------------------------------------------------------------------------------------------------------------- TOML

KEYS = {
    "": ["version", "protocol", "holdout", "baseline", "all_pairs", "schedule"],
    "train": ["epochs", "batch_size", "optimizer", "loss_reduction", "shuffle", "seed", "dataset", "model", "lr"],
    "effort": ["budget", "scales", "tuning_seeds", "seeds", "epochs"],
}
TOML_VALUES = st.one_of(
    st.integers(-3, 300).map(str),
    st.integers().map(str),
    st.floats(allow_nan=True).map(lambda value: str(value).replace("e+", "e")),
    st.sampled_from(["true", "false", '"fair"', '"as-is"', '"sgd"', '"adam"', '"sum"', '"quick"', '""', "[]", "{}"]),
    st.sampled_from(["[1, 2]", "[0.5, 1.0]", '["a"]', "[[1]]", "1979-05-27", '"\\u0000"', "'''x\ny'''", "1e400"]),
)


def _table(head: str, keys: list[str]) -> st.SearchStrategy[str]:
    pairs = st.dictionaries(st.sampled_from(keys), TOML_VALUES, max_size=4)
    return pairs.map(lambda pairs: "\n".join([head, *(f"{key} = {value}" for key, value in pairs.items())]))


def _row(spec: str) -> str:
    name, _, rest = spec.partition("(")
    pairs = [each for each in rest.removesuffix(")").split(", ") if "=" in each]
    return "\n".join(["[[schedules]]", f'plugin = "{name}"', *pairs])


PLANS = st.tuples(
    _table("", KEYS[""]),
    _table("[train]", KEYS["train"]),
    _table("[effort]", KEYS["effort"]),
    st.lists(st.one_of(_specs(TOML_VALUES).map(_row), st.just('[[schedules]]\nplugin = "constant"')), max_size=3),
).map(lambda parts: "\n".join([*parts[:3], *parts[3]]))


@FUZZ
@given(text=damaged(PLANS))
def test_no_file_of_a_comparison_is_half_read(text: str) -> None:
    plan = used_or_refused(lambda: parse_plan(text, "fuzz.toml"))
    assert plan is None or isinstance(plan, Plan)


# -------------------------------------------------------------------------------------------------------- command lines

# None of these trains: each has something that ends it before, should all the rest be right.
COMMANDS = (
    ["train", "--dataset", "no_such_data"],
    ["compare", "--dataset", "no_such_data"],
    ["find-lr", "--dataset", "no_such_data"],
    ["plot", "--steps", "20"],
    ["plugins", "show"],
    ["plugins", "list"],
    ["runs", "list"],
    ["runs", "show"],
    ["report"],
    [],
)
FLAGS = """
--plugin --set --epochs --batch-size --seed --devices --train-size --steps --optimizer --model --resume --json --quiet
--lr-scales --seeds --budget --baseline --config --preset --merge --run-dir --help --all-plugins --sort --no-such
"""
WORDS_OF_COMMANDS = st.one_of(
    st.sampled_from(FLAGS.split()),
    # The last is what Python makes of a byte that is no UTF-8.
    st.sampled_from(["sgdr", "constant", "wsd", "0", "-1", "1e9", "9" * 20, "x.y:Z", "/", ".", "", " ", "é", "\udcff"]),
    SPECS,
    st.tuples(st.sampled_from(["value", "constant.value", "x", "sgdr.cycles"]), SCALARS).map("=".join),
)


# No process can be given a null character.
ARGUMENTS = damaged(WORDS_OF_COMMANDS).map(lambda text: text.replace("\0", ""))


@FUZZ
@given(command=st.sampled_from(COMMANDS), words=st.lists(ARGUMENTS, max_size=6))
def test_no_command_line_ends_in_a_traceback_or_leaves_a_file(
    command: list[str], words: list[str], empty_directory: Path
) -> None:
    with patience():
        result = CliRunner().invoke(main, [*command, *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), (words, result.exc_info)
    assert result.exit_code in (0, 1, 2), (words, result.output)
    assert "Traceback" not in result.output
    assert list(empty_directory.iterdir()) == [], words
    if result.exit_code == 2:
        assert "Error: " in result.output
    if result.exit_code == 0 and "--json" in words and "--help" not in words and command[:1] == ["plugins"]:
        json.loads(result.stdout)


@pytest.fixture
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the current directory of the test, which is empty."""
    directory = tmp_path / "empty"
    directory.mkdir()
    monkeypatch.chdir(directory)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return directory


def test_some_of_what_is_drawn_is_used_and_some_is_refused() -> None:
    outcomes: dict[str, int] = {"used": 0, "refused": 0}

    @settings(max_examples=300, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(text=damaged(SPECS))
    def draw(text: str) -> None:
        built: Any = used_or_refused(lambda: build_table(activate([text]), make_context(100, 10)))
        outcomes["refused" if built is None else "used"] += 1

    draw()
    assert min(outcomes.values()) >= 20, outcomes
