"""A training step: lrtrain against all others."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from benchmarks.competitors import (
    BARE,
    CHANNELS_LAST,
    COMPETITORS,
    COMPILED,
    EAGER,
    GRAPH,
    GRAPH_CHANNELS_LAST,
    LIMIT,
    LRTRAIN,
    ON_STEP,
    SCAN,
    TUTORIAL,
    WITHOUT_COMMAND_BUFFERS,
)
from benchmarks.options import Options, jax_platform
from benchmarks.problem import FLOP_PER_STEP
from benchmarks.table import Row, Table, number
from benchmarks.targets import Measured, Target, at_least, exactly
from benchmarks.workers import Outcome, interleaved

_TORCH = (EAGER, CHANNELS_LAST, COMPILED)
_GRAPHS = (GRAPH, GRAPH_CHANNELS_LAST)


def measure(options: Options) -> Measured:
    """Times all competitors in turn."""
    outcomes = interleaved([name for name in COMPETITORS if not (options.quick and name == SCAN)], options, anew=True)
    expected = outcomes[BARE].loss
    rows = [_row(name, outcome, outcomes[LIMIT].seconds, expected) for name, outcome in outcomes.items()]
    table = Table("Training step", "ms", rows, _about(options, outcomes[LIMIT]), LRTRAIN)
    compilations = _compilations(outcomes[LRTRAIN])
    return Measured([table], [*_against_others(table), compilations], [_against_graphs(table), compilations])


def _row(name: str, outcome: Outcome, limits: list[float], expected: float | None) -> Row:
    """Returns a row; a competitor with other losses has no figures."""
    if outcome.missing:
        return Row(name, note=outcome.missing)
    values = [seconds * 1e3 for seconds in outcome.seconds]
    if outcome.loss is None or expected is None:
        return Row(name, values)
    if abs(outcome.loss / expected - 1) > COMPETITORS[name].tolerance:
        return Row(name, note=f"trains something else: loss {outcome.loss:.6f} instead of {expected:.6f}")
    share = f", {median(limits) / median(outcome.seconds):.0%} of the limit" if limits else ""
    return Row(name, values, f"loss {outcome.loss:.5f}{share}")


_ABOUT_GRAPHS = (
    f"`{GRAPH}` replays a capture of the whole step: the choice of the batch by a tensor of indices, forward, backward "
    "and fused SGD; products in TF32 as XLA has them by default, cuDNN's algorithms chosen by trial. With `bfloat16` "
    "the forward pass is under autocast. `scan over indices` is one call of JAX for all steps, with XLA's defaults. "
    "lrtrain has loops and convolutions in XLA's command buffers where the driver can have them; "
    f"`{WITHOUT_COMMAND_BUFFERS}` has those that XLA puts there by default."
)


def _about(options: Options, limit: Outcome) -> str:
    return (
        "One optimizer update: Fashion-MNIST, batch 256, the same network, initial weights and order, summed loss, "
        "plain SGD at 1e-4. Each competitor has a process of its own, a new one in every round, because two processes "
        "that run the same program differ for as long as they live. They are timed in turn, after a warm-up. Every one "
        "has trained its first two steps to the loss in its note (within 0.0001 of each other, bfloat16 within "
        "0.003) before it was timed. PyTorch has its default number of threads; JAX by itself has the one device "
        "that it shows by default, which uses all cores.\n\n"
        f"`{LRTRAIN}`, `{BARE}` and `{ON_STEP}` go through an epoch of {options.examples} examples in each round. "
        f"`{LRTRAIN}` is all of `lrtrain.train`, from the end of one epoch to the end of the next: progress bar, logs, "
        "checkpoint. Its evaluation of the test set is timed by itself and subtracted, for no other row has one.\n\n"
        f"`{LIMIT}` is the time of {FLOP_PER_STEP / 1e9:.2f} GFLOP, those of the step by the definition of its layers, "
        f"at the rate of a large matrix product on all cores{_rate(limit)}. lrtrain's second convolution is "
        "Winograd's, which does with fewer, so it can take less time than that."
    ) + ("" if jax_platform() == "cpu" else f"\n\n{_ABOUT_GRAPHS}")


def _rate(limit: Outcome) -> str:
    if not limit.seconds:
        return ""
    return f", {number(FLOP_PER_STEP / median(limit.seconds) / 1e9)} GFLOP/s here"


def _against_others(table: Table) -> list[Target]:
    best, share = _best(table, _TORCH), table.ratio(LIMIT)
    return [
        at_least(f"as fast as {EAGER}, default", table.ratio(EAGER), 1.5, "times"),
        at_least(f"as fast as PyTorch's best ({best})", table.ratio(best), 1.2, "times"),
        at_least(f"as fast as the {TUTORIAL}", table.ratio(TUTORIAL), 5, "times"),
        at_least("of the arithmetic limit (aim: 60 %)", None if share is None else share * 100, 40, "%"),
    ]


def _against_graphs(table: Table) -> Target:
    """Returns the target of a GPU: PyTorch's best form there is the whole step in a CUDA graph, as precise as ours."""
    best = _best(table, _GRAPHS)
    return at_least(f"as fast as PyTorch's best at the same precision ({best})", table.ratio(best), 1.5, "times")


def _best(table: Table, names: Sequence[str]) -> str:
    measured = [name for name in names if table.median(name)]
    return min(measured, key=lambda name: table.median(name) or 0.0, default="none")


def _compilations(outcome: Outcome) -> Target:
    return exactly("compilations of the training step in a run", outcome.compilations, 1, "compilation")
