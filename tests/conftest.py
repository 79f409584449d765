"""What several test files share: two CPU devices, a cache of their own, a small data set, plugins to install."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.faults.lab import Lab
from tests.lab import announce

# A shell starts what it runs in the background with Ctrl-C ignored, and all that it starts in turn.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Two CPU devices for the tests of the engine; JAX reads this when it is imported, which few tests do.
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "2")
# MLflow would tell its makers about the tests.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with the files that take longest: otherwise one process waits while another still has one of them."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the tests out of the user's cache directory; what is compiled is shared where nox says so."""
    patch = pytest.MonkeyPatch()
    cache = tmp_path_factory.mktemp("cache")
    patch.setenv("LRTRAIN_CACHE_DIR", str(cache))
    if shared := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        Path(shared).mkdir(parents=True, exist_ok=True)
        (cache / "compiled").symlink_to(shared)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a TFDS directory with the data set ``tiny``: 72 and 40 images of 6x6x3 in 3 classes."""
    return make_tiny(tmp_path_factory.mktemp("tfds"))


@pytest.fixture(scope="session", name="make_tiny")
def _make_tiny() -> Callable[..., Path]:
    """Returns a function that prepares ``tiny`` in other forms."""
    return make_tiny


@pytest.fixture
def install_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Returns a function that installs a plugin for one test, as pip would: a module and a real ``.dist-info``."""
    site = tmp_path / "site"
    site.mkdir(exist_ok=True)
    monkeypatch.syspath_prepend(str(site))

    def install(name: str, source: str, *, cls: str = "Plugin", distribution: str | None = None) -> str:
        project = distribution or f"test-{name}"
        module = f"{project}_{name}".replace("-", "_")
        header = "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom lrtrain import *\n"
        (site / f"{module}.py").write_text(header + source, encoding="utf-8")
        announce(site, project, f"{name} = {module}:{cls}")
        monkeypatch.delitem(sys.modules, module, raising=False)
        return name

    return install


@pytest.fixture
def lab(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Returns what starts processes that train a small network on ``tiny``, and ends them."""
    made = Lab(tmp_path, tiny)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield made
    made.close()


def make_tiny(
    root: Path,
    *,
    version: str = "1.0.0",
    counts: tuple[int, int] = (72, 40),
    seeds: tuple[int, int] = (1, 2),
    size: int = 6,
    classes: int = 3,
) -> Path:
    """Prepares the data set ``tiny`` in a directory, and returns the directory."""
    import tensorflow_datasets as tfds

    def info(self: tfds.core.DatasetBuilder) -> tfds.core.DatasetInfo:
        image = tfds.features.Tensor(shape=(size, size, 3), dtype=np.uint8)
        features = tfds.features.FeaturesDict({"image": image, "label": tfds.features.ClassLabel(num_classes=classes)})
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def examples(seed: int, count: int) -> Iterator[tuple[int, dict[str, object]]]:
        random = np.random.default_rng(seed)
        for index in range(count):
            image = random.integers(0, 120, (size, size, 3)) + 60 * (index % 3)
            yield index, {"image": image.astype(np.uint8), "label": index % 3}

    (train, test), (train_seed, test_seed) = counts, seeds
    members = {
        "VERSION": tfds.core.Version(version),
        "_info": info,
        "_split_generators": lambda self, _: {"train": examples(train_seed, train), "test": examples(test_seed, test)},
        "_generate_examples": lambda self: (),
    }
    kind = type("tiny", (tfds.core.GeneratorBasedBuilder,), {"name": "tiny", **members}, skip_registration=True)
    tfds.disable_progress_bar()
    kind(data_dir=str(root), file_format="array_record").download_and_prepare()
    return root
