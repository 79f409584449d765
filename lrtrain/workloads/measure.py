"""The sizes of a workload, which its data and its network have to be there for."""

from __future__ import annotations

import math

import numpy as np

from lrtrain.data.types import Split, shape_of
from lrtrain.workloads.check import check_fit, source_of, splits_of
from lrtrain.workloads.workload import DataContext, Workload


def sizes_of(workload: Workload) -> dict[str, str]:
    """Loads the data and computes the shapes of the network; returns their sizes in words, by what they are of."""
    import jax

    data = source_of(workload, DataContext()).load()
    network, _ = check_fit(workload, data)
    raw = jax.tree.map(jax.numpy.asarray, data.test.part(np.arange(1)).inputs)
    params = jax.eval_shape(lambda raw: network.init(jax.random.PRNGKey(0), workload.inputs(raw))[0], raw)
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    return {
        **{f"{name} examples": f"{len(split):,}, {_shapes(split)}" for name, split in splits_of(data).items()},
        "network": f"{network.name} of {count:,} parameters",
    }


def _shapes(split: Split) -> str:
    return f"{shape_of(split.inputs, 'N')} to {shape_of(split.targets, 'N')}"
