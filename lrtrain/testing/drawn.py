"""The check whose options hypothesis draws from their types."""

from __future__ import annotations

from typing import Any

import numpy as np

from lrtrain.errors import LrtrainError
from lrtrain.extras import absent
from lrtrain.plugins.spec import Spec
from lrtrain.testing.failure import NotApplicable, fail, require
from lrtrain.testing.subject import Subject, specs_in
from lrtrain.testing.values import is_one_sentence

EXAMPLES = 20
_LENGTHS = (7, 47, 100)
_BEYOND = 512


def drawn_options_are_safe(subject: Subject) -> None:
    """Whatever its options, there is one sentence, or learning rates that are finite and not negative.

    The schedule that `lrtrain.schedule` returns has the same values as the table.
    """
    if said := absent("testing", "a check of drawn options"):
        raise NotApplicable(said)
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    from lrtrain.testing.strategies import options

    usual = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )

    @usual
    @given(options(subject.plugin, _parts(subject)), st.sampled_from(_LENGTHS))
    def check(given_options: dict[str, Any], total_steps: int) -> None:
        _check(subject, Spec(subject.name, given_options), total_steps)

    check()


def _parts(subject: Subject) -> list[Spec]:
    """Returns what to draw for options that are specs: those that the examples, or else the defaults, name."""
    if not subject.specs:
        return []
    values = [vars(subject.active(spec).schedule_plugin().instance) for spec in subject.specs]
    return list({str(part): part for each in values for value in each.values() for part in specs_in(value)}.values())


def _check(subject: Subject, spec: Spec, total_steps: int) -> None:
    from lrtrain.testing.evaluation import exact_values
    from lrtrain.testing.modes import close

    try:
        built = subject.build(spec, total_steps)
    except LrtrainError as error:
        require(is_one_sentence(str(error)), f"'{spec}' is refused with {str(error)!r}: write one sentence")
        return
    (beyond,) = exact_values([built], _BEYOND)
    values = beyond[:total_steps]
    with np.errstate(over="ignore"):
        bad = ~(np.isfinite(values.astype(np.float32)) & (values >= 0))
    if bad.any():
        at = int(np.argmax(bad))
        fail(f"'{spec}' gives {values[at]:g} at step {at} of {total_steps}: refuse the options that lead there")
    rates = _applied(built, total_steps)
    # Rounding errors are relative to what the values are computed from, such as a peak after the end of the run.
    highest = np.max(beyond, where=np.isfinite(beyond), initial=0)
    wrong = ~close(rates, values, 1e-4) & (np.abs(rates - values) > 1e-6 * highest)
    if wrong.any():
        at = int(np.argmax(wrong))
        fail(f"'{spec}' gives {rates[at]:g} at step {at} of {total_steps} in float32, and {values[at]:g} in float64")


def _applied(built: Any, total_steps: int) -> Any:
    from lrtrain.testing.evaluation import is_traceable, mapped

    if not is_traceable(built):
        return np.array([float(built(step)) for step in range(total_steps)])
    return mapped(built, total_steps, np.int32)
