"""The page of a comparison, with how it was made and the commands that make it again."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtrain.comparison.plan import Plan
from lrtrain.comparison.rows import Row, labelled
from lrtrain.comparison.store import Store
from lrtrain.comparison.verdict import verdict
from lrtrain.errors import LrtrainError
from lrtrain.plugins import options
from lrtrain.plugins.loading import activate
from lrtrain.plugins.spec import Spec, file_and_class, parse_spec
from lrtrain.report.numbers import by_score, curves_of_runs, differences, final_scores, tunings
from lrtrain.report.page import charts
from lrtrain.report.page.render import Chart, Page, ScheduleSection, section
from lrtrain.runs.command import train_options
from lrtrain.runs.reading import Logged, read_run
from lrtrain.schedules.table import build_table, make_context
from lrtrain.workloads.headline import Headline
from lrtrain.workloads.wording import Wording, title_of, wording

if TYPE_CHECKING:
    from lrtrain.comparison.result import Comparison

# A length at which it is tried whether two schedules are the same: steps, and those of an epoch.
_TRIED_STEPS = (2000, 200)


def page_of_comparison(comparison: Comparison, runs: Mapping[str, Sequence[Logged]]) -> Page:
    """Returns what stands on the page of a comparison; ``runs`` are from `lrtrain.report.numbers.measured_runs`."""
    plan, evidence, words = comparison.plan, comparison.evidence, _words(comparison.plan)
    return Page(
        title=f"{len(plan.rows)} learning-rate schedules on {title_of(plan.train.workload, plan.train.dataset)}",
        verdict=tuple(verdict(evidence)),
        explanation=tuple(_explained(comparison, evidence.baseline)),
        table=comparison.table.sorted_by(comparison.headline.name),
        charts=tuple(_charts(comparison, runs, words)),
        schedules=tuple(_schedules(comparison, runs)),
        facts=_facts(comparison),
    )


def _charts(comparison: Comparison, runs: Mapping[str, Sequence[Logged]], words: Wording) -> Iterator[Chart]:
    numbers, headline = {row.label: index for index, row in enumerate(comparison.plan.rows)}, comparison.headline
    if any(math.isfinite(row.score.mean) for row in comparison.evidence.rows):
        yield charts.scores_chart(by_score(comparison.evidence), final_scores(comparison), numbers, headline)
    if runs:
        ordered = [(numbers[label], curves_of_runs(label, each, headline)) for label, each in runs.items()]
        yield from charts.curve_charts(ordered, headline, words)
    tuned = tunings(comparison)
    if tuned:
        yield charts.basin_chart(tuned, headline)
    pairs = differences(comparison.evidence, comparison.standing.results)
    if comparison.plan.protocol == "fair" and len(pairs.labels) > 1:
        yield charts.differences_chart(pairs, headline)


def _schedules(comparison: Comparison, runs: Mapping[str, Sequence[Logged]]) -> Iterator[ScheduleSection]:
    for number, row in enumerate(comparison.plan.rows):
        scale = comparison.evidence.row(row.label).scale
        spec = _with_options(comparison, row, runs.get(row.label, ()))
        more = {"(with)": " + ".join(map(str, row.observers))} if row.observers else {}
        if comparison.plan.protocol == "fair":
            more["(scale)"] = f"{scale:g} times all of its learning rates"
        yield section(number, row.label, spec, tuple(_commands(comparison, row, spec, scale)), more)


def _with_options(comparison: Comparison, row: Row, runs: Sequence[Logged]) -> Spec:
    """Returns a schedule with all of its options, where a run has noted them, else with those that were given."""
    paths = (Store(comparison.directory).place(comparison.plan, each.trial) for each in comparison.measured(row.label))
    noted = (read_run(path) for path in paths if (path / "config.json").exists())
    run = runs[0].run if runs else next(noted, None)
    return Spec(row.spec.name, run.head.schedule.options) if run and run.head else row.spec


def _commands(comparison: Comparison, row: Row, spec: Spec, scale: float) -> Iterator[tuple[str, str]]:
    """Yields commands with a remark; ``spec`` is the schedule with all of its options."""
    plan = comparison.plan
    if (whole := compare_command(plan)) is not None:
        yield "Reproduces its runs, with the whole comparison:", whole
    if plan.protocol == "as-is":
        if _writable(row):
            yield "Reproduces this run:", _train_command(plan, row.specs, None)
        return
    scaled = at_scale(spec, row.observers, scale)
    held_out = comparison.about.get("held_out", plan.holdout)
    if scaled is not None and held_out is not None:
        remark = "Trains it alone, with the learning rates that were measured and the examples that were trained on:"
        yield remark, _train_command(plan, (scaled, *row.observers), held_out)


def at_scale(spec: Spec, observers: Sequence[Spec], scale: float) -> Spec | None:
    """Returns a schedule with options that have the same effect as a factor on its learning rates.

    None where no options have, such as those of the schedules that another one joins, or its plugin is not installed.
    """
    # A page imports no file because a comparison names it.
    if any(file_and_class(each.name) for each in (spec, *observers)):
        return None
    try:
        plugin = activate([spec, *observers]).plugins[0]
        context = make_context(*_TRIED_STEPS)
        table = build_table(activate([spec]), context)
        scaled = Spec(spec.name, {**spec.options, **options.scaled(plugin.instance, scale)})
        other = build_table(activate([scaled]), context)
    except LrtrainError:
        return None
    same = np.allclose(other.values, np.float32(scale) * table.values, rtol=1e-5, atol=0)
    return scaled if same and parse_spec(str(scaled)) == scaled else None


def _facts(comparison: Comparison) -> dict[str, str]:
    about: dict[str, Any] = dict(comparison.about)
    device = about.get("device", {})
    facts = {"devices": f"{device.get('count')} x {device.get('kind')}", "runs": str(len(comparison.outcomes))}
    facts |= {
        f"train {name}": str(value) for name, value in comparison.plan.train.to_json().items() if value is not None
    }
    return facts | {name: str(version) for name, version in about.get("versions", {}).items()}


def _explained(comparison: Comparison, baseline: str) -> Iterator[str]:
    """Yields paragraphs that say how a comparison was made, for readers who have not read its documentation."""
    plan = comparison.plan
    trained_on = title_of(plan.train.workload, plan.train.dataset)
    yield (
        f"Only the schedule differs, and what its plugin does: network, data ({trained_on}), optimizer "
        f"({plan.train.optimizer}), batch ({plan.train.batch_size}) and number of updates ({plan.effort.epochs} "
        f"epochs) are the same for all. {_of_stopped(comparison)}"
    )
    if plan.protocol == "as-is":
        yield (
            "Each schedule was trained once, as it stands, and tested on the test set after every epoch. That "
            "repeats a listing; it is no basis for choosing a schedule, because another seed may give another order."
        )
        return
    yield f"Tuning: {_held_out(plan)} {_how_tuned(plan, comparison.headline)}"
    looks = plan.effort.looks
    up_to = f"{looks[-1]} seeds" if len(looks) == 1 else f"up to {looks[-1]} seeds"
    yield (
        f"Measuring: with that factor each schedule was trained on {up_to} that the tuning has not seen. One seed "
        f"means the same initial weights and the same order of {_words(plan).examples} for every schedule, so "
        f"results are compared seed by seed. The test set was used once in each run, after the last step."
        f"{_of_looks(looks)}"
    )
    against = "every other" if plan.all_pairs else f"{baseline}, which was fixed before measuring"
    for_looks = " and for the looks" if len(looks) > 1 else ""
    yield (
        f"Deciding: each schedule was compared with {against}. Better is said only where a sign-flip permutation test "
        f"of all pairs together, corrected for their number (Westfall and Young){for_looks}, says with p below "
        f"0.05 that the mean of the paired differences exceeds what the choice of the factors may have caused"
        f"{_of_margins(comparison)}. All else is a tie: this evidence does not distinguish the two, which does not "
        "make them equal. The answer is about these options, this network, these data and this length of training."
    )


def _of_stopped(comparison: Comparison) -> str:
    """Returns a sentence about the runs that did fewer updates, because a plugin ended them; empty without any."""
    measured = {row.label: comparison.measured(row.label) for row in comparison.plan.rows}
    early = {label: sum(each.state == "stopped" for each in runs) for label, runs in measured.items()}
    said = [f"{count} of the {len(measured[label])} of {label}" for label, count in early.items() if count]
    return f"Runs that their plugin ended earlier, with fewer updates: {', '.join(said)}." if said else ""


def _how_tuned(plan: Plan, headline: Headline) -> str:
    effort = plan.effort
    scales, examples = ", ".join(f"{scale:g}" for scale in effort.scales), _words(plan).examples
    seeds = "one seed" if effort.grid_seeds == 1 else f"{effort.grid_seeds} seeds"
    times = "highest learning rate at the workload's own" if effort.refines else "learning rates"
    tried = f"Every schedule was trained with its {times} times {scales}, {seeds} each"
    wider = "A best factor at the edge of these extended them, and every other schedule got as many more trials."
    judged = f"{headline.name} of the held-out {examples} after the last step"
    if not effort.refines:
        return f"{tried}, and the factor with the lowest median loss on the held-out {examples} was kept. {wider}"
    seeds = "one seed" if effort.tuning_seeds == 1 else f"{effort.tuning_seeds} seeds"
    return (
        f"{tried} (by a factor on all of its learning rates). {wider} Then five more factors, within an octave of the "
        f"best, were trained with {seeds} each. The factor at which a parabola through the {judged} is best was kept."
    )


def _of_looks(looks: Sequence[int]) -> str:
    if len(looks) == 1:
        return ""
    return (
        f" After {', '.join(map(str, looks[:-1]))} seeds, and at the end, it was looked which pairs were decided, or "
        "could hardly be any more; a schedule without an open pair was not trained on further seeds."
    )


def _of_margins(comparison: Comparison) -> str:
    margins = [pair.margin for pair in comparison.evidence.differences]
    if not margins or not max(margins):
        return ""
    low, high = map(comparison.headline.difference, (min(margins), max(margins)))
    points = comparison.headline.points
    return f" ({f'{low}{points}' if low == high else f'{low} to {high}{points}, by pair'}; fixed before measuring)"


def _words(plan: Plan) -> Wording:
    return wording([plan.train.workload])


def _held_out(plan: Plan) -> str:
    if plan.holdout is None:
        return "the validation examples are the workload's own, or a twelfth of its training examples."
    return f"{plan.holdout} training examples were held out."


def compare_command(plan: Plan) -> str | None:
    """Returns the command that makes a comparison again; None when no command line says it."""
    given = list(map(str, plan.rows))
    if plan.protocol == "as-is" or not all(map(_writable, plan.rows)) or labelled(given) != plan.rows:
        return None
    words = ["lrtrain", "compare", *(word for each in given for word in ("--plugin", each)), *_effort(plan)]
    words += train_options(dataclasses.replace(plan.train, epochs=type(plan.train)().epochs))
    return shlex.join(words)


def _effort(plan: Plan) -> Iterator[str]:
    effort = plan.effort
    yield from ("--lr-scales", ",".join(map(repr, effort.scales)))
    for name in ("tuning_seeds", "seeds", "epochs"):
        yield from (f"--{name.replace('_', '-')}", str(getattr(effort, name)))
    if not effort.refine:
        yield "--no-refine"
    if effort.exhaustive:
        yield "--exhaustive"
    if plan.holdout is not None:
        yield from ("--holdout", str(plan.holdout))
    if plan.baseline is not None:
        yield from ("--baseline", plan.baseline)
    if plan.all_pairs:
        yield "--all-pairs"


def _train_command(plan: Plan, specs: Sequence[Spec], held_out: int | None) -> str:
    """Returns the command that trains a schedule alone."""
    plugins = [word for spec in specs for word in ("--plugin", str(spec))]
    holdout = ["--holdout", str(held_out)] if held_out else []
    return shlex.join(["lrtrain", *plugins, *holdout, *train_options(plan.train)])


def _writable(row: Row) -> bool:
    return all(parse_spec(str(spec)) == spec for spec in row.specs)
