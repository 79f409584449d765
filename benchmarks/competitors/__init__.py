"""The competitors, one file each: ``make(problem)`` returns a function that trains some more steps and times them.

They differ in nothing but how the training is written: network, weights, examples, order, batch, SGD and the summed
loss are those of `benchmarks.problem`. If ``make`` raises, the table says why there is no figure.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.options import jax_platform
from benchmarks.problem import FIRST_STEPS, Problem, Round

Train = Callable[[int], Round]
"""Trains that many more steps, waits until they are done, and times them."""

EPOCH = 0
"""As a number of steps: one epoch, however long that is; the loop is not the competitor's to cut."""


@dataclass(frozen=True)
class Competitor:
    """How a competitor is made and timed.

    Args:
      make: ``module:function``; ``.module`` is one of `benchmarks.competitors`.
      steps: steps in a round, or `EPOCH`.
      needs: packages that it imports and lrtrain does not, as one installs them.
      tolerance: by what part of it the loss of its first steps may differ from that of the others.
    """

    make: str
    steps: int
    needs: tuple[str, ...] = ()
    tolerance: float = 1e-4

    def train(self, problem: Problem) -> Train:
        """Makes the function that trains."""
        module, function = self.make.split(":")
        train: Train = getattr(importlib.import_module(module, __name__), function)(problem)
        return train


LRTRAIN, ON_STEP, BARE = "lrtrain", "lrtrain, on_step plugin", "bare loop, compiled step"
LIMIT = "arithmetic limit"
SCAN, TUTORIAL = "scan, as one writes it", "tutorial's loop"
EAGER, CHANNELS_LAST, COMPILED = "PyTorch eager", "PyTorch channels_last", "torch.compile"
GRAPH, GRAPH_CHANNELS_LAST = "PyTorch, CUDA graph", "PyTorch, CUDA graph, channels_last"
ONE_DEVICE, WITHOUT_COMMAND_BUFFERS = "bare loop, 1 device", "bare loop, XLA's own command buffers"

_HALF = 3e-3
_ON_ACCELERATOR = {
    WITHOUT_COMMAND_BUFFERS: Competitor(".bare_loop:make_without_command_buffers", EPOCH),
    "scan over indices": Competitor(".naive_scan:make_over_indices", 100),
    GRAPH: Competitor(".torch_graph:make", 100, ("torch",)),
    GRAPH_CHANNELS_LAST: Competitor(".torch_graph:make_channels_last", 100, ("torch",)),
    f"{GRAPH}, bfloat16": Competitor(".torch_graph:make_half", 100, ("torch",), _HALF),
    f"{GRAPH_CHANNELS_LAST}, bfloat16": Competitor(".torch_graph:make_half_channels_last", 100, ("torch",), _HALF),
}

COMPETITORS = {
    LIMIT: Competitor(".arithmetic_limit:make", 1),
    LRTRAIN: Competitor(".lrtrain_run:make", EPOCH),
    BARE: Competitor(".bare_loop:make", EPOCH),
    ON_STEP: Competitor(".lrtrain_run:make_with_on_step", EPOCH),
    "jitted step, called": Competitor(".jitted:make", 20),
    # A loop of one step would be compiled as no loop.
    SCAN: Competitor(".naive_scan:make", FIRST_STEPS),
    TUTORIAL: Competitor(".tutorial:make", 12),
    EAGER: Competitor(".torch_eager:make", 20, ("torch",)),
    CHANNELS_LAST: Competitor(".torch_eager:make_channels_last", 20, ("torch",)),
    COMPILED: Competitor(".torch_compile:make", 20, ("torch",)),
    "Keras fit, JAX backend": Competitor(".keras_fit:make", 20, ("keras",)),
    **({} if jax_platform() == "cpu" else _ON_ACCELERATOR),
}
