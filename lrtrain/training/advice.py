"""What a user should know about learning rates before a run, and about its loss after it."""

from __future__ import annotations

from lrtrain.engine.optimizers import is_proportional_to_the_gradient
from lrtrain.plugins.loading import Plugin
from lrtrain.plugins.options import scaled_defaults
from lrtrain.plugins.spec import format_value
from lrtrain.runs.train_config import TrainConfig
from lrtrain.workloads.loading import Chosen

# Of the loss of a guess: a network that has learned something is below it.
_LEARNED = 0.99


def before_training(config: TrainConfig, chosen: Chosen, plugin: Plugin, peak: float) -> list[str]:
    """Returns sentences about the learning rates of a new run, the highest of which is ``peak``."""
    said = []
    options = plugin.spec().options
    defaults = {name: value for name, value in scaled_defaults(type(plugin.instance), chosen.factor).items() if value}
    if kept := [name for name, value in defaults.items() if format_value(options[name]) == format_value(value)]:
        said.append(
            f"learning rates that are defaults of {plugin.entry.name} ({', '.join(kept)}) are multiplied by "
            f"{chosen.factor:g} for the workload {chosen.name}"
        )
    usual = chosen.workload.defaults
    if config.loss_reduction == usual.loss_reduction or not is_proportional_to_the_gradient(config.optimizer):
        return said
    times = config.batch_size if config.loss_reduction == "mean" else 1 / config.batch_size
    said.append(
        f"with the {config.loss_reduction} of the losses a learning rate has the effect that one of {1 / times:.3g} "
        f"times its size has with the {usual.loss_reduction}, for which the defaults are made: {peak:.3g} is the "
        f"highest of this run, and {peak * times:.3g} would be right"
    )
    return said


def after_training(loss: float, guess: float | None) -> str | None:
    """Returns a sentence about a loss on the test set that is not below that of a guess; None if it is below."""
    if guess is None or loss < _LEARNED * guess:
        return None
    return (
        f"the test loss of {loss:.4g} is not below {guess:.4g}, that of the best answer that is the same for every "
        "example: the learning rate is too low, too high, or the network has not learned for another reason"
    )
