"""PyTorch, eager, with its default number of threads: a loop over batches that lie in memory, a GPU's if it trains."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.competitors import Train
from benchmarks.options import jax_platform
from benchmarks.problem import BATCH, LEARNING_RATE, Problem, Round


def make(problem: Problem) -> Train:
    return make_with(problem, torch.contiguous_format)


def make_channels_last(problem: Problem) -> Train:
    return make_with(problem, torch.channels_last)


def make_with(problem: Problem, layout: Any, wrap: Callable[[Any], Any] = lambda model: model) -> Train:
    """Returns the loop around ``wrap(model)``."""
    # Its type stubs know no memory format of a module.
    model: Any = network(problem)
    device = torch.device("cpu" if jax_platform() == "cpu" else "cuda")
    model = model.to(device, memory_format=layout)
    images = torch.from_numpy(problem.train.inputs).permute(0, 3, 1, 2).float() / 255
    images = images.to(device, memory_format=layout)
    labels = torch.from_numpy(problem.train.targets).long().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    criterion, forward, done = nn.CrossEntropyLoss(reduction="sum"), wrap(model), 0

    def train(steps: int) -> Round:
        nonlocal done
        start, losses = time.perf_counter(), []
        for index in range(done, done + steps):
            at = problem.batch(index)
            optimizer.zero_grad()
            loss = criterion(forward(images[at]), labels[at])
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds, done = time.perf_counter() - start, done + steps
        return Round(seconds / steps, [loss.item() / BATCH for loss in losses])

    return train


def network(problem: Problem) -> nn.Module:
    """Makes the network with the problem's weights, in PyTorch's order of axes."""
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 16, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(28 * 28 * 16, 10),
    )
    kernels = {layer: torch.from_numpy(weights["kernel"]) for layer, weights in problem.params.items()}
    # Flax flattens height, width, channels; PyTorch channels, height, width.
    dense = kernels["DENSE"].reshape(28, 28, 16, 10).permute(3, 2, 0, 1).reshape(10, -1)
    placed = {"CONV1": (0, None), "CONV2": (2, None), "DENSE": (5, dense)}
    with torch.no_grad():
        for layer, (index, kernel) in placed.items():
            target: Any = model[index]
            target.weight.copy_(kernels[layer].permute(3, 2, 0, 1) if kernel is None else kernel)
            target.bias.copy_(torch.from_numpy(problem.params[layer]["bias"]))
    return model
