"""What the authors of plugins test with: a class to inherit from, and the checks that it runs.

`SchedulePluginSuite` needs pytest and hypothesis (``pip install 'lrtrain[testing]'``); the checks themselves, which
``lrtrain plugins check NAME`` runs too, need neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lrtrain.testing.failure import CheckFailed

if TYPE_CHECKING:
    from lrtrain.testing.suite import SchedulePluginSuite

__all__ = ["CheckFailed", "SchedulePluginSuite"]


def __getattr__(name: str) -> Any:
    """Imports the suite when it is first used, so that the checks can be had without pytest."""
    if name != "SchedulePluginSuite":
        raise AttributeError(f"module 'lrtrain.testing' has no attribute {name!r}")
    from lrtrain.testing.extras import check_extras

    check_extras()
    from lrtrain.testing.suite import SchedulePluginSuite

    return SchedulePluginSuite
