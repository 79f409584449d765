"""A run's network is loaded from a checkpoint: the right one, into what its configuration and its code make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lrtrain.data.types import Split, map_leaves
from lrtrain.engine.devices import keep_compiled, present_devices
from lrtrain.errors import LrtrainError, RunDirError
from lrtrain.runs.conditions import other_code
from lrtrain.runs.directory import RunDir
from lrtrain.runs.reading import read_run
from lrtrain.runs.run_config import RunConfig, read_config
from lrtrain.training.checkpoints import difference
from lrtrain.training.initial import arrays_of, checkpoint_of, pick_checkpoint
from lrtrain.training.prepare import Task, task_of
from lrtrain.training.shapes import blank_data
from lrtrain.training.trained import Trained, data_of
from lrtrain.workloads.loading import Chosen, choose
from lrtrain.workloads.workload import Workload


def load(  # noqa: PLR0913  # public: which run, which checkpoint, and what of it was made in Python or has changed
    run_dir: str | Path,
    best: bool = True,
    *,
    step: int | None = None,
    workload: Workload | None = None,
    model: Any = None,
    accept_code_change: bool = False,
) -> Trained:
    """Loads what a run has trained; neither its training data nor its optimizer is loaded.

    Args:
      run_dir: the directory of the run.
      best: whether to take the checkpoint that is best by the workload's headline; False for the newest one.
      step: the step of another checkpoint.
      workload: the workload again, where it was made in Python.
      model: the model again, where it was made in Python.
      accept_code_change: whether to go on when the code of the model has changed.

    Returns:
      The network with its arrays.

    Raises:
      RunDirError: there is no run or no such checkpoint, or it does not fit the network as its code is now.
      UsageError: the workload or the model was made in Python, and is not given; or is no longer there.

    Example:
      ```python
      import numpy as np

      import lrtrain

      trained = lrtrain.load("runs/two-cycles")
      print(trained.step, trained.evaluate())
      logits = trained.predict(np.zeros((3, 28, 28, 1), np.uint8))
      ```
    """
    path = Path(run_dir).expanduser().absolute()
    config = read_config(RunDir(path), "load")
    chosen = choose(workload or config.train.workload, model if model is not None else config.train.model)
    run = read_run(path)
    chosen_step = pick_checkpoint(path, best=best, step=step)
    keep_compiled()
    present_devices(config.train.devices, config.train.batch_size)
    task, example = _task(chosen, config)
    now = {"code": {}, "program": task.found.program, "versions": _versions(config)}
    if (changed := other_code(config.to_json(), now)) and not accept_code_change:
        raise RunDirError(f"{changed}: put it back, or load it all the same by --accept-code-change")
    params, state = arrays_of(checkpoint_of(path, chosen_step))
    _check_arrays(f"the checkpoint of step {chosen_step} in {path}", params, state, task, example)
    epoch = next((each for each in run.epochs if each.step == chosen_step), None)
    return Trained(path, chosen_step, epoch, task.workload, params, state, task.network, chosen, config, example)


def _check_arrays(title: str, params: Any, state: Any, task: Task, example: Split) -> None:
    """Raises RunDirError, naming the first array, when parameters or state are not like those of a network."""
    import jax

    def init(raw: Any) -> tuple[Any, Any]:
        return task.network.init(jax.random.PRNGKey(0), task.workload.inputs(raw))

    shapes = map_leaves(
        lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), jax.dtypes.canonicalize_dtype(leaf.dtype)),
        example.inputs,
    )
    fresh = jax.eval_shape(init, shapes)
    named = [dict(zip(("params", "state"), each, strict=True)) for each in ((params, state), fresh)]
    if different := difference(*named):
        raise RunDirError(f"{title} does not fit the network: {different}")


def _task(chosen: Chosen, config: RunConfig) -> tuple[Task, Split]:
    """Returns what was trained, and an example: from the noted shapes, or from the data where these do not do."""
    blank = blank_data(config.shapes, config.data) if config.shapes and config.data else None
    if blank is not None:
        try:
            task = task_of(chosen, blank, config.train)
        except LrtrainError:
            # A network may depend on more of the data.
            pass
        else:
            if task.found.program == config.program:
                return task, blank.test
    data = data_of(chosen, config)
    return task_of(chosen, data, config.train), data.test


def _versions(config: RunConfig) -> dict[str, str]:
    from lrtrain.runs.conditions import model_version, versions

    return {**versions(), **model_version(config.train.model)}
