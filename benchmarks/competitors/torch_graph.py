"""PyTorch, the whole step captured in a CUDA graph: the choice of the batch, forward, backward and fused SGD.

What https://docs.pytorch.org/docs/stable/notes/cuda.html asks for: warm-up on another stream, tensors that stay where
they are, gradients that the capture allocates, no cache of autocast. On a CPU the same step is called and not captured.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.competitors import Train
from benchmarks.competitors.torch_eager import network
from benchmarks.options import jax_platform
from benchmarks.problem import BATCH, LEARNING_RATE, Problem, Round

_WARM_UP = 3


def make(problem: Problem, layout: Any = torch.contiguous_format, *, half: bool = False) -> Train:
    """Returns the loop of replays; with ``half``, the forward pass is in bfloat16 where autocast has it so."""
    device = torch.device("cpu" if jax_platform() == "cpu" else "cuda")
    # As XLA's products have it by default; PyTorch's convolutions have it anyway.
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    step = Step(problem, device, layout, half=half)
    run, done = captured(step) if device.type == "cuda" else step, 0

    def train(steps: int) -> Round:
        nonlocal done
        start = time.perf_counter()
        for _ in range(steps):
            run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds, first, done = time.perf_counter() - start, done, done + steps
        sums = step.losses.tolist()
        return Round(seconds / steps, [sums[index % len(sums)] / BATCH for index in range(first, done)])

    return train


make_channels_last = partial(make, layout=torch.channels_last)
make_half = partial(make, half=True)
make_half_channels_last = partial(make, layout=torch.channels_last, half=True)


class Step:
    """A training step without arguments: it counts in a tensor which batch comes next."""

    def __init__(self, problem: Problem, device: torch.device, layout: Any, *, half: bool) -> None:
        # Its type stubs know no memory format of a module.
        model: Any = network(problem)
        self._model = model.to(device, memory_format=layout)
        images = torch.from_numpy(problem.train.inputs).permute(0, 3, 1, 2).float() / 255
        self._images = images.to(device, memory_format=layout)
        self._labels = torch.from_numpy(problem.train.targets).long().to(device)
        batches = len(self._labels) // BATCH
        self._order = torch.arange(batches * BATCH, device=device).view(batches, BATCH)
        self._next = torch.zeros(1, dtype=torch.long, device=device)
        self._rate = torch.tensor(0.0, device=device)
        self._optimizer = torch.optim.SGD(self._model.parameters(), lr=self._rate, fused=True)
        self._criterion = nn.CrossEntropyLoss(reduction="sum")
        self._autocast = partial(torch.autocast, device.type, torch.bfloat16, enabled=half, cache_enabled=False)
        self.losses = torch.zeros(batches, device=device)
        self.begin()

    def begin(self) -> None:
        """Begins with the first batch."""
        self._next.zero_()
        self._rate.fill_(LEARNING_RATE)

    def changes_nothing(self) -> None:
        """Sets the learning rate to zero, until `begin`."""
        self._rate.zero_()

    def __call__(self) -> None:
        """Trains with the next batch, again from the beginning after the last, and notes the sum of its losses."""
        batch = self._order.index_select(0, self._next).view(BATCH)
        images, labels = self._images.index_select(0, batch), self._labels.index_select(0, batch)
        self._optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            loss = self._criterion(self._model(images), labels)
        loss.backward()
        self._optimizer.step()
        self.losses.index_copy_(0, self._next, loss.detach().float().view(1))
        self._next.add_(1).remainder_(len(self.losses))


def captured(step: Step) -> Callable[[], None]:
    """Returns what replays the step, of which no update has been done yet."""
    step.changes_nothing()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    step.begin()
    replay: Callable[[], None] = graph.replay
    return replay
