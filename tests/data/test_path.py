"""Data at a path: a file of arrays, or a folder of images by class."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lrtrain.data import Dataset, find_dataset, load_dataset
from lrtrain.data.types import Split
from lrtrain.errors import DataError, TrainingError
from lrtrain.files import is_path
from tests.data.striped import CLASSES, arrays, folder, npz


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRTRAIN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def refusal(path: Path | str) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "text", ["./flowers", "../flowers", "/data/flowers", "~/flowers", "flowers.npz", "a/b.NPZ", "."]
)
def test_a_path_is_told_from_a_name_by_how_it_is_written(text: str) -> None:
    assert is_path(text)


@pytest.mark.parametrize("text", ["fashion_mnist", "name/config", "name/config:1.0.0", "npz"])
def test_a_name_is_no_path(text: str) -> None:
    assert not is_path(text)


def test_a_path_that_is_written_as_a_name_is_refused_with_the_right_form(tmp_path: Path) -> None:
    folder(tmp_path / "data" / "flowers")
    assert refusal("data/flowers").endswith("; for what is at that path here, write ./data/flowers")


# ----------------------------------------------------------------------------------------------------- files of arrays


def test_grey_images_get_an_axis_of_channels_and_labels_are_counted(tmp_path: Path) -> None:
    made = arrays()
    data = load_dataset(npz(tmp_path / "striped.npz"))
    assert (data.name, data.num_classes, data.validation) == ("striped.npz", 3, None)
    np.testing.assert_array_equal(data.train.inputs, made["x_train"][..., None])
    np.testing.assert_array_equal(data.test.targets, made["y_test"])
    assert (data.train.inputs.dtype, data.test.targets.dtype) == (np.uint8, np.int32)
    assert data.digests == {"train": data.train.digest(), "test": data.test.digest()}


def test_labels_of_keras_with_a_second_axis_and_validation_examples(tmp_path: Path) -> None:
    made = arrays()
    columns = {name: made[name][:, None].astype(np.uint8) for name in ("y_train", "y_test")}
    data = load_dataset(npz(tmp_path / "a.npz", **columns, x_val=made["x_test"][:5], y_val=columns["y_test"][:5]))
    assert data.train.targets.shape == (90,)
    assert data.validation is not None
    assert len(data.validation) == 5
    assert set(data.identity()) == {"name", "version", "classes", "train", "test", "validation"}


@pytest.mark.parametrize(
    ("kind", "taken"), [(">f8", "float32"), ("f2", "float16"), ("i8", "int32"), ("u1", "uint8"), ("?", "bool")]
)
def test_inputs_have_the_types_that_jax_computes_with(kind: str, taken: str, tmp_path: Path) -> None:
    inputs = {"x_train": np.ones((90, 4), kind), "x_test": np.zeros((30, 4), kind)}
    targets = {"y_train": np.linspace(0, 1, 90), "y_test": np.ones(30)}
    data = load_dataset(npz(tmp_path / "a.npz", **inputs, **targets))
    assert (str(data.train.inputs.dtype), data.train.inputs.shape) == (taken, (90, 4))
    assert data.train.inputs.dtype.isnative
    assert (data.num_classes, data.train.targets.dtype) == (None, np.float32)
    np.testing.assert_array_equal(data.train.inputs, inputs["x_train"])


def test_tokens_are_no_labels(tmp_path: Path) -> None:
    tokens = np.arange(90 * 7).reshape(90, 7)
    data = load_dataset(npz(tmp_path / "a.npz", **dict.fromkeys(arrays(), tokens)))
    assert (data.num_classes, data.train.targets.shape, data.train.targets.dtype) == (None, (90, 7), np.int32)


def broken(name: str, index: int | tuple[int, ...], value: Any, kind: Any) -> dict[str, Any]:
    array = arrays()[name].astype(kind)
    array[index] = value
    others = {each: arrays()[each].astype(kind) for each in ("y_train", "y_test") if name in ("y_train", "y_test")}
    return {**others, name: array}


ARRAYS: list[tuple[dict[str, Any], str]] = [
    ({"x_test": None}, "has the arrays x_train, y_train, y_test, and no x_test: expected x_train, y_train, x_test"),
    ({"x_val": np.ones(3)}, "and no y_val: expected"),
    ({"x_tset": np.ones(3)}, "and x_tset is none of a data set (did you mean 'x_test'?): expected x_train"),
    ({"y_train": np.arange(89)}, "x_train in {file} has 90 examples and y_train in {file} has 89: expected as many"),
    (broken("y_test", 4, -1, int), "y_test in {file} has the label -1: labels are whole numbers from 0"),
    (broken("y_test", 4, 3, int), "has the label 3, and the training examples have labels from 0 to 2"),
    (broken("y_train", 4, 90, int), "y_train in {file} has the label 90 and 90 examples: expected classes"),
    (broken("y_train", 4, np.nan, float), "y_train in {file} holds nan at [4]: expected finite numbers that float32"),
    (broken("y_train", 4, 1e39, float), "y_train in {file} holds 1e+39 at [4]"),
    (broken("x_test", (1, 2, 3), np.inf, float), "x_test in {file} holds inf at [1, 2, 3]"),
    (broken("x_test", (1, 2, 3), 2**31, int), "holds 2147483648 at [1, 2, 3]: expected finite numbers that int32"),
    ({"x_train": np.array([{}] * 90)}, "x_train in {file} is an array of Python objects: expected numbers"),
    ({"y_train": np.array(["a"] * 90)}, "y_train in {file} is an array of type <U1: expected numbers"),
    ({"x_train": np.ones(90, complex)}, "x_train in {file} is an array of type complex128: expected numbers"),
    ({"x_train": np.float32(1)}, "x_train in {file} has the shape [], so there are no examples"),
    ({"x_test": np.ones((0, 6, 6), np.uint8)}, "x_test in {file} has the shape [0, 6, 6], so there are no examples"),
    ({"x_test": np.ones((30, 6, 5), np.uint8)}, "is uint8[N, 6, 5, 1] and x_train in {file} is uint8[N, 6, 6, 1]"),
    ({"x_test": np.ones((30, 6, 6), np.float32)}, "is float32[N, 6, 6] and x_train in {file} is uint8[N, 6, 6, 1]"),
    ({"y_test": np.ones(30)}, "y_test in {file} is float32[N] and y_train in {file} is int32[N]: expected one shape"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), ARRAYS)
def test_arrays_that_are_no_data_set_are_refused_in_one_sentence(changes: Any, said: str, tmp_path: Path) -> None:
    file = npz(tmp_path / "bad.npz", **changes)
    assert said.format(file=file) in refusal(file)
    assert not (tmp_path / "cache").exists()


def test_files_that_are_none_of_arrays(tmp_path: Path) -> None:
    Path("text.npz").write_text("no arrays")
    Path("text.txt").write_text("no arrays")
    np.savez("none.npz")
    whole = npz(tmp_path / "whole.npz").read_bytes()
    Path("cut.npz").write_bytes(whole[:-100])
    Path("altered.npz").write_bytes(whole[:500] + bytes(100) + whole[600:])
    for name, said in {
        "nothing.npz": "nothing.npz cannot be read: No such file or directory",
        "./nothing": "nothing is not there: expected a .npz file of arrays, or a folder of images by class",
        "./text.txt": "text.txt is another file: expected a .npz file",
        "text.npz": "text.npz is no .npz file of arrays, or it is damaged",
        "none.npz": "none.npz is no .npz file of arrays",
        "cut.npz": "cut.npz is no .npz file of arrays, or it is damaged",
        "altered.npz": "altered.npz is no .npz file of arrays, or it is damaged",
    }.items():
        assert said in refusal(name), name


# -------------------------------------------------------------------------------------------------- folders of images


def by_class(split: Split, made: np.ndarray, labels: np.ndarray) -> bool:
    """Returns whether a split holds the images, sorted by class and within a class as they were made."""
    order = np.argsort(labels, kind="stable")
    return np.array_equal(split.inputs[..., 0], made[order]) and np.array_equal(split.targets, labels[order])


def test_images_are_read_by_class_and_name(tmp_path: Path) -> None:
    made = arrays()
    path = folder(tmp_path / "flowers", splits=("train", "test", "val"))
    (path / "train" / "left" / ".DS_Store").write_bytes(b"\0")
    (path / "train" / "about.txt").write_text("beside the classes")
    data = load_dataset(path)
    assert (data.name, data.num_classes, data.class_names) == ("flowers", 3, CLASSES)
    assert by_class(data.train, made["x_train"], made["y_train"])
    assert by_class(data.test, made["x_test"], made["y_test"])
    assert data.validation is not None
    assert data.validation.digest() == data.test.digest() == data.digests["validation"]
    assert (data.train.inputs.shape, data.train.inputs.dtype) == ((90, 6, 6, 1), np.uint8)


def same(one: Dataset, other: Dataset) -> bool:
    return one.identity() == other.identity() and one.class_names == other.class_names


def test_decoded_images_are_kept_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder(tmp_path / "flowers", splits=("train", "test", "validation"))
    first = load_dataset(path)
    decoded: list[Path] = []
    real = Image.open

    def noted(file: Any) -> Any:
        decoded.append(file)
        return real(file)

    monkeypatch.setattr(Image, "open", noted)
    again = load_dataset(path)
    assert decoded == []
    assert same(first, again)
    assert again.validation is not None
    assert again.validation.digest() == first.digests["validation"]
    file = path / "test" / "left" / "000.png"
    Image.new("L", (6, 6), 7).save(file)
    os.utime(file, ns=(1, 1))
    changed = load_dataset(path)
    assert len(decoded) == 2 * (90 + 30 + 30)
    assert changed.test.inputs[0].tolist() == [[[7]] * 6] * 6
    assert (changed.digests["train"], changed.digests["test"]) != (first.digests["train"], first.digests["test"])
    (path / "train" / "left" / "003.png").unlink()
    assert len(load_dataset(path).train) == 89


def test_a_link_to_a_folder_is_followed_and_its_changes_are_seen(tmp_path: Path) -> None:
    path = folder(tmp_path / "flowers")
    (path / "train").rename(tmp_path / "elsewhere")
    (path / "train").symlink_to(tmp_path / "elsewhere")
    assert len(load_dataset(path).train) == 90
    (tmp_path / "elsewhere" / "left" / "003.png").unlink()
    assert len(load_dataset(path).train) == 89


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "YCbCr"])
def test_one_image_in_colours_makes_all_of_three_channels(mode: str, tmp_path: Path) -> None:
    path = folder(tmp_path / "flowers")
    suffix = "jpg" if mode in ("CMYK", "YCbCr") else "png"
    image = Image.new("RGB", (6, 6), (255, 0, 0)).convert(mode)
    image.save(path / "test" / "left" / f"999.{suffix}", quality=100)
    data = load_dataset(path)
    assert data.train.inputs.shape == (90, 6, 6, 3)
    assert (data.train.inputs[..., :1] == data.train.inputs).all()
    last = data.test.inputs[data.test.targets == 0][-1, 3, 3]
    assert abs(last.astype(int) - (255, 0, 0)).max() < 10


@pytest.mark.parametrize("mode", ["1", "LA"])
def test_black_and_white_and_transparency_are_grey(mode: str, tmp_path: Path) -> None:
    path = folder(tmp_path / "flowers")
    Image.new("L", (6, 6), 255).convert(mode).save(path / "train" / "left" / "000.png")
    data = load_dataset(path)
    assert data.train.inputs.shape == (90, 6, 6, 1)
    assert (data.train.inputs[0] == 255).all()


def test_a_palette_with_transparency_gives_no_warning(tmp_path: Path) -> None:
    path = folder(tmp_path / "flowers")
    image = Image.new("P", (6, 6), 1)
    image.putpalette([0, 0, 0, 9, 8, 7])
    image.save(path / "train" / "left" / "000.png", transparency=b"\0\x80")
    assert load_dataset(path).train.inputs[0, 0, 0].tolist() == [9, 8, 7]


def moved(name: str, other: str) -> Callable[[Path], object]:
    return lambda path: (path / name).rename(path / other)


def emptied(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.mkdir()


IMAGE = "test/left/000.png"
FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "size": (
        lambda path: Image.new("L", (7, 5)).save(path / IMAGE),
        "{path}/test/left/000.png has 7 x 5 pixels and {path}/train/left/000.png has 6 x 6 pixels: resize all to one "
        "size, as with Pillow's image.resize((6, 6))",
    ),
    "16 bits": (
        lambda path: Image.fromarray(np.zeros((6, 6), np.uint16)).save(path / IMAGE),
        "{path}/test/left/000.png has pixels of Pillow's mode I;16: save it with 8 bits for a channel",
    ),
    "text": (
        lambda path: (path / IMAGE).write_text("no image"),
        "{path}/test/left/000.png is no image that can be read (UnidentifiedImageError): remove it, or save it again",
    ),
    "cut short": (
        lambda path: (path / IMAGE).write_bytes((path / IMAGE).read_bytes()[:60]),
        "{path}/test/left/000.png is no image that can be read (OSError)",
    ),
    "empty class": (
        lambda path: (path / "test" / "zebra").mkdir(),
        "{path}/test/zebra holds no images: expected train/CLASS/IMAGE and test/CLASS/IMAGE",
    ),
    "class not tested": (
        moved("test/left", "left"),
        "{path}/test has no class 'left', and {path}/train has: expected the same classes",
    ),
    "class not trained": (
        moved("train/left", "left"),
        "{path}/train has no class 'left', and {path}/test has: expected the same classes",
    ),
    "no test": (moved("test", "val"), "{path} holds the folders train, val, and no 'test': expected train/CLASS/IMAGE"),
    "no classes": (
        lambda path: (moved("test", "was")(path), (path / "test").mkdir()),
        "{path}/test holds no folders of classes",
    ),
    "deeper": (
        lambda path: (path / "test/left/more").mkdir(),
        "{path}/test/left/more is a folder within that of a class",
    ),
    "two validations": (
        lambda path: folder(path, splits=("val", "validation")),
        "{path} has a folder 'validation' and a folder 'val': leave one of them",
    ),
    "empty": (emptied, "{path} holds no folders, and no 'train': expected train/CLASS/IMAGE"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_folders_that_are_refused(case: str, tmp_path: Path) -> None:
    change, said = FOLDERS[case]
    path = folder(tmp_path / "flowers")
    change(path)
    assert said.format(path=path) in refusal(path)
    assert list((tmp_path / "cache").glob("arrays/*/manifest.json")) == []


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "flowers")
    os.rename(path / "train" / "left", os.fsencode(path / "train") + b"/l\xff")
    assert "its name is not UTF-8, so rename it" in refusal(path)


def test_what_the_system_refuses_at_the_moment_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder(tmp_path / "flowers")

    def refused(file: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", refused)
    with pytest.raises(TrainingError, match=r"000\.png cannot be read at the moment \(Permission denied\)"):
        load_dataset(path)


def test_what_is_in_memory_is_not_streamed_and_has_a_size(tmp_path: Path) -> None:
    for path in (folder(tmp_path / "flowers"), npz(tmp_path / "flowers.npz")):
        source = find_dataset(path)
        assert source.train_bytes() == 90 * (36 + 4)
        assert len(source.load(50, 1).train) == 50
        with pytest.raises(DataError, match="so it cannot be streamed: --data-on-device always loads it"):
            source.stream()
