"""The networks of `benchmarks.own_networks` in PyTorch, as one writes them there, trained by an eager loop."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.competitors import Train
from benchmarks.competitors.torch_workloads import carry_over, loop, of_text
from benchmarks.problem import Problem
from benchmarks.workload_problem import GROUPNORM_RESNET, MLP, POOLED_CONVNET, TRANSFORMER, read

Weights = dict[str, np.ndarray]


def _make(problem: Problem, name: str, *, channels_last: bool, fused: bool) -> Train:
    given = read(problem.directory, name)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    # Its type stubs know no memory format of a module.
    model: Any = _NETWORKS[name](given.params)
    model.to(memory_format=layout)
    images = torch.from_numpy(given.train.inputs).permute(0, 3, 1, 2).float().div(255).contiguous(memory_format=layout)
    optimizer = torch.optim.Adam(model.parameters(), lr=given.setting.learning_rate, fused=fused)
    return loop(given, model, images, optimizer, shares=1)


def _decoder(problem: Problem, *, fused: bool) -> Train:
    given = read(problem.directory, TRANSFORMER)
    return of_text(given, Decoder(given.params), fused=fused)


class Perceptron(nn.Module):
    """Three dense layers."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        sizes = [*(weights[f"Dense_{index}.kernel"].shape[0] for index in range(3)), 10]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise(sizes))
        carry_over(weights, {f"Dense_{index}": layer for index, layer in enumerate(self.layers)})

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        first, second, last = self.layers
        return last(functional.relu(second(functional.relu(first(images.flatten(1))))))


class ConvNet(nn.Module):
    """Two convolutions, each with a maximum over windows, and two dense layers."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1)
        self.hidden, self.last = nn.Linear(7 * 7 * 64, 128), nn.Linear(128, 10)
        # Flax's rows are those of [height, width, channels].
        rows = weights["Dense_0.kernel"].reshape(7, 7, 64, 128).transpose(2, 0, 1, 3).reshape(-1, 128)
        layers = {"Conv_0": self.first, "Conv_1": self.second, "Dense_0": self.hidden, "Dense_1": self.last}
        carry_over({**weights, "Dense_0.kernel": rows}, layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(functional.relu(self.first(x)), 2)
        x = functional.max_pool2d(functional.relu(self.second(x)), 2)
        return self.last(functional.relu(self.hidden(x.flatten(1))))


class ResNet(nn.Module):
    """Three residual blocks with normalisation by groups."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.conv, self.norm, self.last = _conv(1, 16, 3), _norm(16), nn.Linear(64, 10)
        self.blocks = nn.ModuleList([Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)])
        layers = {"Conv_0": self.conv, "GroupNorm_0": self.norm, "Dense_0": self.last}
        for index, block in enumerate(self.blocks):
            layers |= {f"Block_{index}.{name}": layer for name, layer in block.named().items()}
        carry_over(weights, layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.norm(self.conv(x)))
        for block in self.blocks:
            x = block(x)
        return self.last(x.mean((2, 3)))


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.first, self.first_norm = _conv(into, out, 3, stride), _norm(out)
        self.second, self.second_norm = _conv(out, out, 3), _norm(out)
        self.shortcut = nn.Sequential(_conv(into, out, 1, stride), _norm(out)) if into != out else None

    def named(self) -> dict[str, nn.Module]:
        """Returns the layers by the names that Flax gives them."""
        layers: dict[str, nn.Module] = {"Conv_0": self.first, "GroupNorm_0": self.first_norm}
        layers |= {"Conv_1": self.second, "GroupNorm_1": self.second_norm}
        if self.shortcut is not None:
            layers |= {"Conv_2": self.shortcut[0], "GroupNorm_2": self.shortcut[1]}
        return layers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        return functional.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class Decoder(nn.Module):
    """Blocks of attention to what came before and of dense layers, with places that are learned."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        vocabulary, width = weights["Embed_0.embedding"].shape
        self.embedding, self.places = nn.Embedding(vocabulary, width), nn.Parameter(torch.tensor(weights["places"]))
        with torch.no_grad():
            self.embedding.weight.copy_(torch.from_numpy(weights["Embed_0.embedding"]))
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for _ in range(5))
        self.attention = nn.ModuleList(Attention(weights, f"MultiHeadDotProductAttention_{each}") for each in range(2))
        widths = [(width, 4 * width), (4 * width, width)] * 2 + [(width, vocabulary)]
        self.dense = nn.ModuleList(nn.Linear(*pair) for pair in widths)
        layers = {f"Dense_{index}": layer for index, layer in enumerate(self.dense)}
        carry_over(weights, layers | {f"LayerNorm_{index}": layer for index, layer in enumerate(self.norms)})

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens) + self.places
        for index, attention in enumerate(self.attention):
            x = x + attention(self.norms[2 * index](x))
            hidden = self.dense[2 * index](self.norms[2 * index + 1](x))
            x = x + self.dense[2 * index + 1](functional.gelu(hidden, approximate="tanh"))
        return self.dense[-1](self.norms[-1](x))


class Attention(nn.Module):
    """Attention of several heads, each token's to itself and those before it."""

    def __init__(self, weights: Weights, name: str) -> None:
        super().__init__()
        width, self.heads, _ = weights[f"{name}.query.kernel"].shape
        self.mixed, self.together = nn.Linear(width, 3 * width), nn.Linear(width, width)
        each = [[weights[f"{name}.{part}.{kind}"] for part in ("query", "key", "value")] for kind in ("kernel", "bias")]
        flat = {
            "mixed.kernel": np.concatenate([kernel.reshape(width, width) for kernel in each[0]], axis=1),
            "mixed.bias": np.concatenate([bias.ravel() for bias in each[1]]),
            "out.kernel": weights[f"{name}.out.kernel"].reshape(width, width),
            "out.bias": weights[f"{name}.out.bias"],
        }
        carry_over(flat, {"mixed": self.mixed, "out": self.together})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        parts = self.mixed(x).view(batch, length, 3 * self.heads, width // self.heads).transpose(1, 2).chunk(3, dim=1)
        seen = functional.scaled_dot_product_attention(*parts, is_causal=True)
        return self.together(seen.transpose(1, 2).reshape(batch, length, width))


def _conv(into: int, out: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(into, out, size, stride, padding=size // 2, bias=False)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(8, channels, eps=1e-6)


_NETWORKS: dict[str, Callable[[Weights], nn.Module]] = {
    MLP: Perceptron,
    POOLED_CONVNET: ConvNet,
    GROUPNORM_RESNET: ResNet,
}

make_mlp, make_mlp_fused = (partial(_make, name=MLP, channels_last=False, fused=fused) for fused in (False, True))
make_convnet, make_convnet_fused, make_convnet_channels_last, make_convnet_both = (
    partial(_make, name=POOLED_CONVNET, channels_last=last, fused=fused)
    for last in (False, True)
    for fused in (False, True)
)
make_resnet, make_resnet_fused, make_resnet_channels_last, make_resnet_both = (
    partial(_make, name=GROUPNORM_RESNET, channels_last=last, fused=fused)
    for last in (False, True)
    for fused in (False, True)
)
make_decoder, make_decoder_fused = (partial(_decoder, fused=fused) for fused in (False, True))
