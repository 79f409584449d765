"""The list of all checks of workloads, which the suite and ``lrtrain workloads check`` run."""

from __future__ import annotations

from lrtrain.testing import loading
from lrtrain.testing.checks import OF_ANY, Check
from lrtrain.testing.workloads import declared, examples, rules, training

FIRST: tuple[Check, ...] = (
    loading.discovered,
    loading.loads_alone,
    declared.is_a_workload,
    declared.defaults_are_valid,
    examples.data_can_be_used,
    rules.network_can_be_used,
)
"""What must hold before anything else can be checked."""
CHECKS: tuple[Check, ...] = (
    *FIRST,
    *OF_ANY,
    examples.data_is_the_same_each_time,
    rules.labels_are_classes,
    rules.every_example_is_measured,
    rules.examples_are_independent,
    rules.inputs_are_pure,
    rules.augment_is_pure,
    training.loss_falls,
    training.training_is_resumed_exactly,
    training.devices_change_nothing,
)
