"""The words of a page: how a comparison was made, the commands that make it again, what a plugin says of itself."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator

from lrtrain.comparison.plan import HOLDOUT, Plan, labelled
from lrtrain.errors import LrtrainError
from lrtrain.plugins.discovery import find_plugin
from lrtrain.plugins.spec import Spec, format_value, parse_spec
from lrtrain.runs.command import train_options


def explained(plan: Plan, baseline: str) -> Iterator[str]:
    """Yields paragraphs that say how a comparison was made, for readers who have not read its documentation."""
    yield (
        f"Only the schedule differs: network, data ({plan.train.dataset}), optimizer ({plan.train.optimizer}), batch "
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
        f"Tuning: {plan.holdout} training images were held out. Every schedule was trained with its learning rates "
        f"times {scales}, {plan.effort.tuning_seeds} seeds each, and the factor whose median loss on the held-out "
        "images was lowest after the last step was kept. A best factor at the edge of these extends them, and every "
        "other schedule gets as many more trials."
    )
    yield (
        f"Measuring: with that factor each schedule was trained on {plan.effort.seeds} seeds that the tuning has not "
        "seen. One seed means the same initial weights and the same order of images for every schedule, so results "
        "are compared seed by seed. The test set was used once, after the last step."
    )
    against = "every other" if plan.all_pairs else f"{baseline}, which was fixed before measuring"
    yield (
        f"Deciding: each schedule was compared with {against}. Better is said only where the 95% interval of the "
        "paired difference leaves out 0 and a sign-flip permutation test, corrected after Holm for the number of "
        "pairs, gives p below 0.05. All else is a tie: this evidence does not distinguish the two."
    )


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
    if plan.holdout != HOLDOUT:
        yield from ("--holdout", str(plan.holdout))
    if plan.baseline is not None:
        yield from ("--baseline", plan.baseline)
    if plan.all_pairs:
        yield "--all-pairs"


def train_command(plan: Plan, spec: Spec) -> str | None:
    """Returns the command that trains a schedule alone, on all training images; None when no command line says it."""
    if not _writable(spec):
        return None
    return shlex.join(["lrtrain", "--plugin", str(spec), *train_options(plan.train)])


def _writable(spec: Spec) -> bool:
    return parse_spec(str(spec)) == spec


def summary_of(spec: Spec) -> str:
    """Returns the name of a plugin with the description of its package, whether it is still installed or not."""
    try:
        summary = find_plugin(spec.name).summary
    except LrtrainError:
        summary = "the plugin is not installed here"
    return f"{spec.name}: {summary}"


def options_in_words(spec: Spec) -> dict[str, str]:
    """Returns the value of each option of a spec, as a spec has it."""
    return {name: format_value(value) for name, value in spec.options.items()}
