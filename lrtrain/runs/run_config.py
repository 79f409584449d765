"""The content of ``config.json``: one record, both to write and to read it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lrtrain.errors import LrtrainError, RunDirError
from lrtrain.files import write_whole
from lrtrain.plugins.spec import Spec, short
from lrtrain.runs.directory import RunDir
from lrtrain.runs.train_config import TrainConfig
from lrtrain.strict_json import InvalidFileError, Positive, Whole, decode, path_of, read_json
from lrtrain.workloads.headline import Headline

VERSION = 1
# These are left out of the file where they are empty, and an earlier lrtrain did not write them.
_OPTIONAL = (
    "data",
    "code",
    "program",
    "checkpoint_every",
    "processes",
    "resumed",
    "past_stop",
    "comparison",
    "headline",
)


@dataclass(frozen=True)
class Device:
    """The kind and number of the devices of a run."""

    kind: str
    count: Positive

    def __str__(self) -> str:
        return f"{self.count} x {self.kind}"


@dataclass(frozen=True)
class StoredSchedule:
    """The learning rates of a run.

    Args:
      plugin: the index of the plugin that builds the schedule.
      start: the step at which that schedule begins; above 0 after a restart.
      steps: the length that it was built for.
      fingerprint: the digest of the learning rates of the whole run.
    """

    plugin: Whole
    start: Whole
    steps: Whole
    fingerprint: str


@dataclass(frozen=True)
class Resumed:
    """A resume: its step, and the versions, device and processes of before where they changed."""

    step: Whole
    before: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """The part of a run in a comparison.

    Args:
      stage: ``"tune"`` or ``"measure"``.
      label: the label of the schedule.
      scale: the factor on its learning rates.
      split_seed: the seed of the split into training and validation examples.
      holdout: the number of validation examples.
    """

    stage: str
    label: str
    scale: float
    split_seed: Whole
    holdout: Whole


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that determines a run, and the conditions that it was begun under.

    Args:
      plugins: the plugins with all options, each from `Spec.table`.
      schedule: the learning rates.
      train: the options of training.
      steps_per_epoch: optimizer updates in an epoch.
      total_steps: optimizer updates in the whole run.
      data: what distinguishes its data from other data; see `lrtrain.data.Dataset.identity`.
      versions: versions by the name of the distribution, and the digests of the files of the model and the optimizer.
      code: the digest of each plugin that observes, and of an optimizer that is no part of optax.
      program: the digest of what the model computes.
      device: the devices that it is trained on.
      processes: the number of processes that train it.
      checkpoint_every: when checkpoints are due.
      started: the time at which it began.
      resumed: its resumes.
      past_stop: the step at which a plugin stopped it, and past which the user had it trained.
      comparison: its part in a comparison.
      headline: the metric that it is judged by; None for the accuracy.
    """

    plugins: tuple[Mapping[str, Any], ...]
    schedule: StoredSchedule
    train: TrainConfig
    steps_per_epoch: Positive
    total_steps: Whole
    data: Mapping[str, Any] | None = None
    versions: Mapping[str, str]
    code: Mapping[str, str | None] = field(default_factory=dict)
    program: str | None = None
    device: Device
    processes: Positive = 1
    checkpoint_every: str | None = None
    started: str | None = None
    resumed: tuple[Resumed, ...] = ()
    past_stop: Whole | None = None
    comparison: Part | None = None
    headline: Headline | None = None

    @property
    def specs(self) -> tuple[Spec, ...]:
        """The plugins with all options."""
        return tuple(map(Spec.of, self.plugins))

    @property
    def spec(self) -> Spec:
        """The plugin that builds the schedule."""
        return Spec.of(self.plugins[self.schedule.plugin])

    def to_json(self) -> dict[str, Any]:
        """Returns all fields as JSON holds them, without empty optional ones."""
        values = {
            "version": VERSION,
            # Without what an earlier lrtrain did not write, which is no attribute of what was read from its file.
            **{name: value for name, value in dataclasses.asdict(self).items() if name in vars(self)},
            "plugins": [dict(table) for table in self.plugins],
            "train": self.train.to_json(),
            "resumed": [dataclasses.asdict(each) for each in self.resumed],
        }
        return {name: value for name, value in values.items() if name not in _OPTIONAL or value not in (None, [], {})}

    @classmethod
    def from_json(cls, values: Any, title: str = "config.json") -> RunConfig:
        """Returns what `to_json`, or an earlier lrtrain, wrote; raises InvalidFileError when that is not of a run."""
        if not isinstance(values, dict):
            raise InvalidFileError(f"{title} is not that of a run")
        version = values.get("version")
        if version != VERSION:
            later = isinstance(version, int) and version > VERSION
            cure = ": it was written by a later lrtrain, so update this one" if later else ""
            raise InvalidFileError(
                f"{title} is of version {short(version)}, and this lrtrain reads version {VERSION}{cure}"
            )
        try:
            config = decode(values, cls, title, path_of)
            config.train.read_as_before()
            config.train.check()
            _ = config.specs
        except LrtrainError as error:
            raise InvalidFileError(f"{title}: {short(str(error), 300)}") from None
        if config.schedule.plugin >= len(config.plugins):
            raise InvalidFileError(
                f"{title}: schedule.plugin is {config.schedule.plugin}, and there are {len(config.plugins)} plugins"
            )
        return config


def is_config(values: object) -> bool:
    """Returns whether the values of a ``config.json`` are those of a run, and not of another tool."""
    return isinstance(values, dict) and {"version", "train", "plugins"} <= values.keys()


def read_config(run_dir: RunDir) -> RunConfig:
    """Returns the configuration of a run that is resumed; raises RunDirError when it cannot be read."""
    try:
        if not run_dir.config.exists():
            raise RunDirError(f"{run_dir.path} holds no run to resume: it has no {run_dir.config.name}")
        return RunConfig.from_json(read_json(run_dir.config))
    except InvalidFileError as error:
        raise RunDirError(f"the run in {run_dir.path} cannot be resumed: {error}") from error
    except OSError as error:
        raise RunDirError(f"{run_dir.path} cannot be read ({error.strerror}), so it cannot be resumed") from error


def write_config(run_dir: RunDir, config: RunConfig) -> None:
    """Writes ``config.json``, atomically."""
    write_whole(run_dir.config, json.dumps(config.to_json(), indent=2) + "\n")
