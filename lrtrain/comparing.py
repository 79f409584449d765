"""`compare`: from schedules and conditions to trained runs, their evidence, and the files that show it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtrain.comparison.conduct import compare_plan
from lrtrain.comparison.plan import Plan, effort_of
from lrtrain.comparison.reporter import CompareReporter
from lrtrain.comparison.result import Comparison
from lrtrain.comparison.rows import labelled
from lrtrain.engine.connection import Distributed, is_main, refusals_told
from lrtrain.extras import check_extra
from lrtrain.plugins.spec import Spec
from lrtrain.runs.train_config import ComparedOptions
from lrtrain.training.configure import configured

if TYPE_CHECKING:
    from typing_extensions import Unpack


def compare(  # noqa: PLR0913
    *schedules: Spec | str | Mapping[str, Any],
    budget: str = "standard",
    lr_scales: Sequence[float] | None = None,
    tuning_seeds: int | None = None,
    seeds: int | None = None,
    refine: bool | None = None,
    exhaustive: bool | None = None,
    holdout: int | None = None,
    baseline: str | None = None,
    all_pairs: bool = False,
    run_dir: str | Path | None = None,
    reporter: CompareReporter | None = None,
    distributed: Distributed | None = None,
    **options: Unpack[ComparedOptions],
) -> Comparison:
    """Trains several schedules under equal conditions, says which is better, and writes a report.

    Args:
      *schedules: two or more specs, as text (``"sgdr(cycles=4)"``), tables or `Spec`. A text may add plugins that
        observe: ``"constant + reduce-on-plateau"``.
      budget: ``"quick"``, ``"standard"`` or ``"thorough"``: sets scales, seeds and epochs that are not given.
      lr_scales: factors on the workload's learning rate that the highest one of every schedule is tuned over.
      tuning_seeds: runs at each scale near the best one.
      seeds: the most runs of each schedule at its best scale, on seeds that the tuning has not seen.
      refine: whether more scales are tried around the best one; None for yes.
      exhaustive: whether all is trained that could matter, whatever the first runs show; None for no.
      holdout: training examples that are held out for tuning; None for the workload's own validation examples or, where
        it has none, a twelfth.
      baseline: the schedule that the others are compared with; None for the best of the tuning.
      all_pairs: whether every schedule is compared with every other.
      run_dir: the directory to write into, empty or not there yet; None for ``runs/compare-<date>-<time>``.
      reporter: receives what happens; None for silence.
      distributed: this process is one of several that share the runs; see `lrtrain.Distributed`.
      **options: the fields of `lrtrain.runs.train_config.TrainConfig`, as for `lrtrain.train`.

    Returns:
      The comparison; its ``evidence`` holds means, intervals and verdicts, its ``report`` is the page.

    Raises:
      UsageError: what is asked for cannot be done; nothing has been written.

    Example:
      ```python
      import lrtrain

      comparison = lrtrain.compare("constant", "sgdr", budget="quick", train_size=6000)
      print(comparison.evidence.leaders, comparison.report)
      ```

    Source:
      Protocol: Bouthillier et al., "Accounting for Variance in Machine Learning Benchmarks", arXiv 2103.03098.
    """
    with refusals_told(distributed):
        check_extra("compare", "a comparison")
        rows = labelled(schedules)
        for row in rows:
            row.check()
        config, chosen = configured(options)
        epochs = options.get("epochs")
        given = {"scales": lr_scales, "tuning_seeds": tuning_seeds, "seeds": seeds, "epochs": epochs}
        effort = effort_of(budget, config.epochs, **given, refine=refine, exhaustive=exhaustive)
        train = dataclasses.replace(config, epochs=effort.epochs)
        plan = Plan(rows, train, "fair", effort, holdout, baseline, all_pairs, chosen=chosen)
    comparison = compare_plan(plan, directory=run_dir, reporter=reporter, distributed=distributed)
    if is_main():
        from lrtrain.report.write import write_results

        write_results(comparison)
    return comparison
