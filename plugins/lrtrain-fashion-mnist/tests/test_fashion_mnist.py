import gzip
import hashlib
import shutil
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from lrtrain_fashion_mnist import idx

from lrtrain import DataError, load_dataset

FILES = [idx.TRAIN_IMAGES, idx.TRAIN_LABELS, idx.TEST_IMAGES, idx.TEST_LABELS]


def change_contents(change: Callable[[bytearray], object]) -> Callable[[bytes], bytes]:
    """Returns a function that alters what is inside a gzip file whose own checksum is right again."""

    def damage(compressed: bytes) -> bytes:
        contents = bytearray(gzip.decompress(compressed))
        change(contents)
        return gzip.compress(bytes(contents), compresslevel=1)

    return damage


def flip(contents: bytearray, index: int) -> None:
    contents[index] ^= 1


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut short": (lambda data: data[: len(data) // 2], "cut short or damaged"),
    "empty": (lambda data: b"", "begins with"),
    "no gzip": (lambda data: b"<html>not found</html>", "cut short or damaged"),
    "damaged stream": (lambda data: data[:1000] + bytes(100) + data[1100:], "cut short or damaged"),
    "one pixel altered": (change_contents(lambda contents: flip(contents, 5000)), "altered"),
    "wrong magic number": (change_contents(lambda contents: flip(contents, 3)), "begins with"),
    "wrong count": (change_contents(lambda contents: flip(contents, 7)), "begins with"),
    "one label less": (change_contents(lambda contents: contents.pop()), "altered"),
    "longer": (change_contents(lambda contents: contents.append(0)), "altered"),
}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_contents_are_the_official_ones(file: idx.IdxFile) -> None:
    contents = gzip.decompress((idx.FILES / file.name).read_bytes())
    assert hashlib.sha256(contents).hexdigest() == file.sha256
    array = idx.read_idx(file)
    assert array.shape == file.shape
    assert array.tobytes() == contents[4 + 4 * len(file.shape) :]


def test_every_class_has_its_share() -> None:
    assert np.bincount(idx.read_idx(idx.TRAIN_LABELS)).tolist() == [6000] * 10
    assert np.bincount(idx.read_idx(idx.TEST_LABELS)).tolist() == [1000] * 10


def test_split_has_channels() -> None:
    images, labels = idx.read_split(idx.TEST_IMAGES, idx.TEST_LABELS)
    assert images.shape == (10_000, 28, 28, 1)
    assert labels[:5].tolist() == [9, 2, 1, 1, 6]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_is_one_sentence(damage: str, tmp_path: Path) -> None:
    change, message = DAMAGES[damage]
    file = idx.TEST_LABELS
    (tmp_path / file.name).write_bytes(change((idx.FILES / file.name).read_bytes()))
    with pytest.raises(DataError) as raised:
        idx.read_idx(file, tmp_path)
    assert message in str(raised.value)
    assert str(tmp_path / file.name) in str(raised.value)
    assert "pip install --force-reinstall" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path, whole = tmp_path / idx.TEST_LABELS.name, (idx.FILES / idx.TEST_LABELS.name).read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut short or damaged|begins with"):
            idx.read_idx(idx.TEST_LABELS, tmp_path)


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    """Bits of gzip's header, such as the time of compression, say nothing about the contents."""
    path, whole = tmp_path / idx.TEST_LABELS.name, (idx.FILES / idx.TEST_LABELS.name).read_bytes()
    expected, random, refused = idx.read_idx(idx.TEST_LABELS), np.random.default_rng(0), 0
    for place in random.integers(0, 8 * len(whole), 500):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            np.testing.assert_array_equal(idx.read_idx(idx.TEST_LABELS, tmp_path), expected)
        except DataError:
            refused += 1
    assert refused >= 490


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz is missing: reinstall it"):
        idx.read_idx(idx.TRAIN_IMAGES, tmp_path)


def test_damaged_file_stops_the_preparation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for file in FILES:
        shutil.copy(str(idx.FILES / file.name), files)
    with (files / idx.TEST_IMAGES.name).open("r+b") as stream:
        stream.truncate(1_000_000)
    monkeypatch.setattr(idx, "FILES", files)
    monkeypatch.setenv("LRTRAIN_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz is cut short or damaged .* reinstall it"):
        load_dataset("fashion_mnist")
    assert not list((tmp_path / "cache").rglob("*.array_record*"))
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_entry_point_names_the_builder() -> None:
    from lrtrain_fashion_mnist.builder import CLASS_NAMES, FashionMnist

    (entry,) = entry_points(group="lrtrain.datasets", name="fashion_mnist")
    assert entry.load() is FashionMnist
    assert FashionMnist.name == "fashion_mnist"
    assert len(CLASS_NAMES) == 10


def test_licences_are_in_the_package() -> None:
    assert "Zalando SE" in (idx.FILES / "LICENSE").read_text(encoding="utf-8")
