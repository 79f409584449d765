from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import __main__ as program
from benchmarks import needs, processes, rows_overhead, rows_steps, workers
from benchmarks.__main__ import GROUPS, parser
from benchmarks.competitors import (
    BARE,
    COMPETITORS,
    EAGER,
    EPOCH,
    GRAPH,
    GRAPH_CHANNELS_LAST,
    LIMIT,
    LRTRAIN,
    Competitor,
    populations,
)
from benchmarks.options import ROOT, Options
from benchmarks.problem import read
from benchmarks.results import Results, write
from benchmarks.table import Ratio, Row, Summary, Table
from benchmarks.targets import Measured, at_least, at_most, exactly

EXAMPLES = 512
TIMES, BASE = [3.0, 1.0, 2.0, 10.0], [1.0, 2.0, 2.0, 4.0]


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Options:
    """Returns small options, with the problem written and with a cache of their own."""
    made = Options(tmp_path_factory.mktemp("benchmarks"), rounds=2, examples=EXAMPLES, quick=True)
    workers.prepare(made)
    return made


# ---------------------------------------------------------------------------------------------------------- statistics


def test_summary_is_that_of_numpy() -> None:
    assert Summary.of(TIMES) == Summary(float(np.median(TIMES)), float(np.min(TIMES)), float(np.max(TIMES)))


def test_ratio_is_of_the_medians_and_its_range_of_the_rounds() -> None:
    ratio, by_round = Ratio.of(TIMES, BASE), np.divide(TIMES, BASE)
    assert ratio == Ratio(statistics.median(TIMES) / statistics.median(BASE), by_round.min(), by_round.max())
    with pytest.raises(ValueError, match="shorter"):
        Ratio.of(TIMES, BASE[:2])


def test_table_compares_with_its_base_and_says_why_a_row_is_empty() -> None:
    table = Table(
        "Steps", "ms", [Row("one", TIMES), Row("two", BASE, "a note"), Row("three", note="broken")], "How.", "two"
    )
    lines = table.markdown().splitlines()
    cells = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in lines[4:]}
    assert lines[:3] == ["## Steps", "", "How."]
    assert cells["one"] == ["2.5", "1", "10", "1.25", "0.5 to 3", "4", ""]
    assert cells["two"] == ["2", "1", "4", "1", "1 to 1", "4", "a note"]
    assert cells["three"] == ["", "", "", "", "", "0", "broken"]
    assert table.median("three") is None


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (at_most("a", 2.0, 2.0, "s"), True),
        (at_most("a", 2.1, 2.0, "s"), False),
        (at_least("a", 1.9, 2.0, "s"), False),
        (at_least("a", 2.0, 2.0, "s"), True),
        (exactly("a", 0, 1, "x"), False),
        (exactly("a", 1, 1, "x"), True),
        (at_least("a", None, 2.0, "s"), None),
    ],
)
def test_targets(target: object, met: bool | None) -> None:
    assert target.met is met
    assert target.cells()[-1] == {True: "met", False: "**missed**", None: "not measured"}[met]


# -------------------------------------------------------------------------------------------------------------- results


def test_results_are_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("Steps", "ms", [Row("one", TIMES)], "How.")
    targets = [at_most("fast", 3.0, 2.0, "s"), at_most("small", 1.0, 2.0, "GiB"), at_most("other", None, 1.0, "s")]
    results = Results("2026-01-02", "python -m benchmarks", {"processor": "an abacus"}, [table], targets)
    path = tmp_path / "RESULTS.md"
    write(path, results.markdown())
    text = path.read_text()
    for part in ("2026-01-02", "`python -m benchmarks`", "an abacus", "| one", "1 met, 1 missed, 1 not measured"):
        assert part in text
    assert "| fast | at most 2 s | 3 s | **missed** |" in text

    def full(self: Path, target: Path) -> None:
        raise OSError("no space")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write(path, "half")
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_named_file_has_the_groups_that_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(group: str, options: Options) -> Measured:
        if group == "start":
            raise KeyboardInterrupt
        return Measured([Table(group, "ms", [Row("one", TIMES)], "How.")])

    monkeypatch.setattr(program, "_measured", measured)
    monkeypatch.setattr(program, "prepare", lambda options: None)
    with pytest.raises(KeyboardInterrupt):
        program.main(["--output", str(tmp_path / "page.md"), "--only", "steps", "start"])
    assert "## steps" in (tmp_path / "page.md").read_text()


def test_a_gpu_has_targets_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {LRTRAIN: 2.0, EAGER: 3.5, GRAPH: 3.4, GRAPH_CHANNELS_LAST: 3.2, f"{GRAPH}, bfloat16": 1.0}
    table = Table("Steps", "ms", [Row(name, [value]) for name, value in rows.items()], "How.", LRTRAIN)
    target = rows_steps._against_graphs(table)
    assert target == at_least(
        f"as fast as PyTorch's best at the same precision ({GRAPH_CHANNELS_LAST})", 1.6, 1.5, "times"
    )
    measured = [Measured([table], [at_most("of a CPU", 1, 1, "s")], [target])]
    assert "of a CPU" in program._page(measured, {}, ["x"], Path("RESULTS.md"))
    monkeypatch.setattr(program, "jax_platform", lambda: "cuda")
    page = program._page(measured, {}, ["x"], Path("RESULTS.md"))
    assert "of a CPU" not in page
    assert "1 met, 0 missed" in page


def test_every_group_of_rows_can_be_asked_for() -> None:
    assert sorted(GROUPS) == sorted(path.stem.removeprefix("rows_") for path in ROOT.glob("benchmarks/rows_*.py"))
    assert parser().parse_args(["--only", *GROUPS]).only == list(GROUPS)
    assert parser().parse_args([]).only is None
    assert Measured([]).targets == ()


# -------------------------------------------------------------------------------------------------------------- workers

DUMMIES = """
import time
from benchmarks.competitors import Competitor
from benchmarks.problem import Round

COMPETITORS = {
    "a": Competitor("{module}:make", 5),
    "b": Competitor("{module}:make", 5),
    "raises": Competitor("{module}:make_nothing", 5),
    "dies": Competitor("{module}:make_dying", 5),
    "lacks": Competitor("{module}:make", 5, ("no_such_package_at_all",)),
}

def make(problem):
    asked = []
    def train(steps):
        print("noise on stdout")
        asked.append(steps)
        with open(problem.directory / "asked", "a") as file:
            file.write(f"{time.monotonic_ns()} {steps}\\n")
        return Round(float(len(asked)), [1.0, 3.0, 100.0], 7)
    return train

def make_nothing(problem):
    raise RuntimeError("no\\ncompiler")

def make_dying(problem):
    def train(steps):
        if (problem.directory / "asked").exists() and steps == 5:
            print("out of memory", flush=True)
            import os
            os._exit(3)
        return Round(1.0, [])
    return train
"""


@pytest.fixture
def dummies(options: Options, monkeypatch: pytest.MonkeyPatch) -> str:
    """Returns a registry of competitors that train nothing, which the processes find too."""
    module = "dummy_competitors"
    package = options.directory / "site"
    package.mkdir(exist_ok=True)
    (package / f"{module}.py").write_text(DUMMIES.replace("{module}", module))
    monkeypatch.syspath_prepend(str(package))
    monkeypatch.setenv("PYTHONPATH", str(package))
    return module


def test_workers_take_turns_and_their_failures_hold_nobody_up(options: Options, dummies: str) -> None:
    outcomes = workers.interleaved(["a", "b", "raises", "dies", "lacks"], options, dummies)
    # Two calls warm up; each process counts its own.
    assert outcomes["a"].seconds == outcomes["b"].seconds == [3.0, 4.0]
    assert outcomes["a"].loss == 2.0
    assert outcomes["a"].compilations == 7
    assert outcomes["raises"].missing == "does not work here: RuntimeError: no compiler"
    assert outcomes["dies"].missing.startswith("does not work here: ended with status 3")
    assert outcomes["lacks"].missing == "not installed: no_such_package_at_all"


def test_new_processes_in_every_round(options: Options, dummies: str) -> None:
    outcomes = workers.interleaved(["a", "raises", "b"], options, dummies, anew=True)
    # Each process counts its own calls, two of which warm it up.
    assert outcomes["a"].seconds == outcomes["b"].seconds == [3.0, 3.0]
    assert outcomes["raises"].missing == "does not work here: RuntimeError: no compiler"


def test_a_worker_that_ends_before_it_is_ready_is_named(options: Options) -> None:
    worker = workers.Worker("no such competitor", options, workers.REGISTRY)
    with pytest.raises(workers.WorkerFailedError, match="KeyError: 'no such competitor'"):
        worker.listen()
    worker.close()


# ---------------------------------------------------------------------------------------------------------- competitors

TRAINING = [name for name in COMPETITORS if name != LIMIT]
TORCH = ("torch",)
# Only a GPU has rows of them; what a CUDA graph would repeat is called here.
ON_GPU = {
    "no loops in command buffers": Competitor(".bare_loop:make_without_command_buffers", 2),
    "scan over indices": Competitor(".naive_scan:make_over_indices", 2),
    "graph": Competitor(".torch_graph:make", 2, TORCH),
    "graph, channels_last": Competitor(".torch_graph:make_channels_last", 2, TORCH),
    "graph, bfloat16": Competitor(".torch_graph:make_half", 2, TORCH, 3e-3),
    "graph, channels_last, bfloat16": Competitor(".torch_graph:make_half_channels_last", 2, TORCH, 3e-3),
}


def first_rounds(competitor: Competitor, options: Options) -> list[list[float]]:
    """Returns the losses of two rounds of a competitor, each of an epoch or of as many steps."""
    steps = {True: 0, False: 2}[competitor.steps == EPOCH]
    code = f"""
import json, sys
from pathlib import Path
from benchmarks.competitors import Competitor
from benchmarks.problem import read
train = {competitor!r}.train(read(Path({str(options.directory)!r}), 2))
print(json.dumps([train({steps}).losses for _ in range(2)]))
getattr(train, "close", lambda: None)()
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=workers.environment(options.directory),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def expected(options: Options) -> np.ndarray:
    """Returns the mean losses of two passes over two batches, trained by the bare loop."""
    return np.mean(first_rounds(COMPETITORS[BARE], options), axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TRAINING, *ON_GPU])
def test_competitors_train_the_same(name: str, options: Options, expected: np.ndarray) -> None:
    """Two batches, twice: so the weights, examples, order and updates of all are the same."""
    competitor = {**COMPETITORS, **ON_GPU}[name]
    if missing := workers.missing_packages(competitor.needs):
        pytest.skip(missing)
    losses = np.array([np.mean(some) for some in first_rounds(competitor, options)])
    np.testing.assert_allclose(losses, expected, rtol=2 * competitor.tolerance)
    assert losses[1] < losses[0]


@pytest.mark.slow
def test_runs_that_share_batches_train_the_same(options: Options) -> None:
    """Three runs, two of them side by side: so the last one has a place beside it that is filled."""
    problem = read(options.directory, 1)
    shared, own = (
        [populations.make(problem, 3, runs_per_device=2, shared=shared)(2).losses for _ in range(2)]
        for shared in (True, False)
    )
    np.testing.assert_allclose(shared, own, rtol=1e-5)


def test_a_gpu_has_rows_of_its_own() -> None:
    code = "from benchmarks.competitors import COMPETITORS; print(*COMPETITORS.values(), sep='\\n')"
    made = {}
    for platform in ("cpu", "cuda"):
        environment = {**os.environ, "JAX_PLATFORMS": platform}
        made[platform] = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT, env=environment)
    for competitor in ON_GPU.values():
        assert f"'{competitor.make}'" not in made["cpu"]
        assert f"'{competitor.make}'" in made["cuda"]


@pytest.mark.slow
def test_what_lrtrain_adds_is_timed_beside_a_bare_loop(options: Options) -> None:
    outcomes = workers.interleaved(list(rows_overhead.COMPETITORS), options, rows_overhead.__name__)
    # The row of short epochs has another network, whose steps take less than to send them.
    losses = [outcome.loss for name, outcome in outcomes.items() if name != rows_overhead.SHORT]
    np.testing.assert_allclose(losses, losses[0], rtol=2e-4)
    for name, outcome in outcomes.items():
        assert outcome.missing is None
        assert len(outcome.seconds) == len(outcome.bare) == options.rounds
        assert min(*outcome.seconds, *outcome.bare) > 0
        if sys.platform == "linux":
            assert len(outcome.aside) == len(outcome.bare_aside) == options.rounds
            assert min(outcome.bare_aside) > 0
            # Threads that compute the steps are not in it.
            if name != rows_overhead.SHORT:
                assert max(outcome.bare_aside) < 2 * sum(outcome.bare) / options.rounds


# ------------------------------------------------------------------------------------------------------------ processes


MEASURE = """
import sys
from pathlib import Path
from benchmarks import processes
from benchmarks.options import Options

options = Options(directory=Path(sys.argv[1]), rounds=1, examples=1, quick=True)
print(*processes.run(options, sys.executable, "-c", f"import time; b'x' * {sys.argv[2]}; time.sleep(0.2)"))
"""


def test_time_and_memory_of_a_process(options: Options) -> None:
    size = 300 * 2**20
    # From a small process, as the benchmark is: the peak of a child is no less than what its parent had at the fork.
    command = [sys.executable, "-c", MEASURE, str(options.directory), str(size)]
    seconds, peak = map(float, subprocess.check_output(command, text=True, cwd=ROOT).split())
    assert seconds >= 0.2
    assert size < peak < 2 * size
    with pytest.raises(subprocess.CalledProcessError) as raised:
        processes.run(options, sys.executable, "-c", "raise SystemExit('no')")
    assert raised.value.output == "no\n"


@pytest.mark.slow
def test_a_group_of_rows_from_the_command_line(tmp_path: Path) -> None:
    output = tmp_path / "RESULTS.md"
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--quick",
        "--rounds=1",
        "--only",
        "evaluation",
        f"--output={output}",
    ]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = output.read_text()
    assert text == done.stdout
    assert "## Evaluation" in text
    assert f"jax {version('jax')}" in text


# ------------------------------------------------------------------------------------------------------------- on a GPU


def gpu_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": sys.executable}
    command = [str(ROOT / "benchmarks" / "gpu.sh"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_script_for_a_gpu_shows_its_commands() -> None:
    done = gpu_script("--dry-run")
    assert done.returncode == 0, done.stderr
    looks, measures = done.stdout.splitlines()
    assert looks == f"{sys.executable} -m benchmarks.needs"
    options = measures.partition(" -m benchmarks ")[2].split()
    given = parser().parse_args(options)
    assert given.output == Path("benchmarks/RESULTS-cuda.md")
    assert {"steps", "overhead", "population", "streaming"} <= set(given.only)
    assert gpu_script("--dry-run", "steps").stdout.endswith("--only steps\n")


def test_what_is_missing_for_a_gpu_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(needs, "_has_gpu", lambda package: package == "jax")
    monkeypatch.setattr(needs.importlib.util, "find_spec", lambda name: None if name == "lrtrain_constant" else name)
    assert needs.main([]) == 1
    assert (
        capsys.readouterr().err == f"{sys.executable} lacks lrtrain_constant, a GPU for torch: nothing was measured\n"
    )
    assert needs.missing(quick=True) == ["lrtrain_constant"]
    monkeypatch.undo()
    assert needs.main(["--quick"]) == 0


@pytest.mark.slow
def test_the_script_for_a_gpu_on_a_cpu() -> None:
    page = ROOT / "benchmarks" / "RESULTS-cuda.md"
    before = page.read_bytes()
    done = gpu_script("--quick", "streaming")
    assert done.returncode == 0, done.stderr
    assert "| a streamed step, of one whose data the devices hold | at most 1.1 times | " in done.stdout
    assert page.read_bytes() == before
