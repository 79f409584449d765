"""The page of a comparison, with how it was made and the commands that make it again."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lrtrain.comparison.evidence import verdict
from lrtrain.comparison.plan import Plan, Row, labelled
from lrtrain.comparison.store import Store
from lrtrain.comparison.table import table_of
from lrtrain.plugins.spec import Spec, parse_spec
from lrtrain.report.numbers import by_score, curves_of_runs, differences, final_scores, tunings
from lrtrain.report.page import charts
from lrtrain.report.page.render import Chart, Page, ScheduleSection, section
from lrtrain.runs.command import train_options
from lrtrain.runs.reading import Logged, read_run
from lrtrain.workloads.wording import Wording, title_of, wording

if TYPE_CHECKING:
    from lrtrain.comparison.result import Comparison


def page_of_comparison(comparison: Comparison, runs: Mapping[str, Sequence[Logged]]) -> Page:
    """Returns what stands on the page of a comparison; ``runs`` are from `lrtrain.report.numbers.measured_runs`."""
    plan, evidence, words = comparison.plan, comparison.evidence, _words(comparison.plan)
    return Page(
        title=f"{len(plan.rows)} learning-rate schedules on {title_of(plan.train.workload, plan.train.dataset)}",
        verdict=tuple(verdict(evidence)),
        explanation=tuple(_explained(plan, evidence.baseline)),
        table=table_of(evidence, fair=plan.protocol == "fair", words=words).sorted_by(comparison.headline.name),
        charts=tuple(_charts(comparison, runs, words)),
        schedules=tuple(_schedules(comparison, runs)),
        facts=_facts(comparison),
    )


def _charts(comparison: Comparison, runs: Mapping[str, Sequence[Logged]], words: Wording) -> Iterator[Chart]:
    numbers, headline = {row.label: index for index, row in enumerate(comparison.plan.rows)}, comparison.headline
    if any(math.isfinite(row.score.mean) for row in comparison.evidence.rows):
        yield charts.scores_chart(by_score(comparison), final_scores(comparison), numbers, headline)
    if runs:
        ordered = [(numbers[label], curves_of_runs(label, each, headline)) for label, each in runs.items()]
        yield from charts.curve_charts(ordered, headline, words)
    tuned = tunings(comparison)
    if tuned:
        yield charts.basin_chart(tuned, headline)
    pairs = differences(comparison)
    if comparison.plan.protocol == "fair" and len(pairs.labels) > 1:
        yield charts.differences_chart(pairs, headline)


def _schedules(comparison: Comparison, runs: Mapping[str, Sequence[Logged]]) -> Iterator[ScheduleSection]:
    for number, row in enumerate(comparison.plan.rows):
        scale = comparison.evidence.row(row.label).scale
        spec = _with_options(comparison, row, runs.get(row.label, ()))
        commands = tuple(_commands(comparison.plan, row, scale))
        said = f"{scale:g} times all of its learning rates"
        more = {"(scale)": said} if comparison.plan.protocol == "fair" else {}
        yield section(number, row.label, spec, commands, more)


def _with_options(comparison: Comparison, row: Row, runs: Sequence[Logged]) -> Spec:
    """Returns a schedule with all of its options, where a run has noted them, else with those that were given."""
    paths = (Store(comparison.directory).place(comparison.plan, each.trial) for each in comparison.measured(row.label))
    noted = (read_run(path) for path in paths if (path / "config.json").exists())
    run = runs[0].run if runs else next(noted, None)
    return Spec(row.spec.name, run.head.schedule.options) if run and run.head else row.spec


def _commands(plan: Plan, row: Row, scale: float) -> Iterator[tuple[str, str]]:
    whole, alone = compare_command(plan), _train_command(plan, row.spec)
    if whole is not None:
        yield "Reproduces its runs, with the whole comparison:", whole
    if alone is not None and plan.protocol == "as-is":
        yield "Reproduces this run:", alone
    elif alone is not None:
        examples = f"all training {_words(plan).examples}"
        yield f"Trains it alone, on {examples}, at a scale of 1 (the comparison chose {scale:g}):", alone


def _facts(comparison: Comparison) -> dict[str, str]:
    about: dict[str, Any] = dict(comparison.about)
    device = about.get("device", {})
    facts = {"devices": f"{device.get('count')} x {device.get('kind')}", "runs": str(len(comparison.outcomes))}
    facts |= {
        f"train {name}": str(value) for name, value in comparison.plan.train.to_json().items() if value is not None
    }
    return facts | {name: str(version) for name, version in about.get("versions", {}).items()}


def _explained(plan: Plan, baseline: str) -> Iterator[str]:
    """Yields paragraphs that say how a comparison was made, for readers who have not read its documentation."""
    trained_on, examples = title_of(plan.train.workload, plan.train.dataset), _words(plan).examples
    yield (
        f"Only the schedule differs: network, data ({trained_on}), optimizer ({plan.train.optimizer}), batch "
        f"({plan.train.batch_size}) and number of updates ({plan.effort.epochs} epochs) are the same for all."
    )
    if plan.protocol == "as-is":
        yield (
            "Each schedule was trained once, as it stands, and tested on the test set after every epoch. That "
            "repeats a listing; it is no basis for choosing a schedule, because another seed may give another order."
        )
        return
    scales = ", ".join(f"{scale:g}" for scale in plan.effort.scales)
    yield (
        f"Tuning: {_held_out(plan)} Every schedule was trained with its learning rates "
        f"times {scales}, {plan.effort.tuning_seeds} seeds each, and the factor whose median loss on the held-out "
        f"{examples} was lowest after the last step was kept. A best factor at the edge of these extends "
        "them, and every other schedule gets as many more trials."
    )
    yield (
        f"Measuring: with that factor each schedule was trained on {plan.effort.seeds} seeds that the tuning has not "
        f"seen. One seed means the same initial weights and the same order of {examples} for every schedule, so "
        "results are compared seed by seed. The test set was used once, after the last step."
    )
    against = "every other" if plan.all_pairs else f"{baseline}, which was fixed before measuring"
    yield (
        f"Deciding: each schedule was compared with {against}. Better is said only where the 95% interval of the "
        "paired difference leaves out 0 and a sign-flip permutation test, corrected after Holm for the number of "
        "pairs, gives p below 0.05. All else is a tie: this evidence does not distinguish the two."
    )


def _words(plan: Plan) -> Wording:
    return wording([plan.train.workload])


def _held_out(plan: Plan) -> str:
    if plan.holdout is None:
        return "the validation examples are the workload's own, or a twelfth of its training examples."
    return f"{plan.holdout} training examples were held out."


def compare_command(plan: Plan) -> str | None:
    """Returns the command that makes a comparison again; None when no command line says it."""
    specs = [row.spec for row in plan.rows]
    if plan.protocol == "as-is" or labelled(specs) != plan.rows or not all(map(_writable, specs)):
        return None
    words = ["lrtrain", "compare", *(word for spec in specs for word in ("--plugin", str(spec))), *_effort(plan)]
    words += train_options(dataclasses.replace(plan.train, epochs=type(plan.train)().epochs))
    return shlex.join(words)


def _effort(plan: Plan) -> Iterator[str]:
    effort = plan.effort
    yield from ("--lr-scales", ",".join(map(repr, effort.scales)))
    for name in ("tuning_seeds", "seeds", "epochs"):
        yield from (f"--{name.replace('_', '-')}", str(getattr(effort, name)))
    if plan.holdout is not None:
        yield from ("--holdout", str(plan.holdout))
    if plan.baseline is not None:
        yield from ("--baseline", plan.baseline)
    if plan.all_pairs:
        yield "--all-pairs"


def _train_command(plan: Plan, spec: Spec) -> str | None:
    """Returns the command that trains a schedule alone, on all training examples; None when no command line says it."""
    if not _writable(spec):
        return None
    return shlex.join(["lrtrain", "--plugin", str(spec), *train_options(plan.train)])


def _writable(spec: Spec) -> bool:
    return parse_spec(str(spec)) == spec
