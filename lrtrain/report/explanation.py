"""How a comparison was made, for readers who have not read its documentation."""

from __future__ import annotations

from collections.abc import Iterator

from lrtrain.comparison.plan import Plan


def explained(plan: Plan, baseline: str) -> Iterator[str]:
    """Yields paragraphs that say how a comparison was made.

    Args:
      plan: of the comparison.
      baseline: the schedule that the others were measured against.
    """
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
    yield from (_tuning(plan), _measuring(plan), _deciding(plan, baseline))


def _tuning(plan: Plan) -> str:
    scales = ", ".join(f"{scale:g}" for scale in plan.effort.scales)
    return (
        f"Tuning: {plan.holdout} training images were held out. Every schedule was trained with its learning rates "
        f"times {scales}, {plan.effort.tuning_seeds} seeds each, and the factor whose median loss on the held-out "
        "images was lowest after the last step was kept. A best factor at the edge of these extends them, and every "
        "other schedule gets as many more trials."
    )


def _measuring(plan: Plan) -> str:
    return (
        f"Measuring: with that factor each schedule was trained on {plan.effort.seeds} seeds that the tuning has not "
        "seen. One seed means the same initial weights and the same order of images for every schedule, so results "
        "are compared seed by seed. The test set was used once, after the last step."
    )


def _deciding(plan: Plan, baseline: str) -> str:
    against = "every other" if plan.all_pairs else f"{baseline}, which was fixed before measuring"
    return (
        f"Deciding: each schedule was compared with {against}. Better is said only where the 95% interval of the "
        "paired difference leaves out 0 and a sign-flip permutation test, corrected after Holm for the number of "
        "pairs, gives p below 0.05. All else is a tie: this evidence does not distinguish the two."
    )
