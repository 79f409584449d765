"""Data sets from end to end: found, prepared, read, kept, and refused with one sentence."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from lrtrain import cache, data
from lrtrain.data import Dataset, find_dataset, load_dataset, subset
from lrtrain.data import arrays as data_arrays
from lrtrain.data import disk as data_disk
from lrtrain.data import provider as data_provider
from lrtrain.data import reader as data_reader
from lrtrain.errors import DataError

# ---------------------------------------------------------------------------------------------- what the tests use


@pytest.fixture(autouse=True)
def own_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may touch the user's directories."""
    monkeypatch.setenv("LRTRAIN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))


@pytest.fixture(scope="session")
def fashion_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory in which Fashion-MNIST has been loaded once."""
    directory = tmp_path_factory.mktemp("fashion-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LRTRAIN_CACHE_DIR", str(directory))
        load_dataset("fashion_mnist")
    return directory


@pytest.fixture
def fashion(fashion_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LRTRAIN_CACHE_DIR", str(fashion_cache))
    return fashion_cache


Examples = list[dict[str, Any]]


def prepare(
    root: Path,
    splits: dict[str, Examples],
    features: dict[str, Any],
    *,
    name: str = "colours",
    config: str | None = None,
    version: str = "1.2.0",
    supervised: tuple[str, str] | None = None,
) -> Path:
    """Prepares a data set of the test's own in ``root``, as any user of tensorflow-datasets would."""

    def info(self: Any) -> Any:
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=supervised,
            disable_shuffling=True,
        )

    members = {
        "VERSION": tfds.core.Version(version),
        "BUILDER_CONFIGS": [tfds.core.BuilderConfig(name=config)] if config else [],
        "_info": info,
        "_split_generators": lambda self, _: {key: enumerate(examples) for key, examples in splits.items()},
        "_generate_examples": lambda self: iter(()),
    }
    kind = type(name, (tfds.core.GeneratorBasedBuilder,), {"name": name, **members}, skip_registration=True)
    tfds.disable_progress_bar()
    builder = kind(data_dir=root, file_format="array_record")
    builder.download_and_prepare()
    return Path(builder.data_dir)


def examples(count: int, shape: tuple[int, ...] = (5, 7, 3), classes: int = 4, seed: int = 0) -> Examples:
    random = np.random.default_rng(seed)
    return [
        {"image": random.integers(0, 256, shape, np.uint8), "label": int(random.integers(classes))}
        for _ in range(count)
    ]


def features(shape: tuple[int, ...] = (5, 7, 3), classes: int = 4) -> dict[str, Any]:
    return {
        "image": tfds.features.Tensor(shape=shape, dtype=np.uint8),
        "label": tfds.features.ClassLabel(names=[f"colour {index}" for index in range(classes)]),
    }


def png(pixels: np.ndarray) -> io.BytesIO:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    stream.seek(0)
    return stream


def refusal(name: str, **options: Any) -> str:
    """Returns the one sentence with which the data set is refused, within the five seconds it may take."""
    started = time.monotonic()
    with pytest.raises(DataError) as raised:
        load_dataset(name, **options)
    assert time.monotonic() - started < 5
    sentence = str(raised.value)
    assert "\n" not in sentence
    assert raised.value.exit_code == 2
    return sentence


def same(one: Dataset, other: Dataset) -> bool:
    about = [(it.name, it.version, it.num_classes, it.class_names) for it in (one, other)]
    arrays = [(it.train.inputs, it.train.targets, it.test.inputs, it.test.targets) for it in (one, other)]
    return about[0] == about[1] and all(
        np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(*arrays, strict=True)
    )


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


# ----------------------------------------------------------------------------------------------- the real data


def idx(name: str, header: int) -> np.ndarray:
    packed = (resources.files("lrtrain_fashion_mnist") / "files" / f"{name}-ubyte.gz").read_bytes()
    return np.frombuffer(gzip.decompress(packed), np.uint8, offset=header)


def test_fashion_mnist_is_the_official_data(fashion: Path) -> None:
    dataset = load_dataset()
    assert (dataset.name, dataset.version, dataset.num_classes) == ("fashion_mnist", "1.0.0", 10)
    assert dataset.class_names[:2] == ("T-shirt/top", "Trouser")
    assert dataset.class_names[-1] == "Ankle boot"
    assert dataset.train.inputs.shape == (60_000, 28, 28, 1)
    assert dataset.test.inputs.shape == (10_000, 28, 28, 1)
    assert dataset.train.inputs.dtype == dataset.test.inputs.dtype == np.uint8
    assert dataset.train.targets.dtype == dataset.test.targets.dtype == np.int32
    assert dataset.train.targets[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert np.array_equal(dataset.train.inputs.ravel(), idx("train-images-idx3", 16))
    assert np.array_equal(dataset.train.targets, idx("train-labels-idx1", 8))
    assert np.array_equal(dataset.test.inputs.ravel(), idx("t10k-images-idx3", 16))
    assert np.array_equal(dataset.test.targets, idx("t10k-labels-idx1", 8))


def test_second_load_does_not_read_the_records(fashion: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_reader, "read", lambda directory: pytest.fail("the records were read again"))
    monkeypatch.setattr(data_provider, "builder_class", lambda entry: pytest.fail("the builder was imported"))
    assert len(load_dataset("fashion-mnist").train) == 60_000


def test_second_load_imports_neither_tensorflow_datasets_nor_jax(fashion: Path) -> None:
    code = """
        import sys
        import lrtrain.data
        lrtrain.data.load_dataset("fashion_mnist")
        print(sorted({"jax", "tensorflow", "tensorflow_datasets", "flax"} & set(sys.modules)))
    """
    done = run(code)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# ----------------------------------------------------------------------------------------------- other data sets


def test_other_data_set_of_another_size_colour_and_number_of_classes(tmp_path: Path) -> None:
    train, test = examples(50), examples(20, seed=1)
    prepare(tmp_path / "mine", {"train": train, "test": test}, features())
    dataset = load_dataset("colours", data_dir=tmp_path / "mine")
    assert (dataset.name, dataset.version, dataset.num_classes) == ("colours", "1.2.0", 4)
    assert dataset.class_names == ("colour 0", "colour 1", "colour 2", "colour 3")
    assert np.array_equal(dataset.train.inputs, np.stack([example["image"] for example in train]))
    assert dataset.train.targets.tolist() == [example["label"] for example in train]
    assert dataset.test.inputs.shape == (20, 5, 7, 3)
    assert dataset.test.targets.dtype == np.int32
    assert same(dataset, load_dataset("colours", data_dir=tmp_path / "mine"))


def test_default_directory_is_that_of_tensorflow_datasets(tmp_path: Path) -> None:
    prepare(tmp_path / "tfds", {"train": examples(9), "test": examples(3)}, features())
    assert len(load_dataset("colours").train) == 9


def test_images_that_are_stored_as_png(tmp_path: Path) -> None:
    pixels = [example["image"] for example in examples(6)]
    stored = [{"picture": png(image), "target": index % 3} for index, image in enumerate(pixels)]
    kinds = {
        "picture": tfds.features.Image(shape=(None, None, 3)),
        "target": tfds.features.ClassLabel(num_classes=3),
        "file": tfds.features.Text(),
    }
    stored = [{**example, "file": "a.png"} for example in stored]
    prepare(tmp_path / "tfds", {"train": stored[:4], "validation": stored[4:]}, kinds)
    dataset = load_dataset("colours")
    assert np.array_equal(dataset.train.inputs, np.stack(pixels[:4]))
    assert np.array_equal(dataset.test.inputs, np.stack(pixels[4:]))
    assert dataset.class_names == ("0", "1", "2")


def test_several_images_and_labels_the_supervised_ones_are_taken(tmp_path: Path) -> None:
    kinds = {**features(), "fine": tfds.features.ClassLabel(num_classes=9)}
    both = [{**example, "fine": 8} for example in examples(5)]
    splits = {"train": both, "test": both}
    prepare(tmp_path / "tfds", splits, kinds, supervised=("image", "fine"))
    assert load_dataset("colours").train.targets.tolist() == [8] * 5
    prepare(tmp_path / "unclear", splits, kinds)
    assert "has several: fine, label" in refusal("colours", data_dir=tmp_path / "unclear")


def test_version_and_config(tmp_path: Path) -> None:
    for version, count in (("1.9.0", 5), ("1.10.0", 6)):
        prepare(tmp_path / "tfds", {"train": examples(count), "test": examples(2)}, features(), version=version)
    for config, count in (("bright", 7), ("dark", 8)):
        splits = {"train": examples(count), "test": examples(2)}
        prepare(tmp_path / "tfds", splits, features(), name="lights", config=config)
    assert len(load_dataset("colours").train) == 6
    assert len(load_dataset("colours:1.9.0").train) == 5
    assert len(load_dataset("lights/dark").train) == 8
    assert load_dataset("lights/bright:1.2.0").name == "lights/bright"
    assert "name one of lights/bright, lights/dark" in refusal("lights")
    assert "there is no data set 'lights/dim' (did you mean 'lights/" in refusal("lights/dim")
    assert "there is no data set 'colours:3.0.0'" in refusal("colours:3.0.0")


# ----------------------------------------------------------------------------------------------- what is refused


def without(feature: str) -> dict[str, Any]:
    return {name: kind for name, kind in features().items() if name != feature}


def only(feature: str, count: int = 3) -> Examples:
    return [{feature: example[feature]} for example in examples(count)]


NOT_FIT: dict[str, tuple[dict[str, Examples], dict[str, Any], str]] = {
    "no image": ({"train": only("label"), "test": only("label")}, without("image"), "needs an image .* none among"),
    "no label": ({"train": only("image"), "test": only("image")}, without("label"), "needs a label .* none among"),
    "no test split": ({"train": examples(3)}, features(), "no split 'test' or 'validation', only train"),
    "no train split": ({"test": examples(3)}, features(), "no split 'train', only test"),
    "floating point": (
        {
            key: [{"image": np.zeros((2, 2, 1), np.float32), "label": 0}] for key in ("train", "test")
        },
        {**features(), "image": tfds.features.Tensor(shape=(2, 2, 1), dtype=np.float32)},
        "uint8.* none among image, label",
    ),
    "unlabelled test": (
        {"train": examples(3), "test": [{**example, "label": -1} for example in examples(2)]},
        features(),
        "'test' .* has the label -1, and labels are 0 to 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_FIT)
def test_not_for_image_classification(case: str, tmp_path: Path) -> None:
    splits, kinds, message = NOT_FIT[case]
    directory = prepare(tmp_path / "tfds", splits, kinds)
    sentence = refusal("colours")
    assert str(directory) in sentence
    with pytest.raises(DataError, match=message):
        load_dataset("colours")


def test_images_of_several_sizes(tmp_path: Path) -> None:
    kinds = {**features(), "image": tfds.features.Image(shape=(None, None, 3))}
    small, large = (np.zeros((size, 4, 3), np.uint8) for size in (4, 5))
    mixed = [{"image": png(image), "label": 0} for image in (small, large)]
    prepare(tmp_path / "mixed", {"train": mixed, "test": mixed}, kinds)
    assert "differ in size ((4, 4, 3) and (5, 4, 3))" in refusal("colours", data_dir=tmp_path / "mixed")
    mixed = [{"image": png(image), "label": 0} for image in (small, large)]
    prepare(tmp_path / "unlike", {"train": mixed[:1], "test": mixed[1:]}, kinds)
    assert "test images of (5, 4, 3)" in refusal("colours", data_dir=tmp_path / "unlike")


def test_prepared_as_tfrecord(tmp_path: Path) -> None:
    directory = prepare(tmp_path / "tfds", {"train": examples(3), "test": examples(3)}, features())
    info = directory / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    sentence = refusal("colours")
    assert "is stored as tfrecord" in sentence
    assert "--file_format=array_record" in sentence


def test_known_to_tensorflow_datasets_but_not_prepared(tmp_path: Path) -> None:
    sentence = refusal("cifar10", data_dir=tmp_path / "nowhere")
    assert "'cifar10' is not prepared" in sentence
    assert f"`tfds build cifar10 --file_format=array_record --data_dir={tmp_path / 'nowhere'}`" in sentence


def test_unknown_name_offers_the_nearest(tmp_path: Path) -> None:
    prepare(tmp_path / "tfds", {"train": examples(3), "test": examples(3)}, features())
    assert "(did you mean 'fashion_mnist'?)" in refusal("fashion_mnits")
    sentence = refusal("colors")
    assert "there is no data set 'colors' (did you mean 'colours'?)" in sentence
    assert f"{tmp_path / 'tfds'} holds colours" in sentence


@pytest.mark.parametrize("name", ["", "a/../b", "x:latest", "two words", "evil/"])
def test_no_name_at_all(name: str) -> None:
    assert f"'{name}' is no name of a data set" in refusal(name)


def test_version_of_a_provided_set_that_is_not_there() -> None:
    assert "name it 'fashion_mnist' to take the one that an installed package provides" in refusal(
        "fashion_mnist:3.0.1"
    )


def test_default_set_when_its_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_provider, "entry_points", lambda group: [])
    assert refusal("fashion_mnist").endswith("run `pip install lrtrain-fashion-mnist`")


def test_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LRTRAIN_CACHE_DIR", str(tmp_path / "file"))
    assert "set LRTRAIN_CACHE_DIR to a directory that can" in refusal("fashion_mnist")


# ----------------------------------------------------------------------------------------------- damage


def overwrite(path: Path) -> None:
    contents = bytearray(path.read_bytes())
    middle = contents.index(b"/job") if b"/job" in contents else 300
    contents[middle : middle + 8] = b"\xff" * 8
    path.write_bytes(contents)


RECORDS = "colours-train.array_record-00000-of-00001"
DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "records cut short": (RECORDS, lambda path: os.truncate(path, 1000)),
    "records empty": (RECORDS, lambda path: os.truncate(path, 0)),
    "records one byte short": (RECORDS, lambda path: os.truncate(path, path.stat().st_size - 1)),
    "records altered": (RECORDS, overwrite),
    "records gone": (RECORDS, Path.unlink),
    "description cut short": ("dataset_info.json", lambda path: os.truncate(path, 40)),
    "description of something else": ("dataset_info.json", lambda path: path.write_text("[1]")),
    "features cut short": ("features.json", lambda path: os.truncate(path, 40)),
    "features altered": ("features.json", lambda path: path.write_text('{"a": 1}')),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_data_set(damage: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    directory = prepare(tmp_path / "tfds", {"train": examples(50), "test": examples(3)}, features())
    load_dataset("colours")
    capfd.readouterr()
    file, change = DAMAGES[damage]
    change(directory / file)
    sentence = refusal("colours")
    assert f"the data in {directory} is damaged" in sentence
    assert "prepare the data set again" in sentence
    assert capfd.readouterr() == ("", "")


# Reads the data with fewer open files than it needs, and then with enough.
FEW_FILES = """
    import resource
    from lrtrain.data import find_dataset
    from lrtrain.data.reader import read
    from lrtrain.errors import TrainingError
    source = find_dataset("colours")
    source.use(read)
    outcomes = set()
    for files in range(3, 16):
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, 4096))
        try:
            outcomes.add(len(source.use(read).train))
        except TrainingError as error:
            assert "(Too many open files): it has not been changed" in str(error), error
            outcomes.add("refused")
    assert outcomes == {"refused", 50}, outcomes
"""


def test_data_is_not_damaged_by_too_many_open_files(tmp_path: Path) -> None:
    prepare(tmp_path / "tfds", {"train": examples(50), "test": examples(3)}, features())
    done = run(FEW_FILES)
    assert done.returncode == 0, done.stderr


def array_files() -> Iterator[Path]:
    return (cache.cache_dir() / "arrays").glob("*/*")


def flip_last_bit(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        (last,) = stream.read(1)
        stream.seek(-1, os.SEEK_END)
        stream.write(bytes([last ^ 1]))


def forge(path: Path) -> None:
    """An object array under its right sha256: it must never be unpickled."""
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    manifest = path.with_name("manifest.json")
    about = json.loads(manifest.read_text())
    about["sha256"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("train_images.npy", flip_last_bit),
        ("test_labels.npy", lambda path: os.truncate(path, 100)),
        ("train_labels.npy", Path.unlink),
        ("train_labels.npy", forge),
        ("manifest.json", lambda path: path.write_text("{}")),
        ("manifest.json", lambda path: os.truncate(path, 50)),
        ("manifest.json", lambda path: path.write_text("[]")),
    ],
)
def test_damaged_arrays_are_read_again(
    file: str, change: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path / "tfds", {"train": examples(5), "test": examples(3)}, features())
    whole = load_dataset("colours")
    (path,) = (found for found in array_files() if found.name == file)
    change(path)
    assert same(load_dataset("colours"), whole)
    monkeypatch.setattr(data_reader, "read", lambda directory: pytest.fail("the arrays were not kept again"))
    assert same(load_dataset("colours"), whole)


def test_arrays_are_not_used_for_data_that_has_changed(tmp_path: Path) -> None:
    splits = {"train": examples(5), "test": examples(3)}
    directory = prepare(tmp_path / "tfds", splits, features())
    load_dataset("colours")
    shutil.rmtree(directory)
    prepare(tmp_path / "tfds", {**splits, "train": examples(5, seed=7)}, features())
    assert np.array_equal(load_dataset("colours").train.inputs[0], examples(1, seed=7)[0]["image"])


def test_full_disk_does_not_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path / "tfds", {"train": examples(5), "test": examples(3)}, features())

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(data_arrays, "_write", no_space)
    assert len(load_dataset("colours").train) == 5
    assert not list(array_files())


def test_left_overs_of_a_killed_process_are_cleared_away(tmp_path: Path) -> None:
    prepare(tmp_path / "tfds", {"train": examples(5), "test": examples(3)}, features())
    whole = load_dataset("colours")
    (manifest,) = (path for path in array_files() if path.name == "manifest.json")
    left_over = manifest.parent.with_name(f".{manifest.parent.name}.new-x1")
    left_over.mkdir()
    manifest.unlink()
    assert same(load_dataset("colours"), whole)
    assert not left_over.exists()


# ----------------------------------------------------------------------------------------------- a part of the data


def test_train_size_is_fixed_by_the_seed(fashion: Path) -> None:
    whole = load_dataset()
    part = load_dataset(train_size=1000, seed=3)
    assert part.train.inputs.shape == (1000, 28, 28, 1)
    assert same(part, load_dataset(train_size=1000, seed=3))
    assert not same(part, load_dataset(train_size=1000, seed=4))
    assert np.array_equal(part.test.inputs, whole.test.inputs)
    assert 60 < np.bincount(part.train.targets).min() <= np.bincount(part.train.targets).max() < 140


def numbered(count: int) -> Dataset:
    split = data.Split(np.zeros((count, 1, 1, 1), np.uint8), np.arange(count, dtype=np.int32))
    return Dataset("numbered", "1.0.0", split, split, count, tuple(map(str, range(count))), {})


def test_subset_is_in_file_order_without_repetition_and_the_same_for_ever() -> None:
    kept = subset(numbered(100), 10, seed=1).train.targets.tolist()
    assert kept == sorted(set(kept))
    assert kept == [9, 31, 36, 39, 55, 61, 75, 85, 93, 96]
    assert set(kept) < set(subset(numbered(100), 30, seed=1).train.targets.tolist())
    assert subset(numbered(100), 100).train.targets.tolist() == list(range(100))


def test_subset_is_uniform() -> None:
    counts = np.zeros(20)
    for seed in range(2000):
        counts[subset(numbered(20), 5, seed).train.targets] += 1
    assert np.abs(counts - 500).max() < 100


@pytest.mark.parametrize("size", [0, -1, 6, 10**12])
def test_train_size_out_of_range(size: int, tmp_path: Path) -> None:
    prepare(tmp_path / "tfds", {"train": examples(5), "test": examples(3)}, features())
    sentence = refusal("colours", train_size=size)
    assert str(size) in sentence
    assert "at least 1" in sentence or "from 1 to 5" in sentence


# ----------------------------------------------------------------------------------------------- packages


PROVIDER = """
import os, signal, time
import numpy as np
import tensorflow_datasets as tfds

class Provided(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("2.0.0")

    def _info(self):
        image = tfds.features.Tensor(shape=(3, 3, 1), dtype=np.uint8)
        label = tfds.features.ClassLabel(num_classes=2)
        features = tfds.features.FeaturesDict({"image": image, "label": label})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        with open(os.environ["PREPARATIONS"], "a") as log:
            log.write("prepared\\n")
        return {"train": self._generate_examples(40), "test": self._generate_examples(8)}

    def _generate_examples(self, count):
        for index in range(count):
            if index == 20 and os.environ.get("KILLED"):
                os.kill(os.getpid(), signal.SIGKILL)
            if index == 20:
                time.sleep(0.5)
            yield index, {"image": np.full((3, 3, 1), index, np.uint8), "label": index % 2}

not_a_builder = 1
"""
LOAD = """
    import sys
    from lrtrain.data import load_dataset
    dataset = load_dataset("provided")
    print(len(dataset.train), sorted(dataset.train.inputs[:, 0, 0, 0]) == list(range(40)), "jax" in sys.modules)
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Installs a distribution that brings a data set, as pip would leave it."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "provider_module.py").write_text(PROVIDER)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("PREPARATIONS", str(tmp_path / "preparations"))

    def add(distribution: str = "provider", version: str = "1.0", value: str = "provider_module:Provided") -> Path:
        info = site / f"{distribution}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[lrtrain.datasets]\nprovided = {value}\n")
        return info

    return add


def preparations() -> int:
    path = Path(os.environ["PREPARATIONS"])
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_first_load_prints_nothing_and_imports_no_jax(install: Callable[..., Path], tmp_path: Path) -> None:
    install()
    done = run(LOAD, HOME=str(tmp_path / "home"))
    assert (done.stdout, done.stderr) == ("40 True False\n", "")
    assert not (tmp_path / "home").exists()


def test_provided_data_set_in_a_directory_of_choice(install: Callable[..., Path], tmp_path: Path) -> None:
    install()
    dataset = load_dataset("provided", data_dir=tmp_path / "mine")
    assert (dataset.name, dataset.version, dataset.class_names) == ("provided", "2.0.0", ("0", "1"))
    assert data_disk.is_prepared(tmp_path / "mine" / "provided" / "2.0.0")
    assert not (cache.cache_dir() / "datasets").exists()


def test_new_release_of_the_package_is_looked_at_again(install: Callable[..., Path]) -> None:
    info = install()
    first = load_dataset("provided")
    shutil.rmtree(info)
    install(version="1.1")
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        real = data_provider.builder_class
        patch.setattr(data_provider, "builder_class", lambda entry: seen.append(entry.dist.version) or real(entry))
        assert same(load_dataset("provided"), first)
    assert seen == ["1.1"]


def test_two_processes_at_once_prepare_once(install: Callable[..., Path]) -> None:
    install()
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(LOAD)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=60) for process in both] == [("40 True False\n", "")] * 2
    assert preparations() == 1


def test_killed_preparation_leaves_nothing_that_passes_for_good(install: Callable[..., Path]) -> None:
    install()
    killed = run(LOAD, KILLED="1")
    assert killed.returncode == -signal.SIGKILL
    folder = cache.cache_dir() / "datasets" / "provided"
    assert not (folder / "2.0.0").exists()
    assert list(folder.glob("incomplete.*"))
    assert len(load_dataset("provided").train) == 40
    assert [path.name for path in folder.iterdir()] == ["2.0.0"]


def test_directory_that_is_not_complete_is_prepared_again(install: Callable[..., Path]) -> None:
    install()
    first = load_dataset("provided")
    (cache.cache_dir() / "datasets" / "provided" / "2.0.0" / "features.json").unlink()
    assert same(load_dataset("provided"), first)
    assert preparations() == 2


@pytest.mark.parametrize("file", ["provided-train.array_record-00000-of-00001", "dataset_info.json"])
def test_damaged_records_in_the_cache_are_prepared_again(file: str, install: Callable[..., Path]) -> None:
    install()
    first = load_dataset("provided")
    os.truncate(cache.cache_dir() / "datasets" / "provided" / "2.0.0" / file, 50)
    assert same(load_dataset("provided"), first)
    assert preparations() == 2


def test_damaged_records_are_prepared_again_for_a_stream(install: Callable[..., Path]) -> None:
    install()
    first = load_dataset("provided")
    data = cache.cache_dir() / "datasets" / "provided" / "2.0.0"
    os.truncate(data / "provided-train.array_record-00000-of-00001", 50)
    streamed = find_dataset("provided").stream()
    assert np.array_equal(streamed.train.inputs.items, first.train.inputs)
    assert streamed.identity() == first.identity()
    assert preparations() == 2


def test_damaged_records_in_a_directory_of_the_users_are_left_alone(
    install: Callable[..., Path], tmp_path: Path
) -> None:
    install()
    load_dataset("provided", data_dir=tmp_path / "mine")
    directory = tmp_path / "mine" / "provided" / "2.0.0"
    os.truncate(directory / "provided-test.array_record-00000-of-00001", 50)
    assert f"the data in {directory} is damaged" in refusal("provided", data_dir=tmp_path / "mine")
    assert preparations() == 1


def test_directory_of_the_users_that_is_not_complete_is_left_alone(
    install: Callable[..., Path], tmp_path: Path
) -> None:
    install()
    theirs = tmp_path / "mine" / "provided" / "2.0.0" / "notes.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("keep me")
    assert "is damaged (it is not complete)" in refusal("provided", data_dir=tmp_path / "mine")
    assert theirs.read_text() == "keep me"


def test_directory_that_cannot_be_written(install: Callable[..., Path], tmp_path: Path) -> None:
    install()
    (tmp_path / "file").write_text("in the way")
    assert "choose another directory with --data-dir" in refusal("provided", data_dir=tmp_path / "file")


def test_package_that_cannot_prepare(install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    install()
    monkeypatch.delenv("PREPARATIONS")
    assert refusal("provided").endswith("(KeyError: 'PREPARATIONS')")


def test_package_that_cannot_be_imported(install: Callable[..., Path]) -> None:
    install(value="provider_module:NoSuchClass")
    sentence = refusal("provided")
    assert "'provided' of provider 1.0 cannot be imported (AttributeError: " in sentence
    assert "NoSuchClass" in sentence


def test_entry_point_that_is_no_builder(install: Callable[..., Path]) -> None:
    install(value="provider_module:not_a_builder")
    assert "names provider_module:not_a_builder, which is no builder class" in refusal("provided")


def test_two_packages_with_one_name(install: Callable[..., Path]) -> None:
    install()
    install("copycat", "0.3")
    assert "comes from copycat 0.3 and from provider 1.0: uninstall one" in refusal("provided")


def test_broken_package_that_nobody_named_breaks_nothing(install: Callable[..., Path], fashion: Path) -> None:
    install(value="no_such_module:Nothing")
    assert load_dataset(train_size=1).num_classes == 10


def test_lock_is_free_after_an_error(install: Callable[..., Path]) -> None:
    install(value="provider_module:NoSuchClass")
    refusal("provided")
    for path in cache.cache_dir().rglob(".*.lock"):
        with filelock.FileLock(path, timeout=0):
            pass


def test_cache_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LRTRAIN_CACHE_DIR", "here")
    assert cache.cache_dir() == tmp_path / "here"
    monkeypatch.setenv("LRTRAIN_CACHE_DIR", "")
    assert cache.cache_dir().name == "lrtrain"
    assert cache.cache_dir().is_absolute()
