"""The digits against what UCI says of them, and the workload's functions on them."""

import gzip
from importlib.metadata import entry_points
from pathlib import Path

import jax
import numpy as np
import pytest
from lrtrain_digits import Digits, reader

from lrtrain import DataContext, DataError

# The number of examples of each class in the test set, from UCI's description.
COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


@pytest.fixture(scope="module")
def data():
    return Digits().data(DataContext())


def test_shapes_and_types(data):
    assert (data.name, data.num_classes, data.class_names) == ("digits", 10, tuple("0123456789"))
    for split, size in ((data.train, 1437), (data.test, 360)):
        assert (split.inputs.shape, split.inputs.dtype) == ((size, 8, 8, 1), np.uint8)
        assert (split.targets.shape, split.targets.dtype) == ((size,), np.int32)


def test_the_examples_are_those_of_uci(data):
    labels = np.concatenate([data.train.targets, data.test.targets])
    np.testing.assert_array_equal(np.bincount(labels), COUNTS)
    images = np.concatenate([data.train.inputs, data.test.inputs])
    assert (images.min(), images.max()) == (0, 16)
    assert images[0, :, :, 0].tolist() == [
        [0, 0, 5, 13, 9, 1, 0, 0],
        [0, 0, 13, 15, 10, 15, 5, 0],
        [0, 3, 15, 2, 0, 11, 8, 0],
        [0, 4, 12, 0, 0, 8, 8, 0],
        [0, 5, 8, 0, 0, 9, 8, 0],
        [0, 4, 11, 0, 1, 12, 7, 0],
        [0, 2, 14, 5, 10, 12, 0, 0],
        [0, 0, 6, 13, 10, 0, 0, 0],
    ]


def test_every_class_has_its_share_of_both_splits(data):
    assert np.bincount(data.test.targets).tolist() == [35, 36, 35, 37, 37, 37, 37, 36, 33, 37]


def test_the_data_is_the_same_each_time_and_everywhere(data):
    assert data.train.digest() == "78c63d7c3608f48fe10696e71a5ee32fe6a23a1c9258c43619da6eee96341fb7"
    assert data.test.digest() == "357a0ce30a3adc164a5a0ec3c61f89daa252eff2d201aa89fcfe43d6c120b4fa"
    assert Digits().data(DataContext()).identity() == data.identity()


@pytest.mark.parametrize("width", [1, 64])
def test_each_example_has_a_loss_and_an_accuracy(data, width):
    workload = Digits(width=width)
    network = workload.network(data)
    images, labels = data.test.inputs[:7], data.test.targets[:7]
    inputs = workload.inputs(jax.numpy.asarray(images))
    np.testing.assert_array_equal(inputs, images.reshape(7, 64) / np.float32(16))
    variables = network.init(jax.random.key(0), inputs)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 65 * width + (width + 1) * width + (width + 1) * 10
    logits = network.apply(variables, inputs)
    losses = workload.loss(logits, labels)
    assert (losses.shape, losses.dtype) == ((7,), np.float32)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(losses, -np.log(shares[np.arange(7), labels]), rtol=1e-4)
    np.testing.assert_array_equal(workload.metrics(logits, labels)["accuracy"], np.argmax(logits, 1) == labels)


def test_a_few_passes_teach_most_of_the_digits(data):
    workload = Digits()
    network, images, labels = workload.network(data), data.train.inputs, data.train.targets
    parameters = network.init(jax.random.key(0), workload.inputs(images[:1]))

    @jax.jit
    def step(parameters, velocity, images, labels):
        def loss(parameters):
            return workload.loss(network.apply(parameters, workload.inputs(images)), labels).mean()

        gradient = jax.grad(loss)(parameters)
        velocity = jax.tree.map(lambda kept, new: 0.9 * kept + new, velocity, gradient)
        rate = workload.defaults.learning_rate
        return jax.tree.map(lambda old, new: old - rate * new, parameters, velocity), velocity

    velocity = jax.tree.map(jax.numpy.zeros_like, parameters)
    for index in range(5 * 44):
        part = slice(index % 44 * 32, index % 44 * 32 + 32)
        parameters, velocity = step(parameters, velocity, images[part], labels[part])
    logits = network.apply(parameters, workload.inputs(data.test.inputs))
    assert workload.metrics(logits, data.test.targets)["accuracy"].mean() > 0.85


@pytest.mark.parametrize("contents", [b"", gzip.compress(b"0,1\n")])
def test_another_file_is_refused(contents, tmp_path: Path, monkeypatch):
    (tmp_path / "digits.csv.gz").write_bytes(contents)
    monkeypatch.setattr(reader, "FILE", tmp_path / "digits.csv.gz")
    with pytest.raises(DataError, match=r"digits\.csv\.gz is altered .* reinstall it"):
        reader.read_digits()


def test_a_missing_file(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(reader, "FILE", tmp_path / "digits.csv.gz")
    with pytest.raises(DataError, match=r"cannot be read \(No such file or directory\): reinstall it"):
        reader.read_digits()


def test_examples_and_a_model_that_are_given_in_python_are_taken():
    pair = np.zeros((6, 8, 8, 1), np.uint8), np.arange(6, dtype=np.int32) % 3
    own, model = Digits(train=pair, test=pair), object()
    data = own.data(DataContext())
    assert (data.train.inputs is pair[0], data.num_classes) == (True, None)
    assert own.network(data).num_classes == 3
    assert Digits(model=model).network(data) is model


def test_the_entry_point_names_the_workload():
    (entry,) = entry_points(group="lrtrain.workloads", name="digits")
    assert entry.load() is Digits


def test_the_licence_of_the_data_is_in_the_package():
    assert "Attribution 4.0 International" in (Path(str(reader.FILE)).parent / "LICENSE").read_text(encoding="utf-8")
