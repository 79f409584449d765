"""What the authors of plugins test with: a class to inherit from, the checks that it runs, and `table`.

The suites need pytest and hypothesis (``pip install 'lrtrain[testing]'``). `table` and the checks, which ``lrtrain
plugins check`` and ``lrtrain workloads check`` run too, need neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lrtrain.testing.failure import CheckFailed
from lrtrain.testing.rates import table

if TYPE_CHECKING:
    from lrtrain.testing.suite import PluginSuite, SchedulePluginSuite, WorkloadSuite

__all__ = ["CheckFailed", "PluginSuite", "SchedulePluginSuite", "WorkloadSuite", "table"]


def __getattr__(name: str) -> Any:
    """Imports the suite when it is first used, so that the checks can be used without pytest."""
    if name not in {"PluginSuite", "SchedulePluginSuite", "WorkloadSuite"}:
        raise AttributeError(f"module 'lrtrain.testing' has no attribute {name!r}")
    from lrtrain.extras import absent

    if said := absent("testing", "lrtrain.testing"):
        raise ImportError(said)
    from lrtrain.testing import suite

    return getattr(suite, name)
