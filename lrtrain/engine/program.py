"""How a program is laid out on the devices: the mesh, the sharding, the micro-batches, and how it is compiled.

Everything that is compiled runs on each device of the mesh. Either all devices share one run: each takes its share of a
batch, and they synchronise once a step, to sum their gradients. Or each device trains runs of its own, and never waits
for another; what belongs to a run then has a leading axis ``[runs]``, which the shapes in this room leave out. The runs
of a device may share their batches, which then have a leading axis ``[devices]``.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import jax
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from lrtrain.engine.command_buffers import Options, command_buffer_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from lrtrain.engine.rules import Rules

T = TypeVar("T")
Part = TypeVar("Part")

AXIS = "data"
SHARDED = PartitionSpec(AXIS)
REPLICATED = PartitionSpec()

CPU_OPTIONS: Options = {
    # XLA:CPU itself prefers vectors of 256 bits, also where the processor has wider ones.
    "xla_cpu_prefer_vector_width": 512,
    # XLA:CPU removes barriers before it fuses loops: what `lrtrain.nn.winograd` stages would be computed many times.
    "xla_disable_hlo_passes": "cse_barrier_expander",
}


class MicroBatches(NamedTuple):
    """The micro-batches of a device's share of a batch: ``parts`` of them, of ``size`` examples."""

    parts: int
    size: int

    @classmethod
    def of(cls, examples: int, devices: int, largest: int) -> MicroBatches:
        """Splits evenly: no micro-batch has more than ``largest`` examples, and few of them are fillers."""
        share = -(-examples // devices)
        parts = -(-share // largest)
        return cls(parts, -(-share // parts))


@dataclasses.dataclass(frozen=True)
class Program:
    """All that the compiled functions depend on besides the shapes of their arguments; equal programs share them."""

    rules: Rules
    mesh: Mesh
    train: MicroBatches
    test: MicroBatches
    runs_per_device: int
    """Runs that each device has for itself, trained side by side; 0 when all devices share one run."""
    looped: bool
    """Whether the steps of a chunk run in a loop on the device; a model that is slow in a loop has one step a call."""
    shared_batches: bool = False
    """Whether the runs of a device, of which there are several, have the same batches: what depends on these alone is
    computed once, and the products of the first layer become one."""
    command_buffers: bool = True
    """Whether an NVIDIA GPU has loops and convolutions in command buffers, where it can."""

    @property
    def platform(self) -> str:
        """The kind of the mesh's devices, such as ``"cpu"``."""
        return str(self.mesh.devices.flat[0].platform)

    @property
    def of_run(self) -> PartitionSpec:
        """The sharding of what belongs to a run, such as its state."""
        return SHARDED if self.runs_per_device else REPLICATED

    @property
    def of_chunk(self) -> tuple[PartitionSpec, PartitionSpec, PartitionSpec]:
        """The sharding of each field of a `Chunk`."""
        own = PartitionSpec(None, AXIS)
        return (SHARDED, SHARDED, SHARDED) if self.runs_per_device else (own, own, REPLICATED)

    @property
    def of_test(self) -> PartitionSpec:
        """The sharding of the test set."""
        return REPLICATED if self.runs_per_device else SHARDED

    @property
    def mapped(self) -> Any:
        """The axis of runs in carry and chunk, as ``jax.vmap`` takes it."""
        return (0, Chunk(None, None, 0)) if self.shared_batches else 0

    def total(self, values: T) -> T:
        """Returns the sums over the devices that share a run."""
        sums: T = values if self.runs_per_device else lax.psum(values, AXIS)
        return sums

    def on_mesh(self, function: Callable[..., T], *in_specs: PartitionSpec | Chunk[PartitionSpec]) -> Callable[..., T]:
        """Returns a function that runs on every device of the mesh; its results belong to runs."""
        # Without check_vma a model may hold loops of its own whose carry begins as a constant.
        return jax.shard_map(function, mesh=self.mesh, in_specs=in_specs, out_specs=self.of_run, check_vma=False)


class Chunk(NamedTuple, Generic[Part]):
    """The steps of one call: arrays of the host or of the devices; or the sharding of each.

    The last steps may be fillers, which are not run.
    """

    examples: Part | tuple[Part, Part]
    """int32[steps, padded batch], indices of training examples; or, if those are streamed, their inputs and targets,
    ``[steps, padded batch, ...]``."""
    weights: Part
    """float32[steps, padded batch]."""
    learning_rates: Part
    """float32[steps]."""


def each_run(program: Program, function: Callable[..., T], in_axes: Any = 0) -> Callable[..., T]:
    """Returns a function of one run as a function of all runs of a device, in whose arguments these are axis 0."""
    if program.runs_per_device != 1:
        return jax.vmap(function, in_axes) if program.runs_per_device else function

    # A vmap would make other, slower convolutions.
    def of_only_run(*runs: Any) -> T:
        result: T = jax.tree.map(lambda v: v[None], function(*jax.tree.map(lambda v: v[0], runs)))
        return result

    return of_only_run


def compiled(function: Callable[..., T], program: Program, donated: tuple[int, ...] = ()) -> jax.stages.Wrapped:
    """Returns a function as it is compiled: its first argument is the program, and the ``donated`` ones are used up."""
    return _compiled(function, program.platform, program.command_buffers, donated)


@functools.cache
def _compiled(
    function: Callable[..., Any], platform: str, command_buffers: bool, donated: tuple[int, ...]
) -> jax.stages.Wrapped:
    if platform == "cpu":
        options: Options | None = CPU_OPTIONS
    else:
        options = command_buffer_options(platform) if command_buffers else None
    return jax.jit(function, static_argnums=0, donate_argnums=donated, compiler_options=options)
