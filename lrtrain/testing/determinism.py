"""Checks that a schedule is a function of its options and the run's length, and of nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lrtrain.plugins.spec import Spec
from lrtrain.testing.failure import require
from lrtrain.testing.processes import ask
from lrtrain.testing.subject import Subject

_CURE = "a schedule depends on its options and the run's length alone"
_CODE = """
from lrtrain.plugins.loading import activate
from lrtrain.schedules.table import build_table, fingerprint, make_context
print(json.dumps([
    fingerprint(build_table(activate([spec]), make_context(steps, min(47, steps))).values) for spec, steps in given
]))
"""


def two_builds_agree(subject: Subject) -> None:
    """Built again, from all its options as a run writes them down, it has the same bits."""
    from lrtrain.plugins.loading import activate
    from lrtrain.schedules.table import build_table, make_context

    for spec, total_steps in subject.looked_at():
        context = make_context(total_steps, min(47, total_steps))
        first = subject.table(spec, total_steps)
        written = subject.active(spec).schedule_plugin().spec()
        again = build_table(activate([Spec.of(str(written))]), context)
        require(np.array_equal(first, again.values), f"'{spec}' built twice has two curves: {_CURE}")
        require(again.spec == written, f"'{spec}' is read back as '{again.spec}' from '{written}'")


def two_processes_agree(subject: Subject) -> None:
    """Another process has the same bits."""
    from lrtrain.schedules.table import fingerprint

    theirs = subject.elsewhere.result() if subject.elsewhere else _fingerprints(subject.name, _given(subject))
    for (spec, total_steps), there in zip(subject.looked_at(), theirs, strict=True):
        here = fingerprint(subject.table(spec, total_steps))
        require(here == there, f"'{spec}' has another curve in another process: {_CURE}")


def begin_elsewhere(subject: Subject) -> None:
    """Starts the other process, which takes a second or more, while other checks run."""
    pool = ThreadPoolExecutor(1)
    subject.elsewhere = pool.submit(_fingerprints, subject.name, _given(subject))
    pool.shutdown(wait=False)


def _given(subject: Subject) -> list[tuple[str, int]]:
    return [(str(spec), total_steps) for spec, total_steps in subject.looked_at()]


def _fingerprints(name: str, given: list[tuple[str, int]]) -> list[str]:
    return list(ask(_CODE, given, f"plugin '{name}' is built", PYTHONHASHSEED="1", JAX_PLATFORMS="cpu"))
