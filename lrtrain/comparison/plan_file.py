"""The file that describes a comparison; whatever is wrong in it is named with its line."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from lrtrain.comparison.plan import BUDGETS, Effort, Plan, effort_of
from lrtrain.comparison.rows import Row, label_of
from lrtrain.errors import LrtrainError, UsageError, nearest
from lrtrain.option_fields import option_fields
from lrtrain.plugins.discovery import DEFAULT_WORKLOAD, files_below
from lrtrain.plugins.spec import Spec
from lrtrain.runs.train_config import TrainConfig
from lrtrain.training.configure import configured
from lrtrain.workloads.loading import load_workload
from lrtrain.workloads.models import load_model

_PRESETS = resources.files("lrtrain.comparison") / "presets"
_TOP = ("version", "protocol", "holdout", "baseline", "all_pairs", "train", "effort", "schedules")
_EFFORT = ("budget", "scales", "tuning_seeds", "seeds", "refine", "exhaustive")
_TRAIN = tuple(field.name for field in option_fields(TrainConfig) if field.in_comparisons)


def read_preset(name: str) -> Plan:
    """Returns a comparison that comes with lrtrain; raises UsageError when there is none of that name."""
    known = sorted(file.name.removesuffix(".toml") for file in _PRESETS.iterdir() if file.name.endswith(".toml"))
    if name not in known:
        raise UsageError(f"there is no preset '{name}'{nearest(name, known)}: there is {', '.join(known)}")
    return parse_plan(preset_text(name), f"preset {name}")


def preset_text(name: str) -> str:
    """Returns the file of a preset, to be copied and changed."""
    return (_PRESETS / f"{name}.toml").read_text(encoding="utf-8")


def read_plan(path: Path) -> Plan:
    """Returns the comparison that a file describes; raises UsageError, with the line and the key of what is refused."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{path} cannot be read: {reason}") from error
    return parse_plan(text, str(path), path.parent)


def parse_plan(text: str, title: str, folder: Path = Path()) -> Plan:
    """Returns the comparison that a text in TOML describes.

    Errors call it ``title``; the relative paths of plugins in files begin in ``folder``.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{title} is not TOML: {error}") from error
    with files_below(folder):
        plan = _Reader(text.splitlines(), title).plan(values)
    return dataclasses.replace(plan, folder=folder.absolute())


@dataclass(frozen=True)
class _Reader:
    """Turns tables into a plan, and knows on which line each key stands."""

    lines: Sequence[str]
    title: str

    def plan(self, values: Mapping[str, Any]) -> Plan:
        self._known(values, _TOP, "")
        if values.get("version", 1) != 1:
            raise self._wrong("version", f"version = {values['version']} is refused: this lrtrain reads 1")
        train = self._train(values)
        protocol = values.get("protocol", "fair")
        effort = self._effort(self._table(values, "effort", _EFFORT), train.epochs)
        rows = self._rows(values.get("schedules", []))
        all_pairs = values.get("all_pairs", False)
        if not isinstance(all_pairs, bool):
            raise self._wrong("all_pairs", f"all_pairs = {all_pairs!r} is refused: expected true or false")
        holdout = values.get("holdout", 0 if protocol == "as-is" else None)
        plan = Plan(rows, train, protocol, effort, holdout, values.get("baseline"), all_pairs)
        self._check(plan, "")
        return plan

    def _rows(self, tables: Any) -> tuple[Row, ...]:
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise self._wrong("schedules", "schedules is refused: expected tables, each under [[schedules]]")
        if not tables:
            raise self._wrong("schedules", "there is no schedule: add one under [[schedules]]")
        rows: list[Row] = []
        for index, table in enumerate(tables):
            row = self._row(table, index)
            if any(row.label == other.label for other in rows):
                message = f"two schedules are called '{row.label}': leave one out, or give it a label of its own"
                raise self._wrong("label" if "label" in table else "plugin", message, index)
            rows.append(row)
        return tuple(rows)

    def _row(self, table: Mapping[str, Any], index: int) -> Row:
        options = dict(table)
        label, beside = options.pop("label", None), options.pop("with", [])
        if not isinstance(beside, list):
            raise self._wrong("with", f"with = {beside!r} is refused: expected a list of plugins", index)
        try:
            specs = (Spec.of(options), *map(Spec.of, beside))
            row = Row(label or label_of(specs), specs[0], specs[1:])
            # What is refused is refused before anything trains.
            row.check()
        except LrtrainError as error:
            message = str(error)
            keys = sorted(set(options) - {"plugin"}, key=len, reverse=True)
            key = next((each for each in keys if re.search(rf"\b{re.escape(each)}\b", message)), "plugin")
            raise self._wrong(key, message, index) from error
        if label is not None and not isinstance(label, str):
            raise self._wrong("label", f"label = {label!r} is refused: expected text", index)
        return row

    def _train(self, values: Mapping[str, Any]) -> TrainConfig:
        given = dict(self._table(values, "train", _TRAIN))
        self._check(TrainConfig(**given), "train")
        key = "model"
        try:
            load_model(given.get("model"))
            key = "workload"
            load_workload(given.get("workload", DEFAULT_WORKLOAD))
            key = "optimizer"
            return configured(given)[0]
        except UsageError as error:
            raise self._wrong(error.key or key, str(error)) from error

    def _check(self, value: TrainConfig | Plan, key: str) -> None:
        try:
            value.check()
        except UsageError as error:
            raise self._wrong(error.key or key, str(error)) from error

    def _effort(self, table: Mapping[str, Any], epochs: int) -> Effort:
        budget = table.get("budget", "standard")
        if not isinstance(budget, str) or budget not in BUDGETS:
            raise self._wrong("budget", f"budget = {budget!r} is refused: expected one of {', '.join(BUDGETS)}")
        given = {name: value for name, value in table.items() if name != "budget"}
        if not isinstance(given.get("scales", []), list):
            raise self._wrong("scales", f"scales = {given['scales']!r} is refused: expected a list of numbers")
        for name in ("refine", "exhaustive"):
            if not isinstance(given.get(name, True), bool):
                raise self._wrong(name, f"{name} = {given[name]!r} is refused: expected true or false")
        return effort_of(budget, epochs, epochs=epochs, **given)

    def _table(self, values: Mapping[str, Any], name: str, known: Sequence[str]) -> Mapping[str, Any]:
        table = values.get(name, {})
        if not isinstance(table, dict):
            raise self._wrong(name, f"{name} is refused: expected a table, as under [{name}]")
        self._known(table, known, name)
        return table

    def _known(self, table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
        for key in table:
            if key not in known:
                place = f"[{where}] has" if where else "there is"
                raise self._wrong(key, f"{place} no key '{key}'{nearest(key, known)}: the keys are {', '.join(known)}")

    def _wrong(self, key: str, message: str, row: int | None = None) -> UsageError:
        line = self._line(key, row)
        where = f"{self.title}, line {line}" if line else self.title
        return UsageError(f"{where}: {message}")

    def _line(self, key: str, row: int | None) -> int | None:
        """Finds the line of a key, of one of the tables of ``[[schedules]]`` if ``row`` is given."""
        heads = [n for n, line in enumerate(self.lines) if re.match(r"\s*\[\[\s*schedules\s*\]\]", line)]
        begin = heads[row] if row is not None and row < len(heads) else 0
        pattern = rf"\s*(\[+\s*)?[\"']?{re.escape(key)}[\"']?\s*[=\].]" if key else r"(?!)"
        found = (n for n, line in enumerate(self.lines[begin:], begin + 1) if re.match(pattern, line))
        return next(found, begin + 1 if row is not None and heads else None)
