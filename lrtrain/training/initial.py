"""The parameters that a run begins with: fresh ones, or those of another run's checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtrain.errors import RunDirError, UsageError
from lrtrain.files import digest
from lrtrain.runs.directory import RunDir
from lrtrain.runs.reading import best_epoch, checkpoint_steps, pick_run, read_run
from lrtrain.runs.train_config import TrainConfig
from lrtrain.training.checkpoints import difference, read_checkpoint

if TYPE_CHECKING:
    from lrtrain.engine.engine import Engine, TrainState

_RUNS = Path("runs")


def initial_checkpoint(options: Mapping[str, Any]) -> dict[str, str]:
    """Returns the option ``init_from``, if it is given, as the absolute path of a checkpoint.

    Raises:
      RunDirError: there is no such run or checkpoint.
    """
    given = options.get("init_from")
    if given is None:
        return {}
    path = Path(given).expanduser()
    if (path / "state").is_dir():
        return {"init_from": str(path.absolute())}
    run = pick_run(str(given), _RUNS)
    return {"init_from": str(checkpoint_of(run.path.absolute(), pick_checkpoint(run.path)))}


def checkpoint_of(run_dir: Path, step: int) -> Path:
    """Returns the directory of a checkpoint."""
    return RunDir(run_dir).checkpoints / f"step_{step}"


def pick_checkpoint(run_dir: Path, *, best: bool = True, step: int | None = None) -> int:
    """Returns the step of a run's best or newest checkpoint, or the given one; RunDirError when there is none."""
    steps = checkpoint_steps(run_dir)
    if not steps:
        raise RunDirError(f"{run_dir} has no checkpoint: a run has one after its first epoch, and in a comparison none")
    if step is not None:
        if step not in steps:
            raise RunDirError(
                f"{run_dir} has no checkpoint of step {step}: there are those of {', '.join(map(str, steps))}"
            )
        return step
    epoch = best_epoch(read_run(run_dir)) if best else None
    return epoch.step if epoch is not None else steps[-1]


def arrays_of(path: Path) -> tuple[Any, Any]:
    """Returns the parameters of a checkpoint that are evaluated, and the network's other state; () for none."""
    arrays = read_checkpoint(path)[1]
    return arrays.get("average") or arrays["params"], arrays.get("network") or ()


def initial_state(config: TrainConfig, engine: Engine) -> tuple[TrainState, str | None]:
    """Returns the state at the first step, and the digest of its parameters if these are a checkpoint's.

    Raises:
      RunDirError: there is no such checkpoint.
      UsageError: its arrays are not those of the network.
    """
    import jax

    fresh = engine.init(config.seed)
    if config.init_from is None:
        return fresh, None
    params, state = arrays_of(Path(config.init_from))
    if different := difference({"params": params, "state": state}, {"params": fresh.params, "state": fresh.network}):
        raise UsageError(
            f"init_from={config.init_from} is refused: it is of another network: {different}", key="init_from"
        )
    return engine.init(config.seed, (params, state)), digest({}, jax.tree.leaves((params, state)))[:12]
