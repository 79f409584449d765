"""Keras 3: `fit` on the JAX backend, which compiles its step."""

from __future__ import annotations

import os
import time

import numpy as np

from benchmarks.competitors import Train
from benchmarks.problem import BATCH, LEARNING_RATE, Problem, Round

# Keras reads it when it is imported.
os.environ["KERAS_BACKEND"] = "jax"

import keras


def make(problem: Problem) -> Train:
    model = network(problem)
    images, labels = problem.train.inputs.astype(np.float32) / 255, problem.train.targets
    done = 0

    def train(steps: int) -> Round:
        nonlocal done
        first = problem.batch(done).start
        part = slice(first, min(first + steps * BATCH, len(labels) // BATCH * BATCH))
        number = (part.stop - part.start) // BATCH
        start = time.perf_counter()
        history = model.fit(images[part], labels[part], batch_size=BATCH, epochs=1, shuffle=False, verbose=0)
        seconds, done = time.perf_counter() - start, done + number
        # Keras gives the mean of the batches' sums.
        return Round(seconds / number, [history.history["loss"][0] / BATCH])

    return train


def network(problem: Problem) -> keras.Model:
    model = keras.Sequential(
        [
            keras.layers.Input((28, 28, 1)),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    model.set_weights([problem.params[layer][name] for layer in ("CONV1", "CONV2", "DENSE") for name in _WEIGHTS])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    model.compile(optimizer=keras.optimizers.SGD(LEARNING_RATE), loss=loss)
    return model


_WEIGHTS = ("kernel", "bias")
