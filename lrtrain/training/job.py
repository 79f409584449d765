"""The task of a call of `train`: a new run, or a run to continue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrtrain.errors import UsageError
from lrtrain.plugins.loading import ActivePlugins, activate
from lrtrain.plugins.spec import Spec
from lrtrain.runs.conditions import file_versions, versions
from lrtrain.runs.directory import RunDir, check_name, new_run_dir
from lrtrain.runs.run_config import RunConfig, read_config
from lrtrain.runs.train_config import TrainConfig, TrainOptions, resolved
from lrtrain.training.checkpoint_rule import AUTO, CheckpointRule
from lrtrain.training.configure import check_workload_options, configured, specs
from lrtrain.training.initial import initial_checkpoint
from lrtrain.training.rates import OnScheduleChange, merge_config
from lrtrain.training.same_in_processes import call_facts, code_fact, option_facts, workload_fact
from lrtrain.workloads.loading import Chosen, choose


@dataclass(frozen=True, eq=False)
class Job:
    """The task of a call of `train`, checked as far as is possible without data and JAX.

    ``stored`` is the content of ``config.json``, None for a new run. If the directory is not ``named`` by the user, a
    number is added to its name when it exists. The last two are arguments of `train`, of effect when a run continues.
    """

    active: ActivePlugins
    config: TrainConfig
    chosen: Chosen
    run_dir: RunDir
    stored: RunConfig | None
    rule: CheckpointRule
    named: bool = True
    on_schedule_change: OnScheduleChange | None = None
    accept_code_change: bool = False

    def goes_past(self, step: int) -> bool:
        """Returns whether a run that a plugin has stopped after ``step`` updates is to train further.

        It is with other plugins or options, or with more epochs; this decision is stored, so the user makes it once.
        """
        if self.stored is None or self.stored.past_stop == step:
            return True
        specs = tuple(plugin.spec() for plugin in self.active.plugins)
        return specs != self.stored.specs or self.config.epochs > self.stored.train.epochs

    def versions(self) -> dict[str, str]:
        """Returns the present versions of the packages and files that the run depends on."""
        entries = [plugin.entry for plugin in self.active.plugins] + ([self.chosen.entry] if self.chosen.entry else [])
        return {**versions(*entries), **file_versions(self.config)}

    def facts(self, run_dir: str | Path | None) -> dict[str, Any]:
        """Returns what all processes of a call of `train` are given alike, with ``run_dir`` as it was given."""
        facts = {
            "command": "train",
            "plugins": [plugin.entry.name for plugin in self.active.plugins],
            **workload_fact(self.chosen),
            **call_facts(self.config, self.stored is not None, run_dir),
            "on_schedule_change": self.on_schedule_change,
            "checkpoint_every": self.rule.text,
        }
        for plugin in self.active.plugins:
            facts[f"version of plugin {plugin.entry.name}"] = code_fact(plugin.entry)
            facts.update(option_facts(plugin.entry.name, plugin.spec()))
        return facts


def job_of(  # noqa: PLR0913  # the arguments of `train`
    plugins: Sequence[Spec | str | Mapping[str, Any]],
    settings: Sequence[str],
    run_dir: str | Path | None,
    options: TrainOptions,
    rule: CheckpointRule | None,
    *,
    resume: bool,
    on_schedule_change: OnScheduleChange | None,
    accept_code_change: bool,
) -> Job:
    """Returns the task of a call of `train`; raises UsageError when it cannot be done."""
    if not resume:
        config, chosen = configured(options)
        active = activate(plugins, settings, factor=chosen.factor, headline=chosen.workload.headline)
        name = active.schedule_plugin().entry.name
        directory = new_run_dir(run_dir, name)
        stored, rule, named = None, rule or AUTO, run_dir is not None
        return Job(active, config, chosen, directory, stored, rule, named, on_schedule_change, accept_code_change)
    if run_dir is None:
        raise UsageError("--resume needs --run-dir DIR: the directory of the run to continue")
    directory = RunDir(Path(run_dir).expanduser().absolute())
    check_name(directory.path)
    stored = read_config(directory)
    chosen = choose(options.get("workload", stored.train.workload), options.get("model", stored.train.model))
    config = merge_config(stored.train, {**resolved(options), **specs(chosen), **initial_checkpoint(options)})
    config.check()
    check_workload_options(config, chosen, options)
    active = activate(
        plugins or stored.specs, settings, override=not plugins, factor=chosen.factor, headline=chosen.workload.headline
    )
    active.schedule_plugin()
    rule = rule or CheckpointRule.parse(stored.checkpoint_every or AUTO.text)
    return Job(active, config, chosen, directory, stored, rule, True, on_schedule_change, accept_code_change)
