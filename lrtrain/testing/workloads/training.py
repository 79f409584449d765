"""Checks of a workload's training, in a few steps on a few batches."""

from __future__ import annotations

from typing import Any

import numpy as np

from lrtrain.testing.failure import NotApplicable, require
from lrtrain.testing.workloads.subject import BATCHES, SAVED, STEPS, WorkloadSubject

# Rounding errors grow with every step.
_COMPARED, _ROUNDING = 3, 1e-3


def loss_falls(subject: WorkloadSubject) -> None:
    """A few steps with the default optimizer and learning rate make the training loss lower."""
    losses = subject.trained.losses
    first, last = float(losses[:BATCHES].mean()), float(losses[-BATCHES:].mean())
    defaults = subject.workload.defaults
    require(
        last < first,
        f"the training loss of {subject.title} goes from {first:g} to {last:g} in {STEPS} steps with its defaults, "
        f"{defaults.optimizer} and learning_rate={defaults.learning_rate:g}: give defaults with which it falls",
    )


def training_is_resumed_exactly(subject: WorkloadSubject) -> None:
    """Training that goes on from a saved state, in a program that is compiled again, has the same bits."""
    import jax

    trained, other = subject.trained, subject.engine(again=True)
    resumed, losses = subject.steps(other, other.place(trained.saved), SAVED, STEPS)
    same = _bits((trained.final, trained.losses[SAVED:])) == _bits((jax.device_get(resumed), losses))
    require(
        same,
        f"{subject.title} resumed from a saved state is trained to other parameters: let its network, loss and augment "
        "depend on their arguments alone",
    )


def devices_change_nothing(subject: WorkloadSubject) -> None:
    """On two devices, in micro-batches, the losses of the first steps are those of one device, up to rounding."""
    import jax

    one = subject.engine(micro_batch=subject.batch_size)
    state = one.init(0)
    if jax.tree.leaves(state.network):
        raise NotApplicable("its network has batch statistics, which are those of a device's share of a batch")
    if len(subject.devices) < 2:
        raise NotApplicable("there is one device: JAX_NUM_CPU_DEVICES=2 gives two on CPU")
    two = subject.engine(2)
    expected = subject.steps(one, state, 0, _COMPARED)[1]
    found = subject.steps(two, two.init(0), 0, _COMPARED)[1]
    near = np.isclose(found, expected, rtol=_ROUNDING, atol=_ROUNDING)
    at = int(np.argmin(near))
    require(
        near.all(),
        f"the training loss of {subject.title} at step {at} is {expected[at]:g} on one device and {found[at]:g} on "
        "two, in micro-batches: compute network and loss from each example alone",
    )


def _bits(tree: Any) -> list[bytes]:
    import jax

    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]
