"""The networks of two workloads in PyTorch, as one writes them there, trained by an eager loop.

A batch's normalisation in lrtrain has the statistics of each device's share. So that losses can be compared, the
network here sees the first batches in as many shares; when it is timed, it sees each batch as a whole.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.competitors import Train
from benchmarks.problem import Problem, Round
from benchmarks.workload_problem import CHAR_LM, RESNET, WorkloadProblem, read

_SHARES = 2
"""Devices of lrtrain."""


def make_resnet(problem: Problem) -> Train:
    return _resnet(problem, torch.contiguous_format, fused=False)


def make_resnet_channels_last(problem: Problem) -> Train:
    return _resnet(problem, torch.channels_last, fused=False)


def make_resnet_fused(problem: Problem) -> Train:
    return _resnet(problem, torch.channels_last, fused=True)


def make_char_lm(problem: Problem) -> Train:
    return _char_lm(problem, fused=False)


def make_char_lm_fused(problem: Problem) -> Train:
    return _char_lm(problem, fused=True)


def _resnet(problem: Problem, layout: Any, *, fused: bool) -> Train:
    given = read(problem.directory, RESNET)
    # Its type stubs know no memory format of a module.
    model: Any = ResNet(given.params)
    model.to(memory_format=layout)
    images = torch.from_numpy(given.train.inputs).permute(0, 3, 1, 2).float().div(255).contiguous(memory_format=layout)
    setting = given.setting
    optimizer = torch.optim.SGD(
        decayed(model, setting.weight_decay), lr=setting.learning_rate, momentum=0.9, nesterov=True, fused=fused
    )
    return loop(given, model, images, optimizer, shares=_SHARES)


def _char_lm(problem: Problem, *, fused: bool) -> Train:
    given = read(problem.directory, CHAR_LM)
    return of_text(given, Transformer(given.params), fused=fused)


def of_text(given: WorkloadProblem, model: nn.Module, *, fused: bool) -> Train:
    """Returns a function that trains a network of tokens with AdamW."""
    setting = given.setting
    optimizer = torch.optim.AdamW(
        decayed(model, setting.weight_decay), lr=setting.learning_rate, betas=(0.9, 0.99), fused=fused
    )
    return loop(given, model, torch.from_numpy(given.train.inputs).long(), optimizer, shares=1)


def decayed(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Returns the parameters in two groups: only matrices and kernels decay."""
    params = list(model.parameters())
    return [
        {"params": [p for p in params if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in params if p.ndim <= 1], "weight_decay": 0.0},
    ]


def loop(
    given: WorkloadProblem, model: nn.Module, inputs: torch.Tensor, optimizer: torch.optim.Optimizer, *, shares: int
) -> Train:
    """Returns a function that trains; the first batches are seen in ``shares`` parts."""
    targets = torch.from_numpy(given.train.targets).long()
    done = 0

    def outputs(batch: torch.Tensor) -> torch.Tensor:
        return torch.cat([model(share) for share in batch.chunk(shares)]) if done < shares else model(batch)

    def train(steps: int) -> Round:
        nonlocal done
        start, losses = time.perf_counter(), []
        for index in range(done, done + steps):
            at = given.batch(index)
            optimizer.zero_grad()
            loss = functional.cross_entropy(outputs(inputs[at]).flatten(0, -2), targets[at].flatten())
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        seconds, done = time.perf_counter() - start, done + steps
        return Round(seconds / steps, [loss.item() for loss in losses])

    return train


class ResNet(nn.Module):
    """The residual network of lrtrain-fashion-mnist-resnet, with one block in each of three stages."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        super().__init__()
        width = weights["Conv_0.kernel"].shape[-1]
        self.conv, self.norm = _conv(4, width, 3), nn.BatchNorm2d(width)
        widths = [width, width, 2 * width, 4 * width]
        self.blocks = nn.ModuleList(Block(into, out) for into, out in itertools.pairwise(widths))
        self.dense = nn.Linear(widths[-1], 10)
        carry_over(
            weights,
            {"Conv_0": self.conv, "BatchNorm_0": self.norm, "Dense_0": self.dense}
            | {
                f"Block_{index}.{name}": layer
                for index, block in enumerate(self.blocks)
                for name, layer in block.named()
            },
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.norm(self.conv(functional.pixel_unshuffle(images, 2))))
        for index, block in enumerate(self.blocks):
            x = block(_halved(x) if index else x)
        return self.dense(x.mean((2, 3)))


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.first, self.first_norm = _conv(into, out, 3), nn.BatchNorm2d(out)
        self.second, self.second_norm = _conv(out, out, 3), nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential(_conv(into, out, 1), nn.BatchNorm2d(out)) if into != out else None

    def named(self) -> Iterator[tuple[str, nn.Module]]:
        """Yields the layers as Flax names them."""
        yield from {"Conv_0": self.first, "Conv_1": self.second}.items()
        yield from {"BatchNorm_0": self.first_norm, "BatchNorm_1": self.second_norm}.items()
        if self.shortcut is not None:
            yield from {"Conv_2": self.shortcut[0], "BatchNorm_2": self.shortcut[1]}.items()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        return functional.relu(y + (x if self.shortcut is None else self.shortcut(x)))


def _conv(into: int, out: int, size: int) -> nn.Conv2d:
    return nn.Conv2d(into, out, size, padding=size // 2, bias=False)


def _halved(x: torch.Tensor) -> torch.Tensor:
    return functional.avg_pool2d(functional.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2)), 2)


class Transformer(nn.Module):
    """The transformer of lrtrain-char-lm, without dropout."""

    def __init__(self, weights: dict[str, np.ndarray], heads: int = 4) -> None:
        super().__init__()
        vocabulary, width = weights["embedding.kernel"].shape
        layers = len({name.split(".")[0] for name in weights if name.startswith("Attention")})
        self.embedding = nn.Embedding(vocabulary, width)
        with torch.no_grad():
            self.embedding.weight.copy_(torch.from_numpy(weights["embedding.kernel"]))
        self.norms = nn.ModuleList(nn.RMSNorm(width, eps=1e-6) for _ in range(2 * layers + 1))
        self.attention = nn.ModuleList(Attention(width, heads) for _ in range(layers))
        self.forwards = nn.ModuleList(FeedForward(width) for _ in range(layers))
        self.logits = nn.Linear(width, vocabulary, bias=False)
        dense = {"Attention": self.attention, "FeedForward": self.forwards}
        carry_over(
            weights,
            {"logits": self.logits}
            | {f"RMSNorm_{index}": norm for index, norm in enumerate(self.norms)}
            | {
                f"{name}_{index}.Dense_{number}": layer
                for name, blocks in dense.items()
                for index, block in enumerate(blocks)
                for number, layer in enumerate(block.children())
            },
        )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x, norms = self.embedding(tokens), iter(self.norms)
        for attention, forward in zip(self.attention, self.forwards, strict=True):
            x = x + attention(next(norms)(x))
            x = x + forward(next(norms)(x))
        return self.logits(next(norms)(x))


class FeedForward(nn.Module):
    """Two dense layers with the square of relu between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.into = nn.Linear(width, 4 * width, bias=False)
        self.out = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(functional.relu(self.into(x)).square())


class Attention(nn.Module):
    """Causal attention with rotary positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.mixed = nn.Linear(width, 3 * width, bias=False)
        self.together = nn.Linear(width, width, bias=False)
        self.heads = heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        mixed = self.mixed(x).view(batch, length, 3 * self.heads, width // self.heads).transpose(1, 2)
        query, key, value = mixed.chunk(3, dim=1)
        seen = functional.scaled_dot_product_attention(_rotated(query), _rotated(key), value, is_causal=True)
        return self.together(seen.transpose(1, 2).reshape(batch, length, width))


def _rotated(x: torch.Tensor) -> torch.Tensor:
    half = x.shape[-1] // 2
    turns = torch.arange(x.shape[-2])[:, None] * 10_000.0 ** -(torch.arange(half) / half)
    one, other = x.chunk(2, dim=-1)
    sine, cosine = turns.sin(), turns.cos()
    return torch.cat([one * cosine - other * sine, one * sine + other * cosine], dim=-1)


# PyTorch's order of the axes of what Flax calls a kernel, by the number of its axes.
_ORDERS = {2: (1, 0), 4: (3, 2, 0, 1)}


def carry_over(weights: dict[str, np.ndarray], layers: dict[str, nn.Module]) -> None:
    """Gives layers the weights that Flax has for them."""
    with torch.no_grad():
        for name, layer in layers.items():
            for theirs, ours in {"weight": ("kernel", "scale"), "bias": ("bias",)}.items():
                values = [weights[f"{name}.{each}"] for each in ours if f"{name}.{each}" in weights]
                if not values:
                    continue
                order = _ORDERS.get(values[0].ndim, (0,))
                getattr(layer, theirs).copy_(torch.from_numpy(values[0]).permute(order))
