"""PyTorch with `torch.compile`, which needs a C++ compiler on CPU."""

from __future__ import annotations

import torch

from benchmarks.competitors import Train, torch_eager
from benchmarks.problem import Problem


def make(problem: Problem) -> Train:
    return torch_eager.make_with(problem, torch.contiguous_format, torch.compile)
