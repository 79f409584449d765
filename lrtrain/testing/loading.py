"""Checks of how a plugin is found and imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrtrain.errors import PluginError
from lrtrain.plugins.discovery import find_plugins
from lrtrain.testing.failure import fail, require
from lrtrain.testing.processes import ask
from lrtrain.testing.subject import Provided

_HEAVY = ("flax", "jax", "keras", "matplotlib", "optax", "orbax", "pandas", "scipy", "tensorflow", "torch")
_INSIDE = "import it inside the function that needs it"
# What reaches outside of the process; to look up its own host's name does not.
_EVENTS = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostby", "socket.sendto", "urllib.Request",
           "subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn")  # fmt: skip
_TRIES = 3
_PROBE = """
import contextlib, importlib, importlib.util, io, time
begin = time.perf_counter()
import lrtrain.plugins.context, lrtrain.plugins.options, lrtrain.plugins
from lrtrain import hookimpl
for needed in given["needs"]:
    importlib.import_module(needed)
between = time.perf_counter()
before, events, printed = set(sys.modules), [], io.StringIO()
listening = True

def listen(event, arguments):
    if listening and event.startswith(tuple(given["events"])):
        events.append(event)

sys.addaudithook(listen)
module, _, name = given["value"].rpartition(":")

def imported():
    if not given["in_file"]:
        return importlib.import_module(module)
    spec = importlib.util.spec_from_file_location("in_file", module)
    sys.modules["in_file"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["in_file"])
    return sys.modules["in_file"]

error = None
with contextlib.redirect_stdout(printed):
    start = time.perf_counter()
    try:
        getattr(imported(), name)
    except (Exception, SystemExit) as caught:
        error = f"{type(caught).__name__}: {caught}".splitlines()[0].rstrip(": ")
    end = time.perf_counter()
listening, device = False, False
if "jax" in sys.modules:
    try:
        # Refused once a device has been used.
        sys.modules["jax"].config.update("jax_num_cpu_devices", 1)
    except Exception:
        device = True
print(json.dumps({
    "error": error, "events": events, "printed": printed.getvalue(), "device": device,
    "modules": sorted(set(sys.modules) - before), "own": end - start, "lrtrain": between - begin,
}))
"""


def discovered(subject: Provided) -> None:
    """One installed distribution provides it, by an entry point."""
    try:
        entry = subject.entry
    except PluginError as error:
        fail(str(error))
    module, _, name = entry.value.rpartition(":")
    require(module and name, f"the entry point of {entry.title} is '{entry.value}': write module:Class")


def loads_alone(subject: Provided) -> None:
    """It is imported in a fresh process, and no other plugin with it."""
    probed = _probe(subject)
    require(probed["error"] is None, f"{subject.title} fails to import: {probed['error']}")
    others = {
        entry.value.partition(":")[0]: entry.name
        for entry in find_plugins()
        if entry.distribution != subject.entry.distribution
    }
    for module in probed["modules"]:
        if module in others:
            fail(f"{subject.title} imports plugin '{others[module]}': name it in a spec, for context.build")


def imports_nothing_heavy(subject: Provided) -> None:
    """Importing it imports no slow library, for which lists and errors would have to wait."""
    loaded = {module.partition(".")[0] for module in _probe(subject)["modules"]}
    for name in _HEAVY:
        require(name not in loaded, f"{subject.title} imports {name} when it is imported: {_INSIDE}")


def imports_fast(subject: Provided) -> None:
    """Importing it takes no longer than importing lrtrain; the best of three times, each in a fresh process."""
    own = lrtrain = 0.0
    for attempt in range(_TRIES):
        probed = _probe(subject, attempt)
        own, lrtrain = probed["own"], probed["lrtrain"]
        if own <= lrtrain:
            return
    fail(
        f"{subject.title} takes {own:.1f} seconds to import, where lrtrain takes {lrtrain:.1f}: "
        f"do the work in {subject.inside}"
    )


def touches_nothing_on_import(subject: Provided) -> None:
    """Importing it opens no connection, starts no process, uses no device and prints nothing."""
    probed, title = _probe(subject), subject.title
    for event in probed["events"]:
        fail(f"{title} reaches outside when it is imported ({event}): do that in {subject.inside}")
    require(not probed["device"], f"{title} uses a device when it is imported: do that in {subject.inside}")
    require(not probed["printed"], f"{title} prints when it is imported: remove that")


def _probe(subject: Provided, attempt: int = 0) -> Mapping[str, Any]:
    """Returns what is seen when the plugin is imported in a fresh process."""
    probes: dict[int, Mapping[str, Any]] = subject.probes
    if attempt not in probes:
        entry = subject.entry
        given = {"value": entry.value, "events": _EVENTS, "needs": subject.needs, "in_file": entry.in_file}
        probes[attempt] = ask(_PROBE, given, f"{subject.title} is imported")
    return probes[attempt]
