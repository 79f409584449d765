"""What keeps a valid checkpoint from being read or written is no damage: one sentence, and nothing is renamed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lrtrain
from lrtrain.engine.engine import TrainState
from lrtrain.errors import RunDirError, TrainingError
from lrtrain.system_refusal import refusal, refusal_to_read
from lrtrain.training.checkpoints import Checkpoints
from lrtrain.training.position import Position
from tests.faults.lab import Lab
from tests.faults.test_refusals import one_sentence
from tests.lab import SPEC

resource = pytest.importorskip("resource", reason="the limits of a process are those of a Unix")


def names(run: Path) -> set[str]:
    return {path.name for path in (run / "checkpoints").iterdir()}


# ------------------------------------------------------------------------------------------------- what the system says


def test_the_systems_words_are_found_in_what_a_library_makes_of_them() -> None:
    wrapped = ValueError("RESOURCE_EXHAUSTED: Failed to open: 'x' [OS error 24: EMFILE Too many open files]")
    assert refusal(wrapped) == "Too many open files"
    assert refusal(OSError(5, "Input/output error")) == "Input/output error"
    assert refusal(MemoryError()) == "Cannot allocate memory"
    hidden = ValueError("not a checkpoint")
    hidden.__cause__ = PermissionError(13, "Permission denied")
    assert refusal(hidden) == "Permission denied"


@pytest.mark.parametrize("error", [FileNotFoundError(2, "x"), NotADirectoryError(20, "x"), ValueError("DATA_LOSS")])
def test_damage_is_no_refusal(error: Exception) -> None:
    assert refusal(error) is None


def test_files_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_bytes(b"x")
    assert refusal_to_read(tmp_path) is None
    assert refusal_to_read(tmp_path / "gone") is None

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", refuse)
    assert refusal_to_read(tmp_path) == "Input/output error"


# --------------------------------------------------------------------------------------------------- rights, open files

# Root may read all, unless it is without these.
POWERLESS = (
    ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.name == "posix" and not os.getuid() else ()
)


@pytest.mark.skipif(
    bool(POWERLESS) and shutil.which("setpriv") is None, reason="root reads every file, unless setpriv takes that away"
)
@pytest.mark.slow
@pytest.mark.parametrize("closed", ["*/metrics/metrics", "step_108/state/d", "step_108/progress/metadata", ""])
def test_files_that_may_not_be_read_are_not_damaged(lab: Lab, closed: str) -> None:
    run = lab.directory / "run"
    lrtrain.train(SPEC, run_dir=run, checkpoint_every="1ep", **lab.options(epochs=3))
    before, lines = names(run), (run / "steps.csv").read_bytes()
    paths = list((run / "checkpoints").glob(closed)) if closed else [run / "checkpoints"]
    modes = {path: path.stat().st_mode for path in paths}
    assert paths
    for path in paths:
        path.chmod(0)
    code, said = lab.run(lab.command("run", "--quiet"), before=POWERLESS)
    for path, mode in modes.items():
        path.chmod(mode)
    assert code == 1, said
    assert said == [one_sentence(said)]
    assert "cannot be read at the moment (Permission denied): nothing in it has been changed" in said[0]
    assert names(run) == before
    assert (run / "steps.csv").read_bytes() == lines
    assert lrtrain.train(run_dir=run, resume=True, epochs=4, on_schedule_change="keep").steps == 144


# Within the process: one that runs JAX in threads of its own, as that of the tests may, must not fork.
LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({0}, {0}))
from lrtrain.cli import main
main()
"""


@pytest.mark.parametrize("files", [8, 14, 24, 40])
def test_too_few_files_are_said_at_once(lab: Lab, files: int) -> None:
    command = [sys.executable, "-c", LIMITED.format(files), *lab.command("run", "--quiet")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=lab.directory, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    assert "more files can be opened (Too many open files)" in one_sentence(done.stderr.splitlines())
    assert done.stderr.count("\n") == 1, done.stderr
    assert not (lab.directory / "run").exists()


WITHOUT_3D = """
import importlib.abc, sys
class Refuses(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.startswith("mpl_toolkits"):
            raise ImportError("Too many open files")
sys.meta_path.insert(0, Refuses())
from lrtrain.cli import main
main()
"""


def test_matplotlib_does_not_warn_of_what_no_picture_needs(lab: Lab) -> None:
    """It is imported beside the first steps, where a plugin may have opened all files already."""
    command = [sys.executable, "-c", WITHOUT_3D, *lab.command("run", "--quiet")]
    env = {**os.environ, "PYTHONPATH": str(lab.directory / "site")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=lab.directory, env=env, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# Takes all files but some of those that there may be, as a plugin does that never closes what it opens.
LEAKS = """
import os
@dataclass(frozen=True)
class Plugin:
    "Leaks."
    @hookimpl
    def on_step(self, step):
        left = os.environ.get("LEFT")
        if left is not None and step.step == 20:
            import resource
            resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
            opened = []
            try:
                while True:
                    opened.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                for each in opened[: int(left)]:
                    os.close(each)
"""


@pytest.mark.slow
@pytest.mark.parametrize("left", [0, 4, 9, 15])
def test_files_that_run_out_end_the_run_in_one_sentence(
    lab: Lab, install_plugin: Callable[..., str], left: int
) -> None:
    """Orbax leaves threads that wait for ten minutes, and Python would wait for them."""
    lab.plugins = (install_plugin("leaks", LEAKS),)
    code, said = lab.run(lab.command("run", "--quiet", epochs=3), env={"LEFT": str(left)})
    assert code in (0, 1), said
    if code or left < 9:
        assert code == 1
        assert "Too many open files" in one_sentence(said)
        assert said == [one_sentence(said)]
    assert not any(name.startswith("damaged") for name in names(lab.directory / "run"))
    code, said = lab.run(lab.command("run", "--quiet"))
    assert code == 0, said
    assert len((lab.directory / "run" / "steps.csv").read_text().splitlines()) == 3 * 36 + 1


# Reads the checkpoints with so few files that Orbax, and whatever it uses, is refused in one place after the other.
READS = """
import os, resource, sys
from pathlib import Path
import numpy as np
from lrtrain.training.checkpoints import Checkpoints, import_orbax
from lrtrain.engine.engine import TrainState
from lrtrain.errors import TrainingError
import_orbax()
like = TrainState({"kernel": np.zeros(6, np.float32)}, (), np.array(0, np.int32))
directory = Path(sys.argv[1])
outcomes = set()
used = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 12
for left in range(0, 24, 2):
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + left, 4096))
    try:
        outcomes.add(Checkpoints(directory).restore_newest(like).position.step)
    except TrainingError as error:
        assert "(Too many open files): nothing in it has been changed" in str(error), error
        outcomes.add("refused")
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
assert Checkpoints(directory).restore_newest(like).position.step == 4
assert "refused" in outcomes and outcomes <= {"refused", 4}, outcomes
print("done")
os._exit(0 if not sys.stdout.flush() else 1)
"""


def saved(directory: Path, state: TrainState) -> None:
    checkpoints = Checkpoints(directory)
    for step in (2, 4):
        checkpoints.save(state, np.full(4, 0.1, np.float32), Position(step, 1.0, 0))
    checkpoints.close()


def test_checkpoints_are_not_damaged_by_too_many_open_files(tmp_path: Path) -> None:
    saved(tmp_path, TrainState({"kernel": np.arange(6, dtype=np.float32)}, (), np.int32(0)))  # type: ignore[arg-type]
    before = {path.name for path in tmp_path.iterdir()}
    # Python says of coroutines of Orbax that they were torn; so does no command.
    command = [sys.executable, "-W", "ignore::RuntimeWarning", "-c", READS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    assert {path.name for path in tmp_path.iterdir()} == before


# ------------------------------------------------------------------------------------------------- of another network


def state(*, params: Any = None, momentum: Any = None) -> Any:
    kernel = {"Dense_0": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}}
    return TrainState(params or kernel, ({"mu": momentum},) if momentum is not None else (), np.array(4, np.int32))  # type: ignore[arg-type]


OTHERS = {
    "params.Dense_0.kernel is float32[2, 3] in it, and float32[2, 4] now": state(
        params={"Dense_0": {"kernel": np.zeros((2, 4), np.float32)}}
    ),
    "params.Dense_0.kernel is float32[2, 3] in it, and float16[2, 3] now": state(
        params={"Dense_0": {"kernel": np.zeros((2, 3), np.float16)}}
    ),
    "params.Wide.kernel is not there in it, and float32[2, 3] now": state(
        params={"Wide": {"kernel": np.zeros((2, 3), np.float32)}}
    ),
    "opt_state.0.mu is not there in it, and float32[1] now": state(momentum=np.zeros(1, np.float32)),
}


@pytest.mark.parametrize("said", OTHERS)
def test_a_sound_checkpoint_of_another_network(tmp_path: Path, said: str) -> None:
    saved(tmp_path, state())
    before = {path.name for path in tmp_path.iterdir()}
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(RunDirError) as caught:
        checkpoints.restore_newest(OTHERS[said])
    assert said in str(caught.value)
    assert "step_4 is of another network or optimizer" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == before
    assert checkpoints.restore_newest(state()).position.step == 4
    checkpoints.close()


def test_damage_of_a_checkpoint_of_another_network_is_damage(tmp_path: Path) -> None:
    saved(tmp_path, state())
    for step in (2, 4):
        shutil.rmtree(tmp_path / f"step_{step}" / "state" / "d")
    with pytest.raises(RunDirError, match="has no valid checkpoint"):
        Checkpoints(tmp_path).restore_newest(OTHERS[next(iter(OTHERS))])


def test_a_directory_that_may_not_be_listed_is_not_one_without_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, state())

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(TrainingError, match="Permission denied"):
        Checkpoints(tmp_path).latest()
