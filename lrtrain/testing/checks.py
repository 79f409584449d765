"""The list of all checks of plugins, which the suite and ``lrtrain plugins check`` run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lrtrain.errors import LrtrainError, cause
from lrtrain.plugins.discovery import read_once
from lrtrain.testing import (
    boundaries,
    determinism,
    documentation,
    drawn,
    durations,
    formulas,
    hooks,
    loading,
    modes,
    refusals,
    values,
)
from lrtrain.testing.failure import CheckFailed, NotApplicable
from lrtrain.testing.subject import Provided, Subject

Check = Callable[[Any], None]
"""A function of a `Subject`, or of another `Provided`, which raises what `run` does."""

FIRST: tuple[Check, ...] = (loading.discovered, loading.loads_alone, hooks.hooks_are_right)
"""What must hold before anything else can be checked."""
OF_ANY: tuple[Check, ...] = (
    loading.imports_nothing_heavy,
    loading.imports_fast,
    loading.touches_nothing_on_import,
    documentation.is_documented,
    documentation.readme_has_the_options,
    documentation.examples_run,
    refusals.unknown_options_are_refused,
    refusals.wrong_types_are_refused,
)
OF_SCHEDULES: tuple[Check, ...] = (
    hooks.builds_one_schedule,
    documentation.has_a_formula_or_a_reference,
    values.every_value_is_usable,
    values.traits_hold,
    modes.same_eager_compiled_and_mapped,
    modes.same_for_every_kind_of_count,
    modes.traced_once,
    determinism.two_builds_agree,
    determinism.two_processes_agree,
    boundaries.boundaries_are_exact,
    durations.shares_are_exact,
    formulas.formula_agrees,
    drawn.drawn_options_are_safe,
)
CHECKS = FIRST + OF_ANY + OF_SCHEDULES


@dataclass(frozen=True)
class CheckResult:
    """How one check of a plugin ended, and why when it did not pass."""

    check: str
    state: Literal["passed", "failed", "skipped"]
    reason: str = ""


def run(check: Check, subject: Provided) -> None:
    """Runs one check.

    Raises:
      CheckFailed: the plugin fails the check, as it also does by raising any other error.
      NotApplicable: the check does not apply to this plugin.
    """
    try:
        with read_once():
            if check in OF_SCHEDULES and isinstance(subject, Subject):
                _check_has_schedule(subject)
            check(subject)
    except (CheckFailed, NotApplicable):
        raise
    except LrtrainError as error:
        raise CheckFailed(str(error)) from error
    except Exception as error:
        raise CheckFailed(f"{subject.title} raises {cause(error)}") from error


def _check_has_schedule(subject: Subject) -> None:
    """Raises NotApplicable where there is no schedule to check."""
    if not subject.builds_schedule:
        raise NotApplicable("it builds no schedule")
    if not subject.specs:
        raise NotApplicable(f"its defaults name plugins that are not installed: {subject.missing_parts}")


def outcomes(
    subject: Provided, checks: Sequence[Check] = CHECKS, first: Sequence[Check] = FIRST
) -> Iterator[CheckResult]:
    """Runs the checks in order and yields how each ended; if one of the ``first`` has failed, the rest is skipped."""
    broken = ""
    for check in checks:
        outcome = CheckResult(check.__name__, "skipped", broken) if broken else _outcome(check, subject)
        if check in first and outcome.state == "failed":
            broken = f"{check.__name__} has failed"
        if check is hooks.builds_one_schedule and outcome.state == "passed" and isinstance(subject, Subject):
            determinism.begin_elsewhere(subject)
        yield outcome


def _outcome(check: Check, subject: Provided) -> CheckResult:
    try:
        run(check, subject)
    except CheckFailed as failure:
        return CheckResult(check.__name__, "failed", str(failure))
    except NotApplicable as reason:
        return CheckResult(check.__name__, "skipped", str(reason))
    return CheckResult(check.__name__, "passed")
