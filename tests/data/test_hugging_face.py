"""Data sets of the package ``datasets``, in memory and saved: the package itself makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lrtrain
from lrtrain.data import load_dataset
from lrtrain.data.hugging_face import is_hugging_face
from lrtrain.errors import DataError
from tests.data.striped import CLASSES, arrays

datasets = pytest.importorskip("datasets", reason="datasets is not installed: pip install datasets")
CONTEXT = lrtrain.DataContext()


@pytest.fixture(autouse=True)
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRTRAIN_CACHE_DIR", str(tmp_path / "cache"))
    datasets.disable_progress_bars()


def images(part: str, mode: str = "L", **columns: Any) -> Any:
    """Returns a split of striped images with an id, which is neither input nor target."""
    made = arrays(12, 6)
    pixels, labels = made[f"x_{part}"], made[f"y_{part}"].tolist()
    pictures = [Image.fromarray(image).convert(mode) for image in pixels]
    features = {"id": datasets.Value("int64"), "label": datasets.ClassLabel(names=CLASSES), "image": datasets.Image()}
    values = {"id": list(range(len(labels))), "label": labels, "image": pictures}
    return datasets.Dataset.from_dict({**values, **columns}, features=datasets.Features(features))


def loaded(train: Any, test: Any = None, **others: Any) -> lrtrain.Dataset:
    return lrtrain.Classification(train=train, test=train if test is None else test, **others).data(CONTEXT)


def refusal(train: Any, test: Any = None) -> str:
    with pytest.raises(DataError) as caught:
        loaded(train, test)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_only_image_and_the_only_class_label_are_taken() -> None:
    made = arrays(12, 6)
    data = loaded(images("train"), images("test"), validation=images("test"))
    np.testing.assert_array_equal(data.train.inputs[..., 0], made["x_train"])
    np.testing.assert_array_equal(data.test.targets, made["y_test"])
    assert (data.num_classes, data.class_names, data.train.targets.dtype) == (3, CLASSES, np.int32)
    assert data.validation is not None
    assert data.validation.digest() == data.test.digest()


def test_one_split_in_colours_makes_all_of_three_channels() -> None:
    data = loaded(images("train"), images("test", "RGB"))
    assert data.train.inputs.shape == (12, 6, 6, 3)


@pytest.mark.parametrize("order", [["x", "y"], ["y", "x"]])
def test_of_two_columns_the_class_label_or_the_second_is_the_target(order: list[str]) -> None:
    columns = {"x": np.arange(24.0).reshape(6, 4), "y": [0, 1, 0, 1, 0, 1]}
    features = datasets.Features(
        {"x": datasets.Sequence(datasets.Value("float32"), 4), "y": datasets.ClassLabel(num_classes=2)}
    )
    data = loaded(datasets.Dataset.from_dict(columns, features=features).select_columns(order))
    assert (data.train.inputs.shape, data.train.inputs.dtype, data.num_classes) == ((6, 4), np.float32, 2)
    plain = datasets.Dataset.from_dict({"b": [[1, 2], [3, 4]], "a": [0.5, 1.5]})
    data = loaded(plain)
    assert (data.train.inputs.tolist(), data.train.targets.tolist()) == ([[1, 2], [3, 4]], [0.5, 1.5])


def test_numbers_keep_the_type_that_they_are_stored_in() -> None:
    features = datasets.Features({"x": datasets.Array2D((3, 3), "uint8"), "y": datasets.Value("int16")})
    split = datasets.Dataset.from_dict({"x": np.ones((4, 3, 3), np.uint8), "y": [0, 1, 2, 0]}, features=features)
    data = loaded(split)
    assert (data.train.inputs.dtype, data.train.inputs.shape, data.num_classes) == (np.uint8, (4, 3, 3, 1), 3)


def test_what_is_not_clear_or_no_data_is_refused() -> None:
    train = images("train")
    three = datasets.Dataset.from_dict({"a": [1.0], "b": [1.0], "c": [1]})
    assert "have the columns a, b, c: choose the inputs and the targets with select_columns" in refusal(three)
    assert "the column 'label' of test is None, and that of train ClassLabel" in refusal(
        train, train.remove_columns("label")
    )
    assert "the test examples are none, or a stream" in refusal(train, train.to_iterable_dataset())
    assert "the test examples are none, or a stream" in refusal(train, train.select([]))
    assert "the column 'x' cannot be made an array" in refusal(datasets.Dataset.from_dict({"x": ["a"], "y": [0]}))
    assert "the column 'x' cannot be made an array (ValueError" in refusal(
        datasets.Dataset.from_dict({"x": [[1], [1, 2]], "y": [0, 1]})
    )
    assert "test is tuple, and others are datasets.Dataset" in refusal(train, (np.ones(3), np.ones(3)))
    larger = images("test", image=[Image.new("L", (7, 6))] * 6)
    assert "image 0 in the column 'image' of test has 7 x 6 pixels and image 0 in the column" in refusal(train, larger)


def test_a_label_that_is_not_known_is_refused() -> None:
    features = datasets.Features({"x": datasets.Value("float32"), "y": datasets.ClassLabel(num_classes=2)})
    split = datasets.Dataset.from_dict({"x": [1.0, 2.0], "y": [-1, 1]}, features=features)
    assert "the column 'y' of train has the label -1" in refusal(split)


def test_a_saved_data_set_is_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "saved"
    saved = datasets.DatasetDict({"train": images("train"), "test": images("test"), "validation": images("test")})
    saved.save_to_disk(str(path))
    data = load_dataset(path)
    assert (data.name, data.class_names, len(data.train)) == ("saved", CLASSES, 12)
    assert data.digests == {part: getattr(data, part).digest() for part in ("train", "test", "validation")}
    assert load_dataset(path).identity() == data.identity()
    datasets.DatasetDict({"train": images("train"), "dev": images("test")}).save_to_disk(str(tmp_path / "other"))
    with pytest.raises(DataError, match=r"has the splits train, dev, and no 'test': rename one"):
        load_dataset(tmp_path / "other")
    (path / "dataset_dict.json").write_text("{}")
    with pytest.raises(DataError, match=r"has the splits , and no 'train'|cannot be read"):
        load_dataset(path)


def test_other_things_are_no_data_set_of_the_package() -> None:
    for each in (None, (1, 2), {"train": 1}, np.ones(3), datasets):
        assert not is_hugging_face(each)
