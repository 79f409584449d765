"""All that is examined, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lrtrain.doctor.data import examine_data
from lrtrain.doctor.finding import Finding
from lrtrain.doctor.installation import examine_packages, examine_plugins, examine_python
from lrtrain.doctor.machine import (
    examine_cache,
    examine_devices,
    examine_environment,
    examine_numbers,
    examine_room,
)
from lrtrain.errors import cause

_EXAMINATIONS: tuple[Callable[[], Iterator[Finding]], ...] = (
    examine_python,
    examine_packages,
    examine_environment,
    examine_devices,
    examine_numbers,
    examine_plugins,
    examine_data,
    examine_cache,
    examine_room,
)


def examine() -> Iterator[Finding]:
    """Yields what each examination finds; one that fails is a fault, and the others go on."""
    for examination in _EXAMINATIONS:
        try:
            yield from examination()
        except Exception as error:  # noqa: BLE001  # a broken installation can raise anything; that is what is asked
            subject = examination.__name__.removeprefix("examine_")
            yield Finding(subject, "fault", f"cannot be examined: {cause(error)}")
