"""MNIST-1D against its description and, where it is installed, the package that makes it."""

import random
from importlib.metadata import entry_points
from pathlib import Path

import jax
import numpy as np
import pytest
from lrtrain_mnist1d import MNIST1D, reader

from lrtrain import DataContext, DataError


@pytest.fixture(scope="module")
def data():
    return MNIST1D().data(DataContext())


def test_shapes_and_types(data):
    assert (data.name, data.num_classes, data.class_names) == ("mnist1d", 10, tuple("0123456789"))
    for split, size in ((data.train, 4000), (data.test, 1000)):
        assert (split.inputs.shape, split.inputs.dtype) == ((size, 40), np.float32)
        assert (split.targets.shape, split.targets.dtype) == ((size,), np.int32)


def test_mean_variance_and_counts_are_those_of_the_description(data):
    curves = np.concatenate([data.train.inputs, data.test.inputs]).astype(np.float64)
    assert abs(curves.mean()) < 1e-4
    assert abs(curves.std() - 1) < 1e-4
    labels = np.concatenate([data.train.targets, data.test.targets])
    np.testing.assert_array_equal(np.bincount(labels), 500)
    assert len(np.unique(curves, axis=0)) == 5000


def test_the_data_is_the_same_each_time_and_everywhere(data):
    assert data.train.digest() == "4fbef51c495e96717fafeea13ce7ff78829e13d432375a08809e2786c488329a"
    assert data.test.digest() == "e63f8f398813c7111f7980965ee6b7257cb137d4ba247cbe698f52f8ce0c48a8"
    assert MNIST1D().data(DataContext()).identity() == data.identity()


def test_the_curves_are_those_of_the_package_that_makes_them(data):
    maker = pytest.importorskip("mnist1d.data")
    state = random.getstate(), np.random.get_state()
    made = maker.make_dataset(maker.get_dataset_args())
    random.setstate(state[0])
    np.random.set_state(state[1])
    for split, end in ((data.train, ""), (data.test, "_test")):
        np.testing.assert_allclose(split.inputs, made[f"x{end}"], rtol=0, atol=0.5 / 1024 + 1e-9)
        np.testing.assert_array_equal(split.targets, made[f"y{end}"])


@pytest.mark.parametrize(("options", "size"), [
    ({}, 41 * 100 + 101 * 100 + 101 * 10),
    ({"width": 3}, 41 * 3 + 4 * 3 + 4 * 10),
    ({"architecture": "cnn"}, 6 * 25 + 2 * (3 * 25 + 1) * 25 + (5 * 25 + 1) * 10),
    ({"architecture": "cnn", "width": 2}, 6 * 2 + 2 * (3 * 2 + 1) * 2 + (5 * 2 + 1) * 10),
])  # fmt: skip
def test_each_example_has_a_loss_and_an_accuracy(data, options, size):
    workload = MNIST1D(**options)
    network = workload.network(data)
    curves, labels = data.test.inputs[:7], data.test.targets[:7]
    variables = network.init(jax.random.key(0), workload.inputs(curves))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == size
    logits = network.apply(variables, workload.inputs(curves))
    losses = workload.loss(logits, labels)
    assert (losses.shape, losses.dtype) == ((7,), np.float32)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(losses, -np.log(shares[np.arange(7), labels]), rtol=1e-4)
    np.testing.assert_array_equal(workload.metrics(logits, labels)["accuracy"], np.argmax(logits, 1) == labels)


def test_the_first_convolution_is_that_of_numpy(data):
    network = MNIST1D(architecture="cnn", width=2).network(data)
    curves = data.test.inputs[:3]
    variables = network.init(jax.random.key(0), curves)
    _, state = network.apply(variables, curves, capture_intermediates=True)
    got = state["intermediates"]["Conv_0"]["__call__"][0]
    kernel = np.asarray(variables["params"]["Conv_0"]["kernel"])[:, 0]
    # SAME padding of 40 points for 20 places, of 5 points each, two apart: 1 point before and 2 after.
    padded = np.pad(curves, ((0, 0), (1, 2)))
    expected = np.stack([padded[:, 2 * place : 2 * place + 5] @ kernel for place in range(20)], axis=1)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("contents", [b"", b"PK"])
def test_another_file_is_refused(contents, tmp_path: Path, monkeypatch):
    (tmp_path / "mnist1d.npz").write_bytes(contents)
    monkeypatch.setattr(reader, "FILE", tmp_path / "mnist1d.npz")
    with pytest.raises(DataError, match=r"mnist1d\.npz is altered .* reinstall it"):
        reader.read_curves()


def test_a_missing_file(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(reader, "FILE", tmp_path / "mnist1d.npz")
    with pytest.raises(DataError, match=r"cannot be read \(No such file or directory\): reinstall it"):
        reader.read_curves()


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_examples_and_a_model_that_are_given_in_python_are_taken(architecture):
    pair = np.zeros((6, 20), np.float32), np.arange(6, dtype=np.int32) % 3
    own, model = MNIST1D(train=pair, test=pair, architecture=architecture), object()
    data = own.data(DataContext())
    assert (data.train.inputs is pair[0], data.num_classes) == (True, None)
    assert own.network(data).num_classes == 3
    assert MNIST1D(model=model).network(data) is model


def test_the_entry_point_names_the_workload():
    (entry,) = entry_points(group="lrtrain.workloads", name="mnist1d")
    assert entry.load() is MNIST1D
