"""The text, the n-gram model that the network is measured against, and the network."""

import hashlib
import lzma
import math
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lrtrain_char_lm import CharLM, ngram_bits, read_text, text

from lrtrain import DataContext, DataError, UsageError

SMALL = CharLM(length=16, width=16, layers=2, heads=2, dropout=0.5)


@pytest.fixture(scope="module")
def tokens():
    return text.tokens_of(read_text())


@pytest.fixture(scope="module")
def data():
    return SMALL.data(DataContext())


def with_variables(workload, data):
    network = workload.network(data)
    return network, jax.jit(network.init)(jax.random.key(0), data.train.inputs[:1])


@pytest.fixture(scope="module")
def evaluated(data):
    """The network as a function of tokens, with random numbers for what is zero at first."""
    network, variables = with_variables(SMALL, data)
    random = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: leaf + random.normal(0, 0.1, leaf.shape).astype(np.float32), variables)
    return jax.jit(lambda tokens, **others: network.apply(variables, tokens, **others), static_argnames="train")


def test_importing_the_entry_point_imports_no_jax():
    program = "import sys, lrtrain_char_lm; sys.exit(bool({'jax', 'flax', 'optax'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_text_is_what_its_digest_says():
    contents = read_text()
    assert hashlib.sha256(contents.encode()).hexdigest() == text.SHA256
    assert (len(contents), len(set(contents)), contents.count("\n")) == (1_510_269, 62, 10_253)
    assert contents.startswith("In the beginning God created the heaven and the earth.\n")


@pytest.mark.parametrize("damage", [
    lambda packed: packed[: len(packed) // 2],
    lambda packed: b"",
    lambda packed: lzma.compress(b"another text"),
])  # fmt: skip
def test_damaged_text_is_refused(tmp_path, damage):
    file = tmp_path / "text.xz"
    file.write_bytes(damage(text.FILE.read_bytes()))
    with pytest.raises(DataError, match="install lrtrain-char-lm again"):
        read_text(file)


def test_splits_are_the_text_in_order(tokens, data):
    letters = np.array(sorted(set(read_text())))
    parts = text.split_by_position(tokens)
    assert [len(part) for part in parts] == [1_359_242, 75_513, 75_514]
    assert "".join(letters[np.concatenate(parts)]) == read_text()
    for part, split in zip(parts, (data.train, data.validation, data.test), strict=True):
        assert split.inputs.shape == split.targets.shape == ((len(part) - 1) // 16, 16)
        assert split.inputs.dtype == split.targets.dtype == np.int32
        np.testing.assert_array_equal(split.inputs.ravel(), part[: split.inputs.size])
        np.testing.assert_array_equal(split.targets.ravel(), part[1 : split.inputs.size + 1])


def test_data_is_the_same_each_time(data):
    again = SMALL.data(DataContext())
    assert [part.digest() for part in (again.train, again.validation, again.test)] == [
        part.digest() for part in (data.train, data.validation, data.test)
    ]


def test_data_and_network_of_a_user_are_taken():
    examples = (np.zeros((4, 8), np.int32), np.full((4, 8), 5, np.int32))
    own = CharLM(train=examples, test=examples, width=8, layers=1, heads=2)
    data = own.data(DataContext())
    network, variables = with_variables(own, data)
    assert network.apply(variables, examples[0]).shape == (4, 8, 6)
    assert CharLM(model=network).network(data) is network


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_ngram_model_against_its_definition(order):
    train, test = "the cat sat on the mat, the rat ate the cat", "that hat is on the cat"
    alphabet = sorted(set(train + test))

    def likelihood(context, char, length):
        if length == 0:
            return 1 / len(alphabet)
        context = context[-(length - 1) :] if length > 1 else ""
        followers = [train[i + length - 1] for i in range(len(train) - length + 1) if train[i:].startswith(context)]
        shorter = likelihood(context[1:], char, length - 1)
        kinds = len(set(followers))
        return (followers.count(char) + kinds * shorter) / (len(followers) + kinds) if followers else shorter

    expected = [likelihood(test[:i], char, min(order, i + 1)) for i, char in enumerate(test)]
    numbers = [np.array([alphabet.index(char) for char in string]) for string in (train, test)]
    got = ngram_bits(*numbers, order=order, vocabulary=len(alphabet))
    assert got == pytest.approx(-np.mean(np.log2(expected)), rel=1e-12)


def test_ngram_likelihoods_sum_to_one():
    train = np.random.default_rng(0).integers(0, 5, 200)
    given = train[:2]
    bits = [3 * ngram_bits(train, np.append(given, last), order=3, vocabulary=5) for last in range(5)]
    before = 2 * ngram_bits(train, given, order=3, vocabulary=5)
    assert sum(2 ** (before - each) for each in bits) == pytest.approx(1)


def test_ngram_model_of_the_text(tokens):
    train, _, test = text.split_by_position(tokens)
    got = [ngram_bits(train, test, order=order, vocabulary=62) for order in (1, 2, 3)]
    np.testing.assert_allclose(got, [4.3620, 3.2626, 2.4758], atol=1e-4)


def test_later_tokens_change_no_earlier_logits(data, evaluated):
    tokens = data.test.inputs[:2]
    for place in range(16):
        changed = tokens.copy()
        changed[:, place] = (changed[:, place] + 1) % 62
        different = np.abs(evaluated(changed) - evaluated(tokens)).max(axis=(0, 2))
        assert not different[:place].any()
        assert different[place:].all()


def test_positions_matter(data, evaluated):
    tokens = data.test.inputs[:1]
    swapped = tokens[:, [2, 1, 0, *range(3, 16)]]
    assert tokens[0, 0] != tokens[0, 2]
    assert jnp.abs(evaluated(swapped) - evaluated(tokens))[0, -1].max() > 1e-6


def test_dropout_is_in_training_only(data, evaluated):
    tokens = data.test.inputs[:2]
    np.testing.assert_array_equal(evaluated(tokens), evaluated(tokens))
    one, same, other = (evaluated(tokens, train=True, rngs={"dropout": jax.random.key(seed)}) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert jnp.abs(one - other).max() > 1e-6


def test_loss_and_metrics_are_of_each_example(data, evaluated):
    outputs, targets = evaluated(data.test.inputs[:3]), data.test.targets[:3]
    losses = SMALL.loss(outputs, targets)
    metrics = SMALL.metrics(outputs, targets)
    assert losses.shape == (3,)
    assert losses.dtype == jnp.float32
    assert set(metrics) == {"bits_per_character", "accuracy"}
    assert SMALL.headline.name in metrics
    np.testing.assert_allclose(metrics["bits_per_character"], losses / math.log(2), rtol=1e-6)
    np.testing.assert_allclose(SMALL.loss(outputs[:1], targets[:1]), losses[:1], rtol=1e-6)


def test_network_begins_at_about_the_loss_of_a_guess(data):
    network, variables = with_variables(SMALL, data)
    assert set(variables) == {"params"}
    loss = SMALL.loss(network.apply(variables, data.test.inputs[:32]), data.test.targets[:32]).mean()
    assert abs(loss - math.log(62)) < 0.1


@pytest.mark.parametrize(("options", "words"), [
    ({"width": 20, "heads": 4}, "multiple of 2 \\* heads, 8"),
    ({"length": 75_513}, "length=75513 is too long"),
])  # fmt: skip
def test_impossible_options_are_refused(data, options, words):
    workload = CharLM(**options)
    with pytest.raises(UsageError, match=words):
        workload.network(workload.data(DataContext()))


def test_training_beats_the_guess_in_a_few_steps(data):
    import optax

    network, params = with_variables(CharLM(length=16, width=32, layers=1), data)
    optimizer = optax.adamw(1e-2)

    @jax.jit
    def step(params, state, inputs, targets):
        def mean_loss(params):
            return SMALL.loss(network.apply(params, inputs), targets).mean()

        loss, gradients = jax.value_and_grad(mean_loss)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, loss

    state = optimizer.init(params)
    for begin in range(0, 60 * 32, 32):
        batch = slice(begin, begin + 32)
        params, state, loss = step(params, state, data.train.inputs[batch], data.train.targets[batch])
    assert loss < SMALL.guess(data.train.targets[: 60 * 32]) - 0.3
