"""The network, its batch statistics and the random shifts and flips."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lrtrain_fashion_mnist_resnet import FashionMnistResnet

from lrtrain import DataContext

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(1, 256, (8, 28, 28, 1), np.uint8)
LABELS = np.arange(8, dtype=np.int32)
OWN = FashionMnistResnet(train=(IMAGES, LABELS), test=(IMAGES, LABELS), width=8)


@pytest.fixture(scope="module")
def trained():
    network = OWN.network(OWN.data(DataContext()))
    return network, jax.jit(network.init)(jax.random.key(0), OWN.inputs(IMAGES[:1]))


@pytest.fixture(scope="module")
def evaluated(trained):
    """The network as a function of eight images, with statistics that are no zeros and ones."""
    network, variables = trained
    changed = jax.tree.map(lambda leaf: leaf + 0.1, variables["batch_stats"])
    return jax.jit(lambda images: network.apply({**variables, "batch_stats": changed}, OWN.inputs(images)))


def augmented(workload, count, image=IMAGES[0]):
    keys = jax.random.split(jax.random.key(1), count)
    return np.asarray(jax.vmap(lambda key: workload.augment(image, key))(keys))


def in_numpy(image, down, right, mirrored):
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    moved = padded[2 - down : 30 - down, 2 - right : 30 - right]
    return moved[:, ::-1] if mirrored else moved


def test_importing_the_entry_point_imports_no_jax():
    program = "import sys, lrtrain_fashion_mnist_resnet; sys.exit(bool({'jax', 'flax', 'optax'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_data_is_fashion_mnist():
    data = FashionMnistResnet().data(DataContext())
    assert data.name == "fashion_mnist"
    assert (data.train.inputs.shape, data.train.inputs.dtype) == ((60_000, 28, 28, 1), np.uint8)
    assert (data.test.targets.shape, data.test.targets.dtype) == ((10_000,), np.int32)


def test_each_augmented_image_is_a_shift_or_its_mirror_image():
    possible = {
        in_numpy(IMAGES[0], down, right, mirrored).tobytes()
        for down in range(-2, 3)
        for right in range(-2, 3)
        for mirrored in (False, True)
    }
    assert len(possible) == 50
    got = augmented(FashionMnistResnet(shift=2), 1000)
    assert (got.shape, got.dtype) == ((1000, 28, 28, 1), np.uint8)
    assert {image.tobytes() for image in got} == possible


def test_options_of_the_augmentation():
    np.testing.assert_array_equal(augmented(FashionMnistResnet(shift=0, flip=False), 5), IMAGES[[0] * 5])
    flips = {image.tobytes() for image in augmented(FashionMnistResnet(shift=0), 50)}
    assert flips == {IMAGES[0].tobytes(), IMAGES[0, :, ::-1].tobytes()}
    assert len({image.tobytes() for image in augmented(FashionMnistResnet(shift=1, flip=False), 300)}) == 9


def test_augmentation_is_a_function_of_image_and_key():
    workload = FashionMnistResnet()
    one = augmented(workload, 20)
    np.testing.assert_array_equal(one, augmented(workload, 20))
    key = jax.random.split(jax.random.key(1), 20)[7]
    np.testing.assert_array_equal(one[7], workload.augment(IMAGES[0], key))


def test_logits_loss_and_metrics_are_of_each_example(evaluated):
    logits = evaluated(IMAGES)
    assert (logits.shape, logits.dtype) == ((8, 8), jnp.float32)
    losses, metrics = OWN.loss(logits, LABELS), OWN.metrics(logits, LABELS)
    assert losses.shape == metrics["accuracy"].shape == (8,)
    assert OWN.headline.name in metrics


def test_evaluated_images_do_not_depend_on_each_other(evaluated):
    changed = IMAGES.copy()
    changed[1:] = 0
    one, other = (evaluated(images)[0] for images in (IMAGES, changed))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_training_follows_the_statistics_of_the_batch(trained):
    network, variables = trained
    assert set(variables) == {"params", "batch_stats"}
    apply = jax.jit(
        lambda images, train: network.apply(variables, OWN.inputs(images), train=train, mutable=["batch_stats"]),
        static_argnums=1,
    )
    (logits, changed), (others, kept) = apply(IMAGES, True), apply(IMAGES, False)
    assert jax.tree.structure(changed["batch_stats"]) == jax.tree.structure(variables["batch_stats"])
    for before, after in zip(*map(jax.tree.leaves, (variables["batch_stats"], changed["batch_stats"])), strict=True):
        assert jnp.any(before != after)
    assert jnp.abs(logits - others).max() > 1e-3
    jax.tree.map(np.testing.assert_array_equal, kept["batch_stats"], variables["batch_stats"])


def test_every_convolution_is_fast_in_a_loop(trained):
    from lrtrain.nn.conv import is_slow_in_loop
    from lrtrain.nn.substitution import with_fast_operations

    network, variables = trained

    @with_fast_operations
    def outputs(params):
        given = {**variables, "params": params}
        return network.apply(given, OWN.inputs(IMAGES), train=True, mutable="batch_stats")[0]

    def mean_loss(params):
        return OWN.loss(outputs(params), LABELS).mean()

    assert not is_slow_in_loop(jax.make_jaxpr(jax.grad(mean_loss))(variables["params"]))


@pytest.mark.parametrize("blocks", [1, 2])
def test_sides_need_not_be_even(blocks):
    images = np.zeros((2, 9, 14, 3), np.float32)
    workload = FashionMnistResnet(train=(images, LABELS[:2]), test=(images, LABELS[:2]), width=4, blocks=blocks)
    network = workload.network(workload.data(DataContext()))
    logits, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), images)
    assert logits.shape == (2, 2)
    assert len([name for name in variables["params"] if name.startswith("Block")]) == 3 * blocks


def test_model_of_a_user_is_taken(trained):
    network, _ = trained
    assert FashionMnistResnet(model=network).network(OWN.data(DataContext())) is network
