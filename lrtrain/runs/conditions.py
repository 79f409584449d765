"""The conditions of a run besides its configuration: its data, its code, and the versions of the libraries."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import inspect
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtrain.engine.optimizers import source_of
from lrtrain.errors import RunDirError
from lrtrain.plugins.discovery import IN_PYTHON, Entry
from lrtrain.plugins.loading import Plugin, hooks_of
from lrtrain.plugins.spec import Spec, file_and_class
from lrtrain.runs.train_config import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtrain.data.types import Split
    from lrtrain.nn.network import Network
    from lrtrain.workloads.workload import Workload

_LIBRARIES = ("lrtrain", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "tensorflow-datasets", "numpy")
# Needed by some workloads only.
_OF_EXTRAS = ("tensorflow-datasets",)
_SHORT = 12
_OPTIMIZER = "optimizer "
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def code_of(plugin: Plugin) -> str | None:
    """Returns the first digits of the SHA-256 of the file of a plugin's class; None where it has no source."""
    if plugin.entry.in_file:
        return plugin.entry.version
    try:
        return _digest(Path(inspect.getfile(type(plugin.instance))).read_bytes())
    except (OSError, TypeError):
        return None


def codes_of(plugins: Sequence[Plugin]) -> dict[str, str | None]:
    """Returns `code_of` of each plugin that observes; of a schedule the learning rates are compared instead."""
    observing = [each for each in plugins if set(hooks_of(type(each.instance))) - {"build_schedule"}]
    return {plugin.entry.reference: code_of(plugin) for plugin in observing}


def versions(*plugins: Entry) -> dict[str, str]:
    """Returns the versions of Python, of the libraries, and of the distributions of the plugins."""
    present = [name for name in _LIBRARIES if name not in _OF_EXTRAS or _is_installed(name)]
    libraries = {name: importlib.metadata.version(name) for name in present}
    return {"python": platform.python_version(), **libraries, **{each.distribution: each.version for each in plugins}}


def _is_installed(name: str) -> bool:
    return any(True for _ in importlib.metadata.Distribution.discover(name=name))


def file_versions(config: TrainConfig) -> dict[str, str]:
    """Returns the first digits of the SHA-256 of the files of a model and an optimizer, by their names.

    One whose file is not found, and one of optax or of lrtrain, is left out.
    """
    return {**model_version(config.model), **optimizer_code(config)}


def model_version(model: str | None) -> dict[str, str]:
    """Returns the same of a model alone; empty for one that was made in Python."""
    if model is None or model.startswith(IN_PYTHON):
        return {}
    name = Spec.of(model).name
    version = _version_of_module(name)
    return {f"model {name}": version} if version else {}


def optimizer_code(config: TrainConfig) -> dict[str, str]:
    """Returns the same of the file of an optimizer alone, which is code that changes the result of a run."""
    source = source_of(config.optimizer)
    if source is None:
        return {}
    version = source.version if source.in_file else _version_of_module(source.value)
    return {f"{_OPTIMIZER}{source.reference}": version} if version else {}


def _version_of_module(reference: str) -> str | None:
    """Returns the first digits of the SHA-256 of a file, or of that of ``package.module:name``; None if not found."""
    try:
        if in_file := file_and_class(reference):
            return _digest(Path(in_file[0]).read_bytes())
        found = importlib.util.find_spec(reference.partition(":")[0])
        return _digest(Path(found.origin).read_bytes()) if found and found.origin else None
    except (ImportError, ValueError, OSError):
        return None


def program_of(network: Network, workload: Workload, test: Split) -> str:
    """Returns a digest of what a network computes: its shapes, its operations and its constant arrays.

    That of a workload other than the default has its loss too.
    """
    import jax
    import numpy as np

    from lrtrain.engine.state import Leaves
    from lrtrain.workloads.images import FashionMnistCnn

    raw, targets = (Leaves.of(each, 2).map(jax.ShapeDtypeStruct) for each in (test.inputs, test.targets))
    inputs = jax.eval_shape(workload.inputs, raw)
    variables: Any = jax.eval_shape(network.init, jax.random.PRNGKey(0), inputs)
    if isinstance(workload, FashionMnistCnn) and not variables[1]:
        # As it was before there were workloads, so that a run made then finds its model unchanged.
        variables = {"params": variables[0]}
        traced: Any = jax.make_jaxpr(lambda known, inputs: network.apply(known["params"], (), inputs)[0])(
            variables, inputs
        )
    else:
        traced = jax.make_jaxpr(
            lambda known, raw, targets: workload.loss(
                network.apply(known[0], known[1], workload.inputs(raw))[0], targets
            )
        )(variables, raw, targets)
    total = hashlib.sha256(_ADDRESS.sub("", f"{jax.tree.structure(variables)} {traced}").encode())
    for constant in traced.consts:
        total.update(np.asarray(constant).tobytes())
    return total.hexdigest()[:_SHORT]


def check_data(stored: Mapping[str, Any] | None, now: Mapping[str, Any], what: str) -> None:
    """Raises RunDirError when the data differs from that of a ``"run"`` or ``"comparison"``.

    Both are identities of data, see `lrtrain.data.Dataset.identity`; a file of an earlier lrtrain has none.
    """
    if stored is None or dict(stored) == dict(now):
        return
    differing = [name for name in {**stored, **now} if stored.get(name) != now.get(name)]
    raise RunDirError(
        f"the data is not that of the {what}, which was made with {_data(stored, differing)}, and there is "
        f"{_data(now, differing)} now: put the data of the {what} back, or start a new {what}"
    )


def other_code(stored: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Returns which code differs from that which a run or comparison was begun with; None if none does.

    Both hold ``code`` (from `codes_of` and `optimizer_code`), ``program`` (from `program_of`) and ``versions``, as
    their file has them.
    """
    then = stored.get("code", {})
    for name, code in now["code"].items():
        if code != then.get(name, code):
            title = name if name.startswith(_OPTIMIZER) else f"plugin '{name}'"
            return f"the code of {title} has changed (SHA-256 {then[name]} then and {code} now)"
    for name in _files_of_models(now["versions"]):
        before, after = stored["versions"].get(name), now["versions"][name]
        if before not in (None, after):
            return f"the file of {name} has changed (SHA-256 {before} then and {after} now)"
    # Another version of JAX may print the same operations differently; `other_versions` names it.
    same_words = all(stored["versions"].get(name) == now["versions"].get(name) for name in ("jax", "flax"))
    programs = {stored.get("program"), now["program"]} - {None}
    return "the model computes something else than it did" if len(programs) > 1 and same_words else None


def _files_of_models(versions: Mapping[str, str]) -> list[str]:
    """Returns the names, in `model_version`, of models in files: of those in modules the program alone is compared."""
    models = (name for name in versions if name.startswith("model "))
    return [name for name in models if file_and_class(name.removeprefix("model ")) is not None]


def other_versions(stored: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Returns a sentence with the versions that differ; None if none do."""
    names = [name for name in {**stored, **now} if stored.get(name) != now.get(name)]
    if not names:
        return None
    said = ", ".join(
        f"{name} {stored.get(name, 'not there')} then and {now.get(name, 'not there')} now" for name in names
    )
    return f"versions differ from those that it began with: {said}"


def _data(data: Mapping[str, Any], differing: Sequence[str]) -> str:
    details = [
        f"{data.get('classes')} classes"
        if name == "classes"
        else f"{name} examples of SHA-256 {str(data.get(name))[:_SHORT]}"
        for name in differing
        if name not in ("name", "version")
    ]
    return f"{data.get('name')} {data.get('version')}".strip() + (f" ({', '.join(details)})" if details else "")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_SHORT]
