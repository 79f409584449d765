"""Checks of a workload's network, and of what it computes for examples."""

from __future__ import annotations

from typing import Any

import numpy as np

from lrtrain.testing.failure import NotApplicable, fail, require
from lrtrain.testing.workloads.subject import WorkloadSubject
from lrtrain.workloads.check import check_augment, check_labels, check_network, check_rules
from lrtrain.workloads.workload import Workload

# Larger and smaller batches are computed in another order.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-5


def network_can_be_used(subject: WorkloadSubject) -> None:
    """Its network takes the inputs, has parameters, and draws no random numbers when it is evaluated."""
    check_network(subject.network, subject.workload, subject.examples)


def labels_are_classes(subject: WorkloadSubject) -> None:
    """Labels are whole numbers, and the network has an output for each."""
    if not subject.workload.has_classes:
        raise NotApplicable("its targets are no classes")
    outputs = check_network(subject.network, subject.workload, subject.examples)
    check_labels(subject.data, outputs.shape[-1])


def every_example_is_measured(subject: WorkloadSubject) -> None:
    """Loss and metrics are one finite number for each example, and the headline is one of them."""
    outputs = check_network(subject.network, subject.workload, subject.examples)
    check_rules(subject.workload, outputs, subject.examples, subject.data.num_classes)
    for name, values in subject.measures(subject.examples).items():
        for place in np.flatnonzero(~np.isfinite(values)):
            fail(f"the {_title(name)} of {subject.title} is {values[place]} for test example {place}: return a number")


def examples_are_independent(subject: WorkloadSubject) -> None:
    """What is measured of an example does not depend on the others of its batch, or on its place among them."""
    part = subject.examples
    count = len(part)
    if count < 2:
        raise NotApplicable("it has one test example")
    whole = subject.measures(part)
    for which in (np.arange(count)[::-1], np.arange(count // 2)):
        _compare(subject, whole, subject.measures(part.part(which)), which)


def inputs_are_pure(subject: WorkloadSubject) -> None:
    """``inputs`` called twice gives the same."""
    import jax

    raw = jax.tree.map(jax.numpy.asarray, subject.examples.inputs)
    first, second = (jax.device_get(subject.workload.inputs(raw)) for _ in range(2))
    require(_same(first, second), f"inputs of {subject.title} called twice gives two results: draw nothing in it")


def augment_is_pure(subject: WorkloadSubject) -> None:
    """``augment`` depends on the example and the key alone, and keeps shapes and types."""
    import jax

    workload = subject.workload
    if type(workload).augment is Workload.augment:
        raise NotApplicable("it augments nothing")
    check_augment(workload, subject.examples)
    raw = jax.tree.map(jax.numpy.asarray, subject.examples.inputs)
    keys = jax.random.split(jax.random.PRNGKey(0), len(subject.examples))
    first, second = (jax.device_get(jax.vmap(workload.augment)(raw, keys)) for _ in range(2))
    said = f"augment of {subject.title} called twice with the same key gives two results: draw with the key alone"
    require(_same(first, second), said)


def _compare(subject: WorkloadSubject, whole: Any, found: Any, which: Any) -> None:
    for name, values in found.items():
        expected = whole[name][which]
        wrong = ~np.isclose(values, expected, rtol=_RELATIVE, atol=_ABSOLUTE)
        if wrong.any():
            at = int(np.argmax(wrong))
            fail(
                f"the {_title(name)} of {subject.title} is {expected[at]:g} for test example {which[at]}, and "
                f"{values[at]:g} among others: compute it from the outputs and the targets of the example alone"
            )


def _title(name: str) -> str:
    return name if name == "loss" else f"metric {name}"


def _same(one: Any, other: Any) -> bool:
    import jax

    left, right = jax.tree.leaves(one), jax.tree.leaves(other)
    return len(left) == len(right) and all(map(np.array_equal, left, right))
