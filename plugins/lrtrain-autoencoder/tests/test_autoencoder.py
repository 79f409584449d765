"""The autoencoder's data, its loss and its network against NumPy."""

from importlib.metadata import entry_points

import jax
import numpy as np
import pytest
from lrtrain_autoencoder import Autoencoder
from lrtrain_fashion_mnist import idx

from lrtrain import DataContext, Dataset, Regression, Split


@pytest.fixture(scope="module")
def images():
    """Returns 200 images at random: the loss is the same function of any."""
    return np.random.default_rng(0).integers(0, 256, (200, 28, 28, 1), np.uint8)


@pytest.fixture(scope="module")
def data(images):
    return Dataset("random", "", Split(images, images), Split(images[:7], images[:7]))


def test_inputs_and_targets_are_the_images_of_fashion_mnist_and_in_memory_once(tmp_path, monkeypatch):
    monkeypatch.setenv("LRTRAIN_CACHE_DIR", str(tmp_path))
    data = Autoencoder().data(DataContext())
    assert (data.name, data.num_classes, data.class_names) == ("fashion_mnist", None, ())
    for split, file in ((data.train, idx.TRAIN_IMAGES), (data.test, idx.TEST_IMAGES)):
        assert split.inputs is split.targets
        np.testing.assert_array_equal(split.inputs, idx.read_idx(file)[..., None])


@pytest.mark.parametrize("options", [{}, {"width": 5, "code": 2}])
def test_each_example_has_a_loss(data, options):
    workload = Autoencoder(**options)
    network = workload.network(data)
    images = data.test.inputs
    inputs = workload.inputs(jax.numpy.asarray(images))
    np.testing.assert_allclose(inputs, images.reshape(7, 784) / 255, rtol=1e-6)
    variables = network.init(jax.random.key(0), inputs)
    width, code = workload.width, workload.code
    size = 785 * width + (width + 1) * code + (code + 1) * width + (width + 1) * 784
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == size
    outputs = network.apply(variables, inputs)
    assert outputs.shape == (7, 784)
    losses = workload.loss(outputs, jax.numpy.asarray(images))
    assert (losses.shape, losses.dtype) == ((7,), np.float32)
    expected = np.mean((np.asarray(outputs, np.float64) - images.reshape(7, 784) / 255) ** 2, axis=1)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_the_network_is_four_layers_in_numpy(data):
    workload = Autoencoder(width=5, code=2)
    network, inputs = workload.network(data), workload.inputs(jax.numpy.asarray(data.test.inputs))
    variables = network.init(jax.random.key(0), inputs)
    x = np.asarray(inputs)
    for layer in range(4):
        place = variables["params"][f"Dense_{layer}"]
        x = x @ np.asarray(place["kernel"]) + np.asarray(place["bias"])
        x = np.maximum(x, 0) if layer in (0, 2) else x
    np.testing.assert_allclose(network.apply(variables, inputs), x, rtol=1e-4, atol=1e-5)


def test_the_guess_is_the_loss_of_the_mean_image(images):
    mean = np.mean(images / 255, axis=0)
    expected = np.mean((images / 255 - mean) ** 2)
    np.testing.assert_allclose(Autoencoder().guess(images), expected, rtol=1e-12)
    np.testing.assert_allclose(Regression().guess(images / 255), expected, rtol=1e-12)
    outputs = np.broadcast_to(mean.reshape(1, 784), (200, 784))
    np.testing.assert_allclose(Autoencoder().loss(outputs, jax.numpy.asarray(images)).mean(), expected, rtol=1e-6)


def test_examples_and_a_model_that_are_given_in_python_are_taken(images, data):
    pair, model = (images, images), object()
    own = Autoencoder(train=pair, test=pair).data(DataContext())
    assert own.train.inputs is own.test.targets is images
    assert Autoencoder(model=model).network(data) is model


def test_the_entry_point_names_the_workload():
    (entry,) = entry_points(group="lrtrain.workloads", name="autoencoder")
    assert entry.load() is Autoencoder
