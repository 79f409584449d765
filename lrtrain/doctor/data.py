"""The data sets that a run can be trained on."""

from __future__ import annotations

from collections.abc import Iterator

from lrtrain.doctor.finding import Finding
from lrtrain.errors import LrtrainError


def examine_data() -> Iterator[Finding]:
    """Looks for data sets that packages provide, and for those that tensorflow-datasets has prepared."""
    from lrtrain.data import disk, provider

    names = provider.provided_names()
    for name in names:
        yield _provided(name)
    if "fashion_mnist" not in names:
        cure = "pip install lrtrain-fashion-mnist"
        yield Finding("data fashion_mnist", "note", "not there, and commands without --dataset need it", cure)
    prepared = disk.prepared_names(disk.tfds_dir())
    yield Finding("data of TFDS", "ok", f"{', '.join(prepared) or 'none'} prepared in {disk.tfds_dir()}")


def _provided(name: str) -> Finding:
    from lrtrain.data import provider
    from lrtrain.data.arrays import cached_train_bytes
    from lrtrain.data.load import find_dataset

    try:
        source = find_dataset(name)
        entry = provider.find_provider(name)
        origin = provider.owner(entry) if entry else "a package"
        is_ready = cached_train_bytes(source.name, source.key) is not None
    except LrtrainError as error:
        return Finding(f"data {name}", "fault", str(error), "uninstall the package that provides it, or fix it")
    when = "ready" if is_ready else "will be prepared when it is first used"
    return Finding(f"data {name}", "ok", f"of {origin}, {when}")
