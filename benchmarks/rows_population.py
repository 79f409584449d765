"""Several runs in one program, against one run on all devices."""

from __future__ import annotations

from benchmarks.competitors import Competitor
from benchmarks.options import Options, jax_platform
from benchmarks.table import Row, Table
from benchmarks.targets import Measured, at_most
from benchmarks.workers import interleaved

_ONE = "one run on all devices"
_ABOUT_CPU = (
    "On CPU each device trains runs of its own, so a population of 1 has one device, which uses some of the idle core "
    "too."
)
_ABOUT_ACCELERATOR = (
    "`vmapped`: the network as it is, whose second convolution becomes a grouped one. `nine shifted products`: it is "
    "the sum of nine products of shifted images and the kernel at one place, which a vmap makes batched products. "
    "`one product of patches`: the nine shifted images side by side, in one product. `one after another`: a program of "
    "one run, called for each. `shared batches`: the runs have one seed, so the examples are gathered once, and the "
    "first layer is one product for all runs. Every row is 16 steps of each run."
)
_WIDTHS = (1, 8, 32)
_STEPS = {1: 16, 8: 4, 32: 4}
_ON_CPU = {f"population of {runs}": Competitor(f".populations:make_{runs}", _STEPS[runs]) for runs in _WIDTHS}
_FORMS = {"make": "", "shifted": "nine shifted products", "patches": "one product of patches"}
_ON_ACCELERATOR = {
    ", ".join(filter(None, (f"{runs} vmapped" if runs > 1 else "1 alone", form))): Competitor(
        f".populations:{make}_{runs}", 16
    )
    for runs in _WIDTHS
    for make, form in _FORMS.items()
}
for _runs in _WIDTHS[1:]:
    _ON_ACCELERATOR[f"{_runs} vmapped, shared batches"] = Competitor(f".populations:shared_{_runs}", 16)
    _ON_ACCELERATOR[f"{_runs}, one after another"] = Competitor(f".populations:alone_{_runs}", 16)
for _make, _form in list(_FORMS.items())[1:]:
    _ON_ACCELERATOR[f"32 vmapped, shared batches, {_form}"] = Competitor(f".populations:{_make}_shared", 16)
COMPETITORS = {_ONE: Competitor(".bare_loop:make", 16), **(_ON_CPU if jax_platform() == "cpu" else _ON_ACCELERATOR)}


def measure(options: Options) -> Measured:
    """Times a step of a run, alone and among others."""
    names = list(COMPETITORS)[: -1 if options.quick else None]
    outcomes = interleaved(names, options, __name__)
    rows = [Row(name, [s * 1e3 for s in each.seconds], each.missing or "") for name, each in outcomes.items()]
    about = _ABOUT_CPU if jax_platform() == "cpu" else _ABOUT_ACCELERATOR
    about = f"The time of all runs, divided by their steps. {about}"
    table = Table("Population", "ms a step of a run", rows, about, _ONE)
    ratio = table.ratio("32 vmapped, shared batches", "32, one after another")
    return Measured(
        [table], on_accelerator=[at_most("32 runs of one seed, of 32 one after another", ratio, 0.6, "times")]
    )
