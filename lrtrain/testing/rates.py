"""The learning rates of a spec, for tests of the values, which only the author of a plugin knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrain.plugins.loading import activate
from lrtrain.plugins.spec import Spec
from lrtrain.schedules.table import build_table, make_context


def table(
    spec: Spec | str | Mapping[str, Any], total_steps: int = 100, steps_per_epoch: int | None = None
) -> NDArray[np.float32]:
    """Returns the learning rate of every step of a run, as it is applied, logged and shown.

    Args:
      spec: the plugin and its options, as text, table or `Spec`.
      total_steps: optimizer updates in the run; with the default of 100, one percent is one step.
      steps_per_epoch: optimizer updates in an epoch; needed only for durations in epochs (``3ep``).

    Returns:
      The learning rates, float32[total_steps]; the one at ``[t]`` is that of the update from step t to step t + 1.

    Raises:
      SpecError: the spec cannot be read.
      PluginError: the plugin is unknown or broken.
      OptionError: an option is refused.
      ScheduleError: the schedule cannot be built for this length, or has a value that is not finite or is negative.

    Example:
      >>> from lrtrain.testing import table
      >>> table("linear(init_value=1)", total_steps=4).tolist()
      [1.0, 0.75, 0.5, 0.25]
    """
    return build_table(activate([spec]), make_context(total_steps, steps_per_epoch)).values
