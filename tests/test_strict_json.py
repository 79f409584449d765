"""JSON into typed records: the record, or one sentence that names the file and the field."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from lrtrain import strict_json
from lrtrain.runs.run_config import Device, Part, Resumed, RunConfig, StoredSchedule
from lrtrain.runs.train_config import TrainConfig
from lrtrain.strict_json import InvalidFileError, Positive, Whole, decode, parse_json, path_of, read_json, read_text


@dataclass(frozen=True)
class Inner:
    name: str
    count: Positive = 1


@dataclass(frozen=True)
class Record:
    step: Whole
    inner: Inner
    rate: float = 0.5
    state: Literal["one", "two"] = "one"
    several: tuple[Inner, ...] = ()
    place: Path | None = None


def record(**values: Any) -> dict[str, Any]:
    return {"step": 3, "inner": {"name": "a"}, **values}


def test_a_record() -> None:
    values = record(rate=2, state="two", several=[{"name": "b", "count": 2}], place="x/y", unknown=[1])
    assert decode(values, Record, "f", path_of) == Record(3, Inner("a"), 2.0, "two", (Inner("b", 2),), Path("x/y"))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([], "f is refused: expected a table, got a list"),
        ({}, "f lacks step"),
        (record(inner={}), "f lacks inner.name"),
        (record(step=-1), "f: step is refused: expected a whole number >= 0"),
        (record(step=1.0), "f: step is refused: expected a whole number, got a number"),
        (record(step=True), "f: step is refused: expected a whole number, got true or false"),
        (record(step=10**30), f"f: step is refused: expected a whole number <= {2**53}"),
        (record(rate=10**400), "f: rate is refused: number out of range"),
        (record(rate="high"), "f: rate is refused: expected a number, got a text"),
        (record(state="three"), "f: state is refused: invalid enum value 'three'"),
        (record(several=[{"name": "b"}, {"name": None}]), "f: several[1].name is refused: expected a text, got null"),
        (record(inner={"name": "a", "count": 0}), "f: inner.count is refused: expected a whole number >= 1"),
        (record(place=5), "f: place is refused: expected a path"),
        (record(place="a\0b"), "f: place is refused: expected a path"),
    ],
)
def test_what_is_none(values: Any, sentence: str) -> None:
    with pytest.raises(InvalidFileError) as raised:
        decode(values, Record, "f", path_of)
    assert str(raised.value) == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "f is not JSON"),
        ("{", "f is not JSON"),
        ("[" * 100_000, "f is not JSON"),
        ("1" * 5000, "f is not JSON"),
        ('"\\ud800"', "f has half a character in it (a lone surrogate)"),
    ],
)
def test_no_json(text: str, sentence: str) -> None:
    with pytest.raises(InvalidFileError) as raised:
        parse_json(text, "f")
    assert str(raised.value) == sentence


def test_both_halves_of_a_character_are_one() -> None:
    assert parse_json('"\\ud83d\\ude00"', "f") == "\N{GRINNING FACE}"


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "f.json"
    with pytest.raises(InvalidFileError, match=r"^f\.json is missing$"):
        read_json(file)
    os.mkfifo(file)
    with pytest.raises(InvalidFileError, match=r"^f\.json is not a file$"):
        read_json(file)
    file.unlink()
    file.write_bytes("é".encode("latin-1"))
    with pytest.raises(InvalidFileError, match=r"^f\.json is not text$"):
        read_json(file)
    monkeypatch.setattr(strict_json, "MAX_BYTES", 1)
    file.write_text("[1]")
    with pytest.raises(InvalidFileError, match=r"^f\.json has more than 0 MiB$"):
        read_json(file)
    assert read_text(file) == "[1]", "logs grow with the run"


def config(**others: Any) -> RunConfig:
    fields: dict[str, Any] = {
        "plugins": ({"plugin": "constant", "value": 0.1}, {"plugin": "early-stopping", "patience": 3}),
        "schedule": StoredSchedule(0, 0, 10, "abc"),
        "train": TrainConfig(epochs=2, data_dir=Path("data"), model="a:B"),
        "steps_per_epoch": 5,
        "total_steps": 10,
        "versions": {"jax": "1"},
        "device": Device("cpu", 2),
    }
    return RunConfig(**{**fields, **others})


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"data": {"name": "tiny", "classes": 3}, "code": {"early-stopping": None}, "program": "f00", "past_stop": 3},
        {"resumed": (Resumed(3, {"versions": {"jax": "0"}}), Resumed(7)), "processes": 2, "started": "2026-01-01"},
        {"comparison": Part("tune", "constant", 0.5, 0, 12), "checkpoint_every": "30s"},
    ],
)
def test_a_configuration_comes_back_as_it_was(others: dict[str, Any]) -> None:
    written = json.loads(json.dumps(config(**others).to_json()))
    assert RunConfig.from_json(written) == config(**others)


def test_a_configuration_of_a_later_version() -> None:
    with pytest.raises(InvalidFileError, match="of version 2, and this lrtrain reads version 1: it was written by a l"):
        RunConfig.from_json({**config().to_json(), "version": 2})
