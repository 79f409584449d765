"""A training step of networks as a user writes them, against the same in PyTorch."""

from __future__ import annotations

from benchmarks.competitors import EPOCH, LRTRAIN, Competitor
from benchmarks.options import Options
from benchmarks.rows_workloads import measured_beside, named
from benchmarks.targets import Measured
from benchmarks.workload_problem import GROUPNORM_RESNET, MLP, POOLED_CONVNET, TRANSFORMER

_STEPS = 20


def _torch(name: str) -> Competitor:
    return Competitor(f".torch_networks:make_{name}", _STEPS, ("torch",))


def _of_images(name: str) -> dict[str, Competitor]:
    return {
        LRTRAIN: Competitor(f".workload_run:make_own_{name}", EPOCH),
        "PyTorch eager": _torch(name),
        "PyTorch, fused Adam": _torch(f"{name}_fused"),
        "PyTorch channels_last": _torch(f"{name}_channels_last"),
        "PyTorch channels_last, fused Adam": _torch(f"{name}_both"),
    }


_OF = {
    MLP: {
        LRTRAIN: Competitor(".workload_run:make_own_mlp", EPOCH),
        "PyTorch eager": _torch("mlp"),
        "PyTorch, fused Adam": _torch("mlp_fused"),
    },
    POOLED_CONVNET: _of_images("convnet"),
    GROUPNORM_RESNET: _of_images("resnet"),
    TRANSFORMER: {
        LRTRAIN: Competitor(".workload_run:make_own_decoder", EPOCH),
        "PyTorch eager": _torch("decoder"),
        "PyTorch, fused AdamW": _torch("decoder_fused"),
    },
}
COMPETITORS = named(_OF)
_BOUNDS = {MLP: 1.2, POOLED_CONVNET: 1.5, GROUPNORM_RESNET: 1.5, TRANSFORMER: 1.5}


def measure(options: Options) -> Measured:
    """Times the competitors of each network in turn."""
    return measured_beside(_OF, _BOUNDS, options, __name__)
