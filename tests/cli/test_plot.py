"""``lrtrain plot``: files with the right contents, a drawing in the terminal, and what is refused."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from lrtrain.cli import main
from tests.lab import cli, done

LINE = "linear(init_value=1, end_value=0, transition_begin=0)"
WSD = "wsd(peak_value=1, init_value=0, warmup_steps=10, decay_steps=20)"


@pytest.fixture
def plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs ``lrtrain plot`` in an empty directory."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return lambda *arguments, **options: CliRunner(**options).invoke(main, ["plot", *arguments])


Plot = Callable[..., Result]


def rows(path: str) -> tuple[list[str], np.ndarray]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    return header, np.array(lines, float)


# ------------------------------------------------------------------------------------------------------------- files


def test_csv(plot: Plot) -> None:
    assert (
        done(plot("--plugin", WSD, "--steps", "100", "--output", "curve.csv"))
        == "curve.csv  (100 steps of 1 schedule)\n"
    )
    header, values = rows("curve.csv")
    assert header == ["step", "learning_rate"]
    assert values[:, 0].tolist() == list(range(100))
    # The closed form of the issue: 1 - sqrt(k / 20), k steps into the decay.
    expected = np.interp(np.arange(100), [0, 10], [0, 1]) * (1 - np.sqrt(np.maximum(np.arange(100) - 80, 0) / 20))
    np.testing.assert_allclose(values[:, 1], expected, rtol=1e-6, atol=1e-7)
    assert values[[79, 80, 81, 90, 99], 1].round(5).tolist() == [1, 1, 0.77639, 0.29289, 0.02532]


def test_csv_holds_the_very_float32(plot: Plot) -> None:
    done(plot("--plugin", LINE, "--steps", "97", "--output", "curve.csv"))
    _, values = rows("curve.csv")
    expected = (1 - np.arange(97) / 97).astype(np.float32)
    np.testing.assert_array_equal(values[:, 1].astype(np.float32), expected)


def test_csv_of_several(plot: Plot) -> None:
    text = done(plot("--plugin", LINE, "--plugin", "constant(value=0.5)", "--steps", "4", "-o", "curves.CSV"))
    assert text == "curves.CSV  (4 steps of 2 schedules)\n"
    header, values = rows("curves.CSV")
    assert header == ["step", LINE, "constant(value=0.5)"]
    assert values.tolist() == [[0, 1, 0.5], [1, 0.75, 0.5], [2, 0.5, 0.5], [3, 0.25, 0.5]]


@pytest.mark.parametrize(
    ("arguments", "steps", "epochs_of"),
    [
        ([], 2350, 235),
        (["--epochs", "2"], 470, 235),
        (["--epochs", "3", "--steps-per-epoch", "7"], 21, 7),
        (["--steps", "33", "--steps-per-epoch", "10"], 33, 10),
        (["--steps", "1", "--steps-per-epoch", "1"], 1, 1),
    ],
)
def test_length_of_the_run(plot: Plot, arguments: list[str], steps: int, epochs_of: int) -> None:
    spec = "piecewise-constant(init_value=1, boundaries_and_scales={1ep: 0.5})"
    done(plot("--plugin", spec, *arguments, "--output", "curve.csv"))
    _, values = rows("curve.csv")
    assert values[:, 1].tolist() == [1.0 if step < epochs_of else 0.5 for step in range(steps)]


@pytest.mark.parametrize("command", [["plot"], ["export", "--to", "csv"]], ids=["plot", "export"])
@pytest.mark.parametrize("trained", [
    ("--workload", "linear-regression", "--plugin", "wsd"),
    ("--workload", "digits", "--plugin", "wsd(decay_steps=1ep)", "--epochs", "2"),
], ids=["its length", "its epochs"])  # fmt: skip
def test_of_a_workload_it_is_the_table_that_a_run_applies(
    plot: Plot, command: list[str], trained: tuple[str, ...]
) -> None:
    assert cli(*trained, "--run-dir", "run", "--quiet").exit_code == 0
    done(cli(*command, *trained, "--output", "curve.csv"))
    with Path("run/steps.csv").open(encoding="utf-8", newline="") as file:
        applied = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    _, values = rows("curve.csv")
    np.testing.assert_array_equal(values[:, 1].astype(np.float32), np.array(applied, np.float32))
    assert max(applied) != pytest.approx(3e-4), "the default of wsd is multiplied"


def test_of_a_workload_a_learning_rate_that_is_given_stays(plot: Plot) -> None:
    run = ("--workload", "linear-regression", "--steps", "3", "--steps-per-epoch", "3", "--output", "curve.csv")
    done(plot("--plugin", "constant(value=0.5)", "--plugin", "constant", *run))
    _, values = rows("curve.csv")
    assert values[:, 1].tolist() == [0.5] * 3
    assert len(set(values[:, 2])) == 1
    assert values[0, 2] != 1e-4


def test_png(plot: Plot) -> None:
    text = done(plot("--plugin", LINE, "--steps", "10", "--output", "curve.png"))
    assert text == "curve.png  (10 steps of 1 schedule)\n"
    data = Path("curve.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(data) > 10_000


def test_svg_of_several_with_epochs(plot: Plot) -> None:
    done(plot("--plugin", LINE, "--plugin", WSD, "--epochs", "2", "--steps-per-epoch", "50", "--output", "curve.svg"))
    found = {
        "".join(each.itertext()).strip() for each in ET.parse("curve.svg").iter("{http://www.w3.org/2000/svg}text")
    }
    assert {LINE, WSD, "epoch", "step (optimizer updates)", "learning rate"} <= found


def test_the_same_input_gives_the_same_svg(plot: Plot) -> None:
    for name in ("a.svg", "b.svg"):
        done(plot("--plugin", LINE, "--steps", "50", "--output", name))
    assert Path("a.svg").read_bytes() == Path("b.svg").read_bytes()


def test_force_overwrites(plot: Plot) -> None:
    Path("curve.csv").write_text("kept")
    done(plot("--plugin", "constant(value=1)", "--steps", "1", "--output", "curve.csv", "--force"))
    assert Path("curve.csv").read_text() == "step,learning_rate\n0,1.0\n"


# ---------------------------------------------------------------------------------------------------------- terminal


def test_without_output_it_draws(plot: Plot) -> None:
    text = done(plot("--plugin", LINE, "--plugin", "constant(value=0.5)", "--steps", "200"))
    lines = text.splitlines()
    assert [line.split("┤")[0].strip() for line in lines[:13]] == ["1", *[""] * 5, "0.5", *[""] * 5, "0"]
    assert all(0x2800 <= ord(character) < 0x2900 or character == " " for line in lines[:13] for character in line[12:])
    assert lines[13].strip() == "└" + "─" * 72
    assert lines[14].split() == ["0", "step", "199"]
    assert [line.strip() for line in lines[15:]] == [
        f"━━ {LINE}  (first 1, highest 1, last 0.005)",
        "━━ constant(value=0.5)  (first 0.5, highest 0.5, last 0.5)",
    ]
    assert list(Path().iterdir()) == [], "nothing is written"


def test_a_peak_of_one_step_shows(plot: Plot) -> None:
    spike = "piecewise-constant(init_value=1, boundaries_and_scales={500: 2, 501: 0.5})"
    lines = done(plot("--plugin", spike, "--steps", "1000")).splitlines()
    (mark,) = (index for index, character in enumerate(lines[0][12:]) if character != " ")
    assert mark == 36, "in the middle of 72"
    assert "highest 2," in lines[-1]


def test_one_step(plot: Plot) -> None:
    text = done(plot("--plugin", "constant(value=1)", "--steps", "1"))
    assert "step 0\n" in text
    assert "first 1, highest 1, last 1" in text


def test_a_terminal_of_another_encoding(plot: Plot) -> None:
    result = plot("--plugin", "constant(value=1)", "--steps", "5", charset="latin-1")
    assert result.exit_code == 0
    assert "?" * 72 in result.stdout_bytes.decode("latin-1")


# ----------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "curve.jpg"], "--output curve.jpg: expected a name that ends in .png, .svg, .csv"),
        (["--output", "curve"], "--output curve: expected a name that ends in .png, .svg, .csv"),
        (["--output", ""], "--output .: expected a name that ends in .png, .svg, .csv"),
        (["--output", "none/curve.png"], "--output none/curve.png: the directory none does not exist"),
        (["--output", "x" * 300 + ".png"], f"--output {'x' * 300}.png cannot be written: File name too long"),
        (["--epochs", "2", "--steps", "5"], "--epochs and --steps both give the length of the run: give one of them"),
        (["--steps", str(2**31)], "total_steps=2147483648 is refused: a run has 1 to 2147483647 steps"),
        (["--plugin", "sgdr(cycles=0)"], "plugin 'sgdr': cycles=0 is refused: expected whole number >= 1"),
        (["--plugin", "sgdr", "--steps", "2"], "plugin 'sgdr': cycles=3 do not fit in 2 steps: a cycle has at least 1"),
    ],
)
def test_refused(plot: Plot, arguments: list[str], message: str) -> None:
    result = plot("--plugin", "constant", *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: {message}\n")
    assert list(Path().iterdir()) == [], "nothing is written"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing option '--plugin'."),
        (["--plugin", "sgdr", "--epochs", "0"], "Invalid value for '--epochs': 0 is not in the range x>=1."),
        (["--plugin", "sgdr", "--steps", "-1"], "Invalid value for '--steps': -1 is not in the range x>=1."),
        (["--plugin", "sgdr", "--steps", "1.5"], "Invalid value for '--steps': '1.5' is not a valid integer range."),
        (
            ["--plugin", "sgdr", "--steps-per-epoch", "0"],
            "Invalid value for '--steps-per-epoch': 0 is not in the range",
        ),
        (["--plugin", "sgdr", "--epoch", "3"], "No such option"),
        (["--plugin", "sgdr", "--output", "."], "Invalid value for '--output' / '-o': File '.' is a directory."),
        (["sgdr"], "Missing option '--plugin'."),
    ],
)
def test_refused_by_click(plot: Plot, arguments: list[str], message: str) -> None:
    result = plot(*arguments)
    first, second = result.stderr.splitlines()
    assert result.exit_code == 2
    assert first.startswith(f"Error: {message}")
    assert second == "'main plot --help' lists what can be given."


def test_a_file_that_is_there_is_kept(plot: Plot) -> None:
    Path("curve.csv").write_text("kept")
    result = plot("--plugin", "constant", "--output", "curve.csv")
    message = "--output curve.csv is there already: give another name, or --force to overwrite it"
    assert (result.exit_code, result.stderr) == (2, f"Error: {message}\n")
    assert Path("curve.csv").read_text() == "kept"


def test_a_bad_schedule_keeps_the_file(plot: Plot) -> None:
    Path("curve.csv").write_text("kept")
    result = plot("--plugin", "sgdr", "--steps", "1", "--output", "curve.csv", "--force")
    assert result.exit_code == 2
    assert Path("curve.csv").read_text() == "kept"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_directory_that_cannot_be_written(plot: Plot) -> None:
    Path("closed").mkdir(mode=0o500)
    result = plot("--plugin", "constant", "--steps", "2", "--output", "closed/curve.csv")
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: --output closed/curve.csv cannot be written: Permission denied\n",
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full disk to offer")
@pytest.mark.parametrize("suffix", [".csv", ".png", ".svg"])
def test_a_full_disk(plot: Plot, suffix: str) -> None:
    Path(f"curve{suffix}").symlink_to("/dev/full")
    result = plot("--plugin", "constant", "--steps", "2000", "--output", f"curve{suffix}", "--force")
    message = f"--output curve{suffix} cannot be written: No space left on device"
    assert (result.exit_code, result.stderr) == (2, f"Error: {message}\n")


# ------------------------------------------------------------------------------------------------- a process of its own

HEAVY = {"flax", "orbax", "tensorflow_datasets", "tensorflow", "array_record", "matplotlib", "rich"}


def test_a_process_imports_only_what_a_schedule_needs(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom lrtrain.cli import main\n"
        "try: main(['plot', '--plugin', 'constant(value=0.5)', '--steps', '3', *sys.argv[1:]])\n"
        "finally: print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, "--output", "curve.csv"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert run.stdout == "curve.csv  (3 steps of 1 schedule)\n"
    assert (tmp_path / "curve.csv").read_text() == "step,learning_rate\n0,0.5\n1,0.5\n2,0.5\n"
    imported = set(run.stderr.split())
    assert "jax" in imported
    assert imported.isdisjoint(HEAVY)


@pytest.mark.parametrize("command", ["plot", "export --to csv"])
def test_one_of_several_processes_writes_a_file(command: str, tmp_path: Path) -> None:
    arguments = [*command.split(), "--plugin", "sgdr", "--steps", "2000", "--output", "curve.csv"]
    processes = [
        subprocess.Popen([sys.executable, "-m", "lrtrain", *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 2, 2, 2], said
    assert all("--output curve.csv is there already: give another name" in err for err in said if err)
    assert [path.name for path in tmp_path.iterdir()] == ["curve.csv"]
    assert len((tmp_path / "curve.csv").read_text().splitlines()) == 2001


def test_a_file_that_comes_meanwhile_stays(plot: Plot, monkeypatch: pytest.MonkeyPatch) -> None:
    from lrtrain.cli import output

    monkeypatch.setattr(output, "_write_csv", lambda file, columns: Path("curve.csv").write_text("mine"))
    result = plot("--plugin", "sgdr", "--output", "curve.csv")
    assert (result.exit_code, Path("curve.csv").read_text()) == (2, "mine")


def test_a_file_is_not_lost_to_one_that_cannot_be_written(plot: Plot, monkeypatch: pytest.MonkeyPatch) -> None:
    from lrtrain.cli import output

    def full(file: Path, columns: object) -> None:
        file.write_text("half")
        raise OSError(28, "No space left on device")

    Path("curve.csv").write_text("old")
    monkeypatch.setattr(output, "_write_csv", full)
    result = plot("--plugin", "sgdr", "--output", "curve.csv", "--force")
    assert (result.exit_code, result.stderr) == (
        2, "Error: --output curve.csv cannot be written: No space left on device\n"
    )  # fmt: skip
    assert [(path.name, path.read_text()) for path in Path().iterdir()] == [("curve.csv", "old")]
