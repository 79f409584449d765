"""A small decoder-only transformer. In shapes: B sequences, T tokens, D numbers a token, H heads, V vocabulary."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

# A fraction of it is the slowest rotation of `rotated`, in tokens.
_LONGEST = 10_000.0


class Transformer(nn.Module):
    """Maps tokens ``int32[B, T]`` to the logits of the token after each, ``float32[B, T, V]``.

    Args:
      vocabulary: how many different tokens there are, V.
      width: numbers that stand for a token, D; a multiple of twice the heads.
      layers: how many blocks there are.
      heads: heads of attention in each block, H.
      dropout: the share of what a layer adds that is dropped in training: the same of all tokens of a sequence, so that
        few random numbers are needed, which are slow to make on a CPU.
    """

    vocabulary: int
    width: int
    layers: int
    heads: int
    dropout: float

    @nn.compact
    def __call__(self, tokens: jax.Array, train: bool = False) -> jax.Array:
        """Returns the logits; those of a token depend on it and on the tokens before it."""
        # The gradient of a look-up is a scatter, which a GPU adds up in any order. That of a product is a product, the
        # same to the bit each time, and with so few tokens as fast.
        embed = nn.Dense(self.width, use_bias=False, kernel_init=nn.initializers.normal(1.0), name="embedding")
        x = embed(jax.nn.one_hot(tokens, self.vocabulary))
        for _ in range(self.layers):
            for layer in (Attention(self.heads), FeedForward()):
                added = layer(nn.RMSNorm()(x))
                x = x + nn.Dropout(self.dropout, broadcast_dims=(1,), deterministic=not train)(added)
        # So small at first that every token is about as likely.
        small = nn.initializers.normal(0.02)
        return nn.Dense(self.vocabulary, use_bias=False, kernel_init=small, name="logits")(nn.RMSNorm()(x))


class FeedForward(nn.Module):
    """Two dense layers, ``[B, T, D]`` to the same, with the square of relu between them (So et al., 2109.08668)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns what is added to each token."""
        width = x.shape[-1]
        hidden = jnp.square(nn.relu(nn.Dense(4 * width, use_bias=False)(x)))
        return nn.Dense(width, use_bias=False, kernel_init=nn.initializers.zeros)(hidden)


class Attention(nn.Module):
    """Each token attends to itself and those before it, ``[B, T, D]`` to the same."""

    heads: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns what is added to each token."""
        batch, length, width = x.shape
        size = width // self.heads
        mixed = nn.Dense(3 * width, use_bias=False)(x).reshape(batch, length, 3 * self.heads, size)
        query, key, value = jnp.split(mixed.transpose(0, 2, 1, 3), 3, axis=1)
        scores = jnp.einsum("bhqd,bhkd->bhqk", rotated(query) * size**-0.5, rotated(key))
        scores = jnp.where(jnp.tril(jnp.ones((length, length), bool)), scores, -jnp.inf)
        seen = jnp.einsum("bhqk,bhkd->bhqd", jax.nn.softmax(scores), value)
        together = seen.transpose(0, 2, 1, 3).reshape(batch, length, width)
        return nn.Dense(width, use_bias=False, kernel_init=nn.initializers.zeros)(together)


def rotated(x: jax.Array) -> jax.Array:
    """Turns each pair of numbers by an angle that grows with the token's place, ``[..., T, D / H]``.

    A query's product with a key then depends on how far they are apart (Su et al., arXiv 2104.09864).
    """
    half = x.shape[-1] // 2
    turns = jnp.arange(x.shape[-2])[:, None] * _LONGEST ** -(jnp.arange(half) / half)
    one, other = x[..., :half], x[..., half:]
    sine, cosine = jnp.sin(turns), jnp.cos(turns)
    return jnp.concatenate([one * cosine - other * sine, one * sine + other * cosine], axis=-1)
